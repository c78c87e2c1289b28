package alert_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// bench drives an engine in virtual time, one step a minute unless told otherwise, and is the ledger too.
type bench struct {
	t       testing.TB
	e       *alert.Engine
	at      time.Time
	ledger  map[alert.Labels]alert.Alert
	last    alert.Outcome
	refuses bool // the ledger takes nothing
}

func newBench(t testing.TB, o alert.Options, rules ...alert.Rule) *bench {
	t.Helper()
	b := &bench{t: t, at: time.Unix(1e9, 0), ledger: make(map[alert.Labels]alert.Alert)}
	b.e = alert.New(b.at, o)
	require.NoError(t, b.e.SetRules(rules...))
	return b
}

// value gives a sample of now, "" as host being no label at all.
func (b *bench) value(metric, host string, v float64) {
	b.t.Helper()
	require.NoError(b.t, b.e.Observe(alert.Sample{Metric: metric, Labels: labels(b.t, "host", host), Time: b.at, Value: v}))
}

func (b *bench) step() alert.Outcome {
	b.last = b.e.Step(context.Background(), b.at)
	if !b.refuses {
		for _, c := range b.last.Changes {
			b.ledger[c.Alert.Labels] = c.Alert
		}
		b.e.Committed(b.last.Changes)
	}
	return b.last
}

// phases returns what there is, by host.
func (b *bench) phases() map[string]alert.Phase {
	out := make(map[string]alert.Phase)
	for _, a := range b.e.Alerts() {
		key := a.Labels.Get("host")
		if a.Labels.Get(alert.NoDataLabel) != "" {
			key += " nodata"
		}
		out[key] = a.Phase
	}
	return out
}

// run gives host h one value a minute and returns the phases of its alert, one letter each: . for none, p, f, r. In the values
// NaN is a stale marker and gap no sample at all.
func (b *bench) run(metric string, values ...float64) string {
	b.t.Helper()
	s := ""
	for _, v := range values {
		if v != gap {
			b.value(metric, "h", v)
		}
		b.step()
		require.Empty(b.t, b.last.Errors)
		letter := "."
		if p := b.phases()["h"]; p != "" {
			letter = string(p[:1])
		}
		s += letter
		b.at = b.at.Add(time.Minute)
	}
	return s
}

const gap = -1e300

func minutes(n int) alert.Duration { return alert.Duration(n) * alert.Duration(time.Minute) }

func over80(with ...func(*alert.Rule)) alert.Rule {
	r := alert.Rule{Name: "HighCPU", Measure: alert.Measure{Metric: "cpu"}, Test: alert.Test{Is: alert.Over, Value: 80}, NoData: alert.NoDataOK}
	for _, f := range with {
		f(&r)
	}
	return r
}

// TestPhases has the rules of the states, by the numbers of docs/alerting.md.
func TestPhases(t *testing.T) {
	t.Parallel()
	stale := math.NaN()
	forN := func(n int) func(*alert.Rule) { return func(r *alert.Rule) { r.For = minutes(n) } }
	keep := func(n int) func(*alert.Rule) { return func(r *alert.Rule) { r.KeepFiringFor = minutes(n) } }
	recover := func(v float64) func(*alert.Rule) {
		return func(r *alert.Rule) { r.Recover = &alert.Test{Is: alert.Over, Value: v} }
	}
	measure := func(m alert.Measure) func(*alert.Rule) {
		return func(r *alert.Rule) { m.Metric = "cpu"; r.Measure = m }
	}
	test := func(is alert.Comparison, v float64) func(*alert.Rule) {
		return func(r *alert.Rule) { r.Test = alert.Test{Is: is, Value: v} }
	}
	for name, c := range map[string]struct {
		rule   alert.Rule
		values []float64
		want   string
	}{
		"1 pending, firing, resolved":         {over80(forN(2)), []float64{70, 90, 90, 90, 90, 70, 70}, ".ppffrr"},
		"3 for 0 fires at once":               {over80(), []float64{90, 80, 81}, "frf"},
		"3 for is reached exactly":            {over80(forN(1)), []float64{90, 90}, "pf"},
		"4 one miss and the timer is anew":    {over80(forN(2)), []float64{90, 90, 70, 90, 90, 90}, "pp.ppf"},
		"5 keeps firing":                      {over80(keep(2)), []float64{90, 70, 70, 70, 70}, "fffrr"},
		"5 the mark is taken back":            {over80(keep(2)), []float64{90, 70, 70, 90, 70, 70, 70}, "ffffffr"},
		"5 not of what is pending":            {over80(forN(1), keep(5)), []float64{90, 70, 70}, "p.."},
		"6 a resolved alert may come back":    {over80(forN(1)), []float64{90, 90, 70, 90, 90}, "pfrpf"},
		"11 the look-back ends at 5 minutes":  {over80(), []float64{90, gap, gap, gap, gap, gap}, "fffffr"},
		"11 a stale marker ends at once":      {over80(), []float64{90, stale, gap, 90}, "frrf"},
		"11 keep_firing_for bridges a gap":    {over80(keep(2)), []float64{90, stale, gap, 90}, "ffff"},
		"hysteresis":                          {over80(recover(70)), []float64{75, 81, 75, 71, 70, 75, 81}, ".fffrrf"},
		"hysteresis is of what fires":         {over80(forN(2), recover(70)), []float64{81, 75, 81, 81, 81, 75}, "p.ppff"},
		"outside of a band":                   {over80(func(r *alert.Rule) { r.Test = alert.Test{Is: alert.Outside, Value: 10, High: 20} }), []float64{10, 9, 20, 21}, ".frf"},
		"inside of a band":                    {over80(func(r *alert.Rule) { r.Test = alert.Test{Is: alert.Inside, Value: 10, High: 20} }), []float64{9, 10, 20, 21}, ".ffr"},
		"average":                             {over80(measure(alert.Measure{Func: alert.Avg, Window: minutes(2)})), []float64{60, 100, 61, 99, 100}, "..frf"},
		"falls: exactly three do not suffice": {over80(measure(alert.Measure{Func: alert.Falls, Window: minutes(60)}), test(alert.Over, 3)), []float64{1, 0, 1, 0, 1, 0, 1, 1}, "........"},
		"falls: the fourth does":              {over80(measure(alert.Measure{Func: alert.Falls, Window: minutes(60)}), test(alert.Over, 3)), []float64{1, 0, 1, 0, 1, 0, 1, 0, 0}, ".......ff"},
		"falls: a first sample that is down":  {over80(measure(alert.Measure{Func: alert.Falls, Window: minutes(60)}), test(alert.AtLeast, 1)), []float64{0, 0, 1, 0}, "...f"},
		"falls: a restart of the reporter":    {over80(measure(alert.Measure{Func: alert.Falls, Window: minutes(60)}), test(alert.AtLeast, 1)), []float64{1, stale, 0, 1, 0}, "....f"},
		"falls: a gap of the reporter":        {over80(measure(alert.Measure{Func: alert.Falls, Window: minutes(60)}), test(alert.AtLeast, 1)), []float64{1, gap, gap, gap, gap, gap, 0, 0, 1, 0}, ".........f"},
		"falls: a short gap is none":          {over80(measure(alert.Measure{Func: alert.Falls, Window: minutes(60)}), test(alert.AtLeast, 1)), []float64{1, gap, gap, gap, gap, 0}, ".....f"},
		"falls: the edge of the window":       {over80(measure(alert.Measure{Func: alert.Falls, Window: minutes(3)}), test(alert.AtLeast, 1)), []float64{1, 0, 0, 0, 0}, ".fffr"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, newBench(t, alert.Options{}, c.rule).run("cpu", c.values...))
		})
	}
}

// 2: two series of one identity are an error, and nothing changes.
func TestDuplicatesAreErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{}, over80(func(r *alert.Rule) { r.Labels = map[string]string{"host": "all"} }))
	b.value("cpu", "a", 90)
	b.value("cpu", "b", 70)
	b.step()
	require.Equal(t, map[string]alert.Phase{"all": alert.Firing}, b.phases())
	b.at = b.at.Add(time.Minute)
	b.value("cpu", "b", 90)
	require.ErrorIs(t, errors.Join(b.step().Errors...), alert.ErrDuplicate)
	require.Equal(t, map[string]alert.Phase{"all": alert.Firing}, b.phases(), "as it was")
	b.at = b.at.Add(time.Minute)
	b.value("cpu", "a", 70)
	b.value("cpu", "b", 70)
	require.Empty(t, b.step().Errors)
	require.Equal(t, map[string]alert.Phase{"all": alert.Resolved}, b.phases())
}

// 6: resolved alerts are shown for fifteen minutes.
func TestResolvedAreKept(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{}, over80())
	require.Equal(t, "fr", b.run("cpu", 90, 70))
	values := make([]float64, 17)
	require.Equal(t, "rrrrrrrrrrrrrrr..", b.run("cpu", values...))
}

// 7: a longer For puts a firing alert back.
func TestLongerForPutsBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{}, over80(func(r *alert.Rule) { r.For = minutes(1) }))
	require.Equal(t, "pff", b.run("cpu", 90, 90, 90))
	require.NoError(t, b.e.SetRules(over80(func(r *alert.Rule) { r.For = minutes(5) })))
	require.Equal(t, "ppf", b.run("cpu", 90, 90, 90))
	require.NoError(t, b.e.SetRules(over80(func(r *alert.Rule) { r.For = minutes(1) })))
	require.Equal(t, "fr", b.run("cpu", 90, 70))
	require.NoError(t, b.e.SetRules())
	require.Empty(t, b.step().Changes)
	require.Empty(t, b.e.Alerts())
}

// A rule that is gone resolves what fires, and says so until the ledger has it.
func TestRuleThatIsGone(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{}, over80())
	require.Equal(t, "f", b.run("cpu", 90))
	require.NoError(t, b.e.SetRules())
	b.refuses = true
	for range 2 {
		require.Len(t, b.step().Changes, 1)
		require.Equal(t, alert.Resolved, b.last.Changes[0].Alert.Phase)
	}
	b.refuses = false
	require.Len(t, b.step().Changes, 1)
	require.Empty(t, b.step().Changes)
}

// querier answers with what it is told to.
type querier struct {
	samples []alert.Sample
	err     error
}

func (q *querier) Query(context.Context, string, time.Time) ([]alert.Sample, error) {
	return q.samples, q.err
}

// 8: a query error changes nothing; more than the limit drops all.
func TestQueriesAndLimit(t *testing.T) {
	t.Parallel()
	q := &querier{}
	b := newBench(t, alert.Options{Querier: q}, alert.Rule{Name: "Q", Query: "cpu > 80", For: minutes(2), Limit: 2})
	sample := func(host string) alert.Sample { return alert.Sample{Labels: labels(t, "host", host), Value: 90} }
	next := func() []error {
		b.step()
		b.at = b.at.Add(time.Minute)
		return b.last.Errors
	}
	q.samples = []alert.Sample{sample("a")}
	require.Empty(t, next())
	q.err = errors.New("no answer")
	require.ErrorIs(t, errors.Join(next()...), alert.ErrUnavailable)
	require.Equal(t, map[string]alert.Phase{"a": alert.Pending}, b.phases())
	q.err = nil
	require.Empty(t, next())
	require.Equal(t, map[string]alert.Phase{"a": alert.Firing}, b.phases(), "the timer has run on")
	q.samples = []alert.Sample{sample("a"), sample("b"), sample("c")}
	require.ErrorIs(t, errors.Join(next()...), alert.ErrLimit)
	require.Len(t, b.last.Changes, 1)
	require.Equal(t, alert.Resolved, b.last.Changes[0].Alert.Phase)
	q.samples = q.samples[:2]
	next()
	require.Equal(t, map[string]alert.Phase{"a": alert.Pending, "b": alert.Pending}, b.phases())
	require.ErrorIs(t, alert.New(b.at, alert.Options{}).SetRules(alert.Rule{Name: "Q", Query: "x"}), alert.ErrInvalid, "nobody to ask")
	b = newBench(t, alert.Options{Querier: q, Series: 1}, alert.Rule{Name: "Q", Query: "x"})
	require.ErrorIs(t, errors.Join(b.step().Errors...), alert.ErrLimit, "an answer has a bound")
	require.Empty(t, b.phases())
}

// source gives a sample of now each time, or fails.
type source struct {
	b   *bench
	err error
}

func (s *source) Samples(_ context.Context, into []alert.Sample) ([]alert.Sample, error) {
	if s.err != nil {
		return into, s.err
	}
	return append(into, alert.Sample{Metric: "cpu", Labels: labels(s.b.t, "host", "h"), Time: s.b.at, Value: 90}), nil
}

// A source that cannot be asked changes nothing, until what it said last is too old.
func TestSources(t *testing.T) {
	t.Parallel()
	s := &source{}
	b := newBench(t, alert.Options{Sources: []alert.Source{s}}, over80())
	s.b = b
	require.Empty(t, b.step().Errors)
	require.Equal(t, map[string]alert.Phase{"h": alert.Firing}, b.phases())
	s.err = errors.New("it does not answer")
	for range 4 {
		b.at = b.at.Add(time.Minute)
		require.ErrorIs(t, errors.Join(b.step().Errors...), alert.ErrUnavailable)
		require.Equal(t, map[string]alert.Phase{"h": alert.Firing}, b.phases())
	}
	b.at = b.at.Add(time.Minute)
	b.step()
	require.Equal(t, map[string]alert.Phase{"h": alert.Resolved}, b.phases())
}

// Actions come with the change of what begins to fire, once, and say what they are of; one whose target is not known is an error.
func TestActions(t *testing.T) {
	t.Parallel()
	rule := over80(func(r *alert.Rule) {
		r.For = minutes(1)
		r.Actions = []alert.Action{{Do: alert.Drain, DryRun: true}, {Do: alert.Suspend}, {Do: alert.Hook, Hook: "wake", Label: "host"}, {Do: alert.Hook, Hook: "call"}}
	})
	for _, dry := range []bool{false, true} {
		b := newBench(t, alert.Options{DryRun: dry}, rule)
		b.value("cpu", "h", 90)
		require.Empty(t, b.step().Changes)
		b.at = b.at.Add(time.Minute)
		out := b.step()
		require.Len(t, out.Changes, 1)
		require.Equal(t, []alert.Act{
			{Do: alert.Drain, Target: "h", DryRun: true},
			{Do: alert.Hook, Hook: "wake", Target: "h", DryRun: dry},
			{Do: alert.Hook, Hook: "call", DryRun: dry},
		}, out.Changes[0].Acts)
		require.ErrorIs(t, errors.Join(out.Errors...), alert.ErrInvalid, "there is no label instance to suspend by")
		b.at = b.at.Add(time.Minute)
		require.Empty(t, b.step().Changes)
		require.Empty(t, b.last.Errors)
	}
}

// 9: an annotation that changes does not make a new alert, a label that does makes one.
func TestTemplatesAndIdentity(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{},
		over80(func(r *alert.Rule) {
			r.Annotations = map[string]string{"summary": `{{ $labels.__name__ }} of {{ $labels.host }} is {{ $value | printf "%.1f" }}`}
			r.Severity = alert.Critical
		}),
		alert.Rule{Name: "L", Measure: alert.Measure{Metric: "x"}, Labels: map[string]string{"value": "{{ $value }}"}, NoData: alert.NoDataOK})
	b.value("cpu", "h", 90)
	b.value("x", "", 1)
	require.Len(t, b.step().Changes, 2)
	require.Equal(t, "cpu of h is 90.0", b.last.Changes[0].Alert.Annotations["summary"])
	require.Equal(t, "critical", b.last.Changes[0].Alert.Labels.Get("severity"))
	b.at = b.at.Add(time.Minute)
	b.value("cpu", "h", 91)
	b.value("x", "", 2)
	require.Len(t, b.step().Changes, 2)
	require.Equal(t, labels(t, "alertname", "L", "value", "1"), b.last.Changes[0].Alert.Labels)
	require.Equal(t, alert.Resolved, b.last.Changes[0].Alert.Phase)
	require.Equal(t, labels(t, "alertname", "L", "value", "2"), b.last.Changes[1].Alert.Labels)
	require.Equal(t, "cpu of h is 91.0", b.e.Alerts()[0].Annotations["summary"])
}

// 10: what the ledger and a checkpoint hold is enough to go on.
func TestRestore(t *testing.T) {
	t.Parallel()
	rule := over80(func(r *alert.Rule) { r.For, r.KeepFiringFor = minutes(3), minutes(3) })
	b := newBench(t, alert.Options{}, rule)
	for i := range 5 {
		b.value("cpu", "a", 90)
		b.value("cpu", "b", []float64{0, 0, 0, 90, 90}[i])
		b.value("cpu", "c", []float64{90, 90, 90, 90, 0}[i])
		b.step()
		b.at = b.at.Add(time.Minute)
	}
	want := map[string]alert.Phase{"a": alert.Firing, "b": alert.Pending, "c": alert.Firing}
	require.Equal(t, want, b.phases())

	var committed []alert.Alert
	for _, a := range b.ledger {
		committed = append(committed, a)
	}
	checkpoint := b.e.Checkpoint()
	require.Len(t, checkpoint.Alerts, 2, "the pending one, and the one that fires on")
	b.e = alert.New(b.at, alert.Options{})
	require.NoError(t, b.e.SetRules(rule))
	b.e.Restore(committed, checkpoint)
	require.Equal(t, want, b.phases())
	require.Empty(t, b.step().Changes, "nothing was heard yet, and so nothing is resolved")
	require.Equal(t, want, b.phases())
	b.value("cpu", "a", 90)
	b.value("cpu", "b", 90)
	b.value("cpu", "c", 0)
	b.at = b.at.Add(time.Minute)
	require.Len(t, b.step().Changes, 1)
	require.Equal(t, map[string]alert.Phase{"a": alert.Firing, "b": alert.Firing, "c": alert.Firing}, b.phases())
	b.at = b.at.Add(time.Minute)
	b.step()
	require.Equal(t, alert.Resolved, b.phases()["c"], "the mark was kept: three minutes")

	// Of what was not heard of again it is known after the look-back.
	b.at = b.at.Add(3 * time.Minute)
	b.value("cpu", "a", 90)
	b.at = b.at.Add(3 * time.Minute)
	b.step()
	require.Equal(t, map[string]alert.Phase{"a": alert.Firing, "b": alert.Firing, "c": alert.Resolved}, b.phases())
	b.at = b.at.Add(3 * time.Minute)
	b.step()
	require.Equal(t, alert.Resolved, b.phases()["b"])
}

// What the ledger has not taken is said again.
func TestLedgerThatRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, alert.Options{}, over80(func(r *alert.Rule) { r.Actions = []alert.Action{{Do: alert.Drain}} }))
	b.refuses = true
	require.Equal(t, "ff", b.run("cpu", 90, 91))
	require.Len(t, b.last.Changes, 1)
	require.Equal(t, []alert.Act{{Do: alert.Drain, Target: "h"}}, b.last.Changes[0].Acts)
	require.Equal(t, "r", b.run("cpu", 70))
	require.Empty(t, b.last.Changes, "it was never known to fire")
	require.Equal(t, "f", b.run("cpu", 90))
	b.refuses = false
	require.Equal(t, "f", b.run("cpu", 90))
	require.Len(t, b.last.Changes, 1)
	b.refuses = true
	require.Equal(t, "rfr", b.run("cpu", 70, 90, 70))
	require.Len(t, b.last.Changes, 1)
	require.Equal(t, alert.Resolved, b.last.Changes[0].Alert.Phase)
	require.Equal(t, "f", b.run("cpu", 90))
	require.Equal(t, alert.Firing, b.last.Changes[0].Alert.Phase)
	b.refuses = false
	b.step()
	require.Empty(t, b.step().Changes)
}

func TestNoData(t *testing.T) {
	t.Parallel()
	stale := math.NaN()
	policy := func(p alert.NoData, forN int) alert.Rule {
		return over80(func(r *alert.Rule) { r.NoData, r.For = p, minutes(forN) })
	}
	b := newBench(t, alert.Options{}, policy("", 2))
	require.Equal(t, ".", b.run("cpu", gap))
	require.Equal(t, map[string]alert.Phase{" nodata": alert.Pending}, b.phases(), "there is nothing at all")
	require.Equal(t, "ppff", b.run("cpu", 90, 90, 90, 90))
	require.Equal(t, alert.Firing, b.phases()["h"])
	require.Equal(t, "ff", b.run("cpu", stale, gap))
	require.Equal(t, map[string]alert.Phase{"h": alert.Firing, "h nodata": alert.Pending}, b.phases(), "what fires stays")
	require.Equal(t, "fr", b.run("cpu", gap, gap))
	require.Equal(t, map[string]alert.Phase{"h": alert.Resolved, "h nodata": alert.Firing}, b.phases(), "and is stood for by the other")
	require.Equal(t, "p", b.run("cpu", 90))
	require.Equal(t, map[string]alert.Phase{"h": alert.Pending, "h nodata": alert.Resolved}, b.phases())
	b.run("cpu", stale, gap, gap)
	require.Equal(t, alert.Firing, b.phases()["h nodata"])
	b.e.Forget(alert.Matchers{matcher(t, "host", alert.Equal, "h")})
	b.step()
	require.Equal(t, alert.Resolved, b.phases()["h nodata"], "the thing is gone for good")

	b = newBench(t, alert.Options{}, policy(alert.NoDataKeep, 1))
	require.Equal(t, "pf", b.run("cpu", 90, 90))
	require.Equal(t, "fffffff", b.run("cpu", gap, gap, gap, gap, gap, gap, gap))
	require.Equal(t, "r", b.run("cpu", 70))
}

func matcher(t testing.TB, name string, op alert.Op, value string) alert.Matcher {
	t.Helper()
	m, err := alert.NewMatcher(name, op, value)
	require.NoError(t, err)
	return m
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	rule := alert.Rule{Name: "A", Measure: alert.Measure{Metric: "cpu", Func: alert.Absent, Matchers: alert.Matchers{matcher(t, "host", alert.Equal, "h"), matcher(t, "zone", alert.NotEqual, "z")}}, For: minutes(1)}
	b := newBench(t, alert.Options{}, rule)
	require.Equal(t, "pfrrrrrpff", b.run("cpu", gap, gap, 1, gap, gap, gap, gap, gap, gap, gap))
	require.Equal(t, labels(t, "alertname", "A", "host", "h"), b.e.Alerts()[0].Labels)

	// One that was restored does not conclude from having heard nothing yet.
	b = newBench(t, alert.Options{}, rule)
	b.e.Restore(nil, alert.Checkpoint{})
	require.Equal(t, ".....pf", b.run("cpu", gap, gap, gap, gap, gap, gap, gap))
}

func TestFlapping(t *testing.T) {
	t.Parallel()
	rule := alert.Rule{Name: "F", Measure: alert.Measure{Metric: "up", Func: alert.Flapping}, Test: alert.Test{Is: alert.AtLeast, Value: 20}, Recover: &alert.Test{Is: alert.AtLeast, Value: 5}}
	b := newBench(t, alert.Options{}, rule)
	// Four changes among the youngest weigh 1.2, 1.18, 1.16, 1.14: 23 per cent; three do not reach 20.
	require.Equal(t, "....f", b.run("up", 1, 0, 1, 0, 1))
	// After 18 more samples two of the changes are left and weigh 0.82 and 0.8: 8 per cent; after 19 the last is 4.
	steady := make([]float64, 20)
	for i := range steady {
		steady[i] = 1
	}
	require.Equal(t, "ffffffffffffffffffrr", b.run("up", steady...))
}

// outlier finds everything over 10 outside, and foretells a hundred less than the last value.
type outlier struct{ last float64 }

func (o *outlier) MarshalJSON() ([]byte, error)                { return json.Marshal(o.last) }
func (o *outlier) UnmarshalJSON(b []byte) error                { return json.Unmarshal(b, &o.last) }
func (o *outlier) Observe(_ time.Time, v float64) bool         { o.last = v; return v > 10 }
func (o *outlier) Forecast(time.Time) (value float64, ok bool) { return o.last - 100, o.last > 0 }

func TestModels(t *testing.T) {
	t.Parallel()
	o := alert.Options{Models: func(m alert.Model) (alert.Detector, error) {
		if m.Name != "outlier" {
			return nil, errors.New("no such model")
		}
		return &outlier{}, nil
	}}
	rule := alert.Rule{
		Name: "Odd", Measure: alert.Measure{Metric: "cpu", Func: alert.Anomalies, Model: &alert.Model{Name: "outlier"}, Last: 4},
		Test: alert.Test{Is: alert.AtLeast, Value: 3}, NoData: alert.NoDataOK,
	}
	require.Equal(t, "...fffr", newBench(t, o, rule).run("cpu", 11, 0, 11, 11, 11, 0, 0))
	forecast := rule
	forecast.Measure.Func, forecast.Measure.Last = alert.Forecast, 0
	forecast.Test = alert.Test{Is: alert.Under, Value: 5}
	require.Equal(t, ".f", newBench(t, o, forecast).run("cpu", 200, 104))

	// What was learnt is handed on, one's own count of those outside too.
	forecast.Name, forecast.Test.Value = "Far", -1e9
	b := newBench(t, o, rule, forecast)
	require.Equal(t, "...", b.run("cpu", 104, 11, 0))
	learned := b.e.Learned()
	require.Len(t, learned, 2)
	next := newBench(t, o, rule, forecast)
	learned[0].State = json.RawMessage(`"none"`) // of the forecast; it begins anew
	next.e.Teach(learned)
	require.Equal(t, "f", next.run("cpu", 11))
	require.InDelta(t, 3, next.e.Alerts()[0].Value, 0)

	rule.Measure.Model = &alert.Model{Name: "other"}
	require.ErrorIs(t, alert.New(time.Unix(0, 0), o).SetRules(rule), alert.ErrInvalid)
	require.ErrorIs(t, alert.New(time.Unix(0, 0), alert.Options{}).SetRules(rule), alert.ErrInvalid)
	rule.Actions = []alert.Action{{Do: alert.Suspend}}
	require.ErrorIs(t, rule.Validate(), alert.ErrInvalid, "nothing is done about what a model thinks")
}

func TestPercentage(t *testing.T) {
	t.Parallel()
	rule := alert.Rule{Name: "Memory", Measure: alert.Measure{Metric: "used", Of: "total"}, Test: alert.Test{Is: alert.Over, Value: 85}, NoData: alert.NoDataOK}
	b := newBench(t, alert.Options{}, rule)
	b.value("used", "a", 90)
	b.value("used", "b", 80)
	b.value("used", "c", 99)
	b.value("used", "d", 99)
	b.value("total", "a", 100)
	b.value("total", "b", 100)
	b.value("total", "d", 0)
	b.step()
	require.Equal(t, map[string]alert.Phase{"a": alert.Firing}, b.phases(), "neither without a whole nor of nothing")
	require.InDelta(t, 90, b.e.Alerts()[0].Value, 1e-9)
}
