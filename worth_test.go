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

// What room is worth follows from what runs: on hosts of 8 cores and 16 GiB, of which instances take either most of the cores or
// most of the memory, an instance goes where it leaves room for one of the other kind.
func TestWorthOfRoom(t *testing.T) {
	t.Parallel()
	used := func(worth bool) (hosts int) {
		synctest.Test(t, func(t *testing.T) {
			fleet := bare(40)
			b := start(t, fake.Config{Hosts: fleet}, func(c *berthage.Config) { c.Worth = worth })
			defer b.stop()
			ctx := context.Background()
			launch := func(name string, cores, memory int64) {
				s := pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: memory * pool.GiB}, Disks: []pool.Disk{{Size: pool.GiB}}}
				i, err := b.m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s})
				require.NoError(t, err)
				require.Equal(t, "running", settle(t, b.m, i.ID).Status())
			}
			n := 0
			name := func() string { n++; return "vm-" + string(rune('a'+n/26)) + string(rune('a'+n%26)) }
			for range 6 { // what the pool is like
				launch(name(), 5, 4)
				launch(name(), 3, 12)
				launch(name(), 3, 12) // most of them, so that these decide how many hosts it takes
				launch(name(), 2, 4)
			}
			time.Sleep(10 * time.Minute)
			for range 8 {
				launch(name(), 5, 4)
			}
			for range 8 { // which would spoil what those have left for the next ones
				launch(name(), 2, 4)
			}
			for range 8 {
				launch(name(), 3, 12)
			}
			b.m.View(func(st *pool.State) {
				for h := range st.Hosts() {
					if h.Placed > 0 {
						hosts++
					}
				}
			})
			sound(t, b.m, b.fleet)
		})
		return hosts
	}
	with, without := used(true), used(false)
	require.Less(t, with, without)
}

// bare returns n hosts of 8 cores and 16 GiB with storage to spare.
func bare(n int) []pool.Host {
	out := hosts(n)
	for i := range out {
		out[i].Inventory[pool.StorageStandard] = pool.Inventory{Total: 100 * pool.TiB}
	}
	return out
}
