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
	var x, y, xy, xx compensated
	constant := true
	for _, p := range points {
		constant = constant && p.Value == points[0].Value
		t := float64(p.Time.UnixMilli()-at) / 1000
		x.add(t)
		y.add(p.Value)
		xy.add(float64(t * p.Value)) // the conversions keep products from being fused into sums
		xx.add(float64(t * t))
	}
	if constant {
		if v := points[0].Value; !math.IsInf(v, 0) {
			return 0, v
		}
		return math.NaN(), math.NaN()
	}
	n, sx, sy := float64(len(points)), x.sum+x.lost, y.sum+y.lost
	covariance := (xy.sum + xy.lost) - sx*sy/n
	variance := (xx.sum + xx.lost) - sx*sx/n
	slope = covariance / variance
	return slope, sy/n - slope*sx/n
}

// compensated is a sum together with what rounding has lost of it.
type compensated struct{ sum, lost float64 }

func (c *compensated) add(v float64) {
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
