package detect

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"
)

// CUSUM finds that the level of a series has shifted, also when no single value is remarkable. It learns what is normal
// from a number of samples (median, and standard deviation by RobustZ's measure), then sums up by how much values are
// above it, or below it, beyond a slack (Page 1954; both sums never fall below zero). When one sum exceeds a limit the
// sample is outside, and what is normal is learnt anew: a shift is told once, when it happened.
//
// No sample counts for more than a quarter of the limit, so that a spike is not taken for a level. Low and High are the
// band in which a value adds nothing to either sum; Score is the greater sum in proportion to the limit.
type CUSUM struct {
	Baseline int     `json:"baseline,omitempty"` // samples from which it learns, from 10 to 10,000; zero means 120
	Slack    float64 `json:"slack,omitempty"`    // what is no shift, in standard deviations; zero means 1: shifts by twice that are found best
	Limit    float64 `json:"limit,omitempty"`    // the sum that is a shift, in standard deviations, from 1 to 1000; zero means 12
	Least    float64 `json:"least,omitempty"`    // the standard deviation at least, in the unit of the values
}

// New makes a detector. It has enough history after its baseline, and again after the baseline that follows a shift.
func (p CUSUM) New() (Detector, error) {
	p.Baseline, p.Slack, p.Limit = cmp.Or(p.Baseline, 120), cmp.Or(p.Slack, 1), cmp.Or(p.Limit, 12)
	c := checks{op: "cusum"}
	c.count("baseline", p.Baseline, 10, 10_000)
	c.number("slack", p.Slack, math.SmallestNonzeroFloat64, 1000)
	c.number("limit", p.Limit, 1, 1000)
	c.number("least", p.Least, 0, MaxValue)
	if c.err != nil {
		return nil, c.err
	}
	d := &cusum{p: p}
	d.s.Values = make([]float64, 0, p.Baseline)
	return d, nil
}

type cusum struct {
	p CUSUM
	s cusumState
}

type cusumState struct {
	Order  order     `json:"order"`
	Values []float64 `json:"values"` // of the baseline that is being learnt
	Known  bool      `json:"known,omitempty"`
	Mean   float64   `json:"mean"`
	Sigma  float64   `json:"sigma"`
	Above  float64   `json:"above"` // the sums, in standard deviations
	Below  float64   `json:"below"`
}

// Observe implements Detector.
func (d *cusum) Observe(t time.Time, v float64) Verdict {
	if _, ok := d.s.Order.admit(t, v); !ok {
		return Verdict{Ignored: true}
	}
	if !d.s.Known {
		d.learn(v)
		return Verdict{}
	}
	slack := d.p.Slack * d.s.Sigma
	r := Verdict{Enough: true, Expected: d.s.Mean, Low: d.s.Mean - slack, High: d.s.Mean + slack}
	z := (v - d.s.Mean) / d.s.Sigma
	d.s.Above = max(0, d.s.Above+min(z-d.p.Slack, d.p.Limit/4))
	d.s.Below = max(0, d.s.Below+min(-z-d.p.Slack, d.p.Limit/4))
	sum := max(d.s.Above, d.s.Below)
	r.Score = sum / d.p.Limit
	if sum > d.p.Limit {
		r.Outside = true
		r.Score = max(r.Score, math.Nextafter(1, 2))
		d.s = cusumState{Order: d.s.Order, Values: d.s.Values[:0]}
	}
	return r
}

func (d *cusum) learn(v float64) {
	d.s.Values = append(d.s.Values, v)
	if len(d.s.Values) < d.p.Baseline {
		return
	}
	slices.Sort(d.s.Values)
	d.s.Known, d.s.Mean = true, median(d.s.Values)
	d.s.Sigma = half(sigma(d.s.Values, d.s.Mean), d.p.Least, d.s.Mean)
	d.s.Values = d.s.Values[:0]
}

// MarshalJSON writes the state.
func (d *cusum) MarshalJSON() ([]byte, error) {
	return json.Marshal(saved[CUSUM, cusumState]{"cusum", d.p, d.s})
}

// UnmarshalJSON reads a state that a detector with the same parameters has written.
func (d *cusum) UnmarshalJSON(b []byte) error {
	s, err := restore("cusum", b, d.p, func(s *cusumState) bool {
		return s.Order.valid() && len(s.Values) < d.p.Baseline && sound(s.Values...) && sound(s.Mean) &&
			(!s.Known || s.Sigma > 1e-91 && sound(s.Sigma) && len(s.Values) == 0) &&
			s.Above >= 0 && s.Above <= d.p.Limit && s.Below >= 0 && s.Below <= d.p.Limit
	})
	if err != nil {
		return err
	}
	s.Values = append(make([]float64, 0, d.p.Baseline), s.Values...)
	d.s = s
	return nil
}
