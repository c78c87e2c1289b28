package scheduler

import (
	"math"

	"github.com/berthage/berthage/pool"
)

// refined is Default. What is left over counts by how scarce its class is where instances are placed, and a host's imbalance
// between memory and cores by how much the placement changes it:
//
//	free(class)   = free / capacity, of all hosts in use together
//	weight(class) = the smallest free of the classes asked for / free(class)
//	use(class)    = used / capacity, of the same hosts
//	r             = use(memory) / use(cpu)
//	imbalance     = |free part of memory - r x free part of cpu|, divided by r if that is above 1
//	cost          = sum of weight(class) x left(class) + imbalance after - imbalance before
//
// A weight is a price: the inverse of the supply, which is the slope of the logarithmic barrier -ln(free). Free in the
// relation r is what runs out at the same time if what comes is like what is there. The score is the cost brought to
// between 0 and 1, by the same rule for all hosts, and one more on a host in use.
type refined struct {
	weights         []float64 // by need
	sum             float64   // of weights
	cpu, memory     int       // needs; -1 if one of them is not asked for
	ofCPU, ofMemory float64   // factors of the free parts in the imbalance, at most 1
	cores, bytes    float64   // what is asked for
}

// prepare takes the weights from what the hosts in use have, and have left.
func (b *refined) prepare(needs []need, total totals) {
	*b = refined{weights: b.weights[:0], cpu: -1, memory: -1}
	least, cpu, memory := 1.0, 0.0, 0.0
	for i := range needs {
		used, capacity := total(needs[i].class)
		use, free := 0.0, 1.0 // nothing is known of what nobody uses
		if used > 0 && capacity > 0 {
			use, free = float64(used)/float64(capacity), float64(max(0, capacity-used))/float64(capacity)
		}
		b.weights = append(b.weights, free)
		least = min(least, free)
		switch needs[i].class {
		case pool.CPU:
			b.cpu, b.cores, cpu = i, float64(needs[i].amount), use
		case pool.Memory:
			b.memory, b.bytes, memory = i, float64(needs[i].amount), use
		}
	}
	for i, free := range b.weights {
		b.weights[i] = 1
		if free > 0 {
			b.weights[i] = least / free
		}
		b.sum += b.weights[i]
	}
	if b.cpu < 0 || b.memory < 0 {
		b.cpu, b.memory = -1, -1
		return
	}
	b.ofCPU, b.ofMemory = 1, 1
	switch {
	case cpu == 0 || memory == 0: // nothing is known of what comes
	case memory > cpu:
		b.ofMemory = cpu / memory
	default:
		b.ofCPU = memory / cpu
	}
}

// level brings the weights to a sum of one.
func (b *refined) level() {
	for i := range b.weights {
		b.weights[i] /= b.sum
	}
	b.sum = 1
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

func (b *refined) score(c *columns, hosts []uint8, out []float64) {
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

func (b *refined) finish(cost, by float64, used bool) float64 {
	return (b.sum+1-cost-by)/(b.sum+2) + one(used)
}

func (b *refined) bound(r *ranges, enough float64) float64 {
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
func (b *refined) mostChange(r *ranges) float64 {
	if b.cpu < 0 {
		return 0
	}
	cpu := r.taken(b.cpu, max(r.spans[b.cpu].capacity.lo, r.need[b.cpu]))
	memory := r.taken(b.memory, max(r.spans[b.memory].capacity.lo, r.need[b.memory]))
	return max(float64(b.ofCPU*cpu), float64(b.ofMemory*memory))
}

func (b *refined) reach(r *ranges, enough float64) bounds {
	// The score as finish makes it, turned round.
	cost := b.sum + 1 + b.mostChange(r) - float64((enough-one(r.used))*(b.sum+2))
	return bounds{math.Inf(-1), r.reachOf(cost, b.weights)}
}

func (b *refined) scale() []float64 { return b.weights }

// changeLeast returns at most what change returns for any host of the box.
func (b *refined) changeLeast(r *ranges) float64 {
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
