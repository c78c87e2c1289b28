package audit

import (
	"maps"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Refusals is what was refused to a principal in one minute. It is the data of KindRefusals.
type Refusals struct {
	Principal string    `json:"principal,omitempty"` // empty: the others, of whom there were too many in that minute to be told one by one
	Minute    time.Time `json:"minute"`              // its beginning, UTC
	Count     int64     `json:"count"`
	Action    string    `json:"action"`           // the first that was refused
	Reason    string    `json:"reason,omitempty"` // why that was
}

// Event returns it as an event without its envelope.
func (r *Refusals) Event() (pool.Event, error) { return pool.PartEvent(KindRefusals, 1, r) }

// ReadRefusals reads the data of KindRefusals.
func ReadRefusals(e *pool.Event) (Refusals, error) {
	var r Refusals
	err := read(e, &r)
	if err == nil && r.Count < 1 {
		err = &pool.Error{Kind: pool.ErrInvalid, Field: "count", Value: number(r.Count), Want: "at least 1"}
	}
	return r, err
}

// others is who stands in an entry for those who are not told one by one.
const others = "(others)"

// Entry returns it as a line of an audit log.
func (r *Refusals) Entry() Entry {
	e := Entry{Time: r.Minute, Actor: r.Principal, Action: r.Action, Decision: r.Reason, Result: Refused, Count: r.Count}
	if e.Actor == "" {
		e.Actor = others
	}
	return e
}

// Counter counts what is refused to those who have proved who they are, so that each of them makes at most one record a minute, however
// often they knock. What is refused to strangers is not for it: count that by address, and forget it.
//
// Time comes in as now; a now that is earlier than one before counts as that one. The zero value is ready. It is not safe for concurrent use.
type Counter struct {
	// Most bounds the principals that are told apart within a minute, those who come first; the rest are one record. 0: 1000.
	Most int

	now    time.Time // the latest
	counts map[string]*Refusals
}

// defaultMost is Counter.Most where that says nothing.
const defaultMost = 1000

// Add counts a refusal, and returns the records of the last minute if now is in another one.
func (c *Counter) Add(now time.Time, principal, action, reason string) []Refusals {
	due := c.Due(now)
	if c.counts == nil {
		c.counts = make(map[string]*Refusals)
	}
	principal = cut(principal)
	r, ok := c.counts[principal]
	if most := c.Most; !ok {
		if most == 0 {
			most = defaultMost
		}
		if len(c.counts) >= most {
			principal = ""
		}
		if r, ok = c.counts[principal]; !ok {
			r = &Refusals{Principal: principal, Minute: minute(c.now), Action: cut(action), Reason: cut(reason)}
			c.counts[principal] = r
		}
	}
	r.Count++
	return due
}

func minute(t time.Time) time.Time { return t.UTC().Truncate(time.Minute) }

// Due returns the records of the minute before that of now, in the order of their principals, once. Call it now and then,
// so that the records of the last refusals are not kept until the next one.
func (c *Counter) Due(now time.Time) []Refusals {
	before := minute(c.now)
	if now.After(c.now) {
		c.now = now
	}
	if minute(c.now).Equal(before) {
		return nil
	}
	return c.Flush()
}

// Flush returns the records of the minute that is not over: for a program that ends. There may be others for the same minute after it.
func (c *Counter) Flush() []Refusals {
	var out []Refusals
	for _, principal := range slices.Sorted(maps.Keys(c.counts)) {
		out = append(out, *c.counts[principal])
	}
	c.counts = nil
	return out
}
