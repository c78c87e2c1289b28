package alerting

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/pool"
)

// The kinds of event of who is told.
const (
	ReceiverSet     = "alert.receiver.set"     // Receiver; private: its Sealed
	ReceiverRemoved = "alert.receiver.removed" // named
	RoutingSet      = "alert.routing.set"      // alert.Routing
	RoutingRemoved  = "alert.routing.removed"  // nothing
)

// Receiver is somebody, or something, that messages can be sent to. Who makes a notifier of it knows what its type and its settings
// mean; here they are only kept.
type Receiver struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Settings   json.RawMessage `json:"settings,omitempty"`
	Sealed     []byte          `json:"sealed,omitempty"` // its secrets, which only who has sealed them can read
	FiringOnly bool            `json:"firing_only,omitempty"`
}

// The bounds on receivers and on the tree of routes.
const (
	MostReceivers = 1_000
	MostSettings  = 16 << 10 // bytes of the settings and the secrets of one
	MostRouting   = 512 << 10
)

// subject is the name under which a receiver's secrets are kept, and can be forgotten.
func subject(receiver string) string { return "receiver/" + receiver }

// Receivers returns those in the ledger by name.
func (p *Part) Receivers() []Receiver {
	return slices.SortedFunc(maps.Values(p.receivers), func(a, b Receiver) int { return strings.Compare(a.Name, b.Name) })
}

// Receiver returns the receiver in the ledger of that name.
func (p *Part) Receiver(name string) (Receiver, bool) {
	r, ok := p.receivers[name]
	return r, ok
}

// Configured returns a number that grows with each change of receivers and of the routing.
func (p *Part) Configured() int64 { return p.configure }

// Routing returns the tree of routes in the ledger or, if there is none, that of the configuration, and which it is.
func (p *Part) Routing() (r alert.Routing, ledger bool) {
	if p.routing != nil {
		return *p.routing, true
	}
	return p.config.Routing, false
}

// Tells says whether anybody can be told at all.
func (p *Part) Tells() bool {
	r, _ := p.Routing()
	return p.config.Dispatch.Route != nil || len(r.Receivers()) > 0
}

// firingOnly says whether a receiver does not want to know what is resolved.
func (p *Part) firingOnly(name string) bool {
	if r, ok := p.receivers[name]; ok {
		return r.FiringOnly
	}
	return slices.Contains(p.config.FiringOnly, name)
}

func (p *Part) setReceiver(r Receiver) ([]pool.Event, error) {
	if err := pool.ValidName(r.Name); err != nil {
		return nil, pool.InField("name", err)
	}
	if err := pool.ValidName(r.Type); err != nil {
		return nil, pool.InField("type", err)
	}
	if n := len(r.Settings) + len(r.Sealed); n > MostSettings {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "settings", Value: strconv.Itoa(n) + " bytes", Want: "at most 16 KiB, secrets included"}
	}
	if len(r.Settings) > 0 && !json.Valid(r.Settings) {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "settings", Want: "JSON"}
	}
	old, ok := p.receivers[r.Name]
	if !ok && len(p.receivers) >= MostReceivers {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "receivers", Want: "at most 1000"}
	}
	if ok && old.Type == r.Type && old.FiringOnly == r.FiringOnly && string(old.Settings) == string(r.Settings) && string(old.Sealed) == string(r.Sealed) {
		return nil, nil
	}
	sealed := r.Sealed
	r.Sealed = nil
	events, err := one(ReceiverSet, r)
	if err == nil && len(sealed) > 0 {
		events[0].Subject, events[0].Private = subject(r.Name), sealed
	}
	return events, err
}

// removeReceiver removes a receiver that no route names.
func (p *Part) removeReceiver(name string) ([]pool.Event, error) {
	if _, ok := p.receivers[name]; !ok {
		return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "receiver", Value: name}
	}
	if r, _ := p.Routing(); slices.Contains(r.Receivers(), name) && !slices.Contains(p.config.Receivers, name) {
		return nil, &pool.Error{Kind: pool.ErrInUse, Field: "receiver", Value: name, Want: "a receiver that no route names"}
	}
	events, err := one(ReceiverRemoved, named{name})
	if err != nil || slices.Contains(p.config.Receivers, name) {
		return events, err
	}
	var dead []Settled
	for _, m := range p.outbox.all {
		if m.Receiver == name && m.Dead.IsZero() {
			dead = append(dead, Settled{Key: m.Key, Attempts: m.Attempts, Error: "the receiver was removed"})
		}
	}
	died, err := p.decideOver(nil, dead)
	return append(events, died...), err
}

func (p *Part) setRouting(r alert.Routing) ([]pool.Event, error) {
	if p.config.Dispatch.Route != nil {
		return nil, &pool.Error{Kind: errors.ErrUnsupported, Field: "routing", Want: "a program that does not route by itself (Alerting.Route)"}
	}
	if err := r.Validate(); err != nil {
		return nil, Error(err)
	}
	if n := size(r); n > MostRouting {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "routing", Value: strconv.Itoa(n) + " bytes", Want: "at most 512 KiB"}
	}
	for _, name := range r.Receivers() {
		if _, ok := p.receivers[name]; !ok && !slices.Contains(p.config.Receivers, name) {
			return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "receiver", Value: name, Want: "receivers that there are"}
		}
	}
	if p.routing != nil {
		a, err := json.Marshal(*p.routing)
		if err != nil {
			return nil, err
		}
		if b, err := json.Marshal(r); err == nil && string(a) == string(b) {
			return nil, nil
		}
	}
	return one(RoutingSet, r)
}

// foldReceivers folds who can be told, and who is.
func (p *Part) foldReceivers(e *pool.Event) error {
	p.configure++
	switch e.Kind {
	case ReceiverSet:
		var r Receiver
		if err := pool.PartData(e.Data, &r); err != nil {
			return err
		}
		if r.Name == "" {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "name"}
		}
		r.Sealed = slices.Clone(e.Private)
		p.receivers = with(p.receivers, r.Name, r)
	case ReceiverRemoved:
		var gone named
		if err := pool.PartData(e.Data, &gone); err != nil {
			return err
		}
		p.receivers = without(p.receivers, gone.Name)
	case RoutingSet:
		var r alert.Routing
		if err := pool.PartData(e.Data, &r); err != nil {
			return err
		}
		p.routing = &r
	case RoutingRemoved:
		p.routing = nil
	}
	return nil
}

// forget lets go of the secrets that are kept under a subject.
func (p *Part) forget(of string) *Part {
	name, ok := strings.CutPrefix(of, "receiver/")
	r, there := p.receivers[name]
	if !ok || !there || r.Sealed == nil {
		return p
	}
	n := *p
	r.Sealed = nil
	n.receivers = with(p.receivers, name, r)
	n.configure++
	return &n
}

// Targets returns to whom an alert with these labels is told.
func (p *Part) Targets(l alert.Labels) []alert.Target {
	if route := p.config.Dispatch.Route; route != nil {
		return route(l)
	}
	r, _ := p.Routing()
	return r.Targets(l, p.firingOnly)
}

// Firing returns the alerts that fire in the group that an incident is about, and whether there is such a group.
func (p *Part) Firing(st *pool.State, incident string) (firing []alert.Labels, ok bool) {
	stream, ok := p.stream(st, incident)
	if !ok {
		return nil, false
	}
	for _, g := range p.dispatcher(st).Groups(p.Alerts()) {
		if g.Key != stream.Group {
			continue
		}
		for _, a := range g.Alerts {
			if a.Phase == alert.Firing {
				firing = append(firing, a.Labels)
			}
		}
	}
	return firing, true
}

// Told returns the receiver that is told of an incident, as long as something is going on of it, and false after that. Each incident is one receiver's.
func (p *Part) Told(st *pool.State, incident string) (receiver string, ok bool) {
	stream, ok := p.stream(st, incident)
	return stream.Receiver, ok
}

// stream returns what an incident is, if it is going on.
func (p *Part) stream(st *pool.State, incident string) (alert.Stream, bool) {
	for _, s := range p.groups.Streams() {
		if Incident(st.Identity(), s) == incident {
			return s, true
		}
	}
	return alert.Stream{}, false
}
