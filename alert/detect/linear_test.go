package detect_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// epoch is where promtool's series begin.
func epoch() time.Time { return time.Unix(0, 0) }

// series is one with gaps, of a kind that monitoring has: a disk that fills, a counter, noise, few values, great offsets.
func series(seed uint64, interval time.Duration) []detect.Point {
	r := rand.New(rand.NewPCG(seed, 2))
	var ps []detect.Point
	level, slope := math.Pow(10, float64(r.IntN(14)))*r.Float64(), r.NormFloat64()
	for i := range 20 + r.IntN(200) {
		var v float64
		switch seed % 5 {
		case 0:
			v = level + slope*float64(i)
		case 1:
			v = math.Floor(level + math.Abs(slope)*1000*float64(i))
		case 2:
			v = level * r.NormFloat64()
		case 3:
			v = float64(r.IntN(3))
		case 4:
			v = level + slope*float64(i)*1e-3 + r.NormFloat64()*1e-6
		}
		if r.IntN(10) > 0 {
			ps = append(ps, detect.Point{Time: epoch().Add(time.Duration(i) * interval), Value: v})
		}
	}
	return ps
}

// The real promtool evaluates predict_linear on the same samples and compares with our results by ==, which is exact.
func TestPredictLinearIsPrometheuss(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not there (Debian's prometheus): PredictLinear was not compared with the real one")
	}
	const seeds, interval = 150, 13 * time.Second
	var b strings.Builder
	b.WriteString("tests:\n- interval: 13s\n  input_series:\n")
	var evals strings.Builder
	n := 0
	for seed := range uint64(seeds) {
		ps := series(seed, interval)
		fmt.Fprintf(&b, "  - series: 'x{s=\"%d\"}'\n    values: '", seed)
		at := epoch()
		for _, p := range ps {
			for ; at.Before(p.Time); at = at.Add(interval) {
				b.WriteString("_ ")
			}
			b.WriteString(strconv.FormatFloat(p.Value, 'g', -1, 64) + " ")
			at = at.Add(interval)
		}
		b.WriteString("'\n")
		r := rand.New(rand.NewPCG(seed, 3))
		for i := range 9 {
			// Between samples, so that it does not matter which ends of a range belong to it.
			now := epoch().Add(time.Duration(r.IntN(250))*interval + 5*time.Second)
			window := time.Duration(1+r.IntN(250)) * interval
			ahead := time.Duration(r.IntN(1_000_000)-200_000) * time.Millisecond
			if i == 0 { // as in TestPredictLinearToTheLastBit
				now, window, ahead = ps[len(ps)-1].Time.Add(5*time.Second), 24*time.Hour, time.Hour
			}
			var in []detect.Point
			for _, p := range ps {
				if p.Time.After(now.Add(-window)) && !p.Time.After(now) {
					in = append(in, p)
				}
			}
			want, ok := detect.PredictLinear(in, now, ahead)
			require.Equal(t, len(in) >= 2, ok)
			if !ok {
				continue
			}
			n++
			exact := strconv.FormatFloat(want, 'g', -1, 64)
			fmt.Fprintf(&evals, "  - expr: predict_linear(x{s=\"%d\"}[%dms], %g) == %s\n    eval_time: %dms\n    exp_samples: [{labels: '{s=\"%d\"}', value: %s}]\n",
				seed, window.Milliseconds(), ahead.Seconds(), exact, now.Sub(epoch()).Milliseconds(), seed, exact)
		}
	}
	require.Greater(t, n, seeds)
	file := filepath.Join(t.TempDir(), "predict.yml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()+"  promql_expr_test:\n"+evals.String()), 0o600))
	out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput()
	require.NoError(t, err, "%.2000s", out)
	t.Logf("promtool agrees on all %d", n)
}

// Results of promtool, which TestPredictLinearIsPrometheuss asks for again where it is there.
func TestPredictLinearToTheLastBit(t *testing.T) {
	t.Parallel()
	for seed, want := range []float64{
		7.050201668951124e+08, 4.613953269389875e+09, -14.895619218954653, 1.9623503974976557, 4.904524952490332, 1.21178184395715e+08, 1.1142765699917036e+06, 1.519088560259794e+08, 10.614572625992157, 2.210783863520892e+06,
	} {
		ps := series(uint64(seed), 13*time.Second)
		got, ok := detect.PredictLinear(ps, ps[len(ps)-1].Time.Add(5*time.Second), time.Hour)
		require.True(t, ok)
		require.Equal(t, want, got, seed) // that is, bit by bit
	}
}

// Against the formula in exact arithmetic.
func TestPredictLinearByDefinition(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		ps := series(seed, time.Second)
		now, ahead := ps[len(ps)-1].Time.Add(time.Second), 90*time.Second
		n, sx, sy, sxx, sxy := new(big.Rat), new(big.Rat), new(big.Rat), new(big.Rat), new(big.Rat)
		mul := func(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }
		for _, p := range ps {
			x, y := big.NewRat(p.Time.UnixMilli()-now.UnixMilli(), 1000), new(big.Rat).SetFloat64(p.Value)
			n.Add(n, big.NewRat(1, 1))
			sx.Add(sx, x)
			sy.Add(sy, y)
			sxx.Add(sxx, mul(x, x))
			sxy.Add(sxy, mul(x, y))
		}
		num := new(big.Rat).Sub(mul(n, sxy), mul(sx, sy))
		slope := num.Quo(num, new(big.Rat).Sub(mul(n, sxx), mul(sx, sx)))
		at := new(big.Rat).Sub(sy, mul(slope, sx))
		at.Quo(at, n).Add(at, mul(slope, big.NewRat(90, 1)))
		want, _ := at.Float64()
		got, ok := detect.PredictLinear(ps, now, ahead)
		require.True(t, ok)
		require.InDelta(t, want, got, 1e-9*(1+math.Abs(want)), seed)
	}
}

func TestPredictLinearAtTheEdges(t *testing.T) {
	t.Parallel()
	at := func(vs ...float64) []detect.Point {
		var ps []detect.Point
		for i, v := range vs {
			ps = append(ps, detect.Point{Time: epoch().Add(time.Duration(i) * time.Minute), Value: v})
		}
		return ps
	}
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name string
		vs   []float64
		ok   bool
		want float64
	}{
		{"nothing", nil, false, 0},
		{"one", []float64{1}, false, 0},
		{"two", []float64{1, 2}, true, 61},
		{"constant", []float64{0.1, 0.1, 0.1}, true, 0.1},
		{"constantly infinite", []float64{inf, inf}, true, nan},
		{"infinite once", []float64{1, inf, 2}, true, nan},
		{"no number", []float64{1, nan, 2}, true, nan},
		{"sums overflow", []float64{math.MaxFloat64, math.MaxFloat64, 1}, true, nan},
	} {
		got, ok := detect.PredictLinear(at(c.vs...), epoch(), time.Hour)
		require.Equal(t, c.ok, ok, c.name)
		if math.IsNaN(c.want) {
			require.False(t, math.Abs(got) <= math.MaxFloat64, "%s: %v", c.name, got)
			continue
		}
		require.Equal(t, c.want, got, c.name)
	}
}

func ExamplePredictLinear() {
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	points := []detect.Point{
		{Time: at.Add(-2 * time.Minute), Value: 70}, {Time: at.Add(-time.Minute), Value: 71}, {Time: at, Value: 72},
	}
	v, _ := detect.PredictLinear(points, at, time.Hour)
	fmt.Println(v)
	// Output: 132
}
