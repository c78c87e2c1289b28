package scheduler_test

import (
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
