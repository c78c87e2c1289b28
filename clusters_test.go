package berthage_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func web(n int) berthage.CreateCluster {
	return berthage.CreateCluster{Token: "t", Project: "shop", Name: "web", Spec: spec(), Size: n}
}

// idle waits until a cluster's last command is done, as far as it can be, and returns it.
func idle(t *testing.T, m *berthage.Manager, id pool.ClusterID) berthage.Cluster {
	t.Helper()
	var c berthage.Cluster
	eventually(t, func() bool {
		var err error
		c, err = m.Cluster(id)
		return is(err, pool.ErrNotFound) || err == nil && c.Pending == 0
	}, "cluster at rest")
	return c
}

func head(m *berthage.Manager) pool.Revision { return m.Status().Revision }

func TestClusterLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Boot: time.Second})
		defer b.stop()
		ctx, id := context.Background(), pool.NewClusterID("shop", "web")
		counts := func(c berthage.Cluster) string {
			return fmt.Sprintf("%d done %d failed %d skipped of %d", c.Done, c.Failed, c.Skipped, len(c.Members))
		}
		// steer does it twice: the repetition commits nothing.
		steer := func(s berthage.SteerCluster) berthage.Cluster {
			t.Helper()
			s.Cluster = id
			_, err := b.m.SteerCluster(ctx, s)
			require.NoError(t, err)
			idle(t, b.m, id)
			time.Sleep(time.Minute)
			before := head(b.m)
			c, err := b.m.SteerCluster(ctx, s)
			require.NoError(t, err)
			require.Equal(t, before, head(b.m), "a repetition of %s", s.Verb)
			sound(t, b.m, b.fleet)
			return c
		}

		// All or nothing: one more than there is room for is none.
		_, err := b.m.CreateCluster(ctx, web(17))
		require.ErrorIs(t, err, pool.ErrNoRoom)
		_, err = b.m.Cluster(id)
		require.ErrorIs(t, err, pool.ErrNotFound)
		c, err := b.m.CreateCluster(ctx, web(4))
		require.NoError(t, err)
		require.Len(t, c.Members, 4)
		for _, m := range c.Members {
			i, err := b.m.Instance(m.Instance)
			require.NoError(t, err)
			require.Equal(t, c.Launched, i.Launched, "one append")
		}
		c = idle(t, b.m, id)
		require.Equal(t, "4 done 0 failed 0 skipped of 4", counts(c))
		require.Equal(t, "web-3", c.Members[3].Name)
		again, err := b.m.CreateCluster(ctx, web(4))
		require.NoError(t, err)
		require.Equal(t, c.Members, again.Members)
		other := web(4)
		other.Token = "u"
		_, err = b.m.CreateCluster(ctx, other)
		require.ErrorIs(t, err, pool.ErrExists)

		// One member is stopped on its own; a suspend leaves it as it is, and a resume too.
		_, err = b.m.SetPower(ctx, c.Members[1].Instance, pool.Stopped)
		require.NoError(t, err)
		idle(t, b.m, id)
		c = steer(berthage.SteerCluster{Verb: berthage.Suspend})
		require.Equal(t, "3 done 0 failed 1 skipped of 4", counts(c))
		require.Equal(t, "is to be stopped", c.Members[1].Reason)
		require.Equal(t, map[pool.Power]int{pool.Suspended: 3, pool.Stopped: 1}, machines(b.fleet))
		c = steer(berthage.SteerCluster{Verb: berthage.Resume})
		require.Equal(t, "3 done 0 failed 1 skipped of 4", counts(c))
		require.Equal(t, "did not run before", c.Members[1].Reason)
		require.Equal(t, map[pool.Power]int{pool.Running: 3, pool.Stopped: 1}, machines(b.fleet))

		// Shelved, it takes no room; what ran comes back, and all of it with a start.
		c = steer(berthage.SteerCluster{Verb: berthage.Suspend, Release: true})
		require.Equal(t, "4 done 0 failed 0 skipped of 4", counts(c))
		require.Empty(t, machines(b.fleet))
		b.m.View(func(st *pool.State) { require.Zero(t, st.Totals()[pool.CPU].Used) })
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: id, Size: 6})
		require.ErrorIs(t, err, pool.ErrWrongState)
		c = steer(berthage.SteerCluster{Verb: berthage.Resume})
		require.Equal(t, map[pool.Power]int{pool.Running: 3}, machines(b.fleet))
		c = steer(berthage.SteerCluster{Verb: berthage.Start})
		require.Equal(t, "4 done 0 failed 0 skipped of 4", counts(c))
		require.Equal(t, map[pool.Power]int{pool.Running: 4}, machines(b.fleet))
		c = steer(berthage.SteerCluster{Verb: berthage.Stop})
		require.Equal(t, map[pool.Power]int{pool.Stopped: 4}, machines(b.fleet))
		c = steer(berthage.SteerCluster{Verb: berthage.Resume})
		require.Equal(t, map[pool.Power]int{pool.Running: 4}, machines(b.fleet))

		// More than there is room for, all or nothing and as far as it goes; then fewer, the newest first.
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: id, Size: 17})
		require.ErrorIs(t, err, pool.ErrNoRoom)
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: id, Size: 17, BestEffort: true})
		require.NoError(t, err)
		c = idle(t, b.m, id)
		require.Equal(t, "16 done 1 failed 0 skipped of 16", counts(c))
		require.Contains(t, c.Op.Reason, "no host fits")
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: id, Size: 2})
		require.NoError(t, err)
		c = idle(t, b.m, id)
		require.Equal(t, "2 done 0 failed 0 skipped of 2", counts(c))
		require.Equal(t, []int{0, 1}, c.Cluster.Members)
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: id, Size: 3})
		require.NoError(t, err)
		require.Equal(t, 16, idle(t, b.m, id).Members[2].Index, "a number is never used again")

		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: id, Verb: berthage.Destroy})
		require.NoError(t, err)
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: id, Verb: berthage.Start})
		require.ErrorIs(t, err, pool.ErrWrongState)
		idle(t, b.m, id)
		_, err = b.m.Cluster(id)
		require.ErrorIs(t, err, pool.ErrNotFound)
		require.Empty(t, machines(b.fleet))
		gone, err := b.m.CreateCluster(ctx, web(4))
		require.NoError(t, err, "a late repetition makes nothing")
		require.Empty(t, gone.Members)
		sound(t, b.m, b.fleet)
	})
}

func TestClusterIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		ctx := context.Background()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.Instances: 5}}))
		for name, tc := range map[string]struct {
			change func(*berthage.CreateCluster)
			err    error
		}{
			"no token":      {func(c *berthage.CreateCluster) { c.Token = "" }, pool.ErrInvalid},
			"no members":    {func(c *berthage.CreateCluster) { c.Size = 0 }, pool.ErrInvalid},
			"too many":      {func(c *berthage.CreateCluster) { c.Size = pool.MaxCluster + 1 }, pool.ErrInvalid},
			"name":          {func(c *berthage.CreateCluster) { c.Name = "Web" }, pool.ErrInvalid},
			"project":       {func(c *berthage.CreateCluster) { c.Project = "none" }, pool.ErrNotFound},
			"image":         {func(c *berthage.CreateCluster) { c.Spec.Image = "none" }, pool.ErrNotFound},
			"beyond quota":  {func(c *berthage.CreateCluster) { c.Size = 6 }, pool.ErrOverQuota},
			"stagger":       {func(c *berthage.CreateCluster) { c.Stagger = -1 }, pool.ErrInvalid},
			"none fits":     {func(c *berthage.CreateCluster) { c.BestEffort, c.Spec.Resources[pool.CPU] = true, 32*pool.Core }, pool.ErrNoRoom},
			"one name only": {func(c *berthage.CreateCluster) { c.Name = "a/b" }, pool.ErrInvalid},
		} {
			c := web(2)
			tc.change(&c)
			_, err := b.m.CreateCluster(ctx, c)
			require.ErrorIs(t, err, tc.err, name)
		}
		b.m.View(func(st *pool.State) {
			require.Zero(t, st.InstanceCount())
			require.Empty(t, slices.Collect(st.Clusters()))
		})
		c := web(9)
		c.BestEffort = true
		got, err := b.m.CreateCluster(ctx, c)
		require.NoError(t, err)
		require.Len(t, got.Members, 5)
		require.Equal(t, 4, got.Failed)
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: "shop/web", Verb: "dance"})
		require.ErrorIs(t, err, pool.ErrInvalid)
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: "shop/none", Verb: berthage.Stop})
		require.ErrorIs(t, err, pool.ErrNotFound)
	})
}

// A cluster is started bit by bit, and carries its spec once.
func TestClusterIsStaggered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		most, now := make(chan int, 1000), 0
		var mu = make(chan struct{}, 1)
		b := start(t, fake.Config{Hosts: hosts(8), Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpCreate || c.Op == fake.OpStart {
				mu <- struct{}{}
				now++
				most <- now
				<-mu
				time.Sleep(time.Second)
				mu <- struct{}{}
				now--
				<-mu
			}
			return fake.Fault{}
		}})
		defer b.stop()
		c := web(40)
		c.Stagger = 3
		c.Spec.Guest.UserData = "#cloud-config\n#" + fmt.Sprintf("%060000d", 1)
		_, err := b.m.CreateCluster(context.Background(), c)
		require.NoError(t, err, "40 times 60 kB would not fit a batch")
		require.Equal(t, 40, idle(t, b.m, "shop/web").Done)
		close(most)
		peak := 0
		for n := range most {
			peak = max(peak, n)
		}
		require.Equal(t, 3, peak)
	})
}

// A member that is moved stays apart from the others of its cluster, although the scheduler would rather fill their hosts up.
func TestMovedMemberStaysApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, id := context.Background(), pool.NewClusterID("shop", "web")
		b := start(t, fake.Config{Hosts: hosts(3)})
		defer b.stop()
		ask := web(2)
		ask.Spec.Constraints.AntiAffinity = []pool.Affinity{{}}
		_, err := b.m.CreateCluster(ctx, ask)
		require.NoError(t, err)
		c := idle(t, b.m, id)
		on := func(n int) pool.HostID {
			i, err := b.m.Instance(c.Members[n].Instance)
			require.NoError(t, err)
			return i.Place.Host
		}
		from, other := on(0), on(1)
		require.NotEqual(t, from, other)
		_, err = b.m.Move(ctx, c.Members[0].Instance, "", false)
		require.NoError(t, err)
		idle(t, b.m, id)
		require.NotEqual(t, from, on(0))
		require.NotEqual(t, other, on(0))
		_, err = b.m.Move(ctx, c.Members[0].Instance, other, false)
		require.ErrorIs(t, err, pool.ErrNoRoom)
		sound(t, b.m, b.fleet)
	})
}
