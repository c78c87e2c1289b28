package scheduler_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

func tainted(h pool.Host, taints ...pool.Taint) pool.Host {
	h.Taints = taints
	return h
}

func TestTaints(t *testing.T) {
	t.Parallel()
	gpu := pool.Taint{Key: "gpu", Value: "a100", Effect: pool.NoSchedule}
	old := pool.Taint{Key: "old", Effect: pool.PreferNoSchedule}
	b := newBooks(t, tainted(host("a", 8, 8), gpu), tainted(host("b", 8, 8), old), host("c", 64, 64))
	b.book(want(1, 1), scheduler.Decision{Host: "d/b", Allocation: pool.Allocation{Resources: want(1, 1).Spec.Resources}})
	var s scheduler.Scheduler
	place := func(tolerations ...pool.Toleration) scheduler.Decision {
		req := want(2, 2)
		req.Spec.Constraints.Tolerations = tolerations
		d, err := s.Place(b.state, req)
		require.NoError(t, err)
		return d
	}
	require.Equal(t, pool.HostID("d/c"), place().Host, "an empty, larger host rather than one that is tainted")
	require.Equal(t, pool.HostID("d/b"), place(pool.Toleration{Key: "old"}).Host, "the best fit again")
	require.Equal(t, pool.HostID("d/c"), place(pool.Toleration{Key: "old", Value: "x"}).Host, "of another value")
	require.Equal(t, pool.HostID("d/a"), place(pool.Toleration{Key: "gpu", Value: "a100"}).Host)
	require.Equal(t, 2, place().Qualified)

	big := want(65, 1)
	r := refusal(t, s, newBooks(t, tainted(host("a", 96, 8), gpu, old)).state, big)
	require.True(t, r.Never, "emptying it does not help")
	require.Equal(t, &gpu, r.Hosts[0].Reason.Taint)
	require.Contains(t, r.Error(), `1 by taint`)
	require.Equal(t, `has a taint that is not tolerated: "gpu=a100:no-schedule"`, r.Hosts[0].Reason.String())
	require.Equal(t, `host "d/a" could take it: tolerate taint "gpu=a100:no-schedule"`, r.Nearest.String())
	require.NotContains(t, r.Nearest.String(), "old", "what is only preferred need not be tolerated")
}

// Each group of hosts is filled in its own way.
func TestGroupsOfHosts(t *testing.T) {
	t.Parallel()
	in := func(name, group string) pool.Host {
		h := host(name, 32, 64)
		h.Labels = map[string]string{"group": group}
		return h
	}
	b := newBooks(t, in("a", "pack"), in("b", "pack"), in("c", "spread"), in("d", "spread"), host("e", 32, 64))
	s := scheduler.Scheduler{Groups: []scheduler.HostGroup{{Labels: map[string]string{"group": "spread"}, Strategy: scheduler.Spread}}}
	place := func(group string) (got []pool.HostID) {
		req := want(2, 4)
		req.Spec.Constraints.Labels = map[string]string{"group": group}
		for range 4 {
			d, err := s.Place(b.state, req)
			require.NoError(t, err)
			b.book(req, d)
			got = append(got, d.Host)
		}
		return got
	}
	require.Equal(t, []pool.HostID{"d/c", "d/d", "d/c", "d/d"}, place("spread"))
	require.Equal(t, []pool.HostID{"d/a", "d/a", "d/a", "d/a"}, place("pack"))
}

func TestCostAndLoad(t *testing.T) {
	t.Parallel()
	priced := func(name string, cost int64) pool.Host {
		h := host(name, 32, 64)
		h.Cost = cost
		return h
	}
	b := newBooks(t, priced("a", 900_000), priced("b", 300_000), priced("c", 300_000))
	place := func(s scheduler.Scheduler) pool.HostID {
		d, err := s.Place(b.state, want(2, 4))
		require.NoError(t, err)
		on, err := s.PlaceOn(scheduler.NewIndex(b.state), want(2, 4))
		require.NoError(t, err)
		require.Equal(t, d.Host, on.Host)
		return d.Host
	}
	var loads scheduler.Loads
	loads.Set(map[pool.HostID]float64{"d/b": 0.9, "d/c": 0.2})
	require.Equal(t, pool.HostID("d/a"), place(scheduler.Scheduler{Loads: &loads}), "no weight, no influence")
	require.Equal(t, pool.HostID("d/b"), place(scheduler.Scheduler{CostWeight: 0.5}))
	require.Equal(t, pool.HostID("d/c"), place(scheduler.Scheduler{CostWeight: 0.5, LoadWeight: 0.1, Loads: &loads}))
	require.Equal(t, pool.HostID("d/a"), place(scheduler.Scheduler{CostWeight: 0.1, LoadWeight: 2, Loads: &loads}), "nothing is known of its load")
	loads.Set(map[pool.HostID]float64{"d/b": math.NaN(), "d/c": -1})
	require.Equal(t, pool.HostID("d/b"), place(scheduler.Scheduler{CostWeight: 0.5, LoadWeight: 2, Loads: &loads}), "nothing is known of any")
	for _, w := range []float64{-1, math.NaN(), math.Inf(1)} {
		s := scheduler.Scheduler{CostWeight: w}
		_, err := s.Place(b.state, want(2, 4))
		require.ErrorIs(t, err, pool.ErrInvalid)
		s = scheduler.Scheduler{LoadWeight: w}
		_, err = s.Place(b.state, want(2, 4))
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
}
