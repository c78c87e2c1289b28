package berthage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// Alerts is a Manager's side that watches: rules, the alerts that they give, silences and acknowledgements. All of them stand in the
// ledger, so that every Manager on it shows the same, and a restart forgets nothing. Its methods may be called concurrently.
type Alerts struct{ m *Manager }

// Alerts returns what the Manager knows of alerts.
func (m *Manager) Alerts() Alerts { return Alerts{m} }

// AlertStatus is an alert with what is known of it besides.
type AlertStatus struct {
	Alert        alert.Alert              `json:"alert"`
	Acknowledged *alert.Acknowledgement   `json:"acknowledged,omitempty"`
	Muted        map[string][]alert.Cause `json:"muted,omitempty"` // what keeps it from being told now, by Target.ID
}

// List returns the alerts that fire and those that were resolved of late, by their labels. The Manager that leads knows the present
// values too, and those that are pending, in place of the same one resolved; another one the values with which they began to fire.
func (a Alerts) List() []AlertStatus {
	fresh := make(map[alert.Labels]alert.Alert)
	var all []alert.Alert
	for _, one := range a.m.alerter.now() {
		if fresh[one.Labels] = one; one.Phase == alert.Pending {
			all = append(all, one)
		}
	}
	var out []AlertStatus
	now := a.m.ring.Now()
	a.m.View(func(st *pool.State) {
		p := alerting.Of(st)
		causes := p.Causes(st, now)
		for _, one := range append(p.Alerts(), all...) {
			if one.Phase == alert.Resolved && fresh[one.Labels].Phase == alert.Pending {
				continue // it may be about to fire anew, which says more
			}
			if f := fresh[one.Labels]; one.Phase == alert.Firing && f.Phase == alert.Firing && f.Fired.Equal(one.Fired) {
				one.Value, one.Annotations, one.Updated = f.Value, f.Annotations, f.Updated
			}
			s := AlertStatus{Alert: one}
			if ack, ok := p.Groups().Acknowledged(one); ok {
				s.Acknowledged = &ack
			}
			if one.Phase == alert.Firing {
				if muted := causes(one.Labels); len(muted) > 0 {
					s.Muted = muted
				}
			}
			out = append(out, s)
		}
	})
	return out
}

func set[K comparable, V any](m map[K]V, key K, value V) map[K]V {
	if m == nil {
		m = make(map[K]V)
	}
	m[key] = value
	return m
}

// Rules returns the rules that stand in the ledger, by name. Those of Config.Alerting are not among them.
func (a Alerts) Rules() []alert.Rule {
	var rules []alert.Rule
	a.m.View(func(st *pool.State) { rules = alerting.Of(st).Rules() })
	return rules
}

// SetRule makes a rule, or replaces the one of that name, also one of Config.Alerting. Alerts of a rule that is replaced go on.
// pool.ErrInvalid: it cannot be a rule, or asks for a query or a model that this Manager has not got.
func (a Alerts) SetRule(ctx context.Context, r alert.Rule) error {
	err := a.m.alerter.accepts(r)
	if err == nil {
		err = a.do(ctx, alerting.Command{SetRule: &r})
	}
	return named(alerting.Error(err), "set rule "+pool.Quote(r.Name))
}

// RemoveRule removes a rule from the ledger; those of its alerts that fire are resolved. pool.ErrNotFound: there is none of that name.
func (a Alerts) RemoveRule(ctx context.Context, name string) error {
	if name == "" {
		return &pool.Error{Op: "remove rule", Kind: pool.ErrInvalid, Field: "name", Want: "the name of a rule"}
	}
	return named(a.do(ctx, alerting.Command{RemoveRule: name}), "remove rule "+pool.Quote(name))
}

// Silences returns all silences by ID, those that have expired of late among them.
func (a Alerts) Silences() []alert.Silence {
	var silences []alert.Silence
	a.m.View(func(st *pool.State) { silences = alerting.Of(st).Groups().Silences() })
	return silences
}

// Silence makes a silence, or changes the one of that ID, and returns what is there afterwards: one that is active keeps what it has
// been, so that a change of what it matches makes a new one. By is the Manager's caller if it is empty. Errors: pool.ErrInvalid, pool.ErrNotFound.
func (a Alerts) Silence(ctx context.Context, s alert.Silence) (alert.Silence, error) {
	s.By = or(s.By, a.m.who.Actor)
	id := rand.Text()
	if err := a.do(ctx, alerting.Command{Silence: &alerting.SetSilence{Silence: s, New: id}}); err != nil {
		return alert.Silence{}, named(err, "silence")
	}
	var found, same alert.Silence
	for _, one := range a.Silences() {
		switch one.ID {
		case id:
			found = one
		case s.ID:
			same = one
		}
	}
	if found.ID == "" {
		found = same
	}
	return found, nil
}

// EndSilence ends a silence now. pool.ErrNotFound: there is none of that ID.
func (a Alerts) EndSilence(ctx context.Context, id string) error {
	return named(a.do(ctx, alerting.Command{EndSilence: &alert.SilenceEnd{ID: id, By: a.m.who.Actor}}), "end silence "+pool.Quote(id))
}

// Acknowledge says that the Manager's caller has taken on an alert that fires: it does not escalate any more, and is not told again for its
// own sake, until it is resolved. pool.ErrNotFound: there is no such alert. pool.ErrInvalid: it does not fire.
func (a Alerts) Acknowledge(ctx context.Context, l alert.Labels, note string) error {
	return named(a.do(ctx, alerting.Command{Acknowledge: &alerting.Acknowledge{Labels: l, By: a.m.who.Actor, Note: note}}), "acknowledge")
}

// Unacknowledge takes that back; escalation begins anew. pool.ErrNotFound: the alert is not acknowledged.
func (a Alerts) Unacknowledge(ctx context.Context, l alert.Labels) error {
	return named(a.do(ctx, alerting.Command{Withdraw: &alerting.Acknowledge{Labels: l, By: a.m.who.Actor}}), "unacknowledge")
}

func (a Alerts) do(ctx context.Context, c alerting.Command) error { return a.m.toAlerts(ctx, c) }

func (m *Manager) toAlerts(ctx context.Context, c alerting.Command) error {
	return m.toPart(ctx, alerting.Name, c)
}

// Decider is a pool.Part that takes commands.
type Decider = ring.Decider

// Admitter is a pool.Part that may refuse commands, and writes beside what follows from them; see Manager.With.
type Admitter = ring.Admitter

// Speaker is a pool.Part whose errors keep their type when a command is handed to another Manager by Config.Forward.
type Speaker = ring.Speaker

// Decide gives a command to one of Config.Parts, in the part's own form, which is written as JSON. It is decided on the books that the
// events are appended to, as all commands are, by the Manager that leads. The error is the part's, or one of those of every command.
func (m *Manager) Decide(ctx context.Context, part string, command any) error {
	if !slices.Contains(m.parts, part) {
		return &pool.Error{Op: "decide", Kind: pool.ErrNotFound, Field: "part", Value: part, Want: "one of Config.Parts"}
	}
	return m.toPart(ctx, part, command)
}

func (m *Manager) toPart(ctx context.Context, part string, command any) error {
	b, err := json.Marshal(command)
	if err != nil {
		var not *json.UnsupportedValueError
		if errors.As(err, &not) {
			return &pool.Error{Kind: pool.ErrInvalid, Value: not.Str, Want: "finite numbers", Cause: err}
		}
		return &pool.Error{Kind: pool.ErrInvalid, Cause: err}
	}
	return m.do(ctx, ring.Command{ToPart: &ring.ToPart{Part: part, Command: b}})
}

// Parts are what a Manager keeps in its ledger beside the books of the pool, knowing nothing yet, and those of Config.Parts behind them: for
// whoever folds or verifies a ledger without a Manager (pool.NewState, pool.ReadSnapshot).
func Parts(own ...pool.Part) []pool.Part { return append(parts(Alerting{}, Messaging{}), own...) }
