package scheduler

import (
	"math"

	"github.com/berthage/berthage/pool"
)

// span is what the hosts of a box have of one class.
type span struct {
	free, capacity interval
	whole          int64 // the most that a device has room for
}

type interval struct{ lo, hi int64 }

// join widens i so that it has n.
func (i *interval) join(n int64) { i.lo, i.hi = min(i.lo, n), max(i.hi, n) }

// edge reports whether i would, or may, be narrower without n.
func (i *interval) edge(n int64) bool { return i.lo != i.hi && (n == i.lo || n == i.hi) }

// rests reports whether an end of i rests on a part that is no longer there, now that old has become new.
func (i *interval) rests(old, new interval) bool {
	return new.lo > old.lo && old.lo == i.lo || new.hi < old.hi && old.hi == i.hi
}

// box is what is known of all hosts in a block or row: that none is outside of it. It may be too large, and is then
// stale in the parts that say so; nothing is missed for it, but hosts are looked at in vain.
type box struct {
	spans  []span   // by column; of a column beyond them none of the hosts has any
	sums   []bounds // by tally
	traits traits   // that any host has
	first  pool.HostID
	end    int64 // the latest until which any host is expected to be in use
	stale  uint64
}

// Parts of a box that may be stale: the spans of the free amounts, the last of them standing for all further ones,
// then what changes seldom.
const (
	lastSpan      = 58
	staleSums     = 1 << (lastSpan + 4)
	staleCapacity = 1 << (lastSpan + 1)
	staleTraits   = 1 << (lastSpan + 2)
	staleFirst    = 1 << (lastSpan + 3)
	staleEnd      = 1 << (lastSpan + 5)
	staleAll      = 1<<64 - 1
)

func staleSpan(c int) uint64 { return 1 << min(c, lastSpan) }

// nothing is no interval yet.
func nothing() bounds { return bounds{math.Inf(1), math.Inf(-1)} }

// join widens b so that it has v, unless v is no number.
func (b *bounds) join(v float64) {
	if v < b.lo {
		b.lo = v
	}
	if v > b.hi {
		b.hi = v
	}
}

// joinAll widens b so that it has all of o.
func (b *bounds) joinAll(o bounds) { b.lo, b.hi = min(b.lo, o.lo), max(b.hi, o.hi) }

// join widens the box so that it has the host; empty says that it has no other.
func (x *box) join(l *line, id pool.HostID, empty bool) {
	for c := range l.free {
		n := span{interval{l.free[c], l.free[c]}, interval{l.capacity[c], l.capacity[c]}, l.whole[c]}
		switch {
		case c >= len(x.spans) && empty:
			x.spans = append(x.spans, n)
		case c >= len(x.spans): // the others have none of it
			x.spans = append(x.spans, span{whole: anyRoom})
			fallthrough
		case !empty:
			s := &x.spans[c]
			s.free.join(l.free[c])
			s.capacity.join(l.capacity[c])
			s.whole = max(s.whole, l.whole[c])
		default:
			x.spans[c] = n
		}
	}
	for v := range l.sums {
		if empty {
			x.sums[v] = nothing()
		}
		x.sums[v].join(l.sums[v])
	}
	if empty {
		x.traits, x.first, x.end, x.stale = l.traits, id, l.end, 0
		for c := len(l.free); c < len(x.spans); c++ {
			x.spans[c] = span{whole: anyRoom}
		}
		return
	}
	x.traits = x.traits.with(l.traits)
	x.first, x.end = min(x.first, id), max(x.end, l.end)
}

// joinBox widens x so that it has o.
func (x *box) joinBox(o *box, empty bool) {
	if empty {
		x.spans = append(x.spans[:0], o.spans...)
		x.sums = append(x.sums[:0], o.sums...)
		x.traits, x.first, x.end, x.stale = o.traits, o.first, o.end, 0
		return
	}
	for c := range max(len(x.spans), len(o.spans)) {
		n := span{whole: anyRoom}
		if c < len(o.spans) {
			n = o.spans[c]
		}
		if c >= len(x.spans) {
			x.spans = append(x.spans, span{whole: anyRoom})
		}
		s := &x.spans[c]
		s.free.lo, s.free.hi = min(s.free.lo, n.free.lo), max(s.free.hi, n.free.hi)
		s.capacity.lo, s.capacity.hi = min(s.capacity.lo, n.capacity.lo), max(s.capacity.hi, n.capacity.hi)
		s.whole = max(s.whole, n.whole)
	}
	for v := range x.sums {
		x.sums[v].joinAll(o.sums[v])
	}
	x.traits = x.traits.with(o.traits)
	x.first, x.end = min(x.first, o.first), max(x.end, o.end)
}

// without returns the parts of the box that may be narrower without a host that is as l says.
func (x *box) without(l *line, id pool.HostID) (stale uint64) {
	for c := range l.free {
		if c >= len(x.spans) {
			break
		}
		s := &x.spans[c]
		if s.free.edge(l.free[c]) || l.whole[c] != anyRoom && l.whole[c] == s.whole {
			stale |= staleSpan(c)
		}
		if s.capacity.edge(l.capacity[c]) {
			stale |= staleCapacity
		}
	}
	for v, n := range l.sums {
		if n == x.sums[v].lo || n == x.sums[v].hi {
			stale |= staleSums
		}
	}
	if id == x.first {
		stale |= staleFirst
	}
	if l.end == x.end && l.end != noEnd {
		stale |= staleEnd
	}
	return stale | staleTraits
}
