package rebalance

import (
	"context"
	"slices"

	"github.com/berthage/berthage/pool"
)

// bundle is steps that have one gain in common and none of which is taken without the others.
type bundle struct {
	host   int32 // that is emptied, or relieved of one instance
	why    string
	steps  []step
	bytes  int64
	sticky bool // taking it back might leave another one without its device
}

// search collects bundles within a budget.
type search struct {
	*fleet
	ctx      context.Context
	budget   allowance
	bundles  []bundle
	moves    int
	bytes    int64
	moved    []bool    // by instance: a bundle has it
	policy   []float64 // weights of the classes in what is left over
	policies [][]float64

	// Of Defragment.
	order    []int32 // hosts that can be emptied, the cheapest first
	received []int   // by host: steps that came here
	ejected  []int   // by host: steps of others than the emptied host's that left here
	emptied  []bool  // by host
	noRoom   []bool  // by size: nothing takes it, while hosts fill up
	noEject  []bool  // by size: nor can room be made
	failed   []int32 // by host: the instance that had nowhere to go last, or -1
	filling  bool    // room only becomes less
	depth    int     // instances that may move on for one

	// Memory that is used again.
	here, later []int32
	rooms       []chance
	lack        []int64
	noWhere     []bool // by size: nothing takes one that would make room
}

func newSearch(ctx context.Context, f *fleet, budget allowance) *search {
	s := &search{fleet: f, ctx: ctx, budget: budget, depth: maxEjected}
	n := len(f.hosts)
	s.received, s.ejected, s.emptied, s.failed = make([]int, n), make([]int, n), make([]bool, n), make([]int32, n)
	s.moved = make([]bool, len(f.instances))
	s.noRoom, s.noEject, s.noWhere = make([]bool, len(f.sizes)), make([]bool, len(f.sizes)), make([]bool, len(f.sizes))
	alike, scarce := make([]float64, f.n), make([]float64, f.n)
	for c, w := range f.weights {
		alike[c], scarce[c] = 1, float64(float64(w*w)*float64(w*w))
	}
	s.policies = [][]float64{scarce, f.weights, alike}
	s.policy = scarce
	for h := range f.hosts {
		s.failed[h] = -1
		f.open[h] = f.noTarget[h] == ""
	}
	return s
}

// place finds a host for an instance, on which room is made if need be; rest is how many of its bundle have to go yet.
func (s *search) place(b *bundle, i int32, rest int) bool {
	k, first := s.size[i], len(b.steps) == 0
	if !s.noRoom[k] {
		if to, claims := s.best(i, -1, s.policy); to >= 0 {
			s.take(b, i, to, claims)
			return true
		}
		// While hosts fill up it stays so, unless it is this host that has the room.
		s.noRoom[k] = s.reuse() && first && !s.fits(&s.sizes[k], b.host)
	}
	spare := min(s.budget.moves-s.moves-len(b.steps)-rest, s.depth)
	if spare <= 0 || s.noEject[k] {
		return false
	}
	if s.makeRoom(b, i, spare) {
		return true
	}
	s.noEject[k] = s.reuse() && first && spare == s.depth
	return false
}

// reuse reports whether what has been found out about a size holds for the next host too: with rules that look at the
// instance or the host as it is it may not.
func (s *search) reuse() bool { return s.filling && len(s.banned) == 0 && s.options.Unreachable == nil }

func (s *search) take(b *bundle, i, to int32, claims []pool.Claim) {
	x := s.move(i, to, claims)
	s.note(x, 1)
	b.steps = append(b.steps, x)
	b.bytes += s.copies[i]
}

// note counts a step in or out.
func (s *search) note(x step, by int) {
	s.received[x.to] += by
	if !s.emptied[x.from] {
		s.ejected[x.from] += by
	}
	s.moved[x.instance] = by > 0
}

// drop undoes a bundle's steps but the first n.
func (s *search) drop(b *bundle, n int) {
	for _, x := range slices.Backward(b.steps[n:]) {
		s.back(x)
		s.note(x, -1)
		b.bytes -= s.copies[x.instance]
	}
	b.steps = b.steps[:n]
}

// keep adds a bundle that is complete.
func (s *search) keep(b bundle) {
	s.bundles = append(s.bundles, b)
	s.moves, s.bytes = s.moves+len(b.steps), s.bytes+b.bytes
}

// single tries to move one instance off its host, for a reason.
func (s *search) single(i int32, why string) bool {
	b := bundle{host: s.where[i], why: why}
	if s.stays[i] != "" || s.moved[i] || !s.budget.covers(s.moves+1, s.bytes+s.copies[i]) {
		return false
	}
	if !s.place(&b, i, 1) || !s.budget.covers(s.moves+len(b.steps), s.bytes+b.bytes) {
		s.failed[b.host] = i
		s.drop(&b, 0)
		return false
	}
	s.keep(b)
	return true
}
