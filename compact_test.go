package berthage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// books is what a Manager knows, as bytes: the same books are the same bytes.
func books(t *testing.T, m *berthage.Manager) string {
	t.Helper()
	var shot *pool.Snapshot
	m.View(func(st *pool.State) { shot = st.Snapshot() })
	b, err := shot.Bytes()
	require.NoError(t, err)
	return string(b)
}

// spied is a ledger that is watched, and of which parts can be taken away.
type spied struct {
	pool.Ledger
	mu         sync.Mutex
	read       int                                                        // batches that were read, of the archive too
	checkpoint func(pool.Revision, []byte) (pool.Revision, []byte, error) // nil: as it is
	cut        atomic.Bool                                                // nothing can be read
	archive    error                                                      // instead of the archive; errNone: it is empty
}

var errNone = errors.New("none")

func (l *spied) count(batches iter.Seq2[pool.Batch, error]) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		for b, err := range batches {
			l.mu.Lock()
			l.read++
			l.mu.Unlock()
			if !yield(b, err) {
				return
			}
		}
	}
}

func (l *spied) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	if l.cut.Load() {
		return func(yield func(pool.Batch, error) bool) { yield(pool.Batch{}, &pool.Error{Kind: pool.ErrUnavailable}) }
	}
	return l.count(l.Ledger.Read(ctx, after))
}

func (l *spied) Archive(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	if l.archive != nil {
		return func(yield func(pool.Batch, error) bool) {
			if l.archive != errNone {
				yield(pool.Batch{}, l.archive)
			}
		}
	}
	return l.count(l.Ledger.Archive(ctx, after))
}

func (l *spied) Checkpoint(ctx context.Context) (pool.Revision, []byte, error) {
	at, b, err := l.Ledger.Checkpoint(ctx)
	if l.checkpoint != nil && err == nil {
		return l.checkpoint(at, b)
	}
	return at, b, err
}

func (l *spied) reads() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.read
}

// compacted is a fleet of which 12 instances run, after 18 were launched, on a ledger that has been compacted.
func compacted(t *testing.T) (*bench, berthage.Compaction) {
	t.Helper()
	ctx := context.Background()
	b := start(t, fake.Config{Hosts: hosts(4)})
	for n := range 18 {
		i := b.launch(fmt.Sprintf("vm-%d", n))
		settle(t, b.m, i.ID)
		if n%3 == 0 {
			_, err := b.m.Delete(ctx, i.ID)
			require.NoError(t, err)
		}
	}
	time.Sleep(time.Minute)
	require.Equal(t, map[pool.Power]int{pool.Running: 12}, machines(b.fleet))
	c, err := b.m.Compact(ctx)
	require.NoError(t, err)
	return b, c
}

func TestStartFromACheckpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b, c := compacted(t)
		defer b.stop()
		head := b.m.Status().Revision
		require.Equal(t, head, c.Revision)
		require.Equal(t, int64(head), c.Batches)
		at, snapshot, err := b.ledger.Checkpoint(ctx)
		require.NoError(t, err)
		require.Equal(t, head, at)
		require.Len(t, snapshot, int(c.Bytes))

		again, err := b.m.Compact(ctx)
		require.NoError(t, err)
		require.Equal(t, berthage.Compaction{Revision: head}, again, "there is nothing to do")

		settle(t, b.m, b.launch("after").ID)
		l := &spied{Ledger: b.ledger}
		second := open(t, b.fleet, l, func(c *berthage.Config) { c.Ephemeral = true })
		require.Equal(t, books(t, b.m), books(t, second))
		require.Equal(t, int(b.m.Status().Revision-head)+1, l.reads(), "one refusal, and what came after the checkpoint")
		require.Equal(t, b.launch("vm-1").ID, mustLaunch(t, second, "vm-1").ID, "tokens are remembered")
		gone := mustLaunch(t, second, "vm-0")
		require.Equal(t, pool.Deleted, gone.Phase, "and those of deleted instances")
		require.Equal(t, b.launch("vm-0"), gone)

		c, err = second.Compact(ctx) // any process may
		require.NoError(t, err)
		require.Equal(t, int64(b.m.Status().Revision-head), c.Batches)
		settle(t, b.m, b.launch("more").ID)
		sound(t, b.m, b.fleet)
	})
}

func mustLaunch(t *testing.T, m *berthage.Manager, name string) pool.Instance {
	t.Helper()
	i, err := m.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
	require.NoError(t, err)
	return i
}

// A checkpoint that cannot be used costs time: the archive has what it stands for. Without that the Manager says
// why it can do nothing, and if the store is only away, that.
func TestUnusableCheckpoint(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(pool.Revision, []byte) (pool.Revision, []byte, error){
		"damaged": func(at pool.Revision, b []byte) (pool.Revision, []byte, error) {
			b[len(b)/2] ^= 1
			return at, b, nil
		},
		"newer": func(at pool.Revision, b []byte) (pool.Revision, []byte, error) {
			return at, bytes.Replace(b, []byte("snapshot 2"), []byte("snapshot 3"), 1), nil
		},
		"of another revision": func(at pool.Revision, b []byte) (pool.Revision, []byte, error) { return at - 1, b, nil },
		"known to be corrupt": func(pool.Revision, []byte) (pool.Revision, []byte, error) {
			return 0, nil, &pool.Error{Kind: pool.ErrCorrupt}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				b, _ := compacted(t)
				defer b.stop()
				b.launch("after")
				time.Sleep(time.Minute)
				ephemeral := func(c *berthage.Config) { c.Ephemeral = true }

				l := &spied{Ledger: b.ledger, checkpoint: damage}
				m := open(t, b.fleet, l, ephemeral)
				require.Empty(t, m.Status().Stale)
				require.Equal(t, books(t, b.m), books(t, m))
				_, err := m.Compact(ctx) // and a good one takes its place
				require.NoError(t, err)
				l.checkpoint = nil
				require.Equal(t, books(t, b.m), books(t, open(t, b.fleet, l, ephemeral)))

				for _, none := range []error{errNone, &pool.Error{Kind: pool.ErrCorrupt, Want: "a whole archive"}} {
					m = open(t, b.fleet, &spied{Ledger: b.ledger, checkpoint: damage, archive: none}, ephemeral)
					require.Contains(t, m.Status().Stale, "checkpoint stale: a program that can read it, or the archive from revision 1")
					_, err = m.Launch(ctx, berthage.Launch{Token: "x", Project: "shop", Name: "x", Spec: spec()})
					require.ErrorIs(t, err, pool.ErrStale)
					_, err = m.Compact(ctx)
					require.ErrorIs(t, err, pool.ErrStale)
				}
				c := berthage.Config{Ledger: &spied{Ledger: b.ledger, checkpoint: damage, archive: &pool.Error{Kind: pool.ErrUnavailable}}, Ephemeral: true}
				c.Drivers = map[string]hypervisor.Driver{"sim": b.fleet}
				_, err = berthage.Open(ctx, c)
				require.ErrorIs(t, err, pool.ErrUnavailable)
			})
		})
	}
}

// Two Managers, of which one is cut off from the store while the other commits and compacts: the first goes on
// from the checkpoint, and if it led, it leads anew and misses nothing that was ordered meanwhile.
func TestCompactedUnderAnothersFeet(t *testing.T) {
	t.Parallel()
	for _, leased := range []bool{false, true} {
		t.Run(fmt.Sprintf("leased=%v", leased), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				shared := pool.NewMemoryLedger()
				cut := &spied{Ledger: shared}
				b := &bench{t: t, fleet: fake.New(fake.Config{Name: "sim", Hosts: hosts(4)}), ledger: cut}
				b.m = open(t, b.fleet, cut, func(c *berthage.Config) {
					c.Ephemeral = true
					if leased {
						c.Scratch = pool.NewMemoryScratch() // the ledger alone is out of reach
					}
				})
				catalogue(t, b.m)
				b.stop = run(t, b.m)
				defer b.stop()
				b.pooled(b.m, 4)
				kept, gone := b.launch("kept"), b.launch("gone")
				settle(t, b.m, kept.ID)
				settle(t, b.m, gone.ID)
				other := open(t, b.fleet, shared)

				var wg sync.WaitGroup
				wg.Go(func() { // a dashboard that follows the first
					ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
					defer cancel()
					next := pool.Revision(1)
					for e, err := range b.m.Events(ctx, 0) {
						if err != nil {
							require.ErrorIs(t, err, context.DeadlineExceeded)
							require.Equal(t, b.m.Status().Revision+1, next)
							return
						}
						require.Equal(t, next, e.Revision)
						next++
					}
				})
				defer wg.Wait()
				time.Sleep(time.Minute + 1234*time.Microsecond) // a moment at which nothing else happens
				cut.cut.Store(true)
				mustLaunch(t, other, "new")
				_, err := other.Delete(ctx, gone.ID)
				require.NoError(t, err)
				c, err := other.Compact(ctx)
				require.NoError(t, err)
				require.Greater(t, c.Revision, b.m.Status().Revision)
				if leased {
					mustLaunch(t, other, "after") // behind the checkpoint
				}
				time.Sleep(10 * time.Second)
				cut.cut.Store(false)
				time.Sleep(2 * time.Minute)

				require.True(t, b.m.Status().Leading)
				require.Empty(t, b.m.Status().Stale)
				want := map[pool.Power]int{pool.Running: 2}
				if leased {
					want[pool.Running]++
				}
				require.Equal(t, want, machines(b.fleet), "what was ordered meanwhile is done")
				require.Equal(t, "running", settle(t, b.m, b.launch("later").ID).Status())
				mustLaunch(t, other, "other") // a command catches up as well
				time.Sleep(time.Minute)
				require.Equal(t, books(t, b.m), books(t, open(t, b.fleet, shared)))
				for id, c := range b.fleet.Counts() {
					require.LessOrEqual(t, c.Creates, 1, "copies made of %s", id)
				}
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// Events before the checkpoint come from the archive, without a gap, and those who follow notice nothing of a
// compaction.
func TestEventsAcrossCompactions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := compacted(t)
		defer b.stop()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		var wg sync.WaitGroup
		for _, after := range []pool.Revision{0, 1, c.Revision - 1, c.Revision, c.Revision + 5} {
			wg.Go(func() {
				next := after + 1
				for e, err := range b.m.Events(ctx, after) {
					if err != nil {
						require.ErrorIs(t, err, context.DeadlineExceeded)
						break
					}
					require.Equal(t, next, e.Revision)
					next++
				}
				require.Equal(t, b.m.Status().Revision+1, next)
			})
		}
		for n := range 10 {
			settle(t, b.m, b.launch(fmt.Sprintf("more-%d", n)).ID)
			_, err := b.m.Compact(context.Background())
			require.NoError(t, err)
		}
		wg.Wait()

		// Of an archive that does not reach back so far the reader is told.
		l := &spied{Ledger: b.ledger, archive: errNone}
		m := open(t, b.fleet, l, func(c *berthage.Config) { c.Ephemeral = true })
		next, err := first2(m.Events(context.Background(), 3))
		require.ErrorIs(t, err, pool.ErrCompacted)
		require.Zero(t, next)
		l.archive = &pool.Error{Kind: pool.ErrUnavailable}
		_, err = first2(m.Events(context.Background(), 3))
		require.ErrorIs(t, err, pool.ErrUnavailable)
	})
}

func first2(events iter.Seq2[pool.Batch, error]) (pool.Revision, error) {
	for b, err := range events {
		return b.Revision, err
	}
	return 0, nil
}

// A compaction whose reply was lost is settled: by the end there is a checkpoint of that revision or a later one.
func TestCompactInDoubt(t *testing.T) {
	t.Parallel()
	for _, fault := range []ledgertest.Fault{ledgertest.LostReply, ledgertest.LostRequest, ledgertest.Late} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				shared := pool.NewMemoryLedger()
				ledger := ledgertest.NewFaulty(shared, 1, ledgertest.Faults{})
				m := open(t, fake.New(fake.Config{Name: "sim"}), ledger)
				other := open(t, fake.New(fake.Config{Name: "sim"}), shared)
				catalogue(t, m)
				ledger.Next(fault)
				c, err := m.Compact(ctx)
				require.NoError(t, err)
				require.Equal(t, m.Status().Revision, c.Revision)
				require.Equal(t, int64(c.Revision), c.Batches)
				ledger.Settle()

				// The other compacts further before ours is asked for again: that stands.
				require.NoError(t, m.PutProject(ctx, pool.Project{Name: "more"}))
				ledger.Next(fault)
				done := make(chan berthage.Compaction)
				go func() {
					c, err := m.Compact(ctx)
					require.NoError(t, err)
					done <- c
				}()
				time.Sleep(time.Millisecond)
				require.NoError(t, other.PutProject(ctx, pool.Project{Name: "further"}))
				further, err := other.Compact(ctx)
				require.NoError(t, err)
				c = <-done
				require.GreaterOrEqual(t, c.Revision, further.Revision-1)
				ledger.Settle()
				at, _, err := shared.Checkpoint(ctx)
				require.NoError(t, err)
				require.Equal(t, further.Revision, at)

				// A refusal is the caller's to repeat, and a context ends the settling.
				require.NoError(t, m.PutProject(ctx, pool.Project{Name: "refused"}))
				ledger.Next(ledgertest.Refused)
				_, err = m.Compact(ctx)
				require.ErrorIs(t, err, pool.ErrUnavailable)
				ledger.Next(ledgertest.LostRequest, ledgertest.LostRequest, ledgertest.LostRequest, ledgertest.LostRequest, ledgertest.LostRequest, ledgertest.LostRequest)
				short, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				_, err = m.Compact(short)
				require.ErrorIs(t, err, pool.ErrUnknown)
				time.Sleep(time.Minute)
				_, err = m.Compact(ctx)
				require.NoError(t, err)
			})
		})
	}
}

// Three Managers launch, delete and compact at the same time on a store that fails at times; one of them runs.
func TestRacingCompactions(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				ledger := ledgertest.NewFaulty(pool.NewMemoryLedger(), seed, ledgertest.Faults{Latency: 20 * time.Millisecond})
				b := &bench{t: t, fleet: fake.New(fake.Config{Name: "sim", Hosts: hosts(6)}), ledger: ledger}
				b.m = open(t, b.fleet, ledger)
				catalogue(t, b.m)
				b.stop = run(t, b.m)
				defer b.stop()
				b.pooled(b.m, 6)
				ms := []*berthage.Manager{b.m, open(t, b.fleet, ledger), open(t, b.fleet, ledger)}
				ledger.Set(ledgertest.Faults{Latency: 20 * time.Millisecond, Refused: 0.03, LostRequest: 0.03, LostReply: 0.03, Late: 0.03, LateBy: 500 * time.Millisecond})
				again := func(call func() error) {
					for {
						err := call()
						if err == nil {
							return
						}
						if !is(err, pool.ErrUnavailable, pool.ErrUnknown) {
							t.Error(err)
							return
						}
						time.Sleep(50 * time.Millisecond)
					}
				}
				var wg sync.WaitGroup
				for k, m := range ms {
					wg.Go(func() {
						for n := range 8 {
							name := fmt.Sprintf("vm-%d-%d", k, n)
							again(func() error {
								i, err := m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
								if err == nil && n%2 == 0 {
									_, err = m.Delete(ctx, i.ID)
								}
								return err
							})
						}
					})
					wg.Go(func() {
						for range 6 {
							again(func() error { _, err := m.Compact(ctx); return err })
							time.Sleep(100 * time.Millisecond)
						}
					})
				}
				wg.Wait()
				ledger.Set(ledgertest.Faults{})
				time.Sleep(5 * time.Minute)
				require.Equal(t, map[pool.Power]int{pool.Running: 12}, machines(b.fleet))
				for id, c := range b.fleet.Counts() {
					require.LessOrEqual(t, c.Creates, 1, "copies made of %s", id)
				}
				sound(t, b.m, b.fleet)
				require.Equal(t, books(t, b.m), books(t, open(t, b.fleet, ledger)))
				// The whole history, from the archive, gives the same.
				st := pool.NewState(berthage.Parts()...)
				short, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				for batch, err := range b.m.Events(short, 0) {
					if err != nil {
						require.ErrorIs(t, err, context.DeadlineExceeded)
						break
					}
					for k := range batch.Events {
						require.NoError(t, st.Apply(&batch.Events[k]))
					}
				}
				whole, err := st.Snapshot().Bytes()
				require.NoError(t, err)
				require.Equal(t, books(t, b.m), string(whole))
			})
		})
	}
}

// holds returns where a ledger still holds a text: in its events, its archive or its checkpoint.
func holds(t *testing.T, l pool.Ledger, text string) (where []string) {
	t.Helper()
	ctx := context.Background()
	at, snapshot, err := l.Checkpoint(ctx)
	require.NoError(t, err)
	if strings.Contains(string(snapshot), text) {
		where = append(where, "checkpoint")
	}
	for name, seq := range map[string]iter.Seq2[pool.Batch, error]{"archive": l.Archive(ctx, 0), "events": l.Read(ctx, at)} {
		for b, err := range seq {
			require.NoError(t, err)
			for _, e := range b.Events {
				if strings.Contains(string(e.Data)+string(e.Private), text) {
					where = append(where, fmt.Sprint(name, " ", b.Revision, " ", e.Kind))
				}
			}
		}
	}
	return where
}

// What is forgotten is nowhere any more: not in the history, not in the checkpoint, and not in the books of
// another Manager, whose next compaction would bring it back.
func TestForget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(4)})
		defer b.stop()
		other := open(t, b.fleet, b.ledger)
		private := func(name string) berthage.Launch {
			l := berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()}
			l.Spec.Guest.UserData = "#cloud-config\n# secret of " + name + "\n"
			return l
		}
		ids := map[string]pool.InstanceID{}
		for _, name := range []string{"alive", "dead", "untouched"} {
			i, err := b.m.Launch(ctx, private(name))
			require.NoError(t, err)
			if name == "alive" {
				_, err = b.m.Forget(ctx, string(i.ID))
				require.ErrorIs(t, err, pool.ErrWrongState, "it is yet to be made")
			}
			settle(t, b.m, i.ID)
			ids[name] = i.ID
		}
		_, err := b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "c", Project: "shop", Name: "web", Size: 3, Spec: private("members").Spec})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = other.Compact(ctx) // it has them all
		require.NoError(t, err)
		_, err = b.m.Delete(ctx, ids["dead"])
		require.NoError(t, err)
		time.Sleep(time.Minute)
		for _, name := range []string{"alive", "dead", "members", "untouched"} {
			require.Len(t, holds(t, b.ledger, "secret of "+name), 2, "in the archive and in the checkpoint")
		}

		for _, subject := range []string{string(ids["alive"]), string(ids["dead"]), "shop/web", "nobody"} {
			c, err := b.m.Forget(ctx, subject)
			require.NoError(t, err)
			require.Equal(t, b.m.Status().Revision, c.Revision)
		}
		for _, m := range []*berthage.Manager{other, open(t, b.fleet, b.ledger), b.m} {
			require.NoError(t, m.PutProject(ctx, pool.Project{Name: fmt.Sprintf("p%p", m)}))
			_, err = m.Compact(ctx)
			require.NoError(t, err)
			for _, name := range []string{"alive", "dead", "members"} {
				require.Empty(t, holds(t, b.ledger, "secret of "+name))
				require.NotContains(t, books(t, m), "secret of "+name)
			}
			require.Len(t, holds(t, b.ledger, "secret of untouched"), 2)
		}
		_, err = b.m.Forget(ctx, "")
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.Equal(t, map[pool.Power]int{pool.Running: 5}, machines(b.fleet))
	})
}

// A compaction that was begun before, and lands after something was forgotten, is refused by its revision.
func TestForgetWhileALateCompactionLands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		shared := pool.NewMemoryLedger()
		slow := ledgertest.NewFaulty(shared, 1, ledgertest.Faults{})
		b := &bench{t: t, fleet: fake.New(fake.Config{Name: "sim", Hosts: hosts(1)}), ledger: shared}
		b.m = open(t, b.fleet, shared)
		catalogue(t, b.m)
		defer run(t, b.m)()
		b.pooled(b.m, 1)
		l := berthage.Launch{Token: "x", Project: "shop", Name: "x", Spec: spec()}
		l.Spec.Guest.UserData = "#cloud-config\n# the secret\n"
		i, err := b.m.Launch(ctx, l)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		other := open(t, b.fleet, slow)
		slow.Next(ledgertest.Late)
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		_, err = other.Compact(short)
		require.ErrorIs(t, err, pool.ErrUnknown)
		_, err = b.m.Forget(ctx, string(i.ID))
		require.NoError(t, err)
		slow.Settle()
		require.Empty(t, holds(t, shared, "the secret"))
	})
}
