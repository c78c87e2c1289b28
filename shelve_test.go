package berthage_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// shelves answers the n-th shelve of a machine with the n-th fault, and those after with the last.
func shelves(faults ...fake.Fault) func(fake.Call) fake.Fault {
	calls := make(chan map[pool.MachineID]int, 1)
	calls <- make(map[pool.MachineID]int)
	return func(c fake.Call) fake.Fault {
		if c.Op != fake.OpShelve {
			return fake.Fault{}
		}
		n := <-calls
		f := faults[min(n[c.Ref.Machine], len(faults)-1)]
		n[c.Ref.Machine]++
		calls <- n
		return f
	}
}

// An instance that its hypervisor refuses to shelve has been stopped for that. It is brought back to what it was
// before, and says why it is not shelved.
func TestShelveIsRefused(t *testing.T) {
	t.Parallel()
	refuse := fake.Fault{Kind: fake.Refuse, Err: fmt.Errorf("the store is full")}
	for name, tc := range map[string]struct {
		before  pool.Power
		faults  []fake.Fault
		settles time.Duration
		within  time.Duration
		stays   bool // as a shelve that may still be carried out
	}{
		"running":                      {before: pool.Running, faults: []fake.Fault{refuse}, within: 5 * time.Second},
		"stopped":                      {before: pool.Stopped, faults: []fake.Fault{refuse}, within: 5 * time.Second},
		"suspended":                    {before: pool.Suspended, faults: []fake.Fault{refuse}, within: 5 * time.Second},
		"not known how late":           {before: pool.Running, faults: []fake.Fault{refuse}, settles: -1, within: 5 * time.Second},
		"after one without an answer":  {before: pool.Running, faults: []fake.Fault{{Kind: fake.Drop}, refuse}, within: 2 * time.Minute},
		"that, and not known how late": {before: pool.Running, faults: []fake.Fault{{Kind: fake.Drop}, refuse}, settles: -1, within: 10 * time.Minute, stays: true},
		"not reached, then refused":    {before: pool.Running, faults: []fake.Fault{{Kind: fake.Unavailable}, refuse}, within: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: hosts(1), Settles: tc.settles, Hook: shelves(tc.faults...)})
				defer b.stop()
				ctx := context.Background()
				i := settle(t, b.m, b.launch("one").ID)
				if tc.before != pool.Running {
					_, err := b.m.SetPower(ctx, i.ID, tc.before)
					require.NoError(t, err)
					settle(t, b.m, i.ID)
				}
				_, err := b.m.SetPower(ctx, i.ID, pool.Shelved)
				require.NoError(t, err)
				time.Sleep(tc.within)
				now, err := b.m.Instance(i.ID)
				require.NoError(t, err)
				require.Contains(t, now.Reason, "the store is full")
				if tc.stays {
					require.Equal(t, pool.Shelved, now.Want)
					require.Contains(t, now.Reason, "tried again")
					before := head(b.m)
					time.Sleep(time.Hour)
					require.Equal(t, before, head(b.m), "it is said once")
					return
				}
				require.True(t, now.Settled())
				require.Equal(t, tc.before, now.Want)
				require.Equal(t, tc.before, now.Is)
				require.Equal(t, i.Machine(), now.Machine())
				require.Empty(t, b.fleet.Shelf())
				require.Zero(t, now.Shelve)
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// What was refused for longer than an unanswered call can take has been carried out all the same when that call was:
// the refusal speaks for itself alone.
func TestRefusedAfterItWasCarriedOut(t *testing.T) {
	t.Parallel()
	answers := func(op fake.Op, once fake.FaultKind) func(fake.Call) fake.Fault { // and refused for five minutes
		first := time.Time{}
		return func(c fake.Call) fake.Fault {
			switch {
			case c.Op != op:
				return fake.Fault{}
			case first.IsZero():
				first = time.Now()
				return fake.Fault{Kind: once}
			case time.Since(first) < 5*time.Minute:
				return fake.Fault{Kind: fake.Refuse}
			}
			return fake.Fault{}
		}
	}
	t.Run("shelve", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := start(t, fake.Config{Hosts: hosts(1), Hook: answers(fake.OpShelve, fake.Lose)})
			defer b.stop()
			i := settle(t, b.m, b.launch("one").ID)
			_, err := b.m.SetPower(context.Background(), i.ID, pool.Shelved)
			require.NoError(t, err)
			require.Equal(t, pool.Aside, settle(t, b.m, i.ID).Phase)
			require.Len(t, b.fleet.Shelf(), 1)
			sound(t, b.m, b.fleet)
		})
	})
	grown := pool.Resources{pool.CPU: pool.Core, pool.Memory: 4 * pool.GiB, pool.StorageStandard: 10 * pool.GiB}
	for name, ask := range map[string]berthage.Resize{
		"memory": {Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 4 * pool.GiB}},
		"disk":   {Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB}, Disks: []int64{20 * pool.GiB}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				want := grown
				if ask.Disks != nil {
					want = pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB, pool.StorageStandard: 20 * pool.GiB}
				}
				b := start(t, fake.Config{Hosts: hosts(1), Hook: answers(fake.OpResize, fake.Lose)})
				defer b.stop()
				ask.Instance = settle(t, b.m, b.launch("one").ID).ID
				_, err := b.m.Resize(context.Background(), ask)
				require.NoError(t, err)
				now := settle(t, b.m, ask.Instance)
				require.True(t, want.Equal(now.Place.Allocation.Resources), "%v", now.Place.Allocation)
				v, _ := b.fleet.InspectHost(now.Place.Host)
				require.True(t, want.Equal(v.Machines[0].Demand), "%v", v.Machines[0].Demand)
				sound(t, b.m, b.fleet)
			})
		})
	}
	t.Run("and what was not is called off", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			b := start(t, fake.Config{Hosts: hosts(1), Hook: answers(fake.OpResize, fake.Drop)})
			defer b.stop()
			i := settle(t, b.m, b.launch("one").ID)
			_, err := b.m.Resize(context.Background(), berthage.Resize{Instance: i.ID, Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 4 * pool.GiB}})
			require.NoError(t, err)
			now := settle(t, b.m, i.ID)
			require.True(t, i.Place.Allocation.Resources.Equal(now.Place.Allocation.Resources), "%v", now.Place.Allocation)
			require.Contains(t, now.Reason, "refused")
		})
	})
}

// A leader that inherits a shelve does not know what was sent: it waits until nothing can land any more.
func TestShelveIsRefusedAfterATakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fleet := fake.Config{Hosts: hosts(1), Hook: shelves(fake.Fault{Kind: fake.Unavailable}, fake.Fault{Kind: fake.Refuse})}
		b := start(t, fleet)
		defer func() { b.stop() }()
		i := settle(t, b.m, b.launch("one").ID)
		_, err := b.m.SetPower(context.Background(), i.ID, pool.Shelved)
		require.NoError(t, err)
		time.Sleep(100 * time.Millisecond)
		b.stop()
		b.m = open(t, b.fleet, b.ledger)
		b.stop = run(t, b.m)
		time.Sleep(50 * time.Second)
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Shelved, now.Want)
		time.Sleep(time.Minute)
		now, err = b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Running, now.Is)
		require.Equal(t, pool.Running, now.Want)
	})
}

// Of a cluster that is to give its places back, the members that cannot be shelved go on, count as failed, and are
// what they were to a resume.
func TestClusterThatCannotBeShelved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, id := context.Background(), pool.NewClusterID("shop", "web")
		var refused pool.MachineID
		b := start(t, fake.Config{Hosts: hosts(2), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpShelve && c.Ref.Machine == refused {
				return fake.Fault{Kind: fake.Refuse}
			}
			return fake.Fault{}
		}})
		defer b.stop()
		c, err := b.m.CreateCluster(ctx, web(3))
		require.NoError(t, err)
		idle(t, b.m, id)
		refused = c.Members[1].Instance.Machine(0)
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: id, Verb: berthage.Suspend, Release: true})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		c, err = b.m.Cluster(id)
		require.NoError(t, err)
		require.Equal(t, []int{2, 0, 1, 0}, []int{c.Done, c.Pending, c.Failed, c.Skipped})
		require.Equal(t, "failed", c.Members[1].Outcome)
		require.Equal(t, "running", c.Members[1].Status)
		require.Contains(t, c.Members[1].Reason, "refused")
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))

		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: id, Verb: berthage.Resume})
		require.NoError(t, err)
		c = idle(t, b.m, id)
		require.Equal(t, []int{3, 0, 0, 0}, []int{c.Done, c.Pending, c.Failed, c.Skipped})
		require.Equal(t, map[pool.Power]int{pool.Running: 3}, machines(b.fleet))
		sound(t, b.m, b.fleet)

		// Of one that is stopped the members that ran before are still known.
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: id, Verb: berthage.Stop})
		require.NoError(t, err)
		idle(t, b.m, id)
		refused = c.Members[1].Instance.Machine(0)
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: id, Verb: berthage.Suspend, Release: true})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		i, err := b.m.Instance(c.Members[1].Instance)
		require.NoError(t, err)
		require.Equal(t, pool.Stopped, i.Want)
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: id, Verb: berthage.Resume})
		require.NoError(t, err)
		require.Equal(t, 3, idle(t, b.m, id).Done)
		require.Equal(t, map[pool.Power]int{pool.Running: 3}, machines(b.fleet))
	})
}

// That the disks put aside are discarded is recorded before: when the machine that was made of them is lost before the
// answer could be, the next one is not made of what may be gone.
func TestLostWhileDiscarding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var answered atomic.Bool
		b := start(t, fake.Config{Hosts: hosts(2), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpDiscard && !answered.Load() {
				return fake.Fault{Kind: fake.Lose}
			}
			return fake.Fault{}
		}})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		for _, want := range []pool.Power{pool.Shelved, pool.Running} {
			_, err := b.m.SetPower(ctx, i.ID, want)
			require.NoError(t, err)
			eventually(t, func() bool {
				now, err := b.m.Instance(i.ID)
				require.NoError(t, err)
				return now.Want == want && (now.Is == want || now.Phase == pool.Aside)
			}, string(want))
		}
		time.Sleep(10 * time.Second)
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.NotNil(t, now.Shelf)
		require.Empty(t, b.fleet.Shelf())
		require.NoError(t, b.fleet.SetHostState(now.Place.Host, fake.Dead))
		time.Sleep(20 * time.Minute)
		require.True(t, countsAsOff(b.m, now.Place.Host))
		answered.Store(true)
		eventually(t, func() bool {
			now, err = b.m.Instance(i.ID)
			require.NoError(t, err)
			return now.Place.Number == 2
		}, "made anew")
		now = settle(t, b.m, i.ID)
		require.Equal(t, "running", now.Status())
		require.Equal(t, 2, now.Place.Number)
		require.Nil(t, now.Shelf)
		sound(t, b.m, b.fleet)
	})
}

// What was put aside without an answer, of an instance that was deleted while its host was off, is discarded when the host is back.
func TestPutAsideForNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(3), Hook: first(fake.OpShelve, 1, fake.Fault{Kind: fake.Lose, After: 5 * time.Second})})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		_, err := b.m.SetPower(ctx, i.ID, pool.Shelved)
		require.NoError(t, err)
		eventually(t, func() bool { return len(b.fleet.Shelf()) == 1 }, "put aside")
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.Dead))
		_, err = b.m.Delete(ctx, i.ID)
		require.NoError(t, err)
		eventually(t, func() bool { return held(b.m) == 1 }, "deleted")
		require.Len(t, b.fleet.Shelf(), 1)
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.Up))
		time.Sleep(5 * time.Minute)
		require.Empty(t, b.fleet.Shelf())
		require.Zero(t, held(b.m))
		sound(t, b.m, b.fleet)
	})
}
