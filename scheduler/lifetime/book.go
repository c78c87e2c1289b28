package lifetime

import (
	"math"
	"math/bits"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Class is what is known of an instance when it is placed. Batch is how many were asked for together, itself included;
// sizes count as alike up to the next power of two.
type Class struct {
	Project, Flavor string
	Batch           int
}

// mostClasses bounds what is kept of classes. What comes when there are as many is taken for like its parent, and counts
// there.
const mostClasses = 4096

// Book is what has been learnt of lives, and who lives where. The zero value knows nothing yet. Those methods that return something
// change nothing and may be called side by side; the others are for one goroutine at a time. Ends is safe for concurrent use.
type Book struct {
	Ends scheduler.Ends // until when hosts are expected to be in use: as of the last Look, and what was born or gone since

	pool   *curve
	curves map[key]*curve
	order  []*curve // parents before children
	lives  map[pool.InstanceID]*life
	on     map[pool.HostID][]*life
}

// key names a class, or a parent of some.
type key struct {
	project, flavor string
	level, batch    int8 // 1: a project; 2: with a flavor; 3: and a batch size, as its number of bits
}

// life is an instance that lives.
type life struct {
	of        *curve
	born, end time.Time
	hint      time.Time // zero: there is none
	host      pool.HostID
	at        int // in on
}

// Born records an instance that has been placed on a host. Until is when it is said to end; the zero Time: nobody
// says. One that is known already is no mistake: it stays as it is, see Moved.
func (b *Book) Born(id pool.InstanceID, host pool.HostID, c Class, at, until time.Time) {
	if _, ok := b.lives[id]; ok {
		return
	}
	b.start()
	l := &life{of: b.find(c, true), born: at, hint: until, host: host}
	l.end = l.expect(at)
	b.lives[id] = l
	b.put(l)
}

// Moved records that an instance is on another host now, or, if that is empty, on none for a time. One that is not known is
// no mistake.
func (b *Book) Moved(id pool.InstanceID, host pool.HostID) {
	l, ok := b.lives[id]
	if !ok || l.host == host {
		return
	}
	b.take(l)
	l.host = host
	b.put(l)
}

// Gone records the end of an instance. One that is not known is no mistake.
func (b *Book) Gone(id pool.InstanceID, at time.Time) {
	l, ok := b.lives[id]
	if !ok {
		return
	}
	age := ageOf(at.Sub(l.born))
	for c := l.of; c != nil; c = c.parent {
		if c.ended[age] < math.MaxUint32 {
			c.ended[age]++
		}
	}
	delete(b.lives, id)
	b.take(l)
}

// Until returns when an instance is expected to end; the zero Time if it is not known.
func (b *Book) Until(id pool.InstanceID) time.Time {
	if l, ok := b.lives[id]; ok {
		return l.end
	}
	return time.Time{}
}

// Forget forgets who lives, of whom it may be told anew; what has been learnt stays.
func (b *Book) Forget() {
	for host := range b.on {
		b.Ends.Set(host, time.Time{})
	}
	clear(b.lives)
	clear(b.on)
}

// Lives returns how long an instance of that class is expected to live that is placed now, by what was known at the last
// Look. It is true until the next Look.
func (b *Book) Lives(c Class) scheduler.Lives { return b.find(c, false).lives }

// Expect returns the median of how long an instance of that class lives, by what was known at the last Look.
func (b *Book) Expect(c Class) time.Duration { return b.find(c, false).remains(0) }

// Look makes what was learnt until now count, and all expectations what they are at the age that instances have now. Its
// cost grows with the number of instances; once in five minutes, below which nothing differs, is enough.
func (b *Book) Look(now time.Time) {
	b.start()
	for _, c := range b.order {
		clear(c.alive[:])
	}
	for _, l := range b.lives {
		age := ageOf(now.Sub(l.born))
		for c := l.of; c != nil; c = c.parent {
			c.alive[age]++
		}
	}
	for _, c := range b.order {
		c.look(b.oldest())
	}
	for _, l := range b.lives {
		l.end = l.expect(now)
	}
	for host := range b.on {
		b.tell(host)
	}
}

// expect returns when a life is expected to end: when it is said to, and as long as nobody says or that has passed, by its age.
func (l *life) expect(now time.Time) time.Time {
	if l.hint.After(now) {
		return l.hint
	}
	return now.Add(l.of.remains(max(0, now.Sub(l.born))))
}

func (b *Book) start() {
	if b.lives != nil {
		return
	}
	b.curves, b.lives, b.on = make(map[key]*curve), make(map[pool.InstanceID]*life), make(map[pool.HostID][]*life)
	b.pool = newCurve(nil)
	b.pool.look(b.oldest())
	b.order = append(b.order, b.pool)
}

// oldest returns how many ages there are up to the oldest that anybody has been seen in.
func (b *Book) oldest() int {
	for a := ages - 1; a > 0; a-- {
		if b.pool.ended[a]+b.pool.alive[a] > 0 {
			return a + 1
		}
	}
	return 1
}

// find returns what is known of a class, or else of the nearest parent. If it is to be made, it is as far as there is room.
func (b *Book) find(c Class, grow bool) *curve {
	size := int8(bits.Len(uint(max(1, c.Batch) - 1)))
	if b.pool == nil { // and nobody has told anything
		nothing := newCurve(nil)
		nothing.look(1)
		return nothing
	}
	of := b.pool
	for _, k := range [...]key{{c.Project, "", 1, 0}, {c.Project, c.Flavor, 2, 0}, {c.Project, c.Flavor, 3, size}} {
		next, ok := b.curves[k]
		if !ok {
			if !grow || len(b.curves) == mostClasses {
				return of
			}
			next = newCurve(of)
			next.look(b.oldest())
			b.curves[k], b.order = next, append(b.order, next)
		}
		of = next
	}
	return of
}

func (b *Book) put(l *life) {
	l.at = len(b.on[l.host])
	b.on[l.host] = append(b.on[l.host], l)
	if l.host != "" && b.Ends.Of(l.host).Before(l.end) {
		b.Ends.Set(l.host, l.end)
	}
}

func (b *Book) take(l *life) {
	on := b.on[l.host]
	last := on[len(on)-1]
	on[l.at], last.at = last, l.at
	on[len(on)-1] = nil
	if on = on[:len(on)-1]; len(on) == 0 {
		delete(b.on, l.host)
	} else {
		b.on[l.host] = on
	}
	b.tell(l.host)
}

// tell says until when a host is expected to be in use.
func (b *Book) tell(host pool.HostID) {
	if host == "" {
		return
	}
	var end time.Time
	for _, l := range b.on[host] {
		if l.end.After(end) {
			end = l.end
		}
	}
	b.Ends.Set(host, end)
}
