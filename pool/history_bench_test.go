package pool_test

import (
	"bytes"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/history"
	"github.com/berthage/berthage/pool"
)

// past is the fleet whose history is folded: BERTHAGE_INSTANCES were launched, or 100,000; 500 are alive.
func past(b *testing.B) history.Fleet {
	b.Helper()
	n := 100_000
	if s := os.Getenv("BERTHAGE_INSTANCES"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	return history.Fleet{Hosts: 200, Instances: n, Alive: min(500, n)}
}

// kept is the State of the last past that was folded: several benchmarks, and their repetitions, share it.
var kept struct {
	of history.Fleet
	s  *pool.State
}

func withPast(b *testing.B, f history.Fleet) *pool.State {
	b.Helper()
	if kept.of != f {
		kept.of, kept.s = f, folded(b, f)
	}
	return kept.s
}

func folded(b *testing.B, f history.Fleet) *pool.State {
	b.Helper()
	s := pool.NewState()
	for batch := range f.Batches() {
		for i := range batch.Events {
			if err := s.Apply(&batch.Events[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
	return s
}

// live returns the bytes of the heap that are in use.
func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkState is what the State of a fleet with a past takes in memory: all instances but 500 have been
// deleted.
func BenchmarkState(b *testing.B) {
	f := past(b)
	b.Run("instances="+strconv.Itoa(f.Instances), func(b *testing.B) {
		before := live()
		var s *pool.State
		for b.Loop() {
			s = folded(b, f)
		}
		b.ReportMetric(float64(live()-before)/float64(f.Instances), "live-B/instance")
		b.ReportMetric(float64(live()-before)/1e6, "live-MB")
		runtime.KeepAlive(s)
	})
}

// BenchmarkFold is a history as it is read back from a store, decoding included: the lives of 10,000 instances on
// 200 hosts, launched, made, seen running and deleted, one event per revision. An op is one event.
func BenchmarkFold(b *testing.B) {
	var events []pool.Event
	for batch := range (history.Fleet{Hosts: 200, Instances: 10_000, Alive: 500}).Batches() {
		events = append(events, batch.Events...)
	}
	for _, how := range []string{"direct", "overlay"} {
		b.Run(how, func(b *testing.B) {
			b.ReportAllocs()
			var s *pool.State
			for n := 0; b.Loop(); n++ {
				k := n % len(events)
				if k == 0 {
					s = pool.NewState()
				}
				o := s
				if how == "overlay" { // as the ring follows
					o = s.Overlay()
				}
				e := events[k]
				if err := o.Apply(&e); err != nil {
					b.Fatal(err)
				}
				if o != s {
					s.Absorb(o)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkFork is what it costs to go on with a State and keep it: an overlay for a decision, a clone, and a
// snapshot that is yet to be written, for which the committer waits.
func BenchmarkFork(b *testing.B) {
	f := past(b)
	s := withPast(b, f)
	var keep any
	for _, how := range []struct {
		name string
		fork func()
	}{
		{"overlay", func() { keep = s.Overlay() }},
		{"snapshot", func() { keep = s.Snapshot() }},
		{"clone", func() { keep = s.Clone() }},
	} {
		b.Run(how.name+"/instances="+strconv.Itoa(f.Instances), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				how.fork()
			}
		})
	}
	runtime.KeepAlive(keep)
}

// BenchmarkSnapshot writes and reads the snapshot of a fleet with a past.
func BenchmarkSnapshot(b *testing.B) {
	f := past(b)
	s := withPast(b, f)
	snapshot := snapshot(b, s)
	b.Run("write/instances="+strconv.Itoa(f.Instances), func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(snapshot)))
		for b.Loop() {
			if _, err := s.Snapshot().WriteTo(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(snapshot))/float64(f.Instances), "B/instance")
	})
	b.Run("read/instances="+strconv.Itoa(f.Instances), func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(snapshot)))
		for b.Loop() {
			if _, err := pool.ReadSnapshot(bytes.NewReader(snapshot)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
