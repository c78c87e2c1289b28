package pool

import (
	"errors"
	"unicode/utf8"
)

// Apply folds one event into the State. Events must come in order: each revision one more than the last,
// each index within it one more than the last; the caller sees to that. What the event's payload refers to
// becomes part of the State and must not be changed afterwards.
//
// ErrUnknownKind means that the event belongs to a Part that the State does not have, or to a newer program: of the State only
// Head and Time have advanced. Any other error means that the event is malformed or contradicts the books:
// ErrInvalid, ErrOverflow, ErrNotFound, ErrExists, ErrInUse or ErrWrongState. The State is then as it was.
//
// Whether a host has room and a project quota is for those to check who make the event: Apply books what
// has been decided, and beyond the capacity if need be, since hosts shrink under their load.
func (s *State) Apply(e *Event) error {
	var err error
	if k := s.partOf(e.Kind); k >= 0 {
		err = s.foldPart(k, e)
	} else {
		err = s.foldOwn(e)
	}
	if err == nil || errors.Is(err, ErrUnknownKind) {
		s.head, s.time = e.Revision, e.Time
	}
	if err != nil {
		return InField("event "+e.Kind, err)
	}
	return nil
}

// foldOwn folds an event of the pool's own kinds.
func (s *State) foldOwn(e *Event) error {
	p, err := e.Payload()
	if err != nil {
		return err
	}
	s.edited = s.edited[:0]
	parts := s.parts
	if e.Kind == KindForgotten && len(parts) > 0 {
		if parts, err = forgetful(parts, e); err != nil {
			return err
		}
	}
	parts = s.look(parts, e, p)
	if err := s.fold(e, p); err != nil {
		s.takeBack()
		return err
	}
	s.parts = parts
	return nil
}

// fold checks everything before it changes anything but what takeBack takes back, so that an error leaves no trace.
func (s *State) fold(e *Event, payload any) error {
	switch p := payload.(type) {
	case *Opened:
		if s.identity.name != "" || p.Ledger == "" {
			return invalid("ledger", p.Ledger, "one identity for ever")
		}
		s.identity.name = p.Ledger
	case *Imported, *Confirmed:
		return s.foldImport(e, payload)
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
		return s.putProject(e, p)
	case *Named:
		return s.remove(e, p.Name)
	case *Launched:
		return s.launch(e, p)
	case *OfMachine:
		switch e.Kind {
		case KindReleased:
			return s.release(p.Machine, e.Revision)
		case KindResized:
			return s.resized(e, p.Machine, true, "")
		}
		return s.onMachine(e, p.Machine, func(i *Instance) { foldMachine(e, p, i) })
	case *Refused:
		return s.refuse(e, p)
	case *Observed:
		return s.observe(e, p)
	case *Awaiting:
		return s.await(e, p)
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
	case *Moving:
		return s.moving(e, p)
	case *Moved:
		return s.moved(e, p)
	case *Stayed:
		return s.stayed(e, p)
	case *ResizeWanted:
		return s.resizing(e, p)
	case *Lapsed:
		return s.lapse(e, p)
	case *Of:
		switch e.Kind {
		case KindCommitted:
			return s.commit(e, p.Instance)
		case KindReplacing:
			return s.replace(e, p.Instance)
		}
		return s.onInstance(e, p.Instance, func(i *Instance) {
			if e.Kind == KindDiscarded {
				i.Shelf = nil
			} else if i.Shelf != nil {
				i.Shelf = &Shelf{Machine: i.Shelf.Machine, Host: i.Shelf.Host, Going: true}
			}
		})
	case *ClusterPut, *ClusterActed, *ClusterRemoved:
		return s.foldCluster(e, payload)
	case *Forgotten:
		return s.forget(e, p.Subject)
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
			n.Used, n.DeviceUsed, n.GPULoads = old.Used, old.DeviceUsed, old.GPULoads
			n.Placed, n.Peers, n.Held = old.Placed, old.Peers, old.Held
			n.Reason, n.Cold, n.Proof = old.Reason, old.Cold, old.Proof
			n.Full = old.Full
			n.keepFull(func(name string, _ Full) bool { return h.Shape(name) != nil })
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
		h.Cold = p.Cold && h.Conditions.Has(Draining)
		switch {
		case !h.Conditions.Has(Fenced):
			h.Proof = ""
		case p.Proof != "":
			h.Proof = storable(p.Proof)
		}
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

func (s *State) remove(e *Event, name string) error {
	switch e.Kind {
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
		return s.removeProject(e, name)
	}
	return nil
}
