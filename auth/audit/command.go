package audit

import (
	"encoding/json"
	"time"

	"github.com/berthage/berthage/pool"
)

// The kinds of event of the part that Part returns.
const (
	KindCommand  = "audit.command"  // Command; private: From
	KindRefusals = "audit.refusals" // Refusals
)

// Command is the data of KindCommand: what the envelopes of the events that a command leads to do not say. It stands in the same
// batch as they, with the same actor and cause, so that it is decided, appended and proved together with them; a command
// that led to none may leave it alone.
type Command struct {
	Action   string `json:"action"`             // which command: "launch instance"
	Target   string `json:"target,omitempty"`   // on what
	Decision string `json:"decision,omitempty"` // how it was decided that the actor may
	Result   Result `json:"result"`
	Detail   string `json:"detail,omitempty"` // of the result: an error
	From     string `json:"-"`                // the client's address, which is personal data: in the event's Private
}

// Event returns the command as an event without its envelope. The address is forgotten with the subject, which is the principal. Who appends the
// event gives it a salt and seals it, as events with private parts have it.
func (c *Command) Event(subject string) (pool.Event, error) {
	e, err := pool.PartEvent(KindCommand, 1, c)
	if err == nil && c.From != "" {
		e.Subject, e.Private = subject, []byte(c.From)
	}
	return e, err
}

// ReadCommand reads the data of KindCommand. From is empty once it has been forgotten.
func ReadCommand(e *pool.Event) (Command, error) {
	var c Command
	err := read(e, &c)
	c.From = string(e.Private)
	return c, err
}

// read decodes the data of an event of version 1.
func read(e *pool.Event, v any) error {
	if e.Version != 1 {
		return &pool.Error{Kind: pool.ErrUnknownKind, Field: "version", Value: e.Kind}
	}
	return pool.PartData(e.Data, v)
}

// Record is what the part takes along with a command (berthage.Manager.With, under the name "audit"), whose events it then stands behind, or as one of its own, by
// berthage.Manager.Decide: it becomes the events of this package, with the actor and the cause of the Manager that it is given to.
type Record struct {
	Command  *Command   `json:"command,omitempty"`
	From     string     `json:"from,omitempty"`    // the command's
	Subject  string     `json:"subject,omitempty"` // the principal, with whom From is forgotten; needed where that is given
	Refusals []Refusals `json:"refusals,omitempty"`
}

// mostRefusals bounds those of one Record: of two minutes of a Counter that has its bound.
const mostRefusals = 2 * (defaultMost + 1)

// Part returns the part of a State that accepts the events of this package, and takes a Record. It knows nothing: they are facts that nothing is
// decided on.
func Part() pool.Part { return part{} }

type part struct{}

// Name implements pool.Part.
func (part) Name() string { return "audit" }

// Fold implements pool.Part.
func (p part) Fold(e *pool.Event) (pool.Part, error) {
	var err error
	switch e.Kind {
	case pool.KindForgotten:
	case KindCommand:
		_, err = ReadCommand(e)
	case KindRefusals:
		_, err = ReadRefusals(e)
	default:
		err = &pool.Error{Kind: pool.ErrUnknownKind, Field: "kind", Value: e.Kind}
	}
	return p, err
}

// Decide implements berthage.Decider.
func (part) Decide(_ *pool.State, command json.RawMessage, _ time.Time) ([]pool.Event, error) {
	var r Record
	if err := pool.PartData(command, &r); err != nil {
		return nil, err
	}
	var events []pool.Event
	if c := r.Command; c != nil {
		if r.From != "" && r.Subject == "" {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "subject", Want: "whose address it is"}
		}
		e, err := (&Command{Action: cut(c.Action), Target: cut(c.Target), Decision: cut(c.Decision), Result: c.Result, Detail: cut(c.Detail), From: cut(r.From)}).Event(r.Subject)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if len(r.Refusals) > mostRefusals {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "refusals", Value: number(len(r.Refusals)), Want: "at most " + number(mostRefusals)}
	}
	for _, refused := range r.Refusals {
		refused.Principal, refused.Action, refused.Reason = cut(refused.Principal), cut(refused.Action), cut(refused.Reason)
		if refused.Count < 1 {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "refusals.count", Value: number(refused.Count), Want: "at least 1"}
		}
		e, err := refused.Event()
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// Admit implements berthage.Admitter: with is a Record, whose events are appended in the batch of the command that it is about.
func (p part) Admit(st *pool.State, with json.RawMessage, at time.Time) ([]pool.Event, error) {
	return p.Decide(st, with, at)
}

// Save implements pool.Part.
func (part) Save() ([]byte, error) { return nil, nil }

// Load implements pool.Part.
func (p part) Load(saved []byte) (pool.Part, error) {
	return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "audit", Want: "nothing, which is what it saves"}
}
