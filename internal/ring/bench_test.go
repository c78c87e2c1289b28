package ring_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/history"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// BenchmarkPlan is one round of the leader's planning. At rest nothing is due, whatever the size of the fleet;
// under work a number of instances are: each is looked up, planned for, and waits for a call on its host.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{300, 10_000} {
		f := history.Fleet{Hosts: 200, Instances: n, Alive: n}
		l := pool.NewMemoryLedger()
		_, err := f.Into(context.Background(), l)
		require.NoError(b, err)
		r, err := ring.Open(context.Background(), ring.Config{Ledger: l, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(b, err)
		p := r.Planner()
		var ids []pool.InstanceID
		for k := range n {
			ids = append(ids, history.ID(k))
		}
		b.Run(fmt.Sprintf("rest/instances=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p.Round() != 0 {
					b.Fatal("nothing was due")
				}
			}
		})
		require.NoError(b, r.Halt(context.Background(), ids))
		for _, due := range []int{1, 100, n} {
			b.Run(fmt.Sprintf("work/instances=%d/due=%d", n, due), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Due(ids[:due])
					if w := p.Round(); w != due {
						b.Fatalf("%d of %d wait", w, due)
					}
				}
			})
		}
		r.Close()
	}
}
