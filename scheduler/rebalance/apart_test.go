package rebalance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// db is a spec that is to be alone of its kind on a host.
func db() pool.Spec {
	spec := size(2, 8)
	spec.Labels = map[string]string{"app": "db"}
	spec.Constraints.AntiAffinity = []pool.Affinity{{Selector: pool.Selector{Labels: spec.Labels}}}
	return spec
}

// Plans keep apart what is to stay apart, also while several move, and repair what is together.
func TestApart(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 6 {
		b.host(server(n, 16, 64))
		b.place(fmt.Sprint("db", n), id(n), db())
		b.place(fmt.Sprint("web", n), id(n), size(1, 4))
	}
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{})
	require.Empty(t, r.Emptied, "each host has one that no other may take")

	b.place("second", id(0), db())
	r = planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Goal: rebalance.Repair})
	require.Empty(t, r.Moves, "there is no host without one")
	b.host(server(6, 16, 64))
	r = planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Goal: rebalance.Repair})
	require.Len(t, r.Moves, 1)
	require.Equal(t, id(6), r.Moves[0].To)
	require.Contains(t, r.Moves[0].Why, "to stay apart from")
	require.Equal(t, 2, r.Before.Violations)
	require.Zero(t, r.After.Violations)

	r = planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Goal: rebalance.Drain, Hosts: []pool.HostID{id(1), id(2)}})
	on := map[pool.HostID]int{}
	for _, m := range r.Moves {
		if m.Name != "vm-web1" && m.Name != "vm-web2" {
			on[m.To]++
		}
	}
	require.Equal(t, map[pool.HostID]int{id(6): 1}, on, "one of the two finds a host")
}

// What is bound to domains or near others stays where it is.
func TestBoundStays(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 3 {
		b.host(server(n, 16, 64))
	}
	one := b.place("one", id(0), size(1, 4))
	for k, c := range []pool.Constraints{
		{Affinity: []pool.Affinity{{Selector: pool.Selector{Instances: []pool.InstanceID{one}}}}},
		{AntiAffinity: []pool.Affinity{{Selector: pool.Selector{Labels: map[string]string{"a": "b"}}, Within: "zone"}}},
		{Spread: []pool.Spread{{Selector: pool.Selector{Labels: map[string]string{"a": "b"}}}}},
	} {
		spec := size(1, 4)
		spec.Constraints = c
		b.place(fmt.Sprint("bound", k), id(1), spec)
	}
	b.place("large", id(2), size(8, 32))
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{})
	require.NotEmpty(t, r.Moves)
	require.NotContains(t, strings.Join(route(r), "\n"), "bound")
	require.Contains(t, reasons(r), "it is bound to where other instances are")
}
