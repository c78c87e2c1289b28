package pool

// Sum is one class of resource over all hosts.
type Sum struct {
	Total         int64 `json:"total"`         // physically there
	Reserved      int64 `json:"reserved"`      // of that, used by the hosts themselves and by others
	Capacity      int64 `json:"capacity"`      // what allocations may take, over-commit included
	Used          int64 `json:"used"`          // what allocations take
	Free          int64 `json:"free"`          // capacity not taken, on all hosts
	Available     int64 `json:"available"`     // capacity not taken, on hosts that accept instances
	Overcommitted int64 `json:"overcommitted"` // taken beyond total less reserved, summed over hosts
}

// sum returns the host's part in the pool's sums of class c.
func (h *HostRecord) sum(c Class) Sum {
	if h == nil {
		return Sum{}
	}
	inv := h.Inventory[c]
	out := Sum{Total: inv.Total, Reserved: inv.Reserved, Capacity: h.Capacity[c], Used: h.Used[c]}
	out.Free = max(0, out.Capacity-out.Used)
	if h.Conditions.Schedulable() {
		out.Available = out.Free
	}
	out.Overcommitted = max(0, out.Used-max(0, inv.Total-inv.Reserved))
	return out
}

// plus returns a + sign*b, and whether it is within an int64.
func (a Sum) plus(b Sum, sign int64) (Sum, bool) {
	ok := true
	add := func(x, y int64) int64 {
		s, fits := addInt64(x, sign*y)
		ok = ok && fits
		return s
	}
	return Sum{
		Total: add(a.Total, b.Total), Reserved: add(a.Reserved, b.Reserved), Capacity: add(a.Capacity, b.Capacity),
		Used: add(a.Used, b.Used), Free: add(a.Free, b.Free), Available: add(a.Available, b.Available),
		Overcommitted: add(a.Overcommitted, b.Overcommitted),
	}, ok
}

// addTotals brings the pool's sums to what they are after the changes. On an overflow it changes nothing.
func (s *State) addTotals(changes []hostChange) error {
	type classSum struct {
		class Class
		sum   Sum
	}
	var small [12]classSum // classes whose sum changes; more of them are possible, but rare
	changed := small[:0]
	add := func(c Class, old, new *HostRecord) bool {
		before, after := old.sum(c), new.sum(c)
		if before == after {
			return true
		}
		at := 0
		for at < len(changed) && changed[at].class != c {
			at++
		}
		if at == len(changed) {
			sum, _ := s.totals.get(c)
			changed = append(changed, classSum{c, sum})
		}
		sum, ok := changed[at].sum.plus(before, -1)
		if ok {
			changed[at].sum, ok = sum.plus(after, 1)
		}
		return ok
	}
	for i := range changes {
		if c, ok := changes[i].each(add); !ok {
			return &Error{Kind: ErrOverflow, Field: "pool total of " + string(c), Want: "a sum within an int64"}
		}
	}
	for _, c := range changed {
		if c.sum == (Sum{}) {
			s.totals.del(c.class)
		} else {
			s.totals.set(c.class, c.sum)
		}
	}
	return nil
}

// each calls f once for every class that either record knows, until f returns false.
func (c *hostChange) each(f func(c Class, old, new *HostRecord) bool) (Class, bool) {
	for i, h := range []*HostRecord{c.old, c.new} {
		if h == nil {
			continue
		}
		seen := func(class Class) bool { return i == 1 && c.old != nil && c.old.knows(class) }
		for class := range h.Inventory {
			if !seen(class) && !f(class, c.old, c.new) {
				return class, false
			}
		}
		for class := range h.Used {
			if _, listed := h.Inventory[class]; !listed && !seen(class) && !f(class, c.old, c.new) {
				return class, false
			}
		}
	}
	return "", true
}

func (h *HostRecord) knows(c Class) bool {
	_, listed := h.Inventory[c]
	_, used := h.Used[c]
	return listed || used
}
