package openstack_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

// A Manager over the driver, in either mode: booked as the shape or as asked, refused for want of room and made when there is
// some, and gone without a trace.
func TestManager(t *testing.T) {
	t.Parallel()
	for _, mode := range []openstack.Mode{openstack.Region, openstack.Hypervisors} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			f := newFakeCloud(t)
			d, host := f.driver(func(c *openstack.Config) {
				if c.Mode = mode; mode == openstack.Hypervisors {
					c.CreateFlavors = true
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			m, err := berthage.Open(ctx, berthage.Config{
				Ledger: pool.NewMemoryLedger(), Ephemeral: true, Drivers: map[string]hypervisor.Driver{"openstack": d}, Logger: logger(t),
			})
			require.NoError(t, err)
			ended := make(chan error, 1)
			run, stop := context.WithCancel(ctx)
			go func() { ended <- m.Run(run) }()
			defer func() { stop(); <-ended }()

			require.NoError(t, m.PutProject(ctx, pool.Project{Name: "shop"}))
			require.NoError(t, m.PutImage(ctx, pool.Image{Name: "debian", User: "debian", Sources: map[string]string{"openstack": "debian-12"}}))
			_, err = m.AddHost(ctx, host)
			require.NoError(t, err)
			spec := pool.Spec{Image: "debian", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 3 * pool.GiB}, Disks: []pool.Disk{{Size: 10 * pool.GiB}}}
			vm, err := m.Launch(ctx, berthage.Launch{Token: "1", Project: "shop", Name: "web-1", Spec: spec})
			require.NoError(t, err)
			vm, err = m.Wait(ctx, vm.ID, berthage.Settled)
			require.NoError(t, err)
			require.Equal(t, "running", string(vm.Status()))
			shape, memory := "c4.huge", 16*pool.GiB
			if mode == openstack.Hypervisors {
				shape, memory = "", 3*pool.GiB
			}
			require.Equal(t, shape, vm.Place.Allocation.Shape)
			require.Equal(t, memory, vm.Place.Allocation.Resources[pool.Memory])
			_, err = m.Delete(ctx, vm.ID)
			require.NoError(t, err)
			_, err = m.Wait(ctx, vm.ID, berthage.Settled)
			if err != nil {
				require.ErrorIs(t, err, pool.ErrNotFound)
			}
			require.Eventually(t, func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.servers) == 0
			}, 10*time.Second, 10*time.Millisecond)
		})
	}
}
