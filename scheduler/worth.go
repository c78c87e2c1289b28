package scheduler

import (
	"math"
	"strconv"
	"sync/atomic"

	"github.com/berthage/berthage/pool"
)

// Worth is what free room is good for: the most valuable set of sizes that fits into it. A Scheduler that has one, under
// Default, takes from a host's score what the placement makes useless there, and lets an empty host compete with those in use: to
// begin another can cost less than what is spoilt for the others.
//
//	V(room) = the most that sizes are worth together, each any number of times, that fit into the room
//	loss    = V(free before) - V(free after), as parts of a host
//	cost    = loss + half of what Default counts, its weights brought to a sum of one
//
// Half, because what is left on a host is filled by what comes later, evenly, so that half of it is idle on average meanwhile; what
// nothing fits into stays so. For sizes worth their prices in the linear program of packing.Plan (Certificate.Prices divided by
// Scale) no set on a host is worth more than the host. The loss is then never less than about the price of what is placed, and just
// that where nothing is spoilt.
//
// Only cores and memory count; requests without one of them, and aggregates, lose nothing. Other strategies take no notice. The zero
// value knows of no sizes and changes nothing. It is safe for concurrent use.
type Worth struct{ now atomic.Pointer[worths] }

// Priced is a size, of which cores and memory count, and what one instance of it is worth, as a part of a host: 0 to 1.
type Priced struct {
	Resources pool.Resources
	Price     float64
}

// mostWorths is of how many amounts of room the worth is kept.
const mostWorths = 1 << 18

// worths is the worth of rooms, in steps of both classes.
type worths struct {
	cpuUnit, memoryUnit int64
	cpus, memories      int // steps above zero
	of                  []float64
}

// worthScale makes whole numbers of prices, so that sums do not depend on their order. The largest sum, a price of 1 in every
// step, is exact as a float64.
const worthScale = 1 << 32

// Set replaces what is known. Room counts up to what host has, the largest there is. Where sizes have so small a common measure
// that there would be more than 262,144 different rooms, sizes are rounded up and rooms down. Sizes that do not fit on the host, or
// take neither cores nor memory, are left out; none at all make the Worth unknown again. Its time and space are of the order of the number of
// rooms, once for each size; a few milliseconds are common.
//
// A price that is not between 0 and 1 is pool.ErrInvalid, as is a malformed amount, or a host without cores or memory; nothing is
// changed then.
func (w *Worth) Set(host pool.Resources, sizes []Priced) error {
	if err := host.Valid(); err != nil {
		return pool.InField("host", err)
	}
	cpu, memory := host[pool.CPU], host[pool.Memory]
	if cpu <= 0 || memory <= 0 {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "host", Value: host.String(), Want: "cores and memory"}
	}
	t := &worths{}
	fit := make([]Priced, 0, len(sizes))
	for i, s := range sizes {
		field := "sizes[" + strconv.Itoa(i) + "]"
		if err := s.Resources.Valid(); err != nil {
			return pool.InField(field+".resources", err)
		}
		if !(s.Price >= 0 && s.Price <= 1) {
			return &pool.Error{Kind: pool.ErrInvalid, Field: field + ".price", Value: strconv.FormatFloat(s.Price, 'g', -1, 64), Want: "0 to 1"}
		}
		c, m := s.Resources[pool.CPU], s.Resources[pool.Memory]
		if c > cpu || m > memory || c == 0 && m == 0 {
			continue
		}
		t.cpuUnit, t.memoryUnit = divisor(t.cpuUnit, c), divisor(t.memoryUnit, m)
		fit = append(fit, s)
	}
	if len(fit) == 0 {
		w.now.Store(nil)
		return nil
	}
	if t.cpuUnit == 0 {
		t.cpuUnit = cpu
	}
	if t.memoryUnit == 0 {
		t.memoryUnit = memory
	}
	for {
		c, m := cpu/t.cpuUnit+1, memory/t.memoryUnit+1
		if c <= mostWorths && m <= mostWorths && c*m <= mostWorths {
			t.cpus, t.memories = int(c-1), int(m-1)
			break
		}
		if c >= m {
			t.cpuUnit *= 2
		} else {
			t.memoryUnit *= 2
		}
	}
	t.fill(fit)
	w.now.Store(t)
	return nil
}

// divisor is the greatest common divisor; that of zero and n is n.
func divisor(n, m int64) int64 {
	for m > 0 {
		n, m = m, n%m
	}
	return n
}

// fill solves the knapsack of every room.
func (t *worths) fill(sizes []Priced) {
	row := t.memories + 1
	most := make([]int64, (t.cpus+1)*row)
	for _, s := range sizes {
		price := int64(math.Round(s.Price * worthScale))
		cpus, memories := steps(s.Resources[pool.CPU], t.cpuUnit), steps(s.Resources[pool.Memory], t.memoryUnit)
		for c := cpus; c <= t.cpus; c++ {
			without := most[(c-cpus)*row:]
			with := most[c*row : (c+1)*row]
			for m := memories; m < len(with); m++ {
				with[m] = max(with[m], without[m-memories]+price)
			}
		}
	}
	t.of = make([]float64, len(most))
	for i, n := range most {
		t.of[i] = float64(n) / worthScale
	}
}

// steps is n in units, rounded up.
func steps(n, unit int64) int {
	s := n / unit
	if n%unit > 0 {
		s++
	}
	return int(min(s, mostWorths))
}

// at returns what a room is worth: never less than what a smaller one is.
func (t *worths) at(cpu, memory int64) float64 {
	c := min(max(0, cpu)/t.cpuUnit, int64(t.cpus))
	m := min(max(0, memory)/t.memoryUnit, int64(t.memories))
	return t.of[int(c)*(t.memories+1)+int(m)]
}

// valued is a policy that looks at what placements make useless. To it every host counts as in use, so that empty ones do not come
// last. Rounding keeps its score in order as the policy's own.
type valued struct {
	then        policy
	of          *worths // nil: nothing is lost
	unit        float64 // what a loss of a host counts
	cpu, memory int     // needs
}

// priced reports whether losses of worth have a say in what is asked for.
func (d *decision) priced() bool {
	if d.worths == nil {
		return false
	}
	cpu, memory := false, false
	for i := range d.asked {
		cpu, memory = cpu || d.asked[i].class == pool.CPU, memory || d.asked[i].class == pool.Memory
	}
	return cpu && memory
}

// values makes a policy look at them, in the space of v. Default costs cost in half the unit of a loss; score is what it counts.
func (d *decision) values(p policy, b *refined, v *valued) policy {
	*v = valued{then: p, of: d.worths, unit: 2 / (b.sum + 2), cpu: b.cpu, memory: b.memory}
	if _, ok := p.(*lasting); ok { // which halves it
		v.unit /= 2
	}
	if d.shape != nil {
		v.of = nil
	}
	return v
}

func (p *valued) score(c *columns, hosts []uint8, out []float64) {
	c.allUsed = true
	p.then.score(c, hosts, out)
	c.allUsed = false
	if p.of == nil {
		return
	}
	cpu, memory, cores, bytes := c.free[p.cpu], c.free[p.memory], c.need[p.cpu], c.need[p.memory]
	for j, i := range hosts {
		out[j] -= float64(p.unit * (p.of.at(cpu[i], memory[i]) - p.of.at(cpu[i]-cores, memory[i]-bytes)))
	}
}

func (p *valued) bound(r *ranges, enough float64) float64 {
	used, unused := r.used, r.unused
	r.used, r.unused = true, false
	most := p.then.bound(r, enough)
	r.used, r.unused = used, unused
	if p.of == nil || most < enough {
		return most
	}
	return most - float64(p.unit*p.lossLeast(r))
}

// lossLeast returns at most what any host of the box loses. Hosts that lack room count no more.
func (p *valued) lossLeast(r *ranges) float64 {
	cpu, memory := &r.spans[p.cpu].free, &r.spans[p.memory].free
	cores, bytes := r.need[p.cpu], r.need[p.memory]
	return max(0, p.of.at(max(cpu.lo, cores), max(memory.lo, bytes))-p.of.at(cpu.hi-cores, memory.hi-bytes))
}

func (p *valued) reach(r *ranges, enough float64) bounds {
	used, unused := r.used, r.unused
	r.used, r.unused = true, false
	reach := p.then.reach(r, enough)
	r.used, r.unused = used, unused
	return reach
}

func (p *valued) scale() []float64 { return p.then.scale() }
