package detect

import (
	"cmp"
	"encoding/json"
	"math"
	"time"
)

// HoltWinters finds values off the forecast of Holt and Winters' additive method (level, trend and a season that
// repeats), in bands as Brutlag draws them ("Aberrant behavior detection in time series for network monitoring", 2000):
// as wide as the forecast has been wrong at this time of the season.
//
// The season is cut into slots. The model learns the mean of each slot once it is over; every sample is judged by the
// forecast for its slot. Unlike Brutlag's, the error of a slot counts half and that of the whole season half, since a few
// seasons are too few to trust a slot that happened to be quiet; and what it learns of a value ends at the edge of the band.
type HoltWinters struct {
	Season time.Duration `json:"season,omitempty"` // zero means 24 h; at most 4 weeks
	Slot   time.Duration `json:"slot,omitempty"`   // zero means a 288th of the season; the season is from 2 to 10,080 of them
	Alpha  float64       `json:"alpha,omitempty"`  // what a slot counts in the level, between 0 and 1; zero means 0.02
	Beta   float64       `json:"beta,omitempty"`   // what a slot counts in the trend; zero means 0.0005
	Gamma  float64       `json:"gamma,omitempty"`  // what a season counts in its slots; zero means 0.3
	Width  float64       `json:"width,omitempty"`  // half the width of the band, in standard deviations; zero means 4
	Least  float64       `json:"least,omitempty"`  // half the width of the band at least, in the unit of the values
}

// New makes a detector. It has enough history after two seasons, in slots that have been seen in one of them at least. It
// remembers 24 bytes for each slot. Seasons are counted from 1 January 1970 in UTC.
func (p HoltWinters) New() (Detector, error) {
	p.Season = cmp.Or(p.Season, 24*time.Hour)
	p.Slot = cmp.Or(p.Slot, p.Season/288)
	p.Alpha, p.Beta, p.Gamma = cmp.Or(p.Alpha, 0.02), cmp.Or(p.Beta, 0.0005), cmp.Or(p.Gamma, 0.3)
	p.Width = cmp.Or(p.Width, 4)
	c := checks{op: "holtwinters"}
	c.span("season", p.Season, 2*time.Second, 4*7*24*time.Hour)
	c.span("slot", p.Slot, time.Second, max(time.Second, p.Season/2))
	if c.err == nil && (p.Season%p.Slot != 0 || p.Season/p.Slot > 10_080 || p.Slot%time.Millisecond != 0) {
		c.fail("slot", p.Slot.String(), "whole milliseconds of which the season is a multiple, at most 10080-fold")
	}
	c.share("alpha", p.Alpha)
	c.share("beta", p.Beta)
	c.share("gamma", p.Gamma)
	c.band(p.Width, p.Least)
	if c.err != nil {
		return nil, c.err
	}
	return &holtWinters{p: p, s: holtWintersState{Slots: make([]slot, p.Season/p.Slot)}}, nil
}

type holtWinters struct {
	p HoltWinters
	s holtWintersState
}

type holtWintersState struct {
	Order order   `json:"order"`
	Level float64 `json:"level"`
	Trend float64 `json:"trend"` // per slot
	Wrong float64 `json:"wrong"` // the mean error of all slots
	Known bool    `json:"known,omitempty"`
	First int64   `json:"first,omitempty"` // the first slot ever
	Open  current `json:"open"`
	Slots []slot  `json:"slots"`
}

// slot is a part of the season.
type slot struct {
	Season float64 `json:"s"` // what is added to the level
	Wrong  float64 `json:"d"` // the mean error of the forecast
	Seen   int32   `json:"n"` // in how many seasons, as far as it matters
	Judged int32   `json:"j"` // in how many of them there was a forecast
}

// current is the slot that is not over yet.
type current struct {
	At    int64   `json:"at"` // its number since 1970
	N     float64 `json:"n"`
	Mean  float64 `json:"mean"`
	Wrong float64 `json:"wrong"` // mean
}

// often is where the seasons that a slot was seen in are no longer counted.
const often = 1000

// Observe implements Detector.
func (d *holtWinters) Observe(t time.Time, v float64) Verdict {
	last := d.s.Order
	ms, ok := d.s.Order.admit(t, v)
	if !ok {
		return Verdict{Ignored: true}
	}
	at := floorDiv(ms, d.p.Slot.Milliseconds())
	switch {
	case !last.Some:
		d.s.First, d.s.Open = at, current{At: at}
	case at < d.s.Open.At: // the clock was set back: what was learnt stands
		d.s.First -= d.s.Open.At - at
		d.s.Open = current{At: at}
	case at > d.s.Open.At:
		d.next(at)
	}
	s := &d.s.Slots[d.index(at)]
	var r Verdict
	open := &d.s.Open
	open.N++
	if d.s.Known && s.Seen > 0 {
		expected := d.s.Level + d.s.Trend + s.Season
		if s.Judged > 0 && at-d.s.First >= 2*int64(len(d.s.Slots)) {
			wide := d.p.Width * sigmaOfMean * (s.Wrong + d.s.Wrong) / 2
			edge := half(wide, d.p.Least, expected)
			r = judge(v, expected, edge)
			v = soften(v, expected, edge, wide)
		}
		open.Wrong += (math.Abs(v-expected) - open.Wrong) / open.N
	}
	open.Mean += (v - open.Mean) / open.N
	return r
}

// next ends the open slot and begins another.
func (d *holtWinters) next(at int64) {
	n := int64(len(d.s.Slots))
	if d.s.Known {
		d.update()
	} else {
		s := &d.s.Slots[d.index(d.s.Open.At)]
		s.Season, s.Seen = d.s.Open.Mean, 1
		if at-d.s.First >= n {
			d.begin()
		}
	}
	if d.s.Known { // slots without a sample: only the trend goes on, for a season at most
		d.s.Level = bound(d.s.Level + d.s.Trend*float64(min(at-d.s.Open.At-1, n)))
	}
	d.s.Open = current{At: at}
}

// begin makes the first forecast, of the means of the first season.
func (d *holtWinters) begin() {
	var sum, n float64
	for _, s := range d.s.Slots {
		if s.Seen > 0 {
			n++
			sum += (s.Season - sum) / n
		}
	}
	for i := range d.s.Slots {
		if d.s.Slots[i].Seen > 0 {
			d.s.Slots[i].Season -= sum
		}
	}
	d.s.Level, d.s.Known = sum, true
}

// update learns the open slot.
func (d *holtWinters) update() {
	y, wrong := d.s.Open.Mean, d.s.Open.Wrong
	s := &d.s.Slots[d.index(d.s.Open.At)]
	before := d.s.Level + d.s.Trend
	if s.Seen == 0 { // it had no sample in any season before
		s.Season, s.Seen, d.s.Level = bound(y-before), 1, bound(before)
		return
	}
	d.s.Level = bound(before + d.p.Alpha*(y-s.Season-before))
	d.s.Trend = bound((1-d.p.Beta)*d.s.Trend + d.p.Beta*(d.s.Level-before+d.s.Trend))
	s.Season = bound(s.Season + max(d.p.Gamma, 1/float64(s.Seen+1))*(y-d.s.Level-s.Season))
	s.Wrong += max(d.p.Gamma, 1/float64(s.Judged+1)) * (wrong - s.Wrong)
	s.Seen, s.Judged = min(s.Seen+1, often), min(s.Judged+1, often)
	judged := min(max(d.s.Open.At-d.s.First-int64(len(d.s.Slots)), 0)+1, int64(len(d.s.Slots)))
	d.s.Wrong += (wrong - d.s.Wrong) / float64(judged)
}

func (d *holtWinters) index(at int64) int64 {
	n := int64(len(d.s.Slots))
	return at - floorDiv(at, n)*n
}

// bound keeps parameters that make the model swing from leaving what can be calculated with.
func bound(v float64) float64 { return min(max(v, -MaxValue), MaxValue) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// MarshalJSON writes the state.
func (d *holtWinters) MarshalJSON() ([]byte, error) {
	return json.Marshal(saved[HoltWinters, holtWintersState]{"holtwinters", d.p, d.s})
}

// UnmarshalJSON reads a state that a detector with the same parameters has written.
func (d *holtWinters) UnmarshalJSON(b []byte) error {
	s, err := restore("holtwinters", b, d.p, func(s *holtWintersState) bool {
		if !s.Order.valid() || len(s.Slots) != len(d.s.Slots) || s.First > s.Open.At ||
			!sound(s.Level, s.Trend, s.Wrong, s.Open.Mean, s.Open.Wrong) || !(s.Open.N >= 0) || s.Wrong < 0 || s.Open.Wrong < 0 ||
			s.Order.Some && s.Open.At != floorDiv(s.Order.Last, d.p.Slot.Milliseconds()) {
			return false
		}
		for _, x := range s.Slots {
			if !sound(x.Season, x.Wrong) || x.Wrong < 0 || x.Seen < 0 || x.Seen > often || x.Judged < 0 || x.Judged > often {
				return false
			}
		}
		return true
	})
	if err == nil {
		d.s = s
	}
	return err
}
