package detect_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// The textbook's way, over the whole window each time.
func TestRobustZByDefinition(t *testing.T) {
	t.Parallel()
	mid := func(vs []float64) float64 {
		vs = slices.Sorted(slices.Values(vs))
		return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
	}
	for _, window := range []int{5, 10, 37, 64} {
		for seed := range uint64(5) {
			r := rand.New(rand.NewPCG(seed, uint64(window)))
			d := detector(t, detect.RobustZ{Window: window})
			var vs []float64
			at := start()
			fellBack := 0
			for i := range 500 {
				v := r.NormFloat64() * math.Pow(10, float64(r.IntN(3)))
				if seed >= 3 { // many values are the same
					v = float64(r.IntN(6) / 3 * r.IntN(4) / 3)
				}
				got := d.Observe(at, v)
				at = at.Add(time.Second)
				before := vs[max(0, len(vs)-window):]
				vs = append(vs, v)
				require.Equal(t, i >= (window+1)/2, got.Enough)
				if !got.Enough {
					continue
				}
				m := mid(before)
				var dev []float64
				var sum float64
				for _, x := range before {
					dev = append(dev, math.Abs(x-m))
					sum += math.Abs(x - m)
				}
				z := 0.674489750196 * (v - m) / mid(dev)
				if mid(dev) == 0 {
					fellBack++
					if sum == 0 {
						require.Equal(t, v != m, got.Outside)
						continue
					}
					z = (v - m) / (1.253314137 * sum / float64(len(before)))
				}
				require.InDelta(t, m, got.Expected, 1e-12)
				require.InEpsilon(t, math.Abs(z)+1, got.Score*3.5+1, 1e-9)
				require.Equal(t, math.Abs(z) > 3.5, got.Outside, "%v %v", z, got)
			}
			require.Equal(t, seed >= 3, fellBack > 0)
		}
	}
}

// Weights written out: (1-a)^k of the k-th last, those of the first 1/a samples alike.
func TestEWMAByDefinition(t *testing.T) {
	t.Parallel()
	const a = 0.1
	vs := noise(1, 60, 5, 1)
	d := detector(t, detect.EWMA{Alpha: a, Width: 1000}) // so wide that nothing is softened
	var got detect.Verdict
	at := start()
	for _, v := range vs {
		got = d.Observe(at, v)
		at = at.Add(time.Second)
	}
	before := vs[:len(vs)-1]
	weights := make([]float64, len(before))
	for i := range weights {
		weights[i] = math.Pow(1-a, float64(len(before)-max(i+1, 10)))
		if i < 10 {
			weights[i] /= 10
		} else {
			weights[i] *= a
		}
	}
	var mean, variance float64
	for i, v := range before {
		mean += weights[i] * v
	}
	for i, v := range before {
		variance += weights[i] * (v - mean) * (v - mean)
	}
	require.InDelta(t, mean, got.Expected, 1e-12)
	require.InDelta(t, math.Sqrt(variance), (got.High-got.Expected)/1000, 1e-12)
}

func TestCUSUMByDefinition(t *testing.T) {
	t.Parallel()
	base := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10} // median 5.5, MAD 2.5
	d := detector(t, detect.CUSUM{Baseline: 10, Slack: 0.5, Limit: 4})
	_, at := feed(d, start(), time.Second, base...)
	sigma := 2.5 * 1.4826022185056018
	up, down := 0.0, 0.0
	for i, z := range []float64{1, 2, -1, 0.2, 9, 1.4, 0.5, 1.2, 0.9, 9, 9} {
		got := d.Observe(at, 5.5+z*sigma)
		at = at.Add(time.Second)
		up, down = max(0, up+min(z-0.5, 1)), max(0, down+min(-z-0.5, 1))
		require.InDelta(t, max(up, down)/4, got.Score, 1e-9, i)
		require.InDelta(t, 5.5, got.Expected, 1e-9)
		require.InDelta(t, 5.5+0.5*sigma, got.High, 1e-9)
		require.Equal(t, up > 4, got.Outside, i)
		if got.Outside {
			require.Greater(t, i, 5, "no sample counts for more than a quarter")
			require.False(t, d.Observe(at, 5.5).Enough, "what is normal is learnt anew")
			return
		}
	}
	require.Fail(t, "no shift was found")
}

// Without noise the forecast is what will be: level, trend and season.
func TestHoltWintersLearnsExactly(t *testing.T) {
	t.Parallel()
	season := []float64{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8}
	d := detector(t, detect.HoltWinters{Season: time.Hour, Slot: 5 * time.Minute, Alpha: 0.1, Beta: 0.05, Gamma: 0.1})
	at := start()
	for i := range 12 * 200 {
		v := 100 + season[i%12] + 0.01*float64(i)
		for j := range 3 { // within a slot
			r := d.Observe(at.Add(time.Duration(j)*time.Minute), v)
			require.Equal(t, i >= 24, r.Enough, i)
			if i >= 12*150 {
				require.InDelta(t, v, r.Expected, 1e-4, i)
			}
		}
		at = at.Add(5 * time.Minute)
	}
}

// What is expected is the median of the weeks' medians: one odd week of three does not show.
func TestSeasonalByDefinition(t *testing.T) {
	t.Parallel()
	d := detector(t, detect.Seasonal{Width: 2})
	at := start()
	week := func(level float64) (rs []detect.Verdict) {
		for h := range 7 * 24 {
			for m := range 4 {
				// Within an hour: median level, and deviations 1, 3, 1, 3 from it.
				v := level + []float64{-1, 3, 1, -3}[m]
				rs = append(rs, d.Observe(at.Add(time.Duration(h)*time.Hour+time.Duration(m)*15*time.Minute), v))
			}
		}
		at = at.AddDate(0, 0, 7)
		return rs
	}
	require.False(t, last(week(10)).Enough)
	require.False(t, last(week(30)).Enough, "one week only")
	r := week(12)[0]
	require.True(t, r.Enough)
	require.Equal(t, 20.0, r.Expected, "of two weeks")
	r = last(week(10))
	require.Equal(t, 12.0, r.Expected)
	// In an hour the deviation is 2; the weeks are 2, 18 and 0 off what is expected; the typical hour was a little less so.
	require.InDelta(t, 12+2*(2*1.4826022185056018+2), r.High, 1)
	r = last(week(10))
	require.Equal(t, 12.0, r.Expected, "of the weeks 30, 12 and 10")
	r = last(week(10))
	require.Equal(t, 10.0, r.Expected, "of the weeks 12, 10 and 10")
}

// Of an hour with more samples than are kept, evenly chosen ones are.
func TestSeasonalWithManySamples(t *testing.T) {
	t.Parallel()
	d := detector(t, detect.Seasonal{Weeks: 1})
	for w := range 2 {
		for i := range 3600 {
			r := d.Observe(start().AddDate(0, 0, 7*w).Add(time.Duration(i)*time.Second), float64(i))
			if w == 1 {
				require.InDelta(t, 1800, r.Expected, 20)
				require.InDelta(t, 1800+4*900*1.4826, r.High, 100)
			}
		}
	}
}

// Turning a series upside down and measuring it in another unit turns the verdicts, and nothing else; so does taking it
// some weeks later.
func TestVerdictsDoNotDependOnUnits(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m detect.Method) {
		const unit = -1024 // a power of two, so that nothing is rounded
		step := 10 * time.Minute
		vs := daily(11, 25*144, step, 50, 30, 2)
		for i := range vs {
			if i%500 < 4 {
				vs[i] += 40
			}
		}
		a, b := detector(t, m), detector(t, m)
		at := start()
		n := 0
		for _, v := range vs {
			x, y := a.Observe(at, v), b.Observe(at.AddDate(0, 0, 7*40), v*unit)
			require.Equal(t, detect.Verdict{
				Outside: x.Outside, Enough: x.Enough, Score: x.Score,
				Expected: x.Expected * unit, Low: x.High * unit, High: x.Low * unit,
			}, y)
			if x.Outside {
				n++
			}
			at = at.Add(step)
		}
		require.Equal(t, n > 0, true)
	})
}

// A verdict agrees with itself, and its numbers are finite.
func TestVerdictsAgree(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m detect.Method) {
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 99))
			d := detector(t, m)
			at := start()
			for range 23 * 144 {
				v := 10 + r.NormFloat64()
				switch r.IntN(100) {
				case 0:
					v = math.Float64frombits(r.Uint64())
				case 1:
					v = math.Copysign(detect.MaxValue, r.Float64()-0.5)
				}
				agrees(t, m, v, d.Observe(at, v))
				at = at.Add(10 * time.Minute)
			}
		}
	})
}

func agrees(t testing.TB, m detect.Method, v float64, r detect.Verdict) {
	t.Helper()
	for _, x := range []float64{r.Score, r.Expected, r.Low, r.High} {
		require.False(t, math.IsNaN(x) || math.IsInf(x, 0), "%v: %+v", v, r)
	}
	require.GreaterOrEqual(t, r.Score, 0.0)
	require.LessOrEqual(t, r.Score, detect.MaxScore)
	require.LessOrEqual(t, r.Low, r.Expected)
	require.GreaterOrEqual(t, r.High, r.Expected)
	switch {
	case r.Ignored:
		require.Equal(t, detect.Verdict{Ignored: true}, r)
	case !r.Enough:
		require.Zero(t, r)
	default:
		_, sum := m.(detect.CUSUM)
		_, repeated := m.(detect.KOfN)
		if !repeated {
			require.Equal(t, r.Score > 1, r.Outside, "%v: %+v", v, r)
		}
		if !repeated && !sum {
			require.Equal(t, v < r.Low || v > r.High, r.Outside, "%v: %+v", v, r)
		}
	}
}

// A detector that takes over a state goes on as the other would have.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m detect.Method) {
		step := 10 * time.Minute
		vs := daily(13, 26*144, step, 50, 30, 2)
		a, b := detector(t, m), detector(t, m)
		at := start()
		for i, v := range vs {
			if i%611 == 3 {
				state, err := json.Marshal(a)
				require.NoError(t, err)
				b = detector(t, m)
				_, _ = feed(b, start(), time.Second, noise(1, 300, 7, 1)...) // what it knew is gone
				require.NoError(t, json.Unmarshal(state, b))
				again, err := json.Marshal(b)
				require.NoError(t, err)
				require.Equal(t, string(state), string(again))
			}
			x, y := a.Observe(at, v), b.Observe(at, v)
			if i > 3 {
				require.Equal(t, x, y, i)
			}
			at = at.Add(step)
		}
	})
}

// A state that does not fit is refused, and the detector stays as it was.
func TestForeignState(t *testing.T) {
	t.Parallel()
	others := []string{``, `null`, `[]`, `{}`, `{"params":{},"state":{}}`, `{"K":1,"N":1,"Outside":0,"Of":{}}`}
	for _, m := range []detect.Method{
		detect.RobustZ{Window: 7}, detect.EWMA{Width: 3}, detect.HoltWinters{Season: time.Hour, Slot: time.Minute},
		detect.Seasonal{Weeks: 2}, detect.CUSUM{Baseline: 17}, detect.KOfN{K: 2, N: 5, Of: detect.RobustZ{}},
	} {
		b, err := json.Marshal(detector(t, m))
		require.NoError(t, err)
		others = append(others, string(b))
	}
	each(t, func(t *testing.T, m detect.Method) {
		d := detector(t, m)
		_, _ = feed(d, start(), time.Minute, noise(1, 300, 7, 1)...)
		before, err := json.Marshal(d)
		require.NoError(t, err)
		for _, o := range others {
			if o == "null" { // which encoding/json passes by
				continue
			}
			err := json.Unmarshal([]byte(o), d)
			require.Error(t, err, o)
			if o != "" {
				require.ErrorIs(t, err, detect.ErrInvalid, o)
			}
			after, err := json.Marshal(d)
			require.NoError(t, err)
			require.Equal(t, string(before), string(after), o)
		}
	})
}

func TestNoAllocationOnceWarm(t *testing.T) {
	for _, m := range methods() {
		d := detector(t, m.method)
		at, i := start(), 0
		vs := daily(17, 1<<16, 5*time.Minute, 50, 20, 1)
		step := func() {
			d.Observe(at, vs[i%len(vs)])
			at, i = at.Add(5*time.Minute), i+1
		}
		for range 25 * 288 {
			step()
		}
		require.Zero(t, testing.AllocsPerRun(3000, step), m.name)
	}
}

func ExampleKOfN() {
	m := detect.KOfN{K: 2, N: 3, Of: detect.RobustZ{Window: 20}}
	d, err := m.New()
	if err != nil {
		panic(err)
	}
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for i, v := range []float64{41, 40, 42, 41, 39, 40, 41, 40, 42, 41, 95, 41, 96, 97} {
		if r := d.Observe(at, v); r.Outside {
			fmt.Printf("sample %d: %g, expected %.1f to %.1f\n", i, v, r.Low, r.High)
		}
		at = at.Add(15 * time.Second)
	}
	// Output:
	// sample 12: 96, expected 35.8 to 46.2
	// sample 13: 97, expected 35.8 to 46.2
}
