package detect_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

const hour = time.Hour

func forecaster(t testing.TB, p detect.Forecast) *detect.Forecaster {
	t.Helper()
	f, err := p.New()
	require.NoError(t, err)
	return f
}

// filled shows a forecaster a function of the hours since the start, every ten minutes until then.
func filled(f *detect.Forecaster, from, until float64, v func(hours float64) float64) time.Time {
	at := start().Add(time.Duration(from * float64(hour)))
	for ; at.Before(start().Add(time.Duration(until * float64(hour)))); at = at.Add(10 * time.Minute) {
		f.Observe(at, v(at.Sub(start()).Hours()))
	}
	return at
}

func TestOutlook(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	grows := func(h float64) float64 { return 20 + h/2 }
	noisy := func(h float64) float64 { return 20 + h/2 + r.NormFloat64() }
	for _, c := range []struct {
		name   string
		p      detect.Forecast
		until  float64
		v      func(h float64) float64
		why    detect.Why
		full   float64 // hours from the start
		within float64
	}{
		{"a straight line", detect.Forecast{Limit: 100}, 72, grows, detect.Filling, 160, 0.01},
		{"noise around it", detect.Forecast{Limit: 100}, 72, noisy, detect.Filling, 160, 4},
		{"falling to zero", detect.Forecast{Limit: 0, Falling: true}, 72, func(h float64) float64 { return 80 - noisy(h) }, detect.Filling, 120, 4},
		{"a quarter of the points wild", detect.Forecast{Limit: 100}, 72, func(h float64) float64 {
			if math.Mod(h, 4) < 1 {
				return grows(h) + 30
			}
			return grows(h)
		}, detect.Filling, 160, 2},
		{"too little history", detect.Forecast{Limit: 100}, 17, grows, detect.TooLittle, 0, 0},
		{"just enough history", detect.Forecast{Limit: 100}, 19, grows, detect.Filling, 160, 0.01},
		{"nothing", detect.Forecast{Limit: 100}, 0, grows, detect.TooLittle, 0, 0},
		{"constant", detect.Forecast{Limit: 100}, 72, func(float64) float64 { return 50 }, detect.Flat, 0, 0},
		{"noise", detect.Forecast{Limit: 100}, 72, func(float64) float64 { return 50 + 5*r.NormFloat64() }, detect.Flat, 0, 0},
		{"a day's wave", detect.Forecast{Limit: 100}, 72, func(h float64) float64 { return 50 - 20*math.Cos(h*math.Pi/12) }, detect.Flat, 0, 0},
		{"leads away", detect.Forecast{Limit: 100}, 72, func(h float64) float64 { return 80 - h/2 }, detect.Away, 0, 0},
		{"free space grows", detect.Forecast{Limit: 10, Falling: true}, 72, grows, detect.Away, 0, 0},
		{"a trend in much noise", detect.Forecast{Limit: 100}, 72, func(h float64) float64 { return 20 + h/8 + 8*r.NormFloat64() }, detect.Unfit, 0, 0},
		{"far ahead", detect.Forecast{Limit: 10_000}, 72, grows, detect.Beyond, 0, 0},
		{"far ahead, but asked for", detect.Forecast{Limit: 1_000, Horizon: 3000 * hour}, 72, grows, detect.Filling, 1960, 0.1},
		{"emptied", detect.Forecast{Limit: 100}, 72, func(h float64) float64 {
			if h > 70 {
				return 5
			}
			return grows(h)
		}, detect.Moved, 0, 0},
		{"full", detect.Forecast{Limit: 50}, 72, grows, detect.Full, 72, 0},
		{"full at once", detect.Forecast{Limit: 50}, 1, func(float64) float64 { return 50 }, detect.Full, 1, 0},
	} {
		f := forecaster(t, c.p)
		now := filled(f, 0, c.until, c.v)
		o := f.Outlook(now)
		require.Equal(t, c.why, o.Why, "%s: %+v", c.name, o)
		if c.why != detect.Filling && c.why != detect.Full {
			require.True(t, o.At.IsZero() && o.Earliest.IsZero() && o.Latest.IsZero(), c.name)
			continue
		}
		require.InDelta(t, c.full, o.At.Sub(start()).Hours(), c.within, c.name)
		require.False(t, o.Earliest.After(o.At), c.name)
		require.False(t, o.Latest.Before(o.At), c.name)
	}
}

// Only the history counts: what was before it is forgotten.
func TestForecastForgets(t *testing.T) {
	t.Parallel()
	f := forecaster(t, detect.Forecast{Limit: 100, History: 24 * hour})
	filled(f, 0, 100, func(h float64) float64 { return 90 - h/2 })
	now := filled(f, 100, 126, func(h float64) float64 { return 40 + (h - 100) })
	o := f.Outlook(now)
	require.Equal(t, detect.Filling, o.Why)
	require.InDelta(t, 160, o.At.Sub(start()).Hours(), 0.01)
	require.InDelta(t, 24, o.Span.Hours(), 0.5)
	require.InDelta(t, 1.0/3600, o.Slope, 1e-9)
	require.InDelta(t, 1, o.Fit, 1e-9)
	// The answer moves with now, also when nothing new was seen.
	require.Equal(t, o.At.Round(time.Second), f.Outlook(now.Add(2*hour)).At.Round(time.Second))
	require.Equal(t, now.Add(100*hour), f.Outlook(now.Add(100*hour)).At, "never before now")
}

// The band of confidence holds the truth about as often as it says, also where neighbouring values are alike.
func TestForecastBand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		alike float64 // correlation of hourly noise with that of the hour before
		least float64
	}{{0, 0.93}, {0.7, 0.83}} {
		r := rand.New(rand.NewPCG(3, 3))
		n, in := 0, 0
		for range 300 {
			f := forecaster(t, detect.Forecast{Limit: 100, Points: 72})
			var rest float64
			at := start()
			for h := range 72 {
				rest = c.alike*rest + math.Sqrt(1-c.alike*c.alike)*r.NormFloat64()
				f.Observe(at, 20+float64(h)/2+2*rest)
				at = at.Add(hour)
			}
			o := f.Outlook(at)
			if o.Why != detect.Filling {
				continue
			}
			n++
			truth := start().Add(160 * hour)
			if !truth.Before(o.Earliest) && (o.Latest.IsZero() || !truth.After(o.Latest)) {
				in++
			}
		}
		require.Greater(t, n, 290)
		require.Greater(t, float64(in)/float64(n), c.least, "%v: %d of %d", c.alike, in, n)
		t.Logf("correlation %v: %d of %d bands hold the truth", c.alike, in, n)
	}
}

// What is no trend is seldom taken for one: a random walk, which looks like many.
func TestForecastOfARandomWalk(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 4))
	filling := 0
	for range 300 {
		f := forecaster(t, detect.Forecast{Limit: 100})
		v := 50.0
		now := filled(f, 0, 72, func(float64) float64 { v += 0.2 * r.NormFloat64(); return v })
		if f.Outlook(now).Why == detect.Filling {
			filling++
		}
	}
	t.Logf("%d of 300 random walks are said to fill", filling)
	require.Less(t, filling, 60)
}

func TestForecastOddSamples(t *testing.T) {
	t.Parallel()
	f := forecaster(t, detect.Forecast{Limit: 100})
	now := filled(f, 0, 72, func(h float64) float64 {
		at := start().Add(time.Duration(h * float64(hour)))
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e101} {
			f.Observe(at, bad)
		}
		f.Observe(at.Add(-hour), 1e6)
		return 20 + h/2
	})
	o := f.Outlook(now)
	require.Equal(t, detect.Filling, o.Why)
	require.InDelta(t, 160, o.At.Sub(start()).Hours(), 0.01)
	// A clock that was set back for good: what was learnt is of another time.
	at := start().AddDate(-1, 0, 0)
	for range 12 {
		f.Observe(at, 50)
		at = at.Add(time.Second)
	}
	require.Equal(t, detect.TooLittle, f.Outlook(at).Why)
	// Gaps: a point a day is as good, if there are enough.
	f = forecaster(t, detect.Forecast{Limit: 100, History: 30 * 24 * hour})
	for d := range 12 {
		f.Observe(start().AddDate(0, 0, 2*d), 10+float64(2*d))
	}
	o = f.Outlook(start().AddDate(0, 0, 24))
	require.Equal(t, detect.Filling, o.Why)
	require.InDelta(t, 90, o.At.Sub(start()).Hours()/24, 0.01)
}

func TestForecastCheckpoint(t *testing.T) {
	t.Parallel()
	p := detect.Forecast{Limit: 100}
	a := forecaster(t, p)
	r := rand.New(rand.NewPCG(5, 5))
	now := filled(a, 0, 50, func(h float64) float64 { return 20 + h/2 + r.NormFloat64() })
	b, err := json.Marshal(a)
	require.NoError(t, err)
	c := forecaster(t, p)
	require.NoError(t, json.Unmarshal(b, c))
	require.Equal(t, a.Outlook(now), c.Outlook(now))
	for _, bad := range []string{`{}`, `{"method":"forecast","params":{"limit":1}}`, `[1]`} {
		require.ErrorIs(t, json.Unmarshal([]byte(bad), c), detect.ErrInvalid, bad)
	}
	require.ErrorIs(t, json.Unmarshal(b, forecaster(t, detect.Forecast{Limit: 99})), detect.ErrInvalid)
	require.Equal(t, a.Outlook(now), c.Outlook(now))
}

func TestForecasterAllocatesNothingOnceWarm(t *testing.T) {
	f := forecaster(t, detect.Forecast{Limit: 100})
	at := start()
	step := func() { f.Observe(at, 50); at = at.Add(10 * time.Minute) }
	for range 2000 {
		step()
	}
	require.Zero(t, testing.AllocsPerRun(2000, step))
	f.Outlook(at)
	require.Zero(t, testing.AllocsPerRun(10, func() { f.Outlook(at) }), "and asking again is cheap")
}

func TestNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		numbers map[string]float64
		op      string
		field   string // of the error; none when empty
	}{
		{"robustz", map[string]float64{"window": 20, "width": 4, "least": 1}, "", ""},
		{"ewma", map[string]float64{"alpha": 0.1, "width": 4, "least": 1}, "", ""},
		{"holtwinters", map[string]float64{"season": 604800, "slot": 3600, "alpha": 0.1, "beta": 0.01, "gamma": 0.2, "width": 3, "least": 1}, "", ""},
		{"seasonal", map[string]float64{"weeks": 4, "width": 3, "least": 1}, "", ""},
		{"cusum", map[string]float64{"baseline": 60, "slack": 2, "limit": 8, "least": 1}, "", ""},
		{"forecast", map[string]float64{
			"limit": 90, "falling": 1, "history": 86400, "points": 48, "least": 3600, "horizon": 864000, "confidence": 0.9, "fit": 0.8,
		}, "", ""},
		{"ewma", nil, "", ""},
		{"arima", nil, "detect", "name"},
		{"", nil, "detect", "name"},
		{"ewma", map[string]float64{"alfa": 0.1}, "ewma", "alfa"},
		{"ewma", map[string]float64{"alpha": 2}, "ewma", "alpha"},
		{"robustz", map[string]float64{"window": 20.5}, "robustz", "window"},
		{"robustz", map[string]float64{"window": math.NaN()}, "robustz", "window"},
		{"holtwinters", map[string]float64{"season": math.Inf(1)}, "holtwinters", "season"},
		{"forecast", map[string]float64{"limit": math.NaN()}, "forecast", "limit"},
	} {
		f, err := detect.Named(c.name, c.numbers)
		if c.field == "" {
			require.NoError(t, err, c.name)
			b, err := json.Marshal(f)
			require.NoError(t, err)
			require.Contains(t, string(b), `"method":"`+c.name+`"`)
			require.NoError(t, json.Unmarshal(b, f))
			require.ErrorIs(t, json.Unmarshal([]byte(`{"method":"none"}`), f), detect.ErrInvalid)
			continue
		}
		require.ErrorIs(t, err, detect.ErrInvalid)
		var e *detect.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, []string{c.op, c.field}, []string{e.Op, e.Field})
	}
	// The numbers reach the method.
	f, err := detect.Named("robustz", map[string]float64{"window": 6, "least": 2})
	require.NoError(t, err)
	b, err := json.Marshal(f)
	require.NoError(t, err)
	want, err := json.Marshal(detector(t, detect.RobustZ{Window: 6, Least: 2}))
	require.NoError(t, err)
	require.Equal(t, string(want), string(b))
	for i := range 6 {
		require.False(t, f.Observe(start().Add(time.Duration(i)*time.Second), 1))
	}
	require.True(t, f.Observe(start().Add(hour), 4))
	_, ok := f.Forecast(start())
	require.False(t, ok)

	f, err = detect.Named("forecast", map[string]float64{"limit": 100, "history": 36000, "points": 20})
	require.NoError(t, err)
	_, ok = f.Forecast(start())
	require.False(t, ok)
	for m := range 600 {
		require.False(t, f.Observe(start().Add(time.Duration(m)*time.Minute), 20+float64(m)/30))
	}
	hours, ok := f.Forecast(start().Add(10 * hour))
	require.True(t, ok)
	require.InDelta(t, 30, hours, 0.01)
}

func ExampleForecaster_Outlook() {
	f, err := detect.Forecast{Limit: 90}.New()
	if err != nil {
		panic(err)
	}
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for h := range 48 { // 60 % and half a point more each hour
		f.Observe(at, 60+float64(h)/2)
		at = at.Add(time.Hour)
	}
	o := f.Outlook(at)
	fmt.Println(o.Why, o.At.Format(time.DateTime))
	// Output: filling 2026-03-04 12:00:00
}
