package scheduler

import (
	"math"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
)

// Ends is until when hosts are expected to be in use: of each the latest expected end of what is on it. A Scheduler that
// has one looks at lifetimes: of the hosts in use those come first whose use a request with an expected end
// (Request.Until) prolongs least, and what the Strategy prefers decides among those where that is about the same. So hosts become
// empty as a whole, and an empty one is begun no sooner than otherwise. How long a placement prolongs the use of a host
//
//	extension = the request's expected end - the later of the host's and Request.Now
//
// is compared by its order of magnitude, since ends are guesses: less than five minutes is nothing, and beyond that
// extensions count as different that differ by a power of two of it (as in LAVA; Ling et al., MLSys '25). A host of which no end is
// known could be empty now. Under Spread, which keeps no host empty, lifetimes have no say.
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

// Expect changes when the instances of an Ask are placed, and when they are expected to end; the zero Time: that is not
// known.
func (a *Ask) Expect(now, until time.Time) { a.req.Now, a.req.Until = now, until }

// Of an extension: what is nothing, and how many orders of magnitude there are, which is more than an int64 of
// nanoseconds has.
const (
	atOnce     = uint64(5 * time.Minute)
	extensions = 64
)

// lasting is a policy behind lifetimes. The score is
//
//	1 if the host is in use + (63 - order of magnitude of the extension + score of the policy without that 1) / 64
//
// which rounding keeps in order as the policy's own.
type lasting struct {
	then       policy
	until, now int64
}

// lives puts a policy behind lifetimes, in the space of w, if these have a say.
func (d *decision) lives(s Strategy, p policy, w *lasting) policy {
	if d.scheduler.Ends == nil || s == Spread || d.req.Until.IsZero() {
		return p
	}
	*w = lasting{p, nanos(d.req.Until), nanos(d.req.Now)}
	return w
}

// extension returns the order of magnitude by which the use of a host that is expected to end is prolonged.
func (p *lasting) extension(end int64) int {
	from := max(end, p.now)
	if p.until <= from {
		return 0
	}
	return bits.Len64((uint64(p.until) - uint64(from)) / atOnce)
}

func (p *lasting) finish(score float64, extension int, used bool) float64 {
	u := one(used)
	return u + (float64(extensions-1-extension)+(score-u))/extensions
}

// enough is finish turned round.
func (p *lasting) enough(score float64, extension int, used bool) float64 {
	u := one(used)
	return u + float64((score-u)*extensions) - float64(extensions-1-extension)
}

func (p *lasting) score(c *columns, hosts []uint8, out []float64) {
	p.then.score(c, hosts, out)
	for j, i := range hosts {
		extension, used := 0, c.used(i)
		if used {
			extension = p.extension(c.ends[i])
		}
		out[j] = p.finish(out[j], extension, used)
	}
}

// least returns the least extension of the hosts in a box. Where only some of them are in use, none of the others has as
// high a score as any of these.
func (p *lasting) least(r *ranges) int {
	if !r.used {
		return 0
	}
	return p.extension(r.end)
}

func (p *lasting) bound(r *ranges, enough float64) float64 {
	extension := p.least(r)
	return p.finish(p.then.bound(r, p.enough(enough, extension, r.used)), extension, r.used)
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
