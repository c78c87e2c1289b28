package detect

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Follower is a detector or a forecast made by Named. It has the methods that an engine of package alert asks models for, and hands on
// what it has learnt as JSON.
type Follower struct {
	detector   Detector    // of the two
	forecaster *Forecaster // one is nil
}

// Named makes what follows one series from a name and numbers, as rules in files have them. The names are robustz, ewma,
// holtwinters, seasonal, cusum and forecast; the numbers are the fields of the method of that name, in lower case, spans of
// time in seconds, and 1 for true; the time zone of seasonal is UTC. Names and numbers that there are not, and what the method
// refuses, are ErrInvalid.
func Named(name string, numbers map[string]float64) (*Follower, error) {
	n := &named{checks: checks{op: name}, left: maps.Clone(numbers)}
	var m Method
	var fc Forecast
	switch name {
	case "robustz":
		m = RobustZ{Window: n.whole("window"), Width: n.number("width"), Least: n.number("least")}
	case "ewma":
		m = EWMA{Alpha: n.number("alpha"), Width: n.number("width"), Least: n.number("least")}
	case "holtwinters":
		m = HoltWinters{
			Season: n.span("season"), Slot: n.span("slot"), Alpha: n.number("alpha"), Beta: n.number("beta"), Gamma: n.number("gamma"),
			Width: n.number("width"), Least: n.number("least"),
		}
	case "seasonal":
		m = Seasonal{Weeks: n.whole("weeks"), Width: n.number("width"), Least: n.number("least")}
	case "cusum":
		m = CUSUM{Baseline: n.whole("baseline"), Slack: n.number("slack"), Limit: n.number("limit"), Least: n.number("least")}
	case "forecast":
		fc = Forecast{
			Limit: n.number("limit"), Falling: n.whole("falling") != 0, History: n.span("history"), Points: n.whole("points"),
			Least: n.span("least"), Horizon: n.span("horizon"), Confidence: n.number("confidence"), Fit: n.number("fit"),
		}
	default:
		return nil, &Error{Op: "detect", Kind: ErrInvalid, Field: "name", Value: name, Want: "robustz, ewma, holtwinters, seasonal, cusum or forecast"}
	}
	for _, left := range slices.Sorted(maps.Keys(n.left)) {
		n.fail(left, number(n.left[left]), "one of "+strings.Join(n.known, ", "))
	}
	if n.err != nil {
		return nil, n.err
	}
	f := &Follower{}
	var err error
	if m == nil {
		f.forecaster, err = fc.New()
	} else {
		f.detector, err = m.New()
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Observe takes a sample and says whether it is outside. A forecast finds none outside.
func (f *Follower) Observe(t time.Time, v float64) (outside bool) {
	if f.detector == nil {
		f.forecaster.Observe(t, v)
		return false
	}
	return f.detector.Observe(t, v).Outside
}

// Forecast returns in how many hours it will be full, zero when it is; false when there is nothing that would tell, and
// of detectors.
func (f *Follower) Forecast(now time.Time) (hours float64, ok bool) {
	if f.forecaster == nil {
		return 0, false
	}
	o := f.forecaster.Outlook(now)
	if o.Why != Full && o.Why != Filling {
		return 0, false
	}
	return o.At.Sub(now).Hours(), true
}

// MarshalJSON writes what has been learnt.
func (f *Follower) MarshalJSON() ([]byte, error) {
	if f.detector == nil {
		return json.Marshal(f.forecaster)
	}
	return json.Marshal(f.detector)
}

// UnmarshalJSON reads what a Follower of the same name and numbers has learnt.
func (f *Follower) UnmarshalJSON(b []byte) error {
	if f.detector == nil {
		return f.forecaster.UnmarshalJSON(b)
	}
	return json.Unmarshal(b, f.detector)
}

// named takes numbers by their names.
type named struct {
	checks
	left  map[string]float64
	known []string
}

func (n *named) number(name string) float64 {
	v := n.left[name]
	delete(n.left, name)
	n.known = append(n.known, name)
	return v
}

func (n *named) whole(name string) int {
	v := n.number(name)
	if v != math.Trunc(v) || !(math.Abs(v) <= 1<<31-1) {
		n.fail(name, number(v), "a whole number")
		return 0
	}
	return int(v)
}

func (n *named) span(name string) time.Duration {
	v := n.number(name)
	if !(math.Abs(v) <= 1e9) {
		n.fail(name, number(v), "seconds")
		return 0
	}
	return time.Duration(math.Round(v*1000)) * time.Millisecond
}
