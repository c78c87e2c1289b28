package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

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
	dec := json.NewDecoder(bytes.NewReader(e.Data))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return &pool.Error{Kind: pool.ErrInvalid, Field: e.Kind, Want: "its data, and nothing else", Cause: err}
}

// Part returns the part of a State that accepts the events of this package. It knows nothing: they are facts that nothing is decided on.
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

// Save implements pool.Part.
func (part) Save() ([]byte, error) { return nil, nil }

// Load implements pool.Part.
func (p part) Load(saved []byte) (pool.Part, error) {
	return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "audit", Want: "nothing, which is what it saves"}
}
