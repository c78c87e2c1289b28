package whatif

import (
	"errors"
	"maps"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
)

// missing works out how many more hosts it would take.
func (f *fork) missing(a *Answer, q *Question, work int64) (*Missing, error) {
	refused := a.refused()
	buy := q.Buy
	if len(buy) == 0 {
		buy = f.frequent()
	}
	need, err := f.need(refused, buy)
	if err != nil || need == nil {
		return nil, err
	}
	need.Spare = int64(q.Spare)
	c, err := packing.Provide(f.ctx, need, packing.Options{Work: work})
	if err != nil {
		return nil, err
	}
	out := &Missing{Hosts: c.Cost, Least: c.Least, Uncovered: c.Missing, Problem: c.Grown, Plan: c.Plan, Kinds: []MissingKind{}}
	for _, n := range c.Plan.Never {
		out.Never += n.Count
	}
	for n, id := range buy {
		k := MissingKind{Like: id, Hosts: c.Kinds[len(c.Kinds)-len(buy)+n].Total}
		switch alone, unfit, err := f.alone(id, refused); {
		case err == nil:
			k.Alone, k.Unfit = &alone, unfit
		case !errors.Is(err, errWork):
			return nil, err
		}
		out.Kinds = append(out.Kinds, k)
	}
	return out, nil
}

// refused returns all that was refused.
func (a *Answer) refused() []Refused {
	out := append([]Refused(nil), a.Displaced.Refused...)
	for i := range a.Demand {
		out = append(out, a.Demand[i].Refused...)
	}
	return append(out, a.Growth.Refused...)
}

// frequent returns a server of the kind, by capacity and limits, of which most accept instances.
func (f *fork) frequent() []pool.HostID {
	var best *packing.HostKind
	kinds := packing.FromBooks(f.st).Hosts
	for i := range kinds {
		if best == nil || kinds[i].Count > best.Count {
			best = &kinds[i]
		}
	}
	for _, h := range f.st.SortedHosts() {
		if h.Aggregate() || !h.Conditions.Schedulable() {
			continue
		}
		if k := packing.KindOf(&h.Host); k.Capacity.Equal(best.Capacity) && maps.Equal(k.Units, best.Units) {
			return []pool.HostID{h.ID}
		}
	}
	return nil
}

// need is what is to be provided for: what is on servers that accept instances, and what was refused, on these servers,
// which are there, and others like those that could be had. It is nil if there are none like which any could be had.
func (f *fork) need(refused []Refused, buy []pool.HostID) (*packing.Need, error) {
	if len(buy) == 0 {
		return nil, nil
	}
	b := f.branch()
	for i := range f.st.Instances() { // what stays where it is, and what is among the refused
		h, ok := f.st.Host(i.Place.Host)
		if !i.Placed() || !ok || h.Aggregate() || h.Conditions.Schedulable() {
			continue
		}
		if err := b.apply(pool.KindFailed, &pool.Ended{Instance: i.ID}); err != nil {
			return nil, err
		}
	}
	n := &packing.Need{Problem: *packing.FromBooks(b.st)}
	for i := range n.Hosts {
		n.Hosts[i].Owned, n.Hosts[i].Cost = true, 0
	}
	for i := range refused {
		n.Items = append(n.Items, packing.Item{Name: refused[i].Name, Resources: refused[i].Demand, Count: int64(refused[i].Count)})
	}
	for _, id := range buy {
		h, _ := f.st.Host(id)
		k := packing.KindOf(&h.Host)
		k.Name = "like " + string(id)
		n.Hosts = append(n.Hosts, k)
	}
	return n, nil
}

// alone adds hosts like one that is there until all that was refused is placed, and returns how many, and how many
// instances not even an empty one takes.
func (f *fork) alone(id pool.HostID, refused []Refused) (hosts, unfit int, err error) {
	like, _ := f.st.Host(id)
	b := f.branch()
	defer f.cut(b)
	empty := pool.HostID("") // the one that was added last, while nothing is on it
	for i := range refused {
		for n, x := range refused[i].items {
			err := b.place(x)
			var no *scheduler.Refusal
			if errors.As(err, &no) && empty == "" {
				h := b.like(like, "")
				if err = b.put(h); err != nil {
					return 0, 0, err
				}
				hosts, empty = hosts+1, h.ID
				err = b.place(x)
			}
			if errors.As(err, &no) { // nor would it take any other that asks for the same
				unfit += len(refused[i].items) - n
				break
			}
			if err != nil {
				return 0, 0, err
			}
			if h, ok := b.st.Host(empty); ok && h.Placed > 0 {
				empty = ""
			}
		}
	}
	if empty != "" {
		hosts--
	}
	return hosts, unfit, nil
}
