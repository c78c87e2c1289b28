package detect_test

import (
	"encoding/json"
	"runtime"
	"testing"
	"time"

	"github.com/berthage/berthage/alert/detect"
	"github.com/stretchr/testify/require"
)

// threshold is what the methods are measured against: a value over a limit.
type threshold struct{ limit float64 }

func (d threshold) New() (detect.Detector, error) { return d, nil }

func (d threshold) Observe(_ time.Time, v float64) detect.Verdict {
	return detect.Verdict{Outside: v > d.limit, Enough: true, High: d.limit}
}

// One sample of one series, the detector warm; "B/series" is what a warm detector holds, "B/state" its checkpoint.
func BenchmarkObserve(b *testing.B) {
	vs := daily(1, 1<<17, 15*time.Second, 50, 20, 2)
	all := append([]named{{"threshold", threshold{90}}}, methods()...)
	all = append(all, named{"RobustZ1000", detect.RobustZ{Window: 1000}})
	for _, m := range all {
		b.Run(m.name, func(b *testing.B) {
			const many = 200
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			ds := make([]detect.Detector, many)
			for i := range ds {
				ds[i] = detector(b, m.method)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			d := ds[0]
			at, i := start(), 0
			for range 1 << 17 {
				d.Observe(at, vs[i%len(vs)])
				at, i = at.Add(15*time.Second), i+1
			}
			state, err := json.Marshal(d)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				d.Observe(at, vs[i%len(vs)])
				at, i = at.Add(15*time.Second), i+1
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/many, "B/series")
			b.ReportMetric(float64(len(state)), "B/state")
			runtime.KeepAlive(ds)
		})
	}
}

// An outlook made anew, of a full history; and what is asked again before a part of it is over.
func BenchmarkOutlook(b *testing.B) {
	grow := func() (*detect.Forecaster, time.Time) {
		f := forecaster(b, detect.Forecast{Limit: 100})
		vs := noise(1, 1000, 50, 1)
		return f, filled(f, 0, 80, func(h float64) float64 { return vs[int(h*6)%1000] + h/4 })
	}
	b.Run("anew", func(b *testing.B) {
		f, at := grow()
		b.ReportAllocs()
		for b.Loop() {
			at = at.Add(46 * time.Minute) // another part
			f.Observe(at, 70)
			f.Outlook(at)
		}
	})
	b.Run("again", func(b *testing.B) {
		f, at := grow()
		b.ReportAllocs()
		for b.Loop() {
			f.Outlook(at)
		}
	})
}

func BenchmarkPredictLinear(b *testing.B) {
	ps := series(0, 15*time.Second)
	now := ps[len(ps)-1].Time
	b.ReportAllocs()
	for b.Loop() {
		detect.PredictLinear(ps, now, time.Hour)
	}
	b.ReportMetric(float64(len(ps)), "points")
}
