package scheduler_test

import (
	"errors"
	"fmt"
	"slices"
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

// Disks at the end of the list come and go; those that stay are where they are.
func TestResizeByDisks(t *testing.T) {
	t.Parallel()
	spec := sized(2, 4, 60)
	for _, size := range []int64{80, 10, 15} { // 80 GiB fit on b only, then 10 on a, as the fuller one, and 15 on b
		spec.Disks = append(spec.Disks, pool.Disk{Size: size * pool.GiB, Storage: pool.SSD})
	}
	on := func(device string, size int64, disk int) pool.Claim {
		return pool.Claim{Device: device, Class: pool.StorageSSD, Amount: size * pool.GiB, Disk: disk}
	}
	h, old := resizable()
	a, err := new(scheduler.Scheduler).Resize(h, old, spec)
	require.NoError(t, err)
	require.Equal(t, []pool.Claim{on("a", 60, 0), on("b", 80, 1), on("a", 10, 2), on("b", 15, 3)}, a.Claims)
	require.Equal(t, 165*pool.GiB, a.Resources[pool.StorageSSD])

	tooMuch := spec.Clone() // 198 of 200, but the last 6 are on neither
	for n, size := range []int64{60, 80, 5, 17} {
		tooMuch.Disks[n].Size = size * pool.GiB
	}
	tooMuch.Disks = append(tooMuch.Disks, pool.Disk{Size: 6 * pool.GiB, Storage: pool.SSD})
	_, err = new(scheduler.Scheduler).Resize(h, old, tooMuch)
	require.ErrorIs(t, err, pool.ErrNoRoom)

	h.Used = pool.Resources{pool.CPU: 6 * pool.Core, pool.Memory: 8 * pool.GiB, pool.StorageSSD: 195 * pool.GiB}
	h.DeviceUsed = map[string]int64{"a": 100 * pool.GiB, "b": 95 * pool.GiB}
	spec.Disks = spec.Disks[:2]
	a, err = new(scheduler.Scheduler).Resize(h, a, spec)
	require.NoError(t, err)
	require.Equal(t, []pool.Claim{on("a", 60, 0), on("b", 80, 1)}, a.Claims)
}

// What is on a NUMA node stays there, and what comes to it comes from there.
func TestResizeOnANode(t *testing.T) {
	t.Parallel()
	h := &pool.HostRecord{Host: pool.Host{ID: "d/h", Conditions: pool.Ready, Devices: []pool.Device{
		{ID: "cores-0", Class: "cpu.dedicated", Node: "0", Inventory: pool.Inventory{Total: 8}},
		{ID: "cores-1", Class: "cpu.dedicated", Node: "1", Inventory: pool.Inventory{Total: 8}},
		{ID: "gpu-0", Class: pool.GPU, Node: "0", Inventory: pool.Inventory{Total: 1}},
		{ID: "gpu-1", Class: pool.GPU, Node: "1", Inventory: pool.Inventory{Total: 1}},
	}}}
	h.Capacity = pool.Resources{"cpu.dedicated": 16, pool.GPU: 2}
	h.Used = pool.Resources{"cpu.dedicated": 4}
	h.DeviceUsed = map[string]int64{"cores-1": 4}
	whole := *h
	old := pool.Allocation{Resources: h.Used.Clone(), Claims: []pool.Claim{{Device: "cores-1", Class: "cpu.dedicated", Amount: 4}}}
	resize := func(cores, gpus int64) (pool.Allocation, error) {
		return new(scheduler.Scheduler).Resize(h, old, pool.Spec{
			Resources:   pool.Resources{"cpu.dedicated": cores, pool.GPU: gpus},
			Constraints: pool.Constraints{SameNode: []pool.Class{"cpu.dedicated", pool.GPU}},
		})
	}
	a, err := resize(8, 1)
	require.NoError(t, err)
	require.Equal(t, []pool.Claim{{Device: "cores-1", Class: "cpu.dedicated", Amount: 8}, {Device: "gpu-1", Class: pool.GPU, Amount: 1}}, a.Claims)
	for _, more := range [][2]int64{{9, 1}, {8, 2}} {
		_, err = resize(more[0], more[1])
		require.ErrorIs(t, err, pool.ErrNoRoom)
	}
	gone := *h
	gone.Devices = slices.DeleteFunc(slices.Clone(h.Devices), func(d pool.Device) bool { return d.ID == "cores-1" })
	h = &gone
	_, err = resize(4, 0)
	require.ErrorIs(t, err, pool.ErrNoRoom, "the device that it is on is gone")
	h = &pool.HostRecord{Host: h.Host, Capacity: h.Capacity, Used: h.Used}
	h.Devices = nil
	_, err = resize(4, 0)
	var refusal *scheduler.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, scheduler.ByNode, refusal.Hosts[0].Reason.Constraint, "nobody says any more which cores are of which node")
	h = &whole
	old.Claims = nil // booked before the host told its devices
	a, err = resize(8, 1)
	require.NoError(t, err)
	require.Len(t, a.Claims, 2)
	require.Equal(t, h.Device(a.Claims[0].Device).Node, h.Device(a.Claims[1].Device).Node)
}

// Shares of GPUs and own classes are on devices too: the claims are what is taken, whichever way the size changes.
func TestResizeOfShares(t *testing.T) {
	t.Parallel()
	for name, class := range map[string]pool.Class{"shares": pool.GPUShare, "units": pool.GPU, "own": "licence"} {
		for _, test := range []struct {
			from, to int64
			fits     bool
		}{{500, 800, true}, {800, 500, true}, {500, 500, true}, {500, 1500, true}, {1500, 500, true}, {1500, 1500, true}, {1500, 2500, false}} {
			t.Run(fmt.Sprint(name, test.from, "to", test.to), func(t *testing.T) {
				t.Parallel()
				from, to := test.from, test.to
				h := &pool.HostRecord{Host: pool.Host{ID: "d/h", Conditions: pool.Ready}, Capacity: pool.Resources{class: 2000}}
				for i := range 2 {
					h.Devices = append(h.Devices, pool.Device{ID: fmt.Sprint("device", i), Class: class, Inventory: pool.Inventory{Total: 1000}})
				}
				old := pool.Allocation{Resources: pool.Resources{class: from}}
				h.Used, h.DeviceUsed = old.Resources.Clone(), map[string]int64{}
				for i, rest := 0, from; rest > 0; i++ {
					n := min(rest, 1000)
					old.Claims = append(old.Claims, pool.Claim{Device: h.Devices[i].ID, Class: class, Amount: n})
					h.DeviceUsed[h.Devices[i].ID], rest = n, rest-n
				}
				a, err := new(scheduler.Scheduler).Resize(h, old, pool.Spec{Resources: pool.Resources{class: to}})
				if !test.fits || class == "licence" && to > 1000 && from != to { // one piece
					require.ErrorIs(t, err, pool.ErrNoRoom)
					return
				}
				require.NoError(t, err)
				sum := int64(0)
				for _, c := range a.Claims {
					sum += c.Amount
					require.LessOrEqual(t, c.Amount, int64(1000))
				}
				require.Equal(t, to, sum, "%v", a.Claims)
			})
		}
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
