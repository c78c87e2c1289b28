package delivery

import (
	"container/heap"
	"time"
)

// entry is what is known of an item.
type entry struct {
	Item
	lane     *lane
	turn     int       // the call of Set that last listed it
	place    int       // in that list
	status   Status    //
	ready    time.Time // when it may be sent; of one that was never tried, since when it could have been
	attempts int       // since the receiver was reset
	err      string    // of the last of them
	began    time.Time // the attempt under way
	resets   int       // of the receiver, when that began
	flying   bool      // an attempt is under way
}

// lane is the items of one receiver and order, as listed. Only its first one may be sent.
type lane struct {
	receiver *receiver
	order    string
	turn     int // the call of Set that last put something in
	queue    []*entry
	flying   bool // one is under way, which may be listed no more
}

// open reports whether the first one is there and waits.
func (l *lane) open() bool {
	return !l.flying && len(l.queue) > 0 && l.queue[0].status == Waiting
}

// lanes is a heap of open lanes: that on top has been ready for longest.
type lanes []*lane

func (h lanes) Len() int { return len(h) }

func (h lanes) Less(i, j int) bool { return h[i].queue[0].before(h[j].queue[0]) }

func (e *entry) before(f *entry) bool {
	if c := e.ready.Compare(f.ready); c != 0 {
		return c < 0
	}
	return e.place < f.place
}

func (h lanes) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *lanes) Push(l any) { *h = append(*h, l.(*lane)) }

func (h *lanes) Pop() any {
	last := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	return last
}

// receiver is how one is, and what waits for it.
type receiver struct {
	name   string
	lanes  map[string]*lane // by order
	ready  lanes
	flying int
	resets int

	state     State
	failures  int
	asked     time.Time // it has asked to be left alone until then
	again     time.Time // it is left alone until then, since it fails
	err       string
	failed    time.Time
	delivered time.Time
}

func (r *receiver) offer(l *lane) {
	if l.open() {
		heap.Push(&r.ready, l)
	}
}

// next returns when the first lane that is ready may go, limits aside.
func (r *receiver) next() time.Time {
	return latest(r.ready[0].queue[0].ready, r.asked, r.again)
}

// most returns how many items may be under way. While it is not known whether the receiver takes anything it is one.
func (r *receiver) most(p Policy) int {
	if r.state == Broken || r.failures >= p.Failures {
		return 1
	}
	return p.PerReceiver
}

// able reports whether an item may go now.
func (r *receiver) able(p Policy, now time.Time) bool {
	return len(r.ready) > 0 && r.flying < r.most(p) && !r.next().After(now)
}

// rather reports whether r goes before o: it has less under way, or has waited for longer.
func (r *receiver) rather(o *receiver) bool {
	if r.flying != o.flying {
		return r.flying < o.flying
	}
	return r.ready[0].queue[0].before(o.ready[0].queue[0])
}

// took notes that an item has arrived.
func (r *receiver) took(now time.Time) {
	r.state, r.failures, r.again, r.delivered = OK, 0, time.Time{}, now
}

func latest(t time.Time, others ...time.Time) time.Time {
	for _, o := range others {
		if o.After(t) {
			t = o
		}
	}
	return t
}
