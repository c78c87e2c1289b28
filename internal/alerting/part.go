// Package alerting keeps rules, silences, acknowledgements, alerts and who was told of them in the pool's ledger: it makes of
// package alert, which knows no ledger, a [pool.Part]. Its commands are decided in the ring, like all others.
package alerting

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/pool"
)

// Name is that of the part, with which its kinds of event begin.
const Name = "alert"

// The kinds of event that are not package alert's own.
const (
	RuleSet     = "alert.rule.set"     // alert.Rule
	RuleRemoved = "alert.rule.removed" // named
	Changed     = "alert.changed"      // changes: alerts that began to fire or are resolved, and what is to be done about it
	Acted       = "alert.acted"        // Acted: what became of it
)

type named struct {
	Name string `json:"name"`
}

type changes struct {
	Changes []alert.Change `json:"changes"`
}

// Due is something that is to be done because an alert began to fire, until it is recorded what became of it.
type Due struct {
	Labels alert.Labels `json:"labels"` // of the alert
	Fired  time.Time    `json:"fired"`
	Act    alert.Act    `json:"act"`
}

// Done is what became of something that was due.
type Done struct {
	Due
	Error string `json:"error,omitempty"` // why it was not done
}

// Keep bounds what is kept to be looked at of alerts that are resolved and that everybody was told of.
const (
	Keep     = 24 * time.Hour
	MostKept = 1000
)

// Part is what the ledger knows of alerts. It is immutable.
type Part struct {
	config Config

	rules    map[string]alert.Rule
	alerts   map[alert.Labels]alert.Alert // firing, and resolved of late
	due      []Due                        // in the order in which they came
	groups   *alert.State
	revision pool.Revision // of the last change of rules

	receivers map[string]Receiver
	routing   *alert.Routing
	configure int64 // grows with each change of receivers and of routing
	outbox    outbox
	happened  happened
}

// Config is what is not written down.
type Config struct {
	Dispatch   alert.Dispatcher // its Quiet is added to; without Route, it is told by Routing
	Routing    alert.Routing    // while the ledger has none
	Receivers  []string         // that there are besides those in the ledger
	FiringOnly []string         // of those, the ones that do not want to know what is resolved
}

// New returns the part of a ledger without alerts.
func New(c Config) *Part {
	return &Part{config: c, groups: new(alert.State)}
}

// Of returns the part of a State.
func Of(st *pool.State) *Part {
	p, ok := st.Part(Name)
	if !ok {
		return New(Config{})
	}
	return p.(*Part)
}

// Name implements pool.Part.
func (p *Part) Name() string { return Name }

// Rules returns the rules by name.
func (p *Part) Rules() []alert.Rule {
	return slices.SortedFunc(maps.Values(p.rules), func(a, b alert.Rule) int { return strings.Compare(a.Name, b.Name) })
}

// Revision returns the revision of the last change of rules.
func (p *Part) Revision() pool.Revision { return p.revision }

// Alerts returns those that fire, and those that were resolved of late, by their labels.
func (p *Part) Alerts() []alert.Alert {
	return slices.SortedFunc(maps.Values(p.alerts), func(a, b alert.Alert) int { return a.Labels.Compare(b.Labels) })
}

// Alert returns the alert with these labels.
func (p *Part) Alert(l alert.Labels) (alert.Alert, bool) {
	a, ok := p.alerts[l]
	return a, ok
}

// Due returns what is to be done, the oldest first.
func (p *Part) Due() []Due { return slices.Clone(p.due) }

// Groups returns silences, acknowledgements and what was told to whom; not to be changed.
func (p *Part) Groups() *alert.State { return p.groups }

// Causes returns what tells of an alert what keeps it from being told to each of its targets, by their IDs; where nobody is told of anything,
// what would, under an empty one. It may be used for as long as the State is there.
func (p *Part) Causes(st *pool.State, at time.Time) func(alert.Labels) map[string][]alert.Cause {
	d := p.dispatcher(st)
	of := d.CausesOf(p.groups, p.Alerts())
	return func(l alert.Labels) map[string][]alert.Cause {
		causes := make(map[string][]alert.Cause)
		targets := d.Route(l)
		if !p.Tells() {
			targets = []alert.Target{{}}
		}
		for _, t := range targets {
			if by := of(t, l, at); len(by) > 0 {
				causes[t.ID] = by
			}
		}
		return causes
	}
}

// Fold implements pool.Part.
func (p *Part) Fold(e *pool.Event) (pool.Part, error) {
	if e.Kind == pool.KindForgotten {
		var f pool.Forgotten
		if err := pool.PartData(e.Data, &f); err != nil {
			return nil, err
		}
		return p.forget(f.Subject), nil
	}
	if e.Version != 1 {
		return nil, &pool.Error{Kind: pool.ErrUnknownKind, Field: "version", Value: e.Kind}
	}
	n := *p
	var err error
	switch e.Kind {
	case RuleSet:
		var r alert.Rule
		if err = pool.PartData(e.Data, &r); err == nil && r.Name == "" {
			err = &pool.Error{Kind: pool.ErrInvalid, Field: "name"}
		}
		n.rules, n.revision = with(p.rules, r.Name, r), e.Revision
	case RuleRemoved:
		var gone named
		err = pool.PartData(e.Data, &gone)
		n.rules, n.revision = without(p.rules, gone.Name), e.Revision
	case Changed:
		var c changes
		err = pool.PartData(e.Data, &c)
		n.change(c.Changes)
		n.let(e.Time)
	case Acted:
		var d Done
		err = pool.PartData(e.Data, &d)
		n.due = slices.Clone(n.due)
		if k := slices.Index(n.due, d.Due); k >= 0 {
			n.due = slices.Delete(n.due, k, k+1)
		}
	case ReceiverSet, ReceiverRemoved, RoutingSet, RoutingRemoved:
		err = n.foldReceivers(e)
	case Delivered, Died, Revived:
		err = n.foldMessages(e)
	case Reported, Told:
		err = n.foldHappened(e)
	default:
		if !slices.Contains(groupKinds(), e.Kind) {
			return nil, &pool.Error{Kind: pool.ErrUnknownKind, Value: e.Kind}
		}
		n.groups = p.groups.Clone()
		err = Error(n.groups.Apply(e.Kind, e.Data, e.Time))
		if err == nil && e.Kind == alert.GroupNotified {
			err = n.queue(e.Data, e.Time)
		}
	}
	if err != nil {
		return nil, err
	}
	return &n, nil
}

// groupKinds are the kinds of event that alert.State folds.
func groupKinds() []string {
	return []string{
		alert.SilenceSet, alert.SilenceEnded, alert.AlertAcknowledged, alert.AcknowledgementWithdrawn, alert.AcknowledgementEnded,
		alert.GroupOpened, alert.GroupNotified, alert.GroupQuiet, alert.GroupClosed,
	}
}

// change takes over alerts that have changed.
func (p *Part) change(all []alert.Change) {
	p.alerts = maps.Clone(p.alerts)
	if p.alerts == nil {
		p.alerts = make(map[alert.Labels]alert.Alert)
	}
	p.due = slices.Clone(p.due)
	for _, c := range all {
		p.alerts[c.Alert.Labels] = c.Alert
		for _, act := range c.Acts {
			p.due = append(p.due, Due{c.Alert.Labels, c.Alert.Fired, act})
		}
	}
}

// let lets go of alerts that were resolved long enough ago, or of the oldest of too many; never of one whose end somebody is still
// to be told, or for which something is still to be done.
func (p *Part) let(at time.Time) {
	owed, due := p.groups.Owed(), make(map[alert.Labels]bool)
	for _, d := range p.due {
		due[d.Labels] = true
	}
	var old []alert.Alert
	for _, a := range p.alerts {
		if a.Phase == alert.Resolved && !due[a.Labels] && (len(owed) == 0 || !owed[a.Labels.Fingerprint()]) {
			old = append(old, a)
		}
	}
	slices.SortFunc(old, func(a, b alert.Alert) int { return cmp.Or(b.Ended.Compare(a.Ended), a.Labels.Compare(b.Labels)) })
	keep := 0
	for keep < min(len(old), MostKept) && at.Sub(old[keep].Ended) < Keep {
		keep++
	}
	if keep == len(old) {
		return
	}
	p.alerts = maps.Clone(p.alerts)
	for _, a := range old[keep:] {
		delete(p.alerts, a.Labels)
	}
}

func with[K comparable, V any](m map[K]V, key K, value V) map[K]V {
	n := maps.Clone(m)
	if n == nil {
		n = make(map[K]V)
	}
	n[key] = value
	return n
}

func without[K comparable, V any](m map[K]V, key K) map[K]V {
	n := maps.Clone(m)
	delete(n, key)
	return n
}

// Error makes of an error of package alert one of package pool, of the same kind.
func Error(err error) error {
	var e *alert.Error
	if !errors.As(err, &e) {
		return err
	}
	kind := pool.ErrInvalid
	switch e.Kind {
	case alert.ErrNotFound:
		kind = pool.ErrNotFound
	case alert.ErrExists:
		kind = pool.ErrExists
	case alert.ErrUnavailable:
		kind = pool.ErrUnavailable
	}
	return &pool.Error{Op: e.Op, Kind: kind, Field: e.Field, Value: e.Value, Want: e.Want, Cause: e.Cause}
}

// saved is the part in a snapshot.
type saved struct {
	Rules    []alert.Rule  `json:"rules,omitempty"`
	Revision pool.Revision `json:"revision,omitempty"`
	Alerts   []alert.Alert `json:"alerts,omitempty"`
	Due      []Due         `json:"due,omitempty"`
	Groups   *alert.State  `json:"groups,omitempty"`

	Receivers  []Receiver           `json:"receivers,omitempty"`
	Routing    *alert.Routing       `json:"routing,omitempty"`
	Configured int64                `json:"configured,omitempty"`
	Messages   []*Message           `json:"messages,omitempty"`
	Log        []Past               `json:"log,omitempty"`
	Outbox     int64                `json:"outbox,omitempty"`
	Happened   []Happening          `json:"happened,omitempty"`
	Told       map[string]time.Time `json:"told,omitempty"`
}

// Save implements pool.Part.
func (p *Part) Save() ([]byte, error) {
	if p.revision == 0 && len(p.alerts) == 0 && len(p.due) == 0 && p.groups.Empty() && p.configure == 0 && p.outbox.version == 0 && p.happened.count == 0 {
		return nil, nil
	}
	return json.Marshal(saved{
		p.Rules(), p.revision, p.Alerts(), p.due, p.groups, p.Receivers(), p.routing, p.configure,
		p.outbox.all, p.outbox.log, p.outbox.version, p.happened.list(), p.happened.told,
	})
}

// Load implements pool.Part.
func (p *Part) Load(b []byte) (pool.Part, error) {
	var s saved
	if err := pool.PartData(b, &s); err != nil {
		return nil, err
	}
	n := New(p.config)
	n.rules = make(map[string]alert.Rule, len(s.Rules))
	for _, r := range s.Rules {
		n.rules[r.Name] = r
	}
	n.revision, n.due = s.Revision, s.Due
	n.alerts = make(map[alert.Labels]alert.Alert, len(s.Alerts))
	for _, a := range s.Alerts {
		n.alerts[a.Labels] = a
	}
	if s.Groups != nil {
		n.groups = s.Groups
	}
	n.receivers = make(map[string]Receiver, len(s.Receivers))
	for _, r := range s.Receivers {
		n.receivers[r.Name] = r
	}
	n.routing, n.configure = s.Routing, s.Configured
	for _, m := range s.Messages {
		if m == nil || (m.Notification == nil) == (m.Event == nil) {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "messages", Want: "a notification or an event"}
		}
	}
	n.outbox = outbox{s.Messages, s.Log, s.Outbox}
	n.happened.set(s.Happened)
	n.happened.told = s.Told
	return n, nil
}
