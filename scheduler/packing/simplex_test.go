package packing_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/scheduler/packing"
)

// A solution is optimal if it is feasible and costs what its dual values prove: that no cost is below the sum of
// rhs * price and, for columns whose reduced cost is negative, of their upper limits times that.
func TestSimplexIsOptimal(t *testing.T) {
	t.Parallel()
	flipped := 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(8, seed))
		rows, columns := 1+r.IntN(8), 1+r.IntN(20)
		cost, upper := make([]float64, columns), make([]float64, columns)
		a, rhs := make([][]float64, rows), make([]float64, rows)
		for i := range a {
			rhs[i] = float64(r.IntN(12)) // often nothing: degenerate
			a[i] = make([]float64, columns)
			for j := range a[i] {
				if r.IntN(3) > 0 {
					a[i][j] = float64(r.IntN(9) - 2)
				}
			}
		}
		for j := range cost {
			cost[j], upper[j] = float64(r.IntN(9)-6), float64(r.IntN(6))
		}
		x, price, ok := packing.Minimise(cost, upper, a, rhs)
		require.True(t, ok, "seed %d", seed)
		primal, dual := 0.0, 0.0
		for i := range rhs {
			sum := 0.0
			for j := range x {
				sum += a[i][j] * x[j]
			}
			require.LessOrEqual(t, sum, rhs[i]+1e-7, "seed %d: row %d", seed, i)
			require.LessOrEqual(t, price[i], 1e-9, "seed %d: row %d", seed, i)
			dual += price[i] * rhs[i]
		}
		for j := range x {
			require.GreaterOrEqual(t, x[j], -1e-7, "seed %d", seed)
			require.LessOrEqual(t, x[j], upper[j]+1e-7, "seed %d", seed)
			reduced := cost[j]
			for i := range rhs {
				reduced -= price[i] * a[i][j]
			}
			if primal += cost[j] * x[j]; reduced < 0 {
				dual += reduced * upper[j]
			}
			if x[j] == upper[j] && x[j] > 0 {
				flipped++
			}
		}
		require.InDelta(t, primal, dual, 1e-6*max(1, math.Abs(primal)), "seed %d", seed)
	}
	require.Positive(t, flipped)
}

// At the end of column generation the bound meets the program's value.
func TestBoundMeetsTheProgram(t *testing.T) {
	t.Parallel()
	for seed := range uint64(9) {
		p := large(seed, 5+int(seed), 2, 1+int(seed%3))
		var last packing.Progress
		res, err := packing.Plan(t.Context(), p, packing.Options{Tight: true, Progress: func(g packing.Progress) {
			if g.LP > 0 {
				last = g
			}
		}})
		require.NoError(t, err)
		require.NoError(t, packing.Verify(t.Context(), p, res))
		require.InEpsilon(t, last.LP, res.Certificate.Value(), 1e-7, "seed %d", seed)
		require.LessOrEqual(t, res.Certificate.Value(), last.LP*(1+1e-9), "seed %d", seed)
	}
}
