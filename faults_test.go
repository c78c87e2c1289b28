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

// first makes a fault happen to the n first calls of an operation.
func first(op fake.Op, n int32, f fake.Fault) func(fake.Call) fake.Fault {
	var count atomic.Int32
	return func(c fake.Call) fake.Fault {
		if c.Op == op && count.Add(1) <= n {
			return f
		}
		return fake.Fault{}
	}
}

func held(m *berthage.Manager) (n int) {
	m.View(func(st *pool.State) {
		for range st.Held() {
			n++
		}
	})
	return n
}

// What may go wrong with a create, and what must come of it.
func TestFaultyCreate(t *testing.T) {
	t.Parallel()
	const settles = 30 * time.Second
	for _, tc := range []struct {
		name    string
		copies  bool // the hypervisor does not know ids
		hook    func(fake.Call) fake.Fault
		status  string
		number  int  // of the placement that runs
		creates int  // copies made of the instance, in all; -1: as many as land between two destructions
		holds   bool // capacity is held on the way
	}{
		{name: "refused once: another host", hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Refuse}), status: "running", number: 1, creates: 1},
		{name: "refused everywhere: failed", hook: first(fake.OpCreate, 99, fake.Fault{Kind: fake.Refuse}), status: "failed"},
		{name: "half done: cleaned up, another host", hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Spoil}), status: "running", number: 0, creates: 1},
		{name: "unavailable twice: the same host", hook: first(fake.OpCreate, 2, fake.Fault{Kind: fake.Unavailable}), status: "running", creates: 1},
		{name: "reply lost: found", hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Lose}), status: "running", creates: 1},
		{name: "reply lost, copies: found", copies: true, hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Lose}), status: "running", creates: 1},
		{name: "request lost: sent again", hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Drop}), status: "running", creates: 1},
		{name: "request lost, copies: sent again when it can no longer land", copies: true, hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Drop}), status: "running", creates: 1},
		{name: "late, copies: waited for", copies: true, hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Late, After: 20 * time.Second}), status: "running", creates: 1},
		{name: "late, thrice: undone, held, elsewhere", hook: first(fake.OpCreate, 3, fake.Fault{Kind: fake.Late, After: 25 * time.Second}), status: "running", number: 1, creates: -1, holds: true},
		{name: "start lost: started once", hook: first(fake.OpStart, 1, fake.Fault{Kind: fake.Lose}), status: "running", creates: 1},
		{name: "start unavailable", hook: first(fake.OpStart, 3, fake.Fault{Kind: fake.Unavailable}), status: "running", creates: 1},
		{name: "lists broken off", hook: first(fake.OpMachines, 5, fake.Fault{Kind: fake.Shorten}), status: "running", creates: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: hosts(4), Copies: tc.copies, Settles: settles, Hook: tc.hook})
				defer b.stop()
				i := b.launch("one")
				sawHeld := false
				for range 1200 { // watched every tenth of a second
					time.Sleep(100 * time.Millisecond)
					sound(t, b.m, b.fleet)
					sawHeld = sawHeld || held(b.m) > 0
				}
				i = settle(t, b.m, i.ID)
				require.Equal(t, tc.status, i.Status(), i.Reason)
				require.Equal(t, tc.holds, sawHeld, "capacity held for a create in doubt")
				require.Zero(t, held(b.m), "held capacity is given back once nothing can land")
				require.Nil(t, i.Anew, "there were no disks before")
				if tc.status == "failed" {
					require.NotEmpty(t, i.Reason)
					require.Empty(t, machines(b.fleet))
				} else {
					require.Equal(t, tc.number, i.Place.Number)
					require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
				}
				creates := 0
				for n := range 4 {
					creates += b.fleet.CountOf(i.ID.Machine(n)).Creates
				}
				if tc.creates >= 0 {
					require.Equal(t, tc.creates, creates)
				}
				_, err := b.m.Delete(context.Background(), i.ID)
				require.NoError(t, err)
				settle(t, b.m, i.ID)
				time.Sleep(time.Minute)
				require.Empty(t, machines(b.fleet))
				b.m.View(func(st *pool.State) {
					for c, s := range st.Totals() {
						require.Zero(t, s.Used, c)
					}
				})
			})
		})
	}
}

// An unknown time of settling holds the capacity until a person says that nothing can land any more.
func TestHeldUntilAPersonSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Copies: true, Settles: -1, Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Drop})})
		defer b.stop()
		i := b.launch("one")
		require.Equal(t, "running", settle(t, b.m, i.ID).Status())
		time.Sleep(24 * time.Hour)
		require.Equal(t, 1, held(b.m))
		require.NoError(t, b.m.ReleaseHeld(context.Background(), i.ID.Machine(0)))
		require.Zero(t, held(b.m))
		require.ErrorIs(t, b.m.ReleaseHeld(context.Background(), i.ID.Machine(0)), pool.ErrNotFound)
	})
}

// A deletion at any moment of a launch leaves nothing behind.
func TestDeleteAtAnyMoment(t *testing.T) {
	t.Parallel()
	for at := time.Duration(0); at < 5*time.Second; at += 250 * time.Millisecond {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{
					Hosts: hosts(1), Latency: fake.Latency{Mean: 300 * time.Millisecond}, Build: 2 * time.Second, Boot: time.Second,
				})
				defer b.stop()
				i := b.launch("one")
				time.Sleep(at)
				_, err := b.m.Delete(context.Background(), i.ID)
				require.NoError(t, err)
				require.Equal(t, pool.Deleted, settle(t, b.m, i.ID).Phase)
				time.Sleep(10 * time.Minute)
				require.Empty(t, machines(b.fleet))
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// A leader that dies at any moment of many launches is followed by another that finishes them, each once.
func TestTakeOverAtAnyMoment(t *testing.T) {
	t.Parallel()
	for at := time.Duration(0); at < 6*time.Second; at += 500 * time.Millisecond {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				scratch := pool.NewMemoryScratch()
				shared := func(c *berthage.Config) { c.Scratch = scratch }
				b := start(t, fake.Config{
					Hosts: hosts(3), Latency: fake.Latency{Mean: 200 * time.Millisecond}, Build: time.Second, Settles: time.Minute,
				}, shared)
				second := open(t, b.fleet, b.ledger, shared)
				stop := run(t, second)
				defer stop()
				for n := range 20 {
					b.launch(fmt.Sprintf("vm-%d", n))
				}
				time.Sleep(at)
				b.stop() // its calls under way are cut off, their outcome unknown
				time.Sleep(5 * time.Minute)
				require.True(t, second.Status().Leading)
				require.Equal(t, map[pool.Power]int{pool.Running: 20}, machines(b.fleet))
				sound(t, second, b.fleet)
				for id, c := range b.fleet.Counts() {
					require.Equal(t, 1, c.Creates, "copies made of %s", id)
				}
				require.Zero(t, held(second))
			})
		})
	}
}

// Silence proves nothing: a host that is not observed takes no new instances, and keeps those it has.
func TestHostGoesAndComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		conditions := func() pool.Conditions {
			var c pool.Conditions
			b.m.View(func(st *pool.State) {
				h, _ := st.Host(i.Place.Host)
				c = h.Conditions
			})
			return c
		}
		require.True(t, conditions().Schedulable())
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.CutOff))
		time.Sleep(20 * time.Second)
		require.False(t, conditions().Schedulable(), "not ready at the next look")
		time.Sleep(2 * time.Minute)
		require.True(t, conditions().Has(pool.Unreachable))
		other := settle(t, b.m, b.launch("two").ID)
		require.NotEqual(t, i.Place.Host, other.Place.Host)
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, "running", now.Status(), "nothing is concluded from silence")

		h, err := b.m.Cordon(context.Background(), i.Place.Host, "new memory")
		require.NoError(t, err)
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.Up))
		time.Sleep(2 * time.Minute)
		require.Equal(t, pool.Ready|pool.Cordoned, conditions())
		b.m.View(func(st *pool.State) { now, _ := st.Host(h.ID); h = *now })
		require.Equal(t, "new memory", h.Reason, "kept as long as the cordon")
		_, err = b.m.Uncordon(context.Background(), i.Place.Host)
		require.NoError(t, err)
		require.True(t, conditions().Schedulable())

		require.ErrorIs(t, b.m.RemoveHost(context.Background(), i.Place.Host), pool.ErrInUse)
		_, err = b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		require.NoError(t, b.m.RemoveHost(context.Background(), i.Place.Host))
		time.Sleep(time.Minute)
		b.m.View(func(st *pool.State) { require.Equal(t, 1, st.HostCount(), "removed for good") })
		_, err = b.m.AddHost(context.Background(), i.Place.Host)
		require.NoError(t, err)
		b.m.View(func(st *pool.State) {
			require.Equal(t, 2, st.HostCount())
			require.EqualValues(t, 16*pool.Core, st.Totals()[pool.CPU].Total)
		})
	})
}

// A machine that is changed behind our back is found, and made what it is wanted to be.
func TestPowerChangedOutside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		view, _ := b.fleet.InspectHost(i.Place.Host)
		require.NoError(t, b.fleet.Stop(context.Background(), view.Machines[0].Ref))
		time.Sleep(time.Minute)
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))

		require.NoError(t, b.fleet.Destroy(context.Background(), view.Machines[0].Ref))
		time.Sleep(time.Minute)
		i, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, "missing", i.Status(), "never made anew without being asked")
		_, err = b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Deleted, settle(t, b.m, i.ID).Phase)
	})
}

// Where a create delivered twice has made two copies, the one that runs is the machine: the fleet comes to rest.
func TestSecondCopyIsAtRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1), Copies: true, Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Duplicate})})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		time.Sleep(time.Minute)
		require.Equal(t, map[pool.Power]int{pool.Running: 1, pool.Stopped: 1}, machines(b.fleet))
		before := b.m.Status().Revision
		time.Sleep(time.Hour)
		require.Equal(t, before, b.m.Status().Revision)
		_, err := b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		require.Empty(t, machines(b.fleet))
	})
}
