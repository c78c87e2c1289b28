package detect_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// start is a Monday.
func start() time.Time { return time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) }

// named is a method under a name.
type named struct {
	name   string
	method detect.Method
}

// methods are all, with their parameters as they are by default.
func methods() []named {
	return []named{
		{"RobustZ", detect.RobustZ{}},
		{"EWMA", detect.EWMA{}},
		{"HoltWinters", detect.HoltWinters{}},
		{"Seasonal", detect.Seasonal{}},
		{"CUSUM", detect.CUSUM{}},
		{"KOfN", detect.KOfN{K: 3, N: 5, Of: detect.RobustZ{}}},
	}
}

func detector(t testing.TB, m detect.Method) detect.Detector {
	t.Helper()
	d, err := m.New()
	require.NoError(t, err)
	return d
}

// each runs a test for every method.
func each(t *testing.T, f func(t *testing.T, m detect.Method)) {
	for _, m := range methods() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			f(t, m.method)
		})
	}
}

// feed shows a detector values, a step apart, and returns what it said, and the time after the last.
func feed(d detect.Detector, at time.Time, step time.Duration, vs ...float64) ([]detect.Verdict, time.Time) {
	var rs []detect.Verdict
	for _, v := range vs {
		rs = append(rs, d.Observe(at, v))
		at = at.Add(step)
	}
	return rs, at
}

func noise(seed uint64, n int, level, sigma float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	vs := make([]float64, n)
	for i := range vs {
		vs[i] = level + sigma*r.NormFloat64()
	}
	return vs
}

// daily is a day's wave of the given height with noise.
func daily(seed uint64, n int, step time.Duration, level, height, sigma float64) []float64 {
	vs := noise(seed, n, level, sigma)
	for i := range vs {
		day := (time.Duration(i) * step).Hours() / 24
		vs[i] -= height / 2 * math.Cos(2*math.Pi*day)
	}
	return vs
}

func last(rs []detect.Verdict) detect.Verdict { return rs[len(rs)-1] }

func outside(rs []detect.Verdict) int {
	n := 0
	for _, r := range rs {
		if r.Outside {
			n++
		}
	}
	return n
}

func TestParameters(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, c := range []struct {
		method detect.Method
		field  string
	}{
		{detect.RobustZ{Window: 4}, "window"},
		{detect.RobustZ{Window: 10_001}, "window"},
		{detect.RobustZ{Width: -1}, "width"},
		{detect.RobustZ{Width: nan}, "width"},
		{detect.RobustZ{Least: math.Inf(1)}, "least"},
		{detect.EWMA{Alpha: 1}, "alpha"},
		{detect.EWMA{Alpha: nan}, "alpha"},
		{detect.EWMA{Alpha: 1e-7}, "alpha"},
		{detect.EWMA{Least: -1}, "least"},
		{detect.HoltWinters{Season: time.Second}, "season"},
		{detect.HoltWinters{Season: 5 * 7 * 24 * time.Hour}, "season"},
		{detect.HoltWinters{Slot: 7 * time.Minute}, "slot"},
		{detect.HoltWinters{Slot: time.Second}, "slot"},
		{detect.HoltWinters{Slot: -time.Second}, "slot"},
		{detect.HoltWinters{Slot: 24 * time.Hour}, "slot"},
		{detect.HoltWinters{Alpha: 2}, "alpha"},
		{detect.HoltWinters{Beta: -1}, "beta"},
		{detect.HoltWinters{Gamma: nan}, "gamma"},
		{detect.Seasonal{Weeks: 9}, "weeks"},
		{detect.Seasonal{Zone: "Europe/Atlantis"}, "zone"},
		{detect.Seasonal{Zone: "Local"}, "zone"},
		{detect.Seasonal{Width: -1}, "width"},
		{detect.CUSUM{Baseline: 9}, "baseline"},
		{detect.CUSUM{Slack: -1}, "slack"},
		{detect.CUSUM{Limit: 0.5}, "limit"},
		{detect.CUSUM{Least: nan}, "least"},
		{detect.KOfN{}, "of"},
		{detect.KOfN{K: 2, Of: detect.EWMA{}}, "k"},
		{detect.KOfN{K: -1, Of: detect.EWMA{}}, "k"},
		{detect.KOfN{N: 65, Of: detect.EWMA{}}, "n"},
		{detect.KOfN{Of: detect.EWMA{Alpha: 2}}, "alpha"},
		{forecast{Limit: nan}, "limit"},
		{forecast{Points: 7}, "points"},
		{forecast{History: time.Millisecond}, "history"},
		{forecast{Least: 4 * 24 * time.Hour}, "least"},
		{forecast{Horizon: -1}, "horizon"},
		{forecast{Confidence: 1}, "confidence"},
		{forecast{Fit: 2}, "fit"},
	} {
		_, err := c.method.New()
		require.ErrorIs(t, err, detect.ErrInvalid, "%+v", c.method)
		var e *detect.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.field, e.Field, "%+v: %v", c.method, err)
		require.NotEmpty(t, e.Want)
		require.NotContains(t, err.Error(), "  ")
	}
	_, err := detect.RobustZ{Window: 4}.New()
	require.EqualError(t, err, `robustz: window "4" invalid: from 5 to 10000`)
}

// forecast is a Forecast as a Method, for tables.
type forecast detect.Forecast

func (f forecast) New() (detect.Detector, error) {
	_, err := detect.Forecast(f).New()
	return nil, err
}

// A lone value far off is outside, for all methods but that which asks for more than one.
func TestSpike(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m detect.Method) {
		d := detector(t, m)
		step := 5 * time.Minute
		vs := daily(1, 22*288, step, 50, 0, 1)
		rs, at := feed(d, start(), step, vs...)
		require.True(t, last(rs).Enough)
		require.False(t, rs[0].Enough)
		require.Zero(t, rs[0])
		rs, at = feed(d, at, step, 80)
		switch m.(type) {
		case detect.CUSUM, detect.KOfN:
			require.False(t, rs[0].Outside, "one sample is no level, and no three")
		default:
			require.True(t, rs[0].Outside)
			require.Less(t, rs[0].High, 80.0)
			require.Greater(t, rs[0].Low, 40.0)
			require.InDelta(t, 50, rs[0].Expected, 1)
			require.Greater(t, rs[0].Score, 4.0)
		}
		calm := make([]float64, 50)
		for i := range calm {
			calm[i] = 50 + math.Sin(float64(i))
		}
		rs, at = feed(d, at, step, calm...)
		require.Zero(t, outside(rs), "an outlier does not make what is usual unusual")
		rs, _ = feed(d, at, step, 80, 81, 80, 82, 80, 79)
		require.NotZero(t, outside(rs))
	})
}

func TestConstantSeries(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m detect.Method) {
		for _, level := range []float64{0, 1, -273.15, 1e12, 0.1 + 0.2} {
			d := detector(t, m)
			step := 15 * time.Minute
			var at time.Time
			var rs []detect.Verdict
			vs := make([]float64, 22*96)
			for i := range vs {
				vs[i] = level
				if i%2 == 1 {
					vs[i] = math.Nextafter(level, 1) // rounding is nothing
				}
			}
			rs, at = feed(d, start(), step, vs...)
			require.Zero(t, outside(rs), level)
			require.True(t, last(rs).Enough)
			changed := level + 1 + 1e-9*level
			rs, _ = feed(d, at, step, changed, changed, changed, changed, changed, changed)
			require.NotZero(t, outside(rs), "any change of a constant series is outside: %v", level)
		}
	})
}

// Least is half the width of the band at least.
func TestLeast(t *testing.T) {
	t.Parallel()
	for _, m := range []detect.Method{
		detect.RobustZ{Least: 5}, detect.EWMA{Least: 5}, detect.HoltWinters{Least: 5, Slot: time.Hour}, detect.Seasonal{Least: 5},
	} {
		d := detector(t, m)
		vs := make([]float64, 22*96)
		_, at := feed(d, start(), 15*time.Minute, vs...)
		rs, _ := feed(d, at, time.Second, 5, 0, 0, 5.5)
		require.False(t, rs[0].Outside, "%T", m)
		require.Equal(t, []float64{-5, 5, 1}, []float64{rs[0].Low, rs[0].High, rs[0].Score}, "%T", m)
		require.True(t, rs[3].Outside, "%T", m)
	}
	d := detector(t, detect.CUSUM{Least: 5})
	_, at := feed(d, start(), time.Second, make([]float64, 120)...)
	rs, _ := feed(d, at, time.Second, 5, 5, 5, 5, 5, 5, 5, 5)
	require.Equal(t, []float64{-5, 5, 0}, []float64{last(rs).Low, last(rs).High, last(rs).Score})
}

// What is no number, infinite or too great to calculate with is neither judged nor learnt, nor is what comes again or
// from the past; a clock that was set back is believed after ten samples, and what was learnt stands.
func TestOddSamples(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m detect.Method) {
		step := 5 * time.Minute
		vs := daily(3, 22*288, step, 50, 20, 1)
		plain, odd := detector(t, m), detector(t, m)
		rs, _ := feed(plain, start(), step, vs...)
		at := start()
		for i, v := range vs {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1.1e100, -math.MaxFloat64} {
				require.Equal(t, detect.Verdict{Ignored: true}, odd.Observe(at, bad))
			}
			require.Equal(t, rs[i], odd.Observe(at, v))
			require.Equal(t, detect.Verdict{Ignored: true}, odd.Observe(at.Add(999*time.Microsecond), 1e6), "within the millisecond")
			require.Equal(t, detect.Verdict{Ignored: true}, odd.Observe(at.Add(-time.Hour), 1e6))
			at = at.Add(step)
		}
		// Two senders, one of them late: the late one is never believed.
		for range 20 {
			require.True(t, odd.Observe(at.Add(-time.Hour), 1).Ignored)
			require.False(t, odd.Observe(at, 50).Ignored)
			at = at.Add(step)
		}
		back := at.AddDate(0, 0, -1)
		for range 5 { // the same sample over and over is not a clock that runs
			require.True(t, odd.Observe(back, 40).Ignored)
		}
		rs, back = feed(odd, back, step, noise(4, 9, 40, 1)...)
		for _, r := range rs {
			require.True(t, r.Ignored)
		}
		r := odd.Observe(back, 40)
		require.False(t, r.Ignored)
		require.True(t, r.Enough, "what was learnt stands")
	})
}

// A gap changes nothing: the same hour after it is judged as before it.
func TestGap(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, m detect.Method) {
		step := 5 * time.Minute
		d := detector(t, m)
		_, at := feed(d, start(), step, daily(5, 28*288, step, 50, 20, 1)...)
		at = at.AddDate(0, 0, 10)
		rs, at := feed(d, at, step, daily(6, 288, step, 50, 20, 1)...)
		if _, ok := m.(detect.CUSUM); !ok { // to which the day's wave is one shift after the other
			require.True(t, rs[0].Enough)
			require.Zero(t, outside(rs))
			rs, _ = feed(d, at, step, 90, 90, 90)
			require.NotZero(t, outside(rs))
		}
	})
}

// Irregular samples, of a random number in a slot, are judged by their hour and not by their number.
func TestIrregularSampling(t *testing.T) {
	t.Parallel()
	for _, m := range []detect.Method{detect.HoltWinters{}, detect.Seasonal{}} {
		d := detector(t, m)
		r := rand.New(rand.NewPCG(7, 7))
		at, n, bad := start(), 0, 0
		for at.Before(start().AddDate(0, 0, 28)) {
			hour := at.Sub(start()).Hours()
			v := d.Observe(at, 50-10*math.Cos(2*math.Pi*hour/24)+r.NormFloat64())
			if v.Enough {
				n++
				if v.Outside {
					bad++
				}
			}
			at = at.Add(time.Duration((r.ExpFloat64()*5 + 0.1) * float64(time.Minute)))
			if r.IntN(2000) == 0 {
				at = at.Add(6 * time.Hour)
			}
		}
		require.Greater(t, n, 2500, "%T", m)
		require.Less(t, float64(bad)/float64(n), 0.002, "%T: %d of %d", m, bad, n)
		noon := time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC)
		require.False(t, d.Observe(noon, 60).Outside, "%T", m)
		require.True(t, d.Observe(noon.Add(12*time.Hour), 60).Outside, "%T: noon's value at midnight", m)
	}
}

// To a detector a counter's reset is a value like others; a counter's growth is not taken for a level.
func TestCounterLikeSteps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method detect.Method
		reset  bool // outside
	}{
		{detect.RobustZ{}, false}, {detect.EWMA{}, false}, {detect.HoltWinters{Slot: time.Hour}, true},
	} {
		d := detector(t, c.method)
		vs := make([]float64, 15*288)
		for i := range vs {
			vs[i] = 1e6 + float64(i)
		}
		_, at := feed(d, start(), 5*time.Minute, vs...)
		rs, _ := feed(d, at, 5*time.Minute, 0)
		require.True(t, rs[0].Enough)
		require.True(t, rs[0].Outside, "%T", c.method)
	}
	d := detector(t, detect.CUSUM{})
	var rs []detect.Verdict
	at := start()
	for i := range 1000 {
		rs = append(rs, d.Observe(at, float64(i)))
		at = at.Add(time.Minute)
	}
	require.Greater(t, outside(rs), 2, "to CUSUM growth is one shift after the other")
}

func TestKOfN(t *testing.T) {
	t.Parallel()
	d := detector(t, detect.KOfN{K: 2, N: 4, Of: detect.RobustZ{Window: 10, Least: 1}})
	_, at := feed(d, start(), time.Second, 0, 0, 0, 0, 0)
	var got []bool
	for _, v := range []float64{9, 0, 0, 0, 9, math.NaN(), 0, 0, 9, 0, 0, 0} {
		got = append(got, d.Observe(at, v).Outside)
		at = at.Add(time.Second)
	}
	require.Equal(t, []bool{
		false, false, false, false, // one of four
		false, false, false, false, true, // what is ignored is not one of the four
		false, false, false,
	}, got)
	d = detector(t, detect.KOfN{Of: detect.RobustZ{Window: 10, Least: 1}})
	_, at = feed(d, start(), time.Second, 0, 0, 0, 0, 0)
	require.True(t, d.Observe(at, 9).Outside, "by default one of one")
	require.False(t, d.Observe(at.Add(time.Second), 0).Outside)
	d = detector(t, detect.KOfN{K: 64, N: 64, Of: detect.RobustZ{Window: 1000, Least: 1}})
	_, at = feed(d, start(), time.Second, make([]float64, 500)...)
	vs := make([]float64, 64)
	for i := range vs {
		vs[i] = 9
	}
	rs, _ := feed(d, at, time.Second, vs...)
	require.Equal(t, 1, outside(rs))
	require.True(t, last(rs).Outside)
}

// A shift is told once, when it happened, and then again only when there is another.
func TestLevelShift(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		d := detector(t, detect.CUSUM{})
		rs, at := feed(d, start(), time.Second, noise(seed, 1000, 50, 2)...)
		require.Zero(t, outside(rs))
		rs, at = feed(d, at, time.Second, noise(seed+100, 1000, 56, 2)...)
		require.Equal(t, 1, outside(rs), seed)
		found := 0
		for !rs[found].Outside {
			found++
		}
		require.Less(t, found, 20, "three standard deviations")
		rs, _ = feed(d, at, time.Second, noise(seed+200, 1000, 50, 2)...)
		require.Equal(t, 1, outside(rs), seed)
	}
}

// The seasonal baseline goes by the clock that people live by.
func TestSeasonalZone(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	for _, c := range []struct {
		zone string
		high int // hour at which it is high
	}{{"Europe/Berlin", 0}, {"", 24}} {
		d := detector(t, detect.Seasonal{Zone: c.zone})
		bad := 0
		// The clocks go forward on 29 March 2026, the end of the fourth week.
		for at := start(); at.Before(start().AddDate(0, 0, 35)); at = at.Add(5 * time.Minute) {
			v := 10.0
			if h := at.In(berlin).Hour(); h >= 9 && h < 17 {
				v = 50
			}
			if d.Observe(at, v).Outside {
				bad++
			}
		}
		require.Equal(t, c.zone == "", bad > 0, "%q: %d", c.zone, bad)
	}
}

// An outlier hardly moves what is expected or how wide the band is; a level that stays is learnt in the end.
func TestOutliersAreHardlyLearnt(t *testing.T) {
	t.Parallel()
	for _, m := range []detect.Method{detect.RobustZ{}, detect.EWMA{}, detect.HoltWinters{Slot: time.Hour}} {
		d := detector(t, m)
		step := 5 * time.Minute
		_, at := feed(d, start(), step, noise(3, 10*288, 50, 1)...)
		before := d.Observe(at, 50)
		rs, at := feed(d, at.Add(step), step, 1000, 50)
		after := last(rs)
		require.InDelta(t, before.Expected, after.Expected, 1, "%T", m)
		require.Less(t, after.High-after.Low, 1.3*(before.High-before.Low), "%T", m)
		rs, _ = feed(d, at, step, noise(4, 10*288, 60, 1)...)
		require.True(t, rs[0].Outside, "%T", m)
		require.InDelta(t, 60, last(rs).Expected, 2, "%T", m)
		require.False(t, last(rs).Outside, "%T", m)
	}
}
