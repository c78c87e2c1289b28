package detect

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// Seasonal finds values unlike those of the same hour of the weeks before. Of each hour it keeps the median of the values
// and their median absolute deviation, of the last weeks. What is expected is the median of the weeks' medians. How far a
// value may be off is the median, over the weeks, of the deviation within the hour plus the distance of that week's median
// from what is expected; it counts half, and the typical such deviation of the whole week half, since three weeks are too
// few to trust an hour that happened to be quiet.
type Seasonal struct {
	Weeks int     `json:"weeks,omitempty"` // from 1 to 8; zero means 3
	Zone  string  `json:"zone,omitempty"`  // the time zone whose clock people live by, such as "Europe/Berlin"; empty means UTC
	Width float64 `json:"width,omitempty"` // half the width of the band, in standard deviations; zero means 4
	Least float64 `json:"least,omitempty"` // half the width of the band at least, in the unit of the values
}

const (
	hoursOfWeek = 7 * 24
	within      = 240 // values of an hour that are kept: all at 15 s, evenly chosen ones when there are more
)

// New makes a detector. It has enough history for an hour of the week that it has seen in two weeks (in one, if Weeks is
// 1). It remembers 16 bytes for each hour of Weeks and 2 KB for the hour that is not over. Hours follow the clock of the
// zone: one that it shows twice is two, one that it leaves out has no values.
func (p Seasonal) New() (Detector, error) {
	p.Weeks, p.Width = cmp.Or(p.Weeks, 3), cmp.Or(p.Width, 4)
	c := checks{op: "seasonal"}
	c.count("weeks", p.Weeks, 1, 8)
	c.band(p.Width, p.Least)
	zone, err := time.LoadLocation(p.Zone)
	if err != nil || p.Zone == "Local" {
		c.fail("zone", p.Zone, "a time zone of the IANA database")
	}
	if c.err != nil {
		return nil, c.err
	}
	d := &seasonal{p: p, zone: zone}
	d.s.Weeks = make([]hour, hoursOfWeek*p.Weeks)
	d.s.Seen = make([]int, hoursOfWeek)
	d.s.Values = make([]float64, 0, within)
	d.sorted = make([]float64, 0, within)
	return d, nil
}

type seasonal struct {
	p      Seasonal
	zone   *time.Location
	s      seasonalState
	sorted []float64 // room for the values of an hour in order

	// What is expected in the hour of the last sample.
	ready          bool
	enough         bool
	expected, wide float64
}

type seasonalState struct {
	Order   order     `json:"order"`
	Weeks   []hour    `json:"weeks"` // of each hour of the week a ring
	Seen    []int     `json:"seen"`  // how many weeks each hour has been kept of
	Typical float64   `json:"typical"`
	Hours   int       `json:"hours,omitempty"` // that Typical was learnt from, as far as it matters
	At      int64     `json:"at"`              // the hour that is not over, since 1970
	Of      int       `json:"of"`              // which hour of the week it is
	Stride  int       `json:"stride,omitempty"`
	Skipped int       `json:"skipped,omitempty"`
	Values  []float64 `json:"values"`
}

// hour is what is kept of one.
type hour struct {
	Median float64 `json:"m"`
	Spread float64 `json:"d"`
}

// Observe implements Detector.
func (d *seasonal) Observe(t time.Time, v float64) Verdict {
	first := !d.s.Order.Some
	ms, ok := d.s.Order.admit(t, v)
	if !ok {
		return Verdict{Ignored: true}
	}
	// Zones differ from UTC by quarters of an hour: an hour of theirs is four of these.
	const quarter = 15 * 60 * 1000
	local := time.UnixMilli(ms).In(d.zone)
	at := floorDiv(ms-int64(local.Minute())*60_000, quarter)
	if first || at != d.s.At {
		if !first {
			d.keep()
		}
		d.s.At, d.s.Of = at, int(local.Weekday())*24+local.Hour()
		d.s.Stride, d.s.Skipped, d.s.Values = 1, 0, d.s.Values[:0]
		d.ready = false
	}
	if !d.ready {
		d.expect()
	}
	var r Verdict
	if d.enough {
		r = judge(v, d.expected, half(d.wide, d.p.Least, d.expected))
	}
	d.collect(v)
	return r
}

// collect keeps a value of the hour, of more than there is room for every second, fourth and so on.
func (d *seasonal) collect(v float64) {
	if d.s.Skipped++; d.s.Skipped < d.s.Stride {
		return
	}
	d.s.Skipped = 0
	if len(d.s.Values) == within {
		for i := range within / 2 {
			d.s.Values[i] = d.s.Values[2*i]
		}
		d.s.Values, d.s.Stride = d.s.Values[:within/2], 2*d.s.Stride
	}
	d.s.Values = append(d.s.Values, v)
}

// of returns the weeks that are known of an hour of the week.
func (d *seasonal) of(hour int) []hour {
	return d.s.Weeks[hour*d.p.Weeks:][:min(d.s.Seen[hour], d.p.Weeks)]
}

// keep ends an hour.
func (d *seasonal) keep() {
	if len(d.s.Values) == 0 {
		return
	}
	d.sorted = append(d.sorted[:0], d.s.Values...)
	slices.Sort(d.sorted)
	m := median(d.sorted)
	h := hour{m, sigma(d.sorted, m)}
	seen := &d.s.Seen[d.s.Of]
	d.s.Weeks[d.s.Of*d.p.Weeks+*seen%d.p.Weeks] = h
	// Counted round about, so that the next goes where the oldest is.
	if *seen++; *seen == 2*d.p.Weeks {
		*seen = d.p.Weeks
	}
	d.s.Hours = min(d.s.Hours+1, hoursOfWeek)
	_, spread := around(d.of(d.s.Of))
	d.s.Typical += (spread - d.s.Typical) / float64(d.s.Hours)
}

// expect makes the band of the hour that begins.
func (d *seasonal) expect() {
	weeks := d.of(d.s.Of)
	d.ready, d.enough = true, len(weeks) >= min(2, d.p.Weeks)
	if d.enough {
		var spread float64
		d.expected, spread = around(weeks)
		d.wide = d.p.Width * (spread + d.s.Typical) / 2
	}
}

// around returns the median of the weeks' medians, and how far values are off it.
func around(weeks []hour) (m, spread float64) {
	var room [8]float64
	vs := room[:len(weeks)]
	for i, w := range weeks {
		vs[i] = w.Median
	}
	slices.Sort(vs)
	m = median(vs)
	for i, w := range weeks {
		vs[i] = w.Spread + max(w.Median-m, m-w.Median)
	}
	slices.Sort(vs)
	return m, median(vs)
}

// MarshalJSON writes the state.
func (d *seasonal) MarshalJSON() ([]byte, error) {
	return json.Marshal(saved[Seasonal, seasonalState]{"seasonal", d.p, d.s})
}

// UnmarshalJSON reads a state that a detector with the same parameters has written.
func (d *seasonal) UnmarshalJSON(b []byte) error {
	s, err := restore("seasonal", b, d.p, func(s *seasonalState) bool {
		if !s.Order.valid() || len(s.Weeks) != len(d.s.Weeks) || len(s.Seen) != hoursOfWeek || !sound(s.Typical) || s.Typical < 0 ||
			s.Hours < 0 || s.Hours > hoursOfWeek || s.Of < 0 || s.Of >= hoursOfWeek || s.Skipped < 0 || s.Stride < 0 || s.Stride > 1<<30 ||
			s.Order.Some && s.Stride == 0 || len(s.Values) > within || !sound(s.Values...) {
			return false
		}
		for _, n := range s.Seen {
			if n < 0 || n >= 2*d.p.Weeks {
				return false
			}
		}
		for _, h := range s.Weeks {
			if !sound(h.Median, h.Spread) || h.Spread < 0 {
				return false
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	s.Values = append(make([]float64, 0, within), s.Values...)
	d.s, d.ready = s, false
	return nil
}
