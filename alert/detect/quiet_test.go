package detect_test

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// quietStep is how often the quiet series are sampled: as usual.
const quietStep = 15 * time.Second

// quiet are series in which nothing is wrong, each a function of the time in days.
func quiet() []struct {
	name string
	next func(r *rand.Rand) func(day float64) float64
} {
	return []struct {
		name string
		next func(r *rand.Rand) func(day float64) float64
	}{
		{"noise", func(r *rand.Rand) func(float64) float64 {
			return func(float64) float64 { return 50 + 3*r.NormFloat64() }
		}},
		{"noise with a memory", func(r *rand.Rand) func(float64) float64 {
			rest := 0.0
			return func(float64) float64 {
				rest = 0.9*rest + math.Sqrt(1-0.81)*r.NormFloat64()
				return 50 + 3*rest
			}
		}},
		{"counts", func(r *rand.Rand) func(float64) float64 { // Poisson, of mean 5
			return func(float64) float64 {
				n, p := 0.0, r.Float64()
				for p > math.Exp(-5) {
					n, p = n+1, p*r.Float64()
				}
				return n
			}
		}},
		{"heavy tails", func(r *rand.Rand) func(float64) float64 { // Laplace
			return func(float64) float64 { return 50 + 3*(r.ExpFloat64()-r.ExpFloat64()) }
		}},
		{"a day's wave", func(r *rand.Rand) func(float64) float64 {
			return func(day float64) float64 { return 50 - 20*math.Cos(2*math.Pi*day) + 3*r.NormFloat64() }
		}},
		{"wave and weekends", func(r *rand.Rand) func(float64) float64 {
			return func(day float64) float64 {
				busy := 20.0
				if int(day)%7 >= 5 {
					busy = 5
				}
				return 30 + busy*(1-math.Cos(2*math.Pi*day)) + 3*r.NormFloat64()
			}
		}},
	}
}

// alarms counts how often per day a detector begins to find samples outside, in the third week: single ones, and three out
// of five.
func alarms(t *testing.T, m detect.Method, next func(float64) float64) (alone, repeated float64) {
	t.Helper()
	d := detector(t, m)
	last := uint64(0) // a bit for each sample, the newest lowest
	three := func(five uint64) bool { return bits.OnesCount64(five&31) >= 3 }
	for i := range int(21 * 24 * time.Hour / quietStep) {
		since := time.Duration(i) * quietStep
		v := d.Observe(start().Add(since), next(since.Hours()/24))
		before := last
		if last <<= 1; v.Outside {
			last |= 1
		}
		if since < 14*24*time.Hour {
			continue
		}
		if v.Outside && before&1 == 0 {
			alone++
		}
		if three(last) && !three(before) {
			repeated++
		}
	}
	return alone / 7, repeated / 7
}

// False alarms per day on quiet series at 15 s, of single samples and of three out of five. The bounds, of the
// latter, are a little above what docs/anomalies.md states.
func TestFalseAlarms(t *testing.T) {
	t.Parallel()
	most := map[string][]float64{
		"RobustZ":             {0.5, 4, 0.5, 4, 0.5, 0.5},
		"EWMA":                {0.2, 0.2, 0.2, 0.2, 0.2, 0.2},
		"HoltWinters, a day":  {0.2, 0.2, 0.2, 0.2, 0.2, 0.2},
		"HoltWinters, a week": {0.2, 0.5, 0.2, 0.2, 0.2, 0.2},
		"Seasonal":            {0.2, 0.2, 0.2, 0.5, 0.2, 0.2},
		"CUSUM":               {0.2, 20, 0.2, 0.2, 20, 20}, // to which a wave, or a memory, is one shift after the other
	}
	var b strings.Builder
	for _, c := range []named{
		{"RobustZ", detect.RobustZ{}},
		{"EWMA", detect.EWMA{}},
		{"HoltWinters, a day", detect.HoltWinters{}},
		{"HoltWinters, a week", detect.HoltWinters{Season: 7 * 24 * time.Hour, Slot: time.Hour}},
		{"Seasonal", detect.Seasonal{}},
		{"CUSUM", detect.CUSUM{}},
	} {
		fmt.Fprintf(&b, "\n| %s |", c.name)
		for i, q := range quiet() {
			alone, repeated := alarms(t, c.method, q.next(rand.New(rand.NewPCG(uint64(i), 8))))
			if c.name == "CUSUM" { // which speaks up once, and then learns anew
				require.LessOrEqual(t, alone, most[c.name][i], "CUSUM on %s", q.name)
				fmt.Fprintf(&b, " %.1f |", alone)
				continue
			}
			fmt.Fprintf(&b, " %.1f / %.1f |", alone, repeated)
			require.LessOrEqual(t, repeated, most[c.name][i], "%s on %s", c.name, q.name)
		}
	}
	t.Log(b.String())
}
