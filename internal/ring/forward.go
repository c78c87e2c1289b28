package ring

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// forwarded is a command on its way to the leader of another process.
type forwarded struct {
	Command Command `json:"command"`
	Caller  Caller  `json:"caller"`
}

// reply is what the leader answers.
type reply struct {
	Revision pool.Revision `json:"revision"`
	Error    *wireError    `json:"error,omitempty"`
}

// wireError carries an error across processes with its kind and its typed explanation.
type wireError struct {
	Kind     string             `json:"kind,omitempty"`
	Op       string             `json:"op,omitempty"`
	Field    string             `json:"field,omitempty"`
	Value    string             `json:"value,omitempty"`
	Want     string             `json:"want,omitempty"`
	Text     string             `json:"text,omitempty"`
	Refusal  *scheduler.Refusal `json:"refusal,omitempty"`
	Exceeded *quota.Exceeded    `json:"exceeded,omitempty"`
	Gang     *wireGang          `json:"gang,omitempty"`

	Part string          `json:"part,omitempty"` // a Speaker
	Said json.RawMessage `json:"said,omitempty"` // by it
}

// wireGang is a scheduler.GangRefusal but for its cause.
type wireGang struct {
	Member  int      `json:"member"`
	Placed  int      `json:"placed"`
	Domains []string `json:"domains,omitempty"`
	Certain bool     `json:"certain"`
}

// wireKinds are the kinds that a command's error can have.
func wireKinds() []error {
	return []error{
		pool.ErrInvalid, pool.ErrOverflow, pool.ErrNotFound, pool.ErrExists, pool.ErrInUse, pool.ErrWrongState, pool.ErrExpired, pool.ErrReleased, pool.ErrCommitted,
		pool.ErrNoRoom, pool.ErrOverQuota, pool.ErrUnavailable, pool.ErrUnknown, pool.ErrStale, pool.ErrNotLeader,
		errors.ErrUnsupported,
	}
}

func toWire(err error, parts []pool.Part) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Text: err.Error()}
	for _, p := range parts {
		if s, ok := p.(Speaker); ok {
			if said := s.WriteError(err); said != nil {
				w.Part, w.Said = p.Name(), said
				return w
			}
		}
	}
	for _, k := range wireKinds() {
		if errors.Is(err, k) {
			w.Kind = k.Error()
			break
		}
	}
	var e *pool.Error
	if errors.As(err, &e) {
		w.Op, w.Field, w.Value, w.Want, w.Text = e.Op, e.Field, e.Value, e.Want, ""
		if e.Cause != nil {
			w.Text = e.Cause.Error()
		}
	}
	errors.As(err, &w.Refusal)
	errors.As(err, &w.Exceeded)
	var g *scheduler.GangRefusal
	if errors.As(err, &g) {
		w.Gang = &wireGang{g.Member, g.Placed, g.Domains, g.Certain}
	}
	return w
}

func (w *wireError) err(parts []pool.Part) error {
	switch {
	case w == nil:
		return nil
	case w.Part != "":
		for _, p := range parts {
			if s, ok := p.(Speaker); ok && p.Name() == w.Part {
				return s.ReadError(w.Said)
			}
		}
	case w.Gang != nil:
		g := &scheduler.GangRefusal{Member: w.Gang.Member, Placed: w.Gang.Placed, Domains: w.Gang.Domains, Certain: w.Gang.Certain, Cause: pool.ErrNoRoom}
		if w.Refusal != nil {
			g.Cause = w.Refusal
		}
		return g
	case w.Refusal != nil:
		return w.Refusal
	case w.Exceeded != nil:
		return w.Exceeded
	}
	e := &pool.Error{Op: w.Op, Field: w.Field, Value: w.Value, Want: w.Want}
	for _, k := range wireKinds() {
		if k.Error() == w.Kind {
			e.Kind = k
		}
	}
	if w.Text != "" {
		e.Cause = errors.New(w.Text)
	}
	return e
}

// forward hands a command to the leader. done is false when no answer came, or when the other is not the
// leader either.
func (r *Ring) forward(ctx context.Context, address string, c Command, who Caller) (done bool, err error) {
	body, err := json.Marshal(forwarded{Command: c, Caller: who})
	if err != nil {
		return true, err
	}
	answer, err := r.cfg.Forward(ctx, address, body)
	if ctx.Err() != nil {
		return true, &pool.Error{Kind: pool.ErrUnknown, Cause: ctx.Err()}
	}
	if err != nil {
		return false, err
	}
	var a reply
	if err := json.Unmarshal(answer, &a); err != nil {
		return false, err
	}
	err = a.Error.err(r.cfg.Parts)
	if errors.Is(err, pool.ErrNotLeader) {
		return false, err
	}
	// The caller reads its own write: follow the ledger up to what the leader has committed.
	if err == nil && r.Head() < a.Revision {
		if err := r.catchUp(ctx); err != nil {
			return true, &pool.Error{Op: "read back a forwarded command", Kind: pool.ErrUnavailable, Cause: err}
		}
	}
	return true, err
}

// Accept carries out a command that another process has handed over with its Forward, and returns the
// answer. It does not hand it on: a ring that does not lead answers so.
func (r *Ring) Accept(ctx context.Context, body []byte) ([]byte, error) {
	var a reply
	f, err := decodeCommand(body)
	var in input
	if err == nil {
		in, err = f.Command.input()
	}
	if err == nil && r.lead.Load() == nil {
		err = &pool.Error{Op: "accept a forwarded command", Kind: pool.ErrNotLeader}
	}
	if err == nil {
		a.Revision, err = r.submit(ctx, in, f.Caller)
	}
	a.Error = toWire(err, r.cfg.Parts)
	return json.Marshal(a)
}
