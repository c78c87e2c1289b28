package scheduler

import (
	"errors"
	"fmt"

	"github.com/berthage/berthage/pool"
)

// What the tests reach of an Index.

// Narrow makes blocks and rows of an empty index as small as that, so that few hosts fill many.
func (ix *Index) Narrow(hosts, blocks int) { ix.most, ix.mostBlocks = hosts, blocks }

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
					sums[c].capacity += l.capacity[c]
					sums[c].used += l.capacity[c] - l.free[c]
				}
			}
		}
	}
	for _, slot := range ix.apart {
		seen++
		for class, n := range ix.entries[slot].rec.Capacity {
			sums[ix.columns[class]].capacity += n
		}
		for class, n := range ix.entries[slot].rec.Used {
			sums[ix.columns[class]].used += n
		}
	}
	if seen != len(ix.ids) || len(ix.ids)+len(ix.vacant) != len(ix.entries) {
		bad("%d hosts stand somewhere, of %d; %d of %d vacant", seen, len(ix.ids), len(ix.vacant), len(ix.entries))
	}
	for c := range sums {
		if sums[c] != ix.totals[c] {
			bad("column %d: totals %+v, sums %+v", c, ix.totals[c], sums[c])
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

// Total returns what the index has as used and as capacity of a class.
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
