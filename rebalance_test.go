package berthage_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/rebalance"
	"github.com/berthage/berthage/scheduler/whatif"
)

// seldom looks at hosts every half an hour, so that virtual days are soon over.
func seldom(c *berthage.Config) { c.Poll, c.Grace, c.Tail = 30*time.Minute, 3*time.Hour, time.Hour }

// orders returns the moves that were ordered so far, and when.
func (b *bench) orders() (out []pool.Moving, at []time.Time) {
	for batch, err := range b.ledger.Read(context.Background(), 0) {
		require.NoError(b.t, err)
		for n := range batch.Events {
			p, err := batch.Events[n].Payload()
			require.NoError(b.t, err)
			if m, ok := p.(*pool.Moving); ok {
				out, at = append(out, *m), append(at, batch.Events[n].Time)
			}
		}
	}
	return out, at
}

// used returns how many hosts are in use.
func (b *bench) used() int {
	n := 0
	b.m.View(func(st *pool.State) {
		for h := range st.Hosts() {
			if h.Placed+h.Held > 0 {
				n++
			}
		}
	})
	return n
}

// scattered leaves three instances on each of the first full hosts, of which 8 fill one.
func (b *bench) scattered(full int) []pool.Instance {
	on := make(map[pool.HostID]int)
	var kept, gone []pool.Instance
	for n := range 8 * full {
		i := b.launch(fmt.Sprintf("vm-%d", n))
		if on[i.Place.Host]++; on[i.Place.Host] <= 3 {
			kept = append(kept, i)
		} else {
			gone = append(gone, i)
		}
	}
	for n := range gone {
		settle(b.t, b.m, gone[n].ID)
		_, err := b.m.Delete(context.Background(), gone[n].ID)
		require.NoError(b.t, err)
	}
	for n := range gone {
		settle(b.t, b.m, gone[n].ID)
	}
	for n := range kept {
		kept[n] = settle(b.t, b.m, kept[n].ID)
	}
	require.Equal(b.t, full, b.used())
	return kept
}

func TestAPlanIsCarriedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(5)})
		defer b.stop()
		b.scattered(4)
		ctx := context.Background()
		p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		require.Equal(t, 4, p.Before.Hosts)
		require.Equal(t, 2, p.After.Hosts, "12 instances, of which 8 fill a host")
		require.Equal(t, b.m.Status().Revision, p.Revision)
		var told []berthage.Carried
		done, err := b.m.As("ann", "").CarryOut(ctx, p, 2, func(c berthage.Carried) { told = append(told, c) })
		require.NoError(t, err)
		require.Equal(t, berthage.Carried{Moves: 6, Moved: 6, Bytes: p.Bytes}, done)
		require.Equal(t, done, told[len(told)-1])
		for _, c := range told {
			require.LessOrEqual(t, c.Moving, 2)
		}
		require.Equal(t, 2, b.used())
		sound(t, b.m, b.fleet)
		p, err = b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		require.Empty(t, p.Moves, "a second plan finds nothing")
	})
}

// Between the plan and its moves the books change. What no longer stands is not begun.
func TestAPlanThatNoLongerStands(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, change := range map[string]func(t *testing.T, b *bench, p *berthage.RebalancePlan){
		"an instance is stopped": func(t *testing.T, b *bench, p *berthage.RebalancePlan) {
			_, err := b.m.SetPower(ctx, p.Moves[0].Instance, pool.Stopped)
			require.NoError(t, err)
		},
		"an instance is deleted": func(t *testing.T, b *bench, p *berthage.RebalancePlan) {
			_, err := b.m.Delete(ctx, p.Moves[0].Instance)
			require.NoError(t, err)
			settle(t, b.m, p.Moves[0].Instance)
		},
		"the target takes nothing": func(t *testing.T, b *bench, p *berthage.RebalancePlan) {
			_, err := b.m.Cordon(ctx, p.Moves[len(p.Moves)-1].To, "")
			require.NoError(t, err)
		},
		"the target is full": func(t *testing.T, b *bench, p *berthage.RebalancePlan) {
			s := spec()
			s.Constraints.Hosts = []pool.HostID{p.Moves[len(p.Moves)-1].To}
			for n := range 5 {
				i, err := b.m.Launch(ctx, berthage.Launch{Token: fmt.Sprint("new", n), Project: "shop", Name: "new", Spec: s})
				require.NoError(t, err)
				settle(t, b.m, i.ID)
			}
		},
		"the host is used again": func(t *testing.T, b *bench, p *berthage.RebalancePlan) {
			s := spec()
			s.Constraints.Hosts = []pool.HostID{p.Moves[0].From}
			i, err := b.m.Launch(ctx, berthage.Launch{Token: "new", Project: "shop", Name: "new", Spec: s})
			require.NoError(t, err)
			settle(t, b.m, i.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: hosts(3)})
				defer b.stop()
				b.scattered(2)
				p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
				require.NoError(t, err)
				require.Len(t, p.Moves, 3)
				change(t, b, p)
				done, err := b.m.CarryOut(ctx, p, 0, nil)
				require.Error(t, err)
				require.True(t, is(err, pool.ErrWrongState, pool.ErrNoRoom, pool.ErrNotFound), "%v", err)
				require.Equal(t, berthage.Carried{Moves: 3}, done)
				moves, _ := b.orders()
				require.Empty(t, moves)
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// In the middle of a plan somebody stops an instance that is to be moved later: it is left alone, and the plan has ended.
func TestAPlanIsOvertaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3)})
		defer b.stop()
		b.scattered(2)
		ctx := context.Background()
		p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		require.Len(t, p.Moves, 3)
		last := p.Moves[2]
		done, err := b.m.CarryOut(ctx, p, 1, func(c berthage.Carried) {
			if c.Moved == 2 {
				_, err := b.m.SetPower(ctx, last.Instance, pool.Stopped)
				require.NoError(t, err)
				settle(t, b.m, last.Instance)
			}
		})
		require.ErrorIs(t, err, pool.ErrWrongState)
		require.Equal(t, 2, done.Moved)
		require.Equal(t, last.From, settle(t, b.m, last.Instance).Place.Host)
		sound(t, b.m, b.fleet)
	})
}

// What drivers cannot do is not planned: machines that cannot be moved running are left alone, or stopped with leave.
func TestPlansKnowTheDrivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3), Without: []hypervisor.Ability{hypervisor.CanMigrateLive}})
		defer b.stop()
		b.scattered(2)
		ctx := context.Background()
		p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		require.Empty(t, p.Moves)
		p, err = b.m.PlanRebalance(ctx, rebalance.Options{}, true)
		require.NoError(t, err)
		require.Len(t, p.Moves, 3)
		done, err := b.m.CarryOut(ctx, p, 1, nil)
		require.NoError(t, err)
		require.Equal(t, 3, done.Moved)
		require.Equal(t, 1, b.used())
		for n := range p.Moves {
			require.Equal(t, pool.Running, settle(t, b.m, p.Moves[n].Instance).Is)
		}
		sound(t, b.m, b.fleet)
	})
}

// A migration that comes to nothing ends the plan if no gain is left, and breaks nothing.
func TestAMoveThatComesToNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := false
		b := start(t, fake.Config{Hosts: hosts(3), Hook: func(c fake.Call) fake.Fault {
			if c.Op != fake.OpMigrate || refused {
				return fake.Fault{}
			}
			refused = true
			return fake.Fault{Kind: fake.Refuse}
		}})
		defer b.stop()
		b.scattered(2)
		ctx := context.Background()
		p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		done, err := b.m.CarryOut(ctx, p, 1, nil)
		require.ErrorIs(t, err, pool.ErrWrongState, "the host cannot become empty any more")
		require.Equal(t, 1, done.Stayed)
		require.Zero(t, done.Moved)
		sound(t, b.m, b.fleet)
	})
}

// Left to itself the Manager empties what can be emptied, and then rests: for two days nothing is moved and nothing is
// appended.
func TestRebalancingByItself(t *testing.T) {
	t.Parallel()
	for mode, moved := range map[berthage.RebalanceMode]int{berthage.RebalanceOff: 0, berthage.RebalanceRecommend: 0, berthage.RebalanceAutomatic: 6} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: hosts(5)}, seldom, func(c *berthage.Config) { c.Rebalance.Mode = mode })
				defer b.stop()
				b.scattered(4)
				time.Sleep(5 * time.Minute)
				orders, _ := b.orders()
				require.Empty(t, orders, "what has just been launched is left alone")
				time.Sleep(3 * time.Hour)
				orders, _ = b.orders()
				require.Len(t, orders, moved)
				sound(t, b.m, b.fleet)
				s := b.m.Rebalancing()
				require.Equal(t, mode, s.Mode)
				switch mode {
				case berthage.RebalanceAutomatic:
					require.Equal(t, 2, b.used())
					require.Equal(t, "nothing is to be gained", s.Waiting)
					require.Empty(t, s.Ended)
				case berthage.RebalanceRecommend:
					require.Len(t, s.Planned.Moves, 6)
				}
				head := b.m.Status().Revision
				time.Sleep(48 * time.Hour)
				require.Equal(t, head, b.m.Status().Revision, "at rest nothing is appended")
			})
		})
	}
}

// Moves keep to the budget of every window and to the hours of the day, and no more of them are under way than allowed.
func TestRebalancingKeepsToItsBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(7), Copies: true}, seldom, func(c *berthage.Config) {
			c.Rebalance = berthage.Rebalance{Mode: berthage.RebalanceAutomatic, Moves: 3, Window: 2 * time.Hour, From: 22 * time.Hour, To: 4 * time.Hour}
		})
		defer b.stop()
		b.scattered(6)
		time.Sleep(72 * time.Hour)
		require.Equal(t, 3, b.used(), "18 instances, of which 8 fill a host")
		orders, at := b.orders()
		require.Len(t, orders, 9)
		for n, when := range at {
			require.True(t, when.Hour() >= 22 || when.Hour() < 4, "%v", when)
			if n >= 3 {
				require.GreaterOrEqual(t, when.Sub(at[n-3]), 2*time.Hour)
			}
		}
		sound(t, b.m, b.fleet)
	})
}

// Instances come and go for two days. None is moved shortly after it was changed, moved ones included, so that none goes
// to and fro.
func TestRebalancingDoesNotFlap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const settled = 30 * time.Minute
		b := start(t, fake.Config{Hosts: hosts(8)}, seldom, func(c *berthage.Config) {
			c.Rebalance = berthage.Rebalance{Mode: berthage.RebalanceAutomatic, Settle: settled, AtATime: 3}
		})
		defer b.stop()
		r, ctx := rand.New(rand.NewPCG(5, 5)), context.Background()
		var live []pool.InstanceID
		last := make(map[pool.InstanceID]time.Time) // launched or moved
		for n := range 200 {
			if len(live) < 8 || len(live) < 50 && r.IntN(2) == 0 {
				live = append(live, b.launch(fmt.Sprintf("vm-%d", n)).ID)
				last[live[len(live)-1]] = time.Now()
			} else {
				at := r.IntN(len(live))
				_, err := b.m.Delete(ctx, live[at])
				require.NoError(t, err)
				live = append(live[:at], live[at+1:]...)
			}
			time.Sleep(time.Duration(r.IntN(30)) * time.Minute)
		}
		time.Sleep(6 * time.Hour)
		sound(t, b.m, b.fleet)
		orders, at := b.orders()
		require.NotEmpty(t, orders)
		for n, o := range orders {
			require.GreaterOrEqual(t, at[n].Sub(last[o.Instance]), settled, "%s is moved too soon", o.Instance)
			last[o.Instance] = at[n]
		}
		p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		require.Empty(t, p.Moves)
		require.Equal(t, (len(live)+7)/8, b.used())
	})
}

// The leader dies in the middle of a wave. The next one goes on from the books: nothing is moved twice, and the hosts
// become empty all the same.
func TestRebalancingAfterATakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		scratch := pool.NewMemoryScratch()
		config := func(c *berthage.Config) {
			seldom(c)
			c.Scratch, c.LeaseTTL = scratch, time.Minute
			c.Rebalance = berthage.Rebalance{Mode: berthage.RebalanceAutomatic, AtATime: 2}
		}
		b := start(t, fake.Config{Hosts: hosts(5), Latency: fake.Latency{Mean: 3 * time.Second, Max: 6 * time.Second}}, config)
		b.scattered(4)
		orders, _ := b.orders()
		for n := 0; len(orders) < 4 && n < 10_000; n++ { // two waves
			time.Sleep(500 * time.Millisecond)
			orders, _ = b.orders()
		}
		b.stop()
		require.GreaterOrEqual(t, len(orders), 4)
		b.m = open(t, b.fleet, b.ledger, config)
		b.stop = run(t, b.m)
		defer b.stop()
		time.Sleep(6 * time.Hour)
		require.Equal(t, 2, b.used())
		sound(t, b.m, b.fleet)
		orders, _ = b.orders()
		seen := make(map[pool.InstanceID]bool)
		for _, o := range orders {
			require.False(t, seen[o.Instance], "%s is moved twice", o.Instance)
			seen[o.Instance] = true
		}
	})
}

func TestConfigOfRebalancing(t *testing.T) {
	t.Parallel()
	for field, r := range map[string]berthage.Rebalance{
		"Mode":     {Mode: "sometimes"},
		"Goal":     {Goal: rebalance.Drain},
		"budget":   {Moves: -1},
		"From, To": {From: 25 * time.Hour},
	} {
		_, err := berthage.Open(context.Background(), berthage.Config{
			Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: pool.NewMemoryLedger(), Rebalance: r,
		})
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
}

func TestWhatIfOnTheManager(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3)})
		defer b.stop()
		b.scattered(2)
		require.NoError(t, b.m.PutFlavor(context.Background(), pool.Flavor{Name: "big", Resources: pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: 8 * pool.GiB}}))
		head := b.m.Status().Revision
		a, err := b.m.WhatIf(context.Background(), whatif.Question{Lose: []pool.HostID{hosts(1)[0].ID}, Spare: 1},
			[]berthage.WhatIfDemand{{Name: "more", Spec: pool.Spec{Image: "debian-12", Flavor: "big"}, Project: "shop", Count: 3}}, whatif.Options{})
		require.NoError(t, err)
		require.Equal(t, head, a.Revision)
		require.Equal(t, 3, a.Displaced.Placed)
		require.Equal(t, 2, a.Demand[0].Placed)
		require.Equal(t, 1, a.Demand[0].Refused[0].Count)
		require.EqualValues(t, 1, a.Missing.Least)
		require.EqualValues(t, 2, a.Missing.Hosts, "one to hold 18 cores, and one that may fail")
		require.Equal(t, head, b.m.Status().Revision)
		a, err = b.m.WhatIf(context.Background(), whatif.Question{Lose: []pool.HostID{hosts(1)[0].ID}},
			[]berthage.WhatIfDemand{{Name: "big", Spec: pool.Spec{Image: "debian-12", Flavor: "big"}, Project: "shop", Fits: true}}, whatif.Options{})
		require.NoError(t, err)
		require.Empty(t, a.Demand)
		require.Len(t, a.HowMany, 1)
		require.Greater(t, a.HowMany[0].Before, a.HowMany[0].After)
		_, err = b.m.WhatIf(context.Background(), whatif.Question{}, []berthage.WhatIfDemand{{Spec: pool.Spec{Image: "debian-12", Flavor: "none"}, Project: "shop", Count: 1}}, whatif.Options{})
		require.ErrorIs(t, err, pool.ErrNotFound)
		require.ErrorContains(t, err, "demand[0].flavor")
	})
}
