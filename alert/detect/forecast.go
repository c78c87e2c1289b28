package detect

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"
)

// Forecast tells when a series that grows will reach a limit: when a disk is full. The trend is the median slope between
// all pairs of points (Theil and Sen), which up to 29 % of wild points do not move. It answers only when all of this
// holds, and says which does not:
//
//   - the history is long enough: Least;
//   - the confidence interval of the slope (Sen 1968, by Kendall's statistic; wider where neighbouring points lie on the
//     same side of the line, by their correlation) does not contain zero;
//   - the fit is good enough: Kendall's tau, by how much more pairs of points go along with the trend than against it;
//   - the level has not left the line in the meantime: of the last three points the median is no further off it than four
//     standard deviations of the rest;
//   - it is not further ahead than Horizon.
type Forecast struct {
	Limit      float64       `json:"limit"`                // the value that is full
	Falling    bool          `json:"falling,omitempty"`    // the value falls to the limit, such as free space to zero
	History    time.Duration `json:"history,omitempty"`    // how far back it looks; zero means 3 days, at most a year
	Points     int           `json:"points,omitempty"`     // of how many means of equal parts of History; zero means 96, from 8 to 512
	Least      time.Duration `json:"least,omitempty"`      // the history that it must have; zero means a quarter of History
	Horizon    time.Duration `json:"horizon,omitempty"`    // how far it looks ahead; zero means ten times History, at most 10 years
	Confidence float64       `json:"confidence,omitempty"` // of the band, between 0 and 1; zero means 0.95
	Fit        float64       `json:"fit,omitempty"`        // tau at least, from 0 to 1; zero means 0.5
}

// New makes a Forecaster for one series. It remembers 24 bytes for each of Points.
func (p Forecast) New() (*Forecaster, error) {
	p.History, p.Points = cmp.Or(p.History, 3*24*time.Hour), cmp.Or(p.Points, 96)
	p.Least, p.Horizon = cmp.Or(p.Least, p.History/4), cmp.Or(p.Horizon, 10*p.History)
	p.Confidence, p.Fit = cmp.Or(p.Confidence, 0.95), cmp.Or(p.Fit, 0.5)
	c := checks{op: "forecast"}
	c.number("limit", p.Limit, -MaxValue, MaxValue)
	c.count("points", p.Points, 8, 512)
	c.span("history", p.History, time.Duration(p.Points)*time.Millisecond, 366*24*time.Hour)
	c.span("least", p.Least, 0, p.History)
	c.span("horizon", p.Horizon, time.Millisecond, 3660*24*time.Hour)
	c.share("confidence", p.Confidence)
	c.number("fit", p.Fit, 0, 1)
	if c.err != nil {
		return nil, c.err
	}
	f := &Forecaster{p: p}
	f.s.Parts = make([]part, 0, p.Points)
	return f, nil
}

// Why is why an Outlook has a time, or none.
type Why string

// The outlooks.
const (
	Full      Why = "full"       // it is full now
	Filling   Why = "filling"    // it will be full At
	Beyond    Why = "beyond"     // it fills, but will not be full within Horizon
	Away      Why = "away"       // the trend leads away from the limit
	Flat      Why = "no trend"   // the slope may as well be zero
	Unfit     Why = "no line"    // there is a trend, but a line does not describe it
	Moved     Why = "moved"      // the level has just left the line
	TooLittle Why = "too little" // there is not enough history
)

// Outlook is an answer of a Forecaster. The times are zero unless Why is Full or Filling.
type Outlook struct {
	Why      Why       `json:"why"`
	At       time.Time `json:"at,omitzero"`       // when it is full
	Earliest time.Time `json:"earliest,omitzero"` // the band of Confidence: from here
	Latest   time.Time `json:"latest,omitzero"`   // to here; zero when that is beyond Horizon

	Slope float64       `json:"slope"` // of the value, per second
	Fit   float64       `json:"fit"`   // Kendall's tau; negative where the value falls
	Span  time.Duration `json:"span"`  // from the first point to the last
}

// Forecaster follows one series for a Forecast. It is not safe for concurrent use.
type Forecaster struct {
	p     Forecast
	s     forecastState
	lines *lines // through the parts that are over; nil when it is to be made
}

type forecastState struct {
	Order order   `json:"order"`
	Now   float64 `json:"now"`   // the newest value
	Parts []part  `json:"parts"` // the newest last, which is not over
}

// part is the mean of the samples of a part of the history.
type part struct {
	At    int64   `json:"at"` // which
	N     float64 `json:"n"`
	Time  float64 `json:"t"` // Unix seconds
	Value float64 `json:"v"`
}

// Observe takes a sample, with the same care as a Detector.
func (f *Forecaster) Observe(t time.Time, v float64) {
	ms, ok := f.s.Order.admit(t, v)
	if !ok {
		return
	}
	f.s.Now = v
	at := floorDiv(ms, max(1, f.p.History.Milliseconds()/int64(f.p.Points)))
	n := len(f.s.Parts)
	if n == 0 || f.s.Parts[n-1].At != at {
		f.lines = nil
		if n > 0 && f.s.Parts[n-1].At > at { // the clock was set back: what was learnt is of another time
			f.s.Parts = f.s.Parts[:0]
		}
		old := 0
		for old < len(f.s.Parts) && f.s.Parts[old].At <= at-int64(f.p.Points) {
			old++
		}
		f.s.Parts = append(f.s.Parts[:0], f.s.Parts[old:]...)
		f.s.Parts = append(f.s.Parts, part{At: at})
		n = len(f.s.Parts)
	}
	p := &f.s.Parts[n-1]
	p.N++
	p.Time += (float64(ms)/1000 - p.Time) / p.N
	p.Value += (v - p.Value) / p.N
}

// Outlook says when it will be full, as of now. The work is done anew when a part of the history is over.
func (f *Forecaster) Outlook(now time.Time) Outlook {
	sign := 1.0
	if f.p.Falling {
		sign = -1
	}
	var o Outlook
	if n := len(f.s.Parts); n > 1 {
		o.Span = seconds(f.s.Parts[n-1].Time - f.s.Parts[0].Time)
	}
	if f.s.Order.Some && sign*f.s.Now >= sign*f.p.Limit {
		o.Why, o.At, o.Earliest, o.Latest = Full, now, now, now
		return o
	}
	if len(f.s.Parts) < 8 || o.Span < f.p.Least {
		o.Why = TooLittle
		return o
	}
	if f.lines == nil {
		f.lines = fit(f.s.Parts[:len(f.s.Parts)-1], f.p.Confidence)
	}
	l := f.lines
	o.Slope, o.Fit = l.mid.slope, l.tau
	slow, fast := l.low, l.high
	if l.mid.slope < 0 {
		slow, fast = l.high, l.low
	}
	switch x := float64(now.UnixMilli()) / 1000; {
	case !(l.low.slope*l.high.slope > 0):
		o.Why = Flat
	case math.Abs(l.tau) < f.p.Fit:
		o.Why = Unfit
	case l.left(f.s.Parts):
		o.Why = Moved
	case sign*l.mid.slope < 0:
		o.Why = Away
	default:
		at := func(l line) (time.Time, bool) {
			ahead := max(0, (f.p.Limit-l.at(x))/l.slope) // the line may be there while the value is not yet
			if !(ahead <= f.p.Horizon.Seconds()) {
				return time.Time{}, false
			}
			return now.Add(seconds(ahead)), true
		}
		var ok bool
		if o.At, ok = at(l.mid); !ok {
			o.Why = Beyond
			break
		}
		o.Why = Filling
		o.Earliest, _ = at(fast)
		o.Latest, _ = at(slow)
	}
	return o
}

func seconds(s float64) time.Duration { return time.Duration(s * 1e9) }

// line is a straight one.
type line struct{ slope, x, y float64 }

func (l line) at(x float64) float64 { return l.y + l.slope*(x-l.x) }

// lines are the median line and those at the ends of its confidence interval.
type lines struct {
	low, mid, high line
	tau            float64
	sigma          float64 // of the points around the median line
}

// fit lays lines through points, of which there are at least two, in the order of time.
func fit(points []part, confidence float64) *lines {
	n := len(points)
	slopes := make([]float64, 0, n*(n-1)/2)
	var along float64 // Kendall's S
	for i, p := range points {
		for _, q := range points[:i] {
			s := (p.Value - q.Value) / (p.Time - q.Time)
			slopes = append(slopes, s)
			switch {
			case s > 0:
				along++
			case s < 0:
				along--
			}
		}
	}
	slices.Sort(slopes)
	l := &lines{tau: along / float64(len(slopes))}
	l.mid = through(points, median(slopes))

	rests, sorted := make([]float64, n), make([]float64, n)
	for i, p := range points {
		rests[i] = p.Value - l.mid.at(p.Time)
	}
	copy(sorted, rests)
	slices.Sort(sorted)
	l.sigma = sigma(sorted, median(sorted))

	z := math.Sqrt2 * math.Erfinv(confidence)
	c := z * math.Sqrt(variance(points)*inflation(rests))
	pairs := float64(len(slopes))
	low := int(max(0, math.Floor((pairs-c)/2)-1))
	high := int(min(pairs-1, math.Ceil((pairs+c)/2)))
	l.low, l.high = through(points, slopes[low]), through(points, slopes[high])
	return l
}

// through returns the line of a slope that has as many points above it as below. It is held at the middle of the points'
// time, where numbers are small.
func through(points []part, slope float64) line {
	x := points[len(points)/2].Time
	ys := make([]float64, len(points))
	for i, p := range points {
		ys[i] = p.Value - slope*(p.Time-x)
	}
	slices.Sort(ys)
	return line{slope, x, median(ys)}
}

// variance is that of Kendall's S for values without a trend (Kendall 1955), less where values are the same.
func variance(points []part) float64 {
	term := func(n float64) float64 { return n * (n - 1) * (2*n + 5) / 18 }
	vs := make([]float64, len(points))
	for i, p := range points {
		vs[i] = p.Value
	}
	slices.Sort(vs)
	v := term(float64(len(vs)))
	for i := 0; i < len(vs); {
		j := i
		for j < len(vs) && vs[j] == vs[i] {
			j++
		}
		v -= term(float64(j - i))
		i = j
	}
	return max(v, 0)
}

// inflation is by how much the variance of a trend grows when neighbouring rests are correlated: as if there were only
// n·(1-r)/(1+r) of them (Bayley and Hammersley 1946, for a correlation r that fades with distance). It counts correlation of
// up to 0.95.
func inflation(rests []float64) float64 {
	var square, product float64
	for i, r := range rests {
		square += r * r
		if i > 0 {
			product += r * rests[i-1]
		}
	}
	if square == 0 {
		return 1
	}
	r := min(max(product/square, 0), 0.95)
	return (1 + r) / (1 - r)
}

// left says whether the last three points, the part that is not over included, are off the line.
func (l *lines) left(points []part) bool {
	const far, rounding = 4, 1e-9
	off := make([]float64, 0, 3)
	for _, p := range points[len(points)-3:] {
		off = append(off, p.Value-l.mid.at(p.Time))
	}
	slices.Sort(off)
	last := points[len(points)-1]
	return math.Abs(off[1]) > max(far*l.sigma, rounding*math.Abs(last.Value), rounding*math.Abs(l.mid.slope)*(last.Time-points[0].Time))
}

// MarshalJSON writes the state.
func (f *Forecaster) MarshalJSON() ([]byte, error) {
	return json.Marshal(saved[Forecast, forecastState]{"forecast", f.p, f.s})
}

// UnmarshalJSON reads a state that a Forecaster with the same parameters has written.
func (f *Forecaster) UnmarshalJSON(b []byte) error {
	s, err := restore("forecast", b, f.p, func(s *forecastState) bool {
		for i, p := range s.Parts {
			if !sound(p.Time, p.Value) || !(p.N >= 1) || i > 0 && (p.At <= s.Parts[i-1].At || !(p.Time > s.Parts[i-1].Time)) {
				return false
			}
		}
		return s.Order.valid() && len(s.Parts) <= f.p.Points && sound(s.Now)
	})
	if err != nil {
		return err
	}
	s.Parts = append(make([]part, 0, f.p.Points), s.Parts...)
	f.s, f.lines = s, nil
	return nil
}
