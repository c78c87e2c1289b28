package whatif

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strconv"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

const defaultPlacements = 1_000_000

// Ask answers a question about a State, with the scheduler that places there; a nil one is the zero value. It changes
// neither. The State may be an overlay, and must not change meanwhile.
//
// Errors are pool.ErrInvalid, pool.ErrNotFound and pool.ErrOverflow for a question that is wrong, the cause of a context
// that ends, and scheduler.ErrExtension. That something does not fit is no error.
func Ask(ctx context.Context, st *pool.State, s *scheduler.Scheduler, q Question, o Options) (*Answer, error) {
	if err := q.valid(st); err != nil {
		return nil, err
	}
	if s == nil {
		s = new(scheduler.Scheduler)
	}
	work, made := o.Placements, 0
	if work <= 0 {
		work = defaultPlacements
	}
	f := &fork{ctx: ctx, scheduler: s, st: st.Overlay(), index: scheduler.NewIndex(st), work: &work, made: &made}
	if err := f.apply(pool.KindProjectPut, &pool.Project{Name: project}); err != nil {
		return nil, err
	}
	a := &Answer{Revision: st.Head(), Demand: []Outcome{}, HowMany: []HowMany{}}
	growth := f.growth(q.Growth)
	lost, err := f.change(&q)
	if err != nil {
		return nil, err
	}
	displaced, err := f.displaced(lost, f.st.Instances())
	if err != nil {
		return nil, err
	}
	if a.Displaced, a.Untried, err = f.places("", displaced); err != nil {
		return nil, err
	}
	for i := range q.Demand {
		d := &q.Demand[i]
		items := slices.Repeat([]*item{{name: d.Name, request: d.request(st.Time())}}, d.Count)
		out, untried, err := f.places(d.Name, items)
		if err != nil {
			return nil, err
		}
		a.Demand, a.Untried = append(a.Demand, out), a.Untried+untried
	}
	untried := 0
	if a.Growth, untried, err = f.places("", growth); err != nil {
		return nil, err
	}
	a.Untried += untried
	if a.HowMany, err = f.howMany(st, q.HowMany); err != nil {
		return nil, err
	}
	if q.Spare > 0 {
		if a.Spare, err = f.fail(q.Spare, lost); err != nil {
			return nil, err
		}
	}
	a.measure(st, f.st, lost)
	if !a.Fits() {
		if a.Missing, err = f.missing(a, &q, o.Packing); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// howMany counts how many more fit into the books and into the fork.
func (f *fork) howMany(before *pool.State, of []Demand) ([]HowMany, error) {
	out := make([]HowMany, len(of))
	for i := range of {
		if f.ctx.Err() != nil {
			return nil, context.Cause(f.ctx)
		}
		req := of[i].request(before.Time())
		now, err := f.scheduler.HowMany(before, req)
		if err != nil {
			return nil, pool.InField("how_many["+strconv.Itoa(i)+"]", err)
		}
		then, err := f.scheduler.HowMany(f.st, req)
		if err != nil {
			return nil, err
		}
		out[i] = HowMany{Name: of[i].Name, Before: now.Fit, After: then.Fit}
	}
	return out, nil
}

// change makes of the fork's hosts what the question says, and returns those that are lost.
func (f *fork) change(q *Question) (map[pool.HostID]bool, error) {
	for _, a := range q.Add {
		like, _ := f.st.Host(a.Like)
		for range a.Count {
			if err := f.put(f.like(like, a.Zone)); err != nil {
				return nil, err
			}
		}
	}
	lost := make(map[pool.HostID]bool)
	for _, id := range q.Lose {
		lost[id] = true
	}
	for _, h := range f.st.SortedHosts() {
		if slices.Contains(q.LoseZones, h.Zone) {
			lost[h.ID] = true
		}
		if len(q.Ratios) == 0 || h.Aggregate() {
			continue
		}
		if err := f.put(withRatios(h.Host, q.Ratios)); err != nil {
			return nil, err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(lost)) {
		if err := f.lose(id); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// withRatios returns a server with other ratios for the classes that it has.
func withRatios(h pool.Host, ratios map[pool.Class]pool.Ratio) pool.Host {
	h.Inventory, h.Devices = maps.Clone(h.Inventory), slices.Clone(h.Devices)
	for class, r := range ratios {
		if inv, ok := h.Inventory[class]; ok {
			inv.Ratio = r
			h.Inventory[class] = inv
		}
	}
	for i := range h.Devices {
		if r, ok := ratios[h.Devices[i].Class]; ok {
			h.Devices[i].Ratio = r
		}
	}
	return h
}

// displaced returns those of some instances that are on hosts which are lost, the largest first: by the class of which
// they take the largest part of what the pool has. A move from or to such a host has come to nothing.
func (f *fork) displaced(hosts map[pool.HostID]bool, of iter.Seq[*pool.Instance]) ([]*item, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	totals := f.st.Totals()
	type sized struct {
		item
		part float64
	}
	var found []sized
	for _, i := range slices.SortedFunc(of, byID) {
		if !i.Placed() {
			continue
		}
		if i.Move != nil && (hosts[i.Place.Host] || hosts[i.Move.Host]) {
			if err := f.apply(pool.KindStayed, &pool.Stayed{Machine: i.Machine(), Reason: "what if"}); err != nil {
				return nil, err
			}
			f.index.Sync(f.st, i.Move.Host)
			i, _ = f.st.Instance(i.ID)
		}
		if !hosts[i.Place.Host] || i.Want == pool.Absent {
			continue
		}
		spec := i.Spec
		if i.Resize != nil {
			spec = i.Resize.Sizes.Of(spec)
		}
		x := sized{item: item{moves: i, name: i.Name, request: scheduler.Request{
			Spec: spec, Image: i.Image, Avoid: i.Avoid, Project: i.Project, Cluster: i.Cluster, Leaves: i.Place.Host, Now: f.st.Time(),
		}}}
		for c, n := range i.Place.Allocation.Resources {
			if all := totals[c].Capacity; all > 0 {
				x.part = max(x.part, float64(n)/float64(all))
			}
		}
		found = append(found, x)
	}
	slices.SortStableFunc(found, func(a, b sized) int { return cmp.Compare(b.part, a.part) })
	items := make([]*item, len(found))
	for n := range found {
		items[n] = &found[n].item
	}
	return items, nil
}

func byID(a, b *pool.Instance) int { return cmp.Compare(a.ID, b.ID) }

// growth returns copies of instances that are there, as many as the ratio adds, evenly by their ids.
func (f *fork) growth(r pool.Ratio) []*item {
	if r <= 1000 {
		return nil
	}
	var items []*item
	more := int64(r) - 1000
	sum := int64(999) // of which each thousand is a copy; the first is rounded up
	for _, i := range slices.SortedFunc(f.st.Instances(), byID) {
		if !i.Placed() || i.Want == pool.Absent {
			continue
		}
		x := &item{name: i.Name, request: scheduler.Request{
			Spec: i.Spec, Image: i.Image, Project: i.Project, Cluster: i.Cluster, Now: f.st.Time(),
		}}
		for sum += more; sum >= 1000; sum -= 1000 {
			items = append(items, x)
		}
	}
	return items
}

// measure says how full the hosts are, and would be.
func (a *Answer) measure(before, after *pool.State, lost map[pool.HostID]bool) {
	a.Use = make(map[pool.Class]Use)
	for _, h := range after.SortedHosts() {
		f := Fill{Host: h.ID, Zone: h.Zone, Lost: lost[h.ID], Use: make(map[pool.Class]Use)}
		old, known := before.Host(h.ID)
		f.Added = !known
		if known {
			f.Instances = old.Placed
			for c, n := range old.Capacity {
				f.Use[c] = Use{Capacity: n, Used: old.Used[c]}
			}
			for c, n := range old.Used { // of classes too that the host has lost
				f.Use[c] = Use{Capacity: old.Capacity[c], Used: n}
			}
		}
		if !f.Lost {
			f.After = h.Placed
			for _, r := range []pool.Resources{h.Capacity, h.Used} {
				for c := range r {
					u := f.Use[c]
					u.CapacityAfter, u.UsedAfter = h.Capacity[c], h.Used[c]
					f.Use[c] = u
				}
			}
		}
		a.Hosts = append(a.Hosts, f)
		if h.Aggregate() {
			continue
		}
		if f.Part() > 1 {
			a.Overfull++
		}
		for c, u := range f.Use {
			sum := a.Use[c] // State.Totals keeps such sums within an int64
			sum.Capacity, sum.Used = sum.Capacity+u.Capacity, sum.Used+u.Used
			sum.CapacityAfter, sum.UsedAfter = sum.CapacityAfter+u.CapacityAfter, sum.UsedAfter+u.UsedAfter
			a.Use[c] = sum
		}
	}
}
