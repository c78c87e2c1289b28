package packing_test

import (
	"context"
	"fmt"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/packing"
)

func gib(cores, gib int64) pool.Resources {
	return pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: gib * pool.GiB}
}

func ExamplePlan() {
	p := packing.Problem{
		Items: []packing.Item{
			{Name: "small", Resources: gib(2, 4), Count: 60},
			{Name: "fat", Resources: gib(4, 28), Count: 20},
			{Name: "huge", Resources: gib(128, 512), Count: 1},
		},
		Hosts: []packing.HostKind{{Name: "server", Capacity: gib(32, 128)}},
	}
	ctx := context.Background()
	r, err := packing.Plan(ctx, &p, packing.Options{})
	if err != nil {
		panic(err)
	}
	for _, g := range r.Groups {
		fmt.Printf("%d x %s:", g.Hosts, p.Hosts[g.Kind].Name)
		for _, l := range g.Loads {
			fmt.Printf(" %d %s", l.Count, p.Items[l.Item].Name)
		}
		fmt.Println()
	}
	for _, n := range r.Never {
		fmt.Printf("%s fits nowhere: %s short of %s\n", p.Items[n.Item].Name, n.Class, n.Class.Format(n.Short))
	}
	fmt.Println(r.Hosts, "hosts, at least", r.Least, "whatever one does:", packing.Verify(ctx, &p, r) == nil)
	// Output:
	// 5 x server: 10 small 3 fat
	// 1 x server: 6 small 1 fat
	// 1 x server: 4 small 4 fat
	// huge fits nowhere: cpu short of 96 cores
	// 7 hosts, at least 7 whatever one does: true
}

// Half as much again in a year, three zones of which one may fail, and one host besides.
func ExampleProvide() {
	n := packing.Need{
		Problem: packing.Problem{
			Items: []packing.Item{{Resources: gib(2, 8), Count: 300}},
			Hosts: []packing.HostKind{
				{Name: "here already", Capacity: gib(32, 128), Count: 9, Owned: true},
				{Name: "to buy", Capacity: gib(64, 256), Cost: 9000},
			},
		},
		Growth: 1500, Domains: 3, SpareDomains: 1, Spare: 1,
	}
	c, err := packing.Provide(context.Background(), &n, packing.Options{})
	if err != nil {
		panic(err)
	}
	for i, k := range c.Kinds {
		fmt.Printf("%s: %d, %d in each zone\n", n.Hosts[i].Name, k.Total, k.PerDomain)
	}
	fmt.Println("cost", c.Cost)
	// Output:
	// here already: 9, 3 in each zone
	// to buy: 21, 7 in each zone
	// cost 189000
}
