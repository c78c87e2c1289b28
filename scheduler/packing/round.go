package packing

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// search looks for a plan that costs as little as the bound allows.
type search struct {
	in    *instance
	sizes []int // flavors, large ones first

	patterns []pattern // that were generated so far
	best     *layout
	cost     int64 // of best
	proof    bound
	least    int64 // no plan costs less, by proof
	work     int64 // states that knapsacks may still look at

	told func(Progress) // may be nil
	now  Progress
}

// offer keeps a complete layout if it is better than the best, with its hosts as small as may be.
func (s *search) offer(l *layout) {
	l.downsize()
	if c := l.cost(); s.best == nil || c < s.cost {
		s.best, s.cost = l, c
		s.tell()
	}
}

// prove takes over a bound.
func (s *search) prove(b bound) {
	s.proof, s.least = b, s.in.whole(b.value)
	s.now.Bound, _ = b.value.Float64()
	s.tell()
}

func (s *search) tell() {
	if s.told != nil && s.best != nil {
		s.now.Cost, s.now.Patterns = s.cost, len(s.patterns)
		s.told(s.now)
	}
}

func (s *search) done(ctx context.Context) bool { return s.cost <= s.least || ctx.Err() != nil }

// greedy packs by best-fit decreasing, in an order by all classes and in one by each.
func (s *search) greedy() {
	for only := -1; only < len(s.in.classes); only++ {
		if only >= 0 && len(s.in.classes) == 1 {
			break
		}
		l := newLayout(s.in)
		l.fill(s.in.bySize(only))
		s.offer(l)
		if s.cost <= s.least {
			break
		}
	}
}

// dive rounds a relaxation to a plan: whole hosts of its patterns are taken, the program for what is left is
// solved again, and where it has no whole hosts the pattern that comes nearest is taken once. After each
// step what is left is packed by best-fit decreasing too. Of the bits of choice each says whether the second
// nearest is taken instead, so that dives differ.
func (s *search) dive(ctx context.Context, from *layout, first *relaxation, choice uint) {
	l := from.clone()
	r := first
	for !s.done(ctx) {
		if r == nil {
			r = s.relax(ctx, l)
		}
		placed := l.placed()
		if ctx.Err() != nil || float64(placed)+math.Ceil(r.value-1e-6) >= float64(s.cost) {
			return
		}
		before := slices.Clone(l.demand)
		s.takeWhole(l, r)
		if slices.Equal(before, l.demand) {
			s.takeNearest(l, r, int(choice&1))
			choice >>= 1
		}
		r = nil
		if slices.Equal(before, l.demand) {
			return // nothing can be placed any more
		}
		l.absorb(s.sizes)
		full := l.clone()
		full.fill(s.sizes)
		s.offer(full)
		if !l.left() {
			return
		}
	}
}

// relax solves the program for what is left, not to the end: what it is wanted for is patterns.
func (s *search) relax(ctx context.Context, l *layout) *relaxation {
	r := newRelaxation(s.in, l.demand, l.avail, s.patterns)
	known := len(r.patterns)
	r.solve(ctx, effort{widths: []int{256}, rounds: 60, target: s.cost - l.placed(), work: &s.work})
	s.patterns = append(s.patterns, r.patterns[known:]...)
	if n := len(s.patterns) - 4*mostRows; n > 0 {
		s.patterns = s.patterns[n:]
	}
	return r
}

// cover rounds a relaxation up, so that more is covered than is wanted, and then takes hosts away that are not
// missed, the dearest or the cheapest first.
func (s *search) cover(r *relaxation, dearest bool) {
	over, hosts := make([]int64, len(s.in.flavors)), make([]int64, len(r.patterns))
	for g := range s.in.flavors {
		over[g] = -s.in.flavors[g].count
	}
	var order []int
	for i, u := range r.usage {
		if hosts[i] = int64(math.Ceil(u - 1e-6)); hosts[i] > 0 {
			order = append(order, i)
		}
		for _, w := range r.patterns[i].loads {
			over[w.flavor] += w.copies * hosts[i]
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		c := cmp.Compare(s.in.kinds[r.patterns[a].kind].cost, s.in.kinds[r.patterns[b].kind].cost)
		if dearest {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(r.usage[a]-math.Floor(r.usage[a]), r.usage[b]-math.Floor(r.usage[b])))
	})
	l := newLayout(s.in)
	for _, i := range order {
		p := &r.patterns[i]
		n := hosts[i]
		for _, w := range p.loads {
			n = min(n, max(0, over[w.flavor])/w.copies)
		}
		for _, w := range p.loads {
			over[w.flavor] -= n * w.copies
		}
		hosts[i] -= n
	}
	for _, i := range order {
		l.use(&r.patterns[i], hosts[i])
	}
	l.fill(s.sizes)
	s.offer(l)
}

func (s *search) takeWhole(l *layout, r *relaxation) {
	for i, u := range r.usage {
		if n := math.Floor(u + 1e-6); n >= 1 {
			l.use(&r.patterns[i], int64(n))
		}
	}
}

func (s *search) takeNearest(l *layout, r *relaxation, rank int) {
	var order []int
	for i, u := range r.usage {
		if u > 1e-6 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(r.usage[b], r.usage[a]) })
	if len(order) == 0 {
		return
	}
	l.use(&r.patterns[order[min(rank, len(order)-1)]], 1)
	for _, i := range order {
		if r.usage[i] > 0.95 {
			l.use(&r.patterns[i], 1)
		}
	}
}

// repair takes a few hosts at a time out of the best plan, the emptiest first, and packs what was on them anew,
// until there is nothing to gain or the work is done.
func (s *search) repair(ctx context.Context) {
	const window = 48
	idle := 8 + 500/(len(s.in.flavors)+1) // tries in a row that bring nothing
	hosts := min(int64(len(s.in.flavors))+2, window)
	for skip, failed := int64(0), 0; failed < idle && s.work > 0 && !s.done(ctx); {
		l, more := s.without(skip, hosts)
		before := s.cost
		s.dive(ctx, l, nil, 0)
		switch {
		case s.cost < before:
			failed = 0
			continue
		case more:
			skip += hosts / 2
		default: // through with all: larger parts now
			skip, hosts = 0, 2*hosts
			if hosts > 8*window {
				return
			}
		}
		failed++
	}
}

// without is the best plan without some of its hosts, once the emptiest have been skipped. It also returns
// whether there would have been others.
func (s *search) without(skip, hosts int64) (*layout, bool) {
	l := s.best.clone()
	order := l.fullest(-1)
	slices.Reverse(order)
	drop := make([]int64, len(l.groups))
	for _, i := range order {
		n := l.groups[i].hosts
		over := min(skip, n)
		drop[i] = min(hosts, n-over)
		skip, hosts = skip-over, hosts-drop[i]
	}
	var keep []group
	for i := range l.groups {
		g := &l.groups[i]
		for _, w := range g.loads {
			l.demand[w.flavor] += drop[i] * w.copies
		}
		if l.avail[g.kind] != unlimited {
			l.avail[g.kind] += drop[i]
		}
		if g.hosts -= drop[i]; g.hosts > 0 {
			keep = append(keep, *g)
		}
	}
	l.groups = keep
	return l, hosts == 0 && len(keep) > 0
}
