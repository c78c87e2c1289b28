package berthage_test

import (
	"context"
	"fmt"
	"strings"
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

// A create that was not answered may land after the one that was repeated: the leader who knows of it may be
// gone by then, and the place is held all the same.
func TestDoubtSurvivesTheLeader(t *testing.T) {
	t.Parallel()
	for _, dies := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 20 * time.Second} { // after the launch
		t.Run(dies.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				scratch := pool.NewMemoryScratch()
				shared := func(c *berthage.Config) { c.Scratch, c.LeaseTTL = scratch, 3*time.Second }
				b := start(t, fake.Config{
					Hosts: hosts(1), Overfill: true, Settles: time.Minute, Build: 100 * time.Millisecond,
					Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Late, After: 50 * time.Second}),
				}, shared)
				defer b.stop()
				second := open(t, b.fleet, b.ledger, shared)
				defer run(t, second)()
				i := b.launch("one")
				time.Sleep(dies)
				b.stop()
				require.Equal(t, "running", settle(t, second, i.ID).Status())
				_, err := second.Delete(context.Background(), i.ID)
				require.NoError(t, err)
				settle(t, second, i.ID)
				for n := range 8 { // as many as there is room for
					name := fmt.Sprintf("vm-%d", n)
					_, err := second.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
					if n == 7 {
						require.ErrorIs(t, err, pool.ErrNoRoom, "the place is held")
					} else {
						require.NoError(t, err)
					}
				}
				for range 300 {
					time.Sleep(time.Second)
					sound(t, second, b.fleet)
				}
				require.Zero(t, held(second))
				require.Equal(t, map[pool.Power]int{pool.Running: 7}, machines(b.fleet))
			})
		})
	}
}

// An instance of which a second machine may still appear is not moved. When nothing can appear any more, which a new
// leader waits for as well, it is as good as any other.
func TestDoubtEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settles time.Duration
		dies    bool // the leader who knows of the create
		after   time.Duration
	}{
		"by the one who sent it":    {settles: time.Minute, after: 62 * time.Second},
		"by another":                {settles: time.Minute, dies: true, after: 85 * time.Second},
		"where nobody can say when": {settles: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, scratch := context.Background(), pool.NewMemoryScratch()
				shared := func(c *berthage.Config) { c.Scratch, c.LeaseTTL = scratch, 3*time.Second }
				b := start(t, fake.Config{
					Hosts: hosts(2), Settles: c.settles, Build: 100 * time.Millisecond,
					Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Late, After: 50 * time.Second}),
				}, shared)
				defer b.stop()
				m := b.m
				i := settle(t, m, b.launch("one").ID)
				require.True(t, i.Place.Doubt)
				from, began := i.Place.Host, time.Now()
				_, err := m.Move(ctx, i.ID, "", false)
				require.ErrorIs(t, err, pool.ErrWrongState)
				_, err = m.Drain(ctx, from, false, "new memory")
				require.NoError(t, err)
				if c.dies {
					b.stop()
					m = open(t, b.fleet, b.ledger, shared)
					defer run(t, m)()
				}
				if c.settles < 0 {
					time.Sleep(time.Hour)
					require.Len(t, m.Leaving(from), 1)
					require.Less(t, m.Status().Revision, pool.Revision(40), "nobody keeps trying")
					return
				}
				time.Sleep(45 * time.Second)
				require.Len(t, m.Leaving(from), 1, "it may land yet")
				eventually(t, func() bool { return len(m.Leaving(from)) == 0 }, "drained")
				require.Less(t, time.Since(began), c.after)
				time.Sleep(time.Minute)
				at := m.Status().Revision
				time.Sleep(time.Hour)
				require.Equal(t, at, m.Status().Revision, "at rest")
				require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
				sound(t, m, b.fleet)
			})
		})
	}
}

// A machine that is found answers one of the creates sent for it, once, however often that has to be recorded.
func TestDoubtIsNotAnsweredTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 1)
		b.stop()
		var creates, looks atomic.Int32
		b.fleet = fake.New(fake.Config{Name: "sim", Hosts: hosts(1), Hook: func(c fake.Call) fake.Fault {
			switch c.Op {
			case fake.OpCreate:
				if creates.Add(1) == 1 {
					return fake.Fault{Kind: fake.Late, After: 50 * time.Second}
				}
				return fake.Fault{Kind: fake.Lose}
			case fake.OpMachines:
				if creates.Load() == 2 && looks.Add(1) == 1 {
					ledger.Next(ledgertest.Refused, ledgertest.Refused)
				}
			}
			return fake.Fault{}
		}})
		b.m = open(t, b.fleet, ledger, func(c *berthage.Config) { c.Poll = time.Hour })
		defer run(t, b.m)()
		i := b.launch("one")
		require.Equal(t, "running", settle(t, b.m, i.ID).Status())
		require.EqualValues(t, 2, creates.Load())
		require.Greater(t, looks.Load(), int32(1))
		_, err := b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		require.Equal(t, 1, held(b.m))
	})
}

// A create that was answered, and could not be recorded, is no answer to one that was sent before it and may still
// land.
func TestAnAnsweredCreateAnswersNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 1)
		b.stop()
		var creates atomic.Int32
		b.fleet = fake.New(fake.Config{Name: "sim", Hosts: hosts(1), Settles: time.Minute, Hook: func(c fake.Call) fake.Fault {
			if c.Op != fake.OpCreate {
				return fake.Fault{}
			}
			if creates.Add(1) == 1 {
				return fake.Fault{Kind: fake.Late, After: 50 * time.Second}
			}
			ledger.Next(ledgertest.Refused)
			return fake.Fault{}
		}})
		b.m = open(t, b.fleet, ledger)
		defer run(t, b.m)()
		i := b.launch("one")
		require.Equal(t, "running", settle(t, b.m, i.ID).Status())
		require.EqualValues(t, 2, creates.Load())
		_, err := b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		require.Equal(t, 1, held(b.m))
		time.Sleep(5 * time.Minute)
		require.Zero(t, held(b.m))
		sound(t, b.m, b.fleet)
	})
}

// What was carried out, and could not be recorded, is recorded then, and not ordered again: the second order would
// be refused.
func TestCarriedOutAndNotRecorded(t *testing.T) {
	t.Parallel()
	for op, ask := range map[fake.Op]func(*berthage.Manager, pool.Instance) error{
		fake.OpMigrate: func(m *berthage.Manager, i pool.Instance) error {
			_, err := m.Move(context.Background(), i.ID, "", true)
			return err
		},
		fake.OpResize: func(m *berthage.Manager, i pool.Instance) error {
			_, err := m.Resize(context.Background(), berthage.Resize{Instance: i.ID, Resources: pool.Resources{pool.CPU: 2 * pool.Core}})
			return err
		},
		fake.OpShelve: func(m *berthage.Manager, i pool.Instance) error {
			_, err := m.SetPower(context.Background(), i.ID, pool.Shelved)
			return err
		},
	} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, ledger := faulty(t, 2)
				b.stop()
				calls := 0
				b.fleet = fake.New(fake.Config{Name: "sim", Hosts: hosts(2), Hook: func(c fake.Call) fake.Fault {
					if c.Op != op {
						return fake.Fault{}
					}
					if calls++; calls > 1 {
						return fake.Fault{Kind: fake.Refuse}
					}
					ledger.Next(ledgertest.Refused)
					return fake.Fault{}
				}})
				b.m = open(t, b.fleet, ledger, func(c *berthage.Config) { c.Poll = time.Hour })
				defer run(t, b.m)()
				i := b.launch("one")
				i = settle(t, b.m, i.ID)
				require.NoError(t, ask(b.m, i))
				now := settle(t, b.m, i.ID)
				require.Equal(t, 1, calls)
				switch op {
				case fake.OpMigrate:
					require.NotEqual(t, i.Place.Host, now.Place.Host)
				case fake.OpResize:
					require.Equal(t, 2*pool.Core, now.Spec.Resources[pool.CPU])
				case fake.OpShelve:
					require.Equal(t, "shelved", now.Status())
				}
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// A machine is put aside only when no create for it can land any more: one that does, and a start that is late too, would make it
// run beside the one that it is made anew as. Where nobody can say when that is, it is not put aside.
func TestShelvedInDoubt(t *testing.T) {
	t.Parallel()
	for settles, want := range map[time.Duration]string{time.Minute: "shelved", -1: "running"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				creates, starts := 0, 0
				b := start(t, fake.Config{Hosts: hosts(1), Settles: settles, Build: time.Second, Hook: func(c fake.Call) fake.Fault {
					switch c.Op {
					case fake.OpCreate:
						if creates++; creates == 1 {
							return fake.Fault{Kind: fake.Late, After: 30 * time.Second}
						}
					case fake.OpStart:
						if starts++; starts == 1 {
							return fake.Fault{Kind: fake.Late, After: 40 * time.Second}
						}
					}
					return fake.Fault{}
				}})
				defer b.stop()
				ctx, i := context.Background(), settle(t, b.m, b.launch("one").ID)
				require.Equal(t, 2, creates)
				_, err := b.m.SetPower(ctx, i.ID, pool.Shelved)
				require.NoError(t, err)
				i = settle(t, b.m, i.ID)
				require.Equal(t, want, i.Status())
				require.Equal(t, want == "running", strings.Contains(i.Reason, "not shelved, since nobody can say when"), i.Reason)
				_, err = b.m.SetPower(ctx, i.ID, pool.Running)
				require.NoError(t, err)
				for range 300 {
					time.Sleep(time.Second)
					require.Empty(t, b.fleet.Doubles())
				}
				require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
				require.Zero(t, held(b.m))
				if want == "shelved" {
					sound(t, b.m, b.fleet)
				}
			})
		})
	}
}

// A machine that was given up is made elsewhere only when neither a create nor a start for it can land any more: both
// would make it run beside the next one. Where nobody can say when that is, it is not made elsewhere.
func TestGivenUpAndMadeAgainAndStarted(t *testing.T) {
	t.Parallel()
	for settles, want := range map[time.Duration]string{time.Minute: "running", -1: "failed"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				creates, starts := 0, 0
				b := start(t, fake.Config{Hosts: hosts(2), Settles: settles, Build: time.Second, Hook: func(c fake.Call) fake.Fault {
					switch c.Op {
					case fake.OpCreate:
						switch creates++; creates {
						case 1:
							return fake.Fault{Kind: fake.Late, After: 30 * time.Second}
						case 2:
							return fake.Fault{Kind: fake.Break}
						}
					case fake.OpStart:
						if starts++; starts == 1 {
							return fake.Fault{Kind: fake.Late, After: 40 * time.Second}
						}
					}
					return fake.Fault{}
				}})
				defer b.stop()
				i := settle(t, b.m, b.launch("one").ID)
				require.Equal(t, want, i.Status())
				for range 300 {
					time.Sleep(time.Second)
					require.Empty(t, b.fleet.Doubles())
				}
				if want == "running" {
					require.Equal(t, i.ID.Machine(1), i.Machine())
					require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
				}
			})
		})
	}
}
