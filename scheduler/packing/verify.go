package packing

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/berthage/berthage/pool"
)

var (
	// ErrPlan: a Result does not solve its Problem: something is missing, overfull or added up wrongly.
	ErrPlan = errors.New("not a plan for this problem")
	// ErrCertificate: a Certificate does not prove its bound.
	ErrCertificate = errors.New("the certificate proves nothing")
	// ErrUndecided: a Certificate could be neither confirmed nor refuted within the room that Verify allows itself.
	ErrUndecided = errors.New("the certificate is too hard to check")
)

// Verify checks a result against its problem and believes nothing in it: that the plan places all that it
// should, on hosts that have the room and are there; that its sums are right; and that the certificate proves
// the bound, in integers, by solving anew the problem of the most valuable filling of every kind of host.
//
// The error is ErrPlan, ErrCertificate or ErrUndecided, that of ctx, or that of Problem.Valid.
func Verify(ctx context.Context, p *Problem, r *Result) error {
	return verify(ctx, p, r, 2*proofWidth)
}

// verify is Verify with knapsacks that keep so many states.
func verify(ctx context.Context, p *Problem, r *Result, width int) error {
	if err := p.Valid(); err != nil {
		return err
	}
	if err := verifyPlan(p, r); err != nil {
		return err
	}
	return verifyBound(ctx, p, r, width)
}

func notPlan(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrPlan, fmt.Sprintf(format, args...))
}

// verifyPlan counts what the hosts carry, and holds it against the demand and the capacity.
func verifyPlan(p *Problem, r *Result) error {
	same, size := equalItems(p)
	want := make([]int64, len(same)) // by size
	for g, items := range same {
		for _, i := range items {
			want[g] += p.Items[i].Count
		}
	}
	known := func(i int) bool { return i >= 0 && i < len(p.Items) }
	for _, n := range r.Never {
		if !known(n.Item) || n.Count != p.Items[n.Item].Count || n.Count == 0 || fitsAny(p, p.Items[n.Item].Resources) {
			return notPlan("item %d is said never to fit", n.Item)
		}
		want[size[n.Item]] -= n.Count
	}
	for _, s := range r.Short {
		if !known(s.Item) || s.Count <= 0 || s.Count > want[size[s.Item]] {
			return notPlan("%d of item %d are said not to be placed", s.Count, s.Item)
		}
		want[size[s.Item]] -= s.Count
	}
	used := make([]int64, len(p.Hosts))
	hosts, cost := int64(0), int64(0)
	for at, g := range r.Groups {
		if g.Kind < 0 || g.Kind >= len(p.Hosts) || g.Hosts <= 0 || g.Hosts > MaxCount-used[g.Kind] {
			return notPlan("group %d has %d hosts of kind %d", at, g.Hosts, g.Kind)
		}
		h := &p.Hosts[g.Kind]
		used[g.Kind] += g.Hosts
		hosts += g.Hosts
		cost += g.Hosts * h.cost()
		load := make(pool.Resources)
		for _, l := range g.Loads {
			if !known(l.Item) || l.Count <= 0 || l.Count > want[size[l.Item]]/g.Hosts {
				return notPlan("group %d has more of item %d than is wanted", at, l.Item)
			}
			want[size[l.Item]] -= l.Count * g.Hosts
			if !h.allows(p.Items[l.Item].Resources) {
				return notPlan("group %d has item %d, which its hosts' limits of units do not allow", at, l.Item)
			}
			for c, n := range p.Items[l.Item].Resources {
				if n > 0 && l.Count > (h.Capacity[c]-load[c])/n {
					return notPlan("group %d has more %s than its hosts", at, c)
				}
				load[c] += n * l.Count
			}
		}
		if used[g.Kind] > h.limit() {
			return notPlan("there are only %d hosts of kind %d", h.limit(), g.Kind)
		}
	}
	for g, n := range want {
		if n != 0 {
			return notPlan("%d of item %d are on no host", n, same[g][0])
		}
	}
	if hosts != r.Hosts || cost != r.Cost {
		return notPlan("its hosts are %d and cost %d", hosts, cost)
	}
	return nil
}

func notProof(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCertificate, fmt.Sprintf(format, args...))
}

// verifyBound checks that the prices are feasible, and what is said to follow from them.
func verifyBound(ctx context.Context, p *Problem, r *Result, width int) error {
	c := &r.Certificate
	if len(c.Prices) != len(p.Items) || len(c.Excess) != len(p.Hosts) || c.Scale <= 0 || c.Bound == nil {
		return notProof("it is incomplete")
	}
	in, err := reduce(p)
	if err != nil {
		return err
	}
	if c.Penalty != in.penalty {
		return notProof("the penalty is %d and not %d", in.penalty, c.Penalty)
	}
	b, err := in.priced(c)
	if err != nil {
		return err
	}
	for h := range p.Hosts {
		if x := c.Excess[h]; x < 0 || x > 0 && p.Hosts[h].limit() == unlimited {
			return notProof("kind %d has an excess of %d", h, x)
		}
	}
	demand := make([]int64, len(in.flavors))
	for g := range in.flavors {
		demand[g] = in.flavors[g].count
	}
	left := slices.Clone(c.Excess)
	for h := range in.kinds {
		b.excess[h] = c.Excess[in.kinds[h].index]
		left[in.kinds[h].index] = 0
		if err := in.worthItsCost(ctx, h, demand, b, width); err != nil {
			return err
		}
	}
	if h := slices.IndexFunc(left, func(x int64) bool { return x != 0 }); h >= 0 {
		return notProof("kind %d has an excess, and nothing fits on it", h)
	}
	if b.value = in.worth(demand, b); b.value.Cmp(c.Bound) != 0 {
		return notProof("its prices add up to %s and not to %s", b.value, c.Bound)
	}
	total := r.Cost
	for _, s := range r.Short {
		if !in.optional(s.Item) {
			return notPlan("item %d is left out though there are hosts without limit", s.Item)
		}
		total += s.Count * in.penalty
	}
	if least := in.whole(b.value); r.Least != least || r.Optimal != (total == least) {
		return notProof("the least cost is %d and not %d, the plan's %d", least, r.Least, total)
	}
	return nil
}

// priced gives every flavor the price of its items, which must have the same.
func (in *instance) priced(c *Certificate) (*bound, error) {
	b := &bound{scale: c.Scale, prices: make([]int64, len(in.flavors)), excess: make([]int64, len(in.kinds))}
	for g := range in.flavors {
		f := &in.flavors[g]
		b.prices[g] = c.Prices[f.items[0]]
		for _, i := range f.items {
			if c.Prices[i] != b.prices[g] || c.Prices[i] < 0 {
				return nil, notProof("item %d has price %d", i, c.Prices[i])
			}
		}
		if hi, lo := bits.Mul64(uint64(in.penalty), uint64(c.Scale)); f.optional && hi == 0 && uint64(b.prices[g]) > lo {
			return nil, notProof("item %d is worth more than the penalty", f.items[0])
		}
	}
	return b, nil
}

func (in *instance) optional(item int) bool {
	for g := range in.flavors {
		if slices.Contains(in.flavors[g].items, item) {
			return in.flavors[g].optional
		}
	}
	return false
}

// worthItsCost proves that nothing that fits on a host of the kind is worth more than its cost and excess.
func (in *instance) worthItsCost(ctx context.Context, h int, demand []int64, b *bound, width int) error {
	k := &in.kinds[h]
	hi, floor := bits.Mul64(uint64(b.scale), uint64(k.cost))
	if floor += uint64(b.excess[h]); hi != 0 || floor >= math.MaxInt64 {
		return notProof("the scale is too large for the cost of kind %d", k.index)
	}
	sack := newKnapsack(in, k, demand)
	if sack == nil {
		return nil
	}
	sum := uint64(0)
	for _, it := range sack.items {
		hi, lo := bits.Mul64(uint64(b.prices[it.flavor]), uint64(it.most))
		if sum += lo; hi != 0 || lo > maxWorth || sum > maxWorth {
			return notProof("the prices are too large for kind %d", k.index)
		}
	}
	a := sack.solve(ctx, b.prices, int64(floor), width)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case a.value > int64(floor):
		return notProof("a host of kind %d can carry what is worth %d, more than %d", k.index, a.value, floor)
	case a.most > int64(floor):
		return fmt.Errorf("%w: kind %d", ErrUndecided, k.index)
	}
	return nil
}
