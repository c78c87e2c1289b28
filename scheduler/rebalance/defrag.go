package rebalance

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// Bounds of the large-neighbourhood search, for each unit of Options.Effort.
const (
	maxLooks  = 50e6 // at hosts
	maxRounds = 2000
	maxIdle   = 150 // rounds without success
)

// defragment empties hosts. looks is how much the search may still cost.
func (s *search) defragment(looks int64) {
	s.filling = true
	for h := range s.hosts {
		s.open[h] = s.open[h] && !s.empty(int32(h))
		if s.noSource[h] == "" && len(s.on[h]) > 0 && s.stuck(int32(h)) == "" {
			s.order = append(s.order, int32(h))
		}
	}
	heavy := make([]float64, len(s.hosts))
	for _, h := range s.order {
		for _, i := range s.on[h] {
			heavy[h] += s.weight(i, s.weights)
		}
	}
	slices.SortFunc(s.order, func(a, b int32) int {
		return cmp.Or(len(s.on[a])-len(s.on[b]), cmp.Compare(heavy[a], heavy[b]), cmp.Compare(a, b))
	})
	best, most := s.policies[0], score{}
	for n, p := range s.policies { // which measure of what is left over does best to begin with
		s.policy = p
		s.fill(nil)
		if n == 0 || s.score().beats(most) {
			best, most = p, s.score()
		}
		s.removeAll()
	}
	s.policy = best
	s.fill(nil)
	s.improve(s.looks + looks)
}

// stuck returns why a host cannot be emptied whatever room there is elsewhere.
func (f *fleet) stuck(h int32) string {
	if f.fixed[h] > 0 {
		if f.hosts[h].Held > 0 {
			return "it has held allocations, whose machines may still appear"
		}
		return "an instance is being moved to it"
	}
	for _, i := range f.on[h] {
		if why := f.stays[i]; why != "" {
			return "instance " + string(f.instances[i].ID) + " stays: " + why
		}
	}
	return ""
}

// fill empties hosts in order until nothing more can be done. Of each that skip names the turn comes later.
func (s *search) fill(skip func(h int32) bool) {
	clear(s.noRoom)
	clear(s.noEject)
	s.later = s.later[:0]
	for _, h := range s.order {
		switch {
		case s.ctx.Err() != nil:
			return
		case skip != nil && skip(h):
			s.later = append(s.later, h)
		default:
			s.try(h)
		}
	}
	for _, h := range s.later {
		s.try(h)
	}
}

// try empties a host as a whole, within the budget, or leaves everything as it is.
func (s *search) try(h int32) bool {
	if s.received[h] > 0 || s.ejected[h] > 0 || s.emptied[h] || s.moves+len(s.on[h]) > s.budget.moves {
		return false
	}
	s.here = append(s.here[:0], s.on[h]...)
	bytes := int64(0)
	for _, i := range s.here {
		bytes += s.copies[i]
	}
	if !s.budget.covers(0, s.bytes+bytes) {
		return false
	}
	slices.SortFunc(s.here, s.larger(s.policy))
	b := bundle{host: h, why: "host " + string(s.hosts[h].ID) + " becomes empty"}
	s.emptied[h], s.open[h] = true, false
	for at, i := range s.here {
		if !s.place(&b, i, len(s.here)-at) {
			s.failed[h] = i
			s.takeBack(&b)
			return false
		}
	}
	if !s.budget.covers(s.moves+len(b.steps), s.bytes+b.bytes) {
		s.takeBack(&b)
		return false
	}
	s.keep(b)
	return true
}

// takeBack undoes a bundle's steps, and keeps them in mind.
func (s *search) takeBack(b *bundle) {
	for _, x := range slices.Backward(b.steps) {
		s.back(x)
		s.note(x, -1)
	}
	s.emptied[b.host], s.open[b.host] = false, s.noTarget[b.host] == ""
}

// again carries a bundle out that has been taken back.
func (s *search) again(b *bundle) {
	s.emptied[b.host], s.open[b.host] = true, false
	for _, x := range b.steps {
		s.move(x.instance, x.to, x.claims)
		s.note(x, 1)
	}
}

// score is what the bundles are worth: hosts emptied, then few moves, then few bytes.
type score struct {
	hosts, moves int
	bytes        int64
}

func (a score) beats(b score) bool {
	return cmp.Or(a.hosts-b.hosts, b.moves-a.moves, cmp.Compare(b.bytes, a.bytes)) > 0
}

func (s *search) score() score { return score{len(s.bundles), s.moves, s.bytes} }

func (s *search) removeAll() {
	for i := range slices.Backward(s.bundles) {
		s.takeBack(&s.bundles[i])
	}
	s.bundles, s.moves, s.bytes = s.bundles[:0], 0, 0
}

// improve is the large-neighbourhood search.
func (s *search) improve(until int64) {
	r := rand.New(rand.NewPCG(1, uint64(len(s.instances)))) // #nosec G404 -- the same plan each time is what is wanted
	effort, idle := max(1, s.options.Effort), 0
	for range effort * maxRounds {
		if s.looks > until || len(s.bundles) == 0 || idle > effort*maxIdle || s.ctx.Err() != nil {
			break
		}
		was := s.score()
		s.round(r)
		if idle++; s.score().beats(was) {
			idle = 0
		}
	}
}

// round takes some bundles back, fills up anew, and restores what was if that is worse.
func (s *search) round(r *rand.Rand) {
	before, was := slices.Clone(s.bundles), s.score()
	out := s.choose(r)
	for at := range slices.Backward(before) {
		if out[at] {
			s.takeBack(&before[at])
			s.moves, s.bytes = s.moves-len(before[at].steps), s.bytes-before[at].bytes
		}
	}
	s.bundles = s.bundles[:0]
	for at, b := range before {
		if !out[at] {
			s.bundles = append(s.bundles, b)
		}
	}
	kept := len(s.bundles)
	s.policy = s.policies[r.IntN(len(s.policies))]
	s.depth = 1 + r.IntN(maxEjected)
	share := r.Float64() * 0.7
	s.fill(func(int32) bool { return r.Float64() < share })
	s.depth = maxEjected
	if s.ctx.Err() == nil && !was.beats(s.score()) && s.ordered() {
		return
	}
	for at := len(s.bundles) - 1; at >= kept; at-- {
		s.takeBack(&s.bundles[at])
	}
	for at := range before {
		if out[at] {
			s.again(&before[at])
		}
	}
	s.bundles, s.moves, s.bytes = before, was.moves, was.bytes
}

// choose names the bundles to be taken back: one, those that took places on the same hosts, and some others.
func (s *search) choose(r *rand.Rand) []bool {
	out := make([]bool, len(s.bundles))
	n := 1 + r.IntN(1+min(8, len(s.bundles)/2))
	seed := r.IntN(len(s.bundles))
	at := make(map[int32]bool)
	for _, x := range s.bundles[seed].steps {
		at[x.to] = true
	}
	for b := range s.bundles {
		related := b == seed
		for _, x := range s.bundles[b].steps {
			related = related || at[x.to]
		}
		if related && n > 0 && !s.bundles[b].sticky {
			out[b] = true
			n--
		}
	}
	for ; n > 0; n-- {
		if b := r.IntN(len(s.bundles)); !s.bundles[b].sticky {
			out[b] = true
		}
	}
	return out
}

// ordered reports whether the steps are feasible in the order in which they stand. Where others than what came were
// larger in some class, taking a bundle back may have left too little for a later one.
func (s *search) ordered() bool {
	add := func(h, holds int32, sign int64) {
		for c, n := range s.amounts[holds] {
			s.free[int(h)*s.n+c] += sign * n
		}
	}
	for i := range slices.Backward(s.bundles) {
		for _, x := range slices.Backward(s.bundles[i].steps) {
			add(x.to, s.holds[x.instance], 1)
			add(x.from, x.held, -1)
		}
	}
	good := true
	for i := range s.bundles {
		for _, x := range s.bundles[i].steps {
			good = good && s.fits(&s.sizes[s.size[x.instance]], x.to)
			add(x.to, s.holds[x.instance], -1)
			add(x.from, x.held, 1)
		}
	}
	return good
}
