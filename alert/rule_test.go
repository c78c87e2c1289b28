package alert_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

func TestRulesAreRefused(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*alert.Rule){
		"name":             func(r *alert.Rule) { r.Name = "" },
		"query":            func(r *alert.Rule) { r.Query = "x" },
		"limit":            func(r *alert.Rule) { r.Limit = -1 },
		"measure.metric":   func(r *alert.Rule) { r.Measure.Metric = "" },
		"measure.func":     func(r *alert.Rule) { r.Measure.Func = "median" },
		"measure.window":   func(r *alert.Rule) { r.Measure.Func = alert.Avg },
		"measure.ahead":    func(r *alert.Rule) { r.Measure.Ahead = minutes(1) },
		"measure.quantile": func(r *alert.Rule) { r.Measure.Quantile = 0.5 },
		"measure.last":     func(r *alert.Rule) { r.Measure.Last = 5 },
		"measure.model":    func(r *alert.Rule) { r.Measure.Model = &alert.Model{Name: "x"} },
		"measure.of":       func(r *alert.Rule) { r.Measure.Func, r.Measure.Of = alert.Flapping, "x" },
		"test.is":          func(r *alert.Rule) { r.Test.Is = "~" },
		"test.high":        func(r *alert.Rule) { r.Test.High = 1 },
		"test":             func(r *alert.Rule) { r.Test.Value = math.Inf(1) },
		"recover":          func(r *alert.Rule) { r.Recover = &alert.Test{Is: alert.Over, Value: 81} },
		"for":              func(r *alert.Rule) { r.For = -1 },
		"keep_firing_for":  func(r *alert.Rule) { r.KeepFiringFor = alert.Duration(time.Microsecond) },
		"severity":         func(r *alert.Rule) { r.Severity = "bad" },
		"labels.alertname": func(r *alert.Rule) { r.Labels = map[string]string{"alertname": "x"} },
		"labels.severity":  func(r *alert.Rule) { r.Severity, r.Labels = alert.Low, map[string]string{"severity": "x"} },
		"labels.x":         func(r *alert.Rule) { r.Labels = map[string]string{"x": "{{ $nothing }}"} },
		"annotations.x":    func(r *alert.Rule) { r.Annotations = map[string]string{"x": "{{ range 1000000000000 }}{{ end }}"} },
		"annotations.y":    func(r *alert.Rule) { r.Annotations = map[string]string{"y": `{{ define "y" }}{{ end }}`} },
		"annotations.z":    func(r *alert.Rule) { r.Annotations = map[string]string{"z": strings.Repeat("z", alert.MaxTemplate+1)} },
		"annotations.call": func(r *alert.Rule) { r.Annotations = map[string]string{"call": `{{ query "x" }}`} },
		"no_data":          func(r *alert.Rule) { r.NoData = "maybe" },
		"actions[0].do":    func(r *alert.Rule) { r.Actions = []alert.Action{{Do: "destroy"}} },
		"actions[0].hook":  func(r *alert.Rule) { r.Actions = []alert.Action{{Do: alert.Hook}} },
		"actions[1].hook":  func(r *alert.Rule) { r.Actions = []alert.Action{{Do: alert.Drain}, {Do: alert.Drain, Hook: "x"}} },
		"actions": func(r *alert.Rule) {
			r.Measure = alert.Measure{Metric: "x", Func: alert.Forecast, Model: &alert.Model{Name: "x"}}
			r.Actions = []alert.Action{{Do: alert.Drain}}
		},
	} {
		r := over80()
		require.NoError(t, r.Validate())
		change(&r)
		err := r.Validate()
		require.ErrorIs(t, err, alert.ErrInvalid, field)
		var e *alert.Error
		require.True(t, errors.As(err, &e), field)
		require.Equal(t, field, e.Field)
	}
	e := alert.New(time.Unix(0, 0), alert.Options{})
	require.ErrorIs(t, e.SetRules(over80(), over80()), alert.ErrExists)
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	rules := alert.Defaults()
	require.NoError(t, alert.New(time.Unix(0, 0), alert.Options{}).SetRules(rules...))
	for i, over := range []float64{80, 85, 90} {
		require.Equal(t, alert.Test{Is: alert.Over, Value: over}, rules[i].Test)
		require.Equal(t, minutes(5), rules[i].For)
	}
}

func TestRulesInJSON(t *testing.T) {
	t.Parallel()
	r := alert.Rule{
		Name: "R", Measure: alert.Measure{Metric: "m", Func: alert.Anomalies, Last: 3, Model: &alert.Model{Name: "z", Params: map[string]float64{"a": 1}},
			Matchers: alert.Matchers{matcher(t, "host", alert.Match, "h.*")}},
		Test: alert.Test{Is: alert.Outside, Value: 1, High: 2}, Recover: &alert.Test{Is: alert.Outside, Value: 1.25, High: 1.75},
		For: minutes(90), KeepFiringFor: minutes(1), Limit: 3, Severity: alert.Low, Labels: map[string]string{"a": "b"},
		Annotations: map[string]string{"c": "d"}, NoData: alert.NoDataKeep,
	}
	require.NoError(t, r.Validate())
	b, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(b), `"for":"1h30m"`)
	var back alert.Rule
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, r, back)
	b, err = json.Marshal(over80())
	require.NoError(t, err)
	require.JSONEq(t, `{"name": "HighCPU", "measure": {"metric": "cpu"}, "test": {"is": ">", "value": 80}, "no_data": "ok"}`, string(b))
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "1d": 24 * time.Hour, "2w": 14 * 24 * time.Hour,
		"500ms": 500 * time.Millisecond, "1y1d1ms": 366*24*time.Hour + time.Millisecond, "90m": 90 * time.Minute,
	} {
		d, err := alert.ParseDuration(s)
		require.NoError(t, err, s)
		require.Equal(t, alert.Duration(want), d, s)
		again, err := alert.ParseDuration(d.String())
		require.NoError(t, err, d)
		require.Equal(t, d, again)
	}
	for _, s := range []string{"", "5", "m", "5x", "1m1h", "1m1m", "-1m", "1.5h", "300y", "99999999999999999999s", "1 h", "5m "} {
		_, err := alert.ParseDuration(s)
		require.ErrorIs(t, err, alert.ErrInvalid, s)
	}
	require.Equal(t, "-1h30m", alert.Duration(-90*time.Minute).String())
	require.Equal(t, "8d", alert.Duration(8*24*time.Hour).String())
}

// annotate returns what an annotation becomes.
func annotate(t *testing.T, text string, value float64) string {
	t.Helper()
	r := alert.Rule{Name: "T", Measure: alert.Measure{Metric: "m"}, NoData: alert.NoDataOK, Annotations: map[string]string{"a": text}}
	b := newBench(t, alert.Options{}, r)
	b.value("m", "h1", value)
	require.Len(t, b.step().Changes, 1)
	return b.last.Changes[0].Alert.Annotations["a"]
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`plain $value`: "plain $value",
		`{{ $labels.host }} {{ $value }} {{ $labels.none }}!`:                                     "h1 1234.5 !",
		`{{ .Labels.host }} {{ .Value }}`:                                                         "h1 1234.5",
		`{{ if gt $value 1000.0 }}much{{ else }}little{{ end }}`:                                  "much",
		`{{ with $labels.host }}{{ . | toUpper }}{{ end }}`:                                       "H1",
		`{{ humanize $value }} {{ humanize1024 $value }}`:                                         "1.234k 1.206ki",
		`{{ humanizeDuration $value }} {{ humanizeDuration 0.012 }} {{ humanizeDuration 90061 }}`: "20m 34s 12ms 1d 1h 1m 1s",
		`{{ humanizePercentage 0.125 }} {{ humanize 0.00002 }}`:                                   "12.5% 20u",
		`{{ printf "%.1f of 10000 %%, %5.2f" $value 1.0 }}`:                                       "1234.5 of 10000 %,  1.00",
		`{{ index $labels "host" }}{{ $externalLabels.x }}`:                                       "h1",
	} {
		require.Equal(t, want, annotate(t, text, 1234.5), text)
	}
	for _, text := range []string{
		`{{ printf "%1000000d" 1 }}`, `{{ printf "%*d" 1000000 1 }}`, `{{ humanize "x" }}`, `{{ slice $labels.host 9 }}`,
		strings.Repeat(`{{ $x := "aaaaaaaaaaaaaaaa" }}`, 1) + strings.Repeat(`{{ $x = print $x $x }}`, 100),
		`{{ $x := "` + strings.Repeat("&", 64) + `" }}` + strings.Repeat(`{{ $x = html $x }}`, 100),
		`{{ $x := printf "%99s" "a" }}` + strings.Repeat(`{{ $x }}`, 400),
	} {
		got := annotate(t, text, 1)
		require.True(t, strings.HasPrefix(got, "<error expanding template: "), got)
		require.Less(t, len(got), 400)
	}
}

// TestAnnotationsAreBounded: whatever templates give, an alert stays small enough to be written down.
func TestAnnotationsAreBounded(t *testing.T) {
	t.Parallel()
	notes := make(map[string]string)
	for n := range 12 {
		notes[string(rune('a'+n))] = `{{ $x := "` + strings.Repeat("<", 2000) + `" }}{{ $x }}{{ $x }}{{ $x }}{{ $x }}{{ $x }}{{ $x }}`
	}
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	e := alert.New(now, alert.Options{})
	require.NoError(t, e.SetRules(alert.Rule{Name: "Big", Measure: alert.Measure{Metric: "m"}, Annotations: notes}))
	require.NoError(t, e.Observe(alert.Sample{Metric: "m", Time: now, Value: 1}))
	b, err := json.Marshal(e.Step(t.Context(), now).Changes)
	require.NoError(t, err)
	require.Contains(t, string(b), "left out")
	require.Less(t, len(b), 300<<10)
}
