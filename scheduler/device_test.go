package scheduler_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// divided is a large host with devices of that class and those sizes.
func divided(c pool.Class, sizes map[string]int64) pool.Host {
	h := host("a", 64, 64)
	for id, n := range sizes {
		h.Devices = append(h.Devices, pool.Device{ID: id, Class: c, Inventory: pool.Inventory{Total: n}})
	}
	return h
}

func TestEveryDiskGoesWholeToOneDevice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pools  map[string]int64
		disks  []int64
		claims []string // device of each disk; nil: refused
		reason string
	}{
		"fullest that has room":      {map[string]int64{"big": 9, "small": 5}, []int64{4}, []string{"small"}, ""},
		"equal ones by id":           {map[string]int64{"y": 5, "x": 5}, []int64{4}, []string{"x"}, ""},
		"largest disk first":         {map[string]int64{"x": 5, "y": 4}, []int64{1, 4}, []string{"x", "y"}, ""},
		"another way is looked for":  {map[string]int64{"x": 5, "y": 4}, []int64{3, 2, 2, 2}, []string{"x", "x", "y", "y"}, ""},
		"two on one device":          {map[string]int64{"x": 5, "y": 1}, []int64{2, 3}, []string{"x", "x"}, ""},
		"room in sum is not enough":  {map[string]int64{"x": 5, "y": 4}, []int64{2, 6}, nil, `disk 1 (storage.ssd): 6 B asked on one device; the one with most room, "x", has 5 B free of 5 B: short of 1 B`},
		"the larger ones come first": {map[string]int64{"x": 5, "y": 5}, []int64{3, 3, 4}, nil, `disk 1 (storage.ssd): 3 B asked on one device; the one with most room, "y", has 2 B free of 5 B: short of 1 B`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := want(1, 1)
			for _, n := range c.disks {
				req.Spec.Disks = append(req.Spec.Disks, pool.Disk{Size: n, Storage: pool.SSD})
			}
			var s scheduler.Scheduler
			d, err := s.Place(newBooks(t, divided(pool.StorageSSD, c.pools)).state, req)
			if c.claims == nil {
				var r *scheduler.Refusal
				require.ErrorAs(t, err, &r)
				require.Equal(t, scheduler.ByDevice, r.Hosts[0].Reason.Constraint)
				require.Equal(t, c.reason, r.Hosts[0].Reason.String())
				require.True(t, r.Never)
				return
			}
			require.NoError(t, err)
			require.Len(t, d.Allocation.Claims, len(c.disks))
			for i, claim := range d.Allocation.Claims {
				require.Equal(t, pool.Claim{Device: c.claims[i], Class: pool.StorageSSD, Amount: c.disks[i], Disk: i}, claim)
			}
		})
	}
}

func TestDisksThatNoWayFitsEndTheSearch(t *testing.T) {
	t.Parallel()
	pools := map[string]int64{"a": 350, "b": 351, "c": 352, "d": 353, "e": 354}
	req := want(1, 1)
	for i := range int64(16) {
		req.Spec.Disks = append(req.Spec.Disks, pool.Disk{Size: 100 + i%3, Storage: pool.SSD})
	}
	var s scheduler.Scheduler
	_, err := s.Place(newBooks(t, divided(pool.StorageSSD, pools)).state, req)
	require.ErrorIs(t, err, pool.ErrNoRoom)
}

func TestEveryGPUIsADeviceOfItsOwn(t *testing.T) {
	t.Parallel()
	gpus := func(ratio pool.Ratio) pool.Host {
		h := divided(pool.GPU, map[string]int64{"gpu0": 1, "gpu1": 1, "rack": 4})
		for i := range h.Devices {
			h.Devices[i].Ratio = ratio
		}
		return h
	}
	ask := func(n int64) scheduler.Request {
		r := want(1, 1)
		r.Spec.Resources[pool.GPU] = n
		return r
	}
	var s scheduler.Scheduler
	d, err := s.Place(newBooks(t, gpus(0)).state, ask(3))
	require.NoError(t, err)
	require.Equal(t, []pool.Claim{
		{Device: "gpu0", Class: pool.GPU, Amount: 1}, {Device: "gpu1", Class: pool.GPU, Amount: 1}, {Device: "rack", Class: pool.GPU, Amount: 1},
	}, d.Allocation.Claims, "small ones first, so that large ones stay free")

	// Shared twofold there is room for 12, but one instance gets no more than 6 different ones.
	b := newBooks(t, gpus(2000))
	d, err = s.Place(b.state, ask(6))
	require.NoError(t, err)
	b.book(ask(6), d)
	_, err = s.Place(b.state, ask(6))
	require.NoError(t, err)
	_, err = s.Place(b.state, ask(7))
	require.ErrorIs(t, err, pool.ErrNoRoom)

	_, err = s.Place(newBooks(t, gpus(2000)).state, ask(7))
	var r *scheduler.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, "gpu: 7 asked, 6 free of 6: short of 1 on separate devices", r.Hosts[0].Reason.String())
	require.Equal(t, `host "d/a" could take it: ask for 1 less of gpu`, r.Nearest.String())
}

func TestOtherClassesStayInOnePiece(t *testing.T) {
	t.Parallel()
	var s scheduler.Scheduler
	req := want(1, 1)
	req.Spec.Resources["net.mbps"] = 6
	h := divided("net.mbps", map[string]int64{"eth0": 5, "eth1": 5})
	_, err := s.Place(newBooks(t, h).state, req)
	var r *scheduler.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, `net.mbps: 6 asked on one device; the one with most room, "eth0", has 5 free of 5: short of 1`, r.Hosts[0].Reason.String())
	require.Nil(t, r.Hosts[0].Reason.Disk)
	req.Spec.Resources["net.mbps"] = 5
	d, err := s.Place(newBooks(t, h).state, req)
	require.NoError(t, err)
	require.Equal(t, []pool.Claim{{Device: "eth0", Class: "net.mbps", Amount: 5}}, d.Allocation.Claims)
}

// region is an aggregate with capacity for 100 cores and 200 GiB.
func region(shapes ...pool.Shape) pool.Host {
	h := host("region", 100, 200)
	h.Shapes = shapes
	return h
}

func shape(name string, cores, gib int64) pool.Shape {
	return pool.Shape{Name: name, Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: gib * pool.GiB}}
}

func TestAggregatesBookTheSmallestShape(t *testing.T) {
	t.Parallel()
	var s scheduler.Scheduler
	h := region(shape("z.small", 2, 4), shape("large", 16, 64), shape("b.small", 2, 4), shape("wide", 8, 4))
	req := want(1, 3)
	req.Spec.Disks = []pool.Disk{{Size: 5 * pool.GiB}}
	h.Inventory[pool.StorageStandard] = pool.Inventory{Total: pool.TiB}
	d, err := s.Place(newBooks(t, h).state, req)
	require.NoError(t, err)
	require.Equal(t, "b.small", d.Allocation.Shape, "the smallest, of equal ones the first by name")
	require.Equal(t, pool.Resources{pool.CPU: 2000, pool.Memory: 4 * pool.GiB, pool.StorageStandard: 5 * pool.GiB},
		d.Allocation.Resources, "what no shape has is booked as asked")

	_, err = s.Place(newBooks(t, region(shape("small", 2, 4), shape("large", 16, 64))).state, want(4, 65))
	var r *scheduler.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, scheduler.ByShape, r.Hosts[0].Reason.Constraint)
	require.Equal(t, "sells no shape that covers the request; the nearest has memory 64 GiB, asked for 65 GiB: short of 1 GiB",
		r.Hosts[0].Reason.String())
	require.True(t, r.Never)
	require.Equal(t, `host "d/region" could take it: ask for 1 GiB less of memory`, r.Nearest.String())
}

// A shape that was refused a short time ago is passed by, and nothing larger is taken in its place: that would cost
// more than what was asked for.
func TestAggregatesThatHaveRefusedAShape(t *testing.T) {
	t.Parallel()
	var s scheduler.Scheduler
	b := newBooks(t, region(shape("small", 2, 4), shape("large", 16, 64)))
	d, err := s.Place(b.state, want(2, 4))
	require.NoError(t, err)
	until := time.Date(2030, 1, 1, 12, 30, 0, 5, time.UTC)
	id, booked := b.book(want(2, 4), d), d.Allocation
	b.fold(pool.KindRefused, &pool.Refused{Machine: id.Machine(0), Reason: "no valid host", Until: until})

	_, err = s.Place(b.state, want(1, 1))
	var r *scheduler.Refusal
	require.ErrorAs(t, err, &r)
	require.False(t, r.Never)
	require.Equal(t, []scheduler.Count{{Constraint: scheduler.ByFull, Hosts: 1}}, r.Counts)
	require.Equal(t, b.state.Time(), r.Hosts[0].Reason.At)
	require.Equal(t, `shape "small" was refused as full at `+b.state.Time().Format(time.RFC3339)+`; tried again at 2030-01-01T12:30:00Z`, r.Hosts[0].Reason.String())
	require.Equal(t, []scheduler.Step{{Do: scheduler.Wait, Value: "small", Until: until}}, r.Nearest.Steps)
	require.Contains(t, r.Error(), `1 by full; nearest: host "d/region" could take it: wait until 2030-01-01T12:30:00Z, when its shape "small", refused as full, is tried again`)
	js, err := json.Marshal(r)
	require.NoError(t, err)
	var back scheduler.Refusal
	require.NoError(t, json.Unmarshal(js, &back))
	require.Equal(t, *r, back)

	d, err = s.Place(b.state, want(3, 1))
	require.NoError(t, err, "another shape")
	require.Equal(t, "large", d.Allocation.Shape)
	for _, tc := range []struct {
		now  time.Time
		fits bool
	}{{until.Add(-1), false}, {until, true}} {
		req := want(1, 1)
		req.Now = tc.now
		_, err = s.Place(b.state, req)
		require.Equal(t, tc.fits, err == nil, tc.now)
	}
	h, _ := b.state.Host("d/region")
	_, err = s.Resize(h, booked, want(2, 3).Spec)
	require.NoError(t, err, "whether it has room for one that is there the aggregate says itself")
}

func TestAggregatesAreFullWhenTheShapeIsTooLarge(t *testing.T) {
	t.Parallel()
	var s scheduler.Scheduler
	_, err := s.Place(newBooks(t, region(shape("huge", 101, 4))).state, want(1, 1))
	var r *scheduler.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, "cpu: 101 cores asked, 100 cores free of 100 cores: short of 1 core", r.Hosts[0].Reason.String())
	require.True(t, r.Never)
	require.Nil(t, r.Nearest)
}
