package pool

import (
	"slices"
	"strconv"
)

func foldMachine(e *Event, p *OfMachine, i *Instance) {
	switch e.Kind {
	case KindSent:
		i.Place.Sent = true
	case KindCreated:
		i.Is, i.Created = Stopped, e.Revision
		i.Place.Doubt = p.Doubt
		if i.Phase == Building {
			i.Phase, i.Reason = Active, ""
			i.Shelving = i.Want == Shelved // wanted of the machine before, and now of this one
			if i.Shelving && i.Shelve != nil {
				i.Shelve = &Shelve{Want: i.Shelve.Want, Ran: i.Shelve.Ran, Ordered: e.Revision}
			}
		}
	case KindSettled:
		i.Place.Doubt = false
	case KindRebooted:
		i.Rebooted = i.Reboots
	}
}

func (s *State) onInstance(e *Event, id InstanceID, change func(*Instance)) error {
	old, ok := s.instances.get(id)
	if !ok {
		return notFound("instance", string(id))
	}
	n := *old
	change(&n)
	n.Changed = e.Revision
	s.setInstance(old, &n)
	return nil
}

func (s *State) onMachine(e *Event, m MachineID, change func(*Instance)) error {
	id, n, ok := m.Split()
	if i, found := s.instances.get(id); !ok || !found || i.Place.Number != n || !i.Placed() {
		return notFound("machine", string(m))
	}
	return s.onInstance(e, id, change)
}

func (s *State) want(e *Event, p *Wanted) error {
	i, ok := s.instances.get(p.Instance)
	if !ok {
		return notFound("instance", string(p.Instance))
	}
	if i.Want == Absent && p.Want != Absent {
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that is not being deleted"}
	}
	return s.onInstance(e, p.Instance, func(n *Instance) {
		n.Want, n.Ran = p.Want, p.Ran
		if p.Want != Absent {
			n.Shelving = p.Want == Shelved && n.Phase == Active
			switch {
			case !n.Shelving:
				n.Shelve = nil
			case i.Want != Shelved:
				n.Shelve = &Shelve{Want: i.Want, Ran: i.Ran, Ordered: e.Revision}
			}
		}
		if p.Reason != "" {
			n.Reason = storable(p.Reason)
		}
		if p.Want == Absent && n.Placed() { // a failed one has nothing to be destroyed
			n.Phase, n.Shelve = Deleting, nil
		}
		if p.Want == Absent {
			n.Awaits = ""
		}
	})
}

func (s *State) launch(e *Event, p *Launched) error {
	_, there := s.instances.get(p.Instance)
	if _, ended := s.ended.get(p.Instance); there || ended {
		return &Error{Kind: ErrExists, Field: "instance", Value: string(p.Instance)}
	}
	if err := p.Instance.Valid(); err != nil {
		return err
	}
	i := &Instance{
		ID: p.Instance, Name: p.Name, Project: p.Project, Owner: p.Owner, Spec: p.Spec, Image: p.Image,
		Want: p.Want, Is: Absent, Phase: Building, Place: p.Place,
		Launched: e.Revision, Changed: e.Revision, At: e.Time,
	}
	i.Spec.Guest = p.Guest
	if p.Cluster != "" {
		c, ok := s.clusters.get(p.Cluster)
		if !ok {
			return notFound("cluster", string(p.Cluster))
		}
		if p.Index < c.Next {
			return invalid("index", strconv.Itoa(p.Index), "a member's number that was never used")
		}
		i.Cluster, i.Index = p.Cluster, p.Index
		i.Project, i.Owner, i.Spec, i.Image = p.Cluster.Project(), c.Owner, c.Spec, c.Image
	}
	d := draft{at: e.Revision}
	var err error
	if p.Waits {
		err = i.waitFirst(p)
	} else if err = d.take(s, &i.Place, i, i.flavors()); err == nil && !p.Until.IsZero() {
		i.Phase, i.Until = Reserved, p.Until
	}
	if err != nil {
		return err
	}
	if err := d.count(s, i.Project, 1); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	s.setInstance(nil, i)
	if i.Cluster != "" {
		s.join(i.Cluster, i.Index, e.Revision)
	}
	return nil
}

func (s *State) moveTo(e *Event, p *Placed) error {
	i, ok := s.instances.get(p.Instance)
	switch {
	case !ok:
		return notFound("instance", string(p.Instance))
	case i.Want == Absent:
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that is not being deleted"}
	case i.Move != nil:
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that is not being moved"}
	case p.Place.Number <= i.Place.Number:
		return invalid("place.number", string(i.ID.Machine(p.Place.Number)), "a machine id that was never used")
	}
	d := draft{at: e.Revision}
	if i.Placed() {
		if err := d.leave(s, i, p.Hold); err != nil {
			return err
		}
		if !p.Hold {
			if err := d.relieve(s, i); err != nil {
				return err
			}
		}
	}
	f := i.flavors()
	f[0] = f[1] // what is made anew has the new sizes at once
	if err := d.take(s, &p.Place, i, f); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	return s.onInstance(e, p.Instance, func(n *Instance) {
		switch {
		case i.Phase == Active || i.Phase == Aside || i.Phase == Waiting || i.Replaced():
			n.Avoid = nil // a new beginning
		case !slices.Contains(i.Avoid, i.Place.Host):
			n.Avoid = append(slices.Clone(i.Avoid), i.Place.Host)
		}
		if i.Resize != nil {
			n.Spec, n.Resize, n.Resized = i.Resize.Sizes.Of(i.Spec), nil, true
		}
		if i.Phase == Waiting {
			n.Awaits, n.Reason = "", ""
		}
		if i.Phase == Active && !i.Kept() || i.Replaced() {
			n.Anew = &Anew{Machine: i.Machine(), Host: i.Place.Host, At: e.Time}
		}
		n.Place, n.Is, n.Created = p.Place, Absent, 0
		if n.Phase != Reserved {
			n.Phase = Building
		}
		if n.Shelving = false; n.Want != Shelved {
			n.Shelve = nil
		}
		n.Started, n.Fault, n.Addresses = false, "", nil
	})
}

// end folds that an instance's machine is gone: its place is given back, and that of a move with it.
func (s *State) end(e *Event, p *Ended) error {
	i, ok := s.instances.get(p.Instance)
	if !ok {
		return notFound("instance", string(p.Instance))
	}
	if e.Kind == KindShelved && (i.Phase != Active && i.Phase != Undoing || (i.Phase == Active) != (i.Shelf == nil)) {
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an active instance of which nothing is put aside, or one that was to be made of that"}
	}
	d := draft{at: e.Revision}
	if i.Placed() {
		if err := d.leave(s, i, p.Hold); err != nil {
			return err
		}
		if !p.Hold {
			if err := d.relieve(s, i); err != nil {
				return err
			}
		}
		if i.Move != nil {
			if err := d.goes(s, i.Move.Host, i.Move.Allocation, i); err != nil {
				return err
			}
		}
	}
	if e.Kind == KindDeleted {
		if err := d.count(s, i.Project, -1); err != nil {
			return err
		}
	}
	if err := d.commit(s); err != nil {
		return err
	}
	if e.Kind == KindDeleted {
		s.bury(i, Tombstone{Launched: i.Launched, Ended: e.Revision})
		return nil
	}
	return s.onInstance(e, p.Instance, func(n *Instance) {
		n.Phase, n.Is, n.Move, n.Awaits = Failed, Absent, nil, ""
		n.Started, n.Fault, n.Addresses = false, "", nil
		if e.Kind == KindShelved {
			n.Phase, n.Resize, n.Shelving, n.Shelve = Aside, nil, false, nil
			if i.Phase == Active {
				n.Shelf = &Shelf{Machine: i.Machine(), Host: i.Place.Host}
			} else if n.Want != Absent { // it could not be made anew; what is put aside still is
				n.Want = Shelved
			}
		}
		if p.Reason != "" {
			n.Reason = storable(p.Reason)
		}
	})
}

// bury takes an instance that holds no place any more out of the books.
func (s *State) bury(i *Instance, t Tombstone) {
	s.setInstance(i, nil)
	s.ended.set(i.ID, t)
	if i.Cluster != "" {
		s.leaveCluster(i.Cluster, i.Index, t.Ended)
	}
}

func (s *State) release(m MachineID, at Revision) error {
	held, ok := s.held.get(m)
	if !ok {
		return notFound("held allocation", string(m))
	}
	d := draft{at: at}
	h, err := d.host(s, held.Host)
	if err != nil {
		return err
	}
	h.Held--
	if err := h.free(held.Allocation); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	s.held.del(m)
	if s.root {
		s.unindexHeld(held)
	}
	return nil
}
