package rebalance

import (
	"cmp"
	"errors"
	"slices"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// violated returns which of its constraints, or which filter, does not allow an instance where it is; or nil.
func (f *fleet) violated(i int32) (*scheduler.Reason, error) {
	h, k := f.where[i], f.size[i]
	if f.hosts[h].Aggregate() {
		return nil, nil // it was placed as what is sold there
	}
	if len(f.scheduler.Filters) == 0 && !f.sizes[k].apart {
		key := [2]int32{k, h}
		r, ok := f.broke[key]
		if !ok {
			rec := *f.hosts[h]
			rec.Used, rec.DeviceUsed, rec.Placed = nil, nil, 0
			var err error
			if r, err = f.forbids(&rec, k); err != nil {
				return nil, err
			}
			f.broke[key] = r
		}
		return r, nil
	}
	x := step{instance: i, from: h, held: f.holds[i], had: f.claims[i]}
	f.leave(i) // it is asked as if it were to come
	rec := f.record(h)
	f.come(i, h, x.held, x.had)
	return f.forbids(rec, k)
}

// forbids returns the reason for which a host would not take a size that has nothing to do with room or conditions.
func (f *fleet) forbids(rec *pool.HostRecord, k int32) (*scheduler.Reason, error) {
	rec.Conditions = pool.Ready
	_, err := f.scheduler.PlaceAt(rec, f.sizes[k].request)
	var refusal *scheduler.Refusal
	switch {
	case errors.Is(err, scheduler.ErrExtension):
		return nil, err
	case !errors.As(err, &refusal):
		return nil, nil // it is where it is, whatever is wrong with what was asked for it
	}
	r := refusal.Hosts[0].Reason
	switch r.Constraint {
	case scheduler.ByHost, scheduler.ByZone, scheduler.ByLabel, scheduler.ByKind, scheduler.ByAbility, scheduler.ByAntiAffinity, scheduler.ByFilter:
		return r, nil
	}
	return nil, nil
}

// over returns what of a host is over its capacity, as parts of it, and the first class or device.
func (f *fleet) over(h int32) (excess float64, what string) {
	add := func(n, capacity int64, name string) {
		if n <= 0 {
			return
		}
		excess += float64(n) / float64(max(capacity, 1))
		if what == "" {
			what = name
		}
	}
	if f.hosts[h].Aggregate() {
		return 0, "" // its inventory is an estimate
	}
	for c, class := range f.classes {
		add(-f.free[int(h)*f.n+c], f.hosts[h].Capacity[class], string(class))
	}
	for i := range f.hosts[h].Devices {
		d := &f.hosts[h].Devices[i]
		add(f.devices[h][d.ID]-d.Capacity(), d.Capacity(), "device "+pool.Quote(d.ID))
	}
	return excess, what
}

// repair moves what is where it must not be, and then, off hosts that are over their capacity, as few as will do.
func (s *search) repair() error {
	for h := range s.hosts {
		if excess, _ := s.over(int32(h)); excess > 0 {
			s.open[h] = false
		}
	}
	for i := range s.instances {
		i := int32(i)
		if s.ctx.Err() != nil {
			return nil
		}
		r, err := s.violated(i)
		if err != nil {
			return err
		}
		if r != nil && s.noSource[s.where[i]] == "" {
			s.single(i, "it must not be on its host: "+r.String())
		}
	}
	for h := range s.hosts {
		h := int32(h)
		for s.noSource[h] == "" && s.ctx.Err() == nil {
			excess, what := s.over(h)
			if excess == 0 || !s.relieve(h, excess, "host "+string(s.hosts[h].ID)+" is over its capacity of "+what) {
				break
			}
		}
	}
	return nil
}

// relieve moves one instance off a host that is over its capacity: the smallest that suffices, else the one that helps
// most.
func (s *search) relieve(h int32, excess float64, why string) bool {
	type helper struct {
		instance int32
		left     float64
		weight   float64
	}
	var all []helper
	for _, i := range slices.Clone(s.on[h]) {
		if s.stays[i] != "" || s.moved[i] {
			continue
		}
		held, had := s.holds[i], s.claims[i]
		s.leave(i)
		left, _ := s.over(h)
		s.come(i, h, held, had)
		if left < excess {
			all = append(all, helper{i, left, s.weight(i, s.policies[2])})
		}
	}
	slices.SortFunc(all, func(a, b helper) int {
		return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.weight, b.weight), cmp.Compare(a.instance, b.instance))
	})
	for _, x := range all {
		if s.single(x.instance, why) {
			return true
		}
	}
	return false
}
