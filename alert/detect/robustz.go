package detect

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// RobustZ finds values far from the median of the last ones, by the modified z-score of Iglewicz and Hoaglin:
// 0.6745·(x - median) / MAD, the MAD being the median absolute deviation. Up to half of the window may be outliers before
// they are taken for the rule. Where the MAD is zero (more than half of the values are the same), the score is
// (x - median) / (1.2533 · mean absolute deviation).
type RobustZ struct {
	Window int     `json:"window,omitempty"` // how many samples it remembers, from 5 to 10,000; zero means 240, an hour at 15 s
	Width  float64 `json:"width,omitempty"`  // the z-score beyond which a value is outside; zero means 3.5
	Least  float64 `json:"least,omitempty"`  // half the width of the band at least, in the unit of the values
}

// New makes a detector. It has enough history once half of its window is full. A sample costs one insertion in an ordered
// list, memory 16 bytes for each sample of the window.
func (p RobustZ) New() (Detector, error) {
	p.Window, p.Width = cmp.Or(p.Window, 240), cmp.Or(p.Width, 3.5)
	c := checks{op: "robustz"}
	c.count("window", p.Window, 5, 10_000)
	c.band(p.Width, p.Least)
	if c.err != nil {
		return nil, c.err
	}
	d := &robustZ{p: p, sorted: make([]float64, 0, p.Window)}
	d.s.Values = make([]float64, 0, p.Window)
	return d, nil
}

type robustZ struct {
	p      RobustZ
	s      robustZState
	sorted []float64 // the values in ascending order
}

type robustZState struct {
	Order  order     `json:"order"`
	Values []float64 `json:"values"` // a ring once the window is full
	Oldest int       `json:"oldest,omitempty"`
}

// Observe implements Detector.
func (d *robustZ) Observe(t time.Time, v float64) Verdict {
	if _, ok := d.s.Order.admit(t, v); !ok {
		return Verdict{Ignored: true}
	}
	var r Verdict
	if len(d.sorted) >= (d.p.Window+1)/2 {
		m := median(d.sorted)
		r = judge(v, m, half(d.p.Width*sigma(d.sorted, m), d.p.Least, m))
	}
	if len(d.s.Values) < d.p.Window {
		d.s.Values = append(d.s.Values, v)
	} else {
		at, _ := slices.BinarySearch(d.sorted, d.s.Values[d.s.Oldest])
		d.sorted = slices.Delete(d.sorted, at, at+1)
		d.s.Values[d.s.Oldest] = v
		d.s.Oldest = (d.s.Oldest + 1) % d.p.Window
	}
	at, _ := slices.BinarySearch(d.sorted, v)
	d.sorted = slices.Insert(d.sorted, at, v)
	return r
}

// MarshalJSON writes the state.
func (d *robustZ) MarshalJSON() ([]byte, error) {
	return json.Marshal(saved[RobustZ, robustZState]{"robustz", d.p, d.s})
}

// UnmarshalJSON reads a state that a detector with the same parameters has written.
func (d *robustZ) UnmarshalJSON(b []byte) error {
	s, err := restore("robustz", b, d.p, func(s *robustZState) bool {
		return s.Order.valid() && len(s.Values) <= d.p.Window && sound(s.Values...) &&
			s.Oldest >= 0 && (s.Oldest == 0 || s.Oldest < len(s.Values) && len(s.Values) == d.p.Window)
	})
	if err != nil {
		return err
	}
	s.Values = append(make([]float64, 0, d.p.Window), s.Values...)
	d.s, d.sorted = s, append(d.sorted[:0], s.Values...)
	slices.Sort(d.sorted)
	return nil
}
