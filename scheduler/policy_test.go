package scheduler_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// randomBox makes needs and up to 64 hosts, alike or not, of small numbers, of the sizes of real hosts, or of numbers
// beyond those that a float64 has exactly.
func randomBox(r *rand.Rand) (classes []pool.Class, need []int64, free, capacity [][]int64, used []bool) {
	classes = []pool.Class{pool.CPU, pool.Memory, pool.StorageSSD}[r.IntN(2) : 1+r.IntN(3)]
	if len(classes) == 0 {
		classes = []pool.Class{pool.CPU, pool.Memory}
	}
	most := []int64{8, 64_000, 1 << 40, 1 << 61}[r.IntN(4)]
	n := 1 + r.IntN(64)
	alike := r.IntN(3) == 0
	used = make([]bool, n)
	for i := range used {
		used[i] = r.IntN(3) > 0
	}
	for range classes {
		need = append(need, 1+r.Int64N(1+most/4))
		f, c := make([]int64, n), make([]int64, n)
		size := 1 + r.Int64N(most)
		for i := range n {
			if !alike {
				size = 1 + r.Int64N(most)
			}
			c[i], f[i] = size, size-r.Int64N(size+size/8+1) // below zero where it has shrunk
			if r.IntN(4) == 0 {
				f[i] = size
			}
		}
		free, capacity = append(free, f), append(capacity, c)
	}
	return classes, need, free, capacity, used
}

// The bound of a box is no less than the score of any host in it, to the last bit; one that says "below enough" is right;
// and no host whose score is enough has a sum that is out of reach.
func TestBoundsHold(t *testing.T) {
	t.Parallel()
	fitting := 0
	for seed := range uint64(20_000 * rounds(t)) {
		r := rand.New(rand.NewPCG(seed, 21))
		checkBound(t, r, &fitting)
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
	require.Greater(t, fitting, 100_000, "hosts with room")
}

func checkBound(t *testing.T, r *rand.Rand, fitting *int) {
	classes, need, free, capacity, used := randomBox(r)
	sums := map[pool.Class][2]int64{}
	for _, c := range []pool.Class{pool.CPU, pool.Memory, pool.StorageSSD} {
		sums[c] = [2]int64{r.Int64N(1000), 1 + r.Int64N(1000)}
	}
	total := func(c pool.Class) (int64, int64) { return sums[c][0], sums[c][1] }
	strategy := scheduler.Strategy(r.IntN(3))
	var req scheduler.Request
	var ends []time.Time
	if r.IntN(2) == 0 {
		req.Now, req.Lives = randomLives(r)
		for range used {
			_, end := randomLife(r)
			ends = append(ends, end)
		}
	}
	var worth *scheduler.Worth
	least := 0.0
	if r.IntN(3) == 0 {
		worth, strategy, least = randomWorth(t, r, need, capacity), scheduler.Default, math.Inf(-1)
	}
	j := scheduler.Judge(strategy, classes, need, free, capacity, used, total, (r.Float64()-0.5)/30, req, ends, worth)
	for i, score := range j.Scores {
		*fitting++
		require.GreaterOrEqual(t, j.Plain, score, "%s", strategy)
		require.GreaterOrEqual(t, j.Summed, score, "%s", strategy)
		require.True(t, score >= least && score <= 2, "%s: %v", strategy, score)
		for _, enough := range []float64{score, j.Scores[0], r.Float64() * 2} {
			bound, lo, hi := j.Enough(enough)
			if bound < enough {
				require.Less(t, score, enough)
			}
			if score >= enough {
				require.True(t, j.Sums[i] >= lo && j.Sums[i] <= hi, "%s: the sum %v is not within %v and %v", strategy, j.Sums[i], lo, hi)
			}
		}
	}
}

// FuzzBound is TestBoundsHold with boxes that the fuzzer looks for.
func FuzzBound(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		n := 0
		checkBound(t, rand.New(rand.NewPCG(a, b)), &n)
	})
}
