package whatif

import (
	"cmp"
	"maps"
	"slices"

	"github.com/berthage/berthage/pool"
)

// fail lets sets of k servers fail, each on the fork as it is.
func (f *fork) fail(k int, lost map[pool.HostID]bool) (*Spare, error) {
	type used struct {
		id   pool.HostID
		part float64
	}
	var hosts []used
	for _, h := range f.st.SortedHosts() {
		if h.Aggregate() || lost[h.ID] {
			continue
		}
		x := used{id: h.ID}
		for c, n := range h.Used {
			if all := f.st.Total(c).Capacity; all > 0 {
				x.part = max(x.part, float64(n)/float64(all))
			}
		}
		hosts = append(hosts, x)
	}
	out := &Spare{Hosts: k, Sets: len(hosts), Displaced: Outcome{Refused: []Refused{}}}
	if k >= len(hosts) {
		k, out.Sets = len(hosts), min(1, len(hosts)) // there is one such set only
	}
	slices.SortStableFunc(hosts, func(a, b used) int { return cmp.Compare(b.part, a.part) })
	on := make(map[pool.HostID][]*pool.Instance)
	for i := range f.st.Instances() {
		if i.Placed() {
			on[i.Place.Host] = append(on[i.Place.Host], i)
			if i.Move != nil {
				on[i.Move.Host] = append(on[i.Move.Host], i)
			}
		}
	}
	worst := 0
	for n := range out.Sets {
		set := map[pool.HostID]bool{hosts[n].id: true}
		for at := 0; len(set) < k; at++ {
			set[hosts[at].id] = true
		}
		got, untried, err := f.without(set, on)
		switch {
		case err != nil:
			return nil, err
		case untried > 0:
			out.Untried++
		case got.Placed == got.Asked:
			out.Survived++
		case got.Asked-got.Placed > worst:
			worst = got.Asked - got.Placed
			out.Worst, out.Displaced = slices.Sorted(maps.Keys(set)), got
		}
	}
	return out, nil
}

// without places what is on a set of hosts elsewhere, on a branch that is thrown away.
func (f *fork) without(set map[pool.HostID]bool, on map[pool.HostID][]*pool.Instance) (Outcome, int, error) {
	b := f.branch()
	defer f.cut(b)
	var there []*pool.Instance
	for id := range set {
		if err := b.lose(id); err != nil {
			return Outcome{}, 0, err
		}
		there = append(there, on[id]...)
	}
	slices.SortFunc(there, byID)
	items, err := b.displaced(set, slices.Values(slices.Compact(there)))
	if err != nil {
		return Outcome{}, 0, err
	}
	return b.places("", items)
}
