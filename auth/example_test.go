package auth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// A platform without Berthage's ring keeps the books by itself: it decides, appends and folds.
func Example() {
	ctx, now := context.Background(), time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	s := auth.New(nil)
	do := func(c auth.Command) {
		c.Program = true // nobody is there yet who could ask
		raw, _ := json.Marshal(c)
		events, err := s.Decide(nil, raw, now)
		if err != nil {
			fmt.Println(err)
		}
		for n := range events { // and append them to a ledger
			p, _ := s.Fold(&events[n])
			s = p.(*auth.State)
		}
	}
	do(auth.Command{Put: &auth.Principal{ID: "p7f3", Kind: auth.Person, Name: "ada"}})
	do(auth.Command{Bind: &auth.Binding{ID: "b1", Principal: "p7f3", Role: auth.User, Scope: auth.Scope{Project: "web"}}})

	a := auth.Books{Read: func(_ context.Context, look func(*auth.State, auth.Lineage)) error { look(s, nil); return nil }}
	ada := auth.Identity{Principal: "p7f3", Whole: true} // as an Authenticator found out
	for _, r := range []auth.Request{
		{By: ada, Verb: auth.Create, Thing: auth.Thing{Resource: auth.Instances, Project: "web", Owner: "p7f3"}},
		{By: ada, Verb: auth.Delete, Thing: auth.Thing{Resource: auth.Instances, Project: "web", Owner: "p000"}},
		{By: ada, Verb: auth.Operate, Thing: auth.Thing{Resource: auth.Hosts}},
	} {
		fmt.Println(a.Authorize(ctx, r))
	}
	// Output:
	// <nil>
	// delete instances: not allowed: it is somebody else's
	// operate hosts: not allowed: it lies outside of what the principal is bound to
}

func ExampleNewToken() {
	text, token, err := auth.NewToken("acme")
	prefix, id, ok := auth.ParseToken(text)
	fmt.Println(prefix, id == token.ID, ok, err)
	_, _, ok = auth.ParseToken(text[:len(text)-1] + "x")
	fmt.Println(ok)
	// Output:
	// acme true true <nil>
	// false
}

func ExampleState_Guest() {
	s := auth.New(nil)
	e, _ := pool.PartEvent(auth.PrincipalPut, 1, map[string]any{"put": auth.Principal{ID: "p7f3", Kind: auth.Person}})
	p, _ := s.Fold(&e)
	fmt.Println(p.(*auth.State).Guest("p7f3", "admin", time.Now()).User)
	// Output: admin
}

func ExampleThrottle() {
	th := auth.Throttle{Scratch: pool.NewMemoryScratch(), Key: []byte("sixteen bytes or more")}
	for range 6 {
		if _, err := th.Begin(context.Background(), "ada", fromHere()); err != nil {
			fmt.Println(err)
		}
	}
	// Output: too many attempts: too many attempts have failed
}
