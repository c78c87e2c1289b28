package detect

import (
	"cmp"
	"encoding/json"
	"math"
	"time"
)

// EWMA finds values far from the exponentially weighted mean, by the exponentially weighted variance. Of the first
// 1/Alpha samples it takes the plain mean and variance. What it learns of a value ends at the edge of its band.
type EWMA struct {
	Alpha float64 `json:"alpha,omitempty"` // the weight of the newest sample, between 0 and 1; zero means 0.02
	Width float64 `json:"width,omitempty"` // half the width of the band, in standard deviations; zero means 4
	Least float64 `json:"least,omitempty"` // half the width of the band at least, in the unit of the values
}

// New makes a detector. It has enough history after 1/Alpha samples, ten at least.
func (p EWMA) New() (Detector, error) {
	p.Alpha, p.Width = cmp.Or(p.Alpha, 0.02), cmp.Or(p.Width, 4)
	c := checks{op: "ewma"}
	c.share("alpha", p.Alpha)
	c.number("alpha", p.Alpha, 1e-6, 1)
	c.band(p.Width, p.Least)
	if c.err != nil {
		return nil, c.err
	}
	return &ewma{p: p}, nil
}

type ewma struct {
	p EWMA
	s ewmaState
}

type ewmaState struct {
	Order    order   `json:"order"`
	N        int     `json:"n"` // samples learnt, as far as it matters
	Mean     float64 `json:"mean"`
	Variance float64 `json:"variance"`
}

// Observe implements Detector.
func (d *ewma) Observe(t time.Time, v float64) Verdict {
	if _, ok := d.s.Order.admit(t, v); !ok {
		return Verdict{Ignored: true}
	}
	var r Verdict
	if d.s.N >= max(10, int(math.Ceil(1/d.p.Alpha))) {
		wide := d.p.Width * math.Sqrt(d.s.Variance)
		edge := half(wide, d.p.Least, d.s.Mean)
		r = judge(v, d.s.Mean, edge)
		v = soften(v, d.s.Mean, edge, wide)
	} else {
		d.s.N++
	}
	// Finch 2009, section 9: both in one step, the variance never negative.
	alpha := max(d.p.Alpha, 1/float64(d.s.N))
	diff := v - d.s.Mean
	d.s.Mean += alpha * diff
	d.s.Variance = (1 - alpha) * (d.s.Variance + diff*alpha*diff)
	return r
}

// MarshalJSON writes the state.
func (d *ewma) MarshalJSON() ([]byte, error) {
	return json.Marshal(saved[EWMA, ewmaState]{"ewma", d.p, d.s})
}

// UnmarshalJSON reads a state that a detector with the same parameters has written.
func (d *ewma) UnmarshalJSON(b []byte) error {
	s, err := restore("ewma", b, d.p, func(s *ewmaState) bool {
		return s.Order.valid() && s.N >= 0 && sound(s.Mean) && s.Variance >= 0 && s.Variance <= 16*MaxValue*MaxValue
	})
	if err == nil {
		d.s = s
	}
	return err
}
