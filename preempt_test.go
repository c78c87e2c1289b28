package berthage_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func preempting(c *berthage.Config) { c.Preempt = true }

// give launches an instance that may be made to give way, and waits until it runs.
func (b *bench) give(name string, cores int64, priority int, way pool.Preemption) pool.InstanceID {
	b.t.Helper()
	s := spec()
	s.Resources = pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: 2 * cores * pool.GiB}
	s.Priority, s.Preemptible = priority, way
	i, err := b.m.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s})
	require.NoError(b.t, err)
	return settle(b.t, b.m, i.ID).ID
}

// The fewest give way, those of lower priority, and only as they have said; nobody else gets their room.
func TestPreemption(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)}, preempting)
		defer b.stop()
		low, lower := b.give("low", 2, 1, pool.PreemptShelve), b.give("lower", 2, 0, pool.PreemptDelete)
		fixed, equal := b.give("fixed", 2, 0, ""), b.give("equal", 2, 2, pool.PreemptDelete)
		small := b.wait("shop", "small", 2, 0) // of nobody's priority
		time.Sleep(time.Second)
		require.Equal(t, pool.Waiting, b.phase(small.ID))

		high := b.wait("shop", "high", 2, 2)
		i := settle(t, b.m, high.ID)
		require.Equal(t, pool.Running, i.Is)
		require.Equal(t, pool.Deleted, b.phase(lower), "of equal number and size the lowest priority")
		require.Equal(t, pool.Waiting, b.phase(small.ID))

		b.wait("shop", "higher", 2, 2)
		time.Sleep(time.Minute)
		shelved, err := b.m.Instance(low)
		require.NoError(t, err)
		require.Equal(t, pool.Aside, shelved.Phase)
		require.Equal(t, "gives way to an instance of priority 2", shelved.Reason)
		last := b.wait("shop", "last", 2, 2)
		time.Sleep(time.Minute)
		require.Equal(t, pool.Waiting, b.phase(last.ID), "nobody is left who may be made to")
		require.Equal(t, pool.Active, b.phase(fixed))
		require.Equal(t, pool.Active, b.phase(equal))
		at := head(b.m)
		time.Sleep(time.Hour)
		require.Equal(t, at, head(b.m))
		sound(t, b.m, b.fleet)
	})
}

// By default nobody gives way.
func TestNobodyGivesWayByDefault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		all := b.give("all", 8, 0, pool.PreemptDelete)
		high := b.wait("shop", "high", 1, 9)
		time.Sleep(time.Hour)
		require.Equal(t, pool.Waiting, b.phase(high.ID))
		require.Equal(t, pool.Active, b.phase(all))
	})
}

// A victim's place is given to nobody before its machine is gone, however long that takes, and to nobody else then.
func TestVictimIsGoneFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpDestroy {
				return fake.Fault{Before: 30 * time.Second}
			}
			return fake.Fault{}
		}}, preempting)
		defer b.stop()
		victim := b.give("victim", 8, 0, pool.PreemptDelete)
		high := b.wait("shop", "high", 8, 1)
		for range 28 {
			time.Sleep(time.Second)
			_, err := b.m.Launch(context.Background(), berthage.Launch{Token: "thief", Project: "shop", Name: "thief", Spec: spec()})
			require.ErrorIs(t, err, pool.ErrNoRoom)
			require.Equal(t, pool.Deleting, b.phase(victim))
			require.Equal(t, pool.Waiting, b.phase(high.ID))
			sound(t, b.m, b.fleet)
		}
		require.Equal(t, pool.Running, settle(t, b.m, high.ID).Is)
		require.Equal(t, pool.Deleted, b.phase(victim))
		sound(t, b.m, b.fleet)
	})
}

// One whose shelve is refused is left alone then, and another gives way.
func TestVictimThatCannot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var never pool.MachineID
		b := start(t, fake.Config{Hosts: hosts(1), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpShelve && c.Ref.Machine == never {
				return fake.Fault{Kind: fake.Refuse, Err: errors.New("no")}
			}
			return fake.Fault{}
		}}, preempting)
		defer b.stop()
		stuck, other := b.give("stuck", 4, 0, pool.PreemptShelve), b.give("other", 4, 1, pool.PreemptShelve)
		never = stuck.Machine(0)
		high := b.wait("shop", "high", 4, 2)
		require.Equal(t, pool.Running, settle(t, b.m, high.ID).Is)
		require.Equal(t, pool.Aside, b.phase(other))
		i := settle(t, b.m, stuck)
		require.Equal(t, pool.Running, i.Is)
		sound(t, b.m, b.fleet)
	})
}
