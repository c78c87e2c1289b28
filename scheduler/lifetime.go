package scheduler

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
)

// Ends is until when hosts are expected to be in use: of each the latest expected end of what is on it. A Scheduler that
// has one looks at lifetimes: a placement costs room, which the Strategy counts, and it costs host-time as far as it keeps a
// host in use that would have become empty. Both are parts of what the instance takes as long as it exists, and are added:
//
//	score = 1 on a host in use + (1 - whole x prolonged + score by the Strategy without that 1) / 2
//	prolonged = the part of the instance's expected life that lies beyond the end of the host's; all of it on an empty host
//	whole = by how much the Strategy scores a host less for all of whose capacity being left over
//
// A guess that is wrong by little costs little so, and one of which only chances are known counts by them. An empty host is begun
// no sooner than otherwise. A host of which no end is known could be empty now. Under Spread, which keeps no host
// empty, lifetimes have no say, nor where a request has no Lives.
//
// Ends can be hints of those who launch, or what package lifetime has learnt; see there. The zero value knows of none. It is
// safe for concurrent use; an Index follows the Ends that its requests come with.
type Ends struct {
	mu      sync.RWMutex
	of      map[pool.HostID]int64
	changes uint64        // so far
	last    []pool.HostID // the hosts of the last of them
}

// Set records until when a host is expected to be in use; the zero Time: nothing is expected.
func (e *Ends) Set(host pool.HostID, end time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := nanos(end)
	if e.get(host) == n {
		return
	}
	if n == noEnd {
		delete(e.of, host)
	} else {
		if e.of == nil {
			e.of = make(map[pool.HostID]int64)
		}
		e.of[host] = n
	}
	if e.changes++; len(e.last) > max(1024, 2*len(e.of)) {
		e.last = e.last[:0] // whoever has not seen them looks at all hosts
	}
	e.last = append(e.last, host)
}

// Of returns until when a host is expected to be in use; the zero Time if nothing is expected.
func (e *Ends) Of(host pool.HostID) time.Time {
	n := e.at(host)
	if n == noEnd {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func (e *Ends) at(host pool.HostID) int64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.get(host)
}

func (e *Ends) get(host pool.HostID) int64 {
	if n, ok := e.of[host]; ok {
		return n
	}
	return noEnd
}

// since yields the hosts whose ends have changed since that many changes; false: that is not known any more.
func (e *Ends) since(changes uint64) ([]pool.HostID, bool) {
	n := e.changes - changes
	if n > uint64(len(e.last)) {
		return nil, false
	}
	return e.last[len(e.last)-int(n):], true
}

// noEnd is an end that is not known. It comes before all others.
const noEnd = math.MinInt64

// nanos is a moment in nanoseconds since 1970; one that cannot be said so is as late, or early, as can be.
func nanos(t time.Time) int64 {
	switch s := t.Unix(); {
	case t.IsZero():
		return noEnd
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	case s <= math.MinInt64/int64(time.Second):
		return noEnd + 1
	}
	return t.UnixNano()
}

// Lives says which part of the life that is expected of an instance lies beyond a time from now on: 1 at zero, and never more at a
// later time than at an earlier one. It must be a pure function.
type Lives func(beyond time.Duration) float64

// Exactly is the Lives of an instance that exists for so long from now on.
func Exactly(d time.Duration) Lives {
	return func(beyond time.Duration) float64 {
		if beyond >= d {
			return 0
		}
		return 1 - float64(beyond)/float64(d)
	}
}

// Expect changes when the instances of an Ask are placed, and how long they are expected to live; nil: that is not known.
func (a *Ask) Expect(now time.Time, lives Lives) { a.req.Now, a.req.Lives = now, lives }

// lasting is a policy that looks at lifetimes. Rounding keeps its score in order as the policy's own.
type lasting struct {
	then  policy
	whole float64 // what a whole host counts in its score
	lives Lives
	now   int64
}

// lives makes a policy look at lifetimes, in the space of w, if these have a say.
func (d *decision) lives(s Strategy, p policy, whole float64, w *lasting) policy {
	if d.scheduler.Ends == nil || s == Spread || d.req.Lives == nil {
		return p
	}
	*w = lasting{p, whole, d.req.Lives, nanos(d.req.Now)}
	return w
}

// prolonged returns what it counts that a part of the instance's life lies beyond the end of a host.
func (p *lasting) prolonged(end int64) float64 {
	if end <= p.now {
		return p.part(0)
	}
	lasts := end - p.now
	if lasts < 0 {
		lasts = math.MaxInt64
	}
	return p.part(time.Duration(lasts))
}

func (p *lasting) part(beyond time.Duration) float64 {
	return float64(p.whole * max(0, min(1, p.lives(beyond))))
}

func (p *lasting) finish(score, prolonged float64, used bool) float64 {
	u := one(used)
	return u + (1-prolonged+(score-u))/2
}

// enough is finish turned round.
func (p *lasting) enough(score, prolonged float64, used bool) float64 {
	u := one(used)
	return u + float64((score-u)*2) - (1 - prolonged)
}

func (p *lasting) score(c *columns, hosts []uint8, out []float64) {
	p.then.score(c, hosts, out)
	for j, i := range hosts {
		prolonged, used := p.whole, c.used(i)
		if used {
			prolonged = p.prolonged(c.ends[i])
		}
		out[j] = p.finish(out[j], prolonged, used)
	}
}

// least returns the least that a host of the box is prolonged by. Where only some of them are in use, none of the others has as
// high a score as any of these.
func (p *lasting) least(r *ranges) float64 {
	if !r.used {
		return p.whole
	}
	return p.prolonged(r.end)
}

func (p *lasting) bound(r *ranges, enough float64) float64 {
	least := p.least(r)
	return p.finish(p.then.bound(r, p.enough(enough, least, r.used)), least, r.used)
}

func (p *lasting) reach(r *ranges, enough float64) bounds {
	return p.then.reach(r, p.enough(enough, p.least(r), r.used)-slack)
}

func (p *lasting) scale() []float64 { return p.then.scale() }

// expect makes the index have the ends of hosts.
func (ix *Index) expect(e *Ends) {
	if e == nil {
		return
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if ix.ends == e && ix.endsSeen == e.changes {
		return
	}
	hosts, known := e.since(ix.endsSeen)
	if ix.ends == nil {
		for _, r := range ix.rows {
			for _, b := range r.blocks {
				b.ends = slices.Repeat([]int64{noEnd}, blockSize)
			}
		}
		ix.empty = nil // which have no space for them
	}
	if ix.ends != e || !known {
		ix.ends = e
		for id, slot := range ix.ids {
			ix.setEnd(slot, e.get(id))
		}
	} else {
		for _, id := range hosts {
			if slot, ok := ix.ids[id]; ok {
				ix.setEnd(slot, e.get(id))
			}
		}
	}
	ix.endsSeen = e.changes
}

func (ix *Index) setEnd(slot int32, end int64) {
	e := &ix.entries[slot]
	b := e.block
	if b == nil { // whoever asks an aggregate asks the Ends
		return
	}
	old := b.ends[e.at]
	if old == end {
		return
	}
	b.ends[e.at] = end
	b.row.end, b.card.end = max(b.row.end, end), max(b.card.end, end)
	if old == b.card.end {
		b.stale |= staleEnd
	}
}
