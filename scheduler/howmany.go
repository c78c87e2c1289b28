package scheduler

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"

	"github.com/berthage/berthage/pool"
)

// Room is how many more instances of one request fit into a pool. Quotas are not part of it.
type Room struct {
	// Fit is how many can be placed one after another, each where Place puts it. The largest int64 stands for itself and
	// more.
	Fit int64 `json:"fit"`
	// Never: not one would fit even if nothing were placed anywhere and all hosts accepted instances.
	Never bool `json:"never"`
	// Hosts says it host by host, by id.
	Hosts []HostRoom `json:"hosts,omitempty"`
	// Counts is what runs out: hosts per constraint that refuses the next one, the most frequent first.
	Counts []Count `json:"counts"`
	// Nearest is what would make one fit, where none does and a change is known.
	Nearest *Change `json:"nearest,omitempty"`
}

// HostRoom is one host's part of a Room.
type HostRoom struct {
	Host   pool.HostID `json:"host"`
	Fit    int64       `json:"fit"`
	Reason Reason      `json:"reason"` // why it takes no more than that; Never in it: it would not take one even when empty
}

// HowMany says how many more instances of a request fit. It costs more than Explain: each host is filled, in figures.
// The errors are those of Place without *Refusal; a request that takes nothing, of which any number fits, is
// pool.ErrInvalid.
func (s *Scheduler) HowMany(st *pool.State, req Request) (Room, error) {
	d, err := s.decide(req.In(st))
	if err != nil {
		return Room{}, err
	}
	if len(d.asked) == 0 {
		return Room{}, &pool.Error{Kind: pool.ErrInvalid, Field: "spec.resources", Want: "an amount of some class; of what takes nothing any number fits"}
	}
	d.follow(totalsOf(st))
	d.census(st.Hosts())
	if slices.ContainsFunc(d.rules, func(r rule) bool { return r.mine && !r.soft }) {
		return s.howManyTogether(st, d)
	}
	out := Room{Hosts: make([]HostRoom, 0, st.HostCount())}
	for h := range st.Hosts() {
		n, filled, err := d.fill(h)
		if err != nil {
			return Room{}, err
		}
		v, err := d.verdict(filled)
		if err != nil {
			return Room{}, err
		}
		out.add(n, v)
	}
	if out.finish(); out.Fit == 0 {
		out.Nearest, err = d.nearest(st.Hosts())
	}
	return out, err
}

// add takes in a host that has been filled.
func (r *Room) add(n int64, v Verdict) {
	h := HostRoom{Host: v.Host, Fit: n}
	if v.Reason != nil { // else n is as large as can be
		h.Reason = *v.Reason
	}
	r.Hosts = append(r.Hosts, h)
	if r.Fit += n; r.Fit < 0 {
		r.Fit = math.MaxInt64
	}
}

// finish works out the sums.
func (r *Room) finish() {
	slices.SortFunc(r.Hosts, func(a, b HostRoom) int { return cmp.Compare(a.Host, b.Host) })
	counts := make(map[Count]int)
	r.Never = len(r.Hosts) > 0
	for i := range r.Hosts {
		reason := &r.Hosts[i].Reason
		r.Never = r.Never && reason.Never
		counts[Count{Constraint: reason.Constraint, Class: reason.Class}]++
	}
	r.Counts = ranked(counts)
}

// fill places the request on a host as often as it can be, whatever is on the others.
func (d *decision) fill(h *pool.HostRecord) (int64, *pool.HostRecord, error) {
	full, n := *h, int64(0)
	full.Used, full.DeviceUsed = maps.Clone(h.Used), maps.Clone(h.DeviceUsed)
	if full.Used == nil {
		full.Used = make(pool.Resources)
	}
	for n < math.MaxInt64 {
		f, err := d.check(&full, asItIs)
		if err != nil {
			return 0, nil, err
		}
		if f.by != "" {
			break
		}
		times := int64(1)
		if len(d.scheduler.Filters) == 0 && (d.shape != nil || !d.divided(h)) {
			times = math.MaxInt64 - n
			for i := range d.needs {
				need := &d.needs[i]
				times = min(times, (full.Capacity[need.class]-full.Used[need.class])/need.amount)
			}
		}
		a := d.allocate(&full)
		for class, amount := range a.Resources {
			full.Used[class] += times * amount
		}
		for _, c := range a.Claims {
			if full.DeviceUsed == nil {
				full.DeviceUsed = make(map[string]int64)
			}
			full.DeviceUsed[c.Device] += c.Amount
		}
		n += times
		full.Placed += int(times)
	}
	return n, &full, nil
}

// divided reports whether the host carries any of what is asked for on devices.
func (d *decision) divided(h *pool.HostRecord) bool {
	return slices.ContainsFunc(d.asked, func(n need) bool { return n.divided(h.Devices) })
}

// howManyTogether is HowMany where those that are placed count for the rules of those that follow.
func (s *Scheduler) howManyTogether(st *pool.State, d *decision) (Room, error) {
	ix := NewIndex(st)
	a := &Ask{decision: *d, resources: d.demand.Clone()}
	self := pool.NewPeer(d.req.Project, d.req.Cluster, d.req.Spec.Labels)
	on := make(map[pool.HostID]int64)
	var to Decision
	for {
		err := ix.Choose(a, &to)
		if errors.Is(err, pool.ErrNoRoom) {
			break
		}
		if err == nil {
			err = ix.Book(to.Host, &to.Allocation)
		}
		if err == nil {
			err = ix.Meet(to.Host, self, 1)
		}
		if err != nil {
			return Room{}, err
		}
		on[to.Host]++
	}
	e, err := ix.Explain(a)
	if err != nil {
		return Room{}, err
	}
	out := Room{Hosts: make([]HostRoom, 0, len(e.Hosts))}
	for _, v := range e.Hosts {
		out.add(on[v.Host], v)
	}
	if out.finish(); out.Fit == 0 {
		out.Nearest = e.Nearest
	}
	return out, nil
}

// FlavorRoom is a Room for instances of one flavor, its Hosts left out.
type FlavorRoom struct {
	Flavor string `json:"flavor"`
	Room
}

// HowManyByFlavor is HowMany for each flavor of the State, by name: each alone, so that they do not add up. The
// request's spec has everything but sizes.
func (s *Scheduler) HowManyByFlavor(st *pool.State, req Request) ([]FlavorRoom, error) {
	flavors := slices.SortedFunc(st.Flavors(), func(a, b *pool.Flavor) int { return cmp.Compare(a.Name, b.Name) })
	out := make([]FlavorRoom, 0, len(flavors))
	for _, f := range flavors {
		one := req
		var err error
		if one.Spec, err = f.Resolve(req.Spec); err != nil {
			return nil, pool.InField("spec", err)
		}
		one.Spec.Flavor = f.Name
		r, err := s.HowMany(st, one)
		if err != nil {
			return nil, pool.InField("flavor "+pool.Quote(f.Name), err)
		}
		r.Hosts = nil
		out = append(out, FlavorRoom{f.Name, r})
	}
	return out, nil
}
