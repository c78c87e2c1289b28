package ring

import (
	"context"
	"errors"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// watch is what the leader remembers of one host's observations.
type watch struct {
	next    time.Time // not before; what is in the schedule for an earlier moment has been overtaken
	polling bool
	stale   bool               // something has changed since the poll under way was begun
	turn    int                // of those that would be better off elsewhere, whose turn it is
	unwatch context.CancelFunc // ends the watch of its driver; nil: there is none
	lastOK  time.Time          // begins with the leadership: nothing is judged missed before a complete poll after it
	failed  int
	eager   int // polls that come early, because a guest's address is awaited
	strays  map[hypervisor.Tag]time.Time
	unknown []Unknown
	seen    int            // machines at the last poll
	polled  bool           // at least once
	others  pool.Resources // what tagged machines that are not in the books take

	// Machines are on it that were made anew elsewhere, since it came back: it is not ready before they are gone.
	burdened bool

	lostAt time.Time // when it became unreachable, or this leader began; zero: it is not
	offAt  time.Time // likewise, when what is on it began to count as lost
}

// eagerPolls is how many early polls a started machine is worth.
const eagerPolls = 60

// watch has a host observed from now on.
func (l *leadership) watch(id pool.HostID, since time.Time) {
	w := &watch{lastOK: since}
	if d := l.lists[id.Driver()]; d != nil {
		w.others, w.polled = d.looked[id] // as it has been admitted
	}
	l.hosts[id] = w
	l.due(job{host: id})
}

// dispatchPoll has a host observed if that is due. It is called with l.mu and r.mu held.
func (l *leadership) dispatchPoll(id pool.HostID, now time.Time) {
	w := l.hosts[id]
	if w == nil || w.polling || w.next.After(now) {
		return
	}
	w.polling = true
	l.enter(lane{id.Driver(), w.failed > 0}, func() { l.poll(id, w) })
}

// expect begins the observation of a host: from now on what its list of machines says counts. It is false when the host
// is no longer that one.
func (l *leadership) expect(id pool.HostID, w *watch) (machinesSeen, bool) {
	l.r.mu.RLock() // before l.mu, as dispatch does
	defer l.r.mu.RUnlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	o := machinesSeen{epoch: l.epoch, host: id, head: l.r.st.Head(), busy: make(map[pool.InstanceID]bool)}
	for i := range l.r.st.InstancesOn(id) {
		o.expected = append(o.expected, i.ID)
	}
	l.markBusy(&o)
	return o, l.hosts[id] == w && l.ctx.Err() == nil
}

// markBusy adds the instances that have a call under way.
func (l *leadership) markBusy(o *machinesSeen) {
	for _, id := range o.expected {
		if l.flight[job{instance: id}] != nil {
			o.busy[id] = true
		}
	}
}

// poll asks for the machines of one host and submits what has changed.
func (l *leadership) poll(id pool.HostID, w *watch) {
	o, ok := l.expect(id, w)
	if !ok {
		return
	}
	d, err := l.r.Driver(o.host)
	if err == nil {
		ctx, cancel := context.WithTimeout(l.ctx, l.r.cfg.PollTimeout)
		o.machines, err = d.Machines(ctx, o.host)
		cancel()
	}
	var lost, found bool
	l.r.mu.RLock() // before l.mu, as dispatch does
	l.mu.Lock()
	if l.hosts[id] != w || l.ctx.Err() != nil {
		l.mu.Unlock()
		l.r.mu.RUnlock()
		return
	}
	l.markBusy(&o)
	burdened := false
	if err == nil {
		l.sight(&o)
		if burdened = l.burdened(w, o); w.burdened && !burdened {
			l.listSoon(id.Driver())
		}
		w.burdened = burdened
	}
	if err != nil {
		w.failed++
		lost = w.failed >= 3 && time.Since(w.lastOK) >= l.r.cfg.Grace
	} else {
		found = true
		w.failed, w.lastOK, w.seen = 0, time.Now(), len(o.machines)
	}
	l.mu.Unlock()
	l.r.mu.RUnlock()

	who := Caller{Actor: self, Cause: "observation of " + string(o.host)}
	if err != nil {
		if lost {
			err = errors.Join(err, l.tell(reach{epoch: l.epoch, host: o.host, lost: true, reason: "not observed for " + l.r.cfg.Grace.String()}, who))
		}
	} else {
		err = l.tell(observation{reach{epoch: l.epoch, host: o.host, burdened: burdened}, o}, who)
		l.classify(o)
	}
	if err != nil && l.ctx.Err() == nil {
		l.r.log.Warn("cannot observe host", "host", o.host, "error", err)
	}

	if found {
		l.bringBack(id, w)
	}
	awaited := false
	if found {
		l.r.View(func(st *pool.State) {
			for _, id := range o.expected {
				i, ok := st.Instance(id)
				awaited = awaited || ok && i.Is == pool.Running && len(i.Addresses) == 0
			}
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	w.polling = false
	w.next = time.Now().Add(l.r.cfg.Poll)
	if awaited && w.eager > 0 || w.stale {
		if !w.stale {
			w.eager--
		}
		w.next, w.stale = time.Now().Add(min(l.r.cfg.Poll, time.Second)), false
	}
	if found && l.hosts[id] == w && w.unwatch == nil {
		l.heed(id, w)
	}
	l.at(job{host: o.host}, w.next)
	l.nudge()
}

// burdened reports whether a host that has answered, and that takes nothing new yet, has machines that must not exist any
// more: of instances that were made anew elsewhere while it was lost. Nothing new comes before they are gone, since they
// may run. It is called with r.mu and l.mu held.
func (l *leadership) burdened(w *watch, o machinesSeen) bool {
	h, ok := l.r.st.Host(o.host)
	takes := ok && h.Conditions.Has(pool.Ready) && !h.Conditions.Has(pool.Unreachable)
	if !ok || h.Held == 0 || aggregate(h) || takes && !w.burdened {
		return false
	}
	for _, m := range o.machines {
		held, ok := l.r.st.HeldMachine(m.Tag.Machine)
		if ok && held.Host == o.host && held.Launched == m.Tag.Launched && m.Tag.Ledger == l.r.st.LedgerOf(held.Machine, held.Launched) {
			return true
		}
	}
	return false
}

// relieved has a host observed soon on which a machine was removed that has to go before anything new comes.
func (l *leadership) relieved(host pool.HostID) {
	l.mu.Lock()
	w := l.hosts[host]
	burdened := w != nil && w.burdened
	l.mu.Unlock()
	if burdened {
		l.pollSoon(host, false)
	}
}

// sighting is a machine of an active instance on another host than that of its place: somebody else has moved it.
type sighting struct {
	host pool.HostID
	head pool.Revision // of the State when the list was begun
	at   time.Time
}

// sight remembers such machines, and adds to o where those are that are expected on its host. It is called with
// l.mu held.
func (l *leadership) sight(o *machinesSeen) {
	now := time.Now()
	for _, m := range o.machines {
		id, n, ok := m.Tag.Machine.Split()
		if !ok || m.Tag.Ledger != l.r.st.LedgerOf(m.Tag.Machine, m.Tag.Launched) {
			continue
		}
		i, ok := l.r.st.Instance(id)
		if ok && m.Tag.Launched == i.Launched && i.Phase == pool.Active && i.Place.Number == n && i.Place.Host != o.host && i.Move == nil {
			l.seen[id] = sighting{o.host, o.head, now}
		}
	}
	for _, id := range o.expected {
		s, ok := l.seen[id]
		if !ok {
			continue
		}
		i, there := l.r.st.Instance(id)
		switch {
		case !there || s.host == o.host || now.Sub(s.at) > 2*l.r.cfg.Poll+l.r.cfg.PollTimeout:
			delete(l.seen, id)
		case i.Changed <= s.head:
			if o.found == nil {
				o.found = make(map[pool.InstanceID]pool.HostID)
			}
			o.found[id] = s.host
		}
	}
}

// tell submits an observation as long as it says anything new. A fleet at rest does not even queue.
func (l *leadership) tell(in input, who Caller) error {
	for {
		var events []pool.Event
		var err error
		l.r.View(func(st *pool.State) { events, err = l.r.decide(in, st, l.r.rules.at(l.r.now())) })
		if err == nil && len(events) > 0 {
			_, err = l.r.submit(l.ctx, in, who)
		}
		if errors.Is(err, errDropped) || l.ctx.Err() != nil {
			return nil
		}
		if err != nil || len(events) == 0 {
			return err
		}
	}
}

// pollSoon has a host observed early: after a call whose effect is to be seen, or while a guest starts.
func (l *leadership) pollSoon(host pool.HostID, started bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.hosts[host]; w != nil {
		if started {
			w.eager = eagerPolls
		}
		w.stale = w.polling
		if soon := time.Now().Add(min(l.r.cfg.Poll, time.Second)); soon.Before(w.next) {
			w.next = soon
			l.at(job{host: host}, soon)
		}
		l.nudge()
	}
}

// heed has a host observed soon after its driver tells of a change, where it can. A watch that ends is begun anew after the next
// complete poll. It is called with l.mu held.
func (l *leadership) heed(id pool.HostID, w *watch) {
	d, err := l.r.Driver(id)
	watcher, ok := hypervisor.As[hypervisor.Watcher](d)
	if err != nil || !ok || !has(l.r.Capabilities(id).Abilities, string(hypervisor.CanWatch)) {
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	w.unwatch = cancel
	l.wg.Go(func() {
		defer cancel()
		begun := false
		err := watcher.Watch(ctx, id, func() {
			if begun { // the first call only says that it is watching
				l.pollSoon(id, false)
			}
			begun = true
		})
		if ctx.Err() == nil {
			l.r.log.Debug("host not watched any more", "host", id, "error", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		w.unwatch = nil
	})
}
