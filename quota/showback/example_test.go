package showback_test

import (
	"fmt"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota/showback"
)

func Example() {
	// A ledger's events, as pool.History gives them in batches.
	start := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	ledger := []pool.Batch{}
	record := func(after time.Duration, kind string, payload any) {
		e, _ := pool.NewEvent(kind, payload)
		e.Revision, e.Time = pool.Revision(len(ledger)+1), start.Add(after)
		ledger = append(ledger, pool.Batch{Revision: e.Revision, Events: []pool.Event{e}})
	}
	web := pool.NewInstanceID("ledger", "shop", "web")
	record(0, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "lab/h1"}})
	record(0, pool.KindProjectPut, &pool.Project{Name: "shop"})
	record(time.Hour, pool.KindLaunched, &pool.Launched{Instance: web, Name: "web", Project: "shop", Owner: "u-1", Place: pool.Placement{
		Host: "lab/h1", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB}},
	}})
	record(3*time.Hour, pool.KindDeleted, &pool.Ended{Instance: web})

	meter, _ := showback.New(pool.NewState(), start, start.Add(24*time.Hour))
	for _, b := range ledger {
		if err := meter.Add(b); err != nil {
			fmt.Println(err)
		}
	}
	prices := showback.Prices{Currency: "EUR", Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: 12_000, pool.Memory: 1_500}}}
	bill, _ := prices.Bill(meter.Usage())
	for _, i := range bill.Items {
		fmt.Println(i.Project, i.Owner, i.Driver, i.Class, i.Held, i.Cost)
	}
	fmt.Println("total:", bill.Total)
	// Output:
	// shop u-1 lab cpu 14400000 48000
	// shop u-1 lab instances 7200 0
	// shop u-1 lab memory 30923764531200 12000
	// total: 60000
}
