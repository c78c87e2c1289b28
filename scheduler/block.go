package scheduler

import (
	"cmp"
	"math"
	"math/bits"
	"slices"

	"github.com/berthage/berthage/pool"
)

// How many hosts are in a block, and blocks in a row, at most.
const (
	blockSize = 64
	rowSize   = 64
)

// anyRoom is the room of the largest device of a host that has none of a class: it carries everything.
const anyRoom = math.MaxInt64

// line is one host's part of the columns.
type line struct {
	traits                traits
	free, capacity, whole []int64   // by column; whole is the room of the device that has most
	sums                  []float64 // by tally
	end                   int64     // until when it is expected to be in use
}

// place is where a host stands in the order of all hosts.
type place struct {
	key uint64
	id  pool.HostID
}

func (p place) compare(q place) int {
	if p.key != q.key {
		return cmp.Compare(p.key, q.key)
	}
	return cmp.Compare(p.id, q.id)
}

// block is up to blockSize hosts that follow on each other in the order, in no order themselves, as columns.
type block struct {
	*card
	from                  place // no host of it stands before this
	row                   *row
	n                     int
	hosts                 [blockSize]int32
	marks                 [blockSize]traits
	free, capacity, whole [][]int64   // by column, by host; nil where none has any, or of whole, any device
	sums                  [][]float64 // by tally, by host
	ends                  []int64     // until when they are expected to be in use; nil: lifetimes are not looked at
}

// row is blocks that follow on each other. Their cards lie side by side, so that a search that judges them all goes
// through memory in one place.
type row struct {
	box
	near   nearby
	blocks []*block
	cards  [rowSize + 1]card

	// What leaves out most blocks at once, of each card: the traits, none if the card is not in use, and by column the
	// most that is free.
	traitsOf [rowSize + 1]traits
	freeOf   [][]int64
	sumsOf   [][]bounds // by tally
}

// card is the box of a block, in its row.
type card struct {
	box
	near  nearby
	at    int    // in the row
	block *block // nil: not in use
}

// tell makes the row know what the box of a block says.
func (b *block) tell() {
	r := b.row
	r.traitsOf[b.card.at] = b.traits
	for c := range b.spans {
		for c >= len(r.freeOf) {
			r.freeOf = append(r.freeOf, make([]int64, rowSize+1))
		}
		r.freeOf[c][b.card.at] = b.spans[c].free.hi
	}
	for v := range b.box.sums {
		for v >= len(r.sumsOf) {
			r.sumsOf = append(r.sumsOf, make([]bounds, rowSize+1))
		}
		r.sumsOf[v][b.card.at] = b.box.sums[v]
	}
	for c := len(b.spans); c < len(r.freeOf); c++ {
		r.freeOf[c][b.card.at] = 0
	}
}

// withdraw gives a block's card back.
func (b *block) withdraw() {
	b.row.traitsOf[b.card.at], b.card.block = traits{}, nil
	b.card = nil
}

// nearby is space for a box of few classes and sums.
type nearby struct {
	spans [5]span
	sums  [2]bounds
}

func newRow() *row {
	r := new(row)
	r.spans, r.sums = r.near.spans[:0], r.near.sums[:0]
	return r
}

// admit gives a block a card in the row, with what was on its card before.
func (r *row) admit(b *block) {
	i := 0
	for r.cards[i].block != nil {
		i++
	}
	c := &r.cards[i]
	c.at, c.block = i, b
	c.box = box{spans: c.near.spans[:0], sums: c.near.sums[:0]}
	if old := b.card; old != nil {
		c.box = box{append(c.spans, old.spans...), append(c.sums, old.box.sums...), old.traits, old.first, old.end, old.stale}
		b.withdraw()
	}
	for len(c.box.sums) < len(b.sums) {
		c.box.sums = append(c.box.sums, nothing())
	}
	b.card, b.row = c, r
	b.tell()
}

// keyOf puts hosts that are alike next to each other: those in use before those that are not, those without GPUs
// before those with, then those of about the same size, and then by a curve through what they have free of cores and
// memory, on which neighbours are near each other in both. The curve is Morton's: the bits of both, in turns. Amounts
// are compared by their logarithms.
func (ix *Index) keyOf(l *line) uint64 {
	key := uint64(0)
	if l.traits.is&traitUsed == 0 {
		key = 1 << 63
	}
	for _, c := range ix.gpus {
		if c >= 0 && c < len(l.capacity) && l.capacity[c] > 0 {
			key |= 1 << 62
		}
	}
	size := magnitude(l.capacity[columnCPU], 2)<<8 | magnitude(l.capacity[columnMemory], 2)
	free := everySecond(magnitude(l.free[columnCPU], 17))<<1 | everySecond(magnitude(l.free[columnMemory], 17))
	return min(key|size<<46|free, math.MaxUint64-1)
}

// magnitude returns a number that is in the order of n, a logarithm in large: six bits of exponent, then the given
// number of bits.
func magnitude(n int64, digits int) uint64 {
	if n <= 0 {
		return 0
	}
	e := bits.Len64(uint64(n))
	return uint64(e)<<digits | uint64(n)<<(64-e)<<1>>(64-digits)
}

// everySecond moves bit i of a number of 31 bits to bit 2i.
func everySecond(x uint64) uint64 {
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	x = (x | x<<2) & 0x3333333333333333
	return (x | x<<1) & 0x5555555555555555
}

// at returns the amount of a host in a column that may not be there.
func at(columns [][]int64, c, i int, absent int64) int64 {
	if c >= len(columns) || columns[c] == nil {
		return absent
	}
	return columns[c][i]
}

// put writes an amount, and makes the column if it is the first that is not as absent.
func put(columns *[][]int64, c, i int, n, absent int64) {
	if n == absent && (c >= len(*columns) || (*columns)[c] == nil) {
		return
	}
	for len(*columns) <= c {
		*columns = append(*columns, nil)
	}
	if (*columns)[c] == nil {
		column := make([]int64, blockSize)
		for k := range column {
			column[k] = absent
		}
		(*columns)[c] = column
	}
	(*columns)[c][i] = n
}

// read copies the i-th host into l.
func (b *block) read(i int, l *line) {
	l.traits, l.end = b.marks[i], noEnd
	if b.ends != nil {
		l.end = b.ends[i]
	}
	for v := range l.sums {
		l.sums[v] = b.sums[v][i]
	}
	for c := range l.free {
		l.free[c], l.capacity[c] = at(b.free, c, i, 0), at(b.capacity, c, i, 0)
		l.whole[c] = at(b.whole, c, i, anyRoom)
	}
}

// write copies l to the i-th host.
func (b *block) write(i int, l *line) {
	b.marks[i] = l.traits
	if b.ends != nil {
		b.ends[i] = l.end
	}
	for v := range l.sums {
		b.sums[v][i] = l.sums[v]
	}
	for c := range l.free {
		put(&b.free, c, i, l.free[c], 0)
		put(&b.capacity, c, i, l.capacity[c], 0)
		put(&b.whole, c, i, l.whole[c], anyRoom)
	}
}

// copy makes the i-th host of b a copy of the j-th of o.
func (b *block) copy(i int, o *block, j int) {
	b.hosts[i], b.marks[i] = o.hosts[j], o.marks[j]
	if b.ends != nil {
		b.ends[i] = o.ends[j]
	}
	for v := range b.sums {
		b.sums[v][i] = o.sums[v][j]
	}
	for c := range max(len(b.free), len(o.free), len(b.whole), len(o.whole), len(b.capacity), len(o.capacity)) {
		put(&b.free, c, i, at(o.free, c, j, 0), 0)
		put(&b.capacity, c, i, at(o.capacity, c, j, 0), 0)
		put(&b.whole, c, i, at(o.whole, c, j, anyRoom), anyRoom)
	}
}

// refresh makes the stale parts of a block's box as narrow as they can be, and marks those of its row that may be
// narrower for it.
func (b *block) refresh(ix *Index) {
	stale := b.stale
	b.stale = 0
	if b.n == 0 || stale == 0 {
		return
	}
	r := &b.row.box
	for c := range b.spans {
		s := &b.spans[c]
		if stale&staleSpan(c) != 0 {
			free, whole := extent(b.free, c, b.n), int64(anyRoom)
			if c < len(b.whole) && b.whole[c] != nil {
				whole = slices.Max(b.whole[c][:b.n])
			}
			if r.spans[c].free.rests(s.free, free) || whole < s.whole && s.whole == r.spans[c].whole {
				r.stale |= staleSpan(c)
			}
			s.free, s.whole = free, whole
		}
		if stale&staleCapacity != 0 {
			capacity := extent(b.capacity, c, b.n)
			if r.spans[c].capacity.rests(s.capacity, capacity) {
				r.stale |= staleCapacity
			}
			s.capacity = capacity
		}
	}
	if stale&staleSums != 0 {
		for v, column := range b.sums {
			n, old := nothing(), b.box.sums[v]
			for _, sum := range column[:b.n] {
				n.join(sum)
			}
			if n.lo > old.lo && old.lo == r.sums[v].lo || n.hi < old.hi && old.hi == r.sums[v].hi {
				r.stale |= staleSums
			}
			b.box.sums[v] = n
		}
	}
	if stale&staleEnd != 0 && b.ends != nil {
		end := slices.Max(b.ends[:b.n])
		if end < b.end && b.end == r.end {
			r.stale |= staleEnd
		}
		b.end = end
	}
	if stale&staleTraits != 0 {
		t := traits{}
		for _, m := range b.marks[:b.n] {
			t = t.with(m)
		}
		if t != b.traits {
			b.traits = t
			r.stale |= staleTraits
		}
	}
	if stale&staleFirst != 0 {
		first := ix.idOf(b.hosts[0])
		for _, h := range b.hosts[1:b.n] {
			first = min(first, ix.idOf(h))
		}
		if first != b.first {
			b.first = first
			r.stale |= staleFirst
		}
	}
	b.tell()
}

// extent returns the least and the most of the first n in a column.
func extent(columns [][]int64, c, n int) interval {
	if c >= len(columns) || columns[c] == nil {
		return interval{}
	}
	column := columns[c][:n]
	i := interval{column[0], column[0]}
	for _, v := range column[1:] {
		i.lo, i.hi = min(i.lo, v), max(i.hi, v)
	}
	return i
}

// refresh makes the stale parts of a row's box as narrow as the boxes of its blocks allow.
func (r *row) refresh() {
	if r.stale == 0 {
		return
	}
	for i, b := range r.blocks {
		r.joinBox(&b.box, i == 0)
	}
}
