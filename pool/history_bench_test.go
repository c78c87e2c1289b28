package pool_test

import (
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/history"
	"github.com/berthage/berthage/pool"
)

// pasts are the fleets whose histories are folded: BERTHAGE_INSTANCES launched, or 100,000; 500 are alive.
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

// BenchmarkTombstones is what the past of a fleet takes in memory: all instances but 500 have been deleted.
func BenchmarkTombstones(b *testing.B) {
	f := past(b)
	b.Run("instances="+strconv.Itoa(f.Instances), func(b *testing.B) {
		before := live()
		var s *pool.State
		for b.Loop() {
			s = folded(b, f)
		}
		b.ReportMetric(float64(live()-before)/float64(f.Instances), "live-B/instance")
		runtime.KeepAlive(s)
	})
}
