package scheduler

import (
	"cmp"
	"slices"

	"github.com/berthage/berthage/pool"
)

// maxSteps bounds the search for devices for the disks of one instance on one host. A search that ends
// there counts as "does not fit"; only requests for many disks of awkward sizes on nearly full devices come
// that far.
const maxSteps = 1024

// devicesOf returns where the host's devices of a class begin and end, which pool.Host.Normalize has sorted by class
// and id.
func devicesOf(devs []pool.Device, c pool.Class) (first, end int) {
	for first < len(devs) && devs[first].Class != c {
		first++
	}
	end = first
	for end < len(devs) && devs[end].Class == c {
		end++
	}
	return first, end
}

// roomOn returns the free capacity of a device; below zero where it has shrunk under its load.
func roomOn(h *pool.HostRecord, dev *pool.Device, v view) int64 {
	if v == asEmpty {
		return dev.Capacity()
	}
	return dev.Capacity() - h.DeviceUsed[dev.ID]
}

// roomsOf returns the free capacity of each device, in their order, until the next host is looked at.
func (d *decision) roomsOf(h *pool.HostRecord, v view) []int64 {
	d.rooms = d.rooms[:0]
	for i := range h.Devices {
		d.rooms = append(d.rooms, roomOn(h, &h.Devices[i], v))
	}
	return d.rooms
}

// units returns how many whole units one instance can have of a device with that room: no more than are
// physically there, however far the device is over-committed, since two units of one instance must be two
// things.
func units(dev *pool.Device, room int64) int64 {
	return max(0, min(room, dev.Total-dev.Reserved))
}

// fitsDevices returns the first class whose devices, with those rooms, cannot carry what is needed, or that no NUMA node can.
func (d *decision) fitsDevices(devs []pool.Device, rooms []int64) failure {
	for i := range d.needs {
		if !d.carries(devs, rooms, &d.needs[i]) {
			return failure{by: ByDevice, index: i}
		}
	}
	if len(d.req.Spec.Constraints.SameNode) > 0 {
		if _, ok := d.onNode(devs, rooms); !ok {
			return failure{by: ByNode}
		}
	}
	return failure{}
}

// carries reports whether the devices of the class, with those rooms, can carry n, and leaves in chosen the device
// of each piece. A class without devices carries everything.
func (d *decision) carries(devs []pool.Device, rooms []int64, n *need) bool {
	first, end := devicesOf(devs, n.class)
	if first == end {
		return true
	}
	if n.pieces == nil {
		rest := n.amount
		for i := first; i < end; i++ {
			rest -= min(rest, units(&devs[i], rooms[i]))
		}
		return rest == 0
	}
	d.room = append(d.room[:0], rooms[first:end]...)
	d.chosen = slices.Grow(d.chosen[:0], len(n.pieces))[:len(n.pieces)]
	steps := maxSteps
	return assign(n.pieces, n.apart, d.room, d.chosen, &steps)
}

// assign gives each piece, largest first, the fullest device that has room for it, and looks for another
// way where that leads nowhere; those that go apart get a device each. chosen receives the index of each piece's
// device, room is what is left. On failure room is as it was.
func assign(pieces []piece, apart bool, room []int64, chosen []int, steps *int) bool {
	if len(pieces) == 0 {
		return true
	}
	size, tried := pieces[0].size, int64(-1)
	for *steps > 0 {
		*steps--
		best := -1
		for i, r := range room {
			// Devices with equal room are alike; one of them is tried.
			if r >= size && r > tried && (best < 0 || r < room[best]) {
				best = i
			}
		}
		if best < 0 {
			return false
		}
		tried = room[best]
		room[best] -= size
		if apart {
			room[best] = -1
		}
		chosen[0] = best
		if assign(pieces[1:], apart, room, chosen[1:], steps) {
			return true
		}
		room[best] = tried
	}
	return false
}

// claims appends to out which devices, with those rooms, carry the needs on a host that has qualified: by class,
// disks in order.
func (d *decision) claims(out []pool.Claim, devs []pool.Device, rooms []int64) []pool.Claim {
	if len(d.req.Spec.Constraints.SameNode) > 0 {
		rooms, _ = d.onNode(devs, rooms)
	}
	for i := range d.needs {
		out = d.claim(out, devs, rooms, &d.needs[i])
	}
	return out
}

func (d *decision) claim(out []pool.Claim, devs []pool.Device, rooms []int64, n *need) []pool.Claim {
	first, end := devicesOf(devs, n.class)
	if first == end || !d.carries(devs, rooms, n) {
		return out
	}
	d.leastLoss(n)
	devs, rooms = devs[first:end], rooms[first:end]
	if n.pieces == nil {
		return d.unitClaims(out, devs, rooms, n)
	}
	from := len(out)
	for i, p := range n.pieces {
		out = append(out, pool.Claim{Device: devs[d.chosen[i]].ID, Class: n.class, Amount: p.size, Disk: max(0, p.disk)})
	}
	slices.SortFunc(out[from:], func(a, b pool.Claim) int { return a.Disk - b.Disk })
	return out
}

// unitClaims takes units from the devices with the least room first, so that large ones stay free.
func (d *decision) unitClaims(out []pool.Claim, devs []pool.Device, rooms []int64, n *need) []pool.Claim {
	d.order = d.order[:0]
	for i := range devs {
		d.order = append(d.order, i)
	}
	slices.SortFunc(d.order, func(a, b int) int { return cmp.Or(cmp.Compare(rooms[a], rooms[b]), a-b) })
	rest := n.amount
	for _, i := range d.order {
		if take := min(rest, units(&devs[i], rooms[i])); take > 0 {
			out = append(out, pool.Claim{Device: devs[i].ID, Class: n.class, Amount: take})
			rest -= take
		}
	}
	return out
}
