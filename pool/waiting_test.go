package pool_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// An instance that waits is charged to nobody until it is placed.
func TestWaiting(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	id := pool.NewInstanceID("ledger", "p", "waits")
	apply := func(kind string, payload any) error {
		e := stored(t, p.next(kind, payload))
		return s.Apply(&e)
	}
	before, _ := s.Project("p")
	launched := pool.Launched{Instance: id, Name: "w", Project: "p", Want: pool.Running, Waits: true, Reason: "full", Spec: pool.Spec{Image: "debian-12", Priority: 3, Preemptible: pool.PreemptShelve}}
	wrong := launched
	wrong.Place = place("d/h00", 0)
	require.ErrorIs(t, apply(pool.KindLaunched, &wrong), pool.ErrInvalid)
	wrong = launched
	wrong.Project = "nobody"
	require.ErrorIs(t, apply(pool.KindLaunched, &wrong), pool.ErrNotFound)
	require.NoError(t, apply(pool.KindLaunched, &launched))
	i, _ := s.Instance(id)
	require.Equal(t, []any{pool.Waiting, "full", false, false, "waiting"}, []any{i.Phase, i.Reason, i.Placed(), i.Settled(), i.Status()})
	after, _ := s.Project("p")
	require.True(t, before.Used.Equal(after.Used))
	require.Equal(t, before.Members+1, after.Members)
	require.Equal(t, 1, s.WaitingCount())

	require.ErrorIs(t, apply(pool.KindAwaiting, &pool.Awaiting{Instance: id, Host: "d/none"}), pool.ErrNotFound)
	require.NoError(t, apply(pool.KindAwaiting, &pool.Awaiting{Instance: id, Host: "d/h00"}))
	require.Equal(t, pool.HostID("d/h00"), first(s.Keeping()).Awaits)
	back := restored(t, snapshot(t, s))
	require.Equal(t, portrait(s, true), portrait(back, true))
	require.ErrorIs(t, apply(pool.KindSent, &pool.OfMachine{Machine: id.Machine(0)}), pool.ErrNotFound)

	require.NoError(t, apply(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h00", 1)}))
	i, _ = s.Instance(id)
	require.Equal(t, []any{pool.Building, "", pool.HostID("")}, []any{i.Phase, i.Reason, i.Awaits})
	require.Empty(t, i.Avoid)
	require.Zero(t, s.WaitingCount())
	require.ErrorIs(t, apply(pool.KindAwaiting, &pool.Awaiting{Instance: id}), pool.ErrWrongState)
	checkBooks(t, s, true)
}

func TestPriorities(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		priority int
		preempt  pool.Preemption
		ok       bool
	}{
		{0, "", true}, {pool.MaxPriority, pool.PreemptShelve, true}, {-pool.MaxPriority, pool.PreemptDelete, true},
		{pool.MaxPriority + 1, "", false}, {-pool.MaxPriority - 1, "", false}, {0, "kill", false},
	} {
		err := pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 1}, Priority: tc.priority, Preemptible: tc.preempt}.Valid()
		require.Equal(t, tc.ok, err == nil, "%+v: %v", tc, err)
	}
	for lifetime, ok := range map[int64]bool{0: true, 1: true, pool.MaxLifetime: true, pool.MaxLifetime + 1: false, -1: false} {
		err := pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 1}, Lifetime: lifetime}.Valid()
		require.Equal(t, ok, err == nil, "%d: %v", lifetime, err)
		if !ok {
			require.ErrorIs(t, err, pool.ErrInvalid)
			require.ErrorContains(t, err, "lifetime")
		}
	}
	require.Error(t, pool.Project{Name: "p", Weight: -1}.Valid())
	require.Error(t, pool.Project{Name: "p", Weight: pool.MaxWeight + 1}.Valid())
	require.NoError(t, pool.Project{Name: "p", Weight: 3}.Valid())
}
