package pool

import (
	"errors"
	"slices"
	"unicode/utf8"
)

// Apply folds one event into the State. Events must come in order: each revision one more than the last,
// each index within it one more than the last; the caller sees to that. What the event's payload refers to
// becomes part of the State and must not be changed afterwards.
//
// ErrUnknownKind means that the event belongs to another package or to a newer program: of the State only
// Head and Time have advanced. Any other error means that the event is malformed or contradicts the books:
// ErrInvalid, ErrOverflow, ErrNotFound, ErrExists, ErrInUse or ErrWrongState. The State is then as it was.
//
// Whether a host has room and a project quota is for those to check who make the event: Apply books what
// has been decided, and beyond the capacity if need be, since hosts shrink under their load.
func (s *State) Apply(e *Event) error {
	p, err := e.Payload()
	if err == nil {
		err = s.fold(e, p)
	}
	if err == nil || errors.Is(err, ErrUnknownKind) {
		s.head, s.time = e.Revision, e.Time
	}
	return InField("event "+e.Kind, err)
}

// fold checks everything before it changes anything, so that an error leaves no trace.
func (s *State) fold(e *Event, payload any) error {
	switch p := payload.(type) {
	case *Opened:
		if s.identity != "" || p.Ledger == "" {
			return invalid("ledger", p.Ledger, "one identity for ever")
		}
		s.identity = p.Ledger
	case *TakenOver:
		if e.Epoch < s.epoch {
			return &Error{Kind: ErrInvalid, Field: "epoch", Want: "an epoch that is not before the last leader's"}
		}
		s.holder, s.epoch = storable(p.Holder), e.Epoch
	case *HostPut, *HostConditions, *HostRemoved:
		return s.foldHost(payload, e.Revision)
	case *Image:
		i := p.Clone()
		s.images.set(p.Name, &i)
	case *Flavor:
		s.flavors.set(p.Name, p)
	case *Project:
		n := ProjectRecord{Project: *p, Changed: e.Revision}
		if old, ok := s.projects.get(p.Name); ok {
			n.Used, n.Members = old.Used, old.Members
		}
		s.projects.set(p.Name, &n)
	case *Named:
		return s.remove(e.Kind, p.Name)
	case *Launched:
		return s.launch(e, p)
	case *OfMachine:
		if e.Kind == KindReleased {
			return s.release(p.Machine, e.Revision)
		}
		return s.onMachine(e, p.Machine, func(i *Instance) { foldMachine(e, p, i) })
	case *Refused:
		return s.onMachine(e, p.Machine, func(i *Instance) {
			i.Reason = storable(p.Reason)
			i.Place.Doubt = i.Place.Doubt || p.Doubt
			if i.Phase == Building {
				i.Phase = Undoing
			}
		})
	case *Observed:
		return s.onMachine(e, p.Machine, func(i *Instance) {
			i.Is, i.Addresses = p.Is, nil
			for _, a := range p.Addresses {
				i.Addresses = append(i.Addresses, storable(a))
			}
		})
	case *Wanted:
		return s.want(e, p)
	case *RebootWanted:
		return s.onInstance(e, p.Instance, func(i *Instance) {
			if token := storable(p.Token); token == "" || token != i.RebootToken {
				i.Reboots++
				i.RebootToken = token
			}
		})
	case *Placed:
		return s.moveTo(e, p)
	case *Ended:
		return s.end(e, p)
	}
	return nil
}

// storable returns s as it comes back from a store: JSON replaces each byte that is not UTF-8 by U+FFFD.
// Texts from outside (a hypervisor's words) go through it, so that the State is the same before and after
// a restart.
func storable(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

func notFound(what, value string) error {
	return &Error{Kind: ErrNotFound, Field: what, Value: value}
}

func (s *State) foldHost(payload any, at Revision) error {
	d := draft{at: at}
	switch p := payload.(type) {
	case *HostPut:
		h, err := p.Host.Normalize()
		if err != nil {
			return err
		}
		old, n := s.hostOrNil(h.ID), &HostRecord{Host: h, Capacity: h.Capacity(), Changed: at}
		if old != nil {
			n.Used, n.DeviceUsed, n.Placed, n.Held, n.Reason = old.Used, old.DeviceUsed, old.Placed, old.Held, old.Reason
		}
		d.put(old, n)
		if err := d.commit(s); err != nil {
			return err
		}
		s.removed.del(h.ID)
	case *HostConditions:
		if err := p.Conditions.valid(); err != nil {
			return err
		}
		h, err := d.host(s, p.Host)
		if err != nil {
			return err
		}
		h.Conditions, h.Reason = p.Conditions, storable(p.Reason)
		return d.commit(s)
	case *HostRemoved:
		h, ok := s.hosts.get(p.Host)
		if !ok {
			return notFound("host", string(p.Host))
		}
		if h.Placed > 0 || h.Held > 0 {
			return &Error{Kind: ErrInUse, Field: "host", Value: string(p.Host), Want: "no instances and no held allocations on it"}
		}
		d.put(h, nil)
		if err := d.commit(s); err != nil {
			return err
		}
		s.removed.set(p.Host, at)
	}
	return nil
}

func (s *State) hostOrNil(id HostID) *HostRecord {
	h, _ := s.hosts.get(id)
	return h
}

func (s *State) remove(kind, name string) error {
	switch kind {
	case KindImageRemoved:
		if _, ok := s.images.get(name); !ok {
			return notFound("image", name)
		}
		s.images.del(name)
	case KindFlavorRemoved:
		if _, ok := s.flavors.get(name); !ok {
			return notFound("flavor", name)
		}
		s.flavors.del(name)
	case KindProjectRemoved:
		p, ok := s.projects.get(name)
		if !ok {
			return notFound("project", name)
		}
		if p.Members > 0 {
			return &Error{Kind: ErrInUse, Field: "project", Value: name, Want: "no instances in it"}
		}
		s.projects.del(name)
	}
	return nil
}

func foldMachine(e *Event, p *OfMachine, i *Instance) {
	switch e.Kind {
	case KindSent:
		i.Place.Sent = true
	case KindCreated:
		i.Is, i.Created = Stopped, e.Revision
		i.Place.Doubt = p.Doubt
		if i.Phase == Building {
			i.Phase, i.Reason = Active, ""
		}
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
		n.Want = p.Want
		if p.Want == Absent && n.Placed() { // a failed one has nothing to be destroyed
			n.Phase = Deleting
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
		ID: p.Instance, Name: p.Name, Project: p.Project, Spec: p.Spec, Image: p.Image,
		Want: p.Want, Is: Absent, Phase: Building, Place: p.Place,
		Launched: e.Revision, Changed: e.Revision, At: e.Time,
	}
	i.Spec.Guest = p.Guest
	d := draft{at: e.Revision}
	if err := d.take(s, i.Place, i.Project); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
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
	switch {
	case !ok:
		return notFound("instance", string(p.Instance))
	case i.Want == Absent:
		return &Error{Kind: ErrWrongState, Field: "instance", Value: string(i.ID), Want: "an instance that is not being deleted"}
	case p.Place.Number <= i.Place.Number:
		return invalid("place.number", string(i.ID.Machine(p.Place.Number)), "a machine id that was never used")
	}
	d := draft{at: e.Revision}
	if i.Placed() {
		if err := d.leave(s, i, p.Hold); err != nil {
			return err
		}
	}
	if err := d.take(s, p.Place, i.Project); err != nil {
		return err
	}
	if err := d.commit(s); err != nil {
		return err
	}
	return s.onInstance(e, p.Instance, func(n *Instance) {
		if !slices.Contains(i.Avoid, i.Place.Host) {
			n.Avoid = append(slices.Clone(i.Avoid), i.Place.Host)
		}
		n.Place, n.Phase, n.Is, n.Created = p.Place, Building, Absent, 0
	})
}

func (s *State) end(e *Event, p *Ended) error {
	i, ok := s.instances.get(p.Instance)
	if !ok {
		return notFound("instance", string(p.Instance))
	}
	if i.Placed() {
		d := draft{at: e.Revision}
		if err := d.leave(s, i, p.Hold); err != nil {
			return err
		}
		if err := d.commit(s); err != nil {
			return err
		}
	}
	if e.Kind == KindFailed {
		return s.onInstance(e, p.Instance, func(n *Instance) {
			n.Phase, n.Is = Failed, Absent
			if p.Reason != "" {
				n.Reason = storable(p.Reason)
			}
		})
	}
	s.setInstance(i, nil)
	s.ended.set(i.ID, Tombstone{Launched: i.Launched, Ended: e.Revision})
	return s.count(i.Project, -1, e.Revision)
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
