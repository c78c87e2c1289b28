package alert

import (
	"strconv"
	"time"
)

// Acknowledgement says that somebody has taken an alert on. It lasts until the alert is resolved or it is withdrawn:
// meanwhile the alert does not escalate, and is not told again for its own sake.
type Acknowledgement struct {
	Labels Labels    `json:"labels"`
	Since  time.Time `json:"since"` // of the alert: when it was first known. An alert that fires anew has another
	By     string    `json:"by"`
	Note   string    `json:"note,omitempty"`
	At     time.Time `json:"at"`

	Withdrawn   time.Time `json:"withdrawn,omitzero"` // from then on it counts no more, and escalation starts again
	WithdrawnBy string    `json:"withdrawn_by,omitempty"`
}

func (a Acknowledgement) compare(b Acknowledgement) int { return a.Labels.Compare(b.Labels) }

// Acknowledge decides that somebody takes on an alert that fires. Who does so later takes it over. It fails with
// ErrInvalid for an alert that does not fire.
func (s *State) Acknowledge(a Alert, by, note string, now time.Time) (Event, error) {
	switch {
	case !a.firing(now):
		return Event{}, invalid("alert", a.Labels.String(), "an alert that fires")
	case by == "" || len(by) > MaxBy:
		return Event{}, invalid("acknowledgement.by", by, "who, in at most "+strconv.Itoa(MaxBy)+" bytes")
	case len(note) > MaxNote:
		return Event{}, invalid("acknowledgement.note", note, "at most "+strconv.Itoa(MaxNote)+" bytes")
	}
	return Event{AlertAcknowledged, Acknowledgement{Labels: a.Labels, Since: a.known(), By: by, Note: note, At: now}}, nil
}

// Withdraw decides that an alert is acknowledged no more; its escalation starts again. It fails with ErrNotFound for an alert that
// is not acknowledged.
func (s *State) Withdraw(labels Labels, by string, now time.Time) (Event, error) {
	ack, ok := s.acks[labels]
	if !ok || !ack.Withdrawn.IsZero() {
		return Event{}, &Error{Kind: ErrNotFound, Field: "acknowledgement", Value: labels.String()}
	}
	if len(by) > MaxBy {
		return Event{}, invalid("acknowledgement.by", by, "at most "+strconv.Itoa(MaxBy)+" bytes")
	}
	ack.Withdrawn, ack.WithdrawnBy = now, by
	return Event{AcknowledgementWithdrawn, ack}, nil
}

// Acknowledged returns the acknowledgement of an alert, if there is one that counts.
func (s *State) Acknowledged(a Alert) (Acknowledgement, bool) {
	ack, ok := s.acks[a.Labels]
	return ack, ok && ack.Withdrawn.IsZero() && ack.Since.Equal(a.known())
}

// escalates returns the moment from which the time until the alert escalates is counted, if it counts: the alert was told
// then, or it has fired anew, or its acknowledgement was withdrawn.
func (s *State) escalates(a Alert, told time.Time) (from time.Time, ok bool) {
	if _, acked := s.Acknowledged(a); acked {
		return time.Time{}, false
	}
	from = told
	if known := a.known(); known.After(from) {
		from = known
	}
	if ack, ok := s.acks[a.Labels]; ok && ack.Since.Equal(a.known()) && ack.Withdrawn.After(from) {
		from = ack.Withdrawn
	}
	return from, true
}
