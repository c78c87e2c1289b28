package scheduler

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// What the tests reach of an Index.

// Narrow makes blocks and rows of an empty index as small as that, so that few hosts fill many.
func (ix *Index) Narrow(hosts, blocks int) { ix.most, ix.mostBlocks, ix.patience = hosts, blocks, 5 }

// Check reports, as an error, what is not as it must be: every host stands in its block once, in the range of that
// block; no box leaves anything of its hosts out; the totals are the sums.
func (ix *Index) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen := 0
	sums := make([]usedOfPool, len(ix.totals))
	var last place
	for _, r := range ix.rows {
		if len(r.blocks) == 0 || len(r.blocks) > ix.mostBlocks {
			bad("a row of %d blocks", len(r.blocks))
		}
		for _, b := range r.blocks {
			if b.row != r || b.n == 0 || b.n > ix.most {
				bad("a block of %d hosts, in its row: %v", b.n, b.row == r)
			}
			if b.from.compare(last) < 0 {
				bad("blocks out of order")
			}
			last = b.from
			for c := range b.spans {
				if b.card != &r.cards[b.card.at] || r.traitsOf[b.card.at] != b.traits || r.freeOf[c][b.card.at] != b.spans[c].free.hi {
					bad("the row does not know what a box says")
				}
			}
			for v := range b.box.sums {
				if r.sumsOf[v][b.card.at] != b.box.sums[v] {
					bad("the row does not know which sums a box has")
				}
			}
			for i := range b.n {
				seen++
				e := &ix.entries[b.hosts[i]]
				if e.block != b || int(e.at) != i || ix.ids[e.rec.ID] != b.hosts[i] {
					bad("%s is not where it stands", e.rec.ID)
				}
				var l line
				l.free, l.capacity, l.whole = make([]int64, len(ix.totals)), make([]int64, len(ix.totals)), make([]int64, len(ix.totals))
				l.sums = make([]float64, len(ix.tallies))
				b.read(i, &l)
				for v := range ix.tallies {
					if want := ix.tallies[v].of(&l); want != l.sums[v] && (want == want || l.sums[v] == l.sums[v]) {
						bad("sum %d of %s is %v, not %v", v, e.rec.ID, l.sums[v], want)
					}
				}
				p := place{ix.keyOf(&l), e.rec.ID}
				if fr, fi := ix.find(p); fr == nil || fr.blocks[fi] != b {
					bad("%s stands in another block's range", e.rec.ID)
				}
				for _, x := range []*box{&b.box, &r.box} {
					if !x.holds(&l, e.rec.ID) {
						bad("a box leaves %s out: %+v %+v", e.rec.ID, l, *x)
					}
				}
				for c := range sums {
					if sums[c].all += l.capacity[c]; l.traits.is&traitUsed == 0 {
						continue
					}
					sums[c].capacity += l.capacity[c]
					sums[c].used += l.capacity[c] - l.free[c]
				}
			}
		}
	}
	for _, slot := range ix.apart {
		seen++
		for class, n := range ix.entries[slot].rec.Capacity {
			sums[ix.columns[class]].all += n
		}
	}
	if seen != len(ix.ids) || len(ix.ids)+len(ix.vacant) != len(ix.entries) {
		bad("%d hosts stand somewhere, of %d; %d of %d vacant", seen, len(ix.ids), len(ix.vacant), len(ix.entries))
	}
	kin := make(map[pool.Peer]int)
	for slot := range ix.entries {
		if h := ix.entries[slot].rec; h != nil {
			for _, p := range h.Peers {
				kin[p.Peer.Value()] += p.Count
			}
		}
	}
	for _, k := range ix.kin.all {
		for _, on := range k.hosts {
			kin[k.peer] -= int(on.n)
		}
		if kin[k.peer] != 0 || len(k.hosts) == 0 {
			bad("%v: %d are known to be on hosts, which is %d off", k.peer, len(k.hosts), kin[k.peer])
		}
		delete(kin, k.peer)
		for _, key := range keysOfPeer(&k.peer) {
			if !slices.Contains(ix.kin.by[key], k) {
				bad("%v is not found by %q", k.peer, key)
			}
		}
	}
	if len(kin) > 0 {
		bad("not known: %v", kin)
	}
	for c := range sums {
		if sums[c] != ix.totals[c] {
			bad("column %d: totals %+v, sums %+v", c, ix.totals[c], sums[c])
		}
	}
	return errors.Join(errs...)
}

// CheckEnds reports, as an error, what the blocks do not have of the ends that the index has followed last.
func (ix *Index) CheckEnds(e *Ends) error {
	if ix.ends != e {
		return nil
	}
	ix.expect(e)
	var errs []error
	for id, slot := range ix.ids {
		b, i := ix.entries[slot].block, ix.entries[slot].at
		if b == nil {
			continue
		}
		if end := e.at(id); b.ends[i] != end || b.end < end || b.row.end < b.end {
			errs = append(errs, fmt.Errorf("%s ends at %d: %d in its block, whose last is %d, and of its row %d", id, end, b.ends[i], b.end, b.row.end))
		}
		if b.stale&staleEnd == 0 && b.end != slices.Max(b.ends[:b.n]) {
			errs = append(errs, fmt.Errorf("a block says that its last host ends at %d and not that it may be earlier", b.end))
		}
	}
	return errors.Join(errs...)
}

func (x *box) holds(l *line, id pool.HostID) bool {
	for c := range l.free {
		s := span{whole: anyRoom}
		if c < len(x.spans) {
			s = x.spans[c]
		}
		if l.free[c] < s.free.lo || l.free[c] > s.free.hi || l.capacity[c] < s.capacity.lo || l.capacity[c] > s.capacity.hi || l.whole[c] > s.whole {
			return false
		}
	}
	for v, n := range l.sums {
		if n < x.sums[v].lo || n > x.sums[v].hi {
			return false
		}
	}
	return x.traits.has(l.traits) && x.first <= id
}

// Of returns what a room is worth.
func (w *Worth) Of(cpu, memory int64) float64 { return w.now.Load().at(cpu, memory) }

// Total returns what the index has of a class as used and as capacity of the hosts in use.
func (ix *Index) Total(c pool.Class) (used, capacity int64) { return ix.total(c) }

// Record returns the record of a host as the index has it.
func (ix *Index) Record(id pool.HostID) *pool.HostRecord { return ix.record(ix.ids[id]) }

// Shape returns how many rows and blocks there are.
func (ix *Index) Shape() (rows, blocks int) {
	for _, r := range ix.rows {
		blocks += len(r.blocks)
	}
	return len(ix.rows), blocks
}

// Judgement is what a policy says of up to 64 hosts and of the box around them.
type Judgement struct {
	Scores []float64 // of the hosts with room for all needs
	Sums   []float64 // of the same, as an index keeps them
	Plain  float64   // the bound by each class's own range
	Summed float64   // the bound where the sums are known too
	judge  func(enough float64) (bound, lo, hi float64)
}

// Enough returns the bound and the reach if a score of enough is known already.
func (j *Judgement) Enough(enough float64) (bound, lo, hi float64) { return j.judge(enough) }

// Judge asks the policy of a strategy. need is by class, free and capacity by class and host; total is what the pool
// uses and has. The factors of the sums are off the policy's weights by off. With ends, of the hosts, the request's
// lifetime counts, and with a worth what is made useless.
func Judge(strategy Strategy, classes []pool.Class, need []int64, free, capacity [][]int64, used []bool, total func(pool.Class) (int64, int64), off float64, req Request, ends []time.Time, worth *Worth) *Judgement {
	d := &decision{scheduler: &Scheduler{Strategy: strategy, Worth: worth}, req: req}
	if ends != nil {
		d.scheduler.Ends = new(Ends)
	}
	for k, c := range classes {
		d.asked = append(d.asked, need1(c, need[k]))
	}
	d.follow(total)
	c := &columns{need: need, free: free, capacity: capacity, marks: make([]traits, len(used))}
	r := &ranges{need: need, last: make([]takenOf, len(need)), end: noEnd}
	for _, end := range ends {
		c.ends = append(c.ends, nanos(end))
		r.end = max(r.end, nanos(end))
	}
	for i, u := range used {
		if r.used, r.unused = r.used || u, r.unused || !u; u {
			c.marks[i].is = traitUsed
		}
	}
	t := tally{factors: append([]float64(nil), d.policy.scale()...)}
	for k := range need {
		s := span{interval{free[k][0], free[k][0]}, interval{capacity[k][0], capacity[k][0]}, anyRoom}
		for i := range used {
			s.free.join(free[k][i])
			s.capacity.join(capacity[k][i])
		}
		r.spans = append(r.spans, &s)
		t.columns = append(t.columns, k)
		if len(t.factors) <= k {
			t.factors = append(t.factors, 1)
		} else {
			t.factors[k] += off
		}
	}
	var fit []uint8
	out := &Judgement{}
	sum := nothing()
	for i := range used {
		l := line{free: make([]int64, len(need)), capacity: make([]int64, len(need))}
		fits := true
		for k := range need {
			l.free[k], l.capacity[k] = free[k][i], capacity[k][i]
			fits = fits && free[k][i] >= need[k]
		}
		sum.join(t.of(&l))
		if fits {
			fit = append(fit, uint8(i))
			out.Sums = append(out.Sums, t.of(&l))
		}
	}
	if len(fit) == 0 {
		return out
	}
	out.Scores = make([]float64, len(fit))
	d.policy.score(c, fit, out.Scores)
	out.Plain = d.policy.bound(r, -1)
	r.sum, r.factors = &sum, t.factors
	out.Summed = d.policy.bound(r, -1)
	out.judge = func(enough float64) (bound, lo, hi float64) {
		reach := d.policy.reach(r, enough)
		return d.policy.bound(r, enough), reach.lo, reach.hi
	}
	return out
}

func need1(c pool.Class, n int64) need { return need{class: c, amount: n} }
