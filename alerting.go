package berthage

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/alert/detect"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/quota/showback"
)

// Alerting is how a Manager watches. The zero value watches nothing by itself; what stands in the ledger can be seen and
// changed all the same. Only the Manager that leads evaluates rules.
type Alerting struct {
	// Every is between two evaluations; 0: nothing is evaluated. 15 s is usual. Before each of them the hosts are asked whose drivers can
	// tell (hypervisor.Meter), which gives the metrics below.
	Every time.Duration

	// Rules are evaluated besides those in the ledger, of which one with the same name goes before. Nil: DefaultRules.
	Rules []alert.Rule

	Sources []alert.Source // are asked at each evaluation too

	// Querier answers rules with a Query; nil: there are none. If it has a method Check(expr string) error too, that is asked before a rule is
	// accepted.
	Querier alert.Querier

	Models func(alert.Model) (alert.Detector, error) // makes the model of one series; nil: detect.Named

	// Route says to whom an alert is told, by its labels, in place of Messaging.Routing and of a tree of routes in the ledger; nil: they do.
	// See alert.Dispatcher, whose Inhibit this is too.
	Route   func(alert.Labels) []alert.Target
	Inhibit []alert.InhibitRule

	// Checkpoints is where pending alerts are kept, so that they go on when another Manager leads or this one is started again. Nil: Config.Scratch;
	// without that, they begin anew.
	Checkpoints pool.Scratch

	// Hooks are what rules can have done by name, besides suspending and draining. A hook may be called again for the same alert when its
	// first call ended with the process.
	Hooks  map[string]func(ctx context.Context, a alert.Alert) error
	DryRun bool // whatever a rule wants done is recorded and not done
}

func (a Alerting) valid() error {
	if a.Every < 0 {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "Every", Want: "zero or more"}
	}
	for _, r := range a.Rules {
		if err := newAlerter(a).accepts(r); err != nil {
			return alerting.Error(err)
		}
	}
	return alerting.Error(alert.New(time.Now(), a.options()).SetRules(a.Rules...))
}

func (a Alerting) options() alert.Options {
	models := a.Models
	if models == nil {
		models = func(m alert.Model) (alert.Detector, error) { return detect.Named(m.Name, m.Params) }
	}
	return alert.Options{Querier: a.Querier, Sources: a.Sources, Models: models, DryRun: a.DryRun}
}

func (a Alerting) dispatcher() alert.Dispatcher {
	return alert.Dispatcher{Route: a.Route, Inhibit: a.Inhibit}
}

// rules returns those of the configuration and of the ledger.
func (a Alerting) rules(ledger []alert.Rule) []alert.Rule {
	own := a.Rules
	if own == nil {
		own = DefaultRules()
	}
	all := slices.Clone(ledger)
	for _, r := range own {
		if !slices.ContainsFunc(ledger, func(l alert.Rule) bool { return l.Name == r.Name }) {
			all = append(all, r)
		}
	}
	return all
}

// alerter evaluates rules while this Manager leads. All but engine belongs to one goroutine.
type alerter struct {
	c Alerting

	mu     sync.Mutex
	engine *alert.Engine // nil: this Manager does not lead

	epoch    int64
	rules    pool.Revision
	settled  time.Time // up to when all was decided that was to be told
	gauges   gauges
	kept     bool   // the last checkpoint has alerts
	version  int64  // of its key
	failures string // of the last evaluation
	acting   sync.WaitGroup
	busy     chan struct{} // holds one value while somebody acts
}

func newAlerter(c Alerting) *alerter {
	c.Rules = slices.Clone(c.Rules)
	return &alerter{c: c, busy: make(chan struct{}, 1)}
}

// now returns the alerts that are pending or fire here, as they were last evaluated; none where this Manager does not lead.
func (a *alerter) now() []alert.Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.engine == nil {
		return nil
	}
	return slices.DeleteFunc(a.engine.Alerts(), func(one alert.Alert) bool { return one.Phase == alert.Resolved })
}

// accepts says what is wrong with a rule that this Manager could not evaluate.
func (a *alerter) accepts(r alert.Rule) error {
	if c, ok := a.c.Querier.(interface{ Check(expr string) error }); ok && r.Query != "" {
		if err := c.Check(r.Query); err != nil {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "query", Value: r.Query, Cause: err}
		}
	}
	for _, action := range r.Actions {
		if action.Do == alert.Hook && a.c.Hooks[action.Hook] == nil {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "actions", Value: action.Hook, Want: "the name of a hook that the configuration has"}
		}
	}
	return alert.New(time.Now(), a.c.options()).SetRules(r)
}

// setRules gives an engine the rules of the configuration and of the ledger. One that only another Manager could evaluate is left out, and
// said to be.
func (a *alerter) setRules(e *alert.Engine, ledger []alert.Rule) error {
	var errs []error
	rules := slices.DeleteFunc(a.c.rules(ledger), func(r alert.Rule) bool {
		err := a.accepts(r)
		if err != nil {
			errs = append(errs, err)
		}
		return err != nil
	})
	return errors.Join(append(errs, e.SetRules(rules...))...)
}

func (a *alerter) set(e *alert.Engine) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.engine = e
}

// watchOver evaluates now and then while this Manager leads, until ctx ends.
func (m *Manager) watchOver(ctx context.Context) {
	timer := time.NewTicker(m.alerter.c.Every)
	defer timer.Stop()
	defer m.alerter.acting.Wait()
	for {
		m.evaluate(ctx)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// evaluate takes one step: samples, rules, what has changed, whom to tell, what to do.
func (m *Manager) evaluate(ctx context.Context) {
	a, s := m.alerter, m.Status()
	if !m.leads() {
		a.epoch = 0
		a.set(nil)
		return
	}
	m.follow(ctx, s.Epoch)
	now := m.ring.Now()
	asking, enough := context.WithTimeout(ctx, a.c.Every) // whoever has not answered by then is not waited for
	told := m.ask(asking)
	enough()
	if ctx.Err() != nil {
		return
	}
	samples, gone := a.gauges.of(m, told, now)
	for _, which := range gone {
		a.engine.Forget(which)
	}
	failures := []error{a.engine.Observe(samples...)}
	out := a.engine.Step(ctx, now)
	failures = append(failures, out.Errors...)
	failures = append(failures, m.writeDown(ctx, out.Changes, s.Epoch))
	m.checkpoint(ctx)
	m.act(ctx, s.Epoch)
	m.tell(ctx, errors.Join(failures...))
}

// mostSteps bounds in how many batches one evaluation is written down; what is left comes with the next.
const mostSteps = 100

// writeDown brings the ledger up to date, and has it decided there whom to tell.
func (m *Manager) writeDown(ctx context.Context, changes []alert.Change, epoch int64) error {
	a := m.alerter
	step := func(part []alert.Change) error {
		return m.asItself("alerts").toAlerts(ctx, alerting.Command{Step: &alerting.Step{Changes: part, Last: a.settled}, Epoch: epoch})
	}
	for _, part := range portions(changes) {
		if err := step(part); err != nil {
			return err // it is offered again by the next evaluation
		}
		a.engine.Committed(part)
	}
	for range mostSteps {
		now, settled := m.ring.Now(), false
		m.View(func(st *pool.State) { settled = alerting.Of(st).Settled(st, a.settled, now) })
		if settled {
			a.settled = now
			return nil
		}
		before := m.Status().Revision
		if err := step(nil); err != nil {
			return err
		}
		if m.Status().Revision == before {
			return &pool.Error{Op: "alerts", Kind: pool.ErrOverflow, Field: "notification", Want: "groups of less than some ten thousand alerts: somebody is not told"}
		}
	}
	return nil
}

// asItself returns the Manager with the actor of what it decides itself.
func (m *Manager) asItself(cause string) *Manager { return m.As("berthage", cause) }

// follow gives a new leader an engine, and a changed set of rules to the one that there is.
func (m *Manager) follow(ctx context.Context, epoch int64) {
	a := m.alerter
	var p *alerting.Part // which does not change
	m.View(func(st *pool.State) { p = alerting.Of(st) })
	at := p.Revision()
	if epoch == a.epoch && at == a.rules {
		return
	}
	rules := p.Rules()
	if epoch == a.epoch {
		m.tell(ctx, a.setRules(a.engine, rules))
		a.rules = at
		return
	}
	e := alert.New(m.ring.Now(), a.c.options())
	if err := a.setRules(e, rules); err != nil {
		m.tell(ctx, err)
	}
	last, err := m.lastCheckpoint(ctx)
	if err != nil {
		m.tell(ctx, err)
	}
	e.Restore(p.Alerts(), last)
	a.epoch, a.rules, a.gauges, a.settled = epoch, at, gauges{}, time.Time{}
	a.set(e)
}

// tell logs what has failed when that is not what failed before.
func (m *Manager) tell(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != m.alerter.failures && ctx.Err() == nil {
		m.log.Warn("alerts could not all be evaluated", "error", err)
	}
	m.alerter.failures = text
}

// portions divides changes so that a step can carry them; there is always one, which may be empty.
func portions(all []alert.Change) [][]alert.Change {
	out := [][]alert.Change{nil}
	size := 0
	for _, c := range all {
		b, err := json.Marshal(c)
		if err != nil {
			continue // any alert can be written
		}
		last := len(out) - 1
		if size += len(b) + 1; size > alerting.MostStep && len(out[last]) > 0 {
			out, size = append(out, nil), len(b)+1
			last++
		}
		out[last] = append(out[last], c)
	}
	return out
}

// checkpointFor is how long a checkpoint of pending alerts is kept.
const checkpointFor = time.Hour

func (m *Manager) checkpointKey() string { return "berthage/alerts/" + m.Status().Ledger }

// checkpoint keeps what is pending where another leader finds it. Losing it makes pending alerts begin anew.
func (m *Manager) checkpoint(ctx context.Context) {
	a, scratch := m.alerter, m.alerter.c.Checkpoints
	if scratch == nil {
		return
	}
	c := a.engine.Checkpoint()
	if len(c.Alerts) == 0 && !a.kept {
		return
	}
	b, err := json.Marshal(c)
	if err != nil || len(b) > pool.MaxValue {
		return
	}
	version, err := scratch.Put(ctx, m.checkpointKey(), b, a.version, checkpointFor)
	if errors.Is(err, pool.ErrConflict) {
		if _, a.version, err = scratch.Get(ctx, m.checkpointKey()); errors.Is(err, pool.ErrNotFound) {
			a.version, err = 0, nil
		}
		if err == nil {
			version, err = scratch.Put(ctx, m.checkpointKey(), b, a.version, checkpointFor)
		}
	}
	if err == nil {
		a.version, a.kept = version, len(c.Alerts) > 0
	}
}

// lastCheckpoint returns what the former leader has kept, the zero Checkpoint if nothing.
func (m *Manager) lastCheckpoint(ctx context.Context) (c alert.Checkpoint, err error) {
	scratch := m.alerter.c.Checkpoints
	if scratch == nil {
		return c, nil
	}
	b, version, err := scratch.Get(ctx, m.checkpointKey())
	if errors.Is(err, pool.ErrNotFound) {
		return c, nil
	}
	if err == nil {
		m.alerter.version, m.alerter.kept = version, true
		err = json.Unmarshal(b, &c)
	}
	return c, err
}

// hookTimeout is how long a hook may take.
const hookTimeout = time.Minute

// act does what is due, one after the other, beside the evaluations.
func (m *Manager) act(ctx context.Context, epoch int64) {
	a := m.alerter
	var due []alerting.Due
	var of []alert.Alert
	m.View(func(st *pool.State) {
		p := alerting.Of(st)
		due = p.Due()
		for _, d := range due {
			one, ok := p.Alert(d.Labels)
			if !ok {
				one = alert.Alert{Labels: d.Labels, Phase: alert.Resolved, Active: d.Fired, Fired: d.Fired}
			}
			of = append(of, one)
		}
	})
	if len(due) == 0 {
		return
	}
	select {
	case a.busy <- struct{}{}:
	default:
		return // somebody is at it
	}
	a.acting.Go(func() {
		defer func() { <-a.busy }()
		for n, d := range due {
			done := alerting.Done{Due: d}
			if err := m.doAct(ctx, d, of[n]); err != nil {
				done.Error = clip(err.Error())
			}
			if ctx.Err() != nil {
				return // it is not known what became of it; the next leader does it again
			}
			if err := m.asItself("alert "+d.Labels.Get(alert.NameLabel)).toAlerts(ctx, alerting.Command{Done: &done, Epoch: epoch}); err != nil {
				m.log.Warn("what became of an action could not be recorded", "alert", d.Labels.String(), "error", err)
				return
			}
		}
	})
}

func (m *Manager) doAct(ctx context.Context, d alerting.Due, of alert.Alert) error {
	m = m.As("berthage", "alert "+d.Labels.Get(alert.NameLabel))
	if d.Act.DryRun {
		return nil
	}
	switch d.Act.Do {
	case alert.Suspend:
		_, err := m.SetPower(ctx, pool.InstanceID(d.Act.Target), pool.Suspended)
		return err
	case alert.Drain:
		_, err := m.Drain(ctx, pool.HostID(d.Act.Target), false, m.who.Cause)
		return err
	case alert.Hook:
		hook := m.alerter.c.Hooks[d.Act.Hook]
		if hook == nil {
			return &pool.Error{Kind: pool.ErrNotFound, Field: "hook", Value: d.Act.Hook}
		}
		ctx, cancel := context.WithTimeout(ctx, hookTimeout)
		defer cancel()
		return hook(ctx, of)
	}
	return &pool.Error{Kind: pool.ErrInvalid, Field: "do", Value: string(d.Act.Do)}
}

// parts are what other packages keep in the ledger.
func parts(a Alerting, c Messaging) []pool.Part {
	return []pool.Part{alerting.New(alerting.Config{
		Dispatch: a.dispatcher(), Routing: c.Routing, Receivers: slices.Sorted(maps.Keys(c.Receivers)), FiringOnly: c.FiringOnly,
	}), quota.Requests{}, showback.Booked{}}
}
