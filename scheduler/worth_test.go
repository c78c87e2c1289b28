package scheduler_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
)

// Prices are those of a plan that packs what the pool holds into as many hosts as it likes.
func ExampleWorth() {
	st := pool.NewState() // the Manager's, in a program
	p := packing.FromBooks(st)
	p.Hosts = append(p.Hosts, packing.HostKind{Name: "host", Capacity: pool.Resources{pool.CPU: 64 * pool.Core, pool.Memory: 128 * pool.GiB}})
	p.Items = append(p.Items,
		packing.Item{Name: "small", Resources: pool.Resources{pool.CPU: 1 * pool.Core, pool.Memory: 1792 * pool.MiB}, Count: 19_000},
		packing.Item{Name: "memory", Resources: pool.Resources{pool.CPU: 8 * pool.Core, pool.Memory: 56 * pool.GiB}, Count: 200})
	for i := range p.Hosts {
		p.Hosts[i].Count = 0 // without limit
	}
	r, err := packing.Plan(context.Background(), p, packing.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	var sizes []scheduler.Priced
	for i := range p.Items {
		price := float64(r.Certificate.Prices[i]) / float64(r.Certificate.Scale)
		fmt.Printf("%s: %.3f of a host\n", p.Items[i].Name, price)
		sizes = append(sizes, scheduler.Priced{Resources: p.Items[i].Resources, Price: price})
	}
	s := scheduler.Scheduler{Worth: new(scheduler.Worth)} // of Config.Scheduler
	fmt.Println(s.Worth.Set(p.Hosts[0].Capacity, sizes))
	// Output:
	// small: 0.016 of a host
	// memory: 0.359 of a host
	// <nil>
}

// randomWorth makes one for sizes about as large as what is asked for.
func randomWorth(t testing.TB, r *rand.Rand, need []int64, capacity [][]int64) *scheduler.Worth {
	most := pool.Resources{pool.CPU: 1, pool.Memory: 1}
	about := []int64{1, 1}
	for k := range min(2, len(need)) {
		about[k] = need[k]
		for _, n := range capacity[k] {
			c := []pool.Class{pool.CPU, pool.Memory}[k]
			most[c] = max(most[c], n)
		}
	}
	var sizes []scheduler.Priced
	for range 1 + r.IntN(4) {
		sizes = append(sizes, scheduler.Priced{
			Resources: pool.Resources{pool.CPU: 1 + r.Int64N(about[0]), pool.Memory: 1 + r.Int64N(about[1])}, Price: r.Float64(),
		})
	}
	w := new(scheduler.Worth)
	require.NoError(t, w.Set(most, sizes))
	return w
}

// setWorth changes what room is good for, of the sizes that are asked for.
func (w *world) setWorth() {
	most := pool.Resources{pool.CPU: 1, pool.Memory: 1}
	for h := range w.state.Hosts() {
		for c := range most {
			most[c] = max(most[c], h.Capacity[c])
		}
	}
	var sizes []scheduler.Priced
	for range w.r.IntN(4) {
		sizes = append(sizes, scheduler.Priced{Resources: w.request().Spec.Resources, Price: w.r.Float64()})
	}
	require.NoError(w.t, w.worth.Set(most, sizes))
}

// most is the knapsack by trying every set.
func most(cpu, memory int64, sizes []scheduler.Priced) float64 {
	if len(sizes) == 0 {
		return 0
	}
	s := sizes[0]
	best := most(cpu, memory, sizes[1:])
	if c, m := cpu-s.Resources[pool.CPU], memory-s.Resources[pool.Memory]; c >= 0 && m >= 0 {
		best = max(best, s.Price+most(c, m, sizes))
	}
	return best
}

// Scores of random hosts, of equal and of different capacity, in use or not, are what the documentation says.
func TestWorthByTheDefinition(t *testing.T) {
	t.Parallel()
	lost, begun := 0, 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 31))
		books := newBooks(t)
		used := map[pool.Class]int64{}
		capacity := map[pool.Class]int64{}
		for i := range 1 + r.IntN(6) {
			h := host(fmt.Sprintf("h%d", i), 4+r.Int64N(5), 8+r.Int64N(5))
			books.fold(pool.KindHostPut, &pool.HostPut{Host: h})
			if r.IntN(3) == 0 {
				continue
			}
			req := want(1+r.Int64N(2), 1+r.Int64N(6))
			books.book(req, scheduler.Decision{Host: h.ID, Allocation: pool.Allocation{Resources: req.Spec.Resources}})
			for _, c := range []pool.Class{pool.CPU, pool.Memory} {
				used[c] += req.Spec.Resources[c]
				capacity[c] += h.Capacity()[c]
			}
		}
		var sizes []scheduler.Priced
		for range 1 + r.IntN(3) {
			req := want(1+r.Int64N(3), 1+r.Int64N(7))
			sizes = append(sizes, scheduler.Priced{Resources: req.Spec.Resources, Price: float64(r.IntN(9)) / 8})
		}
		s := scheduler.Scheduler{Worth: new(scheduler.Worth)}
		require.NoError(t, s.Worth.Set(pool.Resources{pool.CPU: 8 * pool.Core, pool.Memory: 12 * pool.GiB}, sizes))

		req := want(1+r.Int64N(2), 1+r.Int64N(3))
		cores, bytes := req.Spec.Resources[pool.CPU], req.Spec.Resources[pool.Memory]
		free := func(c pool.Class) float64 {
			if capacity[c] == 0 {
				return 1
			}
			return 1 - float64(used[c])/float64(capacity[c])
		}
		weightC, weightM := 1/free(pool.CPU), 1/free(pool.Memory)
		weightC, weightM = weightC/(weightC+weightM), weightM/(weightC+weightM)
		ratio := 1.0
		if used[pool.CPU] > 0 {
			ratio = (1 - free(pool.Memory)) / (1 - free(pool.CPU))
		}
		e, err := s.Explain(books.state, req)
		require.NoError(t, err)
		best := math.Inf(1)
		for _, v := range e.Hosts {
			h, ok := books.state.Host(v.Host)
			require.True(t, ok)
			if v.Reason != nil {
				continue
			}
			c, m := h.Capacity[pool.CPU]-h.Used[pool.CPU], h.Capacity[pool.Memory]-h.Used[pool.Memory]
			part := func(class pool.Class, n int64) float64 { return float64(n) / float64(h.Capacity[class]) }
			imbalance := func(c, m int64) float64 {
				return math.Abs(part(pool.Memory, m)-ratio*part(pool.CPU, c)) / max(1, ratio)
			}
			loss := most(c, m, sizes) - most(c-cores, m-bytes, sizes)
			cost := loss + (weightC*part(pool.CPU, c-cores)+weightM*part(pool.Memory, m-bytes)+imbalance(c-cores, m-bytes)-imbalance(c, m))/2
			require.InDelta(t, 1+(2-2*cost)/3, v.Score, 1e-9, "seed %d, host %s", seed, v.Host)
			if loss > 0 {
				lost++
			}
			best = min(best, cost)
		}
		if d, err := s.Place(books.state, req); err == nil {
			h, _ := books.state.Host(d.Host)
			if h.Placed == 0 && len(used) > 0 {
				begun++
			}
			require.InDelta(t, 1+(2-2*best)/3, d.Score, 1e-9)
		}
	}
	require.Greater(t, lost, 300)
	require.Greater(t, begun, 10, "an empty host was begun although there were others")
}

// A VM with much memory does not go beside its like, where best fit has it and where 48 cores would be left with memory for nine of
// the others.
func TestWorthKeepsRoomUseful(t *testing.T) {
	t.Parallel()
	books := newBooks(t)
	for _, n := range []string{"large", "small"} {
		books.fold(pool.KindHostPut, &pool.HostPut{Host: host(n, 64, 128)})
	}
	large, small := want(8, 56), want(1, 0)
	small.Spec.Resources[pool.Memory] = 1792 * pool.MiB
	books.book(large, scheduler.Decision{Host: "d/large", Allocation: pool.Allocation{Resources: large.Spec.Resources}})
	for range 15 {
		books.book(small, scheduler.Decision{Host: "d/small", Allocation: pool.Allocation{Resources: small.Spec.Resources}})
	}
	var s scheduler.Scheduler
	places := func(req scheduler.Request) pool.HostID {
		d, err := s.Place(books.state, req)
		require.NoError(t, err)
		return d.Host
	}
	require.Equal(t, pool.HostID("d/large"), places(large))
	s.Worth = new(scheduler.Worth)
	require.Equal(t, pool.HostID("d/large"), places(large), "nothing is known yet")

	// Sixty-four small ones fill a host, or 41 with a large one.
	whole := pool.Resources{pool.CPU: 64 * pool.Core, pool.Memory: 128 * pool.GiB}
	require.NoError(t, s.Worth.Set(whole, []scheduler.Priced{{Resources: small.Spec.Resources, Price: 1. / 64}, {Resources: large.Spec.Resources, Price: 23. / 64}}))
	require.Equal(t, pool.HostID("d/small"), places(large))

	require.NoError(t, s.Worth.Set(whole, nil))
	require.Equal(t, pool.HostID("d/large"), places(large), "nothing is known any more")
}

// Amounts without a common measure, or as large as can be, are rounded so that room never counts for more than it is, nor for less than
// smaller room; those with one are not rounded.
func TestWorthOfOddSizes(t *testing.T) {
	t.Parallel()
	exact, rounded := 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 41))
		units := [][2]int64{{1000, 1 << 30}, {1, 1}, {1 << 58, 1 << 58}}[r.IntN(3)]
		odd := units[0] == 1
		amount := func(k int, most int64) int64 { // of 20 in all
			if odd {
				return 1 + r.Int64N(most<<40)
			}
			return units[k] * r.Int64N(1+most)
		}
		whole := pool.Resources{pool.CPU: 20 * units[0], pool.Memory: 20 * units[1]}
		if odd {
			whole = pool.Resources{pool.CPU: 20<<40 + 1, pool.Memory: 20<<40 + 3}
		}
		var sizes []scheduler.Priced
		for range 3 {
			size := pool.Resources{pool.CPU: 5*units[0] + amount(0, 6), pool.Memory: 5*units[1] + amount(1, 6)}
			sizes = append(sizes, scheduler.Priced{Resources: size, Price: float64(r.IntN(9)) / 8})
		}
		var w scheduler.Worth
		require.NoError(t, w.Set(whole, sizes))
		for range 20 {
			cpu, memory := amount(0, 20), amount(1, 20)
			if s := sizes[r.IntN(3)].Resources; r.IntN(2) == 0 { // just not enough, or just enough
				cpu, memory = s[pool.CPU]-r.Int64N(2), s[pool.Memory]
			}
			got, want := w.Of(cpu, memory), most(cpu, memory, sizes)
			require.LessOrEqual(t, got, want, "seed %d", seed)
			require.GreaterOrEqual(t, got, w.Of(cpu/2, memory-memory/3), "seed %d", seed)
			if odd {
				rounded++
				continue
			}
			exact++
			require.Equal(t, want, got, "seed %d", seed)
		}
	}
	require.Greater(t, min(exact, rounded), 1000)
}

func TestWorthRefuses(t *testing.T) {
	t.Parallel()
	whole, size := pool.Resources{pool.CPU: 8 * pool.Core, pool.Memory: 16 * pool.GiB}, want(1, 2).Spec.Resources
	for _, c := range []struct {
		name, field string
		host        pool.Resources
		sizes       []scheduler.Priced
	}{
		{"a price below zero", "sizes[1].price", whole, []scheduler.Priced{{size, 0}, {size, -0.1}}},
		{"a price above one", "sizes[0].price", whole, []scheduler.Priced{{size, 1.01}}},
		{"no price", "sizes[0].price", whole, []scheduler.Priced{{size, math.NaN()}}},
		{"an amount below zero", `sizes[0].resources.cpu`, whole, []scheduler.Priced{{pool.Resources{pool.CPU: -1}, 1}}},
		{"no memory", "host", pool.Resources{pool.CPU: 1}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var w scheduler.Worth
			err := w.Set(c.host, c.sizes)
			require.ErrorIs(t, err, pool.ErrInvalid)
			var e *pool.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.field, e.Field)
		})
	}
}

// What room is worth costs no allocation.
func TestWarmIndexWithWorthAllocatesNothing(t *testing.T) {
	c := newChurn(t, scheduler.Scheduler{Worth: benchWorth(t)}, 500)
	for range 5000 {
		c.turn(t)
	}
	require.Zero(t, testing.AllocsPerRun(500, func() { c.turn(t) }))
}
