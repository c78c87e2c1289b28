package ledgers_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/stretchr/testify/require"
)

// engines are the ledgers that are compared. Servers are compared if there are any; see servers.sh.
func engines() map[string]func(b *testing.B) pool.Ledger {
	all := map[string]func(b *testing.B) pool.Ledger{
		"memory": func(*testing.B) pool.Ledger { return pool.NewMemoryLedger() },
	}
	for _, e := range sqlEngines() {
		all[strings.ToLower(e.name)] = func(b *testing.B) pool.Ledger {
			s, _ := e.store(b).ledger(b)
			return s
		}
	}
	return all
}

// batchOf returns n events of the size of a launch, every fifth with a private part.
func batchOf(n, number int) []pool.Event {
	batch := make([]pool.Event, n)
	for i := range batch {
		e := pool.Event{
			ID: "e" + strconv.Itoa(number) + "." + strconv.Itoa(i), Time: time.Unix(1_790_000_000, 0), Actor: "berthage", Kind: "instance.launched", Version: 1,
			Data: make([]byte, 400),
		}
		if i%5 == 0 {
			e.Subject, e.Private, e.Salt = "i"+strconv.Itoa(number), make([]byte, 200), make([]byte, 16)
			e.Seal()
		}
		batch[i] = e
	}
	return batch
}

func BenchmarkAppend(b *testing.B) {
	for name, open := range engines() {
		for _, n := range []int{1, 30} {
			b.Run(name+"/events="+strconv.Itoa(n), func(b *testing.B) {
				l := open(b)
				b.ReportAllocs()
				prev := pool.Revision(0)
				for b.Loop() {
					b.StopTimer()
					batch := batchOf(n, int(prev))
					b.StartTimer()
					var err error
					if prev, err = l.Append(context.Background(), prev, batch...); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	const batches = 10_000
	for name, open := range engines() {
		b.Run(name+"/batches="+strconv.Itoa(batches), func(b *testing.B) {
			l := open(b)
			for i := range pool.Revision(batches) {
				_, err := l.Append(context.Background(), i, batchOf(1, int(i))...)
				require.NoError(b, err)
			}
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range l.Read(context.Background(), 0) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				require.Equal(b, batches, n)
			}
		})
	}
}

func BenchmarkCompact(b *testing.B) {
	for name, open := range engines() {
		b.Run(name+"/snapshot=64MiB", func(b *testing.B) {
			l := open(b)
			snapshot := make([]byte, 64<<20)
			b.ReportAllocs()
			prev := pool.Revision(0)
			for b.Loop() {
				b.StopTimer()
				var err error
				prev, err = l.Append(context.Background(), prev, batchOf(1, int(prev))...)
				require.NoError(b, err)
				b.StartTimer()
				require.NoError(b, l.Compact(context.Background(), prev, snapshot))
			}
		})
	}
}

// BenchmarkVerify measures reading with its checks, and what of it is the price of the hashes: leaf, private
// part and tree.
func BenchmarkVerify(b *testing.B) {
	const batches, events = 1000, 30
	b.Run("hashes", func(b *testing.B) {
		all := batchOf(events, 0)
		b.ReportAllocs()
		for b.Loop() {
			for i := range all {
				_ = all[i].Leaf()
				all[i].Seal()
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*events), "ns/event")
	})
	for _, e := range sqlEngines() {
		b.Run(strings.ToLower(e.name), func(b *testing.B) {
			s, _ := e.store(b).ledger(b)
			for i := range pool.Revision(batches) {
				_, err := s.Append(context.Background(), i, batchOf(events, int(i))...)
				require.NoError(b, err)
			}
			b.ReportAllocs()
			for b.Loop() {
				tree, err := s.Verify(context.Background(), 0)
				require.NoError(b, err)
				require.EqualValues(b, batches*events, tree.Size)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batches*events), "ns/event")
		})
	}
}
