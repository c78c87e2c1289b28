package auth_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// In the ledger of a Manager: what is known stands among its parts, and commands are decided in its ring.
func Example_manager() {
	ctx := context.Background()
	m, err := berthage.Open(ctx, berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: pool.NewMemoryLedger(),
		Parts: []pool.Part{auth.New(nil)},
	})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	books := auth.Books{Read: func(_ context.Context, look func(*auth.State, auth.Lineage)) error {
		m.View(func(st *pool.State) { look(auth.Of(st), auth.LineageOf(st)) })
		return nil
	}}

	// The first admin, by the program itself.
	err = m.Decide(ctx, auth.Name, auth.Command{Program: true, Put: &auth.Principal{ID: "p7f3", Kind: auth.Person, Name: "ada"}})
	fmt.Println(err)
	err = m.Decide(ctx, auth.Name, auth.Command{Program: true, Bind: &auth.Binding{ID: "b1", Principal: "p7f3", Role: auth.Admin, Scope: auth.Scope{Everything: true}}})
	fmt.Println(err)

	// Whatever she asks from now on is asked by her.
	var p auth.Principal
	m.View(func(st *pool.State) { p, _ = auth.Of(st).Named("ada") })
	ada := auth.Identity{Principal: p.ID, Whole: true, Generation: p.Generation} // as an Authenticator returns it
	fmt.Println(books.Authorize(ctx, auth.Request{By: ada, Verb: auth.Operate, Thing: auth.Thing{Resource: auth.Hosts}}))
	err = m.As(ada.Principal, "request 1").Decide(ctx, auth.Name, auth.Command{By: &ada, Unbind: "b1"})
	var no *auth.Refusal
	fmt.Println(errors.As(err, &no), err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// true not allowed: nobody could administer any more
}

// A command of the Manager's own is given what its caller was allowed: that is looked at again on the revision that it is appended to.
func ExampleWarrant() {
	ctx := context.Background()
	m, err := berthage.Open(ctx, berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: pool.NewMemoryLedger(),
		Parts: []pool.Part{auth.New(nil)},
	})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	if err := m.PutProject(ctx, pool.Project{Name: "shop"}); err != nil {
		panic(err)
	}
	for _, c := range []auth.Command{
		{Put: &auth.Principal{ID: "root", Kind: auth.Person, Name: "root"}},
		{Bind: &auth.Binding{ID: "b0", Principal: "root", Role: auth.Admin, Scope: auth.Scope{Everything: true}}},
		{Put: &auth.Principal{ID: "p7f3", Kind: auth.Person, Name: "ada"}},
		{Bind: &auth.Binding{ID: "b1", Principal: "p7f3", Role: auth.Admin, Scope: auth.Scope{Project: "shop"}}},
	} {
		c.Program = true
		if err := m.Decide(ctx, auth.Name, c); err != nil {
			panic(err)
		}
	}
	var p auth.Principal
	m.View(func(st *pool.State) { p, _ = auth.Of(st).Principal("p7f3") })

	ada := auth.Identity{Principal: p.ID, Whole: true, Generation: p.Generation} // as an Authenticator returns it
	inShop := auth.Warrant{By: ada, For: []auth.Act{{Verb: auth.Create, Thing: auth.Thing{Resource: auth.Projects, Project: "shop"}}}}
	hers := m.As(ada.Principal, "request 1").With(auth.Name, inShop)
	fmt.Println(hers.PutProject(ctx, pool.Project{Name: "web", Parent: "shop"}))

	err = m.Decide(ctx, auth.Name, auth.Command{Program: true, Disable: p.ID}) // whoever knows that, and when
	fmt.Println(err)
	fmt.Println(hers.PutProject(ctx, pool.Project{Name: "more", Parent: "shop"}))
	// Output:
	// <nil>
	// <nil>
	// not authenticated: the principal is disabled
}
