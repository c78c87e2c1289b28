package alert

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// SilencePhase is where a silence stands at a moment.
type SilencePhase string

// The phases of a silence, in their order.
const (
	SilencePending SilencePhase = "pending" // it has not begun
	SilenceActive  SilencePhase = "active"  // what it matches is not told
	SilenceExpired SilencePhase = "expired" // it has ended, and is kept to be looked at
)

// SilencesKept is for how long a silence that has expired is kept.
const SilencesKept = 5 * 24 * time.Hour

// MaxNote is the greatest length in bytes of what a person writes to a silence or an acknowledgement, and MaxBy that of
// who it was.
const (
	MaxNote = 4096
	MaxBy   = 256
)

// Silence keeps alerts that its matchers match from being told, from Starts until Ends.
type Silence struct {
	ID       string    `json:"id"`
	Matchers Matchers  `json:"matchers"`
	Starts   time.Time `json:"starts"`
	Ends     time.Time `json:"ends"`
	By       string    `json:"by"`             // who wants it
	Note     string    `json:"note,omitempty"` // and why
	Updated  time.Time `json:"updated"`        // when it was last changed
}

// Phase returns where the silence stands at a moment. It is active from Starts on, and no more at Ends.
func (s Silence) Phase(at time.Time) SilencePhase {
	switch {
	case at.Before(s.Starts):
		return SilencePending
	case at.Before(s.Ends):
		return SilenceActive
	}
	return SilenceExpired
}

// validate refuses what can never be a silence, and one that would match every alert there is.
func (s Silence) validate() error {
	switch {
	case len(s.Matchers) == 0 || len(s.Matchers) > MaxMatchers:
		return invalid("silence.matchers", strconv.Itoa(len(s.Matchers)), "1 to "+strconv.Itoa(MaxMatchers)+" matchers")
	case !slices.ContainsFunc(s.Matchers, func(m Matcher) bool { return !matchesNothing(m) }):
		return invalid("silence.matchers", s.Matchers.String(), "one that does not match an empty value")
	case s.Ends.IsZero():
		return invalid("silence.ends", "", "when it ends")
	case s.Ends.Before(s.Starts):
		return invalid("silence.ends", s.Ends.Format(time.RFC3339), "not before it starts")
	case len(s.By) > MaxBy:
		return invalid("silence.by", s.By, "at most "+strconv.Itoa(MaxBy)+" bytes")
	case len(s.Note) > MaxNote:
		return invalid("silence.note", s.Note, "at most "+strconv.Itoa(MaxNote)+" bytes")
	}
	return nil
}

// matchesNothing says whether a matcher asks for an empty value. One that asks for something else does not, though it
// may match an empty value too: "everything but this" may be meant.
func matchesNothing(m Matcher) bool {
	return m.Value() == "" && m.Op() == Equal || m.Op() == Match && m.Matches(Labels{})
}

// SetSilence decides what comes of a silence that somebody wants: one without an ID is new and gets the given id, one
// with an ID is a change. What an active silence has been stays to be seen, so that no more than its end, author and note
// are changed in place, and of one that has not begun its start too; any other change ends it and makes a new one. A new
// silence does not start in the past.
//
// It returns the silence as it will be, and the events. It fails with ErrInvalid, and with ErrNotFound for an ID that there
// is not.
func (s *State) SetSilence(want Silence, id string, now time.Time) (Silence, []Event, error) {
	if want.Starts.IsZero() {
		want.Starts = now
	}
	if err := want.validate(); err != nil {
		return Silence{}, nil, err
	}
	want.Updated = now
	var events []Event
	if want.ID != "" {
		old, ok := s.silences[want.ID]
		if !ok {
			return Silence{}, nil, &Error{Kind: ErrNotFound, Field: "silence", Value: want.ID}
		}
		if old.mayBecome(want, now) {
			return want, []Event{{SilenceSet, want}}, nil
		}
		if old.Phase(now) != SilenceExpired {
			events = append(events, Event{SilenceEnded, SilenceEnd{old.ID, want.By}})
		}
	}
	if id == "" {
		return Silence{}, nil, invalid("silence.id", "", "an id for the new one")
	}
	if _, ok := s.silences[id]; ok {
		return Silence{}, nil, &Error{Kind: ErrExists, Field: "silence", Value: id}
	}
	want.ID = id
	if want.Starts.Before(now) {
		want.Starts = now
	}
	if want.Ends.Before(want.Starts) {
		return Silence{}, nil, invalid("silence.ends", want.Ends.Format(time.RFC3339), "a moment that is not past")
	}
	return want, append(events, Event{SilenceSet, want}), nil
}

// mayBecome says whether a silence may be changed in place.
func (s Silence) mayBecome(want Silence, now time.Time) bool {
	if s.Matchers.String() != want.Matchers.String() {
		return false
	}
	switch s.Phase(now) {
	case SilencePending:
		return !want.Starts.Before(now)
	case SilenceActive:
		return s.Starts.Unix() == want.Starts.Unix() && !want.Ends.Before(now)
	}
	return false
}

// EndSilence decides what comes of ending a silence now. One that has expired stays as it is. It fails with ErrNotFound.
func (s *State) EndSilence(id, by string, now time.Time) ([]Event, error) {
	old, ok := s.silences[id]
	if !ok {
		return nil, &Error{Kind: ErrNotFound, Field: "silence", Value: id}
	}
	if len(by) > MaxBy {
		return nil, invalid("silence.by", by, "at most "+strconv.Itoa(MaxBy)+" bytes")
	}
	if old.Phase(now) == SilenceExpired {
		return nil, nil
	}
	return []Event{{SilenceEnded, SilenceEnd{id, by}}}, nil
}

// Silences returns all silences by ID, those that have expired of late among them.
func (s *State) Silences() []Silence {
	all := make([]Silence, 0, len(s.silences))
	for _, silence := range s.silences {
		all = append(all, silence)
	}
	slices.SortFunc(all, func(a, b Silence) int { return strings.Compare(a.ID, b.ID) })
	return all
}
