package berthage_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// faulty opens and runs a Manager on a memory ledger wrapped in faults.
func faulty(t *testing.T, n int) (*bench, *ledgertest.Faulty) {
	t.Helper()
	ledger := ledgertest.NewFaulty(pool.NewMemoryLedger(), 1, ledgertest.Faults{})
	b := &bench{t: t, fleet: fake.New(fake.Config{Name: "sim", Hosts: hosts(n)}), ledger: ledger}
	b.m = open(t, b.fleet, ledger)
	catalogue(t, b.m)
	b.stop = run(t, b.m)
	b.pooled(b.m, n)
	return b, ledger
}

// An append whose reply is lost is neither repeated as another nor taken for failed: its caller waits until
// the same batch is known to be stored, and meanwhile nobody sees it.
func TestAppendInDoubtIsSettled(t *testing.T) {
	t.Parallel()
	for _, fault := range []ledgertest.Fault{ledgertest.LostReply, ledgertest.LostRequest, ledgertest.Late} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, ledger := faulty(t, 2)
				defer b.stop()
				time.Sleep(time.Minute)
				before := b.m.Status().Revision
				ledger.Next(fault)
				require.NoError(t, b.m.PutProject(context.Background(), pool.Project{Name: "other"}))
				require.Equal(t, before+1, b.m.Status().Revision, "one batch, once")
				ledger.Settle()
				ledger.Next(fault)
				i := b.launch("one")
				require.Equal(t, "running", settle(t, b.m, i.ID).Status())
				ledger.Settle()
				require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
				require.Equal(t, i.ID, b.launch("one").ID)
				sound(t, b.m, b.fleet)
			})
		})
	}
}

func TestNothingIsSeenBeforeItIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 2)
		defer b.stop()
		time.Sleep(time.Minute)
		before := b.m.Status().Revision
		ledger.Next(ledgertest.LostReply, ledgertest.Refused, ledgertest.Refused, ledgertest.Refused)
		var wg sync.WaitGroup
		wg.Go(func() { b.launch("one") })
		time.Sleep(60 * time.Millisecond) // stored, but not known to be
		require.Equal(t, before, b.m.Status().Revision)
		b.m.View(func(st *pool.State) { require.Zero(t, st.InstanceCount()) })
		require.Empty(t, machines(b.fleet))
		wg.Wait()
		b.m.View(func(st *pool.State) { require.Equal(t, 1, st.InstanceCount()) })
	})
}

// Without its store the Manager refuses commands and serves reads; with it again everything goes on.
func TestStoreOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 2)
		defer b.stop()
		settle(t, b.m, b.launch("one").ID)
		ledger.SetDown(true)
		_, err := b.m.Launch(context.Background(), berthage.Launch{Token: "two", Project: "shop", Name: "two", Spec: spec()})
		require.ErrorIs(t, err, pool.ErrUnavailable)
		time.Sleep(time.Hour)
		b.m.View(func(st *pool.State) { require.Equal(t, 1, st.InstanceCount()) })
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet), "machines are left alone")
		ledger.SetDown(false)
		require.Equal(t, "running", settle(t, b.m, b.launch("two").ID).Status())
		sound(t, b.m, b.fleet)
	})
}

// Many launches and deletions while a fifth of all appends go wrong, in every way.
func TestManyFaultyAppends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 8)
		defer b.stop()
		ctx := context.Background()
		ledger.Set(ledgertest.Faults{Refused: 0.05, LostRequest: 0.05, LostReply: 0.05, Late: 0.05})
		var wg sync.WaitGroup
		for n := range 60 {
			wg.Go(func() {
				name := fmt.Sprintf("vm-%d", n)
				for {
					i, err := b.m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
					if err == nil && n%3 == 0 {
						_, err = b.m.Delete(ctx, i.ID)
					}
					if err == nil {
						return
					}
					if !is(err, pool.ErrUnavailable, pool.ErrUnknown) {
						t.Errorf("vm-%d: %v", n, err)
						return
					}
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Minute)
		require.Equal(t, map[pool.Power]int{pool.Running: 40}, machines(b.fleet))
		for id, c := range b.fleet.Counts() {
			require.LessOrEqual(t, c.Creates, 1, "copies made of %s", id)
		}
		sound(t, b.m, b.fleet)
		// What a second Manager folds from the ledger is what the first one has.
		ledger.Set(ledgertest.Faults{})
		ledger.Settle()
		again := open(t, b.fleet, b.ledger)
		require.Equal(t, b.m.Status().Revision, again.Status().Revision)
		var want, got any
		b.m.View(func(st *pool.State) { want = snapshot(st) })
		again.View(func(st *pool.State) { got = snapshot(st) })
		require.Equal(t, want, got)
	})
}

func snapshot(st *pool.State) any {
	type all struct {
		Hosts     []pool.HostRecord
		Instances []pool.Instance
		Totals    map[pool.Class]pool.Sum
	}
	out := all{Totals: st.Totals()}
	for _, h := range st.SortedHosts() {
		c := *h
		c.Host.Labels, c.Host.Kinds = nil, nil // nil and empty are the same
		out.Hosts = append(out.Hosts, c)
	}
	for _, i := range st.SortedInstances() {
		c := *i
		c.Spec, c.Image = pool.Spec{}, pool.Image{}
		c.Place.Allocation.Claims = nil
		out.Instances = append(out.Instances, c)
	}
	return out
}

// A leader that cannot renew its lease stops calling before another may begin.
func TestLeaderWithoutItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := pool.NewMemoryScratch()
		cut := ledgertest.NewFaulty(nil, 1, ledgertest.Faults{})
		b := start(t, fake.Config{Hosts: hosts(2)}, func(c *berthage.Config) { c.Scratch = cut.Scratch(shared) })
		defer b.stop()
		second := open(t, b.fleet, b.ledger, func(c *berthage.Config) { c.Scratch = shared })
		defer run(t, second)()
		time.Sleep(time.Minute)
		require.True(t, b.m.Status().Leading)
		cut.SetDown(true)
		both, neither := 0, 0
		for range 1200 {
			time.Sleep(100 * time.Millisecond)
			switch one, two := b.m.Status().Leading, second.Status().Leading; {
			case one && two:
				both++
			case !one && !two:
				neither++
			}
		}
		require.Zero(t, both, "two led at once")
		require.Less(t, neither, 300, "nobody led for half a minute")
		require.True(t, second.Status().Leading)
		require.Equal(t, "running", settle(t, b.m, b.launch("one").ID).Status(), "any of them takes commands")
		cut.SetDown(false)
		time.Sleep(time.Minute)
		require.True(t, second.Status().Leading, "the lead is not taken back")
	})
}

// An event that this version does not know stops commands and calls, and leaves the reads.
func TestUnknownEventMakesStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		ctx := context.Background()
		settle(t, b.m, b.launch("one").ID)
		time.Sleep(time.Minute)
		e := pool.Event{ID: "x", Kind: "moon.phase", Version: 1, Data: []byte(`{}`), Time: time.Now(), Actor: "newer"}
		_, err := b.ledger.Append(ctx, b.m.Status().Revision, e)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.NotEmpty(t, b.m.Status().Stale)
		require.False(t, b.m.Status().Leading)
		_, err = b.m.Launch(ctx, berthage.Launch{Token: "two", Project: "shop", Name: "two", Spec: spec()})
		require.ErrorIs(t, err, pool.ErrStale)
		b.m.View(func(st *pool.State) { require.Equal(t, 1, st.InstanceCount()) })
		require.ErrorIs(t, b.m.Run(ctx), pool.ErrStale)

		again := open(t, b.fleet, b.ledger)
		require.NotEmpty(t, again.Status().Stale)
		again.View(func(st *pool.State) { require.Equal(t, 1, st.InstanceCount(), "what can be read is served") })
		require.ErrorIs(t, again.Run(ctx), pool.ErrStale)
	})
}

// So does one that another without a lease has taken over from.
func TestUnknownEventEndsAFollower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		ledger, fleet := pool.NewMemoryLedger(), fake.New(fake.Config{Name: "sim", Hosts: hosts(1)})
		ended := make(chan error, 2)
		for range 2 {
			m := open(t, fleet, ledger)
			defer m.Close()
			go func() { ended <- m.Run(ctx) }()
			time.Sleep(10 * time.Second)
		}
		e := pool.Event{ID: "x", Kind: "moon.phase", Version: 1, Data: []byte(`{}`), Time: time.Now(), Actor: "newer"}
		_, err := ledger.Append(ctx, open(t, fleet, ledger).Status().Revision, e)
		require.NoError(t, err)
		require.ErrorIs(t, <-ended, pool.ErrStale)
		require.ErrorIs(t, <-ended, pool.ErrStale)
	})
}

// hanging is a ledger whose reads hang while it is set.
type hanging struct {
	pool.Ledger
	hangs atomic.Bool
}

func (l *hanging) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	if l.hangs.Load() {
		<-ctx.Done()
	}
	return l.Ledger.Read(ctx, after)
}

// A read that hangs keeps nobody waiting for ever.
func TestReadThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, fleet: fake.New(fake.Config{Name: "sim", Hosts: hosts(1)})}
		ledger := &hanging{Ledger: pool.NewMemoryLedger()}
		b.m = open(t, b.fleet, ledger, func(c *berthage.Config) { c.Ephemeral = true })
		catalogue(t, b.m)
		defer run(t, b.m)()
		b.pooled(b.m, 1)
		ledger.hangs.Store(true)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "other"}))
	})
}

// A command whose caller has given up before it was decided is not carried out behind his back; after Close
// none is.
func TestCommandsThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 1)
		time.Sleep(time.Minute)
		ledger.Next(ledgertest.LostRequest)
		first := make(chan error)
		go func() { first <- b.m.PutProject(context.Background(), pool.Project{Name: "first"}) }()
		time.Sleep(10 * time.Millisecond)
		ledger.SetDown(true)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.m.PutProject(ctx, pool.Project{Name: "second"}), pool.ErrUnknown)
		ledger.SetDown(false)
		require.NoError(t, <-first)
		time.Sleep(time.Minute)
		b.m.View(func(st *pool.State) {
			_, ok := st.Project("second")
			require.False(t, ok)
		})
		b.stop()
		require.ErrorIs(t, b.m.PutProject(context.Background(), pool.Project{Name: "third"}), pool.ErrUnavailable)
	})
}

// While the store does not answer, commands wait up to a number and are refused beyond it.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 1)
		defer b.stop()
		time.Sleep(time.Minute)
		ledger.Next(ledgertest.LostRequest)
		var wg sync.WaitGroup
		var refused, stored atomic.Int32
		for n := range 6000 {
			wg.Go(func() {
				switch err := b.m.PutProject(context.Background(), pool.Project{Name: fmt.Sprintf("p%d", n)}); {
				case err == nil:
					stored.Add(1)
				case is(err, pool.ErrUnavailable):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
			if n == 0 {
				time.Sleep(10 * time.Millisecond)
				ledger.SetDown(true)
			}
		}
		time.Sleep(time.Hour)
		require.Positive(t, refused.Load())
		ledger.SetDown(false)
		wg.Wait()
		require.Greater(t, stored.Load(), int32(3000))
	})
}
