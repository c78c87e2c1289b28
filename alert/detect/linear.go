package detect

import (
	"math"
	"time"
)

// Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64
}

// PredictLinear returns the value that the line of least squares through the points has a time after now: the function
// predict_linear of PromQL, evaluated at now over a range with these points, to the last bit. As there times are whole
// milliseconds, sums are compensated (Kahan's, with Neumaier's improvement), and the line's intercept is its value at now.
// It is false with less than two points. Values that are no number or infinite give what they give there.
//
// Where a processor fuses multiplications and additions, Prometheus's own result differs in the last bits; this one is that
// of amd64 everywhere.
func PredictLinear(points []Point, now time.Time, ahead time.Duration) (float64, bool) {
	if len(points) < 2 {
		return 0, false
	}
	slope, intercept := regress(points, now.UnixMilli())
	return float64(slope*ahead.Seconds()) + intercept, true
}

// regress fits a line by least squares: its slope per second and its value at a time in Unix milliseconds.
func regress(points []Point, at int64) (slope, intercept float64) {
	return Line(len(points), func(i int) (seconds, value float64) {
		return float64(points[i].Time.UnixMilli()-at) / 1000, points[i].Value
	})
}

// Line fits a line by least squares through n points, at least one: its slope per second and its value at zero seconds. Equal
// values give a level line, and infinite ones no number, as in Prometheus.
func Line(n int, at func(i int) (seconds, value float64)) (slope, intercept float64) {
	var x, y, xy, xx Sum
	_, first := at(0)
	constant := true
	for i := range n {
		t, v := at(i)
		constant = constant && v == first
		x.Add(t)
		y.Add(v)
		xy.Add(float64(t * v)) // the conversions keep products from being fused into sums
		xx.Add(float64(t * t))
	}
	if constant {
		if !math.IsInf(first, 0) {
			return 0, first
		}
		return math.NaN(), math.NaN()
	}
	number, sx, sy := float64(n), x.Value(), y.Value()
	covariance := xy.Value() - sx*sy/number
	variance := xx.Value() - float64(sx*sx)/number
	slope = covariance / variance
	return slope, sy/number - slope*sx/number
}

// Sum adds up with compensation for what rounding loses (Kahan's sum, with Neumaier's improvement). The zero value is the empty sum.
type Sum struct{ sum, lost float64 }

// Add adds a number.
func (c *Sum) Add(v float64) {
	t := c.sum + v
	switch {
	case math.IsInf(t, 0):
		c.lost = 0
	case math.Abs(c.sum) >= math.Abs(v):
		c.lost += (c.sum - t) + v
	default:
		c.lost += (v - t) + c.sum
	}
	c.sum = t
}

// Value returns the sum.
func (c *Sum) Value() float64 { return c.sum + c.lost }
