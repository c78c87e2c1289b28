package alert

import (
	"cmp"
	"math"
	"slices"
	"strconv"
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
	before := len(out.Errors)
	defer func() {
		slices.SortFunc(out.Errors[before:], func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	}()
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
