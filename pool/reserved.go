package pool

import "time"

// An instance that is Reserved holds a place, and is charged for it, as one that is being built: it differs only in that its
// machine is not made. Committed, it is built there; if it is not by Until, it lapses.

// reserved returns an instance that is reserved.
func (s *State) reserved(id InstanceID) (*Instance, error) {
	i, ok := s.instances.get(id)
	switch {
	case !ok:
		return nil, notFound("instance", string(id))
	case i.Phase != Reserved:
		return nil, &Error{Kind: ErrWrongState, Field: "instance", Value: string(id), Want: "an instance that is reserved, not one that is " + i.Status()}
	}
	return i, nil
}

// commit has an instance that was reserved built on its place.
func (s *State) commit(e *Event, id InstanceID) error {
	if _, err := s.reserved(id); err != nil {
		return err
	}
	return s.onInstance(e, id, func(n *Instance) { n.Phase, n.Until = Building, time.Time{} })
}

// lapse gives the place of an instance back that was reserved. There has been no machine.
func (s *State) lapse(e *Event, p *Lapsed) error {
	i, err := s.reserved(p.Instance)
	if err != nil {
		return err
	}
	d := draft{at: e.Revision}
	if err := d.leave(s, i, false); err != nil {
		return err
	}
	if err := d.count(s, i.Project, -1); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	t := Tombstone{Launched: Expired, Ended: e.Revision}
	if p.Released {
		t.Launched = Released
	}
	s.bury(i, t)
	return nil
}
