package alert

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"
	"time"
)

// Retention is how long a resolved alert is still shown, as in Prometheus.
const Retention = Duration(15 * 60 * 1e9)

// state is what a rule knows of its alerts.
type state struct {
	active map[Labels]*active
	unseen int // alerts that were restored and whose series have not been heard of since
	slots  []*slot
}

func (s *state) init() { s.active = make(map[Labels]*active) }

// active is an alert as the engine works with it.
type active struct {
	labels  Labels
	of      Labels  // of what was measured
	value   float64 // the last of which the test was true
	phase   Phase
	active  int64 // since when the test is true
	fired   int64 // since when it fires
	keeping int64 // since when the test is true no more, while it fires on
	ended   int64 // when it was last resolved

	seen   uint64 // the evaluation in which the test was last true
	held   uint64 // the evaluation in which it was to be left alone
	unseen bool   // restored, and nothing has been heard of it since
	notes  map[string]string
	told   *Alert // what the ledger holds: a firing alert, or nil
}

// hit is a value of which the test is true.
type hit struct {
	labels, of Labels
	value      float64
}

// Outcome is what a step found.
type Outcome struct {
	// Changes are to be written down together; when they are, tell the engine by Committed, else it says them again at
	// the next step. They are sorted by labels. An engine at rest has none.
	Changes []Change
	// Errors are of rules, sources and actions. A rule that fails leaves its alerts as they are, except with ErrLimit, which
	// drops them.
	Errors []error
}

// Change is an alert that has begun to fire or is resolved, with what is to be done because of it.
type Change struct {
	Alert Alert `json:"alert"`
	Acts  []Act `json:"acts,omitempty"`
}

// Step evaluates the rules as of now, which is not before the last step.
func (e *Engine) Step(ctx context.Context, now time.Time) Outcome {
	e.stepping.Lock()
	defer e.stepping.Unlock()
	var out Outcome
	out.Errors = e.sources(ctx)
	answers := e.queries(ctx, now)

	e.mu.Lock()
	defer e.mu.Unlock()
	ms := e.ms(now)
	if ms < e.now {
		out.Errors = append(out.Errors, &Error{Op: "step", Kind: ErrInvalid, Field: "now", Value: now.UTC().Format(time.RFC3339Nano), Want: "not before the last step, " + stamp(e.now).Format(time.RFC3339Nano)})
		return out
	}
	e.now = ms
	for _, r := range e.rules {
		if err := e.evaluate(r, answers, ms); err != nil {
			out.Errors = append(out.Errors, err)
		}
		e.offer(r, &out)
	}
	for _, r := range e.retired {
		e.offer(r, &out)
	}
	slices.SortFunc(out.Changes, func(a, b Change) int { return a.Alert.Labels.Compare(b.Alert.Labels) })
	e.sweep(ms)
	return out
}

func (e *Engine) evaluate(r *rule, answers []answer, now int64) error {
	e.gen++
	e.hits = e.hits[:0]
	var err, skipped error
	switch {
	case r.Query != "":
		err = e.answered(r, answers, now)
	case r.Measure.Func == Absent:
		err = e.absent(r, now)
	default:
		skipped = e.measured(r, now)
	}
	if err == nil {
		err = r.update(e, now)
	}
	if err = cmp.Or(err, skipped); err == nil {
		return nil
	}
	return of(r.Name, err)
}

// measured finds the series of which the test is true, and those that have gone silent. A series that cannot be made an alert of,
// because the labels would be too many, is left out; the error says so.
func (e *Engine) measured(r *rule, now int64) (skipped error) {
	keeps := r.alerts || r.NoData == NoDataKeep
	since := now - LookBack.ms()
	last := r.Measure.Func == Last && r.Measure.Of == ""
	for _, l := range r.slots {
		if l.err != nil {
			skipped = l.err
			continue
		}
		p := l.series.last
		if p.t > now {
			p = l.series.at(now)
		}
		if p.t <= since || p.v != p.v {
			if keeps {
				skipped = cmp.Or(e.silent(r, l, now), skipped)
			}
			// A window may hold samples of a series that is silent now.
			if last || r.window == 0 {
				continue
			}
		}
		v, ok := p.v, true
		if !last {
			if v, ok = e.value(r, l, p, now); !ok {
				continue
			}
		}
		holds := r.Test.Holds(v)
		if !holds && r.Recover == nil && r.unseen == 0 {
			continue
		}
		labels := l.labels
		if r.computed {
			var err error
			if labels, err = r.identity(l.series.labels, v); err != nil {
				skipped = err
				continue
			}
		}
		if !holds {
			a := r.active[labels]
			if a != nil && a.unseen && e.covers(now, r.window) {
				r.heard(a)
			}
			holds = a != nil && r.Recover != nil && a.phase == Firing && r.Recover.Holds(v)
		}
		if holds {
			e.hits = append(e.hits, hit{labels, l.series.labels, v})
		}
	}
	if r.alerts && len(r.slots) == 0 && e.covers(now, LookBack.ms()) {
		skipped = e.missing(r, r.Measure.asked())
	}
	return skipped
}

// value returns what is measured of a series that has the newest sample p.
func (e *Engine) value(r *rule, l *slot, p point, now int64) (float64, bool) {
	m := &r.Measure
	if l.follower != nil {
		return l.follower.value(now)
	}
	one := func(s *series) (float64, bool) {
		if m.Func == Last {
			p := s.at(now)
			return p.v, p.t > now-LookBack.ms() && p.v == p.v
		}
		return m.over(s.history.between(now-r.window, now), now, &e.scratch)
	}
	v, ok := one(l.series)
	if !ok || m.Of == "" {
		return v, ok
	}
	if l.whole == nil || l.whole.forgotten {
		if l.whole = e.metrics[m.Of].series[l.series.labels]; l.whole == nil {
			return 0, false
		}
	}
	whole, ok := one(l.whole)
	if !ok || whole == 0 {
		return 0, false
	}
	return 100 * v / whole, true
}

// silent makes of a series that has no value what the rule's policy says.
func (e *Engine) silent(r *rule, l *slot, now int64) error {
	labels := l.labels
	if r.computed {
		var err error
		if labels, err = r.identity(l.series.labels, 0); err != nil {
			return err
		}
	}
	a := r.active[labels]
	if !r.alerts {
		if a != nil {
			a.held = e.gen
		}
		return nil
	}
	instead, err := nodata(labels)
	if err != nil {
		return err
	}
	e.hits = append(e.hits, hit{instead, l.series.labels, 0})
	if a != nil && a.phase == Firing {
		if other := r.active[instead]; other == nil || other.phase != Firing {
			a.held = e.gen
		}
	}
	return nil
}

// missing makes an alert of there being nothing to measure at all.
func (e *Engine) missing(r *rule, of Labels) error {
	labels, err := r.identity(of, 0)
	if err == nil {
		labels, err = nodata(labels)
	}
	if err == nil {
		e.hits = append(e.hits, hit{labels, of, 0})
	}
	return err
}

func nodata(l Labels) (Labels, error) {
	return l.With(encode(map[string]string{NoDataLabel: "true"}))
}

// absent finds whether there is nothing that has a value, or had one in the window.
func (e *Engine) absent(r *rule, now int64) error {
	window := r.window
	if window == 0 {
		window = LookBack.ms()
	}
	for _, l := range r.slots {
		if p := l.series.at(now); r.window == 0 && p.t > now-window && p.v == p.v || r.window > 0 && l.series.valued > now-window {
			return nil
		}
	}
	if !e.covers(now, window) {
		for _, a := range r.active {
			a.held = e.gen
		}
		return nil
	}
	if !r.Test.Holds(1) {
		return nil
	}
	of := r.Measure.asked()
	labels, err := r.identity(of, 1)
	if err == nil {
		e.hits = append(e.hits, hit{labels, of, 1})
	}
	return err
}

// answered takes the values that the Querier gave.
func (e *Engine) answered(r *rule, answers []answer, now int64) error {
	i := slices.IndexFunc(answers, func(a answer) bool { return a.rule == r })
	if i < 0 {
		return &Error{Kind: ErrUnavailable, Field: "query", Want: "the rule came while queries were under way"}
	}
	if answers[i].err != nil {
		return answers[i].err
	}
	for _, s := range answers[i].samples {
		if s.Value != s.Value && r.Test.Is != "" {
			continue
		}
		labels, err := r.identity(s.Labels, s.Value)
		if err != nil {
			return err
		}
		holds := r.Test.Holds(s.Value)
		if !holds && r.Recover != nil {
			a := r.active[labels]
			holds = a != nil && a.phase == Firing && r.Recover.Holds(s.Value)
		}
		if holds {
			e.hits = append(e.hits, hit{labels, s.Labels, s.Value})
		}
	}
	if r.alerts && len(answers[i].samples) == 0 {
		return e.missing(r, Labels{})
	}
	return nil
}

// covers says whether what the engine remembers reaches back so far that what it does not remember has not been. A new engine
// knows everything; one that was restored knows what it was told since.
func (e *Engine) covers(now, window int64) bool {
	return !e.restored || e.oldest <= now-window || e.start <= now-window
}

// update moves the rule's alerts on by the hits of this evaluation. The rules of it are those of Prometheus; docs/alerting.md
// numbers them.
func (r *rule) update(e *Engine, now int64) error {
	if len(e.hits) > 1 {
		clear(e.fresh)
		for i := range e.hits {
			h := &e.hits[i]
			if _, twice := e.fresh[h.labels]; twice {
				return &Error{Kind: ErrDuplicate, Value: h.labels.String()}
			}
			e.fresh[h.labels] = struct{}{}
		}
	}
	for i := range e.hits {
		h := &e.hits[i]
		a := r.active[h.labels]
		if a == nil {
			a = &active{labels: h.labels, phase: Resolved, ended: never}
			r.active[h.labels] = a
		}
		if a.phase == Resolved {
			a.phase, a.active, a.fired, a.keeping = Pending, now, never, never
		}
		r.heard(a)
		a.of, a.value, a.notes, a.seen = h.of, h.value, nil, e.gen
	}
	if len(r.active) == 0 {
		return nil
	}
	standing := 0
	for labels, a := range r.active {
		if a.held == e.gen && a.phase != Resolved {
			standing++
			continue
		}
		if a.seen != e.gen {
			if a.unseen {
				if !e.covers(now, max(r.window, LookBack.ms())) {
					standing++
					continue
				}
				r.heard(a)
			}
			if !r.lapse(a, now) {
				if a.told == nil && (a.phase == Pending || a.phase == Resolved && now-a.ended > Retention.ms()) {
					delete(r.active, labels)
				} else if a.phase == Pending {
					a.phase = Resolved
				}
				continue
			}
		} else {
			a.keeping = never
		}
		standing++
		if a.phase == Pending && now-a.active >= r.hold {
			a.phase, a.fired = Firing, now
		}
		if a.phase == Firing && now-a.active < r.hold {
			a.phase, a.fired, a.keeping, a.ended = Pending, never, never, now
		}
	}
	if r.Limit > 0 && standing > r.Limit {
		r.retire(now)
		return &Error{Kind: ErrLimit, Field: "limit", Value: strconv.Itoa(standing), Want: "at most " + strconv.Itoa(r.Limit)}
	}
	return nil
}

// lapse is an alert whose test is not true now; it says whether the alert fires on.
func (r *rule) lapse(a *active, now int64) bool {
	if a.phase != Firing {
		return false
	}
	if r.keep > 0 {
		if a.keeping == never {
			a.keeping = now
		}
		if now-a.keeping < r.keep {
			return true
		}
	}
	a.phase, a.ended = Resolved, now
	return false
}

func (r *rule) heard(a *active) {
	if a.unseen {
		a.unseen = false
		r.unseen--
	}
}

// retire drops all alerts; those that the ledger holds are to be resolved in it first.
func (r *rule) retire(now int64) {
	for labels, a := range r.active {
		r.heard(a)
		if a.told == nil {
			delete(r.active, labels)
		} else if a.phase != Resolved {
			a.phase, a.ended = Resolved, now
		}
	}
}

// sort puts the slots in the order of their series' labels, so that what is done first does not hang on the order of a map.
func (r *rule) sort() {
	slices.SortFunc(r.slots, func(a, b *slot) int { return a.series.labels.Compare(b.series.labels) })
}

// shed lets go of the slots of forgotten series.
func (r *rule) shed() {
	r.slots = slices.DeleteFunc(r.slots, func(l *slot) bool { return l.series.forgotten })
}

// offer appends what the ledger does not hold yet.
func (e *Engine) offer(r *rule, out *Outcome) {
	for _, a := range r.active {
		switch {
		case a.phase == Firing && (a.told == nil || !a.told.Fired.Equal(stamp(a.fired))):
			c := Change{Alert: r.show(a, e.now)}
			for _, action := range r.Actions {
				if a.labels.Get(NoDataLabel) != "" {
					break // nothing is known of the thing, so nothing is done to it
				}
				act, err := action.act(a.labels, e.o.DryRun)
				if err != nil {
					out.Errors = append(out.Errors, of(r.Name, err))
					continue
				}
				c.Acts = append(c.Acts, act)
			}
			out.Changes = append(out.Changes, c)
		case a.phase != Firing && a.told != nil:
			c := Change{Alert: *a.told}
			c.Alert.Phase, c.Alert.Ended, c.Alert.Updated = Resolved, stamp(a.ended), stamp(e.now)
			out.Changes = append(out.Changes, c)
		}
	}
}

// show returns an alert as others see it.
func (r *rule) show(a *active, now int64) Alert {
	if a.notes == nil {
		a.notes = r.notes(a.of, a.value)
	}
	s := Alert{
		Labels: a.labels, Annotations: a.notes, Phase: a.phase, Value: finite(a.value),
		Active: stamp(a.active), Fired: stamp(a.fired), Keeping: stamp(a.keeping), Updated: stamp(now),
	}
	if a.phase == Resolved {
		s.Ended = stamp(a.ended)
	}
	return s
}

// finite is the nearest that JSON can write.
func finite(v float64) float64 {
	switch {
	case v != v:
		return 0
	case math.IsInf(v, 0):
		return math.Copysign(math.MaxFloat64, v)
	}
	return v
}

// Alerts returns the alerts that are pending or firing, and those that were resolved less than Retention ago, sorted by
// labels.
func (e *Engine) Alerts() []Alert {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []Alert
	for _, r := range e.rules {
		for _, a := range r.active {
			if a.phase != Resolved || a.fired != never {
				all = append(all, r.show(a, e.now))
			}
		}
	}
	slices.SortFunc(all, func(a, b Alert) int {
		return cmp.Or(a.Labels.Compare(b.Labels), cmp.Compare(a.Phase, b.Phase))
	})
	return all
}
