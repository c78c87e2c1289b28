package scheduler

import (
	"slices"

	"github.com/berthage/berthage/pool"
)

// off is the room of a device that is not to be used.
const off = -1

// sameNode reports whether a class's devices must be of one NUMA node.
func (d *decision) sameNode(c pool.Class) bool {
	return slices.Contains(d.req.Spec.Constraints.SameNode, c)
}

// onNode returns the rooms that are left when of the classes of Constraints.SameNode only the devices of one NUMA node are used:
// of the nodes that carry all that is asked of these classes, the one that has least room of the first of them, so that large ones
// stay free; of equal ones the first by name. It is false if no node does: a host that does not say which devices are of which node
// promises nothing. The rooms are good until the next call.
func (d *decision) onNode(devs []pool.Device, rooms []int64) ([]int64, bool) {
	var leading pool.Class // the first class that is asked for
	for _, c := range d.req.Spec.Constraints.SameNode {
		if d.demand[c] > 0 {
			leading = c
			break
		}
	}
	if leading == "" {
		return rooms, true
	}
	best, least := "", int64(-1)
	first, end := devicesOf(devs, leading)
	for i := first; i < end; i++ {
		node := devs[i].Node
		if node == "" || slices.ContainsFunc(devs[first:i], func(o pool.Device) bool { return o.Node == node }) {
			continue
		}
		room := int64(0)
		for k := i; k < end; k++ {
			if devs[k].Node == node {
				room += max(0, rooms[k])
			}
		}
		if (least < 0 || room < least || room == least && node < best) && d.carriesOn(devs, rooms, node) {
			best, least = node, room
		}
	}
	if least < 0 {
		return rooms, false
	}
	return d.narrow(devs, rooms, best), true
}

// carriesOn reports whether one node's devices carry what is asked of the classes of Constraints.SameNode.
func (d *decision) carriesOn(devs []pool.Device, rooms []int64, node string) bool {
	rooms = d.narrow(devs, rooms, node)
	for i := range d.needs {
		n := &d.needs[i]
		if d.sameNode(n.class) && !(n.divided(devs) && d.carries(devs, rooms, n)) {
			return false
		}
	}
	return true
}

// narrow returns the rooms without the devices that are of another node, where that matters.
func (d *decision) narrow(devs []pool.Device, rooms []int64, node string) []int64 {
	d.node = append(d.node[:0], rooms...)
	for i := range devs {
		if devs[i].Node != node && d.sameNode(devs[i].Class) {
			d.node[i] = off
		}
	}
	return d.node
}
