package alert

import (
	"maps"
	"slices"
	"time"
)

// rule is a rule as the engine works with it.
type rule struct {
	Rule
	labels      []named // sorted by name
	annotations []named
	fixed       Labels // what is laid over the labels of what was measured, when those are not to be computed
	computed    bool   // some label is a template, or empty and thereby takes one away
	alerts      bool   // missing data is an alert of its own

	hold, keep, window int64 // milliseconds

	state
}

// named is a template with the name of the label or annotation that it becomes.
type named struct {
	name string
	text text
}

func compile(r Rule) (*rule, error) {
	c, err := compiled(r)
	if err == nil {
		return c, nil
	}
	return nil, of(r.Name, err)
}

// of says of which rule an error is.
func of(rule string, err error) error {
	op := "rule " + quote(rule)
	if e, ok := err.(*Error); ok {
		with := *e
		with.Op = op
		return &with
	}
	return &Error{Op: op, Kind: ErrInvalid, Cause: err}
}

func compiled(r Rule) (*rule, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	c := &rule{
		Rule: r, alerts: r.alerts(),
		hold: r.For.ms(), keep: r.KeepFiringFor.ms(), window: r.Measure.Window.ms(),
	}
	plain := map[string]string{NameLabel: r.Name}
	if r.Severity != "" {
		plain[SeverityLabel] = string(r.Severity)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
		t, err := newText("labels."+name, r.Labels[name])
		if err != nil {
			return nil, err
		}
		c.labels = append(c.labels, named{name, t})
		c.computed = c.computed || t.tmpl != nil || t.plain == ""
		// What a template becomes is not known yet, but the names must do.
		plain[name] = t.plain
	}
	var err error
	if c.fixed, err = NewLabels(plain); err != nil {
		return nil, err
	}
	if len(r.Annotations) > MaxLabels {
		return nil, invalid("annotations", "", "fewer")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Annotations)) {
		if name == "" || len(name) > MaxLabelName {
			return nil, invalid("annotations", name, "a name")
		}
		t, err := newText("annotations."+name, r.Annotations[name])
		if err != nil {
			return nil, err
		}
		c.annotations = append(c.annotations, named{name, t})
	}
	return c, nil
}

// identity returns the labels of the alert that a value of what has these labels is.
func (r *rule) identity(of Labels, value float64) (Labels, error) {
	if !r.computed {
		return of.With(r.fixed)
	}
	from := r.given(of)
	m := of.Map()
	maps.Insert(m, r.fixed.All())
	for _, l := range r.labels {
		m[l.name] = l.text.expand(from, value)
	}
	return NewLabels(m)
}

// given returns the labels as templates see them: with the metric, where the value is that of the metric itself.
func (r *rule) given(of Labels) map[string]string {
	m := of.Map()
	if r.Measure.Func == Last && r.Measure.Of == "" && r.Query == "" {
		m["__name__"] = r.Measure.Metric
	}
	return m
}

// notes returns the annotations.
func (r *rule) notes(of Labels, value float64) map[string]string {
	if len(r.annotations) == 0 {
		return nil
	}
	from := r.given(of)
	notes := make(map[string]string, len(r.annotations))
	room := MaxAnnotations
	for _, a := range r.annotations {
		text := a.text.expand(from, value)
		if room -= len(a.name) + len(text); room < 0 {
			text = "(left out: the annotations are too long)"
		}
		notes[a.name] = text
	}
	return notes
}

// asked returns the labels that the matchers ask for by "=", each once: what is known of something that is absent.
func (m Measure) asked() Labels {
	asked, seen := make(map[string]string), make(map[string]bool)
	for _, matcher := range m.Matchers {
		name := matcher.Name()
		if matcher.Op() == Equal && !seen[name] {
			asked[name] = matcher.Value()
			seen[name] = true
		} else {
			delete(asked, name)
		}
	}
	return encode(asked)
}

// same says whether two measures are the same, so that what was kept for one does for the other.
func (m Measure) same(o Measure) bool {
	model := func(m Measure) Model {
		if m.Model == nil {
			return Model{}
		}
		return *m.Model
	}
	a, b := model(m), model(o)
	return m.Metric == o.Metric && m.Matchers.String() == o.Matchers.String() && m.Func == o.Func && m.Window == o.Window &&
		m.Quantile == o.Quantile && m.Ahead == o.Ahead && m.Last == o.Last && m.Of == o.Of &&
		a.Name == b.Name && maps.Equal(a.Params, b.Params)
}

// stamp is a time as alerts have it.
func stamp(ms int64) time.Time {
	if ms == never {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
