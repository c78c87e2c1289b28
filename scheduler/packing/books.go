package packing

import (
	"fmt"
	"maps"
	"slices"

	"github.com/berthage/berthage/pool"
)

// FromBooks returns the problem that a pool is today: as items what its instances hold on servers, as kinds of
// host its servers that accept instances, by capacity and limits of units, as many as there are, at a cost of 1
// each. Planned as it is, it tells how few of them could carry the load. For capacity planning make the kinds
// Owned and add others that could be bought.
//
// Left out are aggregates with what is on them, since these place by themselves, and allocations that are held
// for machines that might still exist. Names are amounts in words. The order depends on the amounts only.
func FromBooks(st *pool.State) *Problem {
	sizes, servers := make(tally), make(tally)
	for h := range st.Hosts() {
		if !h.Aggregate() && h.Conditions.Schedulable() {
			servers.add(h.Capacity, unitsOf(&h.Host))
		}
	}
	for i := range st.Instances() {
		if !i.Placed() {
			continue
		}
		if h, ok := st.Host(i.Place.Host); ok && !h.Aggregate() {
			sizes.add(i.Place.Allocation.Resources, nil)
		}
	}
	p := &Problem{}
	for s := range sizes.all {
		p.Items = append(p.Items, Item{Name: s.of.String(), Resources: s.of, Count: s.n})
	}
	for s := range servers.all {
		p.Hosts = append(p.Hosts, HostKind{Name: s.of.String(), Capacity: s.of, Units: s.units, Count: s.n})
	}
	return p
}

// KindOf returns the kind of a host: its capacity and its limits of units.
func KindOf(h *pool.Host) HostKind {
	capacity := h.Capacity()
	return HostKind{Name: capacity.String(), Capacity: capacity, Units: unitsOf(h)}
}

// unitsOf returns a host's limits of units, nil if it has none.
func unitsOf(h *pool.Host) map[pool.Class]Units {
	var out map[pool.Class]Units
	for c, inv := range h.Inventory {
		if u := (Units{Min: inv.MinUnit, Max: inv.MaxUnit, Step: inv.StepSize}); u != (Units{}) {
			if out == nil {
				out = make(map[pool.Class]Units)
			}
			out[c] = u
		}
	}
	return out
}

// tally counts equal amounts, by their key.
type tally map[string]*counted

type counted struct {
	of    pool.Resources
	units map[pool.Class]Units
	n     int64
}

func (t tally) add(r pool.Resources, units map[pool.Class]Units) {
	var room [128]byte
	key := appendKey(room[:0], r)
	for _, c := range slices.Sorted(maps.Keys(units)) {
		u := units[c]
		key = fmt.Appendf(key, "%s %d %d %d ", c, u.Min, u.Max, u.Step)
	}
	c := t[string(key)]
	if c == nil {
		c = &counted{of: r.Clone(), units: units}
		t[string(key)] = c
	}
	c.n++
}

// all yields them in the order of their keys.
func (t tally) all(yield func(*counted) bool) {
	for _, key := range slices.Sorted(maps.Keys(t)) {
		if !yield(t[key]) {
			return
		}
	}
}
