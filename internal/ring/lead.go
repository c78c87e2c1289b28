package ring

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// leadership is what one leader remembers between taking over and stepping down. None of it is needed to
// be right after a restart: what is forgotten is taken for the worst and looked at again.
type leadership struct {
	r     *Ring
	ctx   context.Context
	stop  context.CancelFunc
	epoch int64
	from  pool.Revision // at which it began: what was ordered up to there another leader may have sent
	until *deadline     // of the lease; nil without one
	began time.Time
	wake  chan struct{}
	wg    sync.WaitGroup

	mu      sync.Mutex
	ready   map[job]struct{}             // to be planned now
	later   schedule                     // to be planned at a time
	waiting map[pool.HostID][]job        // for a free slot on their host
	flight  map[job]*flight              // under way
	slots   map[pool.HostID]int          // calls under way per host
	queued  map[pool.ClusterID][]job     // for their turn in their cluster
	turns   map[pool.ClusterID]int       // members acted on
	seen    map[pool.InstanceID]sighting // machines that are not on the host of their place
	known   map[pool.MachineID]knowledge //
	paused  map[job]backoff              //
	ailing  map[pool.HostID]backoff      // hosts that did not answer
	hosts   map[pool.HostID]*watch       //
	lists   map[string]*listing          // by driver
	lanes   map[lane]*traffic            // observations
	sweep   sweeper

	freed     freed                    // since the queue was gone through last
	fullUntil time.Time                // when to go through all of it: then a shape no longer counts as full; zero: never
	giving    map[pool.InstanceID]bool // were asked to give way
	unwilling map[pool.InstanceID]bool // and could not

	reserved map[pool.InstanceID]time.Time // what is only reserved, since when this leader has seen it
}

// job is what something is planned for: an action for an instance or for a held allocation, the observation of
// a host's machines or of a driver's hosts, the fencing of a host, the queue of those who wait for a place, or
// everything of a kind anew. One field is set.
type job struct {
	instance pool.InstanceID
	held     pool.MachineID
	host     pool.HostID
	driver   string
	fence    pool.HostID
	all      pool.HostID     // its instances
	behind   pool.InstanceID // the held allocations of its former machines
	queue    bool
}

type flight struct {
	verb    verb
	machine pool.MachineID
	cancel  context.CancelFunc
	again   bool // the instance is wanted otherwise since: plan anew as soon as this has ended
}

// leadFor takes over and leads until ctx ends or another has taken over; it reports whether it did lead.
func (r *Ring) leadFor(ctx context.Context, until *deadline) bool {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if err := r.catchUp(ctx); err != nil {
		r.log.Warn("cannot take over", "error", err)
		return false
	}
	if _, err := r.submit(ctx, takeOver{r.cfg.Name}, Caller{Actor: self}); err != nil {
		r.log.Warn("cannot take over", "error", err)
		return false
	}
	l := &leadership{
		r: r, ctx: ctx, stop: stop, until: until, began: time.Now(), wake: make(chan struct{}, 1),
		ready: make(map[job]struct{}), waiting: make(map[pool.HostID][]job), flight: make(map[job]*flight),
		slots: make(map[pool.HostID]int), known: make(map[pool.MachineID]knowledge), paused: make(map[job]backoff),
		ailing: make(map[pool.HostID]backoff), hosts: make(map[pool.HostID]*watch), lists: make(map[string]*listing),
		queued: make(map[pool.ClusterID][]job), turns: make(map[pool.ClusterID]int), seen: make(map[pool.InstanceID]sighting),
		lanes: make(map[lane]*traffic), giving: make(map[pool.InstanceID]bool), unwilling: make(map[pool.InstanceID]bool),
		reserved: make(map[pool.InstanceID]time.Time),
	}
	for name := range r.cfg.Drivers {
		l.lists[name] = newListing()
		l.due(job{driver: name})
	}
	// From here on publications reach note; what was published before is read now.
	r.turn <- struct{}{}
	mine := r.st.Holder() == r.cfg.Name
	l.epoch, l.from = r.st.Epoch(), r.st.Head()
	for i := range r.st.Unsettled() {
		l.due(job{instance: i.ID})
	}
	for h := range r.st.Held() {
		l.due(job{held: h.Machine})
	}
	l.freed.all = true
	l.due(job{queue: true})
	for h := range r.st.Hosts() {
		l.watch(h.ID, l.began)
		l.conditions(h.ID, h.Conditions, l.began)
	}
	if mine {
		r.lead.Store(l)
	}
	<-r.turn
	if !mine {
		return false
	}
	r.log.Info("leading", "name", r.cfg.Name, "epoch", l.epoch)
	l.loop()
	r.lead.Store(nil)
	stop()
	l.wg.Wait()
	r.log.Info("no longer leading", "name", r.cfg.Name, "epoch", l.epoch)
	return true
}

// note tells the leader what has been committed, what that has freed, and which instances are new.
func (l *leadership) note(events []pool.Event, f freed, launched []pool.InstanceID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.any() {
		l.freed.add(f)
		l.due(job{queue: true})
		if f := l.flight[job{queue: true}]; f != nil {
			f.again = true
		}
	}
	for _, id := range launched {
		l.due(job{instance: id})
	}
	for i := range events {
		e := &events[i]
		if e.Kind == pool.KindLaunched {
			continue // what it was made from is let go, see settle
		}
		p, err := e.Payload()
		if err != nil {
			continue
		}
		switch p := p.(type) {
		case *pool.TakenOver:
			if e.Epoch > l.epoch {
				l.stop()
			}
		case *pool.Confirmed:
			l.began = time.Now() // up to now the original may have sent what we shall look for
		case *pool.HostPut:
			if l.hosts[p.Host.ID] == nil {
				l.watch(p.Host.ID, time.Now())
			}
			l.conditions(p.Host.ID, p.Host.Conditions, time.Now())
		case *pool.HostConditions:
			l.conditions(p.Host, p.Conditions, time.Now())
		case *pool.HostRemoved:
			if w := l.hosts[p.Host]; w != nil && w.unwatch != nil {
				w.unwatch()
			}
			delete(l.hosts, p.Host)
		case *pool.Wanted:
			j := job{instance: p.Instance}
			if f := l.flight[j]; f != nil {
				f.again = true
				// What a deletion makes pointless is not waited for; a create is, so that its end is known.
				if p.Want == pool.Absent && !f.verb.matters() {
					f.cancel()
				}
			}
			delete(l.paused, j)
			l.due(j)
			if l.giving[p.Instance] && p.Want != pool.Shelved && p.Want != pool.Absent { // its shelve was refused
				l.unwilling[p.Instance] = true
				l.freed.first = true
				l.due(job{queue: true})
			}
		case *pool.RebootWanted:
			l.asked(p.Instance)
		case *pool.Refused:
			l.dueMachine(p.Machine)
		case *pool.Observed:
			l.dueMachine(p.Machine)
		case *pool.OfMachine:
			if e.Kind == pool.KindReleased {
				l.due(job{held: p.Machine}) // to be forgotten
			} else {
				l.dueMachine(p.Machine)
			}
		case *pool.Placed:
			l.left(p.Instance, p.Hold)
		case *pool.Ended:
			l.left(p.Instance, p.Hold)
		case *pool.Moving:
			l.asked(p.Instance)
		case *pool.Moved:
			l.dueMachine(p.Machine)
		case *pool.Stayed:
			l.dueMachine(p.Machine)
		case *pool.ResizeWanted:
			l.asked(p.Instance)
		case *pool.Of:
			l.due(job{instance: p.Instance})
		case *pool.Lapsed:
			l.due(job{instance: p.Instance}) // to be forgotten
		}
	}
	l.nudge()
}

// conditions plans for what the conditions of a host ask for. It is called with l.mu held.
func (l *leadership) conditions(id pool.HostID, c pool.Conditions, now time.Time) {
	w := l.hosts[id]
	if w == nil {
		return
	}
	since := func(at *time.Time, is bool) {
		switch {
		case !is:
			*at = time.Time{}
		case at.IsZero():
			*at = now
		}
	}
	lost, was := w.lostAt, w.offAt
	since(&w.lostAt, c.Has(pool.Unreachable))
	since(&w.offAt, l.r.cfg.Evacuation.lost(c))
	if !w.lostAt.IsZero() {
		l.due(job{fence: id})
	}
	if c.Has(pool.Draining) || lost.IsZero() != w.lostAt.IsZero() || was.IsZero() != w.offAt.IsZero() {
		l.due(job{all: id})
	}
}

// asked plans at once for an instance of which something new is wanted, whatever it has been waiting for.
func (l *leadership) asked(id pool.InstanceID) {
	delete(l.paused, job{instance: id})
	l.due(job{instance: id})
}

func (l *leadership) due(j job) { l.ready[j] = struct{}{} }

func (l *leadership) dueMachine(m pool.MachineID) {
	id, _, _ := m.Split()
	l.due(job{instance: id})
}

// left plans for what an instance may have left behind on its place; what was known of a machine that is gone is
// dropped. The action of ours that has found that out is still under way.
func (l *leadership) left(id pool.InstanceID, hold bool) {
	j := job{instance: id}
	l.due(j)
	if hold {
		l.due(job{behind: id})
	} else if f := l.flight[j]; f != nil {
		delete(l.known, f.machine)
	}
}

func (l *leadership) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// loop plans and polls until the leadership ends.
func (l *leadership) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next := l.dispatch()
		timer.Reset(time.Until(next))
		select {
		case <-l.ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// dispatch starts everything that can be started now and returns when to look again at the latest.
// Planning an action and marking it as under way happen in this one critical section.
func (l *leadership) dispatch() time.Time {
	l.r.mu.RLock()
	defer l.r.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	next := now.Add(time.Minute)
	if l.ctx.Err() != nil || l.until.passed() {
		return next
	}
	for len(l.later) > 0 && !l.later[0].at.After(now) {
		l.due(heap.Pop(&l.later).(timed).job)
	}
	for j := range l.ready {
		delete(l.ready, j)
		l.dispatchJob(j, now)
	}
	if len(l.later) > 0 && l.later[0].at.Before(next) {
		next = l.later[0].at
	}
	return next
}

func (l *leadership) dispatchJob(j job, now time.Time) {
	switch {
	case j.driver != "":
		l.dispatchList(j, now)
		return
	case j.host != "":
		l.dispatchPoll(j.host, now)
		return
	case j.all != "":
		l.dispatchAll(j.all, now)
		return
	case j.behind != "":
		for h := range l.r.st.Held() {
			if id, _, _ := h.Machine.Split(); id == j.behind {
				l.dispatchJob(job{held: h.Machine}, now)
			}
		}
		return
	}
	if l.flight[j] != nil {
		return // planned again when it ends
	}
	var a action
	switch {
	case j.queue:
		if !l.fullUntil.IsZero() && !now.Before(l.fullUntil) {
			l.freed.all, l.fullUntil = true, time.Time{}
		}
		if l.r.st.WaitingCount() == 0 {
			l.freed = freed{}
		}
		if !l.freed.any() {
			return
		}
		a = action{verb: doAdmit}
	case j.fence != "":
		if ok, at := l.fenceAt(j.fence, now); !ok {
			if !at.IsZero() {
				l.at(j, at)
			}
			delete(l.paused, j)
			return
		}
		a = action{verb: doFence, ref: hypervisor.Ref{Host: j.fence}}
	case j.held != "":
		h, ok := l.r.st.HeldMachine(j.held)
		if !ok {
			delete(l.known, j.held)
			delete(l.paused, j)
			return
		}
		// What is put aside of the machine for its instance stays.
		of, _, _ := h.Machine.Split()
		i, there := l.r.st.Instance(of)
		shelving := h.Shelving && !(there && i.Shelf != nil && i.Shelf.Machine == h.Machine)
		a = action{verb: doRelease, shelving: shelving, ref: hypervisor.Ref{Host: h.Host, Tag: hypervisor.Tag{Ledger: l.r.st.LedgerOf(h.Machine, h.Launched), Machine: h.Machine, Launched: h.Launched}}}
	default:
		i, ok := l.r.st.Instance(j.instance)
		if !ok {
			delete(l.paused, j)
			delete(l.reserved, j.instance)
			return
		}
		h, _ := l.r.st.Host(i.Place.Host)
		a = action{verb: plan(i, h, l.r.cfg.Evacuation), instance: i, ref: Ref(l.r.st.LedgerOf(i.Machine(), i.Launched), i)}
		if i.Shelf != nil {
			a.shelf = shelfRef(i, l.r.st.LedgerOf(i.Shelf.Machine, i.Launched))
		}
	}
	switch i := a.instance; {
	case i == nil:
	case i.Phase != pool.Reserved:
		delete(l.reserved, i.ID)
	default:
		if left := l.expiresIn(i, now); left > 0 {
			l.at(j, now.Add(left))
		} else {
			a.verb = doExpire
		}
	}
	if a.verb == doSettle {
		switch ok, at := l.settledAt(a.ref, now); {
		case ok, at.IsZero() && a.instance.Want == pool.Shelved:
		case !at.IsZero():
			l.at(j, at)
			fallthrough
		default:
			a.verb = nothing
		}
	}
	if a.verb == nothing {
		delete(l.paused, j)
		return
	}
	if !l.r.st.Confirmed() { // an imported ledger calls no driver
		l.at(j, now.Add(l.r.cfg.Poll))
		return
	}
	host := a.ref.Host
	if at := l.paused[j].until; at.After(now) {
		l.at(j, at)
		return
	}
	if a.verb.calls() && a.verb != doFence {
		if at := l.ailing[host].until; at.After(now) {
			l.at(j, at)
			return
		}
		if l.slots[host] >= l.r.cfg.MaxCalls {
			l.waiting[host] = append(l.waiting[host], j)
			return
		}
		if !l.takeTurn(a.instance, j) {
			return
		}
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.r.cfg.CallTimeout)
	l.flight[j] = &flight{verb: a.verb, machine: a.ref.Machine, cancel: cancel}
	l.slots[host]++
	a.job, a.known = j, l.known[a.ref.Machine]
	if j.queue {
		a.freed, l.freed = l.freed, freed{}
	}
	l.wg.Go(func() {
		defer cancel()
		l.finish(a, l.act(ctx, a))
	})
}

// settledAt reports whether no create for a machine that is there can land any more, and if one can, from when on not.
func (l *leadership) settledAt(ref hypervisor.Ref, now time.Time) (bool, time.Time) {
	since := l.known[ref.Machine].since
	if since.IsZero() {
		since = l.began // inherited: it may have been sent up to the moment of our taking over
	}
	return settled(since, l.r.Capabilities(ref.Host), now)
}

// dispatchAll plans for all instances of a host, and breaks off what is under way on one that is off. On one that answers,
// what is to be removed is so at once, however often that has been tried in vain.
func (l *leadership) dispatchAll(id pool.HostID, now time.Time) {
	w := l.hosts[id]
	off := w != nil && !w.offAt.IsZero()
	if w != nil && w.lostAt.IsZero() {
		delete(l.ailing, id)
		for h := range l.r.st.HeldOn(id) {
			j := job{held: h.Machine}
			delete(l.paused, j)
			l.at(j, now)
		}
	}
	for i := range l.r.st.InstancesOn(id) {
		j := job{instance: i.ID}
		if f := l.flight[j]; f != nil && off {
			f.cancel()
		}
		l.at(j, now) // not at once: this is called while the ready ones are gone through
	}
}

// takeTurn reports whether an instance may be acted on, as far as its cluster is to be acted on bit by bit. If
// not, its job waits.
func (l *leadership) takeTurn(i *pool.Instance, j job) bool {
	if i == nil || i.Cluster == "" {
		return true
	}
	c, ok := l.r.st.Cluster(i.Cluster)
	if ok && c.Stagger > 0 && l.turns[c.ID] >= c.Stagger {
		l.queued[c.ID] = append(l.queued[c.ID], j)
		return false
	}
	l.turns[i.Cluster]++
	return true
}

// endTurn gives a turn back.
func (l *leadership) endTurn(i *pool.Instance) {
	if i == nil || i.Cluster == "" {
		return
	}
	if l.turns[i.Cluster]--; l.turns[i.Cluster] == 0 {
		delete(l.turns, i.Cluster)
	}
	for _, j := range l.queued[i.Cluster] {
		l.due(j)
	}
	delete(l.queued, i.Cluster)
}

// at plans j again at a time.
func (l *leadership) at(j job, t time.Time) {
	heap.Push(&l.later, timed{t, j})
}

// ending is what an action says of itself when it has ended.
type ending struct {
	known *knowledge // what is now remembered of the machine; nil: as before
	retry bool       // it failed and is to be tried again after a pause
	at    time.Time  // or is to be looked at again at this time
	ail   bool       // the host did not answer
}

func (l *leadership) finish(a action, e ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, host := time.Now(), a.ref.Host
	again := l.flight[a.job].again
	delete(l.flight, a.job)
	if l.slots[host]--; l.slots[host] == 0 {
		delete(l.slots, host)
	}
	for _, j := range l.waiting[host] {
		l.due(j)
	}
	delete(l.waiting, host)
	if a.verb.calls() && a.verb != doFence {
		l.endTurn(a.instance)
	}
	if e.known != nil && a.ref.Machine != "" {
		l.known[a.ref.Machine] = *e.known
	}
	if e.ail {
		l.ailing[host] = l.ailing[host].next(now)
	} else if a.verb.calls() && a.verb != doFence {
		delete(l.ailing, host)
	}
	switch {
	case e.retry && !again:
		b := l.paused[a.job].next(now)
		l.paused[a.job] = b
		l.at(a.job, b.until)
	case !e.at.IsZero() && !again:
		l.at(a.job, e.at)
	default:
		delete(l.paused, a.job)
		l.due(a.job)
	}
	l.nudge()
}

// backoff doubles from one second to one minute, each step shortened by chance by up to a half, so that what
// failed together is not repeated together.
type backoff struct {
	until time.Time
	wait  time.Duration
}

func (b backoff) next(now time.Time) backoff {
	b.wait = min(max(time.Second, 2*b.wait), time.Minute)
	b.until = now.Add(b.wait/2 + rand.N(b.wait/2)) // #nosec G404 -- a pause, which nobody gains by guessing
	return b
}

// schedule is a heap of jobs by time.
type schedule []timed

type timed struct {
	at  time.Time
	job job
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(timed)) }
func (s *schedule) Pop() any {
	old := *s
	x := old[len(old)-1]
	*s = old[:len(old)-1]
	return x
}
