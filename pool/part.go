package pool

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
)

// Part is what another package keeps in the same ledger: it folds kinds of event of its own beside those of the pool, so that
// what it knows is decided, appended, archived and audited together with everything else. The alerts are one.
//
// A Part is immutable, as the records of a State are: Fold makes a new one. A State without parts costs nothing more.
type Part interface {
	// Name says which kinds of event are the part's own: those that begin with it and a dot. "alert" has "alert.fired".
	Name() string
	// Fold returns the part with an event of its own folded in, or with one of KindForgotten: nothing under that Subject may
	// be kept any more. ErrUnknownKind is for a kind or version that a newer program wrote; the other errors are those of
	// State.Apply. What it was called on stays as it was.
	Fold(e *Event) (Part, error)
	// Save returns all that the part knows, as JSON; the same facts always as the same bytes, and nil if it knows nothing. It may run
	// beside everything else.
	Save() ([]byte, error)
	// Load returns the part that Save has written. It is called on a part that knows nothing.
	Load(saved []byte) (Part, error)
}

// Onlooker is a Part that wants to know of the pool's own events too.
type Onlooker interface {
	Part
	// Look returns the part as it is after an event of the pool's own, whose data is payload and which is about to be folded into st, and
	// whether it is another one. It is quick, and keeps neither st nor payload; the records that it finds in st may be kept.
	Look(st *State, e *Event, payload any) (Part, bool)
}

// look lets those of the parts know of an event that want to.
func (s *State) look(parts []Part, e *Event, payload any) []Part {
	shared := true
	for k, p := range parts {
		o, ok := p.(Onlooker)
		if !ok {
			continue
		}
		if n, changed := o.Look(s, e, payload); changed {
			if shared {
				parts, shared = slices.Clone(parts), false
			}
			parts[k] = n
		}
	}
	return parts
}

// PartEvent returns an event of a part's own kind, without its envelope; whoever appends it completes it.
func PartEvent(kind string, version int, data any) (Event, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return Event{}, &Error{Kind: ErrInvalid, Field: kind, Cause: err}
	}
	return Event{Kind: kind, Version: version, Data: b}, nil
}

// PartData reads JSON of a part's own: the data of its events, what it has saved, its commands. Every field must be known, since to leave one out
// would give different books to different programs, and nothing may follow. The error is ErrInvalid, with what is wrong as its cause, which may quote what was
// read.
func PartData(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, err = dec.Token(); err == io.EOF {
			return nil
		}
		err = errors.New("there is more than one value")
	}
	return &Error{Kind: ErrInvalid, Field: "data", Want: "one value of JSON, with fields that this version knows", Cause: err}
}

// Part returns the part of that name as it is at the State's head.
func (s *State) Part(name string) (Part, bool) {
	k := slices.IndexFunc(s.parts, func(p Part) bool { return p.Name() == name })
	if k < 0 {
		return nil, false
	}
	return s.parts[k], true
}

// partOf returns where the part stands that has a kind of event, or -1.
func (s *State) partOf(kind string) int {
	for k, p := range s.parts {
		if rest, ok := strings.CutPrefix(kind, p.Name()); ok && strings.HasPrefix(rest, ".") {
			return k
		}
	}
	return -1
}

// foldPart folds an event into one part. Overlays share their parts with what they lie over until then.
func (s *State) foldPart(k int, e *Event) error {
	p, err := s.parts[k].Fold(e)
	if err != nil {
		return err
	}
	was := s.parts
	s.parts = slices.Clone(s.parts)
	s.parts[k] = p
	if k == s.pricer-1 {
		if err := s.reprice(e.Revision); err != nil {
			s.parts = was
			return err
		}
	}
	return nil
}

// forgetful returns the parts as they are once a subject is forgotten.
func forgetful(parts []Part, e *Event) ([]Part, error) {
	told := slices.Clone(parts)
	for k, p := range told {
		p, err := p.Fold(e)
		if err != nil {
			return nil, err
		}
		told[k] = p
	}
	return told, nil
}

// savedPart is a part in a snapshot.
type savedPart struct {
	Name string          `json:"name"`
	Data json.RawMessage `json:"data"`
}

// savedParts returns what those of the parts know that know something.
func (s *Snapshot) savedParts() ([]savedPart, error) {
	var out []savedPart
	for _, p := range s.s.parts {
		b, err := p.Save()
		if err != nil {
			return nil, InField("part "+Quote(p.Name()), err)
		}
		if b != nil {
			out = append(out, savedPart{p.Name(), b})
		}
	}
	return out, nil
}

func (l *loading) part(v *savedPart) error {
	k := slices.IndexFunc(l.s.parts, func(p Part) bool { return p.Name() == v.Name })
	if k < 0 {
		return &Error{Kind: ErrUnknownKind, Field: "part", Value: v.Name, Want: "a program that has this part"}
	}
	p, err := l.s.parts[k].Load(v.Data)
	if err != nil {
		return err
	}
	l.s.parts[k] = p
	return nil
}

// partsOf returns parts in the order of their names, which are unique and no pool kind's.
func partsOf(parts []Part) []Part {
	parts = slices.Clone(parts)
	slices.SortFunc(parts, func(a, b Part) int { return strings.Compare(a.Name(), b.Name()) })
	return parts
}
