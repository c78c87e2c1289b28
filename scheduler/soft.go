package scheduler

import (
	"fmt"
	"maps"
	"math"
	"sync"

	"github.com/berthage/berthage/pool"
)

// unmetCosts is what a soft constraint that is not met takes from a score: as much as all else can give, so that hosts that meet
// more of them come first, and the built-in score decides among equals.
const unmetCosts = 2

// currency is a whole unit of what Host.Cost counts in millionths.
const currency = 1e6

// Loads is what is measured of hosts: how busy they are, as a part of what they have, whatever is booked. The zero value
// knows of none. It is safe for concurrent use.
type Loads struct {
	mu sync.RWMutex
	of map[pool.HostID]float64
}

// Set records what was measured of some hosts; the others stay as they are. A load below zero, or that is no number,
// makes the host one of which nothing is known.
func (l *Loads) Set(loads map[pool.HostID]float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := maps.Clone(l.of) // decisions that have begun go on with what they have
	if next == nil {
		next = make(map[pool.HostID]float64, len(loads))
	}
	for id, n := range loads {
		if n >= 0 {
			next[id] = n
		} else {
			delete(next, id)
		}
	}
	l.of = next
}

// now returns what is known at this moment, which is not changed any more.
func (l *Loads) now() map[pool.HostID]float64 {
	if l == nil {
		return nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.of
}

// checkWeights reports, as an error, a weight that is no amount.
func (s *Scheduler) checkWeights() error {
	for i, w := range [...]float64{s.CostWeight, s.LoadWeight} {
		if !(w >= 0) || math.IsInf(w, 0) {
			return &pool.Error{Kind: pool.ErrInvalid, Field: [...]string{"CostWeight", "LoadWeight"}[i], Value: fmt.Sprint(w), Want: "zero or more"}
		}
	}
	return nil
}

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
	sum := float64(unmetCosts * float64(d.unmet(h)))
	if w := d.scheduler.CostWeight; w > 0 {
		sum += float64(w * (float64(h.Cost) / currency))
	}
	if w := d.scheduler.LoadWeight; w > 0 {
		sum += float64(w * d.loads[h.ID])
	}
	return sum
}

// prefers reports whether dues may be anything but zero for a host with any of these taints.
func (d *decision) prefers(sets []taintSet) bool {
	if d.scheduler.CostWeight > 0 || d.scheduler.LoadWeight > 0 && len(d.loads) > 0 {
		return true
	}
	for i := range d.rules {
		if d.rules[i].soft {
			return true
		}
	}
	for i := range sets {
		for _, t := range sets[i].taints {
			if t.Effect == pool.PreferNoSchedule && !d.tolerates(t) {
				return true
			}
		}
	}
	return false
}
