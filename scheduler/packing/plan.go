package packing

import (
	"cmp"
	"context"
	"math"
	"math/big"
	"slices"
)

// Options are optional.
type Options struct {
	// Work bounds the time, the same on every machine: how many states the knapsacks may look at, and what the
	// linear programs take in terms of that. Zero is
	// enough for demand of some hundred sizes, and some tens of seconds at most.
	Work int64

	// Tight asks for the bound of the linear program also where a weaker one proves as much of the plan, so that
	// it can be compared with other plans.
	Tight bool

	// Progress is called now and then, from the goroutine that called Plan.
	Progress func(Progress)
}

// Progress is how far a plan has come.
type Progress struct {
	Patterns int     // fillings of a host that are known
	LP       float64 // cost of a plan in which hosts may be used in fractions, over these patterns; falls
	Bound    float64 // certified so far; rises
	Cost     int64   // of the best plan so far
}

const (
	defaultWork = 150_000_000
	mostRows    = 800 // of the linear program; beyond, bounds come from prices of classes alone
	proofWidth  = 1 << 17
	dives       = 16
)

// Plan packs the items on hosts so that these cost as little as possible: the fewest, if no costs are given.
//
// The error is pool.ErrInvalid or pool.ErrOverflow if the problem is malformed. If ctx ends, it is the cause of
// that, and the result is what has been found so far, which is as valid as any; it is nil if there is nothing
// yet. The same problem and options give the same result.
func Plan(ctx context.Context, p *Problem, o Options) (*Result, error) {
	if err := p.Valid(); err != nil {
		return nil, err
	}
	in, err := reduce(p)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s := &search{in: in, work: o.Work, sizes: in.bySize(-1), told: o.Progress}
	if s.work <= 0 {
		s.work = defaultWork
	}
	s.prove(in.byClasses(ctx))
	s.greedy()
	if len(in.flavors)+in.limited() <= mostRows && (o.Tight || !s.done(ctx)) {
		s.byPatterns(ctx, o.Tight)
	}
	s.repair(ctx)
	result := s.result(p)
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	return result, nil
}

// byPatterns solves the linear program over patterns, with half of the work at most, and rounds it.
func (s *search) byPatterns(ctx context.Context, tight bool) {
	l := newLayout(s.in)
	r := newRelaxation(s.in, l.demand, l.avail, s.best.patterns())
	r.best = s.proof
	half := s.work / 2
	s.work -= half
	r.solve(ctx, effort{
		widths: []int{256, 4096, proofWidth}, rounds: 100 + 20*len(r.lp.rhs), settled: !tight, work: &half,
		told: func() {
			s.now.LP, s.patterns = r.objective(), r.patterns
			s.prove(r.best)
		},
	})
	s.work += half
	s.patterns = r.patterns
	s.prove(r.best)
	s.cover(r, true)
	s.cover(r, false)
	for choice := uint(0); choice < dives && !s.done(ctx) && s.work > 0; choice++ {
		s.dive(ctx, l, r, choice)
	}
}

// limited returns the number of kinds of which there are so many only.
func (in *instance) limited() int {
	n := 0
	for _, k := range in.kinds {
		if k.limit != unlimited {
			n++
		}
	}
	return n
}

// whole is the least cost of a plan that a bound allows: costs are multiples of their greatest common divisor.
func (in *instance) whole(bound *big.Rat) int64 {
	unit := in.penalty
	for _, k := range in.kinds {
		unit = gcd(unit, k.cost)
	}
	if bound.Sign() <= 0 || unit == 0 {
		return 0
	}
	q := new(big.Rat).Quo(bound, new(big.Rat).SetInt64(unit))
	n := new(big.Int).Add(q.Num(), new(big.Int).Sub(q.Denom(), big.NewInt(1)))
	n.Quo(n, q.Denom())
	if n.Mul(n, big.NewInt(unit)); !n.IsInt64() {
		return math.MaxInt64
	}
	return n.Int64()
}

// patterns returns those of the layout's hosts.
func (l *layout) patterns() []pattern {
	out := make([]pattern, len(l.groups))
	for i := range l.groups {
		out[i] = pattern{l.groups[i].kind, slices.Clone(l.groups[i].loads)}
	}
	return out
}

// byClasses is the bound that follows from prices of the classes alone, the best of them by a small linear
// program. It is what there is when the sizes are too many for the program over patterns.
func (in *instance) byClasses(ctx context.Context) bound {
	demand := newLayout(in).demand
	rhs, slacks := make([]float64, len(in.kinds)), make([]column, len(in.kinds))
	for h, k := range in.kinds { // what the capacity is worth is at most the cost, and the excess
		rhs[h] = float64(k.cost)
		slacks[h] = column{upper: math.Inf(1), rows: []int32{int32(h)}, coef: []float64{1}}
	}
	var lp simplex
	lp.start(rhs, slacks)
	for h, k := range in.kinds {
		if k.limit != unlimited {
			lp.add(column{cost: float64(k.limit), upper: math.Inf(1), rows: []int32{int32(h)}, coef: []float64{-1}})
		}
	}
	first := len(lp.columns) // of the classes, each in units of the largest capacity
	largest := make([]float64, len(in.classes))
	for c := range in.classes {
		for _, k := range in.kinds {
			largest[c] = max(largest[c], float64(k.capacity[c]))
		}
		col := column{upper: math.Inf(1)}
		if in.penalty > 0 { // so that nothing is worth more than it costs to leave it out
			col.upper = float64(in.penalty) / float64(len(in.classes))
		}
		for g, n := range demand {
			col.cost -= float64(n) * float64(in.flavors[g].need[c]) / largest[c]
		}
		for h, k := range in.kinds {
			if k.capacity[c] > 0 {
				col.rows = append(col.rows, int32(h))
				col.coef = append(col.coef, float64(k.capacity[c])/largest[c])
			}
		}
		lp.add(col)
	}
	lp.solve(ctx)
	worth := func(amount []int64) float64 {
		v := 0.0
		for c, n := range amount {
			switch x := lp.place[first+c]; {
			case x >= 0:
				v += max(0, lp.value[x]) * float64(n) / largest[c]
			case x == atUpper:
				v += lp.columns[first+c].upper * float64(n) / largest[c]
			}
		}
		return v
	}
	prices, excess := make([]float64, len(demand)), make([]float64, len(in.kinds))
	for g := range demand {
		prices[g] = worth(in.flavors[g].need)
	}
	for h, k := range in.kinds {
		excess[h] = max(0, worth(k.capacity)-float64(k.cost))
	}
	d := in.integers(demand, prices, excess)
	if d == nil {
		return bound{scale: 1, prices: make([]int64, len(demand)), excess: make([]int64, len(in.kinds)), value: new(big.Rat)}
	}
	most := make([]int64, len(in.kinds))
	for h, k := range in.kinds { // the margin is far above the errors of rounding in worth
		most[h] = int64(worth(k.capacity)*float64(d.scale)*(1+1e-9)) + 1
	}
	return in.scaled(demand, d, most)
}

// result puts what was found into the terms of the problem.
func (s *search) result(p *Problem) *Result {
	in, proof := s.in, &s.proof
	out := &Result{Least: s.least, Certificate: Certificate{
		Scale: proof.scale, Penalty: in.penalty, Bound: proof.value,
		Prices: make([]int64, len(p.Items)), Excess: make([]int64, len(p.Hosts)),
	}}
	for g := range in.flavors {
		for _, i := range in.flavors[g].items {
			out.Certificate.Prices[i] = proof.prices[g]
		}
	}
	for h, k := range in.kinds {
		out.Certificate.Excess[k.index] = proof.excess[h]
	}
	for i := range s.best.groups {
		g := &s.best.groups[i]
		n := Group{Kind: in.kinds[g.kind].index, Hosts: g.hosts}
		for _, w := range g.loads {
			n.Loads = append(n.Loads, Amount{in.flavors[w.flavor].items[0], w.copies})
		}
		slices.SortFunc(n.Loads, func(a, b Amount) int { return a.Item - b.Item })
		out.Groups = append(out.Groups, n)
		out.Hosts += g.hosts
		out.Cost += g.hosts * in.kinds[g.kind].cost
	}
	out.Groups = merge(out.Groups)
	for g, n := range s.best.demand {
		if n > 0 {
			out.Short = append(out.Short, Amount{in.flavors[g].items[0], n})
		}
	}
	for _, i := range in.never {
		out.Never = append(out.Never, nearest(p, i))
	}
	out.Optimal = s.cost == s.least
	return out
}

// merge makes one group of those that carry the same, and orders them.
func merge(groups []Group) []Group {
	order := func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), slices.CompareFunc(a.Loads, b.Loads, func(x, y Amount) int {
			return cmp.Or(cmp.Compare(x.Item, y.Item), cmp.Compare(y.Count, x.Count))
		}))
	}
	slices.SortStableFunc(groups, order)
	out := groups[:0]
	for _, g := range groups {
		if n := len(out); n > 0 && order(out[n-1], g) == 0 {
			out[n-1].Hosts += g.Hosts
			continue
		}
		out = append(out, g)
	}
	return out
}

// nearest names the kind of host that comes nearest to taking an item that none takes, and what it lacks most.
func nearest(p *Problem, item int) Never {
	r := p.Items[item].Resources
	best := Never{Item: item, Count: p.Items[item].Count}
	least := math.Inf(1)
	for h := range p.Hosts {
		if p.Hosts[h].limit() == 0 {
			continue
		}
		lacks, n := 0.0, best
		for _, c := range r.Classes() {
			short, unit := r[c]-p.Hosts[h].Capacity[c], false
			if u := p.Hosts[h].Units[c].inventory(); short <= 0 && !u.Allows(r[c]) {
				short, unit = r[c]-u.Most(r[c]), true
			}
			if part := float64(short) / float64(r[c]); short > 0 && part > lacks {
				lacks, n.Kind, n.Class, n.Short, n.Unit = part, h, c, short, unit
			}
		}
		if lacks < least {
			best, least = n, lacks
		}
	}
	return best
}
