package rebalance_test

import (
	"context"
	"fmt"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
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

func ExamplePlan() {
	st := pool.NewState()
	apply(st, pool.KindProjectPut, &pool.Project{Name: "shop"})
	for _, name := range []string{"a", "b", "c"} {
		apply(st, pool.KindHostPut, &pool.HostPut{Host: pool.Host{
			ID: pool.NewHostID("rack", name), Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 16 * pool.Core}, pool.Memory: {Total: 64 * pool.GiB}},
		}})
	}
	for _, vm := range []struct {
		name, host string
		cores, gib int64
	}{{"db", "a", 8, 40}, {"web", "b", 2, 8}, {"mail", "c", 6, 32}, {"build", "c", 8, 16}} {
		id := pool.NewInstanceID("example", "shop", vm.name)
		sizes := pool.Resources{pool.CPU: vm.cores * pool.Core, pool.Memory: vm.gib * pool.GiB}
		apply(st, pool.KindLaunched, &pool.Launched{
			Instance: id, Name: vm.name, Project: "shop", Want: pool.Running,
			Spec:  pool.Spec{Image: "debian-12", Resources: sizes},
			Image: pool.Image{Name: "debian-12", Sources: map[string]string{"rack": "debian-12.qcow2"}},
			Place: pool.Placement{Host: pool.NewHostID("rack", vm.host), Allocation: pool.Allocation{Resources: sizes}},
		})
		apply(st, pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)})
		apply(st, pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Running})
	}

	plan, err := rebalance.Plan(context.Background(), st, &scheduler.Scheduler{}, rebalance.Options{
		Goal:   rebalance.Defragment,
		Budget: rebalance.Budget{Moves: 10},
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(plan)
	for _, m := range plan.Moves {
		fmt.Printf("wave %d: %s from %s to %s: %s\n", m.Wave, m.Name, m.From, m.To, m.Why)
	}
	fmt.Println(plan.Emptied)
	// Output:
	// 1 move in 1 wave, 8 GiB: 3 hosts in use, then 2
	// wave 0: web from rack/b to rack/c: host rack/b becomes empty
	// [rack/b]
}
