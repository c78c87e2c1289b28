package delivery

import (
	"cmp"
	"container/heap"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/berthage/berthage/notify"
)

// MostAttempts is how many attempts are remembered.
const MostAttempts = 1000

// Queue decides which of the items that wait is sent when. It has no clock: moments come with each call and do not run back.
// Its zero value is an empty queue with the usual policy. It is not safe for concurrent use.
type Queue struct {
	Policy Policy // a valid one

	entries   map[string]*entry // by key: what is listed or under way
	listed    []*entry
	lanes     []*lane // that have something listed
	receivers map[string]*receiver
	turn      int       // of Set
	flying    int       // attempts under way
	oldest    time.Time // no item that may get too old has been queued before
	log       []Attempt // a ring once it is full
	logged    int       // how many there have been
}

// Set says what waits, in the order in which it is to be sent. What is listed no more is forgotten; of what is under way the attempt still
// ends with Done. An item that Done or Plan has settled stays settled, and holds back those behind it, until it is listed no more. Of
// several items with the same key the first counts.
//
// The cost grows with the number of items. That of Done does not, and that of Plan only when one has got too old; it grows with the number
// of receivers.
func (q *Queue) Set(items []Item, now time.Time) {
	if q.entries == nil {
		q.entries, q.receivers = make(map[string]*entry), make(map[string]*receiver)
	}
	q.turn++
	q.oldest = time.Time{}
	before, then := q.listed, 0
	lanes := q.lanes
	q.listed, q.lanes = make([]*entry, 0, len(items)), make([]*lane, 0, len(q.lanes))
	for _, item := range items {
		// Mostly the list is that of before, with something taken out and something added at its end.
		for then < len(before) && before[then].turn == q.turn {
			then++
		}
		var e *entry
		if then < len(before) && before[then].Key == item.Key {
			e = before[then]
		} else if e = q.entries[item.Key]; e != nil && e.turn == q.turn-1 {
			then = e.place
		}
		switch {
		case e != nil && e.turn == q.turn:
			continue
		case e == nil || !e.flying && !e.same(item):
			e = &entry{Item: item, lane: q.lane(item), status: Waiting, ready: item.Queued}
			if e.ready.After(now) {
				e.ready = now // it was queued by another clock
			}
			q.entries[item.Key] = e
		}
		e.turn, e.place = q.turn, len(q.listed)
		q.listed = append(q.listed, e)
		if e.status == Waiting {
			q.ages(e)
		}
		l := e.lane
		if l.turn != q.turn {
			l.turn = q.turn
			clear(l.queue)
			l.queue = l.queue[:0]
			q.lanes = append(q.lanes, l)
		}
		l.queue = append(l.queue, e)
	}
	for _, e := range before {
		if e.turn != q.turn && !e.flying && q.entries[e.Key] == e {
			delete(q.entries, e.Key)
		}
	}
	for _, l := range lanes {
		if l.turn != q.turn {
			l.queue = nil
			q.leave(l)
		}
	}
	q.offer()
}

// lane returns that of an item.
func (q *Queue) lane(item Item) *lane {
	r := q.receivers[item.Receiver]
	if r == nil {
		r = &receiver{name: item.Receiver, lanes: make(map[string]*lane), state: Unknown}
		q.receivers[item.Receiver] = r
	}
	l := r.lanes[item.Order]
	if l == nil {
		l = &lane{receiver: r, order: item.Order}
		r.lanes[item.Order] = l
	}
	return l
}

// leave forgets a lane in which there is nothing, and its receiver if nothing is known of that.
func (q *Queue) leave(l *lane) {
	r := l.receiver
	if l.turn == q.turn || l.flying {
		return
	}
	delete(r.lanes, l.order)
	if len(r.lanes) == 0 && r.state == Unknown {
		delete(q.receivers, r.name)
	}
}

// offer finds the lanes that are open anew.
func (q *Queue) offer() {
	for _, r := range q.receivers {
		clear(r.ready)
		r.ready = r.ready[:0]
	}
	for _, l := range q.lanes {
		if l.open() {
			l.receiver.ready = append(l.receiver.ready, l)
		}
	}
	for _, r := range q.receivers {
		heap.Init(&r.ready)
	}
}

// ages notes when an item was queued.
func (q *Queue) ages(e *entry) {
	if !e.Queued.IsZero() && (q.oldest.IsZero() || e.Queued.Before(q.oldest)) {
		q.oldest = e.Queued
	}
}

// Plan returns the items that are to be sent now, which count as under way until Done or Abandon; the items that are dead because
// they have waited too long; and the moment from which on another call may have something to say even if nothing happens until then, zero
// if there is none.
func (q *Queue) Plan(now time.Time) (send []Item, dead []Result, next time.Time) {
	p := q.Policy.full()
	dead = q.expire(p, now)
	var able []*receiver
	for _, r := range q.receivers {
		if r.able(p, now) {
			able = append(able, r)
		}
	}
	for q.flying < p.InFlight {
		var best *receiver
		for _, r := range able {
			if r.able(p, now) && (r.flying == 0 || q.flying < p.InFlight/2) && (best == nil || r.rather(best)) {
				best = r
			}
		}
		if best == nil {
			break
		}
		send = append(send, q.start(best, now))
	}
	if !q.oldest.IsZero() {
		next = q.oldest.Add(p.DeadAfter)
	}
	for _, r := range q.receivers {
		if len(r.ready) == 0 {
			continue
		}
		if at := r.next(); at.After(now) && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return send, dead, next
}

func (q *Queue) start(r *receiver, now time.Time) Item {
	l := heap.Pop(&r.ready).(*lane)
	e := l.queue[0]
	e.flying, l.flying, e.began, e.resets = true, true, now, r.resets
	r.flying++
	q.flying++
	return e.Item
}

// expire settles what has waited too long. What is under way is spared until that has ended.
func (q *Queue) expire(p Policy, now time.Time) (dead []Result) {
	if q.oldest.IsZero() || now.Before(q.oldest.Add(p.DeadAfter)) {
		return nil
	}
	q.oldest = time.Time{}
	for _, e := range q.listed {
		if e.status != Waiting || e.flying {
			continue
		}
		if e.Queued.IsZero() || now.Before(e.Queued.Add(p.DeadAfter)) {
			q.ages(e)
			continue
		}
		e.status = Dead
		why := "too old: it has waited for " + p.DeadAfter.String()
		if last := cmp.Or(e.err, e.lane.receiver.err); last != "" {
			why += "; " + last
		}
		dead = append(dead, Result{Item: e.Item, Status: Dead, At: now, Reason: text(errors.New(why))})
	}
	if len(dead) > 0 {
		q.offer()
	}
	return dead
}

// land ends the attempt under way, and returns nil if there is none.
func (q *Queue) land(key string) *entry {
	e := q.entries[key]
	if e == nil || !e.flying {
		return nil
	}
	e.flying, e.lane.flying = false, false
	e.lane.receiver.flying--
	q.flying--
	return e
}

// landed is called when all is known of an attempt that has ended.
func (q *Queue) landed(e *entry) {
	if e.turn != q.turn {
		delete(q.entries, e.Key)
	} else if e.status == Waiting {
		q.ages(e)
	}
	q.leave(e.lane)
	e.lane.receiver.offer(e.lane)
}

// Done says how an attempt to send an item has ended, err being what its notifier has returned, and returns what that means. Of
// an item that is not under way it is nothing, and the item waits.
func (q *Queue) Done(item Item, err error, now time.Time) Result {
	e := q.land(item.Key)
	if e == nil {
		return Result{Item: item, Status: Waiting, At: now}
	}
	r := e.lane.receiver
	if e.resets != r.resets { // who has answered is not the receiver that there is now
		if e.ready = now; err == nil {
			e.status = Delivered
		}
	} else {
		q.judge(e, err, now)
	}
	e.err = text(err)
	out := Result{Item: e.Item, Status: e.status, At: now, Reason: e.err}
	if e.status == Waiting {
		out.At = latest(e.ready, r.asked, r.again)
	}
	q.remember(Attempt{Item: e.Item, At: e.began, Took: now.Sub(e.began), Status: e.status, Error: e.err})
	q.landed(e)
	return out
}

// judge decides what an answer says of the item and of its receiver.
func (q *Queue) judge(e *entry, err error, now time.Time) {
	p, r := q.Policy.full(), e.lane.receiver
	e.attempts++
	if err == nil {
		e.status = Delivered
		r.took(now)
		return
	}
	r.err, r.failed = text(err), now
	if errors.Is(err, notify.ErrBroken) {
		r.state = Broken
	} else if r.state != Broken {
		r.state = Failing
	}
	if r.state == Broken {
		r.again = now.Add(p.BrokenEvery)
	}
	if forGood(err) {
		e.status = Dead
		return
	}
	r.failures++
	e.ready = now.Add(p.Backoff(e.Key, e.attempts))
	if r.state == Broken {
		e.ready = r.again // another one's turn first
	} else if r.failures >= p.Failures {
		r.again = latest(r.again, now.Add(p.Backoff(r.name, r.failures)))
	}
	if after := notify.RetryAfter(err); after > 0 {
		r.asked = latest(r.asked, now.Add(min(after, p.DeadAfter)))
	}
}

// Abandon says that it will never be known how an attempt has ended. The item waits as it did before.
func (q *Queue) Abandon(item Item) {
	if e := q.land(item.Key); e != nil {
		q.landed(e)
	}
}

// Reset forgets what is known of a receiver, because it is another one now, or none at all. What waits for it is sent at
// once, and what an attempt that is under way yet will say counts only if it says that the item has arrived.
func (q *Queue) Reset(name string) {
	r := q.receivers[name]
	if r == nil {
		return
	}
	*r = receiver{name: r.name, lanes: r.lanes, ready: r.ready, flying: r.flying, resets: r.resets + 1, state: Unknown}
	if len(r.lanes) == 0 {
		delete(q.receivers, name)
	}
	for _, l := range r.lanes {
		for _, e := range l.queue {
			if e.attempts > 0 && e.status == Waiting {
				e.attempts, e.err, e.ready = 0, "", time.Time{}
			}
		}
	}
	q.offer()
}

// Receivers returns how they are, by name: all that something waits for, or that have been sent something since they were Reset.
func (q *Queue) Receivers() []Health {
	out := make([]Health, 0, len(q.receivers))
	for _, name := range slices.Sorted(maps.Keys(q.receivers)) {
		r := q.receivers[name]
		h := Health{
			Receiver: name, State: r.state, Failures: r.failures, Error: r.err, Failed: r.failed, Delivered: r.delivered, InFlight: r.flying,
		}
		for _, l := range r.lanes {
			for _, e := range l.queue {
				if e.status == Waiting {
					h.Waiting++
				}
			}
		}
		if len(r.ready) > 0 {
			h.NextTry = r.next()
		}
		out = append(out, h)
	}
	return out
}

// Progress returns how far an item has come, and whether it is listed or under way at all.
func (q *Queue) Progress(key string) (Progress, bool) {
	e := q.entries[key]
	if e == nil {
		return Progress{}, false
	}
	out := Progress{Status: e.status, Attempts: e.attempts, InFlight: e.flying, Error: e.err}
	if l := e.lane; l.open() && l.queue[0] == e {
		out.NextTry = latest(e.ready, l.receiver.asked, l.receiver.again)
	}
	return out, true
}

// settled reports whether an item is listed though it needs not be.
func (q *Queue) settled(item Item) bool {
	e := q.entries[item.Key]
	return e != nil && e.turn == q.turn && e.status != Waiting && e.same(item)
}

func (q *Queue) remember(a Attempt) {
	if len(q.log) < MostAttempts {
		q.log = append(q.log, a)
	} else {
		q.log[q.logged%MostAttempts] = a
	}
	q.logged++
}

// Attempts returns those that ended last, the latest first.
func (q *Queue) Attempts() []Attempt {
	out := make([]Attempt, 0, len(q.log))
	for i := range len(q.log) {
		out = append(out, q.log[(q.logged-1-i)%MostAttempts])
	}
	return out
}
