package scheduler

import (
	"math"
	"slices"

	"github.com/berthage/berthage/pool"
)

// search is one request's way through an index: branch and bound, the most promising rows and blocks first.
type search struct {
	ix *Index
	d  *decision

	policy   policy
	columnOf []int     // by need
	need     []int64   // by need
	piece    []int64   // by need: the largest part that goes whole to one device
	must     traits    // that a host has all of
	drivers  uint64    // and one of these
	zones    uint64    // and, if any are asked for, one of these
	taints   uint64    // and one of these sets of taints
	exact    bool      // whoever has those bits has those traits
	also     []traits  // and one of each of these
	rules    bool      // and what the rules about other instances ask for
	soft     bool      // a score may lose something by what is preferred, which no bound knows
	losses   []float64 // by number in gpuBook, as far as they are known; of FGD only
	tally    int       // the sum that boxes keep for this request, -1 if none
	hosts    columns   // of the block that is looked at
	ranges   ranges    // of the row or block that is judged
	frontier []visit   // a heap
	cards    [rowSize + 1]uint8
	opened   [rowSize + 1]visit
	fit      [blockSize]uint8
	scores   [blockSize]float64
	found    [blockSize]found

	best       int32 // -1: none yet
	score      float64
	considered int
	qualified  int
}

// visit is a row or a block that is worth a look.
type visit struct {
	bound float64
	row   *row
	block *block // or nil
}

type found struct {
	score float64
	at    int
}

func (v *visit) first() pool.HostID {
	if v.block != nil {
		return v.block.first
	}
	return v.row.first
}

// before orders visits: the highest bound first, of equal ones that with the lowest id.
func (v *visit) before(o *visit) bool {
	return v.bound > o.bound || v.bound == o.bound && v.first() < o.first()
}

// start prepares a search. It is false if no host that stands in a block can have what is asked for.
func (s *search) start(ix *Index, d *decision) bool {
	s.ix, s.d, s.best, s.considered, s.qualified = ix, d, -1, 0, 0
	s.columnOf, s.need, s.piece, s.frontier = s.columnOf[:0], s.need[:0], s.piece[:0], s.frontier[:0]
	s.ranges.last = s.ranges.last[:0]
	known := true
	for i := range d.asked {
		n := &d.asked[i]
		c, ok := ix.columns[n.class]
		known = known && ok
		largest := int64(0)
		if len(n.pieces) > 0 {
			largest = n.pieces[0].size
		}
		s.columnOf, s.need, s.piece = append(s.columnOf, c), append(s.need, n.amount), append(s.piece, largest)
		s.ranges.last = append(s.ranges.last, takenOf{})
	}
	s.hosts.need, s.ranges.need = s.need, s.need
	s.policy = d.policy
	if d.grouped != nil {
		s.policy = d.grouped
	}
	s.losses = ix.gpu.lossesOf(d)
	ix.expect(d.scheduler.Ends)
	if !known || !s.traits() {
		return false
	}
	s.soft = d.prefers(ix.traits.taints)
	s.rules = slices.ContainsFunc(d.rules, func(r rule) bool { return !r.soft })
	s.tally, s.ranges.sum = ix.tallyOf(s.columnOf, s.policy.scale()), nil
	if s.tally >= 0 {
		s.ranges.factors = ix.tallies[s.tally].factors
	}
	return true
}

// traits prepares what a host must be. It is false if none is.
func (s *search) traits() bool {
	book, c := &s.ix.traits, &s.d.req.Spec.Constraints
	s.must, s.drivers, s.zones, s.taints, s.exact = traits{is: traitReady}, 0, 0, 0, true
	all := func(t trait) bool {
		m, exact, ok := book.find(t)
		s.must, s.exact = s.must.with(m), s.exact && exact
		return ok
	}
	anyOf := func(t trait, of *uint64) {
		m, exact, _ := book.find(t)
		*of, s.exact = *of|m.is, s.exact && exact
	}
	if !all(trait{what: 'k', key: string(s.d.kind)}) {
		return false
	}
	for _, a := range c.Abilities {
		if !all(trait{what: 'a', key: a}) {
			return false
		}
	}
	for _, k := range s.d.labels {
		if !all(trait{what: 'l', key: k, value: c.Labels[k]}) {
			return false
		}
	}
	for i := range book.taints {
		if t := &book.taints[i]; s.d.repels(t.taints) < 0 {
			anyOf(t.trait, &s.taints)
		}
	}
	if s.taints == 0 {
		return false
	}
	for driver, source := range s.d.req.Image.Sources {
		if source != "" {
			anyOf(trait{what: 'd', key: driver}, &s.drivers)
		}
	}
	for _, z := range c.Zones {
		if z == "" { // hosts in no zone have no bit that says so
			s.exact, s.zones = false, 0
			s.nearDomains(book)
			return s.drivers != 0
		}
		anyOf(trait{what: 'z', key: z}, &s.zones)
	}
	s.nearDomains(book)
	return s.drivers != 0 && (len(c.Zones) == 0 || s.zones != 0)
}

// nearDomains prepares in which domains a host must be to be near others.
func (s *search) nearDomains(book *traitBook) {
	s.also = s.also[:0]
	for i := range s.d.rules {
		r := &s.d.rules[i]
		if r.by != ByAffinity || r.soft || r.total == 0 || r.within == "" {
			continue
		}
		var one traits
		for v, n := range r.count {
			if n <= 0 {
				continue
			}
			t := trait{what: 'l', key: r.within, value: v}
			if r.within == pool.ZoneKey {
				t = trait{what: 'z', key: v}
			}
			m, _, _ := book.find(t)
			one = one.with(m)
		}
		s.also = append(s.also, one)
	}
}

// near reports whether a host may be in one of these domains.
func (s *search) near(t traits) bool {
	for _, m := range s.also {
		if t.is&m.is|t.says&m.says == 0 {
			return false
		}
	}
	return true
}

// fits reports whether a host may have all traits that are asked for.
func (s *search) fits(t traits) bool {
	return t.has(s.must) && t.is&s.drivers != 0 && t.is&s.taints != 0 && (s.zones == 0 || t.is&s.zones != 0) && s.near(t)
}

// run looks for the best host: among those that are asked for by name, among all if the importer's own score may
// prefer any, and else where the bounds allow one.
func (s *search) run(ix *Index, d *decision) error {
	inBlocks := s.start(ix, d)
	if hosts := d.req.Spec.Constraints.Hosts; len(hosts) > 0 {
		for _, id := range hosts {
			if slot, ok := ix.ids[id]; ok {
				if err := s.try(slot); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if near, ok := d.nearHosts(); ok {
		for id := range near {
			if slot, ok := ix.ids[pool.HostID(id)]; ok {
				if err := s.try(slot); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if len(d.scheduler.Scores) > 0 || d.grouped != nil && !d.grouped.find(d.scheduler, &ix.traits) {
		for slot := range ix.entries {
			if ix.entries[slot].rec == nil { // vacant
				continue
			}
			if err := s.try(int32(slot)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, slot := range ix.apart {
		if err := s.try(slot); err != nil {
			return err
		}
	}
	if !inBlocks {
		return nil
	}
	return s.walk()
}

func (s *search) walk() error {
	var seen *block
	for _, h := range s.d.hints { // any good host saves others a look
		if s.best >= 0 || h == 0 || int(h) > len(s.ix.entries) || s.ix.entries[h-1].block == nil {
			continue
		}
		seen = s.ix.entries[h-1].block
		if err := s.visit(seen); err != nil {
			return err
		}
	}
	for _, r := range s.ix.rows {
		s.consider(&r.box, visit{row: r})
	}
	for len(s.frontier) > 0 {
		v := s.next()
		if s.best >= 0 && v.bound < s.score { // and so are all others
			if v.block != nil {
				s.d.hints[1] = v.block.hosts[0] + 1
			}
			return nil
		}
		if !s.promises(v) {
			continue
		}
		var err error
		if v.block == nil {
			err = s.expand(v.row, seen)
		} else {
			err = s.visit(v.block)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// visit looks at a block, and makes its box as narrow as it can be if that was in vain.
func (s *search) visit(b *block) error {
	best := s.best
	if err := s.look(b); err != nil {
		return err
	}
	if s.best == best {
		b.refresh(s.ix)
	}
	return nil
}

// expand puts the blocks of a row on the list but for one that has been seen, and makes its box as narrow as it can be if
// none is worth that. As long as no host is known it visits
// the most promising one at once, since most of the others need not be listed then.
func (s *search) expand(r *row, seen *block) error {
	list, top := s.opened[:0], 0
	for _, i := range s.candidates(r) {
		c := &r.cards[i]
		if c.block == seen {
			continue
		}
		v := visit{row: r, block: c.block}
		var ok bool
		if v.bound, ok = s.judge(&c.box); !ok || !s.promises(v) {
			continue
		}
		if list = append(list, v); v.before(&list[top]) {
			top = len(list) - 1
		}
	}
	if len(list) == 0 { // its box promised more than its blocks
		r.refresh()
		return nil
	}
	if s.best < 0 {
		v := list[top]
		list[top] = list[len(list)-1]
		list = list[:len(list)-1]
		if err := s.visit(v.block); err != nil {
			return err
		}
	}
	for _, v := range list {
		if s.promises(v) {
			s.add(v)
		}
	}
	return nil
}

// candidates returns the cards of a row that may have the traits and the amounts, and a sum that may be better than the
// best one yet.
func (s *search) candidates(r *row) []uint8 {
	if _, ok := s.judge(&r.box); !ok {
		return nil
	}
	reach := bounds{math.Inf(-1), math.Inf(1)}
	var sums []bounds
	if s.tally >= 0 {
		sums = r.sumsOf[s.tally]
		if s.best >= 0 {
			reach = s.policy.reach(&s.ranges, s.score)
		}
	}
	must, drivers, taints, zones, also := s.must, s.drivers, s.taints, s.zones, s.also
	fit := s.cards[:0]
cards:
	for i := range r.traitsOf {
		t := &r.traitsOf[i]
		if !t.has(must) || t.is&drivers == 0 || t.is&taints == 0 || zones != 0 && t.is&zones == 0 || len(also) > 0 && !s.near(*t) {
			continue
		}
		if sums != nil && (sums[i].lo > reach.hi || sums[i].hi < reach.lo) {
			continue
		}
		for k, c := range s.columnOf {
			if r.freeOf[c][i] < s.need[k] {
				continue cards
			}
		}
		fit = append(fit, uint8(i))
	}
	return fit
}

// promises reports whether there may be a better host than the best one yet.
func (s *search) promises(v visit) bool {
	return s.best < 0 || v.bound > s.score || v.bound == s.score && v.first() < s.ix.idOf(s.best)
}

// consider puts a row or block on the list of those to visit, if that may be worth it.
func (s *search) consider(x *box, v visit) {
	var ok bool
	if v.bound, ok = s.judge(x); ok && s.promises(v) {
		s.add(v)
	}
}

// judge returns the bound of a box, false if no host of it can take the request.
func (s *search) judge(x *box) (float64, bool) {
	if !s.fits(x.traits) {
		return 0, false
	}
	s.ranges.spans = s.ranges.spans[:0]
	for k, c := range s.columnOf {
		if c >= len(x.spans) {
			return 0, false
		}
		sp := &x.spans[c]
		if sp.free.hi < s.need[k] || sp.whole < s.piece[k] {
			return 0, false
		}
		s.ranges.spans = append(s.ranges.spans, sp)
	}
	if s.tally >= 0 {
		s.ranges.sum = &x.sums[s.tally]
		if s.ranges.sum.lo > s.ranges.sum.hi {
			return 0, false
		}
	}
	s.ranges.traits, s.ranges.end = x.traits, x.end
	s.ranges.used, s.ranges.unused = x.traits.is&traitUsed != 0, x.traits.is&traitUnused != 0
	enough := math.Inf(-1)
	if s.best >= 0 {
		enough = s.score
	}
	return s.policy.bound(&s.ranges, enough), true
}

// look takes the best host of a block that is better than the best one yet and can take the request.
func (s *search) look(b *block) error {
	for _, c := range s.columnOf {
		if c >= len(b.free) || b.free[c] == nil {
			return nil // nobody has any
		}
	}
	s.considered += b.n
	s.hosts.free, s.hosts.capacity = s.hosts.free[:0], s.hosts.capacity[:0]
	for _, c := range s.columnOf {
		s.hosts.free, s.hosts.capacity = append(s.hosts.free, b.free[c]), append(s.hosts.capacity, b.capacity[c])
	}
	s.hosts.marks, s.hosts.ends = b.marks[:b.n], b.ends
	fit := s.room(b)
	if s.rules {
		fit = slices.DeleteFunc(fit, func(i uint8) bool { return s.d.keeps(s.ix.entries[b.hosts[i]].rec, asItIs).by != "" })
	}
	s.policy.score(&s.hosts, fit, s.scores[:])
	if s.soft {
		for j, i := range fit {
			s.scores[j] -= s.d.dues(s.ix.entries[b.hosts[i]].rec)
		}
	}
	n := 0
	for j, i := range fit {
		score := s.scores[j]
		if s.losses != nil && (s.best < 0 || score >= s.score) { // else the loss does not matter
			score = s.d.fgd.work.less(score, s.loss(b, int(i), score))
		}
		if s.best < 0 || score >= s.score {
			s.found[n] = found{score, int(i)}
			n++
		}
	}
	for ; n > 0; n-- {
		top := 0
		for i := 1; i < n; i++ {
			if s.better(s.found[i].score, b.hosts[s.found[i].at], s.found[top].score, b.hosts[s.found[top].at]) {
				top = i
			}
		}
		f := s.found[top]
		s.found[top] = s.found[n-1]
		if s.best >= 0 && !s.better(f.score, b.hosts[f.at], s.score, s.best) {
			return nil // nor are the others
		}
		ok, err := s.takes(b, f.at)
		if err != nil {
			return err
		}
		if ok {
			s.best, s.score = b.hosts[f.at], f.score
			s.qualified++
			return nil
		}
	}
	return nil
}

// room returns the hosts of a block that have the traits and the amounts, and a sum that may be better than the best one
// yet.
func (s *search) room(b *block) []uint8 {
	must, drivers, taints, zones, also := s.must, s.drivers, s.taints, s.zones, s.also
	marks, fit := b.marks[:b.n], s.fit[:0]
	if len(s.need) == 0 {
		for i := range marks {
			if s.fits(marks[i]) {
				fit = append(fit, uint8(i))
			}
		}
		return fit
	}
	first, need, rest := s.hosts.free[0][:len(marks)], s.need[0], s.hosts.free[1:]
	var sums []float64
	var reach bounds
	if s.best >= 0 && s.tally >= 0 {
		if _, ok := s.judge(&b.box); !ok {
			return fit
		}
		reach, sums = s.policy.reach(&s.ranges, s.score), b.sums[s.tally]
	}
hosts:
	for i, free := range first {
		if free < need {
			continue
		}
		t := &marks[i]
		if !t.has(must) || t.is&drivers == 0 || t.is&taints == 0 || zones != 0 && t.is&zones == 0 || len(also) > 0 && !s.near(*t) {
			continue
		}
		if sums != nil && (sums[i] > reach.hi || sums[i] < reach.lo) {
			continue
		}
		for k := range rest {
			if rest[k][i] < s.need[k+1] {
				continue hosts
			}
		}
		fit = append(fit, uint8(i))
	}
	return fit
}

func (s *search) better(score float64, slot int32, than float64, other int32) bool {
	return score > than || score == than && s.ix.idOf(slot) < s.ix.idOf(other)
}

// takes asks the i-th host of a block, which has the traits and the amounts, what its columns do not tell.
func (s *search) takes(b *block, i int) (bool, error) {
	for k, c := range s.columnOf {
		if c < len(b.whole) && b.whole[c] != nil && b.whole[c][i] < s.piece[k] {
			return false, nil
		}
	}
	d, slot := s.d, b.hosts[i]
	e := &s.ix.entries[slot]
	if (!s.exact || len(d.req.Avoid) > 0) && d.admits(e.rec, asItIs).by != "" {
		return false, nil
	}
	if b.marks[i].is&traitLimited != 0 {
		for k := range d.asked {
			if !e.rec.Inventory[d.asked[k].class].Allows(d.asked[k].amount) {
				return false, nil
			}
		}
	}
	d.needs, d.shape = d.asked, nil
	if len(e.rooms)+len(d.req.Spec.Constraints.SameNode) > 0 && d.fitsDevices(e.rec.Devices, e.rooms).by != "" {
		return false, nil
	}
	if len(d.scheduler.Filters) == 0 {
		return true, nil
	}
	d.turn(slot, e.version)
	f, err := d.passes(s.ix.record(slot), asItIs)
	return f.by == "", err
}

// try asks one host in full, as a scan does.
func (s *search) try(slot int32) error {
	s.considered++
	h := s.ix.record(slot)
	s.d.turn(slot, s.ix.entries[slot].version)
	f, err := s.d.check(h, asItIs)
	if err != nil || f.by != "" {
		return err
	}
	s.qualified++
	score, err := s.d.score(h)
	if err != nil {
		return err
	}
	if s.best < 0 || s.better(score, slot, s.score, s.best) {
		s.best, s.score = slot, score
	}
	return nil
}

// add and next keep the frontier a heap.
func (s *search) add(v visit) {
	h := append(s.frontier, v)
	s.frontier = h
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (s *search) next() visit {
	h := s.frontier
	top, last := h[0], len(h)-1
	h[0] = h[last]
	h = slices.Delete(h, last, last+1)
	s.frontier = h
	for i := 0; ; {
		down := 2*i + 1
		if down+1 < len(h) && h[down+1].before(&h[down]) {
			down++
		}
		if down >= len(h) || !h[down].before(&h[i]) {
			return top
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}
