package berthage_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// cloudy returns one host of 8 cores and a region that sells machines of one core and 2 GiB, taken only for want of room.
func cloudy() []pool.Host {
	region := pool.Host{
		ID: "sim/region", Name: "region", Conditions: pool.Ready, Cost: 50_000,
		Taints:    []pool.Taint{{Key: "burst", Effect: pool.PreferNoSchedule}},
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 1000 * pool.Core}, pool.Memory: {Total: 2000 * pool.GiB}, pool.StorageStandard: {Total: 100 * pool.TiB}},
		Shapes:    []pool.Shape{{Name: "small", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB, pool.StorageStandard: 10 * pool.GiB}}},
	}
	return append(hosts(1), region)
}

// A pool that is full bursts onto the region, and what may be replaced comes back when there is room again, one by one.
func TestBurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: cloudy()}, func(c *berthage.Config) { c.BurstFor = time.Hour })
		defer b.stop()
		ctx := context.Background()
		launch := func(name string, replaceable bool) pool.Instance {
			s := spec()
			s.Replaceable = replaceable
			i, err := b.m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s})
			require.NoError(t, err)
			return settle(t, b.m, i.ID)
		}
		var own []pool.Instance
		for n := range 8 {
			own = append(own, launch(string(rune('a'+n)), false))
			require.EqualValues(t, "sim/h00", own[n].Place.Host, "there is room")
		}
		first, stays, second := launch("first", true), launch("stays", false), launch("second", true)
		for _, i := range []pool.Instance{first, stays, second} {
			require.EqualValues(t, "sim/region", i.Place.Host, "the pool is full")
		}
		where := func(i pool.Instance) pool.Instance {
			now, err := b.m.Instance(i.ID)
			require.NoError(t, err)
			return now
		}
		leave := func(i pool.Instance) {
			_, err := b.m.Delete(ctx, i.ID)
			require.NoError(t, err)
		}
		leave(own[0])
		time.Sleep(30 * time.Minute)
		require.Equal(t, first.Place, where(first).Place, "not before its time")
		time.Sleep(time.Hour)
		now := where(first)
		require.EqualValues(t, "sim/h00", now.Place.Host)
		require.Equal(t, "running", now.Status())
		require.Equal(t, first.Machine(), pool.MachineID(string(first.ID)+"-0"))
		require.Equal(t, pool.MachineID(string(first.ID)+"-1"), now.Machine(), "another machine, of the image")
		require.Equal(t, first.Machine(), now.Anew.Machine)
		require.Empty(t, now.Reason)
		require.EqualValues(t, "sim/region", where(second).Place.Host, "there is no room for it")
		leave(own[1])
		leave(own[2])
		time.Sleep(time.Hour)
		require.EqualValues(t, "sim/h00", where(second).Place.Host)
		require.Equal(t, stays.Place, where(stays).Place, "something on its disks may be needed")
		require.Len(t, at(b.fleet, where(second)), 1)
		sound(t, b.m, b.fleet)
	})
}

// From one region it does not go to another.
func TestBurstBetweenTwo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		two := cloudy()
		other := two[1]
		other.ID, other.Name = "sim/other", "other"
		b := start(t, fake.Config{Hosts: append(two, other)}, func(c *berthage.Config) { c.BurstFor = time.Minute })
		defer b.stop()
		for n := range 8 {
			settle(t, b.m, b.launch(string(rune('a'+n))).ID)
		}
		s := spec()
		s.Replaceable = true
		i, err := b.m.Launch(context.Background(), berthage.Launch{Token: "guest", Project: "shop", Name: "guest", Spec: s})
		require.NoError(t, err)
		guest := settle(t, b.m, i.ID)
		time.Sleep(time.Hour)
		now, err := b.m.Instance(guest.ID)
		require.NoError(t, err)
		require.Equal(t, guest.Place, now.Place)
	})
}

// A host that is taken only for want of room is none that instances are moved to so that others become empty; to empty a host
// by a drain it is.
func TestRebalanceLeavesBurstsAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := hosts(3)
		all[0].Taints = []pool.Taint{{Key: "burst", Effect: pool.PreferNoSchedule}}
		b := start(t, fake.Config{Hosts: all})
		defer b.stop()
		ctx := context.Background()
		for n := range 8 + 8 + 2 {
			settle(t, b.m, b.launch(string(rune('a'+n))).ID)
		}
		left := make(map[pool.HostID]int)
		var list []pool.Instance
		b.m.View(func(st *pool.State) {
			for i := range st.Instances() {
				list = append(list, *i)
			}
		})
		for _, i := range list { // two on the first, one on each of the others, so that all would fit there
			if left[i.Place.Host]++; i.Place.Host == "sim/h00" && left[i.Place.Host] > 2 || i.Place.Host != "sim/h00" && left[i.Place.Host] > 1 {
				_, err := b.m.Delete(ctx, i.ID)
				require.NoError(t, err)
			}
		}
		time.Sleep(time.Hour)
		p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		require.NotEmpty(t, p.Moves)
		for _, m := range p.Moves {
			require.NotEqualValues(t, "sim/h00", m.To)
		}
		p, err = b.m.PlanRebalance(ctx, rebalance.Options{Goal: rebalance.Drain, Hosts: []pool.HostID{"sim/h01", "sim/h02"}}, false)
		require.NoError(t, err)
		require.Len(t, p.Moves, 2)
	})
}

// Between hosts that can do that they come back as they run, replaceable or not, and those that tolerate the taint stay.
func TestBurstWithinADriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := hosts(2)
		all[1].Taints = []pool.Taint{{Key: "old", Effect: pool.PreferNoSchedule}}
		b := start(t, fake.Config{Hosts: all}, func(c *berthage.Config) { c.BurstFor = time.Hour })
		defer b.stop()
		ctx := context.Background()
		var own []pool.Instance
		for n := range 8 {
			own = append(own, settle(t, b.m, b.launch(string(rune('a'+n))).ID))
		}
		s := spec()
		s.Constraints.Tolerations = []pool.Toleration{{Key: "old"}}
		i, err := b.m.Launch(ctx, berthage.Launch{Token: "content", Project: "shop", Name: "content", Spec: s})
		require.NoError(t, err)
		content, moves := settle(t, b.m, i.ID), settle(t, b.m, b.launch("moves").ID)
		require.EqualValues(t, "sim/h01", moves.Place.Host)
		for _, i := range own[:4] {
			_, err := b.m.Delete(ctx, i.ID)
			require.NoError(t, err)
		}
		time.Sleep(2 * time.Hour)
		now, err := b.m.Instance(moves.ID)
		require.NoError(t, err)
		require.EqualValues(t, "sim/h00", now.Place.Host)
		require.Equal(t, moves.Machine(), now.Machine(), "the same machine, moved")
		now, err = b.m.Instance(content.ID)
		require.NoError(t, err)
		require.Equal(t, content.Place, now.Place)
		sound(t, b.m, b.fleet)
	})
}

// A host whose machines cannot be moved is drained of those that may be replaced.
func TestDrainReplaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Without: []hypervisor.Ability{hypervisor.CanMigrate}})
		defer b.stop()
		ctx := context.Background()
		s := spec()
		s.Replaceable = true
		i, err := b.m.Launch(ctx, berthage.Launch{Token: "goes", Project: "shop", Name: "goes", Spec: s})
		require.NoError(t, err)
		goes := settle(t, b.m, i.ID)
		stays := settle(t, b.m, b.launch("stays").ID)
		require.Equal(t, goes.Place.Host, stays.Place.Host)
		_, err = b.m.Drain(ctx, goes.Place.Host, false, "new memory")
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		now, err := b.m.Instance(goes.ID)
		require.NoError(t, err)
		require.NotEqual(t, goes.Place.Host, now.Place.Host)
		require.Equal(t, "running", now.Status())
		now, err = b.m.Instance(stays.ID)
		require.NoError(t, err)
		require.Equal(t, stays.Place, now.Place)
		sound(t, b.m, b.fleet)
	})
}

// However often it is replaced: a host that it has left is none on which its creation failed.
func TestReplacedAgainAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Without: []hypervisor.Ability{hypervisor.CanMigrate}})
		defer b.stop()
		ctx := context.Background()
		s := spec()
		s.Replaceable = true
		i, err := b.m.Launch(ctx, berthage.Launch{Token: "goes", Project: "shop", Name: "goes", Spec: s})
		require.NoError(t, err)
		now := settle(t, b.m, i.ID)
		for range 6 {
			from := now.Place.Host
			_, err = b.m.Drain(ctx, from, false, "new memory")
			require.NoError(t, err)
			time.Sleep(10 * time.Minute)
			now, err = b.m.Instance(i.ID)
			require.NoError(t, err)
			require.NotEqual(t, from, now.Place.Host)
			require.Equal(t, "running", now.Status())
			_, err = b.m.Undrain(ctx, from)
			require.NoError(t, err)
		}
		sound(t, b.m, b.fleet)
	})
}

// Where the room is gone by the time that the machine is, it goes back to where it was.
func TestReplacedGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		b := start(t, fake.Config{Hosts: cloudy(), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpDestroy && c.Ref.Host == "sim/region" {
				<-gone
			}
			return fake.Fault{}
		}}, func(c *berthage.Config) { c.BurstFor = time.Minute })
		defer b.stop()
		ctx := context.Background()
		var own []pool.Instance
		for n := range 8 {
			own = append(own, settle(t, b.m, b.launch(string(rune('a'+n))).ID))
		}
		s := spec()
		s.Replaceable = true
		i, err := b.m.Launch(ctx, berthage.Launch{Token: "guest", Project: "shop", Name: "guest", Spec: s})
		require.NoError(t, err)
		guest := settle(t, b.m, i.ID)
		_, err = b.m.Delete(ctx, own[0].ID)
		require.NoError(t, err)
		time.Sleep(5 * time.Minute)
		now, err := b.m.Instance(guest.ID)
		require.NoError(t, err)
		require.Equal(t, "undoing", now.Status())
		settle(t, b.m, b.launch("quick").ID)
		close(gone)
		now = settle(t, b.m, guest.ID)
		require.Equal(t, "running", now.Status())
		require.EqualValues(t, "sim/region", now.Place.Host)
		sound(t, b.m, b.fleet)
	})
}
