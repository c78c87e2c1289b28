package alert

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"
)

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
	if n := len(answers[i].samples); n > e.o.Series {
		return &Error{Kind: ErrLimit, Field: "query", Value: r.Query, Want: "an answer of at most " + strconv.Itoa(e.o.Series) + " series"}
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
