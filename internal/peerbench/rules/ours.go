package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage/alert"
)

// ours is package alert.
type ours struct {
	e       *alert.Engine
	samples []alert.Sample
}

func engine(s scenario) (follower, error) {
	start, _ := s.at(0)
	o := &ours{e: alert.New(start, alert.Options{})}
	var rules []alert.Rule
	for _, r := range s.rules {
		rule := alert.Rule{
			Name: r.name, Measure: alert.Measure{Metric: r.metric}, Test: alert.Test{Is: alert.Over, Value: r.over},
			For: alert.Duration(r.hold), NoData: alert.NoDataOK, Severity: alert.High,
			Annotations: map[string]string{"summary": "{{ $labels.host }} is at {{ $value }}"},
		}
		if r.function != "" {
			window, err := alert.ParseDuration(r.window)
			if err != nil {
				return nil, err
			}
			rule.Measure.Func, rule.Measure.Window = alert.Avg, window
		}
		rules = append(rules, rule)
	}
	for _, t := range s.things {
		labels, err := alert.NewLabels(map[string]string{t.of: t.name, "project": t.project, "zone": t.zone})
		if err != nil {
			return nil, err
		}
		o.samples = append(o.samples, alert.Sample{Metric: t.metric, Labels: labels})
	}
	return o, o.e.SetRules(rules...)
}

func (o *ours) tick(at time.Time, values []float64) error {
	for i := range o.samples {
		o.samples[i].Time, o.samples[i].Value = at, values[i]
	}
	if err := o.e.Observe(o.samples...); err != nil {
		return err
	}
	out := o.e.Step(context.Background(), at)
	o.e.Committed(out.Changes)
	return errors.Join(out.Errors...)
}

func (o *ours) alerts() []string {
	var all []string
	for _, a := range o.e.Alerts() {
		if a.Phase != alert.Resolved {
			all = append(all, fmt.Sprintf("%s %s %d %v", a.Labels, a.Phase, a.Active.Unix(), a.Value))
		}
	}
	slices.Sort(all)
	return all
}

func (o *ours) close() error { return nil }
