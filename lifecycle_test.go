package berthage_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// at says where the copies of an instance's present machine are.
func at(d *fake.Driver, i pool.Instance) map[pool.HostID]pool.Power {
	out := make(map[pool.HostID]pool.Power)
	for _, h := range d.Inspect() {
		for _, m := range h.Machines {
			if m.Tag.Machine == i.Machine() {
				out[h.Host.ID] = m.Power
			}
		}
	}
	return out
}

func TestMove(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		without []hypervisor.Ability
		fault   fake.Fault // of the first migration
		next    fake.Fault // of the second
		cold    bool
		refused bool // by the command
		stays   bool
	}{
		"live":                      {},
		"stopped for it":            {without: []hypervisor.Ability{hypervisor.CanMigrateLive}, cold: true},
		"not without leave":         {without: []hypervisor.Ability{hypervisor.CanMigrateLive}, refused: true},
		"not at all":                {without: []hypervisor.Ability{hypervisor.CanMigrate}, cold: true, refused: true},
		"reply lost":                {fault: fake.Fault{Kind: fake.Lose}},
		"request lost":              {fault: fake.Fault{Kind: fake.Drop}},
		"late":                      {fault: fake.Fault{Kind: fake.Late, After: 30 * time.Second}},
		"twice":                     {fault: fake.Fault{Kind: fake.Duplicate, After: 20 * time.Second}},
		"refused by the hypervisor": {fault: fake.Fault{Kind: fake.Refuse}, stays: true},
		"late, and then refused":    {fault: fake.Fault{Kind: fake.Late, After: 30 * time.Second}, next: fake.Fault{Kind: fake.Refuse}},
		"lost, and then refused":    {fault: fake.Fault{Kind: fake.Drop}, next: fake.Fault{Kind: fake.Refuse}},
		"never reached":             {fault: fake.Fault{Kind: fake.Unavailable}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := 0
				b := start(t, fake.Config{Hosts: hosts(2), Without: tc.without, Migrate: time.Second, Hook: func(c fake.Call) fake.Fault {
					if c.Op == fake.OpMigrate {
						switch n++; n {
						case 1:
							return tc.fault
						case 2:
							return tc.next
						}
					}
					return fake.Fault{}
				}})
				defer b.stop()
				ctx := context.Background()
				i := settle(t, b.m, b.launch("one").ID)
				from := i.Place.Host
				_, err := b.m.Move(ctx, i.ID, "", tc.cold)
				if tc.refused {
					require.True(t, is(err, errUnsupported, pool.ErrWrongState), "%v", err)
					return
				}
				require.NoError(t, err)
				_, err = b.m.Move(ctx, i.ID, "", tc.cold)
				require.NoError(t, err, "that is under way already")
				now := settle(t, b.m, i.ID)
				require.Equal(t, "running", now.Status())
				require.Equal(t, i.Machine(), now.Machine())
				require.Equal(t, tc.stays, now.Place.Host == from)
				require.Equal(t, tc.stays, now.Reason != "", now.Reason)
				time.Sleep(2 * time.Minute)
				require.Equal(t, map[pool.HostID]pool.Power{now.Place.Host: pool.Running}, at(b.fleet, now), "it stays where it was when the move had ended")
				require.Empty(t, b.m.Unknown())
				sound(t, b.m, b.fleet)
				_, err = b.m.Move(ctx, i.ID, now.Place.Host, false)
				require.NoError(t, err, "it is there")
				_, err = b.m.Move(ctx, i.ID, "sim/none", false)
				require.ErrorIs(t, err, pool.ErrNotFound)
			})
		})
	}
}

// Whoever moves a machine without telling us is followed.
func TestMachineMovedBySomebodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		to := hosts(2)[0].ID
		if i.Place.Host == to {
			to = hosts(2)[1].ID
		}
		var identity string
		b.m.View(func(st *pool.State) { identity = st.Identity() })
		ref := hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: identity, Machine: i.Machine(), Launched: i.Launched}}
		o := hypervisor.Order{Ref: ref, Name: i.Name, Spec: i.Spec, Image: i.Image, Source: "debian", Allocation: i.Place.Allocation, Revision: 1 << 40}
		o.Host = to
		require.NoError(t, b.fleet.Migrate(context.Background(), ref, o))
		time.Sleep(time.Minute)
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, to, now.Place.Host)
		require.Equal(t, "running", now.Status())
		require.Empty(t, b.m.Unknown())
		sound(t, b.m, b.fleet)
	})
}

func TestResizing(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		without []hypervisor.Ability
		fault   fake.Fault
		cold    bool
		err     error
		stays   bool
	}{
		"hot":            {},
		"stopped for it": {without: []hypervisor.Ability{hypervisor.CanResizeHot}, cold: true},
		"no leave":       {without: []hypervisor.Ability{hypervisor.CanResizeHot}, err: pool.ErrWrongState},
		"reply lost":     {fault: fake.Fault{Kind: fake.Lose}},
		"late":           {fault: fake.Fault{Kind: fake.Late, After: 20 * time.Second}},
		"refused":        {fault: fake.Fault{Kind: fake.Refuse}, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := 0
				b := start(t, fake.Config{Hosts: hosts(1), Without: tc.without, Hook: func(c fake.Call) fake.Fault {
					if c.Op == fake.OpResize {
						if n++; n == 1 || tc.stays {
							return tc.fault
						}
					}
					return fake.Fault{}
				}})
				defer b.stop()
				ctx := context.Background()
				i := settle(t, b.m, b.launch("one").ID)
				ask := berthage.Resize{Instance: i.ID, Resources: pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: pool.GiB}, Disks: []int64{20 * pool.GiB}, Cold: tc.cold}
				_, err := b.m.Resize(ctx, ask)
				if tc.err != nil {
					require.ErrorIs(t, err, tc.err)
					return
				}
				require.NoError(t, err)
				_, err = b.m.Resize(ctx, ask)
				require.NoError(t, err)
				during, err := b.m.Instance(i.ID)
				require.NoError(t, err)
				if during.Resize != nil {
					require.Equal(t, 2*pool.GiB, during.Place.Allocation.Resources[pool.Memory], "the larger of both")
				}
				now := settle(t, b.m, i.ID)
				require.Equal(t, "running", now.Status())
				want := pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: pool.GiB, pool.StorageStandard: 20 * pool.GiB}
				if tc.stays {
					want = pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB, pool.StorageStandard: 10 * pool.GiB}
					require.NotEmpty(t, now.Reason)
				}
				require.True(t, want.Equal(now.Place.Allocation.Resources), "%v", now.Place.Allocation)
				time.Sleep(2 * time.Minute)
				v, _ := b.fleet.InspectHost(now.Place.Host)
				require.True(t, want.Equal(v.Machines[0].Demand), "%v", v.Machines[0].Demand)
				sound(t, b.m, b.fleet)
				again := b.launch("one")
				require.Equal(t, i.ID, again.ID, "the same launch, whatever has become of it")
				_, err = b.m.Resize(ctx, berthage.Resize{Instance: i.ID, Resources: pool.Resources{pool.CPU: 9 * pool.Core}, Cold: true})
				require.ErrorIs(t, err, pool.ErrNoRoom)
				_, err = b.m.Resize(ctx, berthage.Resize{Instance: i.ID, Disks: []int64{pool.GiB}})
				require.ErrorIs(t, err, pool.ErrInvalid)
				_, err = b.m.Resize(ctx, berthage.Resize{Instance: i.ID, Flavor: "none"})
				require.ErrorIs(t, err, pool.ErrNotFound)
			})
		})
	}
}

func TestShelve(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]fake.Fault{
		"": {}, "reply lost": {Kind: fake.Lose}, "late": {Kind: fake.Late, After: 30 * time.Second}, "dropped": {Kind: fake.Drop}, "twice": {Kind: fake.Duplicate, After: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ops := map[fake.Op]int{}
				b := start(t, fake.Config{Hosts: hosts(2), Hook: func(c fake.Call) fake.Fault {
					switch c.Op {
					case fake.OpShelve, fake.OpUnshelve, fake.OpDiscard:
						if ops[c.Op]++; ops[c.Op] == 1 {
							return fault
						}
					}
					return fake.Fault{}
				}})
				defer b.stop()
				ctx := context.Background()
				i := settle(t, b.m, b.launch("one").ID)
				_, err := b.m.SetPower(ctx, i.ID, pool.Shelved)
				require.NoError(t, err)
				_, err = b.m.SetPower(ctx, i.ID, pool.Running)
				require.ErrorIs(t, err, pool.ErrWrongState, "not while it is being shelved")
				now := settle(t, b.m, i.ID)
				require.Equal(t, "shelved", now.Status())
				require.False(t, now.Placed())
				b.m.View(func(st *pool.State) {
					require.Zero(t, st.Totals()[pool.CPU].Used)
					p, _ := st.Project("shop")
					require.Empty(t, p.Used)
				})
				require.Len(t, b.fleet.Shelf(), 1)
				time.Sleep(2 * time.Minute)
				_, err = b.m.SetPower(ctx, i.ID, pool.Running)
				require.NoError(t, err)
				now = settle(t, b.m, i.ID)
				require.Equal(t, "running", now.Status())
				require.Equal(t, i.ID.Machine(1), now.Machine())
				require.Nil(t, now.Anew, "it has the disks that were put aside")
				require.Empty(t, b.fleet.Shelf())
				time.Sleep(2 * time.Minute)
				sound(t, b.m, b.fleet)
				require.Equal(t, map[pool.HostID]pool.Power{now.Place.Host: pool.Running}, at(b.fleet, now))

				_, err = b.m.SetPower(ctx, i.ID, pool.Shelved)
				require.NoError(t, err)
				settle(t, b.m, i.ID)
				_, err = b.m.Delete(ctx, i.ID)
				require.NoError(t, err)
				require.Equal(t, pool.Deleted, settle(t, b.m, i.ID).Phase)
				require.Empty(t, b.fleet.Shelf())
				require.Empty(t, machines(b.fleet))
			})
		})
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3), Migrate: 2 * time.Second})
		defer b.stop()
		ctx := context.Background()
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			settle(t, b.m, b.launch(name).ID)
		}
		i, err := b.m.Instance(b.launch("a").ID)
		require.NoError(t, err)
		from := i.Place.Host
		h, err := b.m.Drain(ctx, from, false, "new memory")
		require.NoError(t, err)
		require.True(t, h.Conditions.Has(pool.Draining))
		require.Len(t, b.m.Leaving(from), 5)
		eventually(t, func() bool { return len(b.m.Leaving(from)) == 0 }, "drained")
		require.Equal(t, map[pool.Power]int{pool.Running: 5}, machines(b.fleet))
		v, _ := b.fleet.InspectHost(from)
		require.Empty(t, v.Machines)

		// One that cannot leave is rebooted at once all the same.
		for _, other := range hosts(3) {
			_, err := b.m.Drain(ctx, other.ID, false, "everything")
			require.NoError(t, err)
		}
		time.Sleep(10 * time.Minute)
		began := time.Now()
		_, err = b.m.Reboot(ctx, i.ID, "again")
		require.NoError(t, err)
		require.Equal(t, 1, settle(t, b.m, i.ID).Rebooted)
		require.Less(t, time.Since(began), time.Second)
		for _, other := range hosts(3) {
			if other.ID != from { // to which they would move back, while it is the only one
				_, err := b.m.Undrain(ctx, other.ID)
				require.NoError(t, err)
			}
		}
		time.Sleep(time.Minute)
		h, err = b.m.Undrain(ctx, from)
		require.NoError(t, err)
		require.True(t, h.Conditions.Schedulable())
		time.Sleep(time.Minute)
		sound(t, b.m, b.fleet)
		require.NoError(t, b.m.RemoveHost(ctx, from))
	})
}

func TestEvacuation(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		policy  berthage.Evacuation
		without []hypervisor.Ability
		state   fake.HostState
		confirm bool
		moves   bool
	}{
		"fenced by its driver":    {state: fake.CutOff, moves: true},
		"dead, fenced":            {state: fake.Dead, moves: true},
		"nobody can tell":         {state: fake.CutOff, without: []hypervisor.Ability{hypervisor.CanFence}},
		"somebody can":            {state: fake.Dead, without: []hypervisor.Ability{hypervisor.CanFence}, confirm: true, moves: true},
		"never":                   {state: fake.Dead, policy: berthage.EvacuateNever, confirm: true},
		"always, and it was dead": {state: fake.Dead, policy: berthage.EvacuateAlways, without: []hypervisor.Ability{hypervisor.CanFence}, moves: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: hosts(3), Without: tc.without}, func(c *berthage.Config) { c.Evacuation = tc.policy })
				defer b.stop()
				ctx := context.Background()
				i := settle(t, b.m, b.launch("one").ID)
				gone := settle(t, b.m, b.launch("deleted").ID)
				from := i.Place.Host
				require.Equal(t, from, gone.Place.Host)
				_, err := b.m.ConfirmOff(ctx, from, "I have pulled the plug")
				require.ErrorIs(t, err, pool.ErrWrongState, "it can be reached")
				require.NoError(t, b.fleet.SetHostState(from, tc.state))
				time.Sleep(3 * time.Minute)
				_, err = b.m.Delete(ctx, gone.ID)
				require.NoError(t, err)
				if tc.confirm {
					_, err := b.m.ConfirmOff(ctx, from, "I have pulled the plug")
					require.NoError(t, err)
				}
				time.Sleep(10 * time.Minute)
				now, err := b.m.Instance(i.ID)
				require.NoError(t, err)
				require.Equal(t, tc.moves, now.Place.Host != from)
				require.Equal(t, "running", now.Status())
				if tc.moves {
					require.Equal(t, map[pool.HostID]pool.Power{now.Place.Host: pool.Running}, at(b.fleet, now))
					require.NotNil(t, now.Anew, "it is said that its disks are new")
					require.Equal(t, pool.Anew{Machine: i.Machine(), Host: from, At: now.Anew.At}, *now.Anew)
					require.True(t, now.Anew.At.After(i.At))
					dead, err := b.m.Instance(gone.ID)
					require.NoError(t, err)
					require.Equal(t, pool.Deleted, dead.Phase)
					require.Equal(t, 2, held(b.m), "both places are held until their machines are known to be gone")
				}
				require.NoError(t, b.fleet.SetHostState(from, fake.Up))
				time.Sleep(5 * time.Minute)
				v, _ := b.fleet.InspectHost(from)
				if tc.moves {
					require.Empty(t, v.Machines, "what was left behind is destroyed")
				} else {
					require.Len(t, v.Machines, 1)
				}
				require.Zero(t, held(b.m))
				require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
				sound(t, b.m, b.fleet)
				b.m.View(func(st *pool.State) {
					h, _ := st.Host(from)
					require.Equal(t, pool.Ready, h.Conditions)
				})
			})
		})
	}
}

func countsAsOff(m *berthage.Manager, id pool.HostID) (off bool) {
	m.View(func(st *pool.State) {
		h, ok := st.Host(id)
		off = ok && h.Conditions.Has(pool.Fenced)
	})
	return off
}

// That a host is off is proved of the time before a machine was moved to it: such a machine is not made anew.
func TestMovedToAHostThatCountsAsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var silent atomic.Pointer[pool.HostID]
		b := start(t, fake.Config{Hosts: hosts(3), Migrate: time.Second, Hook: func(c fake.Call) fake.Fault {
			switch to := silent.Load(); {
			case c.Op == fake.OpMigrate:
				return fake.Fault{After: 8 * time.Minute}
			case to != nil && c.Op == fake.OpMachines && c.Ref.Host == *to:
				return fake.Fault{Kind: fake.Unavailable}
			}
			return fake.Fault{}
		}}, func(c *berthage.Config) { c.CallTimeout = 20 * time.Minute })
		defer b.stop()
		ctx := context.Background()
		i, to := settle(t, b.m, b.launch("one").ID), pool.HostID("sim/h02")
		other := spec() // for which its host is switched off
		other.Constraints.Hosts = []pool.HostID{to}
		two, err := b.m.Launch(ctx, berthage.Launch{Token: "two", Project: "shop", Name: "two", Spec: other})
		require.NoError(t, err)
		settle(t, b.m, two.ID)
		_, err = b.m.Move(ctx, i.ID, to, false)
		require.NoError(t, err)
		fenced := func() bool { return countsAsOff(b.m, to) }
		time.Sleep(10 * time.Second)
		require.NoError(t, b.fleet.SetHostState(to, fake.Dead))
		eventually(t, fenced, "switched off")
		silent.Store(&to)
		require.NoError(t, b.fleet.SetHostState(to, fake.Up))
		require.True(t, fenced(), "nobody has seen that it is on again")
		eventually(t, func() bool {
			now, err := b.m.Instance(i.ID)
			require.NoError(t, err)
			return now.Place.Host == to
		}, "the move is answered")
		silent.Store(nil)
		time.Sleep(5 * time.Minute)
		now := settle(t, b.m, i.ID)
		require.Equal(t, to, now.Place.Host)
		require.Equal(t, i.Machine(), now.Machine())
		require.Equal(t, "running", now.Status())
		sound(t, b.m, b.fleet)
	})
}

// Nothing is moved to a host that is known to be off: it could be on again when the order arrives, and count as off.
func TestNothingIsMovedToAHostThatIsOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refusals, late atomic.Int32
		var off atomic.Bool
		b := start(t, fake.Config{Hosts: hosts(3), Hook: func(c fake.Call) fake.Fault {
			if c.Op != fake.OpMigrate {
				return fake.Fault{}
			}
			if off.Load() {
				late.Add(1)
			}
			refusals.Add(1)
			return fake.Fault{Kind: fake.Drop} // so that it is not called off before Settles
		}})
		defer b.stop()
		ctx := context.Background()
		i, to := settle(t, b.m, b.launch("one").ID), pool.HostID("sim/h02")
		other := spec() // for which its host is switched off
		other.Constraints.Hosts = []pool.HostID{to}
		two, err := b.m.Launch(ctx, berthage.Launch{Token: "two", Project: "shop", Name: "two", Spec: other})
		require.NoError(t, err)
		settle(t, b.m, two.ID)
		_, err = b.m.Move(ctx, i.ID, to, false)
		require.NoError(t, err)
		require.NoError(t, b.fleet.SetHostState(to, fake.Dead))
		eventually(t, func() bool { return countsAsOff(b.m, to) }, "switched off")
		off.Store(true)
		now := settle(t, b.m, i.ID)
		require.Zero(t, late.Load())
		require.NotZero(t, refusals.Load())
		require.Equal(t, i.Place.Host, now.Place.Host, "it stays where it is")
		require.Contains(t, now.Reason, "off")
		sound(t, b.m, b.fleet)
	})
}

// What was sent to a host before it went off may still be carried out when it is back: until it cannot, nothing is
// made anew elsewhere.
func TestEvacuationWaitsForWhatWasSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var starts, sent atomic.Int64 // sent: when the second was, in nanoseconds
		b := start(t, fake.Config{Hosts: hosts(3), Settles: 4 * time.Minute, Without: []hypervisor.Ability{hypervisor.CanFence}, Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpStart {
				if starts.Add(1) == 2 {
					sent.Store(time.Now().UnixNano())
					return fake.Fault{Kind: fake.Late, After: 228 * time.Second}
				}
			}
			return fake.Fault{}
		}})
		defer b.stop()
		ctx := context.Background()
		i := settle(t, b.m, b.launch("one").ID)
		for _, want := range []pool.Power{pool.Stopped, pool.Running} {
			_, err := b.m.SetPower(ctx, i.ID, want)
			require.NoError(t, err)
			time.Sleep(500 * time.Millisecond)
		}
		require.EqualValues(t, 2, starts.Load())
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.Dead))
		eventually(t, func() bool {
			_, err := b.m.ConfirmOff(ctx, i.Place.Host, "no power")
			return err == nil
		}, "unreachable")
		time.Sleep(time.Until(time.Unix(0, sent.Load()).Add(227999 * time.Millisecond))) // between two looks at the host
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.Up))
		time.Sleep(10 * time.Minute)
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
		sound(t, b.m, b.fleet)
	})
}

// A host of which nobody has answered that it is off may still run everything.
func TestFenceWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpFence {
				return fake.Fault{Kind: fake.Drop}
			}
			return fake.Fault{}
		}})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.CutOff))
		time.Sleep(20 * time.Minute)
		require.NotZero(t, b.fleet.Calls()[fake.OpFence])
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, i.Machine(), now.Machine())
		b.m.View(func(st *pool.State) {
			h, _ := st.Host(i.Place.Host)
			require.False(t, h.Conditions.Has(pool.Fenced))
		})
	})
}

// Where most hosts are silent it is rather we who are cut off: nothing is switched off.
func TestNotAllHostsAreFenced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(4)})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		for _, h := range hosts(4)[1:] {
			require.NoError(t, b.fleet.SetHostState(h.ID, fake.CutOff))
		}
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.CutOff))
		time.Sleep(20 * time.Minute)
		require.Empty(t, b.fleet.Fences())
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
	})
}

// A machine that was accepted and then given up by its hypervisor is made elsewhere.
func TestAcceptedAndThenRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		b := start(t, fake.Config{Hosts: hosts(2), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpCreate {
				if n++; n == 1 {
					return fake.Fault{Kind: fake.Break}
				}
			}
			return fake.Fault{}
		}})
		defer b.stop()
		i := b.launch("one")
		now := settle(t, b.m, i.ID)
		require.Equal(t, "running", now.Status())
		require.Equal(t, i.ID.Machine(1), now.Machine())
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
	})
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		ctx := context.Background()
		i := settle(t, b.m, b.launch("one").ID)
		_, err := b.m.Rebuild(ctx, i.ID, i.Machine())
		require.ErrorIs(t, err, pool.ErrWrongState)
		var identity string
		b.m.View(func(st *pool.State) { identity = st.Identity() })
		require.NoError(t, b.fleet.Destroy(ctx, hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: identity, Machine: i.Machine(), Launched: i.Launched}}))
		time.Sleep(time.Minute)
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, "missing", now.Status())
		_, err = b.m.Rebuild(ctx, i.ID, i.ID.Machine(7))
		require.ErrorIs(t, err, pool.ErrInvalid)
		for range 2 {
			_, err = b.m.Rebuild(ctx, i.ID, i.Machine())
			require.NoError(t, err)
		}
		now = settle(t, b.m, i.ID)
		require.Equal(t, "running", now.Status())
		require.Equal(t, i.ID.Machine(1), now.Machine())
		require.Equal(t, i.Machine(), now.Anew.Machine)
		time.Sleep(5 * time.Minute)
		require.Zero(t, held(b.m))
		sound(t, b.m, b.fleet)
	})
}

// An instance that is being started may run before anything else is done to it: that needs leave to stop it.
func TestWhatIsBeingStartedIsNotStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{
			Hosts: hosts(2), Without: []hypervisor.Ability{hypervisor.CanResizeHot, hypervisor.CanMigrateLive},
			Hook: first(fake.OpStart, 1, fake.Fault{Before: 10 * time.Second}),
		})
		defer b.stop()
		ctx, i := context.Background(), b.launch("one")
		time.Sleep(5 * time.Second)
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Stopped, now.Is)
		bigger := berthage.Resize{Instance: i.ID, Resources: pool.Resources{pool.CPU: 2 * pool.Core}}
		_, err = b.m.Resize(ctx, bigger)
		require.ErrorIs(t, err, pool.ErrWrongState)
		_, err = b.m.Move(ctx, i.ID, "", false)
		require.ErrorIs(t, err, pool.ErrWrongState)
		bigger.Cold = true
		_, err = b.m.Resize(ctx, bigger)
		require.NoError(t, err)
		now = settle(t, b.m, i.ID)
		require.Equal(t, "running", now.Status())
		require.Equal(t, 2*pool.Core, now.Spec.Resources[pool.CPU])
		sound(t, b.m, b.fleet)
	})
}

// What is put aside goes with the instance, also when it is deleted while the machine that was to be made of it is
// being removed.
func TestDeletedWhileUnshelvingIsUndone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Hook: func(c fake.Call) fake.Fault {
			switch c.Op {
			case fake.OpUnshelve:
				return fake.Fault{Kind: fake.Refuse}
			case fake.OpDestroy:
				return fake.Fault{Before: 5 * time.Second}
			}
			return fake.Fault{}
		}})
		defer b.stop()
		ctx, i := context.Background(), settle(t, b.m, b.launch("one").ID)
		_, err := b.m.SetPower(ctx, i.ID, pool.Shelved)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		require.Len(t, b.fleet.Shelf(), 1)
		_, err = b.m.SetPower(ctx, i.ID, pool.Running)
		require.NoError(t, err)
		time.Sleep(3 * time.Second)
		_, err = b.m.Delete(ctx, i.ID)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Empty(t, b.fleet.Shelf())
		b.m.View(func(st *pool.State) {
			_, ended := st.Ended(i.ID)
			require.True(t, ended)
		})
	})
}

// What was put aside stays until the machine that was made of it has run: it may yet be given up, and shelved again
// it is as it was.
func TestPutAsideUntilItHasRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3), Hook: first(fake.OpUnshelve, 1, fake.Fault{Kind: fake.Break})})
		defer b.stop()
		ctx, i := context.Background(), settle(t, b.m, b.launch("one").ID)
		to := func(want pool.Power, status string, aside int) pool.Instance {
			t.Helper()
			_, err := b.m.SetPower(ctx, i.ID, want)
			require.NoError(t, err)
			time.Sleep(2 * time.Minute)
			now := settle(t, b.m, i.ID)
			require.Equal(t, status, now.Status())
			require.Len(t, b.fleet.Shelf(), aside)
			return now
		}
		to(pool.Shelved, "shelved", 1)
		now := to(pool.Running, "running", 0)
		require.Equal(t, i.ID.Machine(2), now.Machine(), "the first one was given up")

		to(pool.Shelved, "shelved", 1)
		to(pool.Stopped, "stopped", 1)
		require.Equal(t, map[pool.Power]int{pool.Stopped: 1}, machines(b.fleet))
		to(pool.Shelved, "shelved", 1)
		require.Empty(t, machines(b.fleet))
		to(pool.Stopped, "stopped", 1)
		to(pool.Running, "running", 0)
		sound(t, b.m, b.fleet)
	})
}
