package berthage_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// The same token gives the same instance: whatever has become of the catalogue that the request named, and
// after a restart.
func TestSameTokenAfterTheCatalogueChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		require.NoError(t, b.m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB}}))
		l := berthage.Launch{Token: "one", Project: "shop", Name: "one", Spec: pool.Spec{
			Image: "debian-12", Flavor: "small", Labels: map[string]string{}, Networks: []pool.Network{},
		}}
		first, err := b.m.Launch(ctx, l)
		require.NoError(t, err)
		settle(t, b.m, first.ID)
		same := func(m *berthage.Manager) {
			t.Helper()
			i, err := m.Launch(ctx, l)
			require.NoError(t, err)
			require.Equal(t, first.ID, i.ID)
			other := l
			other.Spec.Labels = map[string]string{"role": "db"}
			_, err = m.Launch(ctx, other)
			require.ErrorIs(t, err, pool.ErrExists)
		}
		same(b.m)
		same(open(t, b.fleet, b.ledger))
		require.NoError(t, b.m.PutImage(ctx, pool.Image{Name: "debian-12", User: "root", MinDisk: 20 * pool.GiB, Sources: map[string]string{"sim": "debian"}}))
		same(b.m)
		require.NoError(t, b.m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: pool.GiB}}))
		same(b.m)
		require.NoError(t, b.m.RemoveFlavor(ctx, "small"))
		require.NoError(t, b.m.RemoveImage(ctx, "debian-12"))
		same(b.m)
		_, err = b.m.Delete(ctx, first.ID)
		require.NoError(t, err)
		settle(t, b.m, first.ID)
		i, err := b.m.Launch(ctx, l)
		require.NoError(t, err)
		require.Equal(t, first.ID, i.ID)
		require.Equal(t, pool.Deleted, i.Phase)
	})
}

// A token stands for one request: what is asked with it again is the cluster that there is, and anything else is refused,
// whatever has become of the cluster since.
func TestSameTokenSameCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		b := start(t, fake.Config{Hosts: hosts(4)})
		defer b.stop()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "other"}))
		require.NoError(t, b.m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: spec().Resources}))
		ask := web(4)
		ask.Stagger, ask.Spec.Resources, ask.Spec.Flavor = 2, nil, "small"
		first, err := b.m.CreateCluster(ctx, ask)
		require.NoError(t, err)
		idle(t, b.m, first.ID)
		check := func(m *berthage.Manager, members int) {
			t.Helper()
			before := head(m)
			c, err := m.CreateCluster(ctx, ask)
			require.NoError(t, err)
			require.Equal(t, first.ID, c.ID)
			require.Equal(t, first.Launched, c.Launched)
			require.Len(t, c.Members, members)
			for name, change := range map[string]func(*berthage.CreateCluster){
				"size":          func(c *berthage.CreateCluster) { c.Size = 5 },
				"present size":  func(c *berthage.CreateCluster) { c.Size = 2 },
				"spec":          func(c *berthage.CreateCluster) { c.Spec.Labels = map[string]string{"role": "db"} },
				"sizes":         func(c *berthage.CreateCluster) { c.Spec.Flavor, c.Spec.Resources = "", spec().Resources },
				"stagger":       func(c *berthage.CreateCluster) { c.Stagger = 0 },
				"name":          func(c *berthage.CreateCluster) { c.Name = "db" },
				"name and spec": func(c *berthage.CreateCluster) { c.Name, c.Spec.Labels = "db", map[string]string{"role": "db"} },
			} {
				other := ask
				other.Spec = ask.Spec.Clone()
				change(&other)
				_, err := m.CreateCluster(ctx, other)
				require.ErrorIs(t, err, pool.ErrExists, name)
				require.ErrorContains(t, err, `token "t" already exists`, name)
				require.ErrorContains(t, err, "a token of its own for each different request", name)
			}
			other := ask
			other.Token = "u"
			_, err = m.CreateCluster(ctx, other)
			require.ErrorIs(t, err, pool.ErrExists)
			require.ErrorContains(t, err, `cluster "shop/web" already exists`)
			require.Equal(t, before, head(m))
		}
		check(b.m, 4)
		check(open(t, b.fleet, b.ledger), 4)
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: first.ID, Size: 2})
		require.NoError(t, err)
		idle(t, b.m, first.ID)
		require.NoError(t, b.m.RemoveFlavor(ctx, "small"))
		require.NoError(t, b.m.RemoveImage(ctx, "debian-12"))
		check(b.m, 2)
		catalogue(t, b.m)

		// Tokens are a project's own, as with launches: nobody learns of others' by trying.
		elsewhere := web(1)
		elsewhere.Project = "other"
		c, err := b.m.CreateCluster(ctx, elsewhere)
		require.NoError(t, err)
		require.Equal(t, pool.NewClusterID("other", "web"), c.ID)
		l := berthage.Launch{Token: "t", Name: "web", Spec: spec()}
		for _, p := range []string{"shop", "other"} {
			l.Project = p
			i, err := b.m.Launch(ctx, l)
			require.NoError(t, err)
			require.Equal(t, p, i.Project)
		}
	})
}

// What a caller does with his maps afterwards does not reach the books.
func TestTheBooksKeepTheirOwnMaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		m := open(t, fake.New(fake.Config{Name: "sim"}), pool.NewMemoryLedger())
		quota, sizes := pool.Resources{pool.Instances: 1}, pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB}
		require.NoError(t, m.PutProject(ctx, pool.Project{Name: "shop", Quota: quota}))
		require.NoError(t, m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: sizes}))
		quota[pool.Instances], sizes[pool.CPU] = 100, 100*pool.Core
		m.View(func(st *pool.State) {
			p, _ := st.Project("shop")
			require.EqualValues(t, 1, p.Quota[pool.Instances])
			f, _ := st.Flavor("small")
			require.Equal(t, pool.Core, f.Resources[pool.CPU])
		})
	})
}
