package scheduler

import "math"

// policy is a strategy made ready for one request and one state of the pool. Both its functions are made of
// operations that rounding keeps in order (a sum, difference, quotient or product with one factor fixed never
// falls while an operand rises), of which no compiler fuses two. That is why bound holds to the last bit, and why all
// machines agree.
type policy interface {
	// score writes the scores of those hosts, which have room for all needs; higher is better. It is asked for several at
	// once because the processor divides side by side what it need not wait for.
	score(c *columns, hosts []uint8, out []float64)
	// bound returns a score that none of the hosts in the box exceeds, if they have room for all needs. For each need the
	// most that is free must be enough. Once it knows that the score is below enough, it need not look closer.
	bound(b *ranges, enough float64) float64
	// reach returns which sums, as in ranges, a host of the box may have whose score is enough or more.
	reach(b *ranges, enough float64) bounds
	// scale returns the weight of the free part of each need in the score; nil is 1 for all.
	scale() []float64
}

// columns are hosts as a policy sees them: per need of the request what is asked, and host by host what is free and
// what there is in all.
type columns struct {
	need           []int64
	free, capacity [][]int64
	marks          []traits // of which the policy wants to know whether a host is in use
	ends           []int64  // until when; nil: lifetimes are not looked at
	allUsed        bool     // every host counts as in use
}

// left adds to out, times a weight, the part of the capacity of need k that is free on each host after the placement.
func (c *columns) left(k int, weight float64, hosts []uint8, out []float64) {
	free, capacity, need := c.free[k], c.capacity[k], c.need[k]
	for j, i := range hosts {
		out[j] += float64(weight * (float64(free[i]-need) / float64(capacity[i])))
	}
}

func (c *columns) used(i uint8) bool { return c.allUsed || c.marks[i].is&traitUsed != 0 }

// ranges is a box around the columns of several hosts: per need the least and the most of what is free and of what
// there is in all.
type ranges struct {
	need   []int64
	spans  []*span
	used   bool // some of the hosts are in use
	unused bool // some are not
	traits traits
	end    int64 // the latest of any host, where lifetimes are looked at

	// Of the hosts that have something free of each class, the least and the most of the sum of their free parts, each
	// times a factor, which is near the policy's present weight of the class.
	sum     *bounds // nil: not known
	factors []float64

	last []takenOf // by need
}

type bounds struct{ lo, hi float64 }

// slack is more than what rounding makes of a sum of free parts.
const slack = 1e-9

// eachLeast returns at most what the sum over needs of weight times left is for any host of the box, from each need's
// own range: exact where all hosts are alike. weights may be nil.
func (r *ranges) eachLeast(weights []float64) float64 {
	sum := 0.0
	for k := range r.need {
		left := r.leftLeast(k)
		if weights != nil {
			left = float64(weights[k] * left)
		}
		sum += left
	}
	return sum
}

// sumLeast returns at most the same, from the sum of what is free.
func (r *ranges) sumLeast(weights []float64) float64 {
	if r.sum == nil {
		return 0
	}
	return r.sumLeastFrom(r.sum.lo, weights)
}

func (r *ranges) sumLeastFrom(sum float64, weights []float64) float64 {
	sum -= slack
	for k := range r.need {
		s, n := r.spans[k], r.need[k]
		taken := r.taken(k, max(s.capacity.lo, n))
		if weights == nil {
			sum -= taken
			continue
		}
		sum -= float64(weights[k] * taken)
		if by := weights[k] - r.factors[k]; by != 0 {
			sum += min(float64(by*(float64(max(s.free.lo, n))/float64(s.capacity.hi))), float64(by*(float64(s.free.hi)/float64(s.least()))))
		}
	}
	return sum
}

// reachOf returns the sum beyond which none of the hosts of the box costs cost or less, where the cost is what sumLeast
// is about.
func (r *ranges) reachOf(cost float64, weights []float64) float64 {
	return cost - r.sumLeastFrom(0, weights) + slack
}

// taken returns which part of a capacity need k takes. Boxes that are judged one after another mostly have the same.
func (r *ranges) taken(k int, capacity int64) float64 {
	last := &r.last[k]
	if last.capacity != capacity {
		*last = takenOf{capacity, float64(r.need[k]) / float64(capacity)}
	}
	return last.part
}

type takenOf struct {
	capacity int64
	part     float64
}

// sumMost returns at least what the sum over needs of left is for any host of the box.
func (r *ranges) sumMost() float64 {
	each := 0.0
	for k := range r.need {
		each += r.leftMost(k)
	}
	if r.sum == nil {
		return each
	}
	sum := r.sum.hi + slack
	for k := range r.need {
		sum -= r.taken(k, r.spans[k].capacity.hi)
	}
	return min(each, sum)
}

// leftLeast returns at most what is left of any host of the box: the host that is filled best and, as far as
// something is left, is largest.
func (r *ranges) leftLeast(k int) float64 {
	s := r.spans[k]
	return float64(max(s.free.lo-r.need[k], 0)) / float64(s.capacity.hi)
}

// leftMost returns at least what is left of any host of the box.
func (r *ranges) leftMost(k int) float64 {
	s := r.spans[k]
	return float64(s.free.hi-r.need[k]) / float64(s.least())
}

// exactFloat is the first integer from which on not every one has a float64 of its own.
const exactFloat = 1 << 53

// least is the capacity that makes the largest part of the most that is free. No host has more free than in all, so
// that one smaller than that has less free; as long as conversion rounds nothing, that keeps its part smaller.
func (s *span) least() int64 {
	if s.free.hi < exactFloat {
		return max(s.free.hi, s.capacity.lo)
	}
	return max(1, s.capacity.lo)
}

func mean(sum float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// bestFit is BestFit: one less the mean of what is left over, and one more on a host in use.
type bestFit struct{}

func (bestFit) score(c *columns, hosts []uint8, out []float64) {
	clear(out[:len(hosts)])
	for k := range c.need {
		c.left(k, 1, hosts, out)
	}
	for j, i := range hosts {
		out[j] = 1 - mean(out[j], len(c.need)) + one(c.used(i))
	}
}

func (bestFit) bound(r *ranges, enough float64) float64 {
	most := 1 - mean(r.sumLeast(nil), len(r.need)) + one(r.used)
	if r.sum != nil && most < enough {
		return most
	}
	score := 1 - mean(r.eachLeast(nil), len(r.need)) + one(r.used)
	if r.sum == nil {
		return score
	}
	return min(most, score)
}

func (bestFit) reach(r *ranges, enough float64) bounds {
	return bounds{math.Inf(-1), r.reachOf(float64(float64(len(r.need))*(1+one(r.used)-enough)), nil)}
}

func (bestFit) scale() []float64 { return nil }

// spread is Spread: the reverse.
type spread struct{}

func (spread) score(c *columns, hosts []uint8, out []float64) {
	bestFit{}.score(c, hosts, out)
	for j := range hosts {
		out[j] = 2 - out[j]
	}
}

func (spread) bound(r *ranges, _ float64) float64 {
	return 2 - (1 - mean(r.sumMost(), len(r.need)) + one(!r.unused))
}

func (spread) reach(r *ranges, enough float64) bounds {
	least := float64(float64(len(r.need)) * (enough - 1 + one(!r.unused)))
	for k := range r.need {
		least += r.taken(k, r.spans[k].capacity.hi)
	}
	return bounds{least - slack, math.Inf(1)}
}

func (spread) scale() []float64 { return nil }
