package berthage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"context"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// An instance whose creation failed is tried elsewhere only within its project's quota: an aggregate books it
// as a whole shape, which may be more than was asked for.
func TestQuotaHoldsElsewhereToo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limit, later int64 // of cores: at the launch, and when it is placed again
		status       string
	}{
		"no room for the shape":                {2 * pool.Core, 2 * pool.Core, "failed"},
		"room for the shape":                   {4 * pool.Core, 4 * pool.Core, "running"},
		"lowered below what is used meanwhile": {4 * pool.Core, 0, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				b := start(t, fake.Config{Hosts: hosts(1), Build: 20 * time.Second, Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Refuse})})
				defer b.stop()
				require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.CPU: tc.limit}}))
				i := b.launch("one")
				region := hosts(2)[1]
				region.Shapes = []pool.Shape{{Name: "large", Resources: pool.Resources{
					pool.CPU: 4 * pool.Core, pool.Memory: 4 * pool.GiB, pool.StorageStandard: 20 * pool.GiB,
				}}}
				require.NoError(t, b.fleet.AddHost(region))
				b.pooled(b.m, 2)
				require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.CPU: tc.later}}))
				i = settle(t, b.m, i.ID)
				require.Equal(t, tc.status, i.Status(), i.Reason)
				b.m.View(func(st *pool.State) {
					p, _ := st.Project("shop")
					require.LessOrEqual(t, p.Used[pool.CPU], tc.limit)
				})
			})
		})
	}
}

// A quota that was lowered meanwhile does not keep an instance from moving to a place of the same size.
func TestLoweredQuotaLeavesInstancesAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Build: 20 * time.Second, Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Refuse})})
		defer b.stop()
		i := b.launch("one")
		require.NoError(t, b.m.PutProject(context.Background(), pool.Project{Name: "shop", Quota: pool.Resources{pool.CPU: 0, pool.Instances: 0}}))
		i = settle(t, b.m, i.ID)
		require.Equal(t, "running", i.Status(), i.Reason)
		require.Equal(t, 1, i.Place.Number)
	})
}
