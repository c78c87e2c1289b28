package alert

import (
	"math"
	"slices"

	"github.com/berthage/berthage/alert/detect"
)

// point is a value at a time in milliseconds.
type point struct {
	t int64
	v float64
}

// history has the points of a series that some window may still ask for, the oldest first.
type history struct {
	points []point
	first  int // before it nothing is needed any more
}

// add appends a point and lets go of those at or before the given time.
func (h *history) add(p point, before int64) {
	for h.first < len(h.points) && h.points[h.first].t <= before {
		h.first++
	}
	// Half of the room is moved at a time, so that an append costs the same however long the window is.
	if len(h.points) == cap(h.points) && h.first > len(h.points)/2 {
		n := copy(h.points, h.points[h.first:])
		h.points, h.first = h.points[:n], 0
	}
	h.points = append(h.points, p)
}

func (h *history) len() int { return len(h.points) - h.first }

// between returns the points of (after, until].
func (h *history) between(after, until int64) []point {
	p := h.points[h.first:]
	for len(p) > 0 && p[len(p)-1].t > until {
		p = p[:len(p)-1]
	}
	i := len(p)
	for i > 0 && p[i-1].t > after {
		i--
	}
	return p[i:]
}

// over computes a function of the points in the window that ends now. The functions are those of PromQL, whose
// documentation defines them; scratch is room for sorting, which may be used and is given back.
func (m Measure) over(p []point, now int64, scratch *[]float64) (float64, bool) {
	if len(p) == 0 {
		return 0, false
	}
	switch m.Func {
	case Avg:
		return mean(p), true
	case Sum:
		return sum(p), true
	case Count:
		return float64(len(p)), true
	case Min, Max:
		best := p[0].v
		for _, x := range p[1:] {
			if m.Func == Min && x.v < best || m.Func == Max && x.v > best {
				best = x.v
			}
		}
		return best, true
	case Quantile:
		values := (*scratch)[:0]
		for _, x := range p {
			values = append(values, x.v)
		}
		slices.Sort(values)
		*scratch = values
		rank := m.Quantile * float64(len(values)-1)
		low := int(rank)
		high := min(low+1, len(values)-1)
		weight := rank - float64(low)
		return values[low]*(1-weight) + values[high]*weight, true
	case Resets, Changes:
		n := 0
		for i := 1; i < len(p); i++ {
			if p[i].v < p[i-1].v || m.Func == Changes && p[i].v != p[i-1].v {
				n++
			}
		}
		return float64(n), true
	}
	if len(p) < 2 {
		return 0, false
	}
	switch m.Func {
	case Rate, Increase, Delta:
		return m.extrapolated(p, now), true
	case PredictLinear:
		slope, level := regression(p, now)
		return slope*(float64(m.Ahead.ms())/1000) + level, true
	}
	return 0, false
}

// extrapolated is the increase of a counter, or the difference of a gauge, between the first and the last sample, extended to
// the edges of the window: all the way where the edge is about as near as the next sample would be, else by half the
// usual distance between samples; and never to where the counter would have been negative.
func (m Measure) extrapolated(p []point, now int64) float64 {
	first, last := p[0], p[len(p)-1]
	rise := last.v - first.v
	if m.Func != Delta {
		for i := 1; i < len(p); i++ {
			if p[i].v < p[i-1].v {
				rise += p[i-1].v // the counter began anew
			}
		}
	}
	const second = 1000.0
	toStart := float64(first.t-(now-m.Window.ms())) / second
	toEnd := float64(now-last.t) / second
	sampled := float64(last.t-first.t) / second
	usual := sampled / float64(len(p)-1)
	if toStart >= usual*1.1 {
		toStart = usual / 2
	}
	if m.Func != Delta && rise > 0 && first.v >= 0 {
		toStart = min(toStart, sampled*(first.v/rise))
	}
	if toEnd >= usual*1.1 {
		toEnd = usual / 2
	}
	factor := (sampled + toStart + toEnd) / sampled
	if m.Func == Rate {
		factor /= float64(m.Window.ms()) / second
	}
	return rise * factor
}

// regression returns the slope per second of the line of least squares, and where it is now.
func regression(p []point, now int64) (slope, level float64) {
	return detect.Line(len(p), func(i int) (seconds, value float64) { return float64(p[i].t-now) / 1000, p[i].v })
}

func sum(p []point) float64 {
	var s detect.Sum
	for _, x := range p {
		s.Add(x.v)
	}
	return s.Value()
}

// mean is the sum by the number, or, where the sum is beyond what a float64 holds, the mean of the parts.
func mean(p []point) float64 {
	n := float64(len(p))
	if s := sum(p); !math.IsInf(s, 0) {
		return s / n
	}
	var s detect.Sum
	for _, x := range p {
		s.Add(x.v / n)
	}
	return s.Value()
}
