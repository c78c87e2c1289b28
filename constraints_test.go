package berthage_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// What is moved off a host goes only where its constraints allow it, as if it were launched, and stays where nothing does.
func TestDrainKeepsConstraints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := hosts(3)
		all[2].Taints = []pool.Taint{{Key: "old", Effect: pool.NoSchedule}}
		b := start(t, fake.Config{Hosts: all, Migrate: 2 * time.Second})
		defer b.stop()
		ctx := context.Background()
		launch := func(name string, c pool.Constraints) pool.Instance {
			s := spec()
			s.Constraints = c
			i, err := b.m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s})
			require.NoError(t, err)
			return settle(t, b.m, i.ID)
		}
		launch("old", pool.Constraints{Hosts: []pool.HostID{all[2].ID}, Tolerations: []pool.Toleration{{Key: "old"}}})
		i := launch("a", pool.Constraints{Hosts: []pool.HostID{all[0].ID, all[1].ID, all[2].ID}})
		from := i.Place.Host
		require.NotEqual(t, all[2].ID, from, "which is in use, and would be the best fit")
		_, err := b.m.Drain(ctx, from, false, "new memory")
		require.NoError(t, err)
		eventually(t, func() bool { return len(b.m.Leaving(from)) == 0 }, "drained")
		i, err = b.m.Instance(i.ID)
		require.NoError(t, err)
		require.NotEqual(t, all[2].ID, i.Place.Host)
		_, err = b.m.Undrain(ctx, from)
		require.NoError(t, err)

		s := spec()
		s.Constraints.AntiAffinity = []pool.Affinity{{}}
		_, err = b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "web", Project: "shop", Name: "web", Spec: s, Size: 2})
		require.NoError(t, err)
		eventually(t, func() bool {
			c, err := b.m.Cluster(pool.NewClusterID("shop", "web"))
			return err == nil && c.Done == 2
		}, "both run")
		_, err = b.m.Drain(ctx, from, false, "new memory")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		left := b.m.Leaving(from)
		require.Len(t, left, 1, "the other host has the other member, and the third is tainted")
		require.Contains(t, left[0].Reason, "1 by anti-affinity")
		require.Contains(t, left[0].Reason, "1 by taint")
		sound(t, b.m, b.fleet)
	})
}
