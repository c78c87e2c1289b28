package auth

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Warrant is who has a command done, and what they must be allowed for it. Given to a Manager (berthage.Manager.With, under Name), it has that decided
// again on the revision that the command's events are appended to: a right that was taken away since it was asked for is none any more. It
// is for commands that are not this part's own, which have Command.By.
type Warrant struct {
	By  Identity `json:"by"` // to be heard still, even for nothing
	For []Act    `json:"for,omitempty"`
}

// Act is something that is done to a Thing.
type Act struct {
	Verb  Verb // exactly one
	Thing Thing
}

// MostActs bounds those of a Warrant.
const MostActs = 100

// act is an Act in JSON.
type act struct {
	Verb     string   `json:"verb"`
	Resource Resource `json:"resource"`
	Project  string   `json:"project,omitempty"`
	Owner    string   `json:"owner,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (a Act) MarshalJSON() ([]byte, error) {
	return json.Marshal(act{a.Verb.String(), a.Thing.Resource, a.Thing.Project, a.Thing.Owner})
}

// UnmarshalJSON implements json.Unmarshaler. It takes nothing but what MarshalJSON writes.
func (a *Act) UnmarshalJSON(b []byte) error {
	var in act
	if err := pool.PartData(b, &in); err != nil {
		return err
	}
	v, err := ParseVerb(in.Verb)
	*a = Act{v, Thing{in.Resource, in.Project, in.Owner}}
	return err
}

// Admit makes the State a berthage.Admitter: with is a Warrant in JSON. It has no events of its own. The error is a *Refusal, or pool.ErrInvalid for what is
// no Warrant.
func (s *State) Admit(st *pool.State, with json.RawMessage, at time.Time) ([]pool.Event, error) {
	if len(with) > MaxCommand {
		return nil, invalid("warrant", "", "at most 256 KiB")
	}
	var w Warrant
	if err := read(with, &w); err != nil {
		return nil, err
	}
	if len(w.For) > MostActs {
		return nil, invalid("warrant", "", "at most 100 acts")
	}
	if err := s.Good(w.By, at); err != nil {
		return nil, err
	}
	projects := s.projects(st)
	for _, a := range w.For {
		q := Request{By: w.By, Verb: a.Verb, Thing: a.Thing}
		if err := s.Access(projects, q, at).Err(q); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// projects returns how projects lie in one another in the books, as New was told to find out.
func (s *State) projects(st *pool.State) Lineage {
	switch {
	case s.lineage != nil:
		return s.lineage(st)
	case st != nil:
		return LineageOf(st)
	}
	return nil
}

// said is a Refusal in JSON, but for its cause.
type said struct {
	Kind   string        `json:"kind"`
	Reason Reason        `json:"reason"`
	Verb   string        `json:"verb,omitempty"`
	On     Resource      `json:"on,omitempty"`
	Hidden bool          `json:"hidden,omitempty"`
	Wait   time.Duration `json:"wait,omitempty"`
}

// kinds are those of a Refusal.
func kinds() []error { return []error{ErrUnauthenticated, ErrForbidden, ErrThrottled} }

// WriteError makes the State a berthage.Speaker, for what it refuses.
func (s *State) WriteError(err error) json.RawMessage {
	var r *Refusal
	if !errors.As(err, &r) {
		return nil
	}
	out := said{Reason: r.Reason, On: r.On, Hidden: r.Hidden, Wait: r.Wait}
	if r.Verb != 0 {
		out.Verb = r.Verb.String()
	}
	if r.Kind != nil {
		out.Kind = r.Kind.Error()
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return b
}

// ReadError is the other half of WriteError. What cannot be read refuses all the same, and hides the thing.
func (s *State) ReadError(b json.RawMessage) error {
	var in said
	unreadable := &Refusal{Kind: ErrForbidden, Reason: NotInTable, Hidden: true}
	if read(b, &in) != nil {
		return unreadable
	}
	n := slices.IndexFunc(kinds(), func(k error) bool { return k.Error() == in.Kind })
	if n < 0 {
		return unreadable
	}
	r := &Refusal{Kind: kinds()[n], Reason: in.Reason, On: in.On, Hidden: in.Hidden, Wait: in.Wait}
	if in.Verb != "" {
		v, err := ParseVerb(in.Verb)
		if err != nil {
			return unreadable
		}
		r.Verb = v
	}
	return r
}
