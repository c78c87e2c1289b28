package scheduler

import (
	"iter"
	"math"

	"github.com/berthage/berthage/pool"
)

// gpuBook is what an index keeps for FGD: what is on the hosts with GPUs, and what requests would lose there, as long
// as neither the host nor the workload has changed since it was worked out.
type gpuBook struct {
	hosts  []gpuHost // by number
	vacant []int32
	counts map[pool.GPULoad]int
	work   workload
	stale  bool // the workload is not that of counts
	known  []losses
	asked  uint64 // requests so far
	each   iter.Seq2[pool.GPULoad, int]
}

type gpuHost struct{ loads []pool.GPULoad }

// losses are those of requests of one size.
type losses struct {
	size  pool.GPULoad
	of    []float64 // by number of the host; not a number where nothing is known, below zero where it is at least that much
	asked uint64    // when it was last
}

// mostLosses is for how many sizes of request losses are kept. Of others they are worked out each time.
const mostLosses = 128

// has reports whether a host has anything to do with GPUs.
func hasGPUs(h *pool.HostRecord) bool {
	for i := range h.Devices {
		if c := h.Devices[i].Class; c == pool.GPU || c == pool.GPUShare {
			return true
		}
	}
	return h.Capacity[pool.GPU] > 0 || h.Capacity[pool.GPUShare] > 0 || len(h.GPULoads) > 0
}

// put makes the book have what the record of a host says.
func (g *gpuBook) put(e *entry) {
	if !hasGPUs(e.rec) {
		g.drop(e)
		return
	}
	if e.gpu == 0 {
		e.gpu = g.number()
	}
	h := &g.hosts[e.gpu-1]
	g.add(h.loads, -1)
	h.loads = append(h.loads[:0], e.rec.GPULoads...)
	g.add(h.loads, 1)
}

// drop takes a host out.
func (g *gpuBook) drop(e *entry) {
	if e.gpu == 0 {
		return
	}
	g.forget(e)
	h := &g.hosts[e.gpu-1]
	g.add(h.loads, -1)
	h.loads = h.loads[:0]
	g.vacant = append(g.vacant, e.gpu)
	e.gpu = 0
}

func (g *gpuBook) number() int32 {
	if n := len(g.vacant); n > 0 {
		last := g.vacant[n-1]
		g.vacant = g.vacant[:n-1]
		return last
	}
	g.hosts = append(g.hosts, gpuHost{})
	for i := range g.known {
		g.known[i].of = append(g.known[i].of, math.NaN())
	}
	return int32(len(g.hosts))
}

// count counts one allocation more on a host, or one less.
func (g *gpuBook) count(e *entry, r pool.Resources, sign int) {
	size := pool.GPULoadOf(r)
	if size.GPU|size.GPUShare == 0 {
		return
	}
	if e.gpu == 0 { // a record with such a load that was never told
		e.gpu = g.number()
	}
	h := &g.hosts[e.gpu-1]
	h.loads = pool.CountGPULoad(h.loads, r, sign)
	g.change(size, sign)
}

func (g *gpuBook) loads(e *entry) []pool.GPULoad {
	if e.gpu == 0 || len(g.hosts[e.gpu-1].loads) == 0 {
		return nil
	}
	return g.hosts[e.gpu-1].loads
}

func (g *gpuBook) add(loads []pool.GPULoad, sign int) {
	for _, l := range loads {
		g.change(l.Size(), sign*l.Count)
	}
}

// change changes the count of a size; the workload only if that makes a difference to its weight.
func (g *gpuBook) change(size pool.GPULoad, by int) {
	if g.counts == nil {
		g.counts = make(map[pool.GPULoad]int)
	}
	n := g.counts[size]
	g.stale = g.stale || roundCount(n) != roundCount(n+by)
	if n+by == 0 {
		delete(g.counts, size)
		return
	}
	g.counts[size] = n + by
}

// forget makes what was worked out about a host unknown.
func (g *gpuBook) forget(e *entry) {
	if e.gpu > 0 {
		for i := range g.known {
			g.known[i].of[e.gpu-1] = math.NaN()
		}
	}
}

// learn returns the workload of the hosts.
func (ix *Index) learn() *workload {
	g := &ix.gpu
	if !g.stale {
		return &g.work
	}
	g.stale = false
	if g.each == nil {
		g.each = func(yield func(pool.GPULoad, int) bool) {
			for size, n := range g.counts {
				if !yield(size, n) {
					return
				}
			}
		}
	}
	if g.work.set(g.each) {
		for i := range g.known {
			unknown(g.known[i].of)
		}
	}
	return &g.work
}

func unknown(of []float64) {
	for i := range of {
		of[i] = math.NaN()
	}
}

// lossesOf returns what is known for requests like that: nil if nothing can be lost, or if losses do not count.
func (g *gpuBook) lossesOf(d *decision) []float64 {
	if d.fgd.work == nil || len(g.hosts) == 0 || len(d.fgd.work.sizes) == 0 {
		return nil
	}
	g.asked++
	oldest := 0
	for i := range g.known {
		l := &g.known[i]
		if l.size == d.fgd.size {
			l.asked = g.asked
			return l.of
		}
		if l.asked < g.known[oldest].asked {
			oldest = i
		}
	}
	if len(g.known) < mostLosses {
		oldest = len(g.known)
		g.known = append(g.known, losses{of: make([]float64, len(g.hosts))})
	}
	l := &g.known[oldest]
	l.size, l.asked = d.fgd.size, g.asked
	unknown(l.of)
	return l.of
}

// loss returns what the request loses on the i-th host of a block whose score is so much by best fit, or as much of
// that as makes it no better than the best one yet.
func (s *search) loss(b *block, i int, score float64) float64 {
	e := &s.ix.entries[b.hosts[i]]
	if e.gpu == 0 || !s.d.loses(e.rec) {
		return 0
	}
	enough := math.Inf(-1)
	if s.best >= 0 {
		enough = s.score
	}
	known := &s.losses[e.gpu-1]
	if *known >= 0 || *known < 0 && s.d.fgd.work.less(score, -*known) < enough {
		return math.Abs(*known)
	}
	s.ix.see(s.d, e)
	loss, whole := s.d.lossHere(score, enough)
	*known = loss
	if !whole {
		*known = -loss
	}
	return loss
}

// see takes in what a host has free.
func (ix *Index) see(d *decision, e *entry) {
	free := func(c int) int64 {
		if c < 0 {
			return 0
		}
		return at(e.block.free, c, int(e.at), 0)
	}
	d.fgd.before.see(free(columnCPU), free(columnMemory), free(ix.gpus[0]), free(ix.gpus[1]), e.rec.Devices, e.rooms)
}
