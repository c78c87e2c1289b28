package scheduler_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// resizable is a host with 8 cores, 16 GiB and two SSDs of 100 GiB, on which 2 cores, 4 GiB and 60 GiB are the
// instance's own and 4 cores, 4 GiB and 30 GiB on the same SSD somebody else's.
func resizable() (*pool.HostRecord, pool.Allocation) {
	h := &pool.HostRecord{Host: pool.Host{
		ID: "d/h", Conditions: pool.Ready | pool.Cordoned,
		Devices: []pool.Device{
			{ID: "a", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: 100 * pool.GiB}},
			{ID: "b", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: 100 * pool.GiB}},
		},
	}}
	h.Capacity = pool.Resources{pool.CPU: 8 * pool.Core, pool.Memory: 16 * pool.GiB, pool.StorageSSD: 200 * pool.GiB}
	h.Used = pool.Resources{pool.CPU: 6 * pool.Core, pool.Memory: 8 * pool.GiB, pool.StorageSSD: 90 * pool.GiB}
	h.DeviceUsed = map[string]int64{"a": 90 * pool.GiB}
	return h, pool.Allocation{
		Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB, pool.StorageSSD: 60 * pool.GiB},
		Claims:    []pool.Claim{{Device: "a", Class: pool.StorageSSD, Amount: 60 * pool.GiB}},
	}
}

func sized(cores, memory, disk int64) pool.Spec {
	return pool.Spec{
		Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: memory * pool.GiB},
		Disks:     []pool.Disk{{Size: disk * pool.GiB, Storage: pool.SSD}},
	}
}

func TestResize(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spec pool.Spec
		by   scheduler.Constraint // of the refusal
	}{
		"smaller":                     {spec: sized(1, 1, 60)},
		"all that is left":            {spec: sized(4, 12, 70)},
		"a core too many":             {spec: sized(5, 12, 60), by: scheduler.ByResource},
		"memory":                      {spec: sized(4, 13, 60), by: scheduler.ByResource},
		"room on another device only": {spec: sized(4, 12, 71), by: scheduler.ByDevice},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, old := resizable()
			a, err := new(scheduler.Scheduler).Resize(h, old, test.spec)
			fresh, _ := resizable()
			require.Equal(t, fresh, h, "the host is as it was")
			if test.by != "" {
				var r *scheduler.Refusal
				require.ErrorAs(t, err, &r)
				require.True(t, errors.Is(err, pool.ErrNoRoom))
				require.Equal(t, test.by, r.Hosts[0].Reason.Constraint)
				return
			}
			require.NoError(t, err)
			demand, err := test.spec.Demand()
			require.NoError(t, err)
			require.True(t, demand.Equal(a.Resources), "%v", a)
			require.Equal(t, []pool.Claim{{Device: "a", Class: pool.StorageSSD, Amount: test.spec.Disks[0].Size}}, a.Claims)
		})
	}
}

func TestResizeOfAShape(t *testing.T) {
	t.Parallel()
	h := &pool.HostRecord{Host: pool.Host{ID: "d/region", Conditions: pool.Ready, Shapes: []pool.Shape{
		{Name: "s", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB}},
		{Name: "l", Resources: pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: 8 * pool.GiB}},
	}}}
	h.Capacity = pool.Resources{pool.CPU: 100 * pool.Core, pool.Memory: 100 * pool.GiB, pool.StorageSSD: pool.TiB}
	h.Used = pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB}
	old := pool.Allocation{Shape: "s", Resources: h.Used.Clone()}
	a, err := new(scheduler.Scheduler).Resize(h, old, sized(3, 4, 10))
	require.NoError(t, err)
	require.Equal(t, "l", a.Shape)
	_, err = new(scheduler.Scheduler).Resize(h, old, sized(5, 4, 10))
	require.ErrorIs(t, err, pool.ErrNoRoom)
}
