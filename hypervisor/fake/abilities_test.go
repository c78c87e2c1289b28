package fake_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// sized returns an order with other sizes, of a later revision.
func sized(o hypervisor.Order, memory, disk int64) hypervisor.Order {
	o.Spec = o.Spec.Clone()
	o.Spec.Resources[pool.Memory] = memory
	o.Spec.Disks[0].Size = disk
	o.Revision++
	return o
}

// to returns an order for another host, of a later revision.
func to(o hypervisor.Order, host pool.HostID) hypervisor.Order {
	o.Host = host
	o.Allocation.Claims = nil
	o.Revision++
	return o
}

// view is the machine as it is physically.
func view(t *testing.T, d *fake.Driver, r hypervisor.Ref) fake.MachineView {
	t.Helper()
	v, _ := d.InspectHost(r.Host)
	for _, m := range v.Machines {
		if m.Tag == r.Tag {
			return m
		}
	}
	require.Fail(t, "no such machine", "%v", r)
	return fake.MachineView{}
}

// made returns a machine that has run, and is stopped.
func made(t *testing.T, d *fake.Driver, o hypervisor.Order) hypervisor.Order {
	t.Helper()
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	return o
}

// Every fault works on every call: what is done when the caller hears of it, and in the end.
func TestFaultsOfTheAbilities(t *testing.T) {
	t.Parallel()
	o := order("fake/a", 1)
	next := order("fake/b", 1)
	id, _, _ := o.Machine.Split()
	next.Machine = id.Machine(1)
	aside := func(d *fake.Driver) bool { return len(d.Shelf()) == 1 }
	shelve := func(t *testing.T, d *fake.Driver) { require.NoError(t, d.Shelve(t.Context(), o.Ref)) }
	snapshot := func(t *testing.T, d *fake.Driver) {
		require.NoError(t, d.Snapshot(t.Context(), o.Ref, "kept"))
		require.NoError(t, d.Start(t.Context(), o.Ref))
		require.NoError(t, d.Stop(t.Context(), o.Ref))
	}
	list := func(d *fake.Driver) int {
		v, _ := d.InspectHost("fake/a")
		return len(v.Machines[0].Snapshots)
	}
	calls := map[fake.Op]struct {
		before func(t *testing.T, d *fake.Driver)
		call   func(ctx context.Context, d *fake.Driver) error
		done   func(d *fake.Driver) bool
		again  error // what a second delivery is answered; nil: success
	}{
		fake.OpShelve: {call: func(ctx context.Context, d *fake.Driver) error { return d.Shelve(ctx, o.Ref) }, done: aside},
		fake.OpUnshelve: {before: shelve, call: func(ctx context.Context, d *fake.Driver) error { return d.Unshelve(ctx, next, o.Ref) },
			done: func(d *fake.Driver) bool { return power(d, next.Ref) == pool.Stopped }, again: hypervisor.ErrExists},
		fake.OpDiscard: {before: shelve, call: func(ctx context.Context, d *fake.Driver) error { return d.Discard(ctx, o.Ref) },
			done: func(d *fake.Driver) bool { return !aside(d) }},
		fake.OpResize: {call: func(ctx context.Context, d *fake.Driver) error {
			return d.Resize(ctx, sized(o, 2*pool.GiB, 10*pool.GiB))
		},
			done: func(d *fake.Driver) bool {
				v, _ := d.InspectHost("fake/a")
				return v.Used[pool.Memory] == 2*pool.GiB
			}},
		fake.OpMigrate: {call: func(ctx context.Context, d *fake.Driver) error { return d.Migrate(ctx, o.Ref, to(o, "fake/b")) },
			done: func(d *fake.Driver) bool { return power(d, to(o, "fake/b").Ref) == pool.Stopped }},
		fake.OpSnapshot: {call: func(ctx context.Context, d *fake.Driver) error { return d.Snapshot(ctx, o.Ref, "kept") },
			done: func(d *fake.Driver) bool { return list(d) == 1 }, again: hypervisor.ErrExists},
		fake.OpRevert: {before: snapshot, call: func(ctx context.Context, d *fake.Driver) error { return d.Revert(ctx, o.Ref, "kept") },
			done: func(d *fake.Driver) bool { return d.CountOf(o.Machine).Reverts > 0 }},
		fake.OpDeleteSnapshot: {before: snapshot, call: func(ctx context.Context, d *fake.Driver) error { return d.DeleteSnapshot(ctx, o.Ref, "kept") },
			done: func(d *fake.Driver) bool { return list(d) == 0 }},
		fake.OpFence: {call: func(ctx context.Context, d *fake.Driver) error { _, err := d.Fence(ctx, "fake/a"); return err },
			done: func(d *fake.Driver) bool { return len(d.Fences()) > 0 }},
	}
	for op, c := range calls {
		for kind, want := range map[fake.FaultKind]struct {
			err         error // nil: success
			then, later bool  // done
		}{
			"":               {then: true, later: true},
			fake.Refuse:      {err: hypervisor.ErrRefused},
			fake.Unavailable: {err: hypervisor.ErrUnavailable},
			fake.Drop:        {err: hypervisor.ErrUnknown},
			fake.Lose:        {err: hypervisor.ErrUnknown, then: true, later: true},
			fake.Late:        {err: hypervisor.ErrUnknown, later: true},
			fake.Duplicate:   {then: true, later: true},
			fake.Shorten:     {err: hypervisor.ErrUnavailable},
		} {
			t.Run(string(op)+"/"+string(kind), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					d := on(fake.Config{Hook: scripted(op, 1, fake.Fault{Kind: kind, After: time.Minute})})
					made(t, d, o)
					if c.before != nil {
						c.before(t, d)
					}
					require.False(t, c.done(d))
					err := c.call(t.Context(), d)
					require.Equal(t, want.then, c.done(d))
					if want.err == nil {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, want.err)
					}
					require.NoError(t, d.Wait(t.Context()))
					require.Equal(t, want.later, c.done(d))
					audit(t, d, false)

					// A caller that does not know asks again.
					err = c.call(t.Context(), d)
					require.True(t, c.done(d))
					if want.later && c.again != nil {
						require.ErrorIs(t, err, c.again)
					} else {
						require.NoError(t, err)
					}
				})
			})
		}
		t.Run(string(op)+"/hangs", func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := on(fake.Config{Hook: scripted(op, 1, fake.Fault{Kind: fake.Lose, Hang: true})})
				made(t, d, o)
				if c.before != nil {
					c.before(t, d)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.ErrorIs(t, c.call(ctx, d), context.DeadlineExceeded)
				require.True(t, c.done(d))
			})
		})
	}
}

// What is put aside takes no host's room, keeps its content, and can be had on any host, as often as one likes.
func TestShelve(t *testing.T) {
	t.Parallel()
	d := on(fake.Config{})
	o := order("fake/a", 1)
	id, _, _ := o.Machine.Split()
	require.ErrorIs(t, d.Shelve(t.Context(), o.Ref), hypervisor.ErrNotFound)
	require.NoError(t, d.Discard(t.Context(), o.Ref))
	made(t, d, o)
	require.NoError(t, d.Snapshot(t.Context(), o.Ref, "kept"))
	content := view(t, d, o.Ref).Content
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.ErrorIs(t, d.Shelve(t.Context(), o.Ref), hypervisor.ErrWrongPower)
	require.NoError(t, d.Suspend(t.Context(), o.Ref))
	require.ErrorIs(t, d.Shelve(t.Context(), o.Ref), hypervisor.ErrWrongPower)
	require.Equal(t, pool.Suspended, power(d, o.Ref))
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	require.NotEqual(t, content, view(t, d, o.Ref).Content, "it has run")
	content = view(t, d, o.Ref).Content
	for range 2 {
		require.NoError(t, d.Shelve(t.Context(), o.Ref))
	}
	v, _ := d.InspectHost("fake/a")
	require.Empty(t, v.Machines)
	require.Empty(t, v.Used)
	require.Empty(t, v.Devices)
	shelf := d.Shelf()
	require.Len(t, shelf, 1)
	require.Equal(t, o.Ref, shelf[0].Ref)
	require.Equal(t, content, shelf[0].Content)
	require.Equal(t, []int64{10 * pool.GiB}, shelf[0].Disks)
	require.Empty(t, shelf[0].Snapshots)

	for name, tc := range map[string]struct {
		change func(o *hypervisor.Order)
		kind   error
	}{
		"smaller disk":  {func(o *hypervisor.Order) { o.Spec.Disks[0].Size-- }, hypervisor.ErrInvalid},
		"no disk":       {func(o *hypervisor.Order) { o.Spec.Disks = nil }, hypervisor.ErrInvalid},
		"other storage": {func(o *hypervisor.Order) { o.Spec.Disks[0].Storage = pool.NVMe }, hypervisor.ErrInvalid},
		"no room":       {func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = 61 * pool.GiB }, hypervisor.ErrRefused},
		"no name":       {func(o *hypervisor.Order) { o.Name = "" }, hypervisor.ErrInvalid},
	} {
		bad := order("fake/b", 1)
		bad.Machine = id.Machine(1)
		tc.change(&bad)
		require.ErrorIs(t, d.Unshelve(t.Context(), bad, o.Ref), tc.kind, name)
		require.Equal(t, pool.Absent, power(d, bad.Ref), name)
	}
	for n := range 2 {
		again := order("fake/b", 1)
		again.Machine, again.Source = id.Machine(1+n), ""
		again.Spec.Disks[0].Size += pool.GiB
		require.ErrorIs(t, d.Unshelve(t.Context(), again, hypervisor.Ref{Host: "fake/a", Tag: again.Tag}), hypervisor.ErrRefused, "of another machine")
		require.NoError(t, d.Unshelve(t.Context(), again, o.Ref))
		require.ErrorIs(t, d.Unshelve(t.Context(), again, o.Ref), hypervisor.ErrExists)
		require.Equal(t, content, view(t, d, again.Ref).Content)
		require.Equal(t, []int64{11 * pool.GiB}, view(t, d, again.Ref).Disks)
		require.Equal(t, pool.Stopped, power(d, again.Ref))
		count := d.CountOf(again.Machine)
		count.Calls = 0
		require.Equal(t, fake.Count{Creates: 1, Unshelves: 1}, count)
	}

	// The host on which it was is not needed to forget it; under another tag nothing is forgotten.
	require.NoError(t, d.RemoveHost("fake/a"))
	stranger := o.Ref
	stranger.Ledger = "another"
	require.NoError(t, d.Discard(t.Context(), stranger))
	require.Len(t, d.Shelf(), 1)
	for range 2 {
		require.NoError(t, d.Discard(t.Context(), o.Ref))
		require.Empty(t, d.Shelf())
	}
	last := order("fake/b", 2)
	require.ErrorIs(t, d.Unshelve(t.Context(), last, o.Ref), hypervisor.ErrRefused)
	require.Equal(t, 1, d.CountOf(o.Machine).Shelves)
	require.Equal(t, 1, d.CountOf(o.Machine).Discards)
}

// An empty machine that a late create has made does not take the place of what is put aside.
func TestShelfIsNotOverwritten(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Hook: scripted(fake.OpCreate, 1, fake.Fault{Kind: fake.Duplicate, After: time.Minute})})
		o := made(t, d, order("fake/a", 1))
		content := view(t, d, o.Ref).Content
		require.NoError(t, d.Shelve(t.Context(), o.Ref))
		require.NoError(t, d.Wait(t.Context()))
		require.NotEqual(t, content, view(t, d, o.Ref).Content)
		require.ErrorIs(t, d.Shelve(t.Context(), o.Ref), hypervisor.ErrExists)
		require.Equal(t, content, d.Shelf()[0].Content)
		require.NoError(t, d.Destroy(t.Context(), o.Ref))
		require.NoError(t, d.Shelve(t.Context(), o.Ref))
		require.Equal(t, content, d.Shelf()[0].Content)
	})
}

func TestResize(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		without []hypervisor.Ability
		over    bool // Config.Overfill
		power   pool.Power
		change  func(*hypervisor.Order)
		kind    error
		says    string
	}{
		"larger":            {power: pool.Stopped, change: func(o *hypervisor.Order) { *o = sized(*o, 8*pool.GiB, 20*pool.GiB) }},
		"less memory":       {power: pool.Stopped, change: func(o *hypervisor.Order) { *o = sized(*o, pool.GiB/2, 10*pool.GiB) }},
		"all that is left":  {power: pool.Stopped, change: func(o *hypervisor.Order) { *o = sized(*o, 60*pool.GiB, pool.TiB) }},
		"hot":               {power: pool.Running, change: func(o *hypervisor.Order) { *o = sized(*o, 8*pool.GiB, 20*pool.GiB) }},
		"suspended":         {power: pool.Suspended, change: func(o *hypervisor.Order) { *o = sized(*o, 8*pool.GiB, 20*pool.GiB) }},
		"not hot":           {[]hypervisor.Ability{hypervisor.CanResizeHot}, false, pool.Running, func(o *hypervisor.Order) { *o = sized(*o, 2*pool.GiB, 10*pool.GiB) }, hypervisor.ErrWrongPower, "not stopped"},
		"not hot, the same": {without: []hypervisor.Ability{hypervisor.CanResizeHot}, power: pool.Running, change: func(*hypervisor.Order) {}},
		"not at all":        {[]hypervisor.Ability{hypervisor.CanResize}, false, pool.Running, func(*hypervisor.Order) {}, errors.ErrUnsupported, "resize"},
		"the same":          {power: pool.Stopped, change: func(*hypervisor.Order) {}},
		"too much memory":   {nil, false, pool.Stopped, func(o *hypervisor.Order) { *o = sized(*o, 60*pool.GiB+1, 10*pool.GiB) }, hypervisor.ErrRefused, "memory: 60 GiB asked for, 60 GiB free"},
		"a disk too large":  {nil, false, pool.Stopped, func(o *hypervisor.Order) { *o = sized(*o, pool.GiB, pool.TiB+1) }, hypervisor.ErrRefused, "storage.ssd"},
		"overfilled":        {over: true, power: pool.Stopped, change: func(o *hypervisor.Order) { *o = sized(*o, 61*pool.GiB, 2*pool.TiB) }},
		"a smaller disk":    {nil, true, pool.Stopped, func(o *hypervisor.Order) { *o = sized(*o, pool.GiB, 10*pool.GiB-1) }, hypervisor.ErrInvalid, "disks do not shrink"},
		"a disk more":       {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Spec.Disks = append(o.Spec.Disks, o.Spec.Disks[0]) }, hypervisor.ErrInvalid, "no disks"},
		"a disk less":       {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Spec.Disks = nil }, hypervisor.ErrInvalid, "disks[0]"},
		"other storage":     {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Spec.Disks[0].Storage = pool.NVMe }, hypervisor.ErrInvalid, "storage.ssd"},
		"a GPU":             {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Spec.Resources[pool.GPU] = 1 }, hypervisor.ErrInvalid, "GPU"},
		"an unknown shape":  {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Allocation.Shape = "s1" }, hypervisor.ErrRefused, "no shape"},
		"on another device": {nil, false, pool.Stopped, func(o *hypervisor.Order) {
			*o = sized(*o, pool.GiB, 20*pool.GiB)
			o.Allocation.Claims[0].Device = "ssd-1"
		}, hypervisor.ErrRefused, `not on "ssd-1"`},
		"an earlier order":   {nil, false, pool.Stopped, func(o *hypervisor.Order) { *o = sized(*o, 2*pool.GiB, 10*pool.GiB); o.Revision = 6 }, hypervisor.ErrRefused, "of revision 6, and one of revision 7"},
		"malformed":          {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = -1 }, hypervisor.ErrInvalid, "memory"},
		"of another's":       {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Launched++ }, hypervisor.ErrForeign, ""},
		"of one not there":   {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Machine += "0" }, hypervisor.ErrNotFound, ""},
		"on a host not here": {nil, false, pool.Stopped, func(o *hypervisor.Order) { o.Host = "fake/x" }, hypervisor.ErrNotFound, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := on(fake.Config{Without: tc.without, Overfill: tc.over})
			o := order("fake/a", 1)
			o.Revision = 7
			o.Allocation.Claims = []pool.Claim{{Device: "ssd-2", Class: pool.StorageSSD, Amount: o.Spec.Disks[0].Size}}
			require.NoError(t, d.Create(t.Context(), o))
			if tc.power != pool.Stopped {
				require.NoError(t, d.Start(t.Context(), o.Ref))
			}
			if tc.power == pool.Suspended {
				require.NoError(t, d.Suspend(t.Context(), o.Ref))
			}
			before := view(t, d, o.Ref)
			ref := o.Ref
			o.Spec, o.Allocation.Claims = o.Spec.Clone(), []pool.Claim{o.Allocation.Claims[0]}
			tc.change(&o)
			err := d.Resize(t.Context(), o)
			after := view(t, d, ref)
			audit(t, d, tc.over)
			if tc.kind != nil {
				require.ErrorIs(t, err, tc.kind)
				require.ErrorContains(t, err, tc.says)
				require.Equal(t, before, after)
				require.Zero(t, d.CountOf(ref.Machine).Resizes)
				return
			}
			require.NoError(t, err)
			require.Equal(t, o.Spec.Resources[pool.Memory], after.Demand[pool.Memory])
			require.Equal(t, []int64{o.Spec.Disks[0].Size}, after.Disks)
			require.Equal(t, []pool.Claim{{Device: "ssd-2", Class: pool.StorageSSD, Amount: o.Spec.Disks[0].Size}}, after.Claims)
			require.Equal(t, o.Revision, after.Revision)
			require.Equal(t, before.Power, after.Power)
			require.Equal(t, before.Content, after.Content)
			require.Equal(t, tc.over, len(d.Overfills()) > 0)
			require.NoError(t, d.Resize(t.Context(), o))
			require.Equal(t, after, view(t, d, ref))
		})
	}
}

// An order that arrives after a later one has been carried out is not carried out.
func TestResizesThatCrossEachOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{Hook: scripted(fake.OpResize, 1, fake.Fault{Kind: fake.Duplicate, After: time.Minute})})
		o := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), o))
		larger := sized(o, 8*pool.GiB, 10*pool.GiB)
		smaller := sized(larger, 2*pool.GiB, 10*pool.GiB)
		require.NoError(t, d.Resize(t.Context(), larger))
		require.NoError(t, d.Resize(t.Context(), smaller))
		require.NoError(t, d.Wait(t.Context()))
		require.Equal(t, 2*pool.GiB, view(t, d, o.Ref).Demand[pool.Memory])
		require.ErrorIs(t, d.Resize(t.Context(), larger), hypervisor.ErrRefused)
		require.Equal(t, 2, d.CountOf(o.Machine).Resizes)
	})
}
