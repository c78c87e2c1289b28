package ring

import (
	"encoding/json"
	"time"

	"github.com/berthage/berthage/pool"
)

// Decider is a pool.Part that takes commands.
type Decider interface {
	// Decide returns the events that follow from a command: of the part's own kinds, and none when there is nothing to change.
	// It is pure: st are the books that the events will be appended to, and at is the events' time.
	Decide(st *pool.State, command json.RawMessage, at time.Time) ([]pool.Event, error)
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
