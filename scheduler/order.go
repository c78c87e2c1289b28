package scheduler

import (
	"math/bits"
	"slices"
	"sort"
)

// find returns the block in whose range a place is, and its row; nil where there is none yet.
func (ix *Index) find(p place) (*row, int) {
	r := sort.Search(len(ix.rows), func(i int) bool { return ix.rows[i].blocks[0].from.compare(p) > 0 }) - 1
	if r < 0 {
		return nil, 0
	}
	blocks := ix.rows[r].blocks
	return ix.rows[r], sort.Search(len(blocks), func(i int) bool { return blocks[i].from.compare(p) > 0 }) - 1
}

// insert gives a host that stands nowhere its place.
func (ix *Index) insert(slot int32, l *line) {
	p := place{ix.keyOf(l), ix.idOf(slot)}
	if len(ix.rows) == 0 {
		b, r := ix.newBlock(), newRow()
		r.admit(b)
		r.blocks, r.sums = append(r.blocks, b), append(r.sums, b.box.sums...)
		ix.rows = append(ix.rows, r)
	}
	r, i := ix.find(p)
	b := r.blocks[i]
	if b.n == ix.most {
		ix.split(b)
		r, i = ix.find(p)
		b = r.blocks[i]
	}
	b.write(b.n, l)
	b.hosts[b.n] = slot
	e := &ix.entries[slot]
	e.block, e.at = b, uint8(b.n)
	b.join(l, p.id, b.n == 0)
	b.tell()
	b.n++
	r.join(l, p.id, len(r.blocks) == 1 && b.n == 1)
}

// take takes a host out of where it stands, so that it stands nowhere.
func (ix *Index) take(slot int32) {
	e := &ix.entries[slot]
	b := e.block
	if b == nil {
		if i := slices.Index(ix.apart, slot); i >= 0 {
			ix.apart = slices.Delete(ix.apart, i, i+1)
		}
		return
	}
	b.read(int(e.at), &ix.other)
	b.stale |= b.without(&ix.other, e.rec.ID)
	b.n--
	if last := b.n; last != int(e.at) {
		b.copy(int(e.at), b, last)
		ix.entries[b.hosts[last]].at = e.at
	}
	e.block = nil
	if b.n < max(ix.most/4, 1) {
		ix.thin(b)
	}
}

// move brings a host to what l says, in its block if it still belongs there.
func (ix *Index) move(slot int32, l *line) {
	e := &ix.entries[slot]
	p := place{ix.keyOf(l), e.rec.ID}
	r, i := ix.find(p)
	b := r.blocks[i]
	if b != e.block {
		ix.take(slot)
		ix.insert(slot, l)
		return
	}
	b.read(int(e.at), &ix.other)
	b.stale |= b.without(&ix.other, e.rec.ID) &^ staleFirst // it is still there
	b.write(int(e.at), l)
	b.join(l, p.id, false)
	b.tell()
	r.join(l, p.id, false)
}

func (ix *Index) newBlock() *block {
	if n := len(ix.empty); n > 0 {
		b := ix.empty[n-1]
		ix.empty = ix.empty[:n-1]
		return b
	}
	b := new(block)
	for range ix.tallies {
		b.sums = append(b.sums, make([]float64, blockSize))
	}
	if ix.ends != nil {
		b.ends = make([]int64, blockSize)
	}
	return b
}

// split divides a full block where the order has its largest gap, but not near its ends.
func (ix *Index) split(b *block) {
	var keys [blockSize]uint64
	var order [blockSize]uint8
	for i := range b.n {
		b.read(i, &ix.other)
		keys[i], order[i] = ix.keyOf(&ix.other), uint8(i)
	}
	sorted := order[:b.n]
	slices.SortFunc(sorted, func(x, y uint8) int {
		return place{keys[x], ix.idOf(b.hosts[x])}.compare(place{keys[y], ix.idOf(b.hosts[y])})
	})
	cut, gap := b.n/2, 0
	for i := max(1, b.n/4); i <= b.n-max(1, b.n/4); i++ {
		if g := bits.Len64(keys[sorted[i-1]] ^ keys[sorted[i]]); g > gap {
			cut, gap = i, g
		}
	}
	n := ix.newBlock()
	n.from = place{keys[sorted[cut]], ix.idOf(b.hosts[sorted[cut]])}
	b.row.admit(n)
	upper := sorted[cut:]
	for _, i := range upper {
		n.copy(n.n, b, int(i))
		e := &ix.entries[b.hosts[i]]
		e.block, e.at = n, uint8(n.n)
		n.n++
	}
	slices.Sort(upper)
	for k := len(upper) - 1; k >= 0; k-- { // from the end, so that what fills the gap does not move on
		b.n--
		if i := int(upper[k]); i != b.n {
			b.copy(i, b, b.n)
			ix.entries[b.hosts[i]].at = uint8(i)
		}
	}
	ix.measure(b)
	ix.measure(n)
	at := slices.Index(b.row.blocks, b)
	b.row.blocks = slices.Insert(b.row.blocks, at+1, n)
	if len(b.row.blocks) > ix.mostBlocks {
		ix.splitRow(b.row)
	}
}

// measure makes the box of a block anew.
func (ix *Index) measure(b *block) {
	for i := range b.n {
		b.read(i, &ix.other)
		b.join(&ix.other, ix.idOf(b.hosts[i]), i == 0)
	}
	b.tell()
}

func (ix *Index) splitRow(r *row) {
	half := len(r.blocks) / 2
	n := newRow()
	n.blocks = append(make([]*block, 0, ix.mostBlocks+1), r.blocks[half:]...)
	clear(r.blocks[half:])
	r.blocks = r.blocks[:half]
	for _, b := range n.blocks {
		n.admit(b)
	}
	r.stale, n.stale = staleAll, staleAll
	r.refresh()
	n.refresh()
	at := slices.Index(ix.rows, r)
	ix.rows = slices.Insert(ix.rows, at+1, n)
}

// thin joins a block that has few hosts with the one before or after it in its row, if they fit, and removes it when
// it has none.
func (ix *Index) thin(b *block) {
	r := b.row
	at := slices.Index(r.blocks, b)
	most := ix.most * 5 / 8
	switch {
	case at+1 < len(r.blocks) && b.n+r.blocks[at+1].n <= most:
		ix.merge(b, r.blocks[at+1])
		ix.drop(r, at+1)
	case at > 0 && b.n+r.blocks[at-1].n <= most:
		ix.merge(r.blocks[at-1], b)
		ix.drop(r, at)
	case b.n == 0:
		ix.drop(r, at)
	}
}

// merge moves the hosts of a block into the one before it.
func (ix *Index) merge(to, from *block) {
	for i := range from.n {
		to.copy(to.n, from, i)
		e := &ix.entries[from.hosts[i]]
		e.block, e.at = to, uint8(to.n)
		from.read(i, &ix.other)
		to.join(&ix.other, e.rec.ID, to.n == 0)
		to.n++
	}
	to.tell()
	from.n = 0
}

// drop removes an empty block; its range goes to the one before it.
func (ix *Index) drop(r *row, at int) {
	b := r.blocks[at]
	r.blocks = slices.Delete(r.blocks, at, at+1)
	r.stale = staleAll
	b.withdraw()
	b.from, b.row, b.n = place{}, nil, 0
	ix.empty = append(ix.empty, b)
	if len(r.blocks) < max(ix.mostBlocks/4, 1) {
		ix.thinRow(r)
	}
	if len(ix.rows) > 0 {
		ix.rows[0].blocks[0].from = place{} // whatever comes before all others belongs there
	}
}

// thinRow is thin for rows.
func (ix *Index) thinRow(r *row) {
	i := slices.Index(ix.rows, r)
	join := func(to, from int) {
		for _, b := range ix.rows[from].blocks {
			ix.rows[to].admit(b)
		}
		ix.rows[to].blocks = append(ix.rows[to].blocks, ix.rows[from].blocks...)
		ix.rows[to].stale = staleAll
		ix.rows[to].refresh()
		ix.rows = slices.Delete(ix.rows, from, from+1)
	}
	most := ix.mostBlocks * 5 / 8
	switch {
	case i+1 < len(ix.rows) && len(r.blocks)+len(ix.rows[i+1].blocks) <= most:
		join(i, i+1)
	case i > 0 && len(r.blocks)+len(ix.rows[i-1].blocks) <= most:
		join(i-1, i)
	case len(r.blocks) == 0:
		ix.rows = slices.Delete(ix.rows, i, i+1)
	}
}
