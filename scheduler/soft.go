package scheduler

import "github.com/berthage/berthage/pool"

// unmetCosts is what a soft constraint that is not met takes from a score: as much as all else can give, so that hosts that meet
// more of them come first, and the built-in score decides among equals.
const unmetCosts = 2

// unmet returns how many soft constraints a host does not meet.
func (d *decision) unmet(h *pool.HostRecord) int {
	n := 0
	for _, t := range h.Taints {
		if t.Effect == pool.PreferNoSchedule && !d.tolerates(t) {
			n++
		}
	}
	return n
}

// dues returns what a host's score loses by what is preferred, zero or more.
func (d *decision) dues(h *pool.HostRecord) float64 {
	return float64(unmetCosts * float64(d.unmet(h)))
}

// prefers reports whether dues may be anything but zero for a host with any of these taints.
func (d *decision) prefers(sets []taintSet) bool {
	for i := range sets {
		for _, t := range sets[i].taints {
			if t.Effect == pool.PreferNoSchedule && !d.tolerates(t) {
				return true
			}
		}
	}
	return false
}
