package alerting

import (
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/pool"
)

// Command is what is asked of the part; exactly one field is set.
type Command struct {
	SetRule     *alert.Rule       `json:"set_rule,omitempty"`
	RemoveRule  string            `json:"remove_rule,omitempty"`
	Silence     *SetSilence       `json:"silence,omitempty"`
	EndSilence  *alert.SilenceEnd `json:"end_silence,omitempty"`
	Acknowledge *Acknowledge      `json:"acknowledge,omitempty"`
	Withdraw    *Acknowledge      `json:"withdraw,omitempty"`
	Step        *Step             `json:"step,omitempty"`
	Done        *Done             `json:"done,omitempty"`

	SetReceiver    *Receiver      `json:"set_receiver,omitempty"`
	RemoveReceiver string         `json:"remove_receiver,omitempty"`
	SetRouting     *alert.Routing `json:"set_routing,omitempty"`
	RemoveRouting  bool           `json:"remove_routing,omitempty"`
	Report         *Happening     `json:"report,omitempty"`
	Over           *Over          `json:"over,omitempty"`
	Revive         string         `json:"revive,omitempty"` // the key of a message that is dead

	Epoch int64 `json:"epoch,omitempty"` // of the leader, for Step, Done and Over
}

// Over is what became of messages.
type Over struct {
	Delivered []Settled `json:"delivered,omitempty"`
	Dead      []Settled `json:"dead,omitempty"`
}

// SetSilence is a silence that is wanted, and the id that it gets if it is a new one.
type SetSilence struct {
	alert.Silence
	New string `json:"new"`
}

// Acknowledge is that somebody takes an alert on, or does so no more.
type Acknowledge struct {
	Labels alert.Labels `json:"labels"`
	By     string       `json:"by"`
	Note   string       `json:"note,omitempty"`
}

// Step is what an engine found, for which the ledger is to be brought up to date, and then who is to be told.
type Step struct {
	Changes []alert.Change `json:"changes,omitempty"`
	Last    time.Time      `json:"last,omitzero"` // the moment of which Settled last said so
}

// MostStep is how many bytes of changes a step may carry, and MostEvents after how many bytes of events it goes no further: what is left
// comes with the next step. Together they, and one notification more, are less than a batch may be.
const (
	MostStep   = 256 << 10
	MostEvents = 384 << 10
)

// errNoSpace is that an event does not fit into the batch any more, errTooLarge that it fits into none.
var (
	errNoSpace  = errors.New("no space in the batch")
	errTooLarge = errors.New("no batch can hold the event")
)

// MostRules is the greatest number of rules, and MostBytes of how many bytes of JSON all of them, and all silences, may be: a snapshot has to
// hold them.
const (
	MostRules = 10_000
	MostBytes = 16 << 20
)

// size returns of how many bytes of JSON something is.
func size(v any) int {
	b, err := json.Marshal(v)
	if err != nil {
		return math.MaxInt32
	}
	return len(b)
}

// Decide implements ring.Decider.
func (p *Part) Decide(st *pool.State, command json.RawMessage, at time.Time) ([]pool.Event, error) {
	var c Command
	if err := pool.PartData(command, &c); err != nil {
		return nil, err
	}
	if (c.Step != nil || c.Done != nil || c.Over != nil) && c.Epoch != st.Epoch() {
		return nil, &pool.Error{Kind: pool.ErrNotLeader, Field: "epoch", Want: "the present leader's"}
	}
	switch {
	case c.SetRule != nil:
		return p.setRule(*c.SetRule)
	case c.RemoveRule != "":
		if _, ok := p.rules[c.RemoveRule]; !ok {
			return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "rule", Value: c.RemoveRule}
		}
		return one(RuleRemoved, named{c.RemoveRule})
	case c.Silence != nil:
		if size(p.groups.Silences())+size(c.Silence) > MostBytes {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "silences", Want: "at most 16 MiB of them all"}
		}
		_, events, err := p.groups.SetSilence(c.Silence.Silence, c.Silence.New, at)
		return encoded(events, err)
	case c.EndSilence != nil:
		events, err := p.groups.EndSilence(c.EndSilence.ID, c.EndSilence.By, at)
		return encoded(events, err)
	case c.Acknowledge != nil:
		a, ok := p.alerts[c.Acknowledge.Labels]
		if !ok {
			return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "alert", Value: c.Acknowledge.Labels.String()}
		}
		if ack, ok := p.groups.Acknowledged(a); ok && ack.By == c.Acknowledge.By && ack.Note == c.Acknowledge.Note {
			return nil, nil
		}
		event, err := p.groups.Acknowledge(a, c.Acknowledge.By, c.Acknowledge.Note, at)
		return encoded([]alert.Event{event}, err)
	case c.Withdraw != nil:
		event, err := p.groups.Withdraw(c.Withdraw.Labels, c.Withdraw.By, at)
		return encoded([]alert.Event{event}, err)
	case c.Step != nil:
		return p.step(st, *c.Step, at)
	case c.SetReceiver != nil:
		return p.setReceiver(*c.SetReceiver)
	case c.RemoveReceiver != "":
		return p.removeReceiver(c.RemoveReceiver)
	case c.SetRouting != nil:
		return p.setRouting(*c.SetRouting)
	case c.RemoveRouting:
		if p.routing == nil {
			return nil, nil
		}
		return one(RoutingRemoved, struct{}{})
	case c.Report != nil:
		return c.Report.report()
	case c.Over != nil:
		return p.decideOver(c.Over.Delivered, c.Over.Dead)
	case c.Revive != "":
		return p.decideRevive(c.Revive)
	case c.Done != nil:
		for _, d := range p.due {
			if d == c.Done.Due {
				return one(Acted, c.Done)
			}
		}
		return nil, nil
	}
	return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "command", Want: "exactly one command of a kind that this version knows"}
}

func (p *Part) setRule(r alert.Rule) ([]pool.Event, error) {
	if err := r.Validate(); err != nil {
		return nil, Error(err)
	}
	if size(p.Rules())+size(r) > MostBytes {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "rules", Want: "at most 16 MiB of them all"}
	}
	old, ok := p.rules[r.Name]
	if !ok && len(p.rules) >= MostRules {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "rules", Want: "at most 10000 rules"}
	}
	if ok {
		a, err := json.Marshal(old)
		if err != nil {
			return nil, err
		}
		if b, err := json.Marshal(r); err == nil && string(a) == string(b) {
			return nil, nil
		}
	}
	return one(RuleSet, r)
}

// step brings the alerts up to date, and then decides whom to tell until there is nothing more to decide.
func (p *Part) step(st *pool.State, c Step, at time.Time) ([]pool.Event, error) {
	var events []pool.Event
	size := 0
	now := p
	add := func(kind string, data any) error {
		e, err := pool.PartEvent(kind, 1, data)
		if err != nil {
			return err
		}
		if len(e.Data) > pool.MaxBatch {
			return errTooLarge
		}
		if size+len(e.Data) > pool.MaxBatch {
			return errNoSpace
		}
		e.Time, e.Revision = at, st.Head()+1
		n, err := now.Fold(&e)
		if err != nil {
			return err
		}
		now, size = n.(*Part), size+len(e.Data)
		e.Time, e.Revision = time.Time{}, 0
		events = append(events, e)
		return nil
	}
	if len(c.Changes) > 0 {
		if err := add(Changed, changes{c.Changes}); err != nil {
			return nil, err
		}
	}
	d := p.dispatcher(st)
	for last := c.Last; size < MostEvents; last = at {
		before := len(events)
		for _, e := range d.Plan(now.groups, now.Alerts(), last, at).Events {
			if size >= MostEvents {
				break
			}
			if err := add(e.Kind, e.Data); err == errNoSpace {
				return events, nil // it comes with the next step
			} else if err != nil && err != errTooLarge { // what can never be written holds nothing else up
				return nil, err
			}
		}
		if len(events) == before {
			break
		}
	}
	for _, t := range now.announce(st, d, at) {
		if err := add(Told, t); err == errNoSpace || size >= MostEvents {
			break
		} else if err != nil && err != errTooLarge {
			return nil, err
		}
	}
	return events, nil
}

// Settled says whether all has been decided that was to be told at a moment.
func (p *Part) Settled(st *pool.State, last, at time.Time) bool {
	d := p.dispatcher(st)
	return len(d.Plan(p.groups, p.Alerts(), last, at).Events) == 0 && len(p.announce(st, d, at)) == 0
}

// dispatcher returns the dispatcher that knows which things are quiet.
func (p *Part) dispatcher(st *pool.State) alert.Dispatcher {
	d := p.config.Dispatch
	d.Ledger = st.Identity()
	d.Route = p.Targets
	own := d.Quiet
	d.Quiet = func(l alert.Labels) string {
		if l.Get(EventLabel) != "" { // that it is suspended is what is to be told
			return ""
		}
		if why := Quiet(st, l); why != "" || own == nil {
			return why
		}
		return own(l)
	}
	return d
}

// The labels that name what an alert is about.
const (
	InstanceLabel = "vm_id" // a pool.InstanceID
	HostLabel     = "host"  // a pool.HostID
)

// Quiet returns why nobody is told of an alert with these labels: the instance that it is about is not meant to run, or the host is
// being emptied. Empty: it is told.
func Quiet(st *pool.State, l alert.Labels) string {
	if id := pool.InstanceID(l.Get(InstanceLabel)); id != "" {
		i, ok := st.Instance(id)
		switch {
		case !ok:
			return ""
		case i.Want != pool.Running:
			return "the instance is wanted " + string(i.Want)
		}
		return ""
	}
	if id := pool.HostID(l.Get(HostLabel)); id != "" {
		if h, ok := st.Host(id); ok && h.Conditions.Has(pool.Draining) {
			return "the host is being drained"
		}
	}
	return ""
}

func one(kind string, data any) ([]pool.Event, error) {
	e, err := pool.PartEvent(kind, 1, data)
	if err != nil {
		return nil, err
	}
	return []pool.Event{e}, nil
}

// encoded makes events of the ledger of those of package alert.
func encoded(events []alert.Event, err error) ([]pool.Event, error) {
	if err != nil {
		return nil, Error(err)
	}
	var out []pool.Event
	for _, e := range events {
		made, err := pool.PartEvent(e.Kind, 1, e.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, made)
	}
	return out, nil
}
