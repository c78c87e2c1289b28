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
	return h.sumOf(h.Inventory[c], h.Capacity[c], h.Used[c])
}

// sumOf is sum of a class of which that is there and used.
func (h *HostRecord) sumOf(inv Inventory, capacity, used int64) Sum {
	out := Sum{Total: inv.Total, Reserved: inv.Reserved, Capacity: capacity, Used: used}
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

// classSum is what the pool's sum of a class is to be.
type classSum struct {
	class Class
	sum   Sum
}

// totalsAfter appends to changed, which is empty, what the pool's sums are after the changes, of classes of which they are not
// what they were.
func (s *State) totalsAfter(changes []hostChange, changed []classSum) ([]classSum, error) {
	add := func(c Class, before, after Sum) bool {
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
		var c Class
		var ok bool
		if changes[i].booked {
			c, ok = changes[i].eachBooked(add)
		} else {
			c, ok = changes[i].each(add)
		}
		if !ok {
			return nil, &Error{Kind: ErrOverflow, Field: "pool total of " + string(c), Want: "a sum within an int64"}
		}
	}
	return changed, nil
}

func (s *State) setTotals(changed []classSum) {
	for _, c := range changed {
		if c.sum == (Sum{}) {
			s.totals.del(c.class)
		} else {
			s.totals.set(c.class, c.sum)
		}
	}
}

// eachBooked is each for a change of what is booked: all else of both records is the same, and what was used is what is used
// now less what has been booked.
func (c *hostChange) eachBooked(f func(c Class, before, after Sum) bool) (Class, bool) {
	for k := range c.charged {
		for class := range c.charges[k].resources {
			more := int64(0)
			for i := range c.charged {
				n, in := c.charges[i].resources[class]
				if in && i < k {
					more = 0 // which has had its turn
					break
				}
				more += c.charges[i].sign * n
			}
			if more == 0 {
				continue
			}
			inv, capacity, is := c.new.Inventory[class], c.new.Capacity[class], c.new.Used[class]
			if !f(class, c.new.sumOf(inv, capacity, is-more), c.new.sumOf(inv, capacity, is)) {
				return class, false
			}
		}
	}
	return "", true
}

// each calls f once for every class that either record knows, until f returns false.
func (c *hostChange) each(f func(c Class, before, after Sum) bool) (Class, bool) {
	for i, h := range []*HostRecord{c.old, c.new} {
		if h == nil {
			continue
		}
		seen := func(class Class) bool { return i == 1 && c.old != nil && c.old.knows(class) }
		for class := range h.Inventory {
			if !seen(class) && !f(class, c.old.sum(class), c.new.sum(class)) {
				return class, false
			}
		}
		for class := range h.Used {
			if _, listed := h.Inventory[class]; !listed && !seen(class) && !f(class, c.old.sum(class), c.new.sum(class)) {
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
