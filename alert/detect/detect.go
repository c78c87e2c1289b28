package detect

import (
	"encoding/json"
	"math"
	"time"
)

// MaxValue is the greatest amount of a value that is looked at. It leaves room for squares and sums of squares.
const MaxValue = 1e100

// MaxScore is the greatest Score of a Verdict: that of a value outside of a band without width.
const MaxScore = 1e6

// Detector judges one series, sample by sample. Each is judged by those before it and then learnt.
type Detector interface {
	Observe(t time.Time, v float64) Verdict
}

// Method is a way to detect, with its parameters: it makes a detector for each series. The error is ErrInvalid.
type Method interface {
	New() (Detector, error)
}

// Verdict is what a detector says of one sample. Its numbers are finite, and zero while there is not enough history.
type Verdict struct {
	Outside bool `json:"outside,omitempty"` // the sample is out of the ordinary
	Enough  bool `json:"enough,omitempty"`  // there was enough history to judge it; else it is not outside
	Ignored bool `json:"ignored,omitempty"` // the sample was neither judged nor learnt

	// Score is how far off the sample is, by the distance from Expected to the edge of the band: zero is as expected, one on
	// the edge, more is outside. At most MaxScore. With a width of 3.5 standard deviations a z-score is 3.5 times it.
	Score    float64 `json:"score,omitempty"`
	Expected float64 `json:"expected,omitempty"`
	Low      float64 `json:"low,omitempty"`  // the band is from Low
	High     float64 `json:"high,omitempty"` // to High, both included
}

// judge holds a value against a band.
func judge(v, expected, half float64) Verdict {
	r := Verdict{Enough: true, Expected: expected, Low: expected - half, High: expected + half}
	r.Score = min(math.Abs(v-expected)/half, MaxScore)
	r.Outside = v < r.Low || v > r.High
	switch { // rounding may not make score and band disagree
	case r.Outside:
		r.Score = max(r.Score, math.Nextafter(1, 2))
	default:
		r.Score = min(r.Score, 1)
	}
	return r
}

// half is half the width of a band: never less than least, nor than what rounding makes of the expected value.
func half(wide, least, expected float64) float64 {
	const rounding, something = 1e-12, 1e-90
	return max(wide, least, rounding*math.Abs(expected), something)
}

// soften returns what is to be learnt of a value that has been judged: no more than to the edge of the band, so that an
// outlier moves what is expected by a bounded amount. The band grows with each, so that a new level is learnt in the end.
// Where the values themselves give no width, they do not say either what is far.
func soften(v, expected, half, wide float64) float64 {
	if wide == 0 {
		return v
	}
	return min(max(v, expected-half), expected+half)
}

// order admits samples in the order of time.
type order struct {
	Some   bool  `json:"some,omitempty"`   // there was one
	Last   int64 `json:"last,omitempty"`   // the youngest, in Unix milliseconds
	Late   int   `json:"late,omitempty"`   // how many in a row were not younger than Last, but each younger than the other
	Behind int64 `json:"behind,omitempty"` // the last of these
}

// patience is how many samples in a row must come from the past before they are believed: that a clock was set back.
const patience = 10

// admit says whether a sample counts, and when it was, in Unix milliseconds.
func (o *order) admit(t time.Time, v float64) (int64, bool) {
	if !(math.Abs(v) <= MaxValue) { // also not a number
		return 0, false
	}
	ms := t.UnixMilli()
	if o.Some && ms <= o.Last {
		if o.Late > 0 && ms <= o.Behind {
			o.Late = 0
		}
		o.Late, o.Behind = o.Late+1, ms
		if o.Late < patience {
			return 0, false
		}
	}
	*o = order{Some: true, Last: ms}
	return ms, true
}

func (o *order) valid() bool { return o.Late >= 0 && o.Late < patience }

// saved is a detector as JSON.
type saved[P comparable, S any] struct {
	Method string `json:"method"`
	Params P      `json:"params"`
	State  S      `json:"state"`
}

// restore reads the state of a detector that has the given parameters.
func restore[P comparable, S any](op string, b []byte, params P, valid func(*S) bool) (S, error) {
	var s saved[P, S]
	bad := func(want string, err error) error {
		return &Error{Op: op, Kind: ErrInvalid, Field: "state", Want: want, Cause: err}
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s.State, bad("what a detector of this method has marshalled", err)
	}
	if s.Method != op || s.Params != params {
		return s.State, bad("that of a detector with the same parameters", nil)
	}
	if !valid(&s.State) {
		return s.State, bad("what a detector of this method has marshalled", nil)
	}
	return s.State, nil
}

// sound says whether numbers are such as samples lead to.
func sound(vs ...float64) bool {
	for _, v := range vs {
		if !(math.Abs(v) <= 4*MaxValue) {
			return false
		}
	}
	return true
}
