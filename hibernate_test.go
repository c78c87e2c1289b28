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

// mishaps are what can become of a call, by name.
func mishaps() map[string]fake.Fault {
	return map[string]fake.Fault{
		"at once":      {},
		"reply lost":   {Kind: fake.Lose},
		"request lost": {Kind: fake.Drop},
		"late":         {Kind: fake.Late, After: 20 * time.Second},
		"twice":        {Kind: fake.Duplicate, After: time.Second},
		"refused":      {Kind: fake.Refuse},
	}
}

// What is hibernated keeps its place and its memory until it is stopped, whatever happens to the calls.
func TestHibernate(t *testing.T) {
	t.Parallel()
	for name, fault := range mishaps() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := 0
				b := start(t, fake.Config{Hosts: hosts(2), Hook: func(c fake.Call) fake.Fault {
					if c.Op == fake.OpHibernate {
						if n++; n == 1 {
							return fault
						}
					}
					return fake.Fault{}
				}})
				defer b.stop()
				ctx := context.Background()
				i := settle(t, b.m, b.launch("one").ID)
				_, err := b.m.SetPower(ctx, i.ID, pool.Hibernated)
				require.NoError(t, err)
				now := settle(t, b.m, i.ID)
				require.Equal(t, "hibernated", now.Status())
				require.Equal(t, i.Place, now.Place, "it keeps its place")
				time.Sleep(2 * time.Minute)
				require.Equal(t, map[pool.HostID]pool.Power{now.Place.Host: pool.Hibernated}, at(b.fleet, now))

				// Nothing that would lose its memory is done to it without leave.
				_, err = b.m.Move(ctx, i.ID, "", false)
				require.ErrorIs(t, err, pool.ErrWrongState)
				_, err = b.m.Resize(ctx, berthage.Resize{Instance: i.ID, Resources: pool.Resources{pool.CPU: 2 * pool.Core}})
				require.ErrorIs(t, err, pool.ErrWrongState)
				_, err = b.m.Resize(ctx, berthage.Resize{Instance: i.ID, SetDisks: append(i.Spec.Disks, pool.Disk{Size: pool.GiB})})
				require.ErrorIs(t, err, pool.ErrWrongState)
				_, err = b.m.SetPower(ctx, i.ID, pool.Suspended)
				require.ErrorIs(t, err, pool.ErrWrongState, "it does not run")

				starts := b.fleet.CountOf(i.Machine()).Starts
				_, err = b.m.SetPower(ctx, i.ID, pool.Running)
				require.NoError(t, err)
				require.Equal(t, "running", settle(t, b.m, i.ID).Status())
				require.Equal(t, starts, b.fleet.CountOf(i.Machine()).Starts, "the guest was not booted again")

				_, err = b.m.SetPower(ctx, i.ID, pool.Hibernated)
				require.NoError(t, err)
				settle(t, b.m, i.ID)
				_, err = b.m.SetPower(ctx, i.ID, pool.Stopped)
				require.NoError(t, err)
				require.Equal(t, "stopped", settle(t, b.m, i.ID).Status())
				sound(t, b.m, b.fleet)
			})
		})
	}
}

func TestHibernateNotOffered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1), Without: []hypervisor.Ability{hypervisor.CanHibernate, hypervisor.CanAttachDisk}})
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		_, err := b.m.SetPower(context.Background(), i.ID, pool.Hibernated)
		require.ErrorIs(t, err, errUnsupported)
		_, err = b.m.Resize(context.Background(), berthage.Resize{Instance: i.ID, SetDisks: append(i.Spec.Disks, pool.Disk{Size: pool.GiB})})
		require.ErrorIs(t, err, errUnsupported)
	})
}

// A running instance gets disks and gives up the last ones; they are booked as long as they may be there.
func TestSetDisks(t *testing.T) {
	t.Parallel()
	for name, fault := range mishaps() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := 0
				b := start(t, fake.Config{Hosts: hosts(1), Hook: func(c fake.Call) fake.Fault {
					if c.Op == fake.OpSetDisks {
						if n++; n == 1 {
							return fault
						}
					}
					return fake.Fault{}
				}})
				defer b.stop()
				ctx := context.Background()
				i := settle(t, b.m, b.launch("one").ID)
				more := append(i.Spec.Disks[:1:1], pool.Disk{Size: 30 * pool.GiB}, pool.Disk{Size: 5 * pool.GiB})
				set := func(disks []pool.Disk) pool.Instance {
					_, err := b.m.Resize(ctx, berthage.Resize{Instance: i.ID, SetDisks: disks})
					require.NoError(t, err)
					_, err = b.m.Resize(ctx, berthage.Resize{Instance: i.ID, SetDisks: disks})
					require.NoError(t, err, "that is under way or done")
					return settle(t, b.m, i.ID)
				}
				now := set(more)
				require.Equal(t, "running", now.Status())
				if fault.Kind == fake.Refuse {
					require.NotEmpty(t, now.Reason)
					require.Len(t, now.Spec.Disks, 1)
					now = set(more)
				}
				require.Len(t, now.Spec.Disks, 3)
				require.Equal(t, 45*pool.GiB, now.Place.Allocation.Resources[pool.StorageStandard])
				v, _ := b.fleet.InspectHost(i.Place.Host)
				require.Equal(t, []int64{10 * pool.GiB, 30 * pool.GiB, 5 * pool.GiB}, v.Machines[0].Disks)
				now = set(more[:2])
				require.Equal(t, 40*pool.GiB, now.Place.Allocation.Resources[pool.StorageStandard])
				v, _ = b.fleet.InspectHost(i.Place.Host)
				require.Equal(t, []int64{10 * pool.GiB, 30 * pool.GiB}, v.Machines[0].Disks)
				sound(t, b.m, b.fleet)

				for what, r := range map[string]berthage.Resize{
					"another size":      {SetDisks: []pool.Disk{{Size: 11 * pool.GiB}}},
					"other storage":     {SetDisks: []pool.Disk{{Size: 10 * pool.GiB, Storage: pool.NVMe}}},
					"disks and a size":  {SetDisks: more, Resources: pool.Resources{pool.CPU: 2 * pool.Core}},
					"a disk of no size": {SetDisks: append(more[:2:2], pool.Disk{})},
				} {
					r.Instance = i.ID
					_, err := b.m.Resize(ctx, r)
					require.ErrorIs(t, err, pool.ErrInvalid, what)
				}
				settle(t, b.m, b.launch("two").ID)
				_, err := b.m.Resize(ctx, berthage.Resize{Instance: i.ID, SetDisks: append(more[:2:2], pool.Disk{Size: 980 * pool.GiB})})
				require.ErrorIs(t, err, pool.ErrNoRoom)
			})
		})
	}
}

// What a driver tells of is looked at long before the next poll, and a watch that has ended is begun anew.
func TestWatch(t *testing.T) {
	t.Parallel()
	for _, watched := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := fake.Config{Hosts: hosts(1)}
			if !watched {
				c.Without = []hypervisor.Ability{hypervisor.CanWatch}
			}
			b := start(t, c, func(c *berthage.Config) { c.Poll, c.Grace = 10*time.Minute, time.Hour })
			defer b.stop()
			ctx := context.Background()
			i := settle(t, b.m, b.launch("one").ID)
			host := i.Place.Host
			time.Sleep(63 * time.Minute) // not just before a poll
			ref := b.ref(i)
			again := func() time.Duration { // until one that is switched off by somebody else runs again
				began := time.Now()
				require.NoError(t, b.fleet.Stop(ctx, ref))
				for at(b.fleet, i)[host] != pool.Running {
					time.Sleep(100 * time.Millisecond)
				}
				return time.Since(began)
			}
			if !watched {
				require.Greater(t, again(), 5*time.Minute)
				return
			}
			require.Less(t, again(), 3*time.Second)
			require.NoError(t, b.fleet.SetHostState(host, fake.CutOff))
			time.Sleep(time.Minute)
			require.NoError(t, b.fleet.SetHostState(host, fake.Up))
			time.Sleep(time.Hour)
			require.Less(t, again(), 3*time.Second)
		})
	}
}

// A change while a list is under way, which may not show it, is looked at soon after.
func TestWatchDuringAPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		b := start(t, fake.Config{Hosts: hosts(1), Hook: func(c fake.Call) fake.Fault {
			if slow.Load() && c.Op == fake.OpMachines {
				return fake.Fault{After: 30 * time.Second} // it is listed as it was
			}
			return fake.Fault{}
		}}, func(c *berthage.Config) { c.Poll, c.PollTimeout, c.Grace = 10*time.Minute, time.Minute, time.Hour })
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		time.Sleep(63 * time.Minute)
		slow.Store(true)
		_, err := b.fleet.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: i.Place.Host}, Name: "theirs", Power: pool.Running})
		require.NoError(t, err) // has the host listed, two seconds later at the most
		time.Sleep(10 * time.Second)
		require.NoError(t, b.fleet.Stop(context.Background(), b.ref(i)))
		time.Sleep(2 * time.Minute)
		require.Equal(t, pool.Running, at(b.fleet, i)[i.Place.Host])
	})
}
