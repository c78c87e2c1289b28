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
