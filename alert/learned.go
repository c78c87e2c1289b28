package alert

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Learned is what the model of a rule has learnt of one series. Models that follow a season learn for weeks, which is too much to
// be observed again after a restart.
type Learned struct {
	Rule    string          `json:"rule"`
	Labels  Labels          `json:"labels"` // of the series
	Outside uint64          `json:"outside,omitempty"`
	Known   bool            `json:"known,omitempty"`
	State   json.RawMessage `json:"state"`
}

// lesson says for which model something learnt is.
type lesson struct {
	rule   string
	labels Labels
}

// Learned returns what the models have learnt that can be written as JSON, sorted; a model that fails to is left out.
func (e *Engine) Learned() []Learned {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []Learned
	for _, r := range e.rules {
		for _, l := range r.slots {
			m, ok := l.follower.(*modelled)
			if !ok {
				continue
			}
			model, ok := m.detector.(json.Marshaler)
			if !ok {
				continue
			}
			if state, err := json.Marshal(model); err == nil {
				all = append(all, Learned{r.Name, l.series.labels, m.outside, m.known, state})
			}
		}
	}
	slices.SortFunc(all, func(a, b Learned) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), a.Labels.Compare(b.Labels))
	})
	return all
}

// Teach makes the models of a new engine begin with what those of another have learnt: after SetRules and before the first
// sample. A model that refuses it, for its parameters have changed, begins anew.
func (e *Engine) Teach(learned []Learned) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lessons = make(map[lesson]Learned, len(learned))
	for _, l := range learned {
		e.lessons[lesson{l.Rule, l.Labels}] = l
	}
}

// teach gives a new model what there is for it.
func (e *Engine) teach(r *rule, s *series, f follower) follower {
	m, ok := f.(*modelled)
	if !ok {
		return f
	}
	which := lesson{r.Name, s.labels}
	l, ok := e.lessons[which]
	if !ok {
		return f
	}
	delete(e.lessons, which)
	pupil, ok := m.detector.(json.Unmarshaler)
	if !ok {
		return f
	}
	if err := pupil.UnmarshalJSON(l.State); err != nil {
		// It may have read half of it.
		if anew, err := r.Measure.follower(e.o.Models); err == nil {
			return anew
		}
		return f
	}
	m.outside, m.known = l.Outside, l.Known
	return m
}
