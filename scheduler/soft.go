package scheduler

import "github.com/berthage/berthage/pool"

// unmetCosts is what a soft constraint that is not met takes from a score: as much as all else can give, so that hosts that meet
// more of them come first, and the built-in score decides among equals.
const unmetCosts = 2

// unmet returns how many soft constraints a host does not meet, and of rules about other instances by how many instances.
func (d *decision) unmet(h *pool.HostRecord) int {
	n := 0
	for _, t := range h.Taints {
		if t.Effect == pool.PreferNoSchedule && !d.tolerates(t) {
			n++
		}
	}
	for i := range d.rules {
		if r := &d.rules[i]; r.soft {
			n += r.breaks(h, asItIs)
		}
	}
	return n
}

// unmetReasons says which these are.
func (d *decision) unmetReasons(h *pool.HostRecord) []Reason {
	var out []Reason
	for i, t := range h.Taints {
		if t.Effect == pool.PreferNoSchedule && !d.tolerates(t) {
			out = append(out, Reason{Constraint: ByTaint, Taint: &h.Taints[i]})
		}
	}
	for i := range d.rules {
		if r := &d.rules[i]; r.soft && r.breaks(h, asItIs) > 0 {
			out = append(out, Reason{Constraint: r.by, Rule: r.told(h)})
		}
	}
	return out
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
