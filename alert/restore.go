package alert

import (
	"math"
	"slices"
	"time"
)

// Committed tells the engine that changes which a step gave have been written down.
func (e *Engine) Committed(changes []Change) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range changes {
		for _, r := range slices.Concat(e.rules, e.retired) {
			if r.Name != c.Alert.Labels.Get(NameLabel) {
				continue
			}
			a := r.active[c.Alert.Labels]
			switch {
			case a == nil:
			case c.Alert.Phase == Firing:
				told := c.Alert
				a.told = &told
			case a.told != nil && a.told.Fired.Equal(c.Alert.Fired):
				a.told = nil
			}
		}
	}
	e.retired = slices.DeleteFunc(e.retired, func(r *rule) bool {
		r.retire(e.now)
		return len(r.active) == 0
	})
}

// Checkpoint is what is worth keeping of an engine besides what is in the ledger: the alerts that are pending, and since
// when those that fire on do so without their test being true.
type Checkpoint struct {
	Time   time.Time `json:"time"`
	Alerts []Alert   `json:"alerts,omitempty"`
}

// Checkpoint returns what Restore wants to know. Losing it starts the timers of pending alerts again, and nothing else.
func (e *Engine) Checkpoint() Checkpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := Checkpoint{Time: stamp(e.now)}
	for _, r := range e.rules {
		for _, a := range r.active {
			s := r.show(a, e.now)
			if a.phase == Firing && a.told == nil {
				// The ledger does not know it yet; its timer has run off all the same.
				s.Phase, s.Fired, s.Keeping = Pending, time.Time{}, time.Time{}
			}
			if s.Phase == Pending || s.Phase == Firing && a.keeping != never {
				c.Alerts = append(c.Alerts, s)
			}
		}
	}
	slices.SortFunc(c.Alerts, func(a, b Alert) int { return a.Labels.Compare(b.Labels) })
	return c
}

// Restore makes a new engine go on where another left off: after SetRules, it is given the alerts that the ledger holds and
// the other's last checkpoint. After it, or before, the samples of the longest window are best given to Observe. What the
// engine was not told of anew is not taken for absent until it has listened for as long as that takes. Alerts that were
// pending start again when the checkpoint is older than the look-back, for nobody knows what was in between.
func (e *Engine) Restore(committed []Alert, c Checkpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.restored = true
	for _, m := range e.metrics {
		for _, s := range m.series {
			e.oldest = min(e.oldest, s.oldest())
		}
	}
	rules := make(map[string]*rule, len(e.rules))
	for _, r := range e.rules {
		rules[r.Name] = r
	}
	ended := make(map[Labels]time.Time)
	for _, a := range committed {
		if a.Phase != Firing {
			ended[a.Labels] = a.Ended
			continue
		}
		name := a.Labels.Get(NameLabel)
		r := rules[name]
		if r == nil {
			// The rule is gone: all that is left to do is to resolve its alerts.
			r = &rule{Rule: Rule{Name: name}}
			r.state.init()
			rules[name] = r
			e.retired = append(e.retired, r)
		}
		told := a
		is := e.resume(r, a)
		// Since when it fires on is not kept up to date in the ledger; the checkpoint says it.
		is.told, is.keeping = &told, never
	}
	for _, r := range e.retired {
		r.retire(e.now)
	}
	for _, a := range c.Alerts {
		r := rules[a.Labels.Get(NameLabel)]
		if r == nil || slices.Contains(e.retired, r) {
			continue
		}
		switch is := r.active[a.Labels]; {
		case a.Phase == Pending:
			// The ledger may be newer than the checkpoint.
			known := is != nil && is.active >= e.ms(a.Active) || a.Active.Before(ended[a.Labels])
			if !known && e.start-e.ms(c.Time) <= LookBack.ms() {
				e.resume(r, a)
			}
		case a.Phase == Firing && is != nil && is.fired == e.ms(a.Fired):
			is.keeping = e.ms(a.Keeping)
		}
	}
}

// resume lays an alert as it was over what the rule knows of it.
func (e *Engine) resume(r *rule, was Alert) *active {
	a := r.active[was.Labels]
	if a == nil {
		a = &active{labels: was.Labels}
		r.active[was.Labels] = a
	}
	mark := func(t time.Time) int64 {
		if t.IsZero() {
			return never
		}
		return e.ms(t)
	}
	a.of, a.phase, a.value, a.notes = was.Labels.Without(NameLabel), was.Phase, was.Value, was.Annotations
	a.active, a.fired, a.keeping, a.ended = mark(was.Active), mark(was.Fired), mark(was.Keeping), e.start
	if !a.unseen {
		a.unseen = true
		r.unseen++
	}
	return a
}

// oldest returns the time of the oldest sample that is known.
func (s *series) oldest() int64 {
	oldest := int64(math.MaxInt64)
	if s.history.len() > 0 {
		oldest = s.history.points[s.history.first].t
	}
	for _, p := range []point{s.prev, s.last} {
		if p.t != never {
			oldest = min(oldest, p.t)
		}
	}
	return oldest
}
