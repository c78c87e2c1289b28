package berthage_test

import (
	"context"
	"fmt"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/quota/showback"
)

// A tenant within a tenant, what one of its users may have, a request for more, and the bill.
func ExampleManager_For() {
	ctx := context.Background()
	m, stop := simulated(ctx)
	defer stop()
	began := time.Now()

	// A company with 10 cores, and a team in it that may have 4 of them, each of its users 2.
	must(m.PutProject(ctx, pool.Project{Name: "acme", Quota: pool.Resources{pool.CPU: 10 * pool.Core}}))
	must(m.PutProject(ctx, pool.Project{
		Name: "acme-web", Parent: "acme", Quota: pool.Resources{pool.CPU: 4 * pool.Core}, PerUser: pool.Resources{pool.CPU: 2 * pool.Core},
	}))

	user, boss := m.As("u-17", "request 4711").For("u-17"), m.As("u-2", "request 4712")
	launch := func(name string) error {
		_, err := user.Launch(ctx, berthage.Launch{Token: name, Project: "acme-web", Name: name, Spec: pool.Spec{Image: "debian-12", Flavor: "small"}})
		return err
	}
	fmt.Println(launch("web-1"))
	fmt.Println(launch("web-2"))

	_, err := user.AskQuota(ctx, quota.Ask{Project: "acme-web", ID: "christmas", Owner: "u-17", Quota: pool.Resources{pool.CPU: 6 * pool.Core}, Reason: "the sale"})
	must(err)
	_, err = boss.DecideQuota(ctx, quota.Decision{Project: "acme-web", ID: "christmas", Status: quota.Granted})
	must(err)
	fmt.Println(launch("web-2"))
	fmt.Println(launch("web-3"))

	// What has been used so far, at 12 thousandths per core and hour.
	used, err := m.Usage(ctx, began, time.Time{})
	must(err)
	bill, err := showback.Prices{Currency: "EUR", Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: 12_000}}}.Bill(used)
	must(err)
	fmt.Println(bill.Items[0].Project, bill.Items[0].Owner, bill.Items[0].Flavor, bill.Items[0].Class, bill.Unpriced)
	// Output:
	// <nil>
	// owner "u-17" in project "acme-web" over quota: cpu: 2 cores asked, 0 cores free of 2 cores
	// <nil>
	// project "acme-web" over quota: cpu: 2 cores asked, 0 cores free of 4 cores
	// acme-web u-17 small cpu [memory storage.standard]
}

// What a project may cost an hour, by prices that stand in the ledger.
func ExampleManager_SetPrices() {
	ctx := context.Background()
	m, stop := simulated(ctx)
	defer stop()
	must(m.PutProject(ctx, pool.Project{Name: "acme"}))

	// A team that may cost 0.03 an hour, with all that lies in it. A core is 12 thousandths.
	must(m.SetPrices(ctx, showback.Prices{Currency: "EUR", Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: 12_000}}}))
	must(m.PutProject(ctx, pool.Project{Name: "acme-lab", Parent: "acme", Quota: pool.Resources{pool.Cost: 30_000}}))
	for n := range 2 {
		_, err := m.Launch(ctx, berthage.Launch{Token: fmt.Sprint(n), Project: "acme-lab", Name: "lab", Spec: pool.Spec{Image: "debian-12", Flavor: "small"}})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// project "acme-lab" over quota: cost: 0.024 an hour asked, 0.006 an hour free of 0.03 an hour
}
