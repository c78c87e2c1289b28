package scheduler

import (
	"math"

	"github.com/berthage/berthage/pool"
)

// balanced is Balanced. What is left over counts by how scarce its class is in the pool, and a host's imbalance
// between memory and cores by how much the placement changes it:
//
//	use(class)    = used / capacity, of the whole pool
//	weight(class) = use(class) / the largest use of the classes asked for
//	r             = use(memory) / use(cpu)
//	imbalance     = |free part of memory - r x free part of cpu|, divided by r if that is above 1
//	cost          = sum of weight(class) x left(class) + imbalance after - imbalance before
//
// Free in the relation r is what runs out at the same time if what comes is like what is there. The score is the
// cost brought to between 0 and 1, by the same rule for all hosts, and one more on a host in use.
type balanced struct {
	weights         []float64 // by need
	sum             float64   // of weights
	cpu, memory     int       // needs; -1 if one of them is not asked for
	ofCPU, ofMemory float64   // factors of the free parts in the imbalance, at most 1
	cores, bytes    float64   // what is asked for
}

// prepare takes the weights from what the pool has and uses in all of a class.
func (b *balanced) prepare(needs []need, total totals) {
	use := func(c pool.Class) float64 {
		used, capacity := total(c)
		if used <= 0 || capacity <= 0 {
			return 0
		}
		return float64(used) / float64(capacity)
	}
	*b = balanced{weights: b.weights[:0], cpu: -1, memory: -1}
	most := 0.0
	for i := range needs {
		u := use(needs[i].class)
		b.weights = append(b.weights, u)
		most = max(most, u)
		switch needs[i].class {
		case pool.CPU:
			b.cpu, b.cores = i, float64(needs[i].amount)
		case pool.Memory:
			b.memory, b.bytes = i, float64(needs[i].amount)
		}
	}
	for i, u := range b.weights {
		b.weights[i] = 1
		if most > 0 {
			b.weights[i] = u / most
		}
		b.sum += b.weights[i]
	}
	if b.cpu < 0 || b.memory < 0 {
		b.cpu, b.memory = -1, -1
		return
	}
	b.ofCPU, b.ofMemory = 1, 1
	switch cpu, memory := use(pool.CPU), use(pool.Memory); {
	case cpu == 0 || memory == 0: // nothing is known of what comes
	case memory > cpu:
		b.ofMemory = cpu / memory
	default:
		b.ofCPU = memory / cpu
	}
}

// change returns |z - d| - |z|: by how much the imbalance changes if z is memory less cores before, and d what is
// taken of memory less what is taken of cores. It falls while z goes up for a d above zero and down for one below.
func change(z, d float64) float64 {
	if d < 0 {
		z, d = -z, -d
	}
	switch {
	case z >= d:
		return -d
	case z <= 0:
		return d
	}
	return d - 2*z
}

func (b *balanced) score(c *columns, hosts []uint8, out []float64) {
	clear(out[:len(hosts)])
	for k := range c.need {
		c.left(k, b.weights[k], hosts, out)
	}
	for j, i := range hosts {
		by := 0.0
		if b.cpu >= 0 {
			cores, bytes := float64(c.capacity[b.cpu][i]), float64(c.capacity[b.memory][i])
			z := float64(b.ofMemory*(float64(c.free[b.memory][i])/bytes)) - float64(b.ofCPU*(float64(c.free[b.cpu][i])/cores))
			d := float64(b.ofMemory*(b.bytes/bytes)) - float64(b.ofCPU*(b.cores/cores))
			by = change(z, d)
		}
		out[j] = b.finish(out[j], by, c.used(i))
	}
}

func (b *balanced) finish(cost, by float64, used bool) float64 {
	return (b.sum+1-cost-by)/(b.sum+2) + one(used)
}

func (b *balanced) bound(r *ranges, enough float64) float64 {
	least := r.sumLeast(b.weights)
	if r.sum != nil {
		if most := b.finish(least, -b.mostChange(r), r.used); most < enough {
			return most
		}
	}
	by := 0.0
	if b.cpu >= 0 {
		by = b.changeLeast(r)
	}
	return b.finish(max(least, r.eachLeast(b.weights)), by, r.used)
}

// mostChange returns at least by how much the imbalance of any host of the box changes, either way.
func (b *balanced) mostChange(r *ranges) float64 {
	if b.cpu < 0 {
		return 0
	}
	cpu := r.taken(b.cpu, max(r.spans[b.cpu].capacity.lo, r.need[b.cpu]))
	memory := r.taken(b.memory, max(r.spans[b.memory].capacity.lo, r.need[b.memory]))
	return max(float64(b.ofCPU*cpu), float64(b.ofMemory*memory))
}

func (b *balanced) reach(r *ranges, enough float64) bounds {
	// The score as finish makes it, turned round.
	cost := b.sum + 1 + b.mostChange(r) - float64((enough-one(r.used))*(b.sum+2))
	return bounds{math.Inf(-1), r.reachOf(cost, b.weights)}
}

func (b *balanced) scale() []float64 { return b.weights }

// changeLeast returns at most what change returns for any host of the box.
func (b *balanced) changeLeast(r *ranges) float64 {
	freeCPU, takenCPU := r.parts(b.cpu, b.ofCPU)
	freeMemory, takenMemory := r.parts(b.memory, b.ofMemory)
	z := bounds{freeMemory.lo - freeCPU.hi, freeMemory.hi - freeCPU.lo}
	d := bounds{takenMemory.lo - takenCPU.hi, takenMemory.hi - takenCPU.lo}
	// For a given z the change is least where d is z, or as near to it as can be.
	least := 1.0
	if d.hi >= 0 {
		least = change(z.hi, max(d.lo, min(z.hi, d.hi), 0))
	}
	if d.lo <= 0 {
		least = min(least, change(z.lo, min(d.hi, max(z.lo, d.lo), 0)))
	}
	return least
}

// parts returns bounds of the parts of the capacity of need k that are free before, and that are taken, times a
// factor. Hosts that lack room count no more.
func (r *ranges) parts(k int, factor float64) (free, taken bounds) {
	s, n := r.spans[k], r.need[k]
	most, least := float64(s.capacity.hi), float64(max(s.capacity.lo, n))
	free.lo = float64(factor * (float64(max(s.free.lo, n)) / most))
	free.hi = float64(factor * (float64(s.free.hi) / float64(s.least())))
	taken.lo = float64(factor * (float64(n) / most))
	taken.hi = float64(factor * (float64(n) / least))
	return free, taken
}
