package scheduler

import (
	"slices"

	"github.com/berthage/berthage/pool"
)

// Ask is a request made ready to be placed many times on one Index: for the members of a cluster, in a simulation, in
// a plan. It remembers what the importer's filters and scores have said of each host until the host changes. Like an
// Index it is for one goroutine at a time, and its Scheduler must not change.
type Ask struct {
	decision
	resources pool.Resources // what it takes where there are no shapes
	of        *Index         // that memory is of
}

// remembered is what the importer's functions have said of a host as it was.
type remembered struct {
	version  uint64
	filtered bool
	refused  failure   // by a filter
	own      []float64 // of the importer's scores, as many as have been asked
}

// Ask prepares a request. A malformed one is refused as Place refuses it.
func (s *Scheduler) Ask(req Request) (*Ask, error) {
	d, err := s.decide(req)
	if err != nil {
		return nil, err
	}
	return &Ask{decision: *d, resources: d.demand.Clone()}, nil
}

// PlaceOn is Place on the hosts of an index, of a request that Request.In has made ready if its spec's rules name instances: the same host, with the same score, and the same errors. It books
// nothing. Considered and Qualified count what the search had to look at. An index knows no time: where Request.Now is
// zero, a shape that an aggregate has ever refused counts as full. Requests that are alike may get the same Resources, which
// must not be changed.
func (s *Scheduler) PlaceOn(ix *Index, req Request) (Decision, error) {
	d, err := ix.prepared(s, &req)
	if err != nil {
		return Decision{}, err
	}
	var out Decision
	ok, err := ix.choose(d, &out)
	switch {
	case err != nil:
		return Decision{}, err
	case !ok:
		return Decision{}, d.refuse(ix.records(), ix.Len())
	}
	if out.Allocation.Resources == nil {
		out.Allocation.Resources = d.demand
	}
	return out, nil
}

// Explain is Scheduler.Explain on the hosts of the index.
func (ix *Index) Explain(a *Ask) (Explanation, error) {
	a.now = nil
	a.follow(ix.sums)
	a.censusOf(ix)
	a.learn(ix.learnt)
	return a.explain(ix.records(), ix.Len())
}

// Choose finds the best host for a request and writes it, and what is taken there, over what out holds; the space of
// its claims is used again. It books nothing, and once out is large enough it allocates nothing, unless the host is
// an aggregate. The Resources of out are the request's own and must not be changed.
//
// If no host qualifies the error is pool.ErrNoRoom itself; Explain says why.
func (ix *Index) Choose(a *Ask, out *Decision) error {
	if len(a.scheduler.Filters)+len(a.scheduler.Scores) > 0 {
		a.remember(ix)
	}
	ok, err := ix.choose(&a.decision, out)
	if err == nil && !ok {
		err = pool.ErrNoRoom
	}
	if err == nil && out.Allocation.Resources == nil {
		out.Allocation.Resources = a.resources
	}
	return err
}

// choose is Choose but for the Resources, which it leaves nil unless the host is an aggregate.
func (ix *Index) choose(d *decision, out *Decision) (bool, error) {
	s := &ix.search
	d.follow(ix.sums)
	d.censusOf(ix)
	d.learn(ix.learnt)
	if err := s.run(ix, d); err != nil {
		return false, err
	}
	d.now = nil
	claims := out.Allocation.Claims[:0]
	*out = Decision{Score: s.score, Considered: s.considered, Qualified: s.qualified}
	if s.best < 0 {
		return false, nil
	}
	d.hints[0] = s.best + 1
	e := &ix.entries[s.best]
	out.Host = e.rec.ID
	if e.block == nil {
		out.Allocation = d.allocate(ix.record(s.best))
		return true, nil
	}
	d.needs, d.shape = d.asked, nil
	if d.fgd.choosing = d.loses(e.rec); d.fgd.choosing {
		ix.see(d, e)
	}
	out.Allocation.Claims = d.claims(claims, e.rec.Devices, e.rooms)
	return true, nil
}

// Book takes an allocation from a host, as an instance that is placed there does, and Free gives it back. They change
// the index alone and not the books; a later Update overrules them. They allocate nothing, unless the host is an
// aggregate. Whether there is room is not asked.
//
// A host that is not there is pool.ErrNotFound, a negative amount or one that nobody has taken pool.ErrInvalid, an
// amount beyond an int64 pool.ErrOverflow; nothing is changed then.
func (ix *Index) Book(host pool.HostID, a *pool.Allocation) error { return ix.change(host, a, 1) }

// Free gives back what Book has taken.
func (ix *Index) Free(host pool.HostID, a *pool.Allocation) error { return ix.change(host, a, -1) }

func (ix *Index) change(host pool.HostID, a *pool.Allocation, sign int64) error {
	slot, ok := ix.ids[host]
	if !ok {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(host)}
	}
	e := &ix.entries[slot]
	if err := ix.allows(e, a, sign); err != nil {
		return pool.InField("host "+pool.Quote(string(host)), err)
	}
	for i := range a.Claims {
		e.rooms[deviceOf(e.rec.Devices, a.Claims[i].Device)] -= sign * a.Claims[i].Amount
	}
	e.placed += int32(sign)
	e.ahead = true
	ix.gpu.count(e, a.Resources, int(sign))
	ix.touch(e)
	if e.block == nil {
		h := *e.rec
		h.Used = ix.usedWith(e, a, sign)
		ix.settle(&h, e)
		ix.Update(&h)
		return nil
	}
	ix.count(slot, -1)
	l := &ix.line
	e.block.read(int(e.at), l)
	for _, n := range ix.booked {
		l.free[n.column] -= sign * n.n
	}
	used := e.placed > 0
	for c := range l.free {
		used = used || l.free[c] != l.capacity[c]
	}
	l.use(used)
	if len(a.Claims) > 0 {
		ix.whole(l, e)
	}
	ix.sum(l)
	ix.move(slot, l)
	ix.count(slot, 1)
	return nil
}

// allows reports, as an error, why a change cannot be made, and leaves its amounts in booked.
func (ix *Index) allows(e *entry, a *pool.Allocation, sign int64) error {
	bad := func(field, value, want string) error {
		return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
	}
	if sign < 0 && e.placed == 0 {
		return bad("placed", "0", "a host on which something is placed")
	}
	ix.booked = ix.booked[:0]
	for class, n := range a.Resources {
		c := ix.column(class)
		var used int64
		if e.block != nil {
			used = at(e.block.capacity, c, int(e.at), 0) - at(e.block.free, c, int(e.at), 0)
		} else {
			used = e.rec.Used[class]
		}
		ix.booked = append(ix.booked, amount{c, n})
		switch {
		case n < 0 || sign < 0 && n > used:
			return bad(pool.Quote(string(class)), class.Format(n), "an amount of zero or more, and no more than is taken")
		case sign > 0 && used+n < used:
			return &pool.Error{Kind: pool.ErrOverflow, Field: pool.Quote(string(class)), Want: "a sum within an int64"}
		}
	}
	for i := range a.Claims {
		d, n := deviceOf(e.rec.Devices, a.Claims[i].Device), a.Claims[i].Amount
		switch {
		case d < 0:
			return bad("device", a.Claims[i].Device, "a device of the host")
		case n < 0 || sign < 0 && n > e.rec.Devices[d].Capacity()-e.rooms[d]:
			return bad("device", a.Claims[i].Device, "an amount of zero or more, and no more than is taken")
		}
	}
	return nil
}

func deviceOf(devs []pool.Device, id string) int {
	for i := range devs {
		if devs[i].ID == id {
			return i
		}
	}
	return -1
}

// usedWith returns what is used on an aggregate after a change that allows accepts.
func (ix *Index) usedWith(e *entry, a *pool.Allocation, sign int64) pool.Resources {
	used := e.rec.Used.Clone()
	for class, n := range a.Resources {
		if used[class] += sign * n; used[class] == 0 {
			delete(used, class)
		}
	}
	return used
}

// record returns the record of a host as the index has it.
func (ix *Index) record(slot int32) *pool.HostRecord {
	e := &ix.entries[slot]
	if !e.ahead {
		return e.rec
	}
	h := *e.rec
	h.Used = make(pool.Resources)
	for class, c := range ix.columns {
		if n := at(e.block.capacity, c, int(e.at), 0) - at(e.block.free, c, int(e.at), 0); n != 0 {
			h.Used[class] = n
		}
	}
	ix.settle(&h, e)
	e.rec, e.ahead = &h, false
	return e.rec
}

// settle sets what else Book and Free change in a record.
func (ix *Index) settle(h *pool.HostRecord, e *entry) {
	h.Placed = int(e.placed)
	h.GPULoads = slices.Clone(ix.gpu.loads(e))
	h.DeviceUsed = make(map[string]int64)
	for i := range h.Devices {
		if n := h.Devices[i].Capacity() - e.rooms[i]; n != 0 {
			h.DeviceUsed[h.Devices[i].ID] = n
		}
	}
}

// remember makes what is remembered that of an index.
func (a *Ask) remember(ix *Index) {
	if a.of != ix {
		a.of, a.memory = ix, nil
	}
	for len(a.memory) < len(ix.entries) {
		a.memory = append(a.memory, remembered{})
	}
}

// turn makes what is remembered of a host what passes and own go by.
func (d *decision) turn(slot int32, version uint64) {
	d.now = nil
	if int(slot) < len(d.memory) {
		d.now = &d.memory[slot]
		if d.now.version != version {
			*d.now = remembered{version: version, own: d.now.own[:0]}
		}
	}
}
