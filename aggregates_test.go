package berthage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

const region = pool.HostID("sim/region-1")

// aggregate is a region that says that it has room for 50 of spec, which it sells as m1.small.
func aggregate() pool.Host {
	shape := func(name string, n int64) pool.Shape {
		return pool.Shape{Name: name, Resources: pool.Resources{pool.CPU: n * pool.Core, pool.Memory: 2 * n * pool.GiB, pool.StorageStandard: 10 * pool.GiB}}
	}
	return pool.Host{
		ID: region, Name: "region-1",
		Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 50 * pool.Core}, pool.Memory: {Total: 100 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB},
		},
		Shapes: []pool.Shape{shape("m1.small", 1), shape("m1.large", 2)}, Conditions: pool.Ready,
	}
}

// room is really there for n of m1.small.
func room(n int64, r fake.Room) fake.Room {
	r.Resources = pool.Resources{pool.Memory: max(1, 2*n*pool.GiB)} // what is zero counts as not named
	return r
}

// full returns what is remembered of a shape of the region.
func full(m *berthage.Manager, shape string) pool.Full {
	var f pool.Full
	m.View(func(st *pool.State) {
		h, _ := st.Host(region)
		f = h.Full[shape]
	})
	return f
}

func (b *bench) try(name string, cores int64) (pool.Instance, error) {
	s := spec()
	s.Resources = pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: 2 * cores * pool.GiB}
	return b.m.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s})
}

// A shape that an aggregate has refused for want of room is not tried there again at once: what comes next is refused
// with the reason, or goes elsewhere, and other shapes are not concerned.
func TestAggregateIsFull(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]fake.Room{
		"refuses":                          {},
		"accepts and gives up at once":     {Accepts: true},
		"accepts and gives up a bit later": {Accepts: true, After: 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: []pool.Host{aggregate()}})
				defer func() { b.stop() }()
				ctx := context.Background()
				require.NoError(t, b.fleet.SetRoom(region, room(2, how)))
				a, c := b.launch("a"), b.launch("b")
				require.Equal(t, "running", settle(t, b.m, a.ID).Status())
				require.Equal(t, "running", settle(t, b.m, c.ID).Status())
				require.Zero(t, full(b.m, "m1.small"))

				i := settle(t, b.m, b.launch("c").ID)
				require.Equal(t, pool.Failed, i.Phase)
				require.Contains(t, i.Reason, "no valid host was found")
				f := full(b.m, "m1.small")
				require.Equal(t, 1, f.Refusals)
				require.Equal(t, time.Minute, f.Until.Sub(f.At))

				creates := b.fleet.Calls()[fake.OpCreate]
				_, err := b.try("d", 1)
				var r *scheduler.Refusal
				require.ErrorAs(t, err, &r)
				require.ErrorIs(t, err, pool.ErrNoRoom)
				require.False(t, r.Never)
				require.Equal(t, region, r.Hosts[0].Host)
				require.Equal(t, scheduler.ByFull, r.Hosts[0].Reason.Constraint)
				at, until := f.At.Format(time.RFC3339), f.Until.Format(time.RFC3339)
				require.Equal(t, `shape "m1.small" was refused as full at `+at+`; tried again at `+until, r.Hosts[0].Reason.String())
				require.Contains(t, r.Error(), `nearest: host "sim/region-1" could take it: wait until `+until+`, when its shape "m1.small", refused as full, is tried again`)
				require.Equal(t, creates, b.fleet.Calls()[fake.OpCreate])

				// Nobody tells us that there is more room. Another shape is tried, and this one in time.
				require.NoError(t, b.fleet.SetRoom(region, room(8, how)))
				large, err := b.try("large", 2)
				require.NoError(t, err)
				require.Equal(t, "running", settle(t, b.m, large.ID).Status())
				if how.After == 0 {
					_, err = b.try("d", 1)
					require.ErrorIs(t, err, pool.ErrNoRoom)
				}
				time.Sleep(time.Until(f.Until))
				d, err := b.try("d", 1)
				require.NoError(t, err)
				require.Equal(t, "running", settle(t, b.m, d.ID).Status())
				require.Zero(t, full(b.m, "m1.small"), "there is room again")

				// What has been remembered outlives the process, and does not disturb a fleet at rest.
				require.NoError(t, b.fleet.SetRoom(region, room(5, how)))
				require.Equal(t, pool.Failed, settle(t, b.m, b.launch("e").ID).Phase)
				b.stop()
				b.m = open(t, b.fleet, b.ledger)
				b.stop = run(t, b.m)
				_, err = b.try("f", 1)
				require.ErrorIs(t, err, pool.ErrNoRoom)
				time.Sleep(time.Second)
				before := head(b.m)
				time.Sleep(time.Hour)
				require.Equal(t, before, head(b.m), "that it is over is no event")
				_, err = b.m.Delete(ctx, d.ID)
				require.NoError(t, err)
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// As long as it stays full it is asked less and less often, but it is asked. Those that were on their way together
// count once.
func TestFullAggregateIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: []pool.Host{aggregate()}})
		defer b.stop()
		require.NoError(t, b.fleet.SetRoom(region, room(0, fake.Room{Accepts: true, After: 5 * time.Second})))
		n := 0
		for k, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			var wave []pool.InstanceID
			for range 4 {
				n++
				wave = append(wave, b.launch(fmt.Sprint("i", n)).ID)
			}
			for _, id := range wave {
				require.Equal(t, pool.Failed, settle(t, b.m, id).Phase)
			}
			f := full(b.m, "m1.small")
			require.Equal(t, k+1, f.Refusals)
			require.Equal(t, want*time.Minute, f.Until.Sub(f.At))
			time.Sleep(time.Until(f.Until))
		}
	})
}

// What is given back makes room: it is tried again at once.
func TestAggregateHasRoomAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		give func(b *bench, running, large pool.Instance) error
		full bool
	}{
		"an instance is deleted": {give: func(b *bench, i, _ pool.Instance) error {
			_, err := b.m.Delete(context.Background(), i.ID)
			return err
		}},
		"an instance is shelved": {give: func(b *bench, i, _ pool.Instance) error {
			_, err := b.m.SetPower(context.Background(), i.ID, pool.Shelved)
			return err
		}},
		"an instance is resized down": {give: func(b *bench, _, i pool.Instance) error {
			_, err := b.m.Resize(context.Background(), berthage.Resize{Instance: i.ID, Resources: spec().Resources})
			return err
		}},
		"an instance is stopped": {full: true, give: func(b *bench, i, _ pool.Instance) error {
			_, err := b.m.SetPower(context.Background(), i.ID, pool.Stopped)
			return err
		}},
		"one that was refused is deleted": {full: true, give: func(b *bench, _, _ pool.Instance) error {
			var failed pool.InstanceID
			b.m.View(func(st *pool.State) {
				for i := range st.Instances() {
					if i.Phase == pool.Failed {
						failed = i.ID
					}
				}
			})
			_, err := b.m.Delete(context.Background(), failed)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: []pool.Host{aggregate()}})
				defer b.stop()
				require.NoError(t, b.fleet.SetRoom(region, room(3, fake.Room{})))
				i := b.launch("one")
				large, err := b.try("large", 2)
				require.NoError(t, err)
				settle(t, b.m, i.ID)
				settle(t, b.m, large.ID)
				require.Equal(t, pool.Failed, settle(t, b.m, b.launch("two").ID).Phase)
				require.NoError(t, tc.give(b, i, large))
				time.Sleep(10 * time.Second)
				three, err := b.try("three", 1)
				if tc.full {
					require.ErrorIs(t, err, pool.ErrNoRoom)
					return
				}
				require.NoError(t, err)
				require.Equal(t, "running", settle(t, b.m, three.ID).Status())
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// Where there is another host, what is refused goes there, and the next one at once.
func TestFullAggregateIsPassedBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: append(hosts(1), aggregate())}, func(c *berthage.Config) {
			c.Scheduler = &scheduler.Scheduler{Scores: []scheduler.Score{func(_ scheduler.Request, h *pool.HostRecord) float64 {
				if h.Aggregate() {
					return 10
				}
				return 0
			}}}
		})
		defer b.stop()
		require.NoError(t, b.fleet.SetRoom(region, room(0, fake.Room{Accepts: true})))
		require.Equal(t, hosts(1)[0].ID, settle(t, b.m, b.launch("one").ID).Place.Host)
		require.Equal(t, 2, b.fleet.Calls()[fake.OpCreate])
		two := settle(t, b.m, b.launch("two").ID)
		require.Equal(t, hosts(1)[0].ID, two.Place.Host)
		require.Equal(t, two.ID.Machine(0), two.Machine(), "not by way of the region")
		require.Equal(t, 3, b.fleet.Calls()[fake.OpCreate])
		sound(t, b.m, b.fleet)
	})
}

// An aggregate is no server: it is not drained, nor given up as a whole, whatever the policy.
func TestAggregateIsNoServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: append(hosts(1), aggregate())}, func(c *berthage.Config) {
			c.Evacuation, c.Poll, c.Grace, c.FenceAfter = berthage.EvacuateAlways, time.Second, 5*time.Second, 5*time.Second
		})
		defer b.stop()
		ctx := context.Background()
		_, err := b.m.Cordon(ctx, hosts(1)[0].ID, "to have it there")
		require.NoError(t, err)
		i := settle(t, b.m, b.launch("one").ID)
		require.Equal(t, region, i.Place.Host)
		_, err = b.m.Uncordon(ctx, hosts(1)[0].ID)
		require.NoError(t, err)
		_, err = b.m.Drain(ctx, region, true, "new memory")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.NoError(t, b.fleet.SetHostState(region, fake.CutOff))
		time.Sleep(5 * time.Minute)
		_, err = b.m.ConfirmOff(ctx, region, "the plug is pulled")
		require.ErrorIs(t, err, errors.ErrUnsupported)
		now, err := b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, region, now.Place.Host, "it is not made anew elsewhere")
		require.NoError(t, b.fleet.SetHostState(region, fake.Up))
		time.Sleep(time.Minute)
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
		sound(t, b.m, b.fleet)
	})
}
