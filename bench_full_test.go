package berthage_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// BenchmarkFull fills a pool of 10,000 hosts, all instances being kept: BERTHAGE_INSTANCES, or 20,000. An op is a launch
// on the memory ledger, 256 callers at once. It reports launches per second and what the Manager keeps in memory for each
// instance, the ledger's own memory not counted, which a ledger on disk does not need.
func BenchmarkFull(b *testing.B) {
	want := 20_000
	if s := os.Getenv("BERTHAGE_INSTANCES"); s != "" {
		var err error
		want, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	hosts := fake.Fleet("sim", 10_000, 1)
	for i := range hosts { // alike, each with room for 128 instances
		hosts[i].Inventory = map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 128 * pool.Core}, pool.Memory: {Total: 512 * pool.GiB}, pool.Standard.IOPSClass(): {Total: 8_000},
		}
		hosts[i].Devices = []pool.Device{
			{ID: "disks-1", Class: pool.Standard.Class(), Inventory: pool.Inventory{Total: 4 * pool.TiB}},
			{ID: "disks-2", Class: pool.Standard.Class(), Inventory: pool.Inventory{Total: 4 * pool.TiB}},
		}
		var err error
		hosts[i], err = hosts[i].Normalize()
		require.NoError(b, err)
	}
	b.Run(fmt.Sprintf("hosts=10000/instances=%d", want), func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() { // the whole is one op of the benchmark
			b.StopTimer()
			m, ledger := fleetOf(b, hosts)
			b.StartTimer()
			var next atomic.Int64
			var refused atomic.Pointer[error]
			var callers sync.WaitGroup
			for range 256 {
				callers.Go(func() {
					for n := next.Add(1); n <= int64(want); n = next.Add(1) {
						name := "vm-" + strconv.FormatInt(n, 10)
						if _, err := m.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()}); err != nil {
							refused.Store(&err)
						}
					}
				})
			}
			callers.Wait()
			b.StopTimer()
			if err := refused.Load(); err != nil {
				b.Fatal(*err)
			}
			with := live()
			m.Close()
			m = nil
			b.ReportMetric(float64(with-live())/float64(want), "live-B/instance")
			runtime.KeepAlive(ledger)
			b.StartTimer()
		}
		b.ReportMetric(float64(want)*float64(b.N)/b.Elapsed().Seconds(), "launches/s")
	})
}

// live returns the bytes of the heap that are in use.
func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
