package scheduler_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// BenchmarkPlaceGPU is a placement of shares of GPUs, whole ones or none, and the release of the one that has stood
// longest, on hosts of three kinds that are filled until requests are refused: by best fit, and by FGD.
func BenchmarkPlaceGPU(b *testing.B) {
	for _, strategy := range []scheduler.Strategy{scheduler.BestFit, scheduler.FGD} {
		for _, n := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%s/hosts=%d", strategy, n), func(b *testing.B) {
				c := newGPUChurn(b, strategy, n)
				for range 20 * n {
					c.turn(b)
				}
				considered, turns := c.considered, c.turns
				b.ReportAllocs()
				for b.Loop() {
					c.turn(b)
				}
				b.ReportMetric(float64(c.considered-considered)/float64(c.turns-turns), "looked-at/op")
			})
		}
	}
}

func newGPUChurn(b testing.TB, strategy scheduler.Strategy, hosts int) *churn {
	b.Helper()
	ix := scheduler.NewIndex(pool.NewState())
	for i := range hosts {
		h := []pool.Host{gpuHost("", 96, 384, 8), gpuHost("", 64, 512, 2), gpuHost("", 32, 128, 4)}[i%3]
		h.ID = pool.NewHostID("d", fmt.Sprintf("h%06d", i))
		h, err := h.Normalize()
		if err != nil {
			b.Fatal(err)
		}
		ix.Update(&pool.HostRecord{Host: h, Capacity: h.Capacity()})
	}
	c := &churn{ix: ix, alive: make([]scheduler.Decision, 6*hosts)}
	s := &scheduler.Scheduler{Strategy: strategy}
	for i := range int64(24) {
		share := []int64{1000, 1000, 500, 300, 700, 2000, 0, 4000}[i%8]
		a, err := s.Ask(wantGPU(2+i%3*4, 8+i%5*8, share))
		if err != nil {
			b.Fatal(err)
		}
		c.asks = append(c.asks, a)
	}
	return c
}

// A warm index places by FGD without allocating anything.
func TestWarmFGDAllocatesNothing(t *testing.T) {
	c := newGPUChurn(t, scheduler.FGD, 60)
	for range 3000 {
		c.turn(t)
	}
	require.Zero(t, testing.AllocsPerRun(500, func() { c.turn(t) }))
}
