package scheduler

import (
	"slices"

	"github.com/berthage/berthage/pool"
)

// maxSteps bounds the search for devices for the disks of one instance on one host. A search that ends
// there counts as "does not fit"; only requests for many disks of awkward sizes on nearly full devices come
// that far.
const maxSteps = 1024

// devicesOf returns the host's devices of a class, which pool.Host.Normalize has sorted by class and id.
func devicesOf(h *pool.HostRecord, c pool.Class) []pool.Device {
	first := 0
	for first < len(h.Devices) && h.Devices[first].Class != c {
		first++
	}
	end := first
	for end < len(h.Devices) && h.Devices[end].Class == c {
		end++
	}
	return h.Devices[first:end]
}

// roomOn returns the free capacity of a device; below zero where it has shrunk under its load.
func roomOn(h *pool.HostRecord, dev *pool.Device, v view) int64 {
	if v == asEmpty {
		return dev.Capacity()
	}
	return dev.Capacity() - h.DeviceUsed[dev.ID]
}

// units returns how many whole units one instance can have of a device with that room: no more than are
// physically there, however far the device is over-committed, since two units of one instance must be two
// things.
func units(dev *pool.Device, room int64) int64 {
	return max(0, min(room, dev.Total-dev.Reserved))
}

// fitsDevices reports whether the devices of the class can carry n, and leaves in chosen the device of
// each piece. A class without devices carries everything.
func (d *decision) fitsDevices(h *pool.HostRecord, n *need, v view) bool {
	devs := devicesOf(h, n.class)
	if len(devs) == 0 {
		return true
	}
	if n.pieces == nil {
		rest := n.amount
		for i := range devs {
			rest -= min(rest, units(&devs[i], roomOn(h, &devs[i], v)))
		}
		return rest == 0
	}
	d.room = d.room[:0]
	for i := range devs {
		d.room = append(d.room, roomOn(h, &devs[i], v))
	}
	d.chosen = slices.Grow(d.chosen[:0], len(n.pieces))[:len(n.pieces)]
	steps := maxSteps
	return assign(n.pieces, d.room, d.chosen, &steps)
}

// assign gives each piece, largest first, the fullest device that has room for it, and looks for another
// way where that leads nowhere. chosen receives the index of each piece's device, room is what is left.
// On failure room is as it was.
func assign(pieces []piece, room []int64, chosen []int, steps *int) bool {
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
		chosen[0] = best
		if assign(pieces[1:], room, chosen[1:], steps) {
			return true
		}
		room[best] += size
	}
	return false
}

// claims returns which devices carry n on a host that has qualified, disks in order.
func (d *decision) claims(h *pool.HostRecord, n *need) []pool.Claim {
	devs := devicesOf(h, n.class)
	if len(devs) == 0 || !d.fitsDevices(h, n, asItIs) {
		return nil
	}
	if n.pieces == nil {
		return unitClaims(h, n, devs)
	}
	out := make([]pool.Claim, len(n.pieces))
	for i, p := range n.pieces {
		out[i] = pool.Claim{Device: devs[d.chosen[i]].ID, Class: n.class, Amount: p.size, Disk: max(0, p.disk)}
	}
	slices.SortFunc(out, func(a, b pool.Claim) int { return a.Disk - b.Disk })
	return out
}

// unitClaims takes units from the devices with the least room first, so that large ones stay free.
func unitClaims(h *pool.HostRecord, n *need, devs []pool.Device) []pool.Claim {
	order := make([]*pool.Device, len(devs))
	for i := range devs {
		order[i] = &devs[i]
	}
	slices.SortStableFunc(order, func(a, b *pool.Device) int {
		switch x, y := roomOn(h, a, asItIs), roomOn(h, b, asItIs); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	var out []pool.Claim
	rest := n.amount
	for _, dev := range order {
		if take := min(rest, units(dev, roomOn(h, dev, asItIs))); take > 0 {
			out = append(out, pool.Claim{Device: dev.ID, Class: n.class, Amount: take})
			rest -= take
		}
	}
	return out
}
