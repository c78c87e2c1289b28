package ring

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Decider is a pool.Part that takes commands.
type Decider interface {
	// Decide returns the events that follow from a command: of the part's own kinds, and none when there is nothing to change.
	// It is pure: st are the books that the events will be appended to, and at is the events' time.
	Decide(st *pool.State, command json.RawMessage, at time.Time) ([]pool.Event, error)
}

// Admitter is a pool.Part that is asked before a command is decided whether that may be, and has events of its own appended with what follows
// from it. It is asked by a Manager that was given something for it (Manager.With).
type Admitter interface {
	// Admit returns the events that are to be appended in the same batch as those of the command, behind them and under the same actor and cause; there
	// are none where nothing follows from the command. An error refuses it. With is what the part was given for it, written as JSON, on this
	// Manager or on another one. It is pure: st are the books that the events will be appended to, and at is the events' time.
	Admit(st *pool.State, with json.RawMessage, at time.Time) ([]pool.Event, error)
}

// admit asks the parts that were given something along with a command.
func (r *Ring) admit(who Caller, st *pool.State, at time.Time) (beside []pool.Event, err error) {
	if len(who.With) == 0 {
		return nil, nil
	}
	err = r.guarded(func() error {
		for _, name := range slices.Sorted(maps.Keys(who.With)) {
			p, _ := st.Part(name)
			a, ok := p.(Admitter)
			if !ok {
				return invalid("with", name, "a part of the books that admits commands")
			}
			events, err := a.Admit(st, who.With[name], at)
			if err != nil {
				return err
			}
			beside = append(beside, events...)
		}
		return nil
	})
	return beside, err
}

// Speaker is a pool.Part whose errors keep their type on the way from the Manager that leads to the one that was asked.
type Speaker interface {
	// WriteError returns what there is of the part's own in an error, nil if nothing, and ReadError makes the same error of it again.
	WriteError(err error) json.RawMessage
	ReadError(b json.RawMessage) error
}

// ToPart is a command for one of Config.Parts, in the part's own form.
type ToPart struct {
	Part    string          `json:"part"`
	Command json.RawMessage `json:"command"`
}

func (c *ToPart) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	p, _ := st.Part(c.Part)
	d, ok := p.(Decider)
	if !ok {
		return nil, invalid("part", c.Part, "a part of the books that takes commands")
	}
	return d.Decide(st, c.Command, r.now)
}
