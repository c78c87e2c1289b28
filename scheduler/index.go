package scheduler

import (
	"iter"
	"math/bits"
	"slices"
	"sort"

	"github.com/berthage/berthage/pool"
)

// Index holds the hosts of a pool so that the best one for a request is found without looking at all of them: the
// same that Scheduler.Place finds by looking at each. Hosts that are alike stand in blocks, blocks in rows, and of both
// the index knows within which bounds the amounts and traits of their hosts are; a search leaves out those in which
// nothing fits, or nothing better than what it has.
//
// It holds what it is told: Update and Remove follow the records of a State; Book and Free change amounts without any
// State, for simulations and plans. An Index is for one goroutine at a time, readers included.
type Index struct {
	entries []entry
	vacant  []int32
	ids     map[pool.HostID]int32
	rows    []*row
	apart   []int32 // aggregates: what a request takes there depends on their shapes
	traits  traitBook

	columns map[pool.Class]int
	gpus    [2]int       // columns of GPUs, -1 until there are any
	totals  []usedOfPool // by column

	tallies []tally

	most, mostBlocks int    // hosts in a block, blocks in a row
	patience         uint64 // longAgo
	searches         uint64 // so far

	booked []amount // of the change that is being made

	line, other line // of one host, while it is changed
	empty       []*block
	search      search
	sums        totals // is total
	version     uint64 // of the last change of any host
}

// entry is one host, wherever it stands.
type entry struct {
	rec     *pool.HostRecord // as it was last told
	block   *block           // nil: apart, or vacant
	rooms   []int64          // of rec.Devices, in their order
	version uint64           // of the last change
	placed  int32
	at      uint8 // in block
	ahead   bool  // of rec: Book or Free has changed it
}

type usedOfPool struct{ used, capacity int64 }

type amount struct {
	column int
	n      int64
}

// The columns that every index has.
const (
	columnCPU = iota
	columnMemory
)

// NewIndex returns an index of the hosts of a State, which it does not follow by itself.
func NewIndex(st *pool.State) *Index {
	ix := &Index{ids: make(map[pool.HostID]int32, st.HostCount()), columns: make(map[pool.Class]int), gpus: [2]int{-1, -1}, most: blockSize, mostBlocks: rowSize, patience: longAgo}
	ix.sums = ix.total
	ix.column(pool.CPU)
	ix.column(pool.Memory)
	for h := range st.Hosts() {
		ix.Update(h)
	}
	return ix
}

// Len returns the number of hosts.
func (ix *Index) Len() int { return len(ix.ids) }

// Sync makes the index have of a host what the State, or overlay, has of it: its record, or nothing.
func (ix *Index) Sync(st *pool.State, id pool.HostID) {
	if h, ok := st.Host(id); ok {
		ix.Update(h)
	} else {
		ix.Remove(id)
	}
}

// Update puts a host into the index, or its new record in the place of what the index had of it. The record must not
// change any more, as none of a State does.
func (ix *Index) Update(h *pool.HostRecord) {
	slot, known := ix.ids[h.ID]
	if known && ix.entries[slot].rec == h && !ix.entries[slot].ahead {
		return
	}
	l := &ix.line
	if !known {
		slot = ix.vacancy()
		ix.ids[h.ID] = slot
		ix.register(h)
		ix.fill(l, h)
		ix.stand(l, h)
	} else {
		e := &ix.entries[slot]
		ix.count(slot, -1)
		ix.register(h)
		switch {
		case !sameTraits(e.rec, h):
			eachTrait(e.rec, ix.traits.drop)
			ix.fill(l, h)
			ix.stand(l, h)
		case e.block == nil:
			ix.fill(l, h)
			eachTrait(h, func(t trait) { l.traits = l.traits.with(ix.known(t)) })
		default:
			l.traits = e.block.marks[e.at]
			l.traits.is &^= 1<<traitFirst - 1
			stands := l.traits
			ix.fill(l, h)
			l.traits = l.traits.with(stands)
		}
		if e.block == nil || h.Aggregate() {
			ix.take(slot)
		}
	}
	e := &ix.entries[slot]
	e.rec, e.placed, e.ahead = h, int32(h.Placed), false
	e.rooms = e.rooms[:0]
	for i := range h.Devices {
		e.rooms = append(e.rooms, roomOn(h, &h.Devices[i], asItIs))
	}
	ix.touch(e)
	ix.whole(l, e)
	ix.sum(l)
	switch {
	case h.Aggregate():
		ix.apart = append(ix.apart, slot)
	case e.block == nil:
		ix.insert(slot, l)
	default:
		ix.move(slot, l)
	}
	ix.count(slot, 1)
}

// Remove takes a host out. One that is not there is no mistake.
func (ix *Index) Remove(id pool.HostID) {
	slot, ok := ix.ids[id]
	if !ok {
		return
	}
	ix.count(slot, -1)
	eachTrait(ix.entries[slot].rec, ix.traits.drop)
	ix.take(slot)
	delete(ix.ids, id)
	ix.entries[slot] = entry{rooms: ix.entries[slot].rooms[:0], version: ix.entries[slot].version}
	ix.touch(&ix.entries[slot])
	ix.vacant = append(ix.vacant, slot)
}

// touch makes what was found out about a host outdated.
func (ix *Index) touch(e *entry) {
	ix.version++
	e.version = ix.version
}

func (ix *Index) vacancy() int32 {
	if n := len(ix.vacant); n > 0 {
		slot := ix.vacant[n-1]
		ix.vacant = ix.vacant[:n-1]
		return slot
	}
	ix.entries = append(ix.entries, entry{})
	return int32(len(ix.entries) - 1)
}

func (ix *Index) idOf(slot int32) pool.HostID { return ix.entries[slot].rec.ID }

// column returns the number of a class's column, which is made.
func (ix *Index) column(class pool.Class) int {
	c, ok := ix.columns[class]
	if !ok {
		c = len(ix.columns)
		ix.columns[class] = c
		ix.totals = append(ix.totals, usedOfPool{})
		for _, l := range []*line{&ix.line, &ix.other} {
			l.free, l.capacity, l.whole = append(l.free, 0), append(l.capacity, 0), append(l.whole, anyRoom)
		}
		switch class {
		case pool.GPU:
			ix.gpus[0] = c
		case pool.GPUShare:
			ix.gpus[1] = c
		}
	}
	return c
}

// register makes the columns of all classes that the host knows.
func (ix *Index) register(h *pool.HostRecord) {
	for class := range h.Capacity {
		ix.column(class)
	}
	for class := range h.Used {
		ix.column(class)
	}
}

// fill sets the amounts of l, and those of its traits that change with the host's use and condition.
func (ix *Index) fill(l *line, h *pool.HostRecord) {
	clear(l.free)
	clear(l.capacity)
	for class, n := range h.Capacity {
		c := ix.columns[class]
		l.free[c], l.capacity[c] = n, n
	}
	for class, n := range h.Used {
		l.free[ix.columns[class]] -= n
	}
	l.traits = traits{}
	if h.Conditions.Schedulable() {
		l.traits.is |= traitReady
	}
	if limited(h) {
		l.traits.is |= traitLimited
	}
	l.use(h.Placed > 0 || len(h.Used) > 0)
}

func (l *line) use(used bool) {
	l.traits.is &^= traitUsed | traitUnused
	if used {
		l.traits.is |= traitUsed
	} else {
		l.traits.is |= traitUnused
	}
}

// stand adds the traits that a host has as long as it stands there, and counts it among those that have them.
func (ix *Index) stand(l *line, h *pool.HostRecord) {
	eachTrait(h, func(t trait) { l.traits = l.traits.with(ix.traits.take(t)) })
}

func (ix *Index) known(t trait) traits {
	m, _, _ := ix.traits.find(t)
	return m
}

// whole sets the room of the largest device of each class.
func (ix *Index) whole(l *line, e *entry) {
	for c := range l.whole {
		l.whole[c] = anyRoom
	}
	for i, rooms := 0, e.rooms; i < len(rooms); i++ {
		class := e.rec.Devices[i].Class
		c, ok := ix.columns[class]
		switch {
		case !ok: // nobody has any of it
		case i > 0 && class == e.rec.Devices[i-1].Class:
			l.whole[c] = max(l.whole[c], rooms[i])
		default:
			l.whole[c] = rooms[i]
		}
	}
}

// count adds what a host has and uses to the totals of the pool, or takes it from them.
func (ix *Index) count(slot int32, sign int64) {
	e := &ix.entries[slot]
	if e.block == nil {
		for class, n := range e.rec.Capacity {
			ix.totals[ix.columns[class]].capacity += sign * n
		}
		for class, n := range e.rec.Used {
			ix.totals[ix.columns[class]].used += sign * n
		}
		return
	}
	for c := range ix.totals {
		capacity := at(e.block.capacity, c, int(e.at), 0)
		ix.totals[c].capacity += sign * capacity
		ix.totals[c].used += sign * (capacity - at(e.block.free, c, int(e.at), 0))
	}
}

// total returns what the whole pool uses and has of a class.
func (ix *Index) total(class pool.Class) (used, capacity int64) {
	c, ok := ix.columns[class]
	if !ok {
		return 0, 0
	}
	return ix.totals[c].used, ix.totals[c].capacity
}

// records yields the records of all hosts, in no order.
func (ix *Index) records() iter.Seq[*pool.HostRecord] {
	return func(yield func(*pool.HostRecord) bool) {
		for _, slot := range ix.ids {
			if !yield(ix.record(slot)) {
				return
			}
		}
	}
}

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
	return b
}

// Bounds of what tallies cost, which change nothing in what is found: how many are kept; by how much a weight may differ
// from the factor that is used for it; after how many searches one that nobody has asked for gives way to another.
const (
	mostTallies = 8
	farOff      = 1.0 / 64
	longAgo     = 1024
)

// tallyOf returns the sum that is kept for requests that ask for those columns under a policy with those weights: a new
// one as long as there are few or one has not been asked for, else -1.
func (ix *Index) tallyOf(columns []int, weights []float64) int {
	ix.searches++
	for i := range ix.tallies {
		t := &ix.tallies[i]
		if t.scaled != (weights != nil) || !slices.Equal(t.columns, columns) {
			continue
		}
		for k, w := range weights {
			if off := w - t.factors[k]; off > farOff || off < -farOff {
				copy(t.factors, weights)
				ix.resum(i)
				break
			}
		}
		t.asked = ix.searches
		return i
	}
	at := len(ix.tallies)
	if at == mostTallies {
		at = ix.leastAsked()
	}
	if len(columns) == 0 || at < 0 {
		return -1
	}
	t := tally{columns: slices.Clone(columns), scaled: weights != nil, factors: slices.Clone(weights), asked: ix.searches}
	for len(t.factors) < len(columns) {
		t.factors = append(t.factors, 1)
	}
	if at < len(ix.tallies) {
		ix.tallies[at] = t
		ix.resum(at)
		return at
	}
	ix.tallies = append(ix.tallies, t)
	ix.line.sums, ix.other.sums = append(ix.line.sums, 0), append(ix.other.sums, 0)
	for _, r := range ix.rows {
		r.sums = append(r.sums, nothing())
		for _, b := range r.blocks {
			b.sums, b.box.sums = append(b.sums, make([]float64, blockSize)), append(b.box.sums, nothing())
		}
	}
	ix.empty = nil // which have no space for it
	ix.resum(at)
	return at
}

// leastAsked returns the tally that has not been asked for longest, -1 if that is not long ago.
func (ix *Index) leastAsked() int {
	least := 0
	for i := range ix.tallies {
		if ix.tallies[i].asked < ix.tallies[least].asked {
			least = i
		}
	}
	if ix.searches-ix.tallies[least].asked < ix.patience {
		return -1
	}
	return least
}

// resum makes all sums of a tally anew.
func (ix *Index) resum(i int) {
	t := &ix.tallies[i]
	for _, r := range ix.rows {
		r.sums[i] = nothing()
		for _, b := range r.blocks {
			n := nothing()
			for k := range b.n {
				b.read(k, &ix.other)
				b.sums[i][k] = t.of(&ix.other)
				n.join(b.sums[i][k])
			}
			b.box.sums[i] = n
			b.tell()
			r.sums[i].joinAll(n)
		}
	}
}

// sum makes the sums of a host.
func (ix *Index) sum(l *line) {
	for i := range ix.tallies {
		l.sums[i] = ix.tallies[i].of(l)
	}
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
