package berthage_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// wait launches an instance that may wait, of that many cores.
func (b *bench) wait(project, name string, cores int64, priority int) pool.Instance {
	b.t.Helper()
	s := spec()
	s.Resources = pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: 2 * cores * pool.GiB}
	s.Priority = priority
	i, err := b.m.Launch(context.Background(), berthage.Launch{Token: name, Project: project, Name: name, Spec: s, Wait: true})
	require.NoError(b.t, err)
	return i
}

// fill launches n instances of one core and waits until they run.
func (b *bench) fill(n int) []pool.InstanceID {
	var out []pool.InstanceID
	for k := range n {
		out = append(out, settle(b.t, b.m, b.launch(fmt.Sprint("fill-", k)).ID).ID)
	}
	return out
}

func (b *bench) delete(ids ...pool.InstanceID) {
	b.t.Helper()
	for _, id := range ids {
		_, err := b.m.Delete(context.Background(), id)
		require.NoError(b.t, err)
		i, err := b.m.Wait(context.Background(), id, func(i pool.Instance) bool { return i.Phase == pool.Deleted })
		require.NoError(b.t, err)
		require.Equal(b.t, pool.Deleted, i.Phase)
	}
	time.Sleep(time.Second)
}

func (b *bench) phase(id pool.InstanceID) pool.Phase {
	b.t.Helper()
	i, err := b.m.Instance(id)
	require.NoError(b.t, err)
	return i.Phase
}

func (b *bench) names() []string {
	out := []string{}
	for _, w := range b.m.Queue() {
		out = append(out, w.Name)
	}
	return out
}

// What finds no room waits, and is placed when something becomes free: by priority, by share, by age. Nothing is appended
// while nothing happens.
func TestWaitForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		ctx := context.Background()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "lab"}))
		full := b.fill(8)
		second := b.wait("shop", "second", 1, 0) // of the project that has everything
		time.Sleep(time.Second)                  // the host's room is kept for it, as it is the first
		third := b.wait("shop", "third", 1, 0)
		other := b.wait("lab", "other", 1, 0)
		high := b.wait("shop", "high", 1, 5)
		require.Equal(t, pool.Waiting, second.Phase)
		require.Contains(t, second.Reason, "no host fits")
		require.Equal(t, "waiting", second.Status())
		time.Sleep(time.Second)
		require.Equal(t, []string{"high", "second", "other", "third"}, b.names())
		w, err := b.m.Waiter(high.ID)
		require.NoError(t, err)
		require.Equal(t, 1, w.Position)
		require.EqualValues(t, "sim/h00", w.Host)
		require.Contains(t, w.Reason, `waits for room on host "sim/h00"; no host fits`)

		before := head(b.m)
		time.Sleep(time.Hour)
		require.Equal(t, before, head(b.m), "at rest nothing is appended")

		for n, next := range []pool.Instance{high, second, other, third} {
			require.Equal(t, pool.Waiting, b.phase(next.ID))
			b.delete(full[n])
			require.Equal(t, pool.Running, settle(t, b.m, next.ID).Is, next.Name)
			sound(t, b.m, b.fleet)
		}
		require.Empty(t, b.m.Queue())
		_, err = b.m.Waiter(high.ID)
		require.ErrorIs(t, err, pool.ErrNotFound)
	})
}

// Small ones that come later do not take what frees up on the host on which a large one waits; what they can have elsewhere
// they get.
func TestTheFirstIsNotStarved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		ctx := context.Background()
		on := make(map[pool.HostID][]pool.InstanceID)
		for _, id := range b.fill(16) {
			i, err := b.m.Instance(id)
			require.NoError(t, err)
			on[i.Place.Host] = append(on[i.Place.Host], id)
		}
		big := b.wait("shop", "big", 4, 0)
		time.Sleep(time.Second)
		w, err := b.m.Waiter(big.ID)
		require.NoError(t, err)
		kept, other := w.Host, pool.HostID("sim/h00")
		if kept == other {
			other = "sim/h01"
		}
		small := b.wait("shop", "small", 1, 0)
		b.delete(on[kept][:3]...)
		require.Equal(t, pool.Waiting, b.phase(big.ID))
		require.Equal(t, pool.Waiting, b.phase(small.ID))
		_, err = b.m.Launch(ctx, berthage.Launch{Token: "now", Project: "shop", Name: "now", Spec: spec()})
		require.ErrorIs(t, err, pool.ErrNoRoom)
		require.ErrorContains(t, err, "by filter")
		urgent := spec()
		urgent.Priority = 1
		i, err := b.m.Launch(ctx, berthage.Launch{Token: "urgent", Project: "shop", Name: "urgent", Spec: urgent})
		require.NoError(t, err, "of a higher priority")
		require.Equal(t, kept, i.Place.Host)
		b.delete(on[other][0])
		require.Equal(t, other, settle(t, b.m, small.ID).Place.Host, "what is free elsewhere goes to whom it fits")
		b.delete(on[kept][3:5]...)
		require.Equal(t, kept, settle(t, b.m, big.ID).Place.Host)
		i, err = b.m.Launch(ctx, berthage.Launch{Token: "now", Project: "shop", Name: "now", Spec: spec()})
		require.ErrorIs(t, err, pool.ErrNoRoom)
		require.NotContains(t, err.Error(), "by filter", "nothing is kept any more")
		_ = i
	})
}

// Who waits for quota gets a place when the quota is raised or used less, and keeps no host from others meanwhile. What can
// never be placed does not wait, and the number of instances bounds the queue.
func TestWaitForQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		ctx := context.Background()
		quota := func(cores, instances int64) {
			require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "lab", Quota: pool.Resources{pool.CPU: cores * pool.Core, pool.Instances: instances}}))
		}
		quota(4, 3)
		one := settle(t, b.m, b.wait("lab", "one", 4, 0).ID)
		two := b.wait("lab", "two", 2, 0)
		require.Equal(t, pool.Waiting, two.Phase)
		require.Contains(t, two.Reason, "over quota")
		three := b.wait("lab", "three", 2, 0)
		refused := func(name string, cores int64, kind error) {
			s := spec()
			s.Resources[pool.CPU] = cores * pool.Core
			_, err := b.m.Launch(ctx, berthage.Launch{Token: name, Project: "lab", Name: name, Spec: s, Wait: true})
			require.ErrorIs(t, err, kind)
		}
		refused("four", 1, pool.ErrOverQuota) // instances
		quota(4, 10)
		refused("five", 5, pool.ErrOverQuota) // more than there can be
		time.Sleep(time.Minute)               // at rest, so that nothing else has the queue looked at
		quota(40, 10)
		time.Sleep(time.Second)
		require.NotEqual(t, pool.Waiting, b.phase(two.ID), "the quota was raised")
		require.Equal(t, pool.Running, settle(t, b.m, two.ID).Is)
		require.Equal(t, pool.Running, settle(t, b.m, three.ID).Is)
		refused("six", 9, pool.ErrNoRoom) // no host has nine
		quota(8, 10)
		seven := b.wait("lab", "seven", 4, 0)
		require.Equal(t, pool.Waiting, b.phase(seven.ID))
		time.Sleep(time.Minute)
		require.Empty(t, b.m.Queue()[0].Host)
		b.delete(one.ID)
		require.Equal(t, pool.Running, settle(t, b.m, seven.ID).Is)
		sound(t, b.m, b.fleet)
	})
}

// Those who wait outlive the process; a new host lets them in; one that is deleted meanwhile is gone, with the room that was
// kept for it.
func TestWaitOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		full := b.fill(8)
		first := b.wait("shop", "first", 2, 0)
		second := b.wait("shop", "second", 1, 0)
		time.Sleep(time.Second)
		require.Equal(t, "first", b.names()[0])
		_, err := b.m.SetPower(context.Background(), second.ID, pool.Stopped)
		require.NoError(t, err)
		_, err = b.m.SetPower(context.Background(), second.ID, pool.Shelved)
		require.ErrorIs(t, err, pool.ErrWrongState)
		b.stop()
		b.m = open(t, b.fleet, b.ledger)
		b.stop = run(t, b.m)
		defer b.stop()
		b.pooled(b.m, 1)
		require.Equal(t, []string{"first", "second"}, b.names())
		b.delete(full[0])
		require.Equal(t, pool.Waiting, b.phase(second.ID), "the room is the first one's")
		b.delete(first.ID)
		i := settle(t, b.m, second.ID)
		require.Equal(t, pool.Stopped, i.Is)
		require.Empty(t, b.m.Queue())
		sound(t, b.m, b.fleet)

		third := b.wait("shop", "third", 8, 0)
		_, err = b.m.Cordon(context.Background(), "sim/h00", "")
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.Empty(t, b.m.Queue()[0].Host, "nothing is kept where nothing is placed")
		_, err = b.m.Uncordon(context.Background(), "sim/h00")
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NotEmpty(t, b.m.Queue()[0].Host)
		b.delete(third.ID)
	})
}

// Members of a cluster for which there is no room wait, and join it one after another.
func TestClusterWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		full := b.fill(5)
		c, err := b.m.CreateCluster(context.Background(), berthage.CreateCluster{Token: "c", Project: "shop", Name: "c", Spec: spec(), Size: 5, Wait: true})
		require.NoError(t, err)
		require.Contains(t, c.Op.Reason, "no host fits")
		time.Sleep(time.Minute)
		c, err = b.m.Cluster(c.ID)
		require.NoError(t, err)
		require.Equal(t, []int{3, 2}, []int{c.Done, c.Pending})
		require.Equal(t, []string{"c-3", "c-4"}, b.names())
		b.delete(full[:2]...)
		time.Sleep(time.Minute)
		c, err = b.m.Cluster(c.ID)
		require.NoError(t, err)
		require.Equal(t, 5, c.Done)
		sound(t, b.m, b.fleet)
	})
}
