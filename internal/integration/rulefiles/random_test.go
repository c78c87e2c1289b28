package rulefiles_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/internal/integration/rulefiles"
	"github.com/stretchr/testify/require"
)

// The generated cases: rules with series of their own, many to a file so that promtool is quick.
const (
	files     = 24
	perFile   = 100
	step      = 15 * time.Second // between samples
	every     = time.Minute      // between evaluations
	lasting   = 40 * time.Minute
	samples   = int(lasting/step) + 1
	steps     = int(every / step)
	seedFirst = 20261129
)

// invented is a rule with its series.
type invented struct {
	rule   rulefiles.Rule
	series []rulefiles.Series
	silent [][2]time.Duration // of each gap and stale marker, from when to when no value is known
}

// invent makes a case. The numbers that rules compare with have three decimals that no sample and no mean of samples has, and
// windows end between samples: what Prometheus 2 and 3 see differently, an edge of a window that falls on a sample, and what
// floating point may round either way, is not what is judged here.
func invent(r *rand.Rand, name string) invented {
	metric := "m_" + strings.ToLower(name)
	var c invented
	c.rule = rulefiles.Rule{Alert: name}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	window := fmt.Sprintf("%ds", 15*(2+r.IntN(38))+1+r.IntN(14))
	selector := metric + pick("", "", "", `{host=~"h[01]"}`, `{host!="h1"}`, `{zone="z0"}`, `{zone!~"z1|z2",host!="none"}`)
	counter := false
	threshold := func(top float64) string {
		return fmt.Sprintf("%s %.3f", pick(">", ">", ">", ">=", "<", "<="), float64(int(r.Float64()*top))+0.317)
	}
	functions := []func(){
		func() { c.rule.Expr = selector + " " + threshold(100) },
		func() { c.rule.Expr = selector + " " + threshold(100) },
		func() { c.rule.Expr = selector + pick(" == 90", " != 90", "") },
		func() {
			c.rule.Expr = pick("avg", "min", "max") + "_over_time(" + selector + "[" + window + "]) " + threshold(100)
		},
		func() { c.rule.Expr = "quantile_over_time(0.75, " + selector + "[" + window + "]) " + threshold(100) },
		func() { c.rule.Expr = "count_over_time(" + selector + "[" + window + "]) " + threshold(30) },
		func() { c.rule.Expr = "sum_over_time(" + selector + "[" + window + "]) " + threshold(1000) },
		func() {
			counter = true
			c.rule.Expr = "rate(" + selector + "[" + window + "]) " + threshold(4)
		},
		func() {
			counter = true
			c.rule.Expr = "increase(" + selector + "[" + window + "]) " + threshold(800)
		},
		func() { c.rule.Expr = "delta(" + selector + "[" + window + "]) " + threshold(60) },
		func() {
			c.rule.Expr = fmt.Sprintf("predict_linear(%s[%s], %d) %s", selector, window, 60*(1+r.IntN(10)), threshold(100))
		},
		func() {
			counter = true
			c.rule.Expr = "resets(" + selector + "[" + window + "]) " + threshold(3)
		},
		func() { c.rule.Expr = "changes(" + selector + "[" + window + "]) " + threshold(6) },
		func() { c.rule.Expr = "absent(" + selector + ")" },
		func() { c.rule.Expr = "absent_over_time(" + selector + "[" + window + "])" },
	}
	functions[r.IntN(len(functions))]()
	c.rule.For = pick("", "1m", "2m", "3m", "90s", "5m")
	c.rule.KeepFiringFor = pick("", "", "1m", "2m", "150s", "5m")
	if r.IntN(3) == 0 {
		c.rule.Labels = map[string]string{"severity": pick("high", "low"), "of": "{{ $labels.host }}"}
	}
	if r.IntN(3) == 0 {
		c.rule.Annotations = map[string]string{"summary": "{{ $labels.host }} in {{ .Labels.zone }}"}
	}
	for h := range 1 + r.IntN(3) {
		values, silent := walk(r, counter)
		c.series = append(c.series, rulefiles.Series{Series: fmt.Sprintf(`%s{host="h%d",zone="z%d"}`, metric, h, r.IntN(3)), Values: values})
		c.silent = append(c.silent, silent...)
	}
	return c
}

// walk makes the values of a series: a level that is kept for a while and then another, or a counter that now and then begins
// anew, with gaps and stale markers.
func walk(r *rand.Rand, counter bool) (values string, silent [][2]time.Duration) {
	// Counters begin at a number: where one begins at nearly nothing within a window, the versions of Prometheus extrapolate to its
	// zero in different ways.
	const begin = 1000
	level, slope, total := float64(r.IntN(120)), float64(r.IntN(60)), begin+float64(r.IntN(1000))
	noise := []int{1, 1, 10}[r.IntN(3)]
	gappy := r.IntN(3) > 0
	var out []string
	for i := 0; i < samples; i++ {
		if r.IntN(12) == 0 {
			level, slope = float64(r.IntN(120)), float64(r.IntN(60))
		}
		if counter && r.IntN(40) == 0 {
			total = begin
		}
		total += slope + float64(r.IntN(noise))
		v := level + float64(r.IntN(noise))
		if counter {
			v = total
		}
		switch {
		// A series does not end at an evaluation: five minutes later Prometheus 2 would still see it, and 3 not.
		case gappy && i%steps == 2 && r.IntN(8) == 0:
			gap := 1 + r.IntN(60)
			if r.IntN(2) == 0 {
				out = append(out, "stale")
				silent = append(silent, [2]time.Duration{time.Duration(i) * step, time.Duration(i+gap) * step})
			} else {
				out = append(out, "_")
				silent = append(silent, [2]time.Duration{time.Duration(i-1)*step + time.Duration(alert.LookBack), time.Duration(i+gap) * step})
			}
			for range gap - 1 {
				out = append(out, "_")
				i++
			}
		default:
			out = append(out, fmt.Sprint(v))
		}
	}
	return strings.Join(out, " "), silent
}

// seen counts what the cases show.
type seen struct{ cases, fired, resolved, kept, gaps, pendingEnded, evaluations, alerts int }

// watch looks at the life of a case's alerts.
func (s *seen) watch(c invented, moments []rulefiles.Moment) {
	before := make(map[alert.Labels]alert.Phase)
	var fired, resolved, kept, gap, ended bool
	for _, m := range moments {
		now := make(map[alert.Labels]alert.Phase)
		for _, a := range m.Alerts {
			if a.Labels.Get(alert.NameLabel) != c.rule.Alert {
				continue
			}
			now[a.Labels] = a.Phase
			fired = fired || a.Phase == alert.Firing
			kept = kept || a.Phase == alert.Firing && !a.Keeping.IsZero()
			if a.Phase == alert.Firing {
				s.alerts++
			}
		}
		for labels, phase := range before {
			switch {
			case phase == alert.Firing && now[labels] == alert.Resolved:
				resolved = true
			case phase == alert.Pending && now[labels] == "":
				ended = true
			default:
				continue
			}
			for _, silent := range c.silent {
				gap = gap || silent[0] <= m.At && m.At < silent[1]
			}
		}
		before = now
		s.evaluations++
	}
	s.cases++
	for of, is := range map[*int]bool{&s.fired: fired, &s.resolved: resolved, &s.kept: kept, &s.gaps: gap, &s.pendingEnded: ended} {
		if is {
			*of++
		}
	}
}

// TestInvented: promtool, asked whether what package alert says of invented rules and series is so, agrees at every evaluation.
func TestInvented(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all seen
	var paths []string
	for f := range files {
		r := rand.New(rand.NewPCG(seedFirst, uint64(f)))
		cases := make([]invented, perFile)
		group := rulefiles.Group{Name: "g"}
		test := rulefiles.Test{Interval: "15s"}
		for i := range cases {
			cases[i] = invent(r, fmt.Sprintf("C%d_%d", f, i))
			group.Rules = append(group.Rules, cases[i].rule)
			test.InputSeries = append(test.InputSeries, cases[i].series...)
		}
		file := rulefiles.Rules{Groups: []rulefiles.Group{group}}
		rules, err := file.Typed()
		require.NoError(t, err)
		moments, err := test.Play(rules, every, lasting)
		require.NoError(t, err)
		for _, c := range cases {
			all.watch(c, moments)
			for _, m := range moments {
				test.Alerts = append(test.Alerts, rulefiles.Expect{EvalTime: alert.Duration(m.At).String(), Alertname: c.rule.Alert, Alerts: m.Firing(c.rule.Alert)})
			}
		}
		name := fmt.Sprintf("rules%d.yml", f)
		write(t, filepath.Join(dir, name), file)
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("tests%d.yml", f)))
		tests := rulefiles.Tests{RuleFiles: []string{name}, EvaluationInterval: "1m", Tests: []rulefiles.Test{test}}
		write(t, paths[f], tests)
		if f == 0 {
			wrong(t, dir, tests)
		}
	}
	counts := fmt.Sprintf("%d cases in %d evaluations with %d alerts that fire; in %d something fired, in %d it was resolved, in %d it went on firing for keep_firing_for, "+
		"in %d pending alerts ended, in %d an alert ended in a gap or by a stale marker",
		all.cases, all.evaluations, all.alerts, all.fired, all.resolved, all.kept, all.pendingEnded, all.gaps)
	t.Log(counts)
	require.GreaterOrEqual(t, all.cases, 2000)
	require.GreaterOrEqual(t, all.fired, 300)
	require.GreaterOrEqual(t, all.resolved, 300)
	require.GreaterOrEqual(t, all.kept, 200)
	require.GreaterOrEqual(t, all.gaps, 200)
	out, ok := promtool(t, paths...)
	require.True(t, ok, out[:min(len(out), 20_000)])
	require.Equal(t, files, strings.Count(out, "SUCCESS"))
	if reports := os.Getenv("BERTHAGE_REPORTS"); reports != "" {
		require.NoError(t, os.WriteFile(filepath.Join(reports, "alerts"), []byte("promtool and package alert agree: "+counts+"\n"), 0o600))
	}
}

// wrong hands promtool the same file with one expectation less: it must see that.
func wrong(t *testing.T, dir string, tests rulefiles.Tests) {
	t.Helper()
	path := filepath.Join(dir, "wrong.yml")
	changed := tests
	changed.Tests = []rulefiles.Test{tests.Tests[0]}
	changed.Tests[0].Alerts = append([]rulefiles.Expect(nil), tests.Tests[0].Alerts...)
	for i, want := range changed.Tests[0].Alerts {
		if len(want.Alerts) > 0 {
			changed.Tests[0].Alerts[i].Alerts = want.Alerts[1:]
			break
		}
	}
	write(t, path, changed)
	out, ok := promtool(t, path)
	require.False(t, ok, out)
	require.Contains(t, out, "FAILED")
}

// write writes a file in JSON, which is YAML too.
func write(t *testing.T, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
}
