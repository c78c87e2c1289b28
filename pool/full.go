package pool

import (
	"maps"
	"time"
)

// Full is what is remembered of a shape that an aggregate has refused for want of room, whatever room its
// inventory says that it has.
type Full struct {
	At       time.Time `json:"at"`       // of the last refusal
	Until    time.Time `json:"until"`    // until then nothing of that shape is placed there
	Refusals int       `json:"refusals"` // in a row; those that came while the shape was full already are not counted
}

// FullAt reports whether a shape of an aggregate counts as full at a moment.
func (h *HostRecord) FullAt(shape string, now time.Time) (Full, bool) {
	f, ok := h.Full[shape]
	return f, ok && f.Until.After(now)
}

// keepFull drops the shapes of which keep is false from a draft of a record, whose map other records share.
func (h *HostRecord) keepFull(keep func(name string, f Full) bool) {
	var kept map[string]Full
	for name, f := range h.Full {
		if keep(name, f) {
			if kept == nil {
				kept = make(map[string]Full, len(h.Full))
			}
			kept[name] = f
		}
	}
	h.Full = kept
}

// refuse folds that a create has come to nothing.
func (s *State) refuse(e *Event, p *Refused) error {
	i, err := s.machine(p.Machine)
	if err != nil {
		return err
	}
	if shape := i.Place.Allocation.Shape; shape != "" && !p.Until.IsZero() {
		d := draft{at: e.Revision}
		h, err := d.host(s, i.Place.Host)
		if err != nil {
			return err
		}
		if h.Host.Shape(shape) != nil {
			h.Full = maps.Clone(h.Full)
			if h.Full == nil {
				h.Full = make(map[string]Full)
			}
			h.Full[shape] = Full{At: e.Time.UTC(), Until: p.Until, Refusals: h.Full[shape].Refusals + 1}
		}
		if err := d.commit(s); err != nil {
			return err
		}
	}
	return s.onInstance(e, i.ID, func(i *Instance) {
		i.Reason = storable(p.Reason)
		i.Place.Doubt = i.Place.Doubt || p.Doubt
		if i.Phase == Building || i.Phase == Active && !i.Started {
			i.Phase = Undoing
		}
	})
}

// observe folds what a machine does. The first of a shape that runs after the shape was full shows that there is
// room again; one that runs while it is full was there before.
func (s *State) observe(e *Event, p *Observed) error {
	i, err := s.machine(p.Machine)
	if err != nil {
		return err
	}
	shape := i.Place.Allocation.Shape
	if f, ok := s.fullOf(i); ok && p.Is == Running && !i.Started && !f.Until.After(e.Time) {
		d := draft{at: e.Revision}
		h, err := d.host(s, i.Place.Host)
		if err != nil {
			return err
		}
		h.keepFull(func(name string, _ Full) bool { return name != shape })
		if err := d.commit(s); err != nil {
			return err
		}
	}
	return s.onInstance(e, i.ID, func(i *Instance) {
		i.Is, i.Fault, i.Addresses = p.Is, storable(p.Fault), nil
		i.Started = i.Started || p.Is == Running
		for _, a := range p.Addresses {
			i.Addresses = append(i.Addresses, storable(a))
		}
	})
}

func (s *State) fullOf(i *Instance) (Full, bool) {
	h, ok := s.hosts.get(i.Place.Host)
	if !ok {
		return Full{}, false
	}
	f, ok := h.Full[i.Place.Allocation.Shape]
	return f, ok
}

// relieve notes that a machine gives back what it had of its host: what was full there need not be any more. A
// machine that never ran may never have had anything; that it is gone makes no room.
func (d *draft) relieve(s *State, i *Instance) error {
	if !i.Started {
		return nil
	}
	h, err := d.host(s, i.Place.Host)
	if err == nil {
		h.Full = nil
	}
	return err
}
