package scheduler_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Requests that are alike in what an index goes by at first get what each of them would get alone.
func TestRequestsThatLookAlike(t *testing.T) {
	t.Parallel()
	left, right := host("a", 8, 32), host("b", 8, 64)
	left.Zone, right.Zone = "z1", "z2"
	right.Inventory["licence"] = pool.Inventory{Total: 10}
	right.Kinds = []pool.Kind{pool.VM, pool.Container}
	for _, h := range []*pool.Host{&left, &right} {
		h.Inventory[pool.StorageStandard] = pool.Inventory{Total: pool.TiB}
	}
	b := newBooks(t, left, right)
	of := func(change func(*scheduler.Request)) scheduler.Request {
		req := want(2, 4)
		req.Spec.Disks = []pool.Disk{{Size: 10 * pool.GiB}}
		if change != nil {
			change(&req)
		}
		return req
	}
	reqs := []scheduler.Request{
		of(nil),
		of(func(r *scheduler.Request) { r.Spec.Resources["licence"] = 2 }),
		of(func(r *scheduler.Request) { r.Spec.Resources["licence"] = 3 }),
		of(func(r *scheduler.Request) { r.Spec.Resources["licence"] = 11 }),
		of(func(r *scheduler.Request) { r.Spec.Resources["licence"] = 0 }),
		of(func(r *scheduler.Request) { r.Spec.Resources["no licence"] = 0 }),
		of(func(r *scheduler.Request) { r.Spec.Resources[pool.StorageStandard] = 10 * pool.GiB }),
		of(func(r *scheduler.Request) { r.Spec.Disks[0].Storage = "ssd" }),
		of(func(r *scheduler.Request) { r.Spec.Disks[0].IOPS = -1 }),
		of(func(r *scheduler.Request) { r.Spec.Kind = pool.Container }),
		of(func(r *scheduler.Request) { r.Spec.Constraints.Zones = []string{"z2"} }),
		of(func(r *scheduler.Request) { r.Avoid = []pool.HostID{left.ID} }),
		of(func(r *scheduler.Request) { r.Image.Sources = nil }),
	}
	var s scheduler.Scheduler
	ix := scheduler.NewIndex(b.state)
	for i := range reqs {
		for k := range reqs {
			for _, req := range []scheduler.Request{reqs[i], reqs[k], reqs[i]} {
				alone, refused := s.Place(b.state, req)
				got, err := s.PlaceOn(ix, req)
				require.Equal(t, refused == nil, err == nil, "%d after %d: %v, %v", k, i, refused, err)
				require.Equal(t, alone.Host, got.Host)
				require.Equal(t, alone.Allocation, got.Allocation)
				if refused != nil {
					require.EqualError(t, err, refused.Error())
				}
			}
		}
	}

	// Neither what a caller does to its request afterwards nor what it does to the scheduler counts as what was prepared.
	req := of(nil)
	_, err := s.PlaceOn(ix, req)
	require.NoError(t, err)
	req.Spec.Disks[0].Storage = "ssd"
	_, err = s.PlaceOn(ix, req)
	require.ErrorIs(t, err, pool.ErrNoRoom)
	s.CostWeight = -1
	_, err = s.PlaceOn(ix, of(nil))
	require.ErrorIs(t, err, pool.ErrInvalid)
}
