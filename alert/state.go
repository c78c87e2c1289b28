package alert

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// The kinds of event that State is made of. What each carries is the type named; all are version 1. All begin with the
// package's name, so that State can be a part of a pool's books.
const (
	SilenceSet               = "alert.silence.set"           // Silence
	SilenceEnded             = "alert.silence.expired"       // SilenceEnd
	AlertAcknowledged        = "alert.acknowledged"          // Acknowledgement
	AcknowledgementWithdrawn = "alert.unacknowledged"        // Acknowledgement
	AcknowledgementEnded     = "alert.acknowledgement.ended" // Acknowledgement: the alert is resolved, or has fired anew
	GroupOpened              = "alert.group.opened"          // Opening
	GroupNotified            = "alert.group.notified"        // Notification, to be delivered
	GroupQuiet               = "alert.group.quiet"           // Notification that nobody is to be given, and why
	GroupClosed              = "alert.group.closed"          // Stream
)

// Event is a decision: the kind and what it carries, to be written as JSON and given to Apply.
type Event struct {
	Kind string
	Data any
}

// SilenceEnd is that a silence was ended early.
type SilenceEnd struct {
	ID string `json:"id"`
	By string `json:"by,omitempty"`
}

// Stream is what one receiver is told of one group.
type Stream struct {
	Group    string `json:"group"`
	Receiver string `json:"receiver"`
	Step     int    `json:"step,omitempty"` // of escalation, from 1; 0 is whom the group is told to at first
}

// Opening is that something fires in a group in which nothing did.
type Opening struct {
	Group     string    `json:"group"`
	Receivers []string  `json:"receivers"`
	At        time.Time `json:"at"` // the moment of the first flush
}

// State is what has to be remembered so that nothing is told twice or forgotten: silences, acknowledgements, and what
// every receiver was last told of every group. It is the fold of events; several daemons that have applied the same events
// decide the same. The zero value is ready for use. It is not safe for concurrent use.
//
// It is bounded by what there is: a silence goes SilencesKept after its end, an acknowledgement and a group's record with
// the alerts.
type State struct {
	silences   map[string]Silence
	acks       map[Labels]Acknowledgement
	told       map[Stream]record
	generation int64 // of the last notification
}

// record is what a receiver was last told of a group. It is replaced, never changed.
type record struct {
	at       time.Time                 // when; zero if it was told nothing yet
	from     time.Time                 // the moment of a flush, from which on there is one every interval
	firing   map[Fingerprint]time.Time // what it was last told to fire: since when; of a step of escalation, when it was last told
	resolved map[Fingerprint]bool      // what it was last told to be resolved
	owed     map[Fingerprint]bool      // what it was ever told to fire, and not to be resolved since
	muted    map[Fingerprint]bool      // what fired and was kept from it, as far as that is recorded
}

// Apply folds one event, at its time. It refuses with ErrInvalid a kind that it does not know and data that it cannot
// read, and is then as it was.
func (s *State) Apply(kind string, data []byte, at time.Time) error {
	switch kind {
	case SilenceSet:
		return fold(kind, data, func(silence Silence) { put(&s.silences, silence.ID, silence); s.forget(at) })
	case SilenceEnded:
		return fold(kind, data, func(end SilenceEnd) {
			if silence, ok := s.silences[end.ID]; ok && silence.Phase(at) != SilenceExpired {
				if at.Before(silence.Starts) {
					silence.Starts = at
				}
				silence.Ends, silence.Updated = at, at
				s.silences[end.ID] = silence
			}
			s.forget(at)
		})
	case AlertAcknowledged, AcknowledgementWithdrawn:
		return fold(kind, data, func(ack Acknowledgement) { put(&s.acks, ack.Labels, ack) })
	case AcknowledgementEnded:
		return fold(kind, data, func(ack Acknowledgement) {
			if s.acks[ack.Labels].Since.Equal(ack.Since) {
				delete(s.acks, ack.Labels)
			}
		})
	case GroupOpened:
		return fold(kind, data, func(o Opening) {
			for _, receiver := range o.Receivers {
				stream := Stream{Group: o.Group, Receiver: receiver}
				known := s.told[stream]
				known.from = o.At
				put(&s.told, stream, known)
			}
		})
	case GroupNotified, GroupQuiet:
		return fold(kind, data, func(n Notification) {
			s.generation = max(s.generation, n.Generation)
			if n.Last {
				delete(s.told, n.Stream)
			} else {
				put(&s.told, n.Stream, s.told[n.Stream].after(n))
			}
		})
	case GroupClosed:
		return fold(kind, data, func(stream Stream) { delete(s.told, stream) })
	}
	return invalid("kind", kind, "a kind of event of package alert")
}

func fold[T any](kind string, data []byte, apply func(T)) error {
	var v T
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields() // who leaves something out decides otherwise than the others
	if err := dec.Decode(&v); err != nil {
		return &Error{Kind: ErrInvalid, Field: "event", Value: kind, Want: "data of that kind", Cause: err}
	}
	apply(v)
	return nil
}

// Clone returns a State that further events change without changing this one.
func (s *State) Clone() *State {
	return &State{maps.Clone(s.silences), maps.Clone(s.acks), maps.Clone(s.told), s.generation}
}

// Empty says whether nothing is remembered.
func (s *State) Empty() bool {
	return len(s.silences) == 0 && len(s.acks) == 0 && len(s.told) == 0 && s.generation == 0
}

// saved is a State as JSON: the same facts are always the same bytes.
type saved struct {
	Silences   []Silence         `json:"silences"`
	Acks       []Acknowledgement `json:"acknowledgements"`
	Told       []savedRecord     `json:"told"`
	Generation int64             `json:"generation"`
}

type savedRecord struct {
	Stream
	At       time.Time                 `json:"at,omitzero"`
	From     time.Time                 `json:"from"`
	Firing   map[Fingerprint]time.Time `json:"firing,omitempty"`
	Resolved map[Fingerprint]bool      `json:"resolved,omitempty"`
	Owed     map[Fingerprint]bool      `json:"owed,omitempty"`
	Muted    map[Fingerprint]bool      `json:"muted,omitempty"`
}

// MarshalJSON writes all that is remembered.
func (s *State) MarshalJSON() ([]byte, error) {
	v := saved{Silences: s.Silences(), Generation: s.generation, Acks: slices.SortedFunc(maps.Values(s.acks), Acknowledgement.compare)}
	for _, stream := range s.Streams() {
		r := s.told[stream]
		v.Told = append(v.Told, savedRecord{stream, r.at, r.from, r.firing, r.resolved, r.owed, r.muted})
	}
	return json.Marshal(v)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (s *State) UnmarshalJSON(b []byte) error {
	return fold("saved", b, func(v saved) {
		*s = State{generation: v.Generation}
		for _, silence := range v.Silences {
			put(&s.silences, silence.ID, silence)
		}
		for _, ack := range v.Acks {
			put(&s.acks, ack.Labels, ack)
		}
		for _, r := range v.Told {
			put(&s.told, r.Stream, record{r.At, r.From, r.Firing, r.Resolved, r.Owed, r.Muted})
		}
	})
}

// put puts a value into a map that may not be made yet.
func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = value
}

// forget drops silences that expired long ago.
func (s *State) forget(at time.Time) {
	maps.DeleteFunc(s.silences, func(_ string, silence Silence) bool { return silence.Ends.Add(SilencesKept).Before(at) })
}

// after returns the record after a notification, or after one that was not sent.
func (r record) after(n Notification) record {
	next := r
	next.muted = make(map[Fingerprint]bool)
	for _, m := range n.Muted {
		next.muted[m.Labels.Fingerprint()] = true
	}
	for _, f := range n.MutedToo {
		next.muted[f] = true
	}
	if n.Reason == Muted {
		return next
	}
	next.at, next.from = n.At, n.At
	next.firing, next.resolved, next.owed = make(map[Fingerprint]time.Time), make(map[Fingerprint]bool), make(map[Fingerprint]bool)
	maps.Copy(next.owed, r.owed)
	fires := func(f Fingerprint) {
		next.firing[f] = n.At
		if !n.FiringOnly {
			next.owed[f] = true
		}
		if since, ok := r.firing[f]; ok && n.Step == 0 {
			next.firing[f] = since
		}
	}
	for _, told := range n.Firing {
		fires(told.Labels.Fingerprint())
	}
	ends := func(f Fingerprint) {
		next.resolved[f] = true
		delete(next.owed, f)
	}
	for _, told := range n.Resolved {
		ends(told.Labels.Fingerprint())
	}
	for _, f := range n.FiringToo {
		fires(f)
	}
	for _, f := range n.ResolvedToo {
		ends(f)
	}
	return next
}

// Announced says whether somebody was told that this alert fires and was not told yet that it does no more. Whoever keeps the
// alerts keeps one that is resolved at least until then.
func (s *State) Announced(l Labels) bool {
	print := l.Fingerprint()
	for _, r := range s.told {
		if r.owed[print] {
			return true
		}
	}
	return false
}

// Owed returns those alerts of which Announced says so.
func (s *State) Owed() map[Fingerprint]bool {
	owed := make(map[Fingerprint]bool)
	for _, r := range s.told {
		for f, is := range r.owed {
			if is {
				owed[f] = true
			}
		}
	}
	return owed
}

// Streams returns all of which something is remembered, in order.
func (s *State) Streams() []Stream {
	return slices.SortedFunc(maps.Keys(s.told), Stream.compare)
}
