package whatif_test

import (
	"context"
	"fmt"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/whatif"
)

// apply puts a fact into the books; a program has a Ledger do it.
func apply(s *pool.State, kind string, payload any) {
	e, err := pool.NewEvent(kind, payload)
	if err == nil {
		err = s.Apply(&e)
	}
	if err != nil {
		panic(err)
	}
}

// A host is lost while ten more instances are wanted.
func ExampleAsk() {
	st := pool.NewState()
	apply(st, pool.KindProjectPut, &pool.Project{Name: "shop"})
	image := pool.Image{Name: "debian-12", Sources: map[string]string{"rack": "debian-12.qcow2"}}
	sizes := pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: 8 * pool.GiB}
	for _, name := range []string{"a", "b", "c"} {
		id := pool.NewHostID("rack", name)
		apply(st, pool.KindHostPut, &pool.HostPut{Host: pool.Host{
			ID: id, Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 16 * pool.Core}, pool.Memory: {Total: 64 * pool.GiB}},
		}})
		apply(st, pool.KindLaunched, &pool.Launched{
			Instance: pool.NewInstanceID("example", "shop", name), Name: "vm-" + name, Project: "shop", Want: pool.Running,
			Spec: pool.Spec{Image: "debian-12", Resources: sizes}, Image: image,
			Place: pool.Placement{Host: id, Allocation: pool.Allocation{Resources: sizes}},
		})
	}

	a, err := whatif.Ask(context.Background(), st, &scheduler.Scheduler{}, whatif.Question{
		Lose:   []pool.HostID{"rack/a"},
		Demand: []whatif.Demand{{Name: "batch", Spec: pool.Spec{Image: "debian-12", Resources: sizes}, Image: image, Count: 10}},
	}, whatif.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println("displaced:", a.Displaced.Placed, "of", a.Displaced.Asked)
	for _, d := range a.Demand {
		fmt.Println(d.Name+":", d.Placed, "of", d.Asked)
		for _, r := range d.Refused {
			fmt.Println(r.Count, "do not fit:", r.Counts)
		}
	}
	fmt.Println("hosts missing:", a.Missing.Hosts, "and no fewer than", a.Missing.Least)
	// Output:
	// displaced: 1 of 1
	// batch: 5 of 10
	// 5 do not fit: [{resource cpu 2} {condition  1}]
	// hosts missing: 2 and no fewer than 2
}

// Two instances came, one after the other. On half of the hosts the second would have been refused. A program has
// berthage.Manager.Replay read the past from its ledger.
func ExampleReplay() {
	st := pool.NewState()
	apply(st, pool.KindProjectPut, &pool.Project{Name: "shop"})
	sizes := pool.Resources{pool.CPU: 12 * pool.Core, pool.Memory: 8 * pool.GiB}
	for _, name := range []string{"a", "b"} {
		apply(st, pool.KindHostPut, &pool.HostPut{Host: pool.Host{
			ID: pool.NewHostID("rack", name), Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 16 * pool.Core}, pool.Memory: {Total: 64 * pool.GiB}},
		}})
	}
	noon := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	batches := func(yield func(pool.Batch, error) bool) {
		for n, name := range []string{"a", "b"} {
			e, err := pool.NewEvent(pool.KindLaunched, &pool.Launched{
				Instance: pool.NewInstanceID("example", "shop", name), Name: "vm-" + name, Project: "shop", Want: pool.Running,
				Spec:  pool.Spec{Image: "debian-12", Resources: sizes},
				Image: pool.Image{Name: "debian-12", Sources: map[string]string{"rack": "debian-12.qcow2"}},
				Place: pool.Placement{Host: pool.NewHostID("rack", name), Allocation: pool.Allocation{Resources: sizes}},
			})
			e.Revision, e.Time = pool.Revision(n+1), noon.Add(time.Duration(n)*time.Hour)
			if !yield(pool.Batch{Revision: e.Revision, Events: []pool.Event{e}}, err) {
				return
			}
		}
	}
	p := whatif.Past{Books: st, Batches: batches, From: noon, Until: noon.Add(4 * time.Hour)}
	r, err := whatif.Replay(context.Background(), p, nil, whatif.Question{Lose: []pool.HostID{"rack/b"}}, whatif.ReplayOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println("as it was:", r.Same.Refused(), "refused,", r.Same.Hosts, "hosts on average,", r.Same.Peak[pool.CPU].Used/pool.Core, "cores at most")
	fmt.Println("changed:", r.Changed.Refused(), "refused,", r.Changed.Hosts, "hosts on average,", r.Changed.Peak[pool.CPU].Used/pool.Core, "cores at most")
	// Output:
	// as it was: 0 refused, 1.75 hosts on average, 24 cores at most
	// changed: 1 refused, 1 hosts on average, 12 cores at most
}
