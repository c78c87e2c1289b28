package alert

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Querier answers a query in whatever language it knows, such as PromQL, as of a time: the values that there are, each with
// the labels of what it is of; Metric and Time of the samples are not used.
type Querier interface {
	Query(ctx context.Context, expr string, at time.Time) ([]Sample, error)
}

// Source is something that is asked for samples.
type Source interface {
	// Samples appends to what it is given the samples since it was last asked.
	Samples(ctx context.Context, into []Sample) ([]Sample, error)
}

// Options are what an engine may be given; the zero value is of use.
type Options struct {
	Querier Querier                       // answers rules with a Query; without it they are refused
	Sources []Source                      // are asked at every step
	Models  func(Model) (Detector, error) // makes the model of one series; without it rules with a Model are refused
	DryRun  bool                          // every action is to be told and not done
	Forget  Duration                      // after so long without a sample a series is forgotten; 24 hours when zero, at least the longest window
	Series  int                           // the most series; 200,000 when zero
	Points  int                           // the most samples that are kept of one series, for windows; 20,000 when zero
}

// Engine follows rules. Samples come in through Observe or from Sources, and Step says which alerts changed. It keeps of each
// series the newest samples and what the longest window of a rule needs, and of alerts those that are pending or firing
// and, for fifteen minutes, resolved.
//
// Time is what it is told, and it goes by differences: as long as the times that it is given carry Go's monotonic reading, as
// those of time.Now do, a wall clock that is set does not matter. It is safe for concurrent use.
type Engine struct {
	o     Options
	base  time.Time // what times are measured from
	start int64     // the time of New
	now   int64     // of the last step

	stepping sync.Mutex // one step at a time
	room     []Sample   // for what sources say

	mu      sync.Mutex
	rules   []*rule
	retired []*rule // have gone while the ledger still held alerts of theirs
	metrics map[string]*metric
	last    *metric // the metric of the last sample: they come in runs
	count   Stats
	gen     uint64 // of evaluations
	swept   int64

	restored bool
	oldest   int64              // the time of the oldest sample, once restored
	lessons  map[lesson]Learned // for models that are to be made

	hits    []hit
	fresh   map[Labels]struct{}
	scratch []float64
}

// Stats count what the engine has seen and what it keeps.
type Stats struct {
	Samples uint64 // that came in
	Unused  uint64 // of which no rule wanted the metric
	Late    uint64 // of which the series had one as new already
	Refused uint64 // for which there was no room, or that were invalid
	Series  int    // that are kept
	Alerts  int    // pending and firing
}

// never stands for a time that there is not.
const never = math.MinInt64

// metric is what some rule measures.
type metric struct {
	name   string
	rules  []*rule // with a measure of it
	window int64   // the longest that is asked for
	series map[Labels]*series
}

// series is one thing of which a metric is measured.
type series struct {
	labels    Labels
	last      point // the newest sample; no number means that there is no value
	prev      point // the one before
	valued    int64 // when it last had a value
	history   history
	slots     []*slot // one for each rule that wants it
	followed  bool    // some slot has a follower
	forgotten bool
}

// slot is what a rule keeps of a series.
type slot struct {
	rule     *rule
	series   *series
	whole    *series // of a percentage, once it is known
	follower follower
	labels   Labels // of the alert, when the rule's labels are not computed
	err      error  // why there cannot be one
}

// New returns an engine without rules. The time is that of its start.
func New(now time.Time, o Options) *Engine {
	if o.Forget <= 0 {
		o.Forget = Duration(24 * time.Hour)
	}
	if o.Series <= 0 {
		o.Series = 200_000
	}
	if o.Points <= 0 {
		o.Points = 20_000
	}
	e := &Engine{o: o, metrics: make(map[string]*metric), fresh: make(map[Labels]struct{}), oldest: math.MaxInt64}
	e.base = now.Add(-time.Duration(now.Nanosecond()) % time.Millisecond)
	e.start = e.base.UnixMilli()
	e.now, e.swept = e.start, e.start
	return e
}

// ms returns a time in milliseconds, by its distance from the start.
func (e *Engine) ms(t time.Time) int64 { return e.start + t.Sub(e.base).Milliseconds() }

// SetRules replaces the rules. It fails with ErrInvalid, or with ErrExists for two of the same name, and then changes
// nothing. A rule of the name of one before goes on with its alerts; a rule that is gone resolves those that fire.
func (e *Engine) SetRules(rules ...Rule) error {
	made := make([]*rule, 0, len(rules))
	names := make(map[string]bool, len(rules))
	for _, r := range rules {
		c, err := compile(r)
		if err != nil {
			return err
		}
		op := "rule " + quote(r.Name)
		if names[r.Name] {
			return &Error{Op: op, Kind: ErrExists, Field: "name", Value: r.Name, Want: "a name of its own"}
		}
		names[r.Name] = true
		if r.Query != "" && e.o.Querier == nil {
			return &Error{Op: op, Kind: ErrInvalid, Field: "query", Value: r.Query, Want: "none: nobody answers queries here"}
		}
		if _, err := r.Measure.follower(e.o.Models); err != nil {
			return of(r.Name, err)
		}
		made = append(made, c)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before := make(map[string]*rule, len(e.rules))
	for _, r := range slices.Concat(e.retired, e.rules) {
		before[r.Name] = r
	}
	e.retired = nil
	metrics := make(map[string]*metric)
	want := func(name string, window int64) *metric {
		m := metrics[name]
		if m == nil {
			m = &metric{name: name, series: make(map[Labels]*series)}
			if old := e.metrics[name]; old != nil {
				m.series = old.series
			}
			metrics[name] = m
		}
		m.window = max(m.window, window)
		return m
	}
	kept := make(map[*rule]*rule)
	for _, r := range made {
		r.state.init()
		if old := before[r.Name]; old != nil {
			r.active, r.unseen = old.active, old.unseen
			delete(before, r.Name)
			if r.Measure.same(old.Measure) {
				kept[old] = r
			}
		}
		if r.Query != "" {
			continue
		}
		window := int64(0)
		if r.Measure.Func.kind() == kindWindow {
			window = r.window
		}
		m := want(r.Measure.Metric, window)
		m.rules = append(m.rules, r)
		if r.Measure.Of != "" {
			want(r.Measure.Of, window)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		r := before[name]
		r.retire(e.now)
		if len(r.active) > 0 {
			r.slots = nil
			e.retired = append(e.retired, r)
		}
	}
	e.rules, e.metrics, e.last = made, metrics, nil
	e.count.Series = 0
	for _, m := range metrics {
		e.count.Series += len(m.series)
		for _, s := range m.series {
			if m.window > 0 && s.history.len() == 0 {
				for _, p := range []point{s.prev, s.last} {
					if p.t != never && p.v == p.v {
						s.history.add(p, never)
					}
				}
			}
			e.slot(m, s, kept)
		}
	}
	for _, r := range made {
		r.sort()
	}
	return nil
}

// slot gives a series its slots, those that it had where their rule has changed in nothing that matters to them.
func (e *Engine) slot(m *metric, s *series, kept map[*rule]*rule) {
	had := s.slots
	s.slots, s.followed = nil, false
	for _, r := range m.rules {
		if !r.Measure.Matchers.Match(s.labels) {
			continue
		}
		var l *slot
		for _, h := range had {
			if kept[h.rule] == r {
				l = h
			}
		}
		if l == nil {
			l = &slot{series: s}
			if l.follower, l.err = r.Measure.follower(e.o.Models); l.err == nil {
				l.follower = e.teach(r, s, l.follower)
			}
		}
		l.rule = r
		if !r.computed && (l.follower != nil || r.Measure.Func.kind() != kindFollow) {
			l.labels, l.err = r.identity(s.labels, 0)
		}
		s.slots = append(s.slots, l)
		r.slots = append(r.slots, l)
		s.followed = s.followed || l.follower != nil
	}
}

// Observe takes samples. Those of a series come in the order of their times; a sample that is not newer than the one before it
// is left out and counted. What can be taken is taken: the error is that of the first sample which could not, an
// *Error with ErrInvalid for a sample without a metric or a time, or with ErrLimit when there is no room.
func (e *Engine) Observe(samples ...Sample) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var first error
	for i := range samples {
		if err := e.observe(&samples[i]); err != nil {
			e.count.Refused++
			if first == nil {
				first = err
			}
		}
	}
	return first
}

func (e *Engine) observe(sample *Sample) error {
	e.count.Samples++
	if sample.Metric == "" || sample.Time.IsZero() {
		return &Error{Op: "sample", Kind: ErrInvalid, Field: "metric", Value: sample.Metric, Want: "a metric and a time"}
	}
	m := e.last
	if m == nil || m.name != sample.Metric {
		if m = e.metrics[sample.Metric]; m == nil {
			e.count.Unused++
			return nil
		}
		e.last = m
	}
	p := point{e.ms(sample.Time), sample.Value}
	s := m.series[sample.Labels]
	if s == nil {
		if e.count.Series >= e.o.Series {
			return &Error{Op: "sample", Kind: ErrLimit, Field: "series", Value: sample.Metric + sample.Labels.String(), Want: "at most " + strconv.Itoa(e.o.Series) + " series"}
		}
		s = &series{labels: sample.Labels, last: point{never, 0}, prev: point{never, math.NaN()}, valued: never}
		m.series[sample.Labels] = s
		e.count.Series++
		e.slot(m, s, nil)
	}
	if p.t <= s.last.t {
		e.count.Late++
		return nil
	}
	if m.window > 0 && p.v == p.v {
		if s.history.len() >= e.o.Points && s.history.points[s.history.first].t > e.now-m.window {
			return &Error{Op: "sample", Kind: ErrLimit, Field: "points", Value: sample.Metric + sample.Labels.String(), Want: "at most " + strconv.Itoa(e.o.Points) + " samples in a window"}
		}
		s.history.add(p, e.now-m.window)
	}
	s.prev, s.last = s.last, p
	if p.v == p.v {
		s.valued = p.t
	}
	if e.restored {
		e.oldest = min(e.oldest, p.t)
	}
	if s.followed {
		for _, l := range s.slots {
			if l.follower != nil {
				l.follower.observe(p)
			}
		}
	}
	return nil
}

// at returns the newest sample as of a time. Clocks differ, so one from the near future is as good; one from further in the
// future than the look-back is taken for a mistake and undone, so that it does not keep out those that follow.
func (s *series) at(now int64) point {
	if s.last.t <= now+LookBack.ms() {
		return s.last
	}
	if h := &s.history; h.len() > 0 && h.points[len(h.points)-1].t == s.last.t {
		h.points = h.points[:len(h.points)-1]
	}
	s.last, s.prev = s.prev, point{never, math.NaN()}
	s.valued = min(s.valued, s.last.t)
	return s.at(now)
}

// Forget drops what is known of series with these labels, because the thing that they measured is gone for good; alerts
// of it are resolved at the next step. Without a matcher nothing is forgotten.
func (e *Engine) Forget(which Matchers) {
	if len(which) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drop(func(_ *metric, s *series) bool { return which.Match(s.labels) })
}

// sweep forgets series that have been silent for long.
func (e *Engine) sweep(now int64) {
	if now-e.swept < LookBack.ms() {
		return
	}
	e.swept = now
	e.drop(func(m *metric, s *series) bool { return now-s.last.t > max(e.o.Forget.ms(), m.window) })
}

func (e *Engine) drop(gone func(*metric, *series) bool) {
	any := false
	for _, m := range e.metrics {
		for labels, s := range m.series {
			if gone(m, s) {
				s.forgotten, any = true, true
				delete(m.series, labels)
				e.count.Series--
			}
		}
	}
	if !any {
		return
	}
	for _, r := range e.rules {
		r.shed()
	}
}

// Stats returns what was counted.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.count
	for _, r := range e.rules {
		for _, a := range r.active {
			if a.phase != Resolved {
				s.Alerts++
			}
		}
	}
	return s
}

// sources asks the sources; what one of them does not say, it may say the next time.
func (e *Engine) sources(ctx context.Context) []error {
	var errs []error
	for i, s := range e.o.Sources {
		samples, err := s.Samples(ctx, e.room[:0])
		e.room = samples
		if err != nil {
			errs = append(errs, &Error{Op: "source " + strconv.Itoa(i), Kind: ErrUnavailable, Cause: err})
		}
		if err := e.Observe(samples...); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// answer is what the Querier said to a rule.
type answer struct {
	rule    *rule
	samples []Sample
	err     error
}

// queries asks the Querier what the rules want to know, without holding anybody up.
func (e *Engine) queries(ctx context.Context, now time.Time) []answer {
	e.mu.Lock()
	var answers []answer
	for _, r := range e.rules {
		if r.Query != "" {
			answers = append(answers, answer{rule: r})
		}
	}
	e.mu.Unlock()
	for i := range answers {
		a := &answers[i]
		a.samples, a.err = e.o.Querier.Query(ctx, a.rule.Query, now)
		if a.err != nil && !errors.Is(a.err, ErrUnavailable) {
			a.err = &Error{Op: "rule " + quote(a.rule.Name), Kind: ErrUnavailable, Field: "query", Value: a.rule.Query, Cause: a.err}
		}
	}
	return answers
}
