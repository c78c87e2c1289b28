package alert_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

// day is a fleet of 200 hosts and 300 instances, each of which gives its CPU, memory, disk and network every 15 seconds, under
// rules for all of them.
type day struct {
	e       *alert.Engine
	at      time.Time
	samples []alert.Sample
	ticks   int
	batches int // steps that had something for the ledger
	changes int
}

func newDay(t testing.TB, busy bool) *day {
	t.Helper()
	d := &day{at: time.Unix(1e9, 0)}
	var rules []alert.Rule
	for _, of := range []struct {
		what  string
		count int
	}{{"host", 200}, {"instance", 300}} {
		for _, metric := range []string{"cpu_percent", "memory_percent", "disk_percent", "network_bytes"} {
			name := of.what + "_" + metric
			r := alert.Rule{Name: name, Measure: alert.Measure{Metric: name}, Test: alert.Test{Is: alert.Over, Value: 80}, Severity: alert.High,
				Annotations: map[string]string{"summary": "{{ $labels." + of.what + " }} is at {{ $value }}"}}
			switch {
			case metric == "network_bytes":
				r.Measure.Func, r.Measure.Window, r.Test.Value = alert.Rate, minutes(5), 1e6
			case !busy:
				r.For = minutes(5)
			}
			rules = append(rules, r)
			for i := range of.count {
				d.samples = append(d.samples, alert.Sample{Metric: name, Labels: labels(t, of.what, fmt.Sprint(of.what, i), "project", fmt.Sprint("p", i%7), "zone", "z1")})
			}
		}
	}
	d.e = alert.New(d.at, alert.Options{})
	require.NoError(t, d.e.SetRules(rules...))
	return d
}

// tick lets 15 seconds pass: everything at rest, or everything flapping, every other minute over its threshold.
func (d *day) tick(t testing.TB, busy bool) {
	d.at = d.at.Add(15 * time.Second)
	for i := range d.samples {
		s := &d.samples[i]
		s.Time = d.at
		s.Value = float64((i*7 + d.ticks*13) % 70)
		if busy && (d.ticks+i)%2 == 0 {
			s.Value = 90 + float64(d.ticks)*1e9 // the counters rise by leaps
		}
	}
	d.ticks++
	if err := d.e.Observe(d.samples...); err != nil {
		t.Fatal(err)
	}
	out := d.e.Step(context.Background(), d.at)
	if len(out.Errors) > 0 {
		t.Fatal(out.Errors)
	}
	if len(out.Changes) > 0 {
		d.batches++
		d.changes += len(out.Changes)
		d.e.Committed(out.Changes)
	}
}

// TestBatchesOfAFleet: with everything flapping a step has one batch for the ledger, of which there are four a minute; at rest
// it has none.
func TestBatchesOfAFleet(t *testing.T) {
	t.Parallel()
	for _, busy := range []bool{false, true} {
		d := newDay(t, busy)
		for range 4 * 20 {
			d.tick(t, busy)
		}
		if !busy {
			require.Zero(t, d.batches)
			continue
		}
		require.LessOrEqual(t, d.batches, 4*20)
		require.Greater(t, d.changes, 1000*4*20, "there was something to say")
	}
}

// BenchmarkDay is a day of the fleet, at rest and with everything flapping: processor time and memory, per sample.
func BenchmarkDay(b *testing.B) {
	for name, busy := range map[string]bool{"rest": false, "flapping": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				start := time.Now()
				d := newDay(b, busy)
				for range 24 * 60 * 4 {
					d.tick(b, busy)
				}
				spent := time.Since(start)
				runtime.ReadMemStats(&after)
				count := float64(d.e.Stats().Samples)
				b.ReportMetric(float64(spent.Nanoseconds())/count, "ns/sample")
				b.ReportMetric(float64(after.Mallocs-before.Mallocs)/count, "allocs/sample")
				b.ReportMetric(float64(d.batches)/(24*60), "batches/min")
				runtime.GC()
				runtime.ReadMemStats(&after)
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(d.e.Stats().Series), "B/series")
				runtime.KeepAlive(d)
			}
		})
	}
}
