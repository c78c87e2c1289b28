package fake_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		without []hypervisor.Ability
		power   pool.Power
		before  func(t *testing.T, d *fake.Driver, o hypervisor.Order)
		change  func(from *hypervisor.Ref, o *hypervisor.Order)
		kind    error
		says    string
	}{
		"stopped":   {power: pool.Stopped},
		"live":      {power: pool.Running},
		"suspended": {power: pool.Suspended},
		"to a pool": {power: pool.Running, change: func(_ *hypervisor.Ref, o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "ssd-2", Class: pool.StorageSSD}}
		}},
		"not live":   {without: []hypervisor.Ability{hypervisor.CanMigrateLive}, power: pool.Running, kind: hypervisor.ErrWrongPower, says: "not stopped"},
		"cold":       {without: []hypervisor.Ability{hypervisor.CanMigrateLive}, power: pool.Stopped},
		"not at all": {without: []hypervisor.Ability{hypervisor.CanMigrate}, power: pool.Stopped, kind: errors.ErrUnsupported, says: "migrate"},
		"no room": {power: pool.Running, before: func(t *testing.T, d *fake.Driver, _ hypervisor.Order) {
			big := order("fake/b", 9)
			big.Spec.Resources[pool.Memory] = 60 * pool.GiB
			require.NoError(t, d.Create(t.Context(), big))
		}, kind: hypervisor.ErrRefused, says: "memory"},
		"no such pool": {power: pool.Running, change: func(_ *hypervisor.Ref, o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "ssd-9", Class: pool.StorageSSD}}
		}, kind: hypervisor.ErrRefused, says: "ssd-9"},
		"a dead host": {power: pool.Running, before: func(t *testing.T, d *fake.Driver, _ hypervisor.Order) {
			require.NoError(t, d.SetHostState("fake/b", fake.Dead))
		}, kind: hypervisor.ErrRefused, says: "fake/b is dead"},
		"no such host": {power: pool.Running, change: func(_ *hypervisor.Ref, o *hypervisor.Order) { o.Host = "fake/x" }, kind: hypervisor.ErrRefused, says: "fake/x"},
		"in the way": {power: pool.Running, before: func(t *testing.T, d *fake.Driver, o hypervisor.Order) {
			_, err := d.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: "fake/b"}, Native: string(o.Machine)})
			require.NoError(t, err)
		}, kind: hypervisor.ErrExists, says: "on fake/b"},
		"from a dead host": {power: pool.Running, before: func(t *testing.T, d *fake.Driver, _ hypervisor.Order) {
			require.NoError(t, d.SetHostState("fake/a", fake.CutOff))
		}, kind: hypervisor.ErrUnavailable, says: "cut off"},
		"from nowhere":    {power: pool.Running, change: func(from *hypervisor.Ref, _ *hypervisor.Order) { from.Host = "fake/x" }, kind: hypervisor.ErrNotFound},
		"to where it is":  {power: pool.Running, change: func(_ *hypervisor.Ref, o *hypervisor.Order) { o.Host = "fake/a" }, kind: hypervisor.ErrInvalid},
		"of two machines": {power: pool.Running, change: func(_ *hypervisor.Ref, o *hypervisor.Order) { o.Launched++ }, kind: hypervisor.ErrInvalid},
		"another's": {power: pool.Running, change: func(from *hypervisor.Ref, o *hypervisor.Order) {
			from.Launched++
			o.Launched++
		}, kind: hypervisor.ErrForeign},
		"not there": {power: pool.Running, change: func(from *hypervisor.Ref, o *hypervisor.Order) {
			from.Machine += "0"
			o.Machine += "0"
		}, kind: hypervisor.ErrNotFound},
		"an earlier order": {power: pool.Running, change: func(_ *hypervisor.Ref, o *hypervisor.Order) { o.Revision = 6 }, kind: hypervisor.ErrRefused, says: "of revision 6"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := on(fake.Config{Without: tc.without})
			o := order("fake/a", 1)
			o.Revision = 7
			require.NoError(t, d.Create(t.Context(), o))
			require.NoError(t, d.Snapshot(t.Context(), o.Ref, "kept"))
			if tc.power != pool.Stopped {
				require.NoError(t, d.Start(t.Context(), o.Ref))
			}
			if tc.power == pool.Suspended {
				require.NoError(t, d.Suspend(t.Context(), o.Ref))
			}
			if tc.before != nil {
				tc.before(t, d, o)
			}
			before, there := view(t, d, o.Ref), d.Inspect()
			from, moved := o.Ref, to(o, "fake/b")
			if tc.change != nil {
				tc.change(&from, &moved)
			}
			err := d.Migrate(t.Context(), from, moved)
			audit(t, d, false)
			require.Empty(t, d.Doubles())
			if tc.kind != nil {
				require.ErrorIs(t, err, tc.kind)
				require.ErrorContains(t, err, tc.says)
				require.True(t, hypervisor.Nothing(err))
				require.Equal(t, there, d.Inspect())
				return
			}
			require.NoError(t, err)
			require.Equal(t, pool.Absent, power(d, o.Ref))
			after := view(t, d, moved.Ref)
			require.Equal(t, moved.Revision, after.Revision)
			before.Host, before.Claims, before.Revision = after.Host, after.Claims, after.Revision
			require.Equal(t, before, after)
			require.Len(t, after.Claims, 1)
			if len(moved.Allocation.Claims) > 0 {
				require.Equal(t, moved.Allocation.Claims[0].Device, after.Claims[0].Device)
			}
			require.NoError(t, d.Migrate(t.Context(), from, moved), "again")
			require.Equal(t, 1, d.CountOf(o.Machine).Migrations)
		})
	}
}

// A machine that moves is one running copy all the time; an order that comes late moves nothing back.
func TestMigrationTakesTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Migrate: time.Minute, Hook: scripted(fake.OpMigrate, 1, fake.Fault{Kind: fake.Duplicate, After: time.Hour})})
		o := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), o))
		require.NoError(t, d.Start(t.Context(), o.Ref))
		moved := to(o, "fake/b")
		begin := time.Now()
		done := make(chan error)
		go func() { done <- d.Migrate(t.Context(), o.Ref, moved) }()
		time.Sleep(59 * time.Second)
		require.Equal(t, pool.Running, power(d, o.Ref))
		require.Equal(t, pool.Absent, power(d, moved.Ref))
		require.NoError(t, <-done)
		require.Equal(t, time.Minute, time.Since(begin))
		require.Equal(t, pool.Running, power(d, moved.Ref))
		back := to(moved, "fake/a")
		require.NoError(t, d.Migrate(t.Context(), moved.Ref, back))
		require.NoError(t, d.Wait(t.Context()))
		require.Greater(t, time.Since(begin), time.Hour)
		require.Equal(t, pool.Running, power(d, back.Ref), "the second delivery of the first order is outdated")
		require.Empty(t, d.Doubles())

		// Another copy that is started is a second one, wherever the first has gone.
		id, _, _ := o.Machine.Split()
		second := order("fake/b", 1)
		second.Machine = id.Machine(1)
		require.NoError(t, d.Create(t.Context(), second))
		require.NoError(t, d.Start(t.Context(), second.Ref))
		require.Len(t, d.Doubles(), 1)
	})
}

// A target that dies under way is refused, and the machine stays.
func TestMigrationToAHostThatDies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Migrate: time.Minute})
		o := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), o))
		require.NoError(t, d.Start(t.Context(), o.Ref))
		done := make(chan error)
		go func() { done <- d.Migrate(t.Context(), o.Ref, to(o, "fake/b")) }()
		time.Sleep(time.Second)
		require.NoError(t, d.SetHostState("fake/b", fake.CutOff))
		require.ErrorIs(t, <-done, hypervisor.ErrRefused)
		require.Equal(t, pool.Running, power(d, o.Ref))

		go func() { done <- d.Migrate(t.Context(), o.Ref, to(o, "fake/b")) }()
		time.Sleep(time.Second)
		require.NoError(t, d.SetHostState("fake/a", fake.Dead))
		require.ErrorIs(t, <-done, hypervisor.ErrUnknown)
		require.Equal(t, pool.Stopped, power(d, o.Ref))
	})
}

// A hook knows where a machine is to go.
func TestMigrateCallNamesItsTarget(t *testing.T) {
	t.Parallel()
	var seen fake.Call
	d := on(fake.Config{Hook: func(c fake.Call) fake.Fault { seen = c; return fake.Fault{} }})
	o := order("fake/a", 1)
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Migrate(t.Context(), o.Ref, to(o, "fake/b")))
	require.Equal(t, fake.Call{Op: fake.OpMigrate, Ref: o.Ref, To: "fake/b", N: 2}, seen)
}

func TestSnapshots(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{})
		o := made(t, d, order("fake/a", 1))
		names := func() (out []string) {
			list, err := d.Snapshots(t.Context(), o.Ref)
			require.NoError(t, err)
			for i, s := range list {
				out = append(out, s.Name)
				require.True(t, i == 0 || list[i-1].Time.Before(s.Time))
			}
			return out
		}
		contents := make(map[string]string)
		for _, name := range []string{"z", "a", "m"} {
			require.NoError(t, d.Snapshot(t.Context(), o.Ref, name))
			require.ErrorIs(t, d.Snapshot(t.Context(), o.Ref, name), hypervisor.ErrExists)
			contents[name] = view(t, d, o.Ref).Content
			require.NoError(t, d.Start(t.Context(), o.Ref))
			require.ErrorIs(t, d.Revert(t.Context(), o.Ref, name), hypervisor.ErrWrongPower)
			require.NoError(t, d.Stop(t.Context(), o.Ref))
			time.Sleep(time.Second)
		}
		require.Equal(t, []string{"z", "a", "m"}, names(), "oldest first")
		require.ErrorIs(t, d.Snapshot(t.Context(), o.Ref, "No Label"), hypervisor.ErrInvalid)
		for name, content := range contents {
			require.NoError(t, d.Revert(t.Context(), o.Ref, name))
			require.Equal(t, content, view(t, d, o.Ref).Content)
		}
		require.ErrorIs(t, d.Revert(t.Context(), o.Ref, "none"), hypervisor.ErrRefused)
		for range 2 {
			require.NoError(t, d.DeleteSnapshot(t.Context(), o.Ref, "a"))
			require.Equal(t, []string{"z", "m"}, names())
		}
		require.ErrorIs(t, d.Revert(t.Context(), o.Ref, "a"), hypervisor.ErrRefused)
		require.Equal(t, 3, d.CountOf(o.Machine).Snapshots)
		require.Equal(t, 3, d.CountOf(o.Machine).Reverts)
	})
}

// A fence works on a host that cannot be reached, and nothing that was sent before starts anything afterwards.
func TestFence(t *testing.T) {
	for _, state := range []fake.HostState{fake.Up, fake.CutOff, fake.Dead} {
		t.Run(string(state), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := on(fake.Config{Hook: scripted(fake.OpStart, 3, fake.Fault{Kind: fake.Late, After: time.Hour})})
				running, suspended, late := order("fake/a", 1), order("fake/a", 2), order("fake/a", 3)
				for _, o := range []hypervisor.Order{running, suspended, late} {
					require.NoError(t, d.Create(t.Context(), o))
					if err := d.Start(t.Context(), o.Ref); o.Ref == late.Ref {
						require.ErrorIs(t, err, hypervisor.ErrUnknown)
					} else {
						require.NoError(t, err)
					}
				}
				require.NoError(t, d.Suspend(t.Context(), suspended.Ref))
				require.NoError(t, d.SetHostState("fake/a", state))
				proof, err := d.Fence(t.Context(), "fake/a")
				require.NoError(t, err)
				require.NotEmpty(t, proof)
				require.Equal(t, []fake.Fence{{Host: "fake/a", At: time.Now()}}, d.Fences())
				_, err = d.Machines(t.Context(), "fake/a")
				require.ErrorIs(t, err, hypervisor.ErrUnavailable)
				require.NoError(t, d.SetHostState("fake/a", fake.Up))
				require.NoError(t, d.Wait(t.Context()))
				for _, o := range []hypervisor.Order{running, suspended, late} {
					require.Equal(t, pool.Stopped, power(d, o.Ref))
				}
				require.NoError(t, d.Start(t.Context(), late.Ref))
				require.Equal(t, pool.Running, power(d, late.Ref))
			})
		})
	}
}

// An aggregate places by itself: what is done to its hosts is not offered.
func TestAggregatesAreNotFenced(t *testing.T) {
	t.Parallel()
	region := server("fake/region")
	region.Devices = nil
	region.Shapes = []pool.Shape{{Name: "s1", Resources: pool.Resources{pool.Memory: pool.GiB}}, {Name: "s2", Resources: pool.Resources{pool.Memory: 2 * pool.GiB}}}
	d := on(fake.Config{Hosts: []pool.Host{region}})
	for _, a := range []hypervisor.Ability{hypervisor.CanFence, hypervisor.CanMigrate, hypervisor.CanMigrateLive} {
		require.True(t, hypervisor.Has(d, "fake/a", a), a)
		require.False(t, hypervisor.Has(d, "fake/region", a), a)
	}
	_, err := d.Fence(t.Context(), "fake/region")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	o := order("fake/region", 1)
	o.Spec.Disks = nil
	o.Allocation = pool.Allocation{Shape: "s1", Resources: region.Shapes[0].Resources}
	require.NoError(t, d.Create(t.Context(), o))
	require.ErrorIs(t, d.Migrate(t.Context(), o.Ref, to(o, "fake/a")), errors.ErrUnsupported)
	b := order("fake/a", 2)
	require.NoError(t, d.Create(t.Context(), b))
	require.ErrorIs(t, d.Migrate(t.Context(), b.Ref, to(b, "fake/region")), errors.ErrUnsupported)
	o.Revision, o.Allocation = 1, pool.Allocation{Shape: "s2", Resources: region.Shapes[1].Resources}
	require.NoError(t, d.Resize(t.Context(), o))
	require.Equal(t, 2*pool.GiB, view(t, d, o.Ref).Demand[pool.Memory])
}

// A create that is accepted and then fails leaves a machine that says so, and can only be destroyed.
func TestBreak(t *testing.T) {
	reason := errors.New("no valid host in this region")
	for name, after := range map[string]time.Duration{"at once": 0, "later": time.Minute} {
		for _, op := range []fake.Op{fake.OpCreate, fake.OpUnshelve} {
			t.Run(string(op)+"/"+name, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					n := 1
					if op == fake.OpCreate {
						n = 2
					}
					d := on(fake.Config{Hook: scripted(op, n, fake.Fault{Kind: fake.Break, After: after, Err: reason})})
					first := made(t, d, order("fake/a", 1))
					require.NoError(t, d.Shelve(t.Context(), first.Ref))
					o := order("fake/b", 2)
					if op == fake.OpCreate {
						require.NoError(t, d.Create(t.Context(), o))
					} else {
						require.NoError(t, d.Unshelve(t.Context(), o, first.Ref))
					}
					list, err := d.Machines(t.Context(), "fake/b")
					require.NoError(t, err)
					if after > 0 {
						require.Empty(t, list[0].Fault)
						require.NoError(t, d.Start(t.Context(), o.Ref))
						require.NoError(t, d.Wait(t.Context()))
						list, err = d.Machines(t.Context(), "fake/b")
						require.NoError(t, err)
					}
					require.Equal(t, reason.Error(), list[0].Fault)
					require.Equal(t, pool.Stopped, list[0].Power)
					require.Equal(t, 1, d.Injected()[fake.Break])
					for what, err := range map[string]error{
						"start": d.Start(t.Context(), o.Ref), "shelve": d.Shelve(t.Context(), o.Ref), "resize": d.Resize(t.Context(), o),
						"migrate": d.Migrate(t.Context(), o.Ref, to(o, "fake/a")), "snapshot": d.Snapshot(t.Context(), o.Ref, "a"), "revert": d.Revert(t.Context(), o.Ref, "a"),
					} {
						require.ErrorIs(t, err, hypervisor.ErrRefused, what)
						require.ErrorContains(t, err, reason.Error(), what)
					}
					require.NoError(t, d.Stop(t.Context(), o.Ref))
					require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrExists)
					require.NoError(t, d.Destroy(t.Context(), o.Ref))
					require.NoError(t, d.Create(t.Context(), o))
					require.NoError(t, d.Start(t.Context(), o.Ref))
				})
			})
		}
	}
	t.Run("of another call", func(t *testing.T) {
		t.Parallel()
		d := on(fake.Config{Hook: scripted(fake.OpStart, 1, fake.Fault{Kind: fake.Break})})
		o := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), o))
		require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrRefused)
		require.Equal(t, pool.Stopped, power(d, o.Ref))
	})
	t.Run("by chance", func(t *testing.T) {
		t.Parallel()
		d := on(fake.Config{Faults: fake.Faults{Break: 1}})
		o := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), o))
		require.NotEmpty(t, view(t, d, o.Ref).Fault)
		require.ErrorIs(t, d.SetFaults(fake.Faults{Break: 0.6, Refuse: 0.6}), pool.ErrInvalid)
	})
}
