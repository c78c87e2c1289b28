package pool

import "slices"

// Apply folds one event into the State. Events must come in order: each revision one more than the last,
// each index within it one more than the last; the caller sees to that.
//
// ErrUnknownKind means that the event belongs to another package or to a newer program; ErrInvalid that it
// contradicts the books. Neither changes the State, except that Head and Time advance for an unknown kind.
func (s *State) Apply(e *Event) error {
	p, err := e.Payload()
	if err == nil {
		err = s.fold(e, p)
	} else if e.Kind != "" {
		s.head, s.time = e.Revision, e.Time
	}
	if err != nil {
		return InField("event "+e.Kind, err)
	}
	s.head, s.time = e.Revision, e.Time
	return nil
}

func (s *State) fold(e *Event, payload any) error {
	at := e.Revision
	switch p := payload.(type) {
	case *Opened:
		if s.identity != "" {
			return invalid("ledger", p.Ledger, "one identity for ever")
		}
		s.identity = p.Ledger
	case *TakenOver:
		s.holder, s.epoch = p.Holder, e.Epoch
	case *HostPut:
		return s.putHost(p.Host, at)
	case *HostConditions:
		h, ok := s.hosts.get(p.Host)
		if !ok {
			return notFound("host", string(p.Host))
		}
		n := *h
		n.Conditions, n.Reason, n.Changed = p.Conditions, p.Reason, at
		return s.setHost(h, &n)
	case *HostRemoved:
		h, ok := s.hosts.get(p.Host)
		if !ok {
			return notFound("host", string(p.Host))
		}
		if err := s.setHost(h, nil); err != nil {
			return err
		}
		s.removed.set(p.Host, at)
	case *Image:
		i := p.Clone()
		s.images.set(p.Name, &i)
	case *Flavor:
		s.flavors.set(p.Name, p)
	case *Project:
		n := ProjectRecord{Project: *p, Changed: at}
		if old, ok := s.projects.get(p.Name); ok {
			n.Used, n.Members = old.Used, old.Members
		}
		s.projects.set(p.Name, &n)
	case *Named:
		switch e.Kind {
		case KindImageRemoved:
			s.images.del(p.Name)
		case KindFlavorRemoved:
			s.flavors.del(p.Name)
		case KindProjectRemoved:
			s.projects.del(p.Name)
		}
	case *Launched:
		return s.launch(e, p)
	case *OfMachine:
		if e.Kind == KindReleased {
			return s.release(p.Machine, at)
		}
		return s.onMachine(e, p.Machine, func(i *Instance) { foldMachine(e, i) })
	case *Refused:
		return s.onMachine(e, p.Machine, func(i *Instance) {
			i.Reason = p.Reason
			i.Place.Doubt = i.Place.Doubt || p.Doubt
			if i.Phase == Building {
				i.Phase = Undoing
			}
		})
	case *Observed:
		return s.onMachine(e, p.Machine, func(i *Instance) {
			i.Is, i.Addresses = p.Is, p.Addresses
		})
	case *Wanted:
		return s.onInstance(e, p.Instance, func(i *Instance) {
			i.Want = p.Want
			if p.Want == Absent {
				i.Phase = Deleting
			}
		})
	case *RebootWanted:
		return s.onInstance(e, p.Instance, func(i *Instance) {
			i.Reboots++
			i.RebootToken = p.Token
		})
	case *Placed:
		return s.moveTo(e, p)
	case *Ended:
		return s.end(e, p)
	}
	return nil
}

func foldMachine(e *Event, i *Instance) {
	switch e.Kind {
	case KindSent:
		i.Place.Sent = true
	case KindCreated:
		i.Is, i.Created = Stopped, e.Revision
		i.Place.Doubt = false
		if i.Phase == Building {
			i.Phase, i.Reason = Active, ""
		}
	case KindRebooted:
		i.Rebooted = i.Reboots
	}
}

func notFound(what, value string) error {
	return &Error{Kind: ErrNotFound, Field: what, Value: value}
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

func (s *State) launch(e *Event, p *Launched) error {
	if _, ok := s.instances.get(p.Instance); ok {
		return &Error{Kind: ErrExists, Field: "instance", Value: string(p.Instance)}
	}
	i := &Instance{
		ID: p.Instance, Name: p.Name, Project: p.Project, Spec: p.Spec, Image: p.Image,
		Want: p.Want, Is: Absent, Phase: Building, Place: p.Place,
		Launched: e.Revision, Changed: e.Revision, At: e.Time,
	}
	i.Spec.Guest = p.Guest
	if err := s.take(i.Place, i.Project, e.Revision); err != nil {
		return err
	}
	s.setInstance(nil, i)
	return s.count(i.Project, 1, e.Revision)
}

// count keeps the number of the project's instances.
func (s *State) count(project string, change int, at Revision) error {
	p, ok := s.projects.get(project)
	if !ok {
		return notFound("project", project)
	}
	n := *p
	n.Members += change
	n.Changed = at
	s.projects.set(project, &n)
	return nil
}

func (s *State) moveTo(e *Event, p *Placed) error {
	i, ok := s.instances.get(p.Instance)
	if !ok {
		return notFound("instance", string(p.Instance))
	}
	if err := s.leave(i, p.Hold, e.Revision); err != nil {
		return err
	}
	if err := s.take(p.Place, i.Project, e.Revision); err != nil {
		return err
	}
	return s.onInstance(e, p.Instance, func(n *Instance) {
		n.Avoid = append(slices.Clone(i.Avoid), i.Place.Host)
		n.Place, n.Phase, n.Is, n.Created = p.Place, Building, Absent, 0
	})
}

func (s *State) end(e *Event, p *Ended) error {
	i, ok := s.instances.get(p.Instance)
	if !ok {
		return notFound("instance", string(p.Instance))
	}
	if i.Placed() {
		if err := s.leave(i, p.Hold, e.Revision); err != nil {
			return err
		}
	}
	if e.Kind == KindFailed {
		return s.onInstance(e, p.Instance, func(n *Instance) {
			n.Phase, n.Is = Failed, Absent
			if p.Reason != "" {
				n.Reason = p.Reason
			}
		})
	}
	s.setInstance(i, nil)
	s.ended.set(i.ID, Tombstone{Launched: i.Launched, Ended: e.Revision})
	return s.count(i.Project, -1, e.Revision)
}

// leave gives the instance's place back, or turns it into a held allocation.
func (s *State) leave(i *Instance, hold bool, at Revision) error {
	h, ok := s.hosts.get(i.Place.Host)
	if !ok {
		return notFound("host", string(i.Place.Host))
	}
	n := *h
	n.Placed--
	n.Changed = at
	if hold {
		held := &Held{Machine: i.Machine(), Host: h.ID, Launched: i.Launched, Allocation: i.Place.Allocation, Reason: i.Reason}
		s.held.set(held.Machine, held)
		if s.root {
			s.indexHeld(held)
		}
	} else if err := n.free(i.Place.Allocation); err != nil {
		return err
	}
	if err := s.setHost(h, &n); err != nil {
		return err
	}
	return s.charge(i.Project, i.Place.Allocation, at, Resources.Sub)
}

func (s *State) take(p Placement, project string, at Revision) error {
	h, ok := s.hosts.get(p.Host)
	if !ok {
		return notFound("host", string(p.Host))
	}
	n := *h
	n.Placed++
	n.Changed = at
	if err := n.book(p.Allocation); err != nil {
		return err
	}
	if err := s.setHost(h, &n); err != nil {
		return err
	}
	return s.charge(project, p.Allocation, at, Resources.Add)
}

// charge adds an allocation and one instance to, or takes them from, what the project uses.
func (s *State) charge(project string, a Allocation, at Revision, op func(Resources, Resources) (Resources, error)) error {
	p, ok := s.projects.get(project)
	if !ok {
		return notFound("project", project)
	}
	n := *p
	n.Changed = at
	var err error
	if n.Used, err = op(p.Used, a.Resources); err != nil {
		return InField("project "+project, err)
	}
	if n.Used, err = op(n.Used, Resources{Instances: 1}); err != nil {
		return InField("project "+project, err)
	}
	s.projects.set(project, &n)
	return nil
}

func (s *State) release(m MachineID, at Revision) error {
	held, ok := s.held.get(m)
	if !ok {
		return notFound("held allocation", string(m))
	}
	h, ok := s.hosts.get(held.Host)
	if !ok {
		return notFound("host", string(held.Host))
	}
	n := *h
	n.Changed = at
	if err := n.free(held.Allocation); err != nil {
		return err
	}
	if err := s.setHost(h, &n); err != nil {
		return err
	}
	s.held.del(m)
	if s.root {
		s.unindexHeld(held)
	}
	return nil
}

func (s *State) setInstance(old, new *Instance) {
	if new == nil {
		s.instances.del(old.ID)
	} else {
		s.instances.set(new.ID, new)
	}
	if s.root {
		s.index(old, new)
	}
}

func (s *State) index(old, new *Instance) {
	if old != nil && old.Placed() {
		delete(s.onHost[old.Place.Host], old.ID)
		if len(s.onHost[old.Place.Host]) == 0 {
			delete(s.onHost, old.Place.Host)
		}
	}
	if new != nil && new.Placed() {
		m := s.onHost[new.Place.Host]
		if m == nil {
			m = make(map[InstanceID]struct{})
			s.onHost[new.Place.Host] = m
		}
		m[new.ID] = struct{}{}
	}
	switch {
	case new != nil && !new.Settled():
		s.unsettled[new.ID] = struct{}{}
	case new != nil:
		delete(s.unsettled, new.ID)
	default:
		delete(s.unsettled, old.ID)
	}
}

func (s *State) indexHeld(h *Held) {
	m := s.heldOn[h.Host]
	if m == nil {
		m = make(map[MachineID]struct{})
		s.heldOn[h.Host] = m
	}
	m[h.Machine] = struct{}{}
}

func (s *State) unindexHeld(h *Held) {
	delete(s.heldOn[h.Host], h.Machine)
	if len(s.heldOn[h.Host]) == 0 {
		delete(s.heldOn, h.Host)
	}
}
