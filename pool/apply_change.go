package pool

// active returns an instance that has a machine and is neither being moved nor resized.
func (s *State) active(id InstanceID) (*Instance, error) {
	i, ok := s.instances.get(id)
	if !ok {
		return nil, notFound("instance", string(id))
	}
	if i.Phase != Active || i.Move != nil || i.Resize != nil {
		return nil, &Error{Kind: ErrWrongState, Field: "instance", Value: string(id), Want: "an active instance that is neither being moved nor resized"}
	}
	return i, nil
}

// machine returns the instance whose present machine is m.
func (s *State) machine(m MachineID) (*Instance, error) {
	id, n, ok := m.Split()
	i, found := s.instances.get(id)
	if !ok || !found || i.Place.Number != n || !i.Placed() {
		return nil, notFound("machine", string(m))
	}
	return i, nil
}

// moving books the second place of a move.
func (s *State) moving(e *Event, p *Moving) error {
	i, err := s.active(p.Instance)
	if err != nil {
		return err
	}
	if p.Host == i.Place.Host {
		return invalid("host", string(p.Host), "another host than the present one")
	}
	d := draft{at: e.Revision}
	if err := d.come(s, p.Host, p.Allocation, i); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	return s.onInstance(e, p.Instance, func(n *Instance) {
		n.Move = &Move{Host: p.Host, Allocation: p.Allocation, Cold: p.Cold, Ordered: e.Revision}
	})
}

// moved gives back the place that the machine has left.
func (s *State) moved(e *Event, p *Moved) error {
	i, err := s.machine(p.Machine)
	if err != nil {
		return err
	}
	if p.Host == i.Place.Host {
		return invalid("host", string(p.Host), "another host than the present one")
	}
	d := draft{at: e.Revision}
	place := i.Place
	place.Host = p.Host
	ordered := i.Move != nil && i.Move.Host == p.Host
	if i.Move != nil {
		if err := d.goes(s, i.Move.Host, i.Move.Allocation, i); err != nil {
			return err
		}
	}
	if ordered {
		place.Allocation = i.Move.Allocation
	} else { // nobody has said on which devices
		place.Allocation = Allocation{Resources: i.Place.Allocation.Resources}
	}
	if err := d.rebook(s, i, &place, i.flavors()); err != nil {
		return err
	}
	if err := d.relieve(s, i); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	return s.onInstance(e, i.ID, func(n *Instance) {
		n.Place, n.Move, n.Avoid = place, nil, nil
		if ordered {
			n.Reason = ""
		} else if n.Resize != nil {
			r := *n.Resize
			r.After.Claims, r.Before.Claims = nil, nil
			n.Resize = &r
		}
	})
}

// stayed ends an order to move or to resize that has come to nothing.
func (s *State) stayed(e *Event, p *Stayed) error {
	if e.Kind == KindUnresized {
		return s.resized(e, p.Machine, false, p.Reason)
	}
	i, err := s.machine(p.Machine)
	if err != nil {
		return err
	}
	if i.Move == nil {
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that is being moved"}
	}
	d := draft{at: e.Revision}
	if err := d.goes(s, i.Move.Host, i.Move.Allocation, i); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	return s.onInstance(e, i.ID, func(n *Instance) {
		n.Move, n.Reason = nil, storable(p.Reason)
	})
}

// resizing books the larger of the old and the new sizes.
func (s *State) resizing(e *Event, p *ResizeWanted) error {
	i, err := s.active(p.Instance)
	if err != nil {
		return err
	}
	place := i.Place
	place.Allocation = p.During
	d := draft{at: e.Revision}
	if err := d.rebook(s, i, &place, flavors{i.Spec.Flavor, p.Sizes.Flavor}); err != nil {
		return err
	}
	if err := p.After.valid(); err != nil {
		return InField("after", err)
	}
	if err := d.commit(s); err != nil {
		return err
	}
	return s.onInstance(e, i.ID, func(n *Instance) {
		n.Place = place
		n.Resize = &Resizing{Sizes: p.Sizes, After: p.After, Before: i.Place.Allocation, Cold: p.Cold, Ordered: e.Revision}
	})
}

// resized ends a resize: done or not.
func (s *State) resized(e *Event, m MachineID, done bool, reason string) error {
	i, err := s.machine(m)
	if err != nil {
		return err
	}
	if i.Resize == nil {
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that is being resized"}
	}
	place := i.Place
	place.Allocation = i.Resize.Before
	f := i.flavors()
	if f[1] = f[0]; done {
		place.Allocation, f = i.Resize.After, flavors{i.Resize.Sizes.Flavor, i.Resize.Sizes.Flavor}
	}
	d := draft{at: e.Revision}
	if err := d.rebook(s, i, &place, f); err != nil {
		return err
	}
	if done && !i.Resize.Before.Resources.Fits(place.Allocation.Resources) { // it has become smaller somewhere
		if err := d.relieve(s, i); err != nil {
			return err
		}
	}
	if err := d.commit(s); err != nil {
		return err
	}
	return s.onInstance(e, i.ID, func(n *Instance) {
		n.Place, n.Reason = place, storable(reason)
		if done {
			n.Spec, n.Resized = i.Resize.Sizes.Of(i.Spec), true
		}
		n.Resize = nil
	})
}

// replace folds that an instance's machine is to be destroyed to be made anew elsewhere. Until it is gone all is booked as it was.
func (s *State) replace(e *Event, id InstanceID) error {
	i, ok := s.instances.get(id)
	switch {
	case !ok:
		return notFound("instance", string(id))
	case i.Phase != Active || i.Move != nil || i.Resize != nil || i.Shelving || i.Shelf != nil:
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(id), Want: "an active instance that is not being moved, resized or shelved"}
	}
	return s.onInstance(e, id, func(i *Instance) { i.Phase = Undoing })
}
