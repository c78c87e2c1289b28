package ring

import (
	"encoding/json"
	"time"

	"github.com/berthage/berthage/pool"
)

// Decider is a pool.Part that takes commands.
type Decider interface {
	// Decide returns the events that follow from a command: of the part's own kinds, and none when there is nothing to change.
	// It is pure, and at is the time of the events.
	Decide(command json.RawMessage, at time.Time) ([]pool.Event, error)
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
	return d.Decide(c.Command, r.now)
}
