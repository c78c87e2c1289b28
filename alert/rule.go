package alert

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// The bounds of a rule.
const (
	MaxRuleName = 256      // bytes of a name
	MaxTemplate = 4096     // bytes of one label or annotation as it is written in the rule
	MaxQuery    = 16 << 10 // bytes of a query
	MaxNames    = 256      // labels, and annotations

	MaxAnnotations = 32 << 10             // bytes of all annotations of an alert together; further ones are left out
	MaxSpan        = 366 * 24 * time.Hour // of every duration in a rule
)

// Rule says of which samples an alert is made, and how it is told. Either Measure or Query says what is looked at.
//
// States and identity are as in Prometheus. Every value that the test holds for is an alert of its own, identified by the
// labels of what was measured, the rule's labels laid over, and the rule's name. It is pending until the test has held
// at every evaluation for at least For, then it fires; pending alerts that miss one evaluation are gone. A firing alert
// whose test holds no more is resolved, after KeepFiringFor if that is set.
type Rule struct {
	Name    string  `json:"name"`              // unique among the rules of an engine; the label "alertname"
	Measure Measure `json:"measure,omitzero"`  // what is measured
	Query   string  `json:"query,omitempty"`   // or an expression that the engine's Querier answers
	Test    Test    `json:"test,omitzero"`     // of which values it is true; the zero value is true of every value
	Recover *Test   `json:"recover,omitempty"` // hysteresis: what is true of a firing alert for as long as it fires on, wider than Test

	For           Duration `json:"for,omitempty"`             // how long the test has to hold; zero fires at once
	KeepFiringFor Duration `json:"keep_firing_for,omitempty"` // how long an alert fires on after that
	Limit         int      `json:"limit,omitempty"`           // the most alerts of the rule, pending and firing: with more, all are dropped; zero is no limit

	Severity    Severity          `json:"severity,omitempty"`    // the label "severity"; none when empty
	Labels      map[string]string `json:"labels,omitempty"`      // templates; they win over the labels of what was measured
	Annotations map[string]string `json:"annotations,omitempty"` // templates

	NoData  NoData   `json:"no_data,omitempty"` // what it means that there is nothing to measure
	Actions []Action `json:"actions,omitempty"` // what is to be done besides telling somebody, when an alert begins to fire
}

// NoData says what a rule makes of a thing that was measured and gives no value any more, and of there being none at all.
type NoData string

// The policies. In none of them is a rule about absence, whose very subject it is, and in the last two a firing alert stays.
const (
	// NoDataOK: what is missing is not looked at, as in Prometheus: its alert is resolved.
	NoDataOK NoData = "ok"
	// NoDataKeep: alerts of what is missing stay as they are.
	NoDataKeep NoData = "keep"
	// NoDataAlert, the default: what is missing is an alert of its own, with the label "nodata" and the rule's For. Until
	// it fires, an alert of the same thing that fires stays; after it, the new one stands for both.
	NoDataAlert NoData = "alert"
)

// NoDataLabel is the label that the alert about missing data has, with the value "true".
const NoDataLabel = "nodata"

// The metrics of the rules that everybody wants.
const (
	CPUPercent    = "cpu_percent"
	MemoryPercent = "memory_percent"
	DiskPercent   = "disk_percent"
)

// Defaults returns the rules that everybody wants: CPU over 80, memory over 85 and disk over 90 per cent, each for five
// minutes, of whatever has the metrics above.
func Defaults() []Rule {
	rule := func(name, metric, what string, over float64) Rule {
		return Rule{
			Name: name, Measure: Measure{Metric: metric}, Test: Test{Is: Over, Value: over},
			For: Duration(5 * time.Minute), Severity: High, NoData: NoDataOK,
			Annotations: map[string]string{"summary": "{{ or $labels.vm $labels.host }}: " + what + ` at {{ printf "%.1f" $value }} %`},
		}
	}
	return []Rule{
		rule("HighCPU", CPUPercent, "CPU", 80),
		rule("HighMemory", MemoryPercent, "memory", 85),
		rule("HighDisk", DiskPercent, "disk", 90),
	}
}

// Validate says what is wrong with a rule: an *Error of the kind ErrInvalid, or nil.
func (r Rule) Validate() error {
	_, err := compile(r)
	return err
}

func (r Rule) validate() error {
	switch {
	case r.Name == "" || len(r.Name) > MaxRuleName || !utf8.ValidString(r.Name):
		return invalid("name", r.Name, "a name of at most "+strconv.Itoa(MaxRuleName)+" bytes in UTF-8")
	case r.Query != "" && !r.Measure.zero():
		return invalid("query", r.Query, "either a query or a measure")
	case len(r.Query) > MaxQuery:
		return invalid("query", r.Query, "at most "+strconv.Itoa(MaxQuery)+" bytes")
	case len(r.Labels) > MaxNames || len(r.Annotations) > MaxNames:
		return invalid("annotations", strconv.Itoa(max(len(r.Labels), len(r.Annotations))), "at most "+strconv.Itoa(MaxNames)+" labels, and as many annotations")
	case r.Limit < 0:
		return invalid("limit", strconv.Itoa(r.Limit), "not negative")
	}
	if r.Query == "" {
		if err := r.Measure.validate(); err != nil {
			return err
		}
	}
	if err := r.Test.validate("test"); err != nil {
		return err
	}
	if r.Recover != nil {
		if err := r.Recover.validate("recover"); err != nil {
			return err
		}
		if r.Test.Is == "" || r.Recover.Is == "" || !r.Recover.wider(r.Test) {
			return invalid("recover", r.Recover.String(), "the comparison of the test, "+r.Test.String()+", and true of all that the test is true of")
		}
	}
	for field, d := range map[string]Duration{"for": r.For, "keep_firing_for": r.KeepFiringFor} {
		if err := span(field, d, true); err != nil {
			return err
		}
	}
	switch r.Severity {
	case "", Critical, High, Medium, Low:
	default:
		return invalid("severity", string(r.Severity), "critical, high, medium or low")
	}
	if r.Severity != "" && r.Labels[SeverityLabel] != "" {
		return invalid("labels.severity", r.Labels[SeverityLabel], "none when the rule has a severity")
	}
	if r.Labels[NameLabel] != "" {
		return invalid("labels.alertname", r.Labels[NameLabel], "none: it is the rule's name")
	}
	switch r.NoData {
	case "", NoDataOK, NoDataKeep, NoDataAlert:
	default:
		return invalid("no_data", string(r.NoData), "ok, keep or alert")
	}
	for i, a := range r.Actions {
		if err := a.validate("actions[" + strconv.Itoa(i) + "]"); err != nil {
			return err
		}
	}
	if len(r.Actions) > 0 && r.Measure.guesses() {
		return invalid("actions", string(r.Measure.Func), "none: what a model guesses is told, never acted upon")
	}
	return nil
}

// span checks a duration of a rule.
func span(field string, d Duration, zero bool) error {
	switch {
	case d < 0 || time.Duration(d) > MaxSpan || d == 0 && !zero:
		return invalid(field, d.String(), "positive and at most "+Duration(MaxSpan).String())
	case time.Duration(d)%time.Millisecond != 0:
		return invalid(field, time.Duration(d).String(), "whole milliseconds")
	}
	return nil
}

// alerts says whether missing data is an alert of its own.
func (r Rule) alerts() bool {
	return (r.NoData == "" || r.NoData == NoDataAlert) && r.Measure.Func != Absent && (r.Query == "" || r.Test.Is != "")
}
