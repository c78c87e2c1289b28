package pool

import "maps"

func (s *State) putHost(h Host, at Revision) error {
	h, err := h.Normalize()
	if err != nil {
		return err
	}
	old, _ := s.hosts.get(h.ID)
	n := HostRecord{Host: h, Capacity: h.Capacity(), Changed: at}
	if old != nil {
		n.Used, n.DeviceUsed, n.Placed, n.Reason = old.Used, old.DeviceUsed, old.Placed, old.Reason
	}
	if err := s.setHost(old, &n); err != nil {
		return err
	}
	s.removed.del(h.ID)
	return nil
}

// setHost replaces a host's record, either of which may be nil, and keeps the totals.
func (s *State) setHost(old, new *HostRecord) error {
	if new == nil && (old.Placed > 0 || len(old.Used) > 0) {
		return &Error{Kind: ErrInUse, Field: "host", Value: string(old.ID), Want: "no instances on it"}
	}
	changed := make(map[Class]Sum)
	for _, h := range []*HostRecord{old, new} {
		if h == nil {
			continue
		}
		for c := range h.Inventory {
			if _, ok := changed[c]; !ok {
				changed[c] = s.totals[c]
			}
		}
		for c := range h.Used {
			if _, ok := changed[c]; !ok {
				changed[c] = s.totals[c]
			}
		}
	}
	for c, sum := range changed {
		var before, after Sum
		if old != nil {
			before = old.sum(c)
		}
		if new != nil {
			after = new.sum(c)
		}
		sum, ok := sum.plus(before, -1)
		if ok {
			sum, ok = sum.plus(after, 1)
		}
		if !ok {
			return &Error{Kind: ErrOverflow, Field: "pool total of " + string(c), Want: "a sum within an int64"}
		}
		changed[c] = sum
	}
	for c, sum := range changed {
		if sum == (Sum{}) {
			delete(s.totals, c)
		} else {
			s.totals[c] = sum
		}
	}
	if new == nil {
		s.hosts.del(old.ID)
	} else {
		s.hosts.set(new.ID, new)
	}
	return nil
}

// sum returns the host's part in the pool's sums of class c.
func (h *HostRecord) sum(c Class) Sum {
	inv := h.Inventory[c]
	out := Sum{Total: inv.Total, Reserved: inv.Reserved, Capacity: h.Capacity[c], Used: h.Used[c]}
	out.Free = max(0, out.Capacity-out.Used)
	if h.Conditions.Schedulable() {
		out.Available = out.Free
	}
	out.Overcommitted = max(0, out.Used-max(0, inv.Total-inv.Reserved))
	return out
}

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

// book and free change a copy of a record; they replace the maps, which other copies share.
func (h *HostRecord) book(a Allocation) error {
	used, err := h.Used.Add(a.Resources)
	if err != nil {
		return InField("host "+string(h.ID), err)
	}
	h.Used = used
	return h.claim(a.Claims, 1)
}

func (h *HostRecord) free(a Allocation) error {
	used, err := h.Used.Sub(a.Resources)
	if err != nil {
		return InField("host "+string(h.ID), err)
	}
	h.Used = used
	return h.claim(a.Claims, -1)
}

func (h *HostRecord) claim(claims []Claim, sign int64) error {
	if len(claims) == 0 {
		return nil
	}
	used := maps.Clone(h.DeviceUsed)
	if used == nil {
		used = make(map[string]int64)
	}
	for _, c := range claims {
		n, ok := addInt64(used[c.Device], sign*c.Amount)
		if !ok || n < 0 {
			return &Error{Kind: ErrOverflow, Field: "device " + c.Device, Want: "an amount within 0 and an int64"}
		}
		if n == 0 {
			delete(used, c.Device)
		} else {
			used[c.Device] = n
		}
	}
	h.DeviceUsed = used
	return nil
}
