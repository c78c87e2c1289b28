package packing_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/scheduler/packing"
)

// filling is a random knapsack of one to five classes. Units are large in some classes, so that keys take
// several words, and capacities do not divide by them.
func filling(r *rand.Rand) (need [][]int64, count, value, capacity []int64) {
	classes := 1 + r.IntN(5)
	unit := make([]int64, classes)
	for c := range unit {
		unit[c] = []int64{1, 1, 1000, 1<<40 - 1}[r.IntN(4)]
		capacity = append(capacity, r.Int64N(14)*unit[c]+r.Int64N(unit[c]))
	}
	for range 1 + r.IntN(5) {
		var n []int64
		for c := range unit {
			n = append(n, r.Int64N(7)*unit[c])
		}
		need = append(need, n)
		count = append(count, r.Int64N(5))
		value = append(value, r.Int64N(1<<40)>>r.IntN(41))
	}
	return need, count, value, capacity
}

// most is the value of the best filling, by trying all.
func most(need [][]int64, count, value, room []int64) int64 {
	if len(need) == 0 {
		return 0
	}
	best := int64(0)
	room = append([]int64(nil), room...)
	for n := int64(0); n <= count[0]; n++ {
		best = max(best, n*value[0]+most(need[1:], count[1:], value[1:], room))
		for c := range room {
			if room[c] -= need[0][c]; room[c] < 0 {
				return best
			}
		}
	}
	return best
}

func TestKnapsackAgainstBruteForce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6000) {
		r := rand.New(rand.NewPCG(3, seed))
		need, count, value, capacity := filling(r)
		want := most(need, count, value, capacity)
		floor := int64(0)
		if r.IntN(2) == 0 {
			floor = max(0, want+r.Int64N(3)-1)
		}
		for _, width := range []int{1 << 20, 1 + r.IntN(4)} {
			best, copies, bound := packing.Fill(need, count, value, capacity, floor, width)
			sum := int64(0)
			for i, n := range copies {
				require.LessOrEqual(t, n, count[i], "seed %d", seed)
				sum += n * value[i]
			}
			for c, room := range capacity {
				for i, n := range copies {
					room -= n * need[i][c]
				}
				require.GreaterOrEqual(t, room, int64(0), "seed %d: class %d is overfull", seed, c)
			}
			require.Equal(t, best, sum, "seed %d", seed)
			require.GreaterOrEqual(t, bound, max(want, floor), "seed %d: the bound is below what is possible", seed)
			if width < 1000 {
				continue // states were dropped: the best may have been among them
			}
			require.Equal(t, max(want, floor), bound, "seed %d", seed)
			if want > floor {
				require.Equal(t, want, best, "seed %d", seed)
			}
		}
	}
}
