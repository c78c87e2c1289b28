package scheduler

import (
	"iter"
	"reflect"

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
	kin     kinBook
	domains map[string]*domains // by key
	layout  uint64              // changes with the domains that hosts are in
	gpu     gpuBook

	most, mostBlocks int    // hosts in a block, blocks in a row
	patience         uint64 // longAgo
	searches         uint64 // so far

	booked []amount // of the change that is being made

	line, other line // of one host, while it is changed
	empty       []*block
	search      search
	decisions   map[likeness]*decision // of PlaceOn
	sums        totals                 // is total
	learnt      func() *workload       // is learn
	ends        *Ends                  // that the blocks have; nil: none
	endsSeen    uint64                 // of its changes
	version     uint64                 // of the last change of any host
}

// entry is one host, wherever it stands.
type entry struct {
	rec     *pool.HostRecord // as it was last told
	block   *block           // nil: apart, or vacant
	rooms   []int64          // of rec.Devices, in their order
	version uint64           // of the last change
	placed  int32
	gpu     int32 // one more than its number in gpuBook; 0: it has nothing to do with GPUs
	at      uint8 // in block
	ahead   bool  // of rec: Book or Free has changed it
}

// usedOfPool is what the hosts in use, but for aggregates, use and have of a class together, and what all hosts have.
type usedOfPool struct{ used, capacity, all int64 }

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
	ix.sums, ix.learnt = ix.total, ix.learn
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
	var had []pool.Peers
	if !known {
		ix.layout++
		slot = ix.vacancy()
		ix.ids[h.ID] = slot
		ix.fill(l, h)
		ix.stand(l, h)
	} else {
		e := &ix.entries[slot]
		ix.count(slot, -1)
		had = e.rec.Peers
		switch {
		case !sameTraits(e.rec, h):
			ix.layout++
			eachTrait(e.rec, ix.traits.drop)
			ix.fill(l, h)
			ix.stand(l, h)
		case e.block == nil:
			ix.fill(l, h)
			eachTrait(h, func(t trait) { l.traits = l.traits.with(ix.known(t)) })
		case onlyBooked(e.rec, h) && !h.Aggregate():
			ix.refill(l, e, h)
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
	ix.gpu.put(e)
	e.rooms = e.rooms[:0]
	for i := range h.Devices {
		e.rooms = append(e.rooms, roomOn(h, &h.Devices[i], asItIs))
	}
	ix.kin.follow(slot, had, h.Peers)
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
	ix.kin.follow(slot, ix.entries[slot].rec.Peers, nil)
	ix.layout++
	eachTrait(ix.entries[slot].rec, ix.traits.drop)
	ix.take(slot)
	ix.gpu.drop(&ix.entries[slot])
	delete(ix.ids, id)
	ix.entries[slot] = entry{rooms: ix.entries[slot].rooms[:0], version: ix.entries[slot].version}
	ix.touch(&ix.entries[slot])
	ix.vacant = append(ix.vacant, slot)
}

// touch makes what was found out about a host outdated.
func (ix *Index) touch(e *entry) {
	ix.version++
	e.version = ix.version
	ix.gpu.forget(e)
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

// fill sets the amounts of l, and those of its traits that change with the host's use and condition. Columns of classes that
// nobody had before are made.
func (ix *Index) fill(l *line, h *pool.HostRecord) {
	clear(l.free)
	clear(l.capacity)
	for class, n := range h.Capacity {
		c := ix.column(class)
		l.free[c], l.capacity[c] = n, n
	}
	for class, n := range h.Used {
		c := ix.column(class)
		l.free[c] -= n
	}
	l.traits, l.end = traits{}, noEnd
	if ix.ends != nil {
		l.end = ix.ends.at(h.ID)
	}
	if h.Conditions.Schedulable() {
		l.traits.is |= traitReady
	}
	if limited(h) {
		l.traits.is |= traitLimited
	}
	l.use(inUse(h))
}

// onlyBooked reports whether two records of a host are of the same as far as fill goes, but for what is used. Records that only
// bookings tell apart share their maps.
func onlyBooked(a, b *pool.HostRecord) bool {
	return a.Conditions == b.Conditions && sameMap(a.Capacity, b.Capacity) && sameMap(a.Inventory, b.Inventory)
}

// sameMap reports whether two maps are one.
func sameMap[K comparable, V any](a, b map[K]V) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// refill is fill for a host in a block of which only what is used has changed.
func (ix *Index) refill(l *line, e *entry, h *pool.HostRecord) {
	e.block.read(int(e.at), l)
	copy(l.free, l.capacity)
	for class, n := range h.Used {
		c := ix.column(class) // which may be new, and then nobody has any of it
		l.free[c] -= n
	}
	if l.end = noEnd; ix.ends != nil {
		l.end = ix.ends.at(h.ID)
	}
	l.use(inUse(h))
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
	eachTrait(h, func(t trait) { l.traits = l.traits.with(ix.traits.take(t, h)) })
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

// count adds what a host has and uses to the totals, or takes it from them.
func (ix *Index) count(slot int32, sign int64) {
	e := &ix.entries[slot]
	if e.block == nil {
		for class, n := range e.rec.Capacity {
			ix.totals[ix.columns[class]].all += sign * n
		}
		return
	}
	used := e.block.marks[e.at].is&traitUsed != 0
	for c := range ix.totals {
		capacity := at(e.block.capacity, c, int(e.at), 0)
		ix.totals[c].all += sign * capacity
		if used {
			ix.totals[c].capacity += sign * capacity
			ix.totals[c].used += sign * (capacity - at(e.block.free, c, int(e.at), 0))
		}
	}
}

// total returns what the hosts in use use and have of a class.
func (ix *Index) total(class pool.Class) (used, capacity int64) {
	c, ok := ix.columns[class]
	if !ok {
		return 0, 0
	}
	return ix.totals[c].used, ix.totals[c].capacity
}

// capacity returns what all hosts have of a class.
func (ix *Index) capacity(class pool.Class) int64 {
	c, ok := ix.columns[class]
	if !ok {
		return 0
	}
	return ix.totals[c].all
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
