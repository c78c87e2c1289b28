package scheduler

import (
	"math"

	"github.com/berthage/berthage/pool"
)

// smallestShape returns the smallest of an aggregate's shapes that covers the demand, or nil.
//
// Of a class that any of the aggregate's shapes has, a shape must have at least what is asked; classes that
// none of them has (volumes apart from the server, say) are booked beside the shape as they are asked. The
// smallest is the one that takes the least part of the aggregate's capacity, summed over its classes; equal
// ones go by name.
func smallestShape(h *pool.HostRecord, demand pool.Resources) *pool.Shape {
	var best *pool.Shape
	least := math.Inf(1)
	for i := range h.Shapes {
		s := &h.Shapes[i]
		if !covers(h, s, demand) {
			continue
		}
		if n := part(h, s); best == nil || n < least || n == least && s.Name < best.Name {
			best, least = s, n
		}
	}
	return best
}

func covers(h *pool.HostRecord, s *pool.Shape, demand pool.Resources) bool {
	for c, n := range demand {
		if n > s.Resources[c] && sold(h, c) {
			return false
		}
	}
	return true
}

// sold reports whether any of the aggregate's shapes has that class.
func sold(h *pool.HostRecord, c pool.Class) bool {
	for i := range h.Shapes {
		if h.Shapes[i].Resources[c] > 0 {
			return true
		}
	}
	return false
}

// part returns the part of the aggregate's capacity that a shape takes, summed over classes. The sum is made
// in the order of classes, so that it is the same on every machine.
func part(h *pool.HostRecord, s *pool.Shape) float64 {
	sum := 0.0
	for _, c := range s.Resources.Classes() {
		sum += float64(s.Resources[c]) / float64(h.Capacity[c]) // infinite where there is no capacity
	}
	return sum
}

// needsOf returns what the request takes of an aggregate as that shape, by class.
func (d *decision) needsOf(h *pool.HostRecord, s *pool.Shape) []need {
	all := s.Resources.Clone()
	for c, n := range d.demand {
		if !sold(h, c) {
			all[c] = n
		}
	}
	d.shaped = d.shaped[:0]
	for _, c := range all.Classes() {
		d.shaped = append(d.shaped, need{class: c, amount: all[c]})
	}
	return d.shaped
}
