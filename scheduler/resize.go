package scheduler

import (
	"maps"
	"slices"

	"github.com/berthage/berthage/pool"
)

// Resize returns what an instance that holds old on a host takes there with the sizes of spec, its disks on the
// devices that they are on; spec may have more disks at its end, or fewer. Whether the host accepts instances, and its labels and the like, are not asked: the
// instance is there already. It changes nothing.
//
// The error is that of Place: a *Refusal, about this one host, when there is no room.
func (s *Scheduler) Resize(h *pool.HostRecord, old pool.Allocation, spec pool.Spec) (pool.Allocation, error) {
	without := *h
	without.Full = nil // whether it has room for one that it has already the aggregate says itself
	var err error
	if without.Used, err = h.Used.Sub(old.Resources); err != nil {
		return pool.Allocation{}, err
	}
	if without.DeviceUsed = maps.Clone(h.DeviceUsed); without.DeviceUsed == nil {
		without.DeviceUsed = make(map[string]int64)
	}
	for _, c := range old.Claims {
		without.DeviceUsed[c.Device] -= c.Amount
	}
	same := spec.Constraints.SameNode
	spec.Constraints.SameNode = nil // until devices are asked
	d, err := s.decide(Request{Spec: spec})
	if err != nil {
		return pool.Allocation{}, err
	}
	bare := without
	bare.Devices = nil
	f := d.fits(&bare, asItIs)
	d.req.Spec.Constraints.SameNode = same
	if f.by == "" {
		out := d.amounts()
		if d.shape == nil {
			out.Claims, f = d.keep(&without, old.Claims)
		}
		if f.by == "" {
			return out, nil
		}
	}
	r := d.reason(&without, f)
	return pool.Allocation{}, &Refusal{Explanation{
		Demand: d.demand, Hosts: []Verdict{{Host: h.ID, Reason: &r}}, Counts: []Count{{Constraint: r.Constraint, Class: r.Class, Hosts: 1}},
	}}
}

// keep gives each disk, with its new size, the device that it is on, new disks any that has room, and units the device that
// they are of. A class that the instance had nothing of is divided anew, on the NUMA node that it is on if its Constraints say so.
func (d *decision) keep(h *pool.HostRecord, old []pool.Claim) ([]pool.Claim, failure) {
	var out []pool.Claim
	rooms := d.roomsOf(h, asItIs)
	if len(d.req.Spec.Constraints.SameNode) > 0 {
		on := slices.IndexFunc(old, func(c pool.Claim) bool { return d.sameNode(c.Class) && h.Device(c.Device) != nil })
		ok := !slices.ContainsFunc(d.needs, func(n need) bool { return d.sameNode(n.class) && !n.divided(h.Devices) })
		switch {
		case ok && on >= 0:
			rooms = d.narrow(h.Devices, rooms, h.Device(old[on].Device).Node)
		case ok:
			rooms, ok = d.onNode(h.Devices, rooms)
		}
		if !ok {
			return nil, failure{by: ByNode}
		}
	}
	for i := range d.needs {
		n := &d.needs[i]
		first, end := devicesOf(h.Devices, n.class)
		had := slices.DeleteFunc(slices.Clone(old), func(c pool.Claim) bool { return c.Class != n.class })
		switch {
		case first == end:
			continue
		case len(had) == 0 || sum(had) != n.amount && !n.kept(had):
			if !d.carries(h.Devices, rooms, n) {
				return nil, failure{by: ByDevice, index: i}
			}
			out = d.claim(out, h.Devices, rooms, n)
			continue
		}
		var ok bool
		if out, ok = n.stay(out, h.Devices[first:end], slices.Clone(rooms[first:end]), had); !ok {
			return nil, failure{by: ByDevice, index: i}
		}
	}
	return out, failure{}
}

// stay appends to out the claims of what stays on its device, with its new size, and those of the disks that are new; room is
// what each device has left without the instance.
func (n *need) stay(out []pool.Claim, devs []pool.Device, room []int64, had []pool.Claim) ([]pool.Claim, bool) {
	fresh := slices.DeleteFunc(slices.Clone(n.pieces), func(p piece) bool {
		return p.disk < 0 || slices.ContainsFunc(had, func(c pool.Claim) bool { return c.Disk == p.disk })
	})
	from := len(out)
	for _, c := range had {
		mine := slices.IndexFunc(n.pieces, func(p piece) bool { return p.disk == c.Disk || p.disk < 0 && len(n.pieces) == 1 && len(had) == 1 })
		switch {
		case mine >= 0:
			c.Amount = n.pieces[mine].size
		case len(n.pieces) > 0 && n.pieces[0].disk >= 0:
			continue // the disk is given up
		}
		on := slices.IndexFunc(devs, func(d pool.Device) bool { return d.ID == c.Device })
		if on < 0 || room[on] < c.Amount {
			return out, false
		}
		room[on] -= c.Amount
		if n.apart {
			room[on] = -1
		}
		out = append(out, c)
	}
	chosen, steps := make([]int, len(fresh)), maxSteps
	if !assign(fresh, n.apart, room, chosen, &steps) {
		return out, false
	}
	for k, p := range fresh {
		out = append(out, pool.Claim{Device: devs[chosen[k]].ID, Class: n.class, Amount: p.size, Disk: p.disk})
	}
	slices.SortStableFunc(out[from:], func(a, b pool.Claim) int { return a.Disk - b.Disk })
	return out, true
}

// kept reports whether what is needed are the pieces that were claimed, with other sizes: the disks, or one piece.
func (n *need) kept(had []pool.Claim) bool {
	return len(n.pieces) > 0 && (n.pieces[0].disk >= 0 || len(n.pieces) == 1 && len(had) == 1)
}

func sum(claims []pool.Claim) int64 {
	total := int64(0)
	for _, c := range claims {
		total += c.Amount
	}
	return total
}
