package packing

import (
	"context"
	"math"
	"math/bits"
	"slices"
)

// knapsack finds the most valuable set of copies that fits one host: the pricing problem of a kind of host.
//
// It goes through the flavors, large ones first, and keeps a list of states: what is left of the host, and the
// most value that can have been had for the rest. Two states with the same left are one. A state goes when a
// bound on what it can still reach is no more than what is wanted or already had, so that few remain where
// value and size agree, and where they do not, sizes are few. When there are more than width, the least
// promising are dropped, and the bound of the best of these becomes part of what is proved.
//
// All arithmetic is on integers. The bound comes from prices of the classes, by Lagrange: whatever the prices,
// what is left times price, and of every flavor to come its value less its size times price where that is
// positive, is no less than what can be added. Prices only have to be good, so they come from simplex; there
// is one set for the whole and one for each tail of the list of flavors.
type knapsack struct {
	items    []packable
	capacity []int64
	fields   []field  // where the amount of each class stands in a state's key
	words    int      // of a key
	guards   []uint64 // the bit above each field; it stays set as long as nothing is overdrawn
	full     []uint64 // the key of an empty host

	lp     simplex // over parts of the capacity
	ones   []float64
	slacks []column

	whole  prices   // for all flavors
	rest   []int64  // what the flavors from each on can add beyond those prices of what they take
	tails  []prices // for the flavors from each on; the last is of none
	extra  []int64  // what these can add beyond their own prices
	now    states
	next   states
	nodes  []node // how states were reached
	stairs []stair
	drop   []bool  // which states go
	reach  []int64 // of every state
	order  []int64 // the same, disordered
}

// packable is a flavor as the knapsack sees it.
type packable struct {
	flavor int
	need   []int64
	key    []uint64
	most   int64 // copies that fit or are wanted, whichever is less; at least 1
	value  int64
	column column // of the linear program
}

type field struct {
	word  int
	shift uint
	mask  uint64
}

// prices of the classes, as integers shifted to the left by shift.
type prices struct {
	of    []uint64
	shift []uint
}

type states struct {
	key   []uint64 // words for each, ascending
	value []int64
	node  []int32 // -1 is the empty host
}

type node struct {
	before int32
	item   int32
	copies int64
}

func (s *states) reset()   { s.key, s.value, s.node = s.key[:0], s.value[:0], s.node[:0] }
func (s *states) len() int { return len(s.value) }

// newKnapsack prepares for hosts of a kind and flavors that are wanted so many times; it returns nil if none
// fits.
func newKnapsack(in *instance, of *kind, demand []int64) *knapsack {
	capacity := of.capacity
	k := &knapsack{capacity: capacity, fields: make([]field, len(capacity)), words: 1}
	used := uint(0)
	for c, n := range capacity {
		width := uint(bits.Len64(uint64(n)))
		if used+width+1 > 64 {
			k.words, used = k.words+1, 0
		}
		k.fields[c] = field{word: k.words - 1, shift: used, mask: 1<<width - 1}
		used += width + 1
	}
	k.guards, k.full = make([]uint64, k.words), make([]uint64, k.words)
	for c, f := range k.fields {
		k.guards[f.word] |= (f.mask + 1) << f.shift
		k.full[f.word] |= (uint64(capacity[c]) | (f.mask + 1)) << f.shift
	}
	for c, n := range capacity {
		k.slacks = append(k.slacks, column{upper: math.Inf(1), rows: []int32{int32(c)}, coef: []float64{1}})
		k.ones = append(k.ones, min(1, float64(n))) // nothing, where there is no capacity
	}
	for g := range demand {
		need := in.flavors[g].need
		most := in.copies(g, of, capacity, demand[g])
		if most <= 0 {
			continue
		}
		p := packable{flavor: g, need: need, most: most, key: make([]uint64, k.words)}
		for c, f := range k.fields {
			p.key[f.word] |= uint64(need[c]) << f.shift
		}
		p.column.upper = float64(most)
		for c, n := range need {
			if n > 0 {
				p.column.rows = append(p.column.rows, int32(c))
				p.column.coef = append(p.column.coef, float64(n)/float64(capacity[c]))
			}
		}
		k.items = append(k.items, p)
	}
	if len(k.items) == 0 {
		return nil
	}
	slices.SortStableFunc(k.items, func(a, b packable) int {
		x, y := share(a.need, capacity), share(b.need, capacity)
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return a.flavor - b.flavor
	})
	return k
}

// share is the largest part of a capacity that a need takes, over the classes.
func share(need, capacity []int64) float64 {
	s := 0.0
	for c, n := range need {
		if n > 0 {
			s = max(s, float64(n)/float64(capacity[c]))
		}
	}
	return s
}

// answer is what is known of a knapsack's most valuable filling.
type answer struct {
	value  int64  // of the best filling that was found, if it is above the floor; else zero
	loads  []load // that filling
	most   int64  // no filling is worth more; at least the floor
	states int64  // looked at, a measure of the work
}

// maxWorth is what all copies together may be worth at most, so that no sum in solve overflows.
const maxWorth = 1 << 60

// solve looks for a filling worth more than floor. values are those of all flavors, zero or more, and add up
// to at most maxWorth over all copies that fit. If most in the answer equals floor, none is worth more.
func (k *knapsack) solve(ctx context.Context, values []int64, floor int64, width int) answer {
	for i := range k.items {
		k.items[i].value = values[k.items[i].flavor]
	}
	k.setPrices(ctx)
	a := answer{most: floor, states: int64(len(k.items) * (len(k.items) + 16) / 16)} // what prices take, in terms of states
	k.greedy(&a)
	k.nodes = k.nodes[:0]
	k.now.reset()
	k.now.key, k.now.value, k.now.node = append(k.now.key, k.full...), append(k.now.value, 0), append(k.now.node, -1)
	dropped := int64(math.MinInt64)
	for i := range k.items {
		it := &k.items[i]
		if it.value == 0 {
			continue
		}
		for left, copies := it.most, int64(1); left > 0; copies *= 2 { // any number is a sum of some of these
			copies = min(copies, left)
			left -= copies
			k.take(i, copies, max(a.value, floor))
			a.states += int64(k.now.len())
			if k.now.len() > 4*width {
				dropped = max(dropped, k.thin(i, 4*width))
			}
		}
		k.settle(i+1, floor, &a)
		if k.now.len() > width {
			dropped = max(dropped, k.thin(i+1, width))
		}
		if k.now.len() == 0 || ctx.Err() != nil {
			break
		}
	}
	if ctx.Err() != nil {
		dropped = math.MaxInt64 // nothing is proved
	}
	a.most = max(a.value, floor, dropped)
	return a
}

// settle takes note of the best state, and drops those that can no longer be better than it, given that
// flavors before i are done.
func (k *knapsack) settle(i int, floor int64, a *answer) {
	s := &k.now
	best := -1
	for j, v := range s.value {
		if v > max(a.value, floor) {
			a.value, best = v, j
		}
	}
	if best >= 0 {
		a.loads = k.filling(s.node[best])
	}
	floor = max(a.value, floor)
	k.keep(func(j int, key []uint64) bool { return k.reaches(key, i, floor-s.value[j]) })
	k.dominate()
}

// keep drops all states but some.
func (k *knapsack) keep(some func(j int, key []uint64) bool) {
	s, n, w := &k.now, 0, k.words
	for j := range s.value {
		if key := s.key[j*w : j*w+w]; some(j, key) {
			copy(s.key[n*w:], key)
			s.value[n], s.node[n] = s.value[j], s.node[j]
			n++
		}
	}
	s.key, s.value, s.node = s.key[:n*w], s.value[:n], s.node[:n]
}

// take adds to the states those with copies more of item i, in order, of equal ones the more valuable.
func (k *knapsack) take(i int, copies, floor int64) {
	it, s, out, w := &k.items[i], &k.now, &k.next, k.words
	out.reset()
	step := make([]uint64, w)
	for c, f := range k.fields {
		if it.need[c] > 0 && copies > k.capacity[c]/it.need[c] {
			return
		}
		step[f.word] += uint64(it.need[c]*copies) << f.shift
	}
	gain := it.value * copies
	taken := make([]uint64, w)
	stay, add, n := 0, 0, s.len()
	for {
		// Find the next state that has room; taken is what it becomes.
		fits := false
		for ; add < n && !fits; add++ {
			fits = true
			for x := range w {
				taken[x] = s.key[add*w+x] - step[x]
				fits = fits && taken[x]&k.guards[x] == k.guards[x]
			}
			fits = fits && k.reaches(taken, i, floor-gain-s.value[add])
		}
		if !fits {
			break
		}
		from := add - 1
		for ; stay < n && less(s.key[stay*w:stay*w+w], taken); stay++ {
			out.push(s.key[stay*w:stay*w+w], s.value[stay], s.node[stay])
		}
		value := s.value[from] + gain
		if stay < n && slices.Equal(s.key[stay*w:stay*w+w], taken) {
			if s.value[stay] >= value {
				continue // it comes out by itself
			}
			stay++
		}
		k.nodes = append(k.nodes, node{s.node[from], int32(i), copies})
		out.push(taken, value, int32(len(k.nodes)-1))
	}
	for ; stay < n; stay++ {
		out.push(s.key[stay*w:stay*w+w], s.value[stay], s.node[stay])
	}
	k.now, k.next = k.next, k.now
}

func (s *states) push(key []uint64, value int64, node int32) {
	s.key, s.value, s.node = append(s.key, key...), append(s.value, value), append(s.node, node)
}

func less(a, b []uint64) bool {
	for x := range a {
		if a[x] != b[x] {
			return a[x] < b[x]
		}
	}
	return false
}

// reaches tells whether, for all that is known, the flavors from i on can add more than so much to a state.
func (k *knapsack) reaches(key []uint64, i int, more int64) bool {
	return k.byWhole(key, i) > more && (len(k.tails) == 0 || k.byTail(key, i) > more)
}

// byWhole bounds what the flavors from i on can add to a state.
func (k *knapsack) byWhole(key []uint64, i int) int64 {
	most := k.rest[i]
	for c, f := range k.fields {
		most += k.whole.worthUp(c, key[f.word]>>f.shift&f.mask)
	}
	return most
}

// byTail bounds the same by other prices.
func (k *knapsack) byTail(key []uint64, i int) int64 {
	most, p := k.extra[i], &k.tails[i]
	for c, f := range k.fields {
		most += p.worthUp(c, key[f.word]>>f.shift&f.mask)
	}
	return most
}

// worthUp is the price of n of class c, rounded up.
func (p *prices) worthUp(c int, n uint64) int64 {
	hi, lo := bits.Mul64(p.of[c], n)
	w := hi<<(64-p.shift[c]) | lo>>p.shift[c]
	if lo&(1<<p.shift[c]-1) != 0 {
		w++
	}
	return int64(w)
}

// worthDown is the price of n of class c, rounded down.
func (p *prices) worthDown(c int, n uint64) int64 {
	hi, lo := bits.Mul64(p.of[c], n)
	return int64(hi<<(64-p.shift[c]) | lo>>p.shift[c])
}

// thin keeps the width most promising states and returns the bound of the best of the others.
func (k *knapsack) thin(i, width int) int64 {
	s, w := &k.now, k.words
	k.reach = k.reach[:0]
	for j, v := range s.value {
		key := s.key[j*w : j*w+w]
		r := k.byWhole(key, i)
		if len(k.tails) > 0 {
			r = min(r, k.byTail(key, i))
		}
		k.reach = append(k.reach, v+r)
	}
	k.order = append(k.order[:0], k.reach...)
	limit := nth(k.order, width-1)
	equal := width // of the states at the limit, so many may stay
	for _, r := range k.reach {
		if r > limit {
			equal--
		}
	}
	dropped := int64(math.MinInt64)
	k.keep(func(j int, _ []uint64) bool {
		r := k.reach[j]
		if r == limit {
			equal--
		}
		if r > limit || r == limit && equal >= 0 {
			return true
		}
		dropped = max(dropped, r)
		return false
	})
	return dropped
}

// nth returns the element that has n larger or equal ones before it when a is in descending order, and
// disorders a.
func nth(a []int64, n int) int64 {
	for len(a) > 1 {
		x, y, z := a[0], a[len(a)/2], a[len(a)-1]
		pivot := max(min(x, y), min(max(x, y), z))
		above, below := 0, len(a) // a[:above] > pivot, a[below:] < pivot
		for i := 0; i < below; {
			switch {
			case a[i] > pivot:
				a[above], a[i] = a[i], a[above]
				above++
				i++
			case a[i] < pivot:
				below--
				a[below], a[i] = a[i], a[below]
			default:
				i++
			}
		}
		switch {
		case n < above:
			a = a[:above]
		case n >= below:
			a, n = a[below:], n-below
		default:
			return pivot
		}
	}
	return a[0]
}

// filling follows the way back from a state.
func (k *knapsack) filling(n int32) []load {
	var loads []load
	for ; n >= 0; n = k.nodes[n].before {
		d := &k.nodes[n]
		f := k.items[d.item].flavor
		if last := len(loads) - 1; last >= 0 && loads[last].flavor == f {
			loads[last].copies += d.copies
			continue
		}
		loads = append(loads, load{f, d.copies})
	}
	slices.SortFunc(loads, func(a, b load) int { return a.flavor - b.flavor })
	return loads
}

// greedy fills a host with what is worth most for its price, to have something to compare with.
func (k *knapsack) greedy(a *answer) {
	order := make([]int, len(k.items))
	ratio := make([]float64, len(k.items))
	for i := range k.items {
		price := 1.0
		for c, n := range k.items[i].need {
			price += float64(k.whole.worthDown(c, uint64(n)))
		}
		order[i], ratio[i] = i, float64(k.items[i].value)/price
	}
	slices.SortStableFunc(order, func(x, y int) int {
		switch {
		case ratio[x] > ratio[y]:
			return -1
		case ratio[x] < ratio[y]:
			return 1
		}
		return 0
	})
	room := slices.Clone(k.capacity)
	value := int64(0)
	var loads []load
	for _, i := range order {
		it := &k.items[i]
		n := fits(it.need, room, it.most)
		if n <= 0 || it.value == 0 {
			continue
		}
		for c, w := range it.need {
			room[c] -= n * w
		}
		value += n * it.value
		loads = append(loads, load{it.flavor, n})
	}
	if value > a.most {
		slices.SortFunc(loads, func(a, b load) int { return a.flavor - b.flavor })
		a.value, a.loads = value, loads
	}
}

// manyItems is the number of flavors from which a price for every tail would cost more than it saves.
const manyItems = 1000

// setPrices finds the prices: the dual values of the knapsack without its integers, to which the flavors are
// added from the last to the first.
func (k *knapsack) setPrices(ctx context.Context) {
	scale := 1.0
	for i := range k.items {
		scale = max(scale, float64(k.items[i].value)*float64(k.items[i].most))
	}
	k.lp.start(k.ones, k.slacks)
	if k.tails = k.tails[:0]; len(k.items) <= manyItems {
		k.tails, k.extra = resize(k.tails, len(k.items)+1), resize(k.extra, len(k.items)+1)
		k.tails[len(k.items)].set(k, scale)
		k.extra[len(k.items)] = 0
	}
	for i := len(k.items) - 1; i >= 0; i-- {
		it := &k.items[i]
		if it.value > 0 {
			it.column.cost = -float64(it.value) / scale
			k.lp.add(it.column)
			if len(k.tails) > 0 {
				k.lp.solve(ctx)
			}
		}
		if len(k.tails) > 0 {
			k.tails[i].set(k, scale)
			k.extra[i] = 0
			for j := i; j < len(k.items); j++ {
				k.extra[i] += k.tails[i].beyond(&k.items[j])
			}
		}
	}
	k.lp.solve(ctx)
	k.whole.set(k, scale)
	k.rest = resize(k.rest, len(k.items)+1)
	k.rest[len(k.items)] = 0
	for i := len(k.items) - 1; i >= 0; i-- {
		k.rest[i] = k.rest[i+1] + k.whole.beyond(&k.items[i])
	}
}

// set makes integers of the prices that simplex has. Any that are not negative would do; they are kept so
// small that the whole host is worth at most twice maxWorth.
func (p *prices) set(k *knapsack, scale float64) {
	m := len(k.capacity)
	p.of, p.shift = resize(p.of, m), resize(p.shift, m)
	for c, n := range k.capacity {
		p.of[c], p.shift[c] = 0, 0
		if n == 0 {
			continue
		}
		// The price of the whole capacity, and of one unit with as many bits behind the point as that has.
		all := min(max(0, -k.lp.price[c]*scale), 2*maxWorth/float64(m))
		p.shift[c] = uint(bits.Len64(uint64(n)))
		p.of[c] = uint64(math.Ldexp(all/float64(n), int(p.shift[c])))
	}
}

// beyond is what all copies of an item are worth beyond the price of what they take, if they are.
func (p *prices) beyond(it *packable) int64 {
	extra := it.value
	for c, n := range it.need {
		extra -= p.worthDown(c, uint64(n))
	}
	return max(0, extra) * it.most
}
