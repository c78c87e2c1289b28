package packing

import (
	"context"
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// relaxation is the linear program over patterns: hosts may be used in fractions. Its columns are generated
// by the knapsacks of the kinds of host.
type relaxation struct {
	in     *instance
	demand []int64
	avail  []int64
	rowOf  []int // of flavors and, behind them, kinds; -1 without one
	lp     simplex

	patterns []pattern
	columns  []int       // of each pattern
	sacks    []*knapsack // by kind; nil where nothing fits
	usage    []float64   // of each pattern, after solve
	value    float64     // after solve
	rounds   int         // pricing rounds

	best bound // the best that was proved
}

// bound is a dual solution in integers: prices of flavors and, for kinds with a limit, the excess that a host
// may be worth beyond its cost, all times scale.
type bound struct {
	scale  int64
	prices []int64
	excess []int64
	value  *big.Rat
}

// newRelaxation sets the program up for a demand, with the patterns given and those of one flavor each.
func newRelaxation(in *instance, demand, avail []int64, patterns []pattern) *relaxation {
	r := &relaxation{in: in, demand: demand, avail: avail, rowOf: make([]int, len(in.flavors)+len(in.kinds))}
	var rhs []float64
	var first []column
	for g, n := range demand {
		r.rowOf[g] = -1
		if n == 0 {
			continue
		}
		row := int32(len(rhs))
		r.rowOf[g] = int(row)
		rhs = append(rhs, float64(n))
		start := column{cost: float64(in.penalty), upper: math.Inf(1), rows: []int32{row}, coef: []float64{1}}
		if !in.flavors[g].optional {
			h, copies := r.cheapest(g)
			start.cost, start.coef[0] = float64(in.kinds[h].cost), float64(copies)
			r.patterns = append(r.patterns, pattern{h, []load{{g, copies}}})
			r.columns = append(r.columns, len(first))
		}
		first = append(first, start)
	}
	flavorRows := len(rhs)
	for h := range in.kinds {
		r.rowOf[len(in.flavors)+h] = -1
		if in.kinds[h].limit != unlimited {
			row := int32(len(rhs))
			r.rowOf[len(in.flavors)+h] = int(row)
			rhs = append(rhs, float64(avail[h]))
			first = append(first, column{upper: math.Inf(1), rows: []int32{row}, coef: []float64{1}})
		}
		var k *knapsack
		if avail[h] > 0 {
			k = newKnapsack(in, &in.kinds[h], demand)
		}
		r.sacks = append(r.sacks, k)
	}
	r.lp.start(rhs, first)
	for row := range flavorRows { // more than is wanted may be covered
		r.lp.add(column{upper: math.Inf(1), rows: []int32{int32(row)}, coef: []float64{-1}})
	}
	for g := range demand {
		if demand[g] == 0 {
			continue
		}
		for h := range in.kinds {
			if n := in.copies(g, &in.kinds[h], in.kinds[h].capacity, demand[g]); n > 0 && avail[h] > 0 {
				r.add(pattern{h, []load{{g, n}}})
			}
		}
	}
	for _, p := range patterns {
		r.add(p)
	}
	return r
}

// cheapest is the kind without limit on which a flavor costs least.
func (r *relaxation) cheapest(g int) (kind int, copies int64) {
	best := math.Inf(1)
	for h := range r.in.kinds {
		k := &r.in.kinds[h]
		n := r.in.copies(g, k, k.capacity, r.demand[g])
		if price := float64(k.cost) / float64(n); n > 0 && k.limit == unlimited && price < best {
			kind, copies, best = h, n, price
		}
	}
	return kind, copies
}

// add adds a pattern as a column, if it holds anything that is wanted.
func (r *relaxation) add(p pattern) {
	c := column{cost: float64(r.in.kinds[p.kind].cost), upper: math.Inf(1)}
	for _, w := range p.loads {
		if row := r.rowOf[w.flavor]; row >= 0 {
			c.rows, c.coef = append(c.rows, int32(row)), append(c.coef, float64(w.copies))
		}
	}
	if len(c.rows) == 0 || r.avail[p.kind] == 0 {
		return
	}
	if row := r.rowOf[len(r.in.flavors)+p.kind]; row >= 0 {
		c.rows, c.coef = append(c.rows, int32(row)), append(c.coef, 1)
	}
	r.patterns = append(r.patterns, p)
	r.columns = append(r.columns, len(r.lp.columns))
	r.lp.add(c)
}

// effort says how hard a relaxation is worked on.
type effort struct {
	widths  []int  // of the knapsacks' lists, tried in turn until one settles the matter
	rounds  int    // of pricing
	settled bool   // stop when the bound, as a whole number, is that of the program
	target  int64  // stop when no cost below it is possible; zero is none
	work    *int64 // states that knapsacks may still look at
	told    func() // after each round; may be nil
}

// stateCost is how many elements of a matrix are changed in the time that a knapsack looks at one state.
const stateCost = 100

// solve generates columns until none is missing, the bound says that no more can be gained, or the effort
// is spent.
func (r *relaxation) solve(ctx context.Context, e effort) {
	for r.rounds < e.rounds && *e.work > 0 && ctx.Err() == nil {
		r.rounds++
		before := r.lp.steps
		solved := r.lp.solve(ctx)
		*e.work -= (r.lp.steps - before) * int64(len(r.lp.rhs)) * int64(len(r.lp.rhs)) / stateCost
		if !solved {
			break
		}
		found := r.price(ctx, e)
		if e.told != nil {
			e.told()
		}
		if !found {
			break
		}
	}
	r.value = r.objective()
	r.usage = make([]float64, len(r.patterns))
	for i, c := range r.columns {
		if row := r.lp.place[c]; row >= 0 {
			r.usage[i] = max(0, r.lp.value[row])
		}
	}
}

func (r *relaxation) objective() float64 {
	v := 0.0
	for row, c := range r.lp.basis {
		v += r.lp.columns[c].cost * max(0, r.lp.value[row])
	}
	return v
}

// price adds patterns that are worth more than their host costs, and returns whether the program can gain by
// them. A bound follows from what was proved on the way.
//
// The program's own prices jump about while patterns are few. So first those between them and the prices of
// the best bound are tried, with little effort: they give better patterns and better bounds (smoothing, after
// Wentges). Only when that brings nothing the program's own are, with all effort that is needed.
func (r *relaxation) price(ctx context.Context, e effort) bool {
	quick := e
	quick.widths = e.widths[:1]
	found := r.best.value != nil && r.ask(ctx, quick, smoothing) || r.ask(ctx, e, 0)
	if !found || r.best.value == nil {
		return found
	}
	b, _ := r.best.value.Float64()
	gap := r.objective() - b
	if e.target > 0 && r.in.whole(r.best.value) >= e.target {
		return false
	}
	if e.settled && gap < 1e-3*b && r.in.whole(r.best.value) >= r.in.ceil(r.objective()) {
		return false // what is left to gain changes no whole number
	}
	return gap > 1e-8*max(1, b)
}

// smoothing is how much the best bound's prices count.
const smoothing = 0.6

// ask looks for patterns under prices of which the best bound's are the given part.
func (r *relaxation) ask(ctx context.Context, e effort, part float64) bool {
	d := r.dual(part)
	if d == nil {
		return false
	}
	most := make([]int64, len(r.in.kinds)) // that a filling of the kind can be worth
	found := false
	for h, k := range r.sacks {
		floor := d.scale*r.in.kinds[h].cost + d.excess[h]
		if most[h] = floor + floor>>36; k == nil { // what is worth so little more is no gain
			continue
		}
		floor = most[h]
		for _, width := range e.widths {
			a := k.solve(ctx, d.prices, floor, width)
			*e.work -= a.states
			most[h] = a.most
			gains := a.value > floor && r.gain(pattern{h, a.loads})
			if found = found || gains; gains {
				r.more(ctx, h, d, a.loads, floor, e)
			}
			if gains || a.most == floor || *e.work <= 0 || ctx.Err() != nil {
				break
			}
		}
	}
	if ctx.Err() != nil {
		return false
	}
	if b := r.in.scaled(r.demand, d, most); r.best.value == nil || b.value.Cmp(r.best.value) > 0 {
		r.best = b
	}
	return found
}

// gain adds a pattern if it is worth more than its host costs at the program's own prices.
func (r *relaxation) gain(p pattern) bool {
	before := len(r.lp.columns)
	r.add(p)
	if len(r.lp.columns) == before {
		return false
	}
	c := &r.lp.columns[before]
	if r.lp.reduced(c) < -optimalWithin*max(1, c.cost) {
		return true
	}
	r.lp.columns, r.lp.place = r.lp.columns[:before], r.lp.place[:before]
	r.patterns, r.columns = r.patterns[:len(r.patterns)-1], r.columns[:len(r.columns)-1]
	return false
}

// more looks for a few further patterns without the flavors that the first ones have. With many flavors that
// saves rounds.
func (r *relaxation) more(ctx context.Context, h int, d *bound, loads []load, floor int64, e effort) {
	values := slices.Clone(d.prices)
	for n := len(r.sacks[h].items) / 20; n > 0 && len(loads) > 0; n-- {
		for _, w := range loads {
			values[w.flavor] = 0
		}
		a := r.sacks[h].solve(ctx, values, floor, 64)
		*e.work -= a.states
		if loads = a.loads; a.value <= floor || !r.gain(pattern{h, loads}) {
			return
		}
	}
}

// ceil is the least cost of a plan that the program's value allows, which is no proof.
func (in *instance) ceil(value float64) int64 {
	b := new(big.Rat)
	if b.SetFloat64(value-1e-7*max(1, value)) == nil {
		return 0
	}
	return in.whole(b)
}

// dual makes integers of the program's prices, mixed with those of the best bound. They need not be feasible.
func (r *relaxation) dual(part float64) *bound {
	prices, excess := make([]float64, len(r.in.flavors)), make([]float64, len(r.in.kinds))
	for g := range prices {
		if row := r.rowOf[g]; row >= 0 {
			prices[g] = (1 - part) * max(0, r.lp.price[row])
		}
	}
	for h := range excess {
		if row := r.rowOf[len(prices)+h]; row >= 0 {
			excess[h] = (1 - part) * max(0, -r.lp.price[row])
		}
	}
	if part > 0 {
		for g, p := range r.best.prices {
			prices[g] += part * float64(p) / float64(r.best.scale)
		}
		for h, x := range r.best.excess {
			excess[h] += part * float64(x) / float64(r.best.scale)
		}
	}
	return r.in.integers(r.demand, prices, excess)
}

// integers scales prices and excess so that the largest sums just stay below their limit, and cuts off what
// is behind the point. It returns nil when they are too large.
func (in *instance) integers(demand []int64, prices, excess []float64) *bound {
	d := &bound{prices: make([]int64, len(prices)), excess: make([]int64, len(excess))}
	largest := max(1, 2*float64(in.penalty))
	for h, k := range in.kinds {
		worth := 0.0
		for g, p := range prices {
			worth += p * float64(max(0, in.copies(g, &k, k.capacity, demand[g])))
		}
		largest = max(largest, worth, 4*(excess[h]+float64(k.cost)))
	}
	if !(largest < maxWorth/2) {
		return nil
	}
	_, exp := math.Frexp(maxWorth / largest)
	d.scale = 1 << min(exp-2, 58)
	for g, p := range prices {
		d.prices[g] = int64(p * float64(d.scale))
		if in.flavors[g].optional {
			d.prices[g] = min(d.prices[g], in.penalty*d.scale)
		}
	}
	for h, x := range excess {
		d.excess[h] = int64(x * float64(d.scale))
	}
	return d
}

// scaled makes a dual solution feasible, given what the fillings of every kind can be worth at most, and
// returns the bound that follows (Farley's, for several kinds of host): all prices are made smaller by one
// factor, which brings the kinds without limit down to their cost, and the excess of the others follows.
// Among the factors at which some kind is worth just its cost, the best is chosen.
func (in *instance) scaled(demand []int64, d *bound, most []int64) bound {
	num, den := uint64(1), uint64(1) // of the largest factor allowed
	atMost := func(a, b uint64) {    // a/b, if it is less
		h1, l1 := bits.Mul64(a, den)
		h2, l2 := bits.Mul64(num, b)
		if h1 < h2 || h1 == h2 && l1 < l2 {
			num, den = a, b
		}
	}
	for h, k := range in.kinds {
		if k.limit == unlimited {
			atMost(uint64(d.scale*k.cost), uint64(max(1, most[h])))
		}
	}
	best := in.withFactor(demand, d, most, num, den)
	limitNum, limitDen := num, den
	for h, k := range in.kinds {
		if k.limit == unlimited || k.cost == 0 {
			continue
		}
		num, den = limitNum, limitDen
		atMost(uint64(d.scale*k.cost), uint64(max(1, most[h])))
		if b := in.withFactor(demand, d, most, num, den); b.value.Cmp(best.value) > 0 {
			best = b
		}
	}
	return best
}

func (in *instance) withFactor(demand []int64, d *bound, most []int64, num, den uint64) bound {
	b := bound{scale: d.scale, prices: make([]int64, len(d.prices)), excess: make([]int64, len(d.excess))}
	down := func(n int64) int64 {
		hi, lo := bits.Mul64(uint64(n), num)
		q, _ := bits.Div64(hi, lo, den) // num <= den, so that the quotient is at most n
		return int64(q)
	}
	for g, p := range d.prices {
		b.prices[g] = down(p)
	}
	for h, k := range in.kinds {
		if k.limit != unlimited {
			b.excess[h] = max(0, down(most[h])-d.scale*k.cost)
		}
	}
	b.value = in.worth(demand, &b)
	return b
}

// worth is what a feasible dual solution proves: no plan for the demand costs less.
func (in *instance) worth(demand []int64, b *bound) *big.Rat {
	sum, t := new(big.Int), new(big.Int)
	for g, n := range demand {
		sum.Add(sum, t.Mul(big.NewInt(n), big.NewInt(b.prices[g])))
	}
	for h, k := range in.kinds {
		if k.limit != unlimited {
			sum.Sub(sum, t.Mul(big.NewInt(k.limit), big.NewInt(b.excess[h])))
		}
	}
	return new(big.Rat).SetFrac(sum, big.NewInt(b.scale))
}
