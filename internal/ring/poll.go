package ring

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// watch is what the leader remembers of one host's observations.
type watch struct {
	next    time.Time // not before; what is in the schedule for an earlier moment has been overtaken
	polling bool
	lastOK  time.Time // begins with the leadership: nothing is judged missed before a complete poll after it
	failed  int
	eager   int // polls that come early, because a guest's address is awaited
	strays  map[hypervisor.Tag]time.Time
	unknown []Unknown
	seen    int            // machines at the last poll
	polled  bool           // at least once
	others  pool.Resources // what tagged machines that are not in the books take

	lostAt time.Time // when it became unreachable, or this leader began; zero: it is not
	offAt  time.Time // likewise, when what is on it began to count as lost
}

// eagerPolls is how many early polls a started machine is worth.
const eagerPolls = 60

// watch has a host observed from now on.
func (l *leadership) watch(id pool.HostID, since time.Time) {
	l.hosts[id] = &watch{lastOK: since}
	l.due(job{host: id})
}

// dispatchPoll starts the observation of a host if it is due. It is called with l.mu and r.mu held.
func (l *leadership) dispatchPoll(id pool.HostID, now time.Time) {
	w := l.hosts[id]
	if w == nil || w.polling || w.next.After(now) {
		return
	}
	o := machinesSeen{epoch: l.epoch, host: id, head: l.r.st.Head(), busy: make(map[pool.InstanceID]bool)}
	for i := range l.r.st.InstancesOn(id) {
		o.expected = append(o.expected, i.ID)
	}
	l.markBusy(&o)
	w.polling = true
	l.wg.Go(func() { l.poll(o) })
}

// markBusy adds the instances that have a call under way.
func (l *leadership) markBusy(o *machinesSeen) {
	for _, id := range o.expected {
		if l.flight[job{instance: id}] != nil {
			o.busy[id] = true
		}
	}
}

// list asks a driver for its hosts.
func (l *leadership) list(j job) {
	name := j.driver
	ctx, cancel := context.WithTimeout(l.ctx, l.r.cfg.PollTimeout)
	defer cancel()
	hosts, err := l.r.cfg.Drivers[name].Hosts(ctx)
	if err == nil {
		for _, h := range hosts {
			if _, bad := h.Normalize(); bad != nil {
				l.r.log.Warn("driver reports a malformed host; ignored", "driver", name, "error", bad)
			} else if h.ID.Driver() != name {
				l.r.log.Warn("driver reports a host that is not its own; ignored", "driver", name, "host", h.ID)
			}
		}
		err = l.tell(l.withOthers(ctx, name, hosts), Caller{Actor: self, Cause: "hosts of " + name})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, d := time.Now(), l.lists[name]
	d.next = now.Add(l.r.cfg.Poll)
	if err != nil {
		if l.ctx.Err() == nil && !errors.Is(err, errDropped) {
			l.r.log.Warn("cannot list hosts", "driver", name, "error", err)
		}
		l.paused[j] = l.paused[j].next(now)
		d.next = l.paused[j].until
	} else {
		delete(l.paused, j)
		if d.again {
			d.next = now
		}
	}
	d.under, d.again = false, false
	l.at(j, d.next)
	l.nudge()
}

// listing is what the leader remembers of one driver's lists of hosts.
type listing struct {
	next  time.Time // not before, as in watch
	under bool      // under way
	again bool      // to be made again at once: something has been found out since it began
}

// dispatchList starts a list if it is due. It is called with l.mu held.
func (l *leadership) dispatchList(j job, now time.Time) {
	if d := l.lists[j.driver]; !d.under && !d.next.After(now) {
		d.under = true
		l.wg.Go(func() { l.list(j) })
	}
}

// listSoon has a driver's hosts listed at once, or again. It is called with l.mu held.
func (l *leadership) listSoon(driver string) {
	switch d := l.lists[driver]; {
	case d == nil: // no driver of that name is configured
	case d.under:
		d.again = true
	default:
		d.next = time.Now()
		l.due(job{driver: driver})
		l.nudge()
	}
}

// withOthers adds to what each host reserves what machines take that are tagged but not in the books: a
// driver cannot know whose they are. A host that is new is looked at before it is admitted, and one that is
// in the books but has not been observed by this leader yet is left as it is.
func (l *leadership) withOthers(ctx context.Context, driver string, hosts []pool.Host) hostsSeen {
	o := hostsSeen{epoch: l.epoch, driver: driver, unobserved: make(map[pool.HostID]bool)}
	for _, h := range hosts {
		l.mu.Lock()
		w := l.hosts[h.ID]
		others, polled := pool.Resources(nil), false
		if w != nil {
			others, polled = w.others, w.polled
		}
		l.mu.Unlock()
		switch {
		case w == nil:
			var err error
			if h, err = l.r.Offered(ctx, h); err != nil {
				continue // not admitted before it can be observed
			}
		case !polled:
			o.unobserved[h.ID] = true
		}
		o.hosts = append(o.hosts, reserve(h, others))
	}
	return o
}

// Offered returns a host as it can be admitted: with what machines that are not in the books take counted as
// reserved. It asks the host's driver.
func (r *Ring) Offered(ctx context.Context, h pool.Host) (pool.Host, error) {
	d, err := r.Driver(h.ID)
	if err != nil {
		return h, err
	}
	var head pool.Revision
	r.View(func(st *pool.State) { head = st.Head() })
	machines, err := d.Machines(ctx, h.ID)
	if err != nil {
		return h, err
	}
	_, _, others := r.judgeAll(machines, head)
	return reserve(h, others), nil
}

// reserve returns the host with more reserved, at most all of it. Devices are left as they are: a list of
// machines does not say which of them they use.
func reserve(h pool.Host, others pool.Resources) pool.Host {
	h.Inventory = maps.Clone(h.Inventory)
	for c, n := range others {
		if inv, ok := h.Inventory[c]; ok {
			inv.Reserved += min(n, max(0, inv.Total-inv.Reserved))
			h.Inventory[c] = inv
		}
	}
	return h
}

// poll asks for the machines of one host and submits what has changed.
func (l *leadership) poll(o machinesSeen) {
	d, err := l.r.Driver(o.host)
	if err == nil {
		ctx, cancel := context.WithTimeout(l.ctx, l.r.cfg.PollTimeout)
		o.machines, err = d.Machines(ctx, o.host)
		cancel()
	}
	var lost, found bool
	l.r.mu.RLock() // before l.mu, as dispatch does
	l.mu.Lock()
	w := l.hosts[o.host]
	if w == nil || l.ctx.Err() != nil {
		l.mu.Unlock()
		l.r.mu.RUnlock()
		return
	}
	l.markBusy(&o)
	if err == nil {
		l.sight(&o)
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
	} else if err = l.tell(reach{epoch: l.epoch, host: o.host}, who); err == nil {
		err = l.tell(o, who)
		l.classify(o)
	}
	if err != nil && l.ctx.Err() == nil {
		l.r.log.Warn("cannot observe host", "host", o.host, "error", err)
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
	if awaited && w.eager > 0 {
		w.eager--
		w.next = time.Now().Add(min(l.r.cfg.Poll, time.Second))
	}
	l.at(job{host: o.host}, w.next)
	l.nudge()
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
		l.r.View(func(st *pool.State) { events, err = l.r.decide(in, st, l.r.now()) })
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
		if soon := time.Now().Add(min(l.r.cfg.Poll, time.Second)); soon.Before(w.next) {
			w.next = soon
			l.at(job{host: host}, soon)
		}
		l.nudge()
	}
}
