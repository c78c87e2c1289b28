package scheduler

import (
	"cmp"
	"iter"
	"math"
	"math/bits"
	"slices"

	"github.com/berthage/berthage/pool"
)

// workload is what is asked for of GPUs: the sizes of the allocations on the hosts that take any, with how often each
// is there. What comes next is taken to be like that.
//
// Weights are counts rounded down to powers of two, so that they mostly stay the same while the pool changes, and what
// was worked out with them stays true; and only the most frequent sizes count.
type workload struct {
	sizes []weighed // the most frequent first, then in the order of pool.GPULoad.Compare
	trust float64   // what a GPU whose use is lost counts in a score: see less
}

// weighed is one size.
type weighed struct {
	pool.GPULoad         // without Count
	weight       float64 // its part of all, by the thousandths of a GPU
	amount       float64 // of GPUs, in thousandths
	whole        int     // devices of which it takes all
	rest         int64   // thousandths of one further device
	perCPU       float64 // thousandths of GPUs that go with a millicore; 0: it takes no cores
	perByte      float64 // of memory
}

// mostSizes is how many sizes count.
const mostSizes = 64

// roundCount rounds a count down to a power of two.
func roundCount(n int) int { return 1 << bits.Len(uint(max(n, 0))) >> 1 }

func weigh(size pool.GPULoad, count int) weighed {
	w := weighed{GPULoad: size.Size(), weight: float64(roundCount(count))}
	w.amount = float64(size.GPU)*wholeGPU + float64(size.GPUShare)
	w.whole, w.rest = int(min(size.GPUShare/wholeGPU, mostGPUs)), size.GPUShare%wholeGPU
	if size.CPU > 0 {
		w.perCPU = w.amount / float64(size.CPU)
	}
	if size.Memory > 0 {
		w.perByte = w.amount / float64(size.Memory)
	}
	return w
}

// set makes the workload that of those counts, in any order, and reports whether it is another than before.
func (w *workload) set(counts iter.Seq2[pool.GPULoad, int]) bool {
	before := len(w.sizes)
	all := w.sizes // behind the present ones, which they are compared with
	for size, n := range counts {
		all = append(all, weigh(size, n))
	}
	now := all[before:]
	slices.SortFunc(now, func(a, b weighed) int { return cmp.Or(cmp.Compare(b.weight, a.weight), a.Compare(b.GPULoad)) })
	now = now[:min(len(now), mostSizes)]
	total := 0.0
	for i := range now {
		total += now[i].weight
	}
	for i := range now {
		now[i].weight /= total * wholeGPU
	}
	w.trust = 2 * math.Sqrt(total)
	changed := !slices.Equal(all[:before], now)
	w.sizes = all[:copy(all, now)]
	return changed
}

// workloadOf returns the workload of hosts.
func workloadOf(hosts iter.Seq[*pool.HostRecord]) *workload {
	counts := make(map[pool.GPULoad]int)
	for h := range hosts {
		for _, l := range h.GPULoads {
			counts[l.Size()] += l.Count
		}
	}
	w := new(workload)
	w.set(func(yield func(pool.GPULoad, int) bool) {
		for size, n := range counts {
			if !yield(size, n) {
				return
			}
		}
	})
	return w
}

// gpuRoom is what a host has free of what GPU workloads take.
type gpuRoom struct {
	cpu, memory int64
	units       int64   // devices of class GPU
	share       int64   // of class GPUShare
	devices     bool    // of that class are there; if not, share is all that is known
	rooms       []int64 // of each of them
}

// usable returns how much of the free GPUs of a host, in thousandths, could be taken by allocations of one size: none
// if not even one has room; else what is free on those devices that have room for its part of one, but no more
// than goes with the free cores and memory in the proportions in which it takes them.
func (r *gpuRoom) usable(w *weighed) float64 {
	if w.CPU > r.cpu || w.Memory > r.memory || w.GPU > r.units {
		return 0
	}
	free := 0.0
	if w.GPU > 0 {
		free = float64(float64(r.units) * wholeGPU)
	}
	switch {
	case w.GPUShare == 0:
	case !r.devices:
		if w.GPUShare > r.share {
			return 0
		}
		free += float64(r.share)
	default:
		least := int64(wholeGPU)
		if w.rest > 0 {
			least = w.rest
		}
		whole, some := 0, 0
		for _, room := range r.rooms {
			if room < least {
				continue
			}
			free += float64(room)
			some++
			if room >= wholeGPU {
				whole++
			}
		}
		if whole < w.whole || w.rest > 0 && some <= w.whole {
			return 0
		}
	}
	if w.perCPU > 0 {
		free = min(free, float64(r.cpu)*w.perCPU)
	}
	if w.perByte > 0 {
		free = min(free, float64(r.memory)*w.perByte)
	}
	return free
}
