package fleet_test

import (
	"context"
	"database/sql"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/internal/history"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
)

// whole is a ledger as if it had never been compacted: what was is read from the archive.
type whole struct{ pool.Ledger }

func (l whole) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return l.Archive(ctx, after)
}

// inUse returns the bytes of the heap that are in use.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkOpen is the time until a Manager is ready, and what it then holds in memory: from the whole history and
// from a checkpoint, of a fleet of 200 hosts on which BERTHAGE_INSTANCES, or 100,000, were launched, of which 500
// are alive. A revision has 100 events. The store's own memory does not count.
func BenchmarkOpen(b *testing.B) {
	n := 100_000
	if s := os.Getenv("BERTHAGE_INSTANCES"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	f := history.Fleet{Hosts: 200, Instances: n, Alive: min(500, n), Batch: 100}
	drivers := map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}
	for _, store := range []string{"memory", "sqlite"} {
		b.Run("store="+store, func(b *testing.B) {
			var l pool.Ledger = pool.NewMemoryLedger()
			if store == "sqlite" {
				db, err := sql.Open("sqlite", filepath.Join(b.TempDir(), "ledger.db"))
				require.NoError(b, err)
				b.Cleanup(func() { require.NoError(b, db.Close()) })
				l, err = sqlledger.Open(b.Context(), db, sqlledger.SQLite())
				require.NoError(b, err)
			}
			_, err := f.Into(b.Context(), l)
			require.NoError(b, err)
			m, err := berthage.Open(b.Context(), berthage.Config{Drivers: drivers, Ledger: l})
			require.NoError(b, err)
			start := time.Now()
			c, err := m.Compact(b.Context())
			require.NoError(b, err)
			b.Logf("%d instances: compacted %d batches in %v, a snapshot of %d bytes", n, c.Batches, time.Since(start), c.Bytes)
			m = nil
			for _, from := range []struct {
				name   string
				ledger pool.Ledger
			}{{"history", whole{l}}, {"checkpoint", l}} {
				b.Run("from="+from.name+"/instances="+strconv.Itoa(n), func(b *testing.B) {
					b.ReportAllocs()
					before := inUse()
					for b.Loop() {
						m, err = berthage.Open(b.Context(), berthage.Config{Drivers: drivers, Ledger: from.ledger, Ephemeral: true})
						if err != nil {
							b.Fatal(err)
						}
					}
					b.ReportMetric(float64(inUse()-before)/1e6, "live-MB")
					require.EqualValues(b, c.Revision, m.Status().Revision)
					runtime.KeepAlive(m)
					m = nil
				})
			}
			runtime.KeepAlive(l)
		})
	}
}
