package pool

import (
	"iter"
	"time"
)

// Instances wait where nobody has room for them, or their project's quota does not allow them yet. They hold no place and
// are charged to nobody; they count among the project's Members. Placed gives such an instance its place.

// waits reports whether the instance is one of those that are to be placed.
func (i *Instance) waits() bool { return i.Phase == Waiting && i.Want != Absent }

// Waiting yields the instances that wait for a place, in no order. It works on overlays.
func (s *State) Waiting() iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for id := range s.waiting.all() {
			if i, _ := s.instances.get(id); !yield(i) {
				return
			}
		}
	}
}

// WaitingCount returns how many instances wait for a place.
func (s *State) WaitingCount() int { return s.waiting.n }

// WaitingChanged reports of an overlay whether others wait than in the State under it.
func (s *State) WaitingChanged() bool { return len(s.waiting.own) > 0 }

// Keeping yields the instances that wait and for which a host's room is kept, in no order. It works on overlays.
func (s *State) Keeping() iter.Seq[*Instance] {
	return func(yield func(*Instance) bool) {
		for id := range s.keeping.all() {
			if i, _ := s.instances.get(id); !yield(i) {
				return
			}
		}
	}
}

// waitFirst makes a new instance one that waits.
func (i *Instance) waitFirst(p *Launched) error {
	if !p.Until.IsZero() {
		return invalid("until", p.Until.Format(time.RFC3339), "no end for an instance that waits, and so has reserved nothing")
	}
	if p.Place.Host != "" || len(p.Place.Allocation.Resources) > 0 {
		return invalid("place", string(p.Place.Host), "no place for an instance that waits for one")
	}
	i.Phase, i.Reason = Waiting, storable(p.Reason)
	return nil
}

func (i *Instance) keeps() bool { return i.waits() && i.Awaits != "" }

// await keeps a host's room for an instance that waits.
func (s *State) await(e *Event, p *Awaiting) error {
	i, ok := s.instances.get(p.Instance)
	switch {
	case !ok:
		return notFound("instance", string(p.Instance))
	case !i.waits():
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that waits for a place"}
	}
	if _, ok := s.hosts.get(p.Host); p.Host != "" && !ok {
		return notFound("host", string(p.Host))
	}
	return s.onInstance(e, p.Instance, func(n *Instance) { n.Awaits = p.Host })
}
