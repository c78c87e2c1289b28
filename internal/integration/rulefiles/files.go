package rulefiles

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/berthage/berthage/alert"
	"go.yaml.in/yaml/v3"
)

// Rules is a rule file of Prometheus.
type Rules struct {
	Groups []Group `yaml:"groups" json:"groups"`
}

// Group is a group of rules.
type Group struct {
	Name  string `yaml:"name" json:"name"`
	Rules []Rule `yaml:"rules" json:"rules"`
}

// Rule is an alerting rule.
type Rule struct {
	Alert         string            `yaml:"alert" json:"alert"`
	Expr          string            `yaml:"expr" json:"expr"`
	For           string            `yaml:"for" json:"for,omitempty"`
	KeepFiringFor string            `yaml:"keep_firing_for" json:"keep_firing_for,omitempty"`
	Labels        map[string]string `yaml:"labels" json:"labels,omitempty"`
	Annotations   map[string]string `yaml:"annotations" json:"annotations,omitempty"`
}

// Tests is a test file of promtool.
type Tests struct {
	RuleFiles          []string `yaml:"rule_files" json:"rule_files"`
	EvaluationInterval string   `yaml:"evaluation_interval" json:"evaluation_interval,omitempty"`
	Tests              []Test   `yaml:"tests" json:"tests"`
}

// Test is one test of a test file.
type Test struct {
	Name        string   `yaml:"name" json:"name,omitempty"`
	Interval    string   `yaml:"interval" json:"interval,omitempty"`
	InputSeries []Series `yaml:"input_series" json:"input_series"`
	Alerts      []Expect `yaml:"alert_rule_test" json:"alert_rule_test"`
}

// Series is a series with its values, in promtool's notation.
type Series struct {
	Series string `yaml:"series" json:"series"`
	Values string `yaml:"values" json:"values"`
}

// Expect says which alerts of a rule fire at a time.
type Expect struct {
	EvalTime  string  `yaml:"eval_time" json:"eval_time"`
	Alertname string  `yaml:"alertname" json:"alertname"`
	Alerts    []Alert `yaml:"exp_alerts" json:"exp_alerts,omitempty"`
}

// Alert is an alert that is expected; the name of the alert is not among its labels.
type Alert struct {
	Labels      map[string]string `yaml:"exp_labels" json:"exp_labels,omitempty"`
	Annotations map[string]string `yaml:"exp_annotations" json:"exp_annotations,omitempty"`
}

// Typed returns the rule as package alert has it. Missing data is what it is to Prometheus: nothing.
func (r Rule) Typed() (alert.Rule, error) {
	m, test, err := Translate(r.Expr)
	if err != nil {
		return alert.Rule{}, err
	}
	out := alert.Rule{Name: r.Alert, Measure: m, Test: test, Labels: r.Labels, Annotations: r.Annotations, NoData: alert.NoDataOK}
	if out.For, err = duration(r.For); err != nil {
		return alert.Rule{}, err
	}
	if out.KeepFiringFor, err = duration(r.KeepFiringFor); err != nil {
		return alert.Rule{}, err
	}
	return out, out.Validate()
}

func duration(s string) (alert.Duration, error) {
	if s == "" {
		return 0, nil
	}
	return alert.ParseDuration(s)
}

// Typed returns all rules of the file.
func (r Rules) Typed() ([]alert.Rule, error) {
	var out []alert.Rule
	for _, g := range r.Groups {
		for _, rule := range g.Rules {
			typed, err := rule.Typed()
			if err != nil {
				return nil, fmt.Errorf("group %s, alert %s: %w", g.Name, rule.Alert, err)
			}
			out = append(out, typed)
		}
	}
	return out, nil
}

// read reads a YAML file and refuses what it does not know.
func read(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Open reads a test file and the rule files that it names.
func Open(path string) (Tests, []alert.Rule, error) {
	var tests Tests
	if err := read(path, &tests); err != nil {
		return tests, nil, err
	}
	var rules []alert.Rule
	for _, name := range tests.RuleFiles {
		var file Rules
		if err := read(filepath.Join(filepath.Dir(path), name), &file); err != nil {
			return tests, nil, err
		}
		more, err := file.Typed()
		if err != nil {
			return tests, nil, fmt.Errorf("%s: %w", name, err)
		}
		rules = slices.Concat(rules, more)
	}
	return tests, rules, nil
}
