package main

import (
	"cmp"
	"iter"
	"slices"
)

// event is a VM that comes or goes.
type event struct {
	at    float64 // seconds
	vm    int     // its index
	comes bool
}

// events yields what happens in a trace up to a moment, in order. Who leaves at a moment makes room for who comes then;
// a VM that ends when it comes is left out.
func events(vms []vm, until float64) iter.Seq[event] {
	var ends []int
	for i, v := range vms {
		if v.end >= 0 && v.end <= until && v.end != v.arrive {
			ends = append(ends, i)
		}
	}
	slices.SortStableFunc(ends, func(a, b int) int { return cmp.Compare(vms[a].end, vms[b].end) })
	return func(yield func(event) bool) {
		next := 0
		leave := func(until float64) bool {
			for ; next < len(ends) && vms[ends[next]].end <= until; next++ {
				if !yield(event{vms[ends[next]].end, ends[next], false}) {
					return false
				}
			}
			return true
		}
		for i, v := range vms {
			if v.arrive > until {
				break
			}
			if v.end == v.arrive {
				continue
			}
			if !leave(v.arrive) || !yield(event{v.arrive, i, true}) {
				return
			}
		}
		leave(until)
	}
}

// split divides VMs into those that fit on a host, and counts the others by size.
func split(vms []vm, host size) (fit []vm, large []skipped) {
	counts := make(map[size]int)
	for _, v := range vms {
		if v.size.fits(host) {
			fit = append(fit, v)
		} else {
			counts[v.size]++
		}
	}
	large = []skipped{}
	for s, n := range counts {
		large = append(large, skipped{s.String(), n})
	}
	slices.SortFunc(large, func(a, b skipped) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Size, b.Size)) })
	return fit, large
}
