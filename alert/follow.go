package alert

import (
	"math/bits"
	"time"
)

// MaxLast is the greatest number of samples among which Anomalies counts.
const MaxLast = 64

// Detector follows the values of one series. The engine calls it from one goroutine at a time, with times that grow.
type Detector interface {
	// Observe takes a value and says whether it is outside of what was to be expected after those before it.
	Observe(at time.Time, value float64) (outside bool)
}

// Forecaster is what a Detector is too that can foretell a number, such as the hours until something is full.
type Forecaster interface {
	// Forecast returns the number as of that time; false when it is not to be known.
	Forecast(at time.Time) (float64, bool)
}

// follower is what some functions keep of one series for one rule.
type follower interface {
	// observe takes a sample; one that is no number is not a value.
	observe(p point)
	value(now int64) (float64, bool)
}

func (m Measure) follower(models func(Model) (Detector, error)) (follower, error) {
	switch m.Func {
	case Falls:
		return &falls{window: m.Window.ms()}, nil
	case Flapping:
		return &flapping{}, nil
	case Anomalies, Forecast:
		if models == nil {
			return nil, invalid("measure.model", m.Model.Name, "no model: the engine was given none")
		}
		d, err := models(*m.Model)
		if err != nil {
			return nil, &Error{Kind: ErrInvalid, Field: "measure.model", Value: m.Model.Name, Cause: err}
		}
		f, foretells := d.(Forecaster)
		if m.Func == Forecast && !foretells {
			return nil, invalid("measure.model", m.Model.Name, "a model that foretells")
		}
		return &modelled{detector: d, forecaster: f, last: m.Last, foretell: m.Func == Forecast}, nil
	}
	return nil, nil
}

// falls counts how often a series went down.
type falls struct {
	window int64
	edges  history // v is not used
	before point
	known  bool // before is a value and not the last word of a reporter that went silent
}

func (f *falls) observe(p point) {
	if p.v != p.v {
		f.known = false
		return
	}
	if f.known && f.before.v != 0 && p.v == 0 && p.t-f.before.t <= LookBack.ms() {
		f.edges.add(point{t: p.t}, p.t-f.window-LookBack.ms())
	}
	f.before, f.known = p, true
}

func (f *falls) value(now int64) (float64, bool) {
	return float64(len(f.edges.between(now-f.window, now))), true
}

// flapping follows the changes among the last samples.
type flapping struct {
	before  float64
	known   bool
	changes uint32 // a bit for each pair of samples, the youngest lowest
}

// pairs of samples that are looked at; the samples are one more.
const pairs = 20

func (f *flapping) observe(p point) {
	if p.v != p.v {
		return
	}
	if f.known {
		f.changes = f.changes << 1 & (1<<pairs - 1)
		if p.v != f.before {
			f.changes |= 1
		}
	}
	f.before, f.known = p.v, true
}

func (f *flapping) value(int64) (float64, bool) {
	const youngest, oldest = 1.2, 0.8
	var sum float64
	for changes := f.changes; changes != 0; changes &= changes - 1 {
		age := float64(bits.TrailingZeros32(changes))
		sum += youngest - (youngest-oldest)*age/(pairs-1)
	}
	return 100 * sum / pairs, f.known
}

// modelled follows a series with a model.
type modelled struct {
	detector   Detector
	forecaster Forecaster
	last       int
	foretell   bool
	outside    uint64 // a bit for each sample, the youngest lowest
	known      bool
}

func (m *modelled) observe(p point) {
	if p.v != p.v {
		return
	}
	m.outside <<= 1
	if m.detector.Observe(time.UnixMilli(p.t).UTC(), p.v) {
		m.outside |= 1
	}
	m.known = true
}

func (m *modelled) value(now int64) (float64, bool) {
	if m.foretell {
		return m.forecaster.Forecast(time.UnixMilli(now).UTC())
	}
	return float64(bits.OnesCount64(m.outside << (64 - m.last))), m.known
}
