package scheduler

import "github.com/berthage/berthage/pool"

// PlaceAt is Place on one host, which the caller has chosen: the same constraints are asked, in the same order. The
// record need not be one of a State. It changes nothing.
//
// When the host does not qualify the error is a *Refusal about this one host; the other errors are those of Place.
// Request.Now must be set where marks of aggregates count. The spec's rules about other instances know of this host alone:
// enough for one that keeps the instance off hosts where others are. Score is left zero: there is nothing to compare.
func (s *Scheduler) PlaceAt(h *pool.HostRecord, req Request) (Decision, error) {
	d, err := s.decide(req)
	if err != nil {
		return Decision{}, err
	}
	d.census(func(yield func(*pool.HostRecord) bool) { yield(h) })
	f, err := d.check(h, asItIs)
	if err != nil {
		return Decision{}, err
	}
	if f.by != "" {
		r := d.reason(h, f)
		return Decision{}, &Refusal{Explanation{
			Demand: d.demand, Hosts: []Verdict{{Host: h.ID, Reason: &r}}, Counts: []Count{{Constraint: r.Constraint, Class: r.Class, Hosts: 1}},
		}}
	}
	return Decision{Host: h.ID, Allocation: d.allocate(h), Considered: 1, Qualified: 1}, nil
}
