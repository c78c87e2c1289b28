package rulefiles

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/berthage/berthage/alert"
)

// Moment is what an engine says at one evaluation.
type Moment struct {
	At     time.Duration // since the beginning of the test
	Alerts []alert.Alert
}

// Firing returns the alerts of a rule that fire, as a test file has them.
func (m Moment) Firing(rule string) []Alert {
	var out []Alert
	for _, a := range m.Alerts {
		if a.Phase != alert.Firing || a.Labels.Get(alert.NameLabel) != rule {
			continue
		}
		labels := a.Labels.Map()
		delete(labels, alert.NameLabel)
		out = append(out, Alert{Labels: labels, Annotations: a.Annotations})
	}
	return out
}

// Play feeds the series of a test to an engine with these rules and evaluates it at every interval until the end.
func (t Test) Play(rules []alert.Rule, every, end time.Duration) ([]Moment, error) {
	interval, err := duration(t.Interval)
	if err != nil {
		return nil, err
	}
	if interval == 0 {
		interval = alert.Duration(time.Minute)
	}
	type line struct {
		sample alert.Sample
		values []value
	}
	lines := make([]line, 0, len(t.InputSeries))
	for _, s := range t.InputSeries {
		metric, labels, err := parseSeries(s.Series)
		if err != nil {
			return nil, err
		}
		values, err := parseValues(s.Values)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Series, err)
		}
		lines = append(lines, line{alert.Sample{Metric: metric, Labels: labels}, values})
	}
	start := time.Unix(0, 0).UTC()
	e := alert.New(start, alert.Options{})
	if err := e.SetRules(rules...); err != nil {
		return nil, err
	}
	var moments []Moment
	next := 0 // the sample of each line that comes next
	for at := time.Duration(0); at <= end; at += every {
		for ; time.Duration(next)*time.Duration(interval) <= at; next++ {
			for _, l := range lines {
				if next >= len(l.values) || l.values[next].none {
					continue
				}
				l.sample.Time = start.Add(time.Duration(next) * time.Duration(interval))
				l.sample.Value = l.values[next].v
				if err := e.Observe(l.sample); err != nil {
					return nil, err
				}
			}
		}
		out := e.Step(context.Background(), start.Add(at))
		if err := errors.Join(out.Errors...); err != nil {
			return nil, fmt.Errorf("at %s: %w", at, err)
		}
		e.Committed(out.Changes)
		moments = append(moments, Moment{at, e.Alerts()})
	}
	return moments, nil
}

// Run runs the tests of a file on package alert and says what is not as expected.
func (t Tests) Run(rules []alert.Rule) error {
	every, err := duration(t.EvaluationInterval)
	if err != nil {
		return err
	}
	if every == 0 {
		every = alert.Duration(time.Minute)
	}
	var wrong []error
	for i, test := range t.Tests {
		end := time.Duration(0)
		times := make([]time.Duration, len(test.Alerts))
		for j, want := range test.Alerts {
			d, err := duration(want.EvalTime)
			if err != nil {
				return err
			}
			times[j] = time.Duration(d)
			end = max(end, times[j])
		}
		moments, err := test.Play(rules, time.Duration(every), end)
		if err != nil {
			return fmt.Errorf("test %d: %w", i, err)
		}
		for j, want := range test.Alerts {
			got := moments[times[j]/time.Duration(every)].Firing(want.Alertname)
			if !same(got, want.Alerts) {
				wrong = append(wrong, fmt.Errorf("test %d, %s at %s: %v fires, and not %v", i, want.Alertname, want.EvalTime, got, want.Alerts))
			}
		}
	}
	return errors.Join(wrong...)
}

// same says whether two lists hold the same alerts in any order.
func same(a, b []Alert) bool {
	equal := func(x, y Alert) bool {
		return maps.Equal(x.Labels, y.Labels) && maps.Equal(x.Annotations, y.Annotations)
	}
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x Alert) bool {
		return !slices.ContainsFunc(b, func(y Alert) bool { return equal(x, y) })
	})
}

// number writes a value as a test file has it.
func (v value) String() string {
	switch {
	case v.none:
		return "_"
	case math.IsNaN(v.v):
		return "stale"
	}
	return fmt.Sprint(v.v)
}
