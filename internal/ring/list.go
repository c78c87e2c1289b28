package ring

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// listing is what the leader remembers of one driver's lists of hosts.
type listing struct {
	next  time.Time // not before, as in watch
	began time.Time // of the last one
	under bool      // under way
	again bool      // to be made again: something has been found out since it began

	// Of hosts that are not in the pool yet, each of which is looked at before it is admitted.
	looking map[pool.HostID]bool           // under way, or waiting for it
	silent  map[pool.HostID]bool           // could not be looked at the last time
	looked  map[pool.HostID]pool.Resources // of those that are being told, what others' machines take
	found   []pool.Host                    // to be told
	telling bool
}

func newListing() *listing {
	return &listing{looking: make(map[pool.HostID]bool), silent: make(map[pool.HostID]bool), looked: make(map[pool.HostID]pool.Resources)}
}

// dispatchList starts a list if it is due. It is called with l.mu held.
func (l *leadership) dispatchList(j job, now time.Time) {
	if d := l.lists[j.driver]; !d.under && !d.next.After(now) {
		d.under, d.began = true, now
		l.wg.Go(func() { l.list(j) })
	}
}

// listSoon has a driver's hosts listed, or listed again, within a second: what many hosts ask for at about the same time
// is one list. It is called with l.mu held.
func (l *leadership) listSoon(driver string) {
	d := l.lists[driver]
	if d == nil {
		return // no driver of that name is configured
	}
	if d.under {
		d.again = true
		return
	}
	if soon := d.soon(l.r.cfg.Poll); soon.Before(d.next) {
		d.next = soon
		l.at(job{driver: driver}, soon)
		l.nudge()
	}
}

func (d *listing) soon(poll time.Duration) time.Time { return d.began.Add(min(poll, time.Second)) }

// list asks a driver for its hosts.
func (l *leadership) list(j job) {
	name := j.driver
	ctx, cancel := context.WithTimeout(l.ctx, l.r.cfg.PollTimeout)
	hosts, err := l.r.cfg.Drivers[name].Hosts(ctx)
	cancel()
	if err == nil {
		err = l.listed(name, hosts)
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
			d.next = d.soon(l.r.cfg.Poll)
		}
	}
	d.under, d.again = false, false
	l.at(j, d.next)
	l.nudge()
}

// listed submits what a driver's list of hosts says of those in the pool, and has the others looked at.
//
// To what each host reserves is added what machines take that are tagged but not in the books: a driver cannot know
// whose they are. Therefore a host that is new is looked at before it is admitted, and one that is in the books but
// has not been observed by this leader yet is left as it is.
func (l *leadership) listed(driver string, hosts []pool.Host) error {
	o := hostsSeen{epoch: l.epoch, driver: driver, listed: make(map[pool.HostID]bool, len(hosts)), unobserved: make(map[pool.HostID]bool), burdened: make(map[pool.HostID]bool)}
	hosts = slices.DeleteFunc(hosts, func(h pool.Host) bool {
		_, bad := h.Normalize()
		switch {
		case bad != nil:
			l.r.log.Warn("driver reports a malformed host; ignored", "driver", driver, "error", bad)
		case h.ID.Driver() != driver:
			l.r.log.Warn("driver reports a host that is not its own; ignored", "driver", driver, "host", h.ID)
		case !o.listed[h.ID]:
			o.listed[h.ID] = true
			return false
		}
		return true
	})
	var fresh []pool.Host
	l.mu.Lock()
	for _, h := range hosts {
		if w := l.hosts[h.ID]; w != nil {
			o.unobserved[h.ID], o.burdened[h.ID] = !w.polled, w.burdened
			o.hosts = append(o.hosts, reserve(h, w.others))
		} else {
			fresh = append(fresh, h)
		}
	}
	l.mu.Unlock()
	wanted, err := l.changing(hostsSeen{epoch: l.epoch, driver: driver, hosts: fresh})
	if err == nil {
		err = l.tellHosts(o)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.lists[driver]
	maps.DeleteFunc(d.silent, func(id pool.HostID, _ bool) bool { return !o.listed[id] })
	for _, part := range wanted {
		for _, h := range part.hosts {
			if !d.looking[h.ID] && l.hosts[h.ID] == nil {
				d.looking[h.ID] = true
				l.enter(lane{driver, d.silent[h.ID]}, func() { l.firstLook(d, h) })
			}
		}
	}
	return err
}

// firstLook looks at a host for the first time.
func (l *leadership) firstLook(d *listing, h pool.Host) {
	driver := h.ID.Driver()
	ctx, cancel := context.WithTimeout(l.ctx, l.r.cfg.PollTimeout)
	others, err := l.r.others(ctx, h.ID)
	cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(d.looking, h.ID)
	if err != nil { // not admitted before it can be observed
		d.silent[h.ID] = true
		return
	}
	delete(d.silent, h.ID)
	d.looked[h.ID] = others
	d.found = append(d.found, reserve(h, others))
	if !d.telling {
		d.telling = true
		l.wg.Go(func() { l.tellFound(driver, d) })
	}
}

// Offered returns a host as it can be admitted: with what machines that are not in the books take counted as
// reserved. It asks the host's driver.
func (r *Ring) Offered(ctx context.Context, h pool.Host) (pool.Host, error) {
	others, err := r.others(ctx, h.ID)
	if err != nil {
		return h, err
	}
	return reserve(h, others), nil
}

// others asks a host's driver what machines take there that are tagged and not in the books.
func (r *Ring) others(ctx context.Context, host pool.HostID) (pool.Resources, error) {
	d, err := r.Driver(host)
	if err != nil {
		return nil, err
	}
	var head pool.Revision
	r.View(func(st *pool.State) { head = st.Head() })
	machines, err := d.Machines(ctx, host)
	if err != nil {
		return nil, err
	}
	_, _, others := r.judgeAll(machines, head)
	return others, nil
}

// gather is how long hosts that have been found wait for others that are being looked at, to be told with them.
const gather = 100 * time.Millisecond

// tellFound submits the hosts that have been looked at until there are no more.
func (l *leadership) tellFound(driver string, d *listing) {
	for {
		l.mu.Lock()
		more := len(d.looking) > 0
		l.mu.Unlock()
		if more {
			select {
			case <-time.After(gather):
			case <-l.ctx.Done():
			}
		}
		l.mu.Lock()
		found := d.found
		d.found = nil
		if len(found) == 0 || l.ctx.Err() != nil {
			d.telling = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if err := l.tellHosts(hostsSeen{epoch: l.epoch, driver: driver, hosts: found}); err != nil && l.ctx.Err() == nil {
			l.r.log.Warn("hosts not admitted", "driver", driver, "error", err) // they are listed again
		}
		l.mu.Lock()
		for _, h := range found {
			delete(d.looked, h.ID)
		}
		l.mu.Unlock()
	}
}

// tellHosts submits what a list of hosts says, in as few batches as it fits.
func (l *leadership) tellHosts(o hostsSeen) error {
	parts, err := l.changing(o)
	if err != nil {
		return err
	}
	for _, part := range parts { // one that is refused concerns no other
		err = errors.Join(err, l.tell(part, Caller{Actor: self, Cause: "hosts of " + o.driver}))
	}
	return err
}

// changing leaves of a list of hosts those of which it says anything new, in parts that fit a batch each. The first one
// is there in any case: that a host is no longer listed belongs to it.
func (l *leadership) changing(o hostsSeen) ([]hostsSeen, error) {
	all := o.hosts
	o.hosts = nil
	parts := []hostsSeen{o}
	var err error
	l.r.View(func(st *pool.State) {
		err = l.r.guarded(func() error {
			size, rules := 0, l.r.rules.at(l.r.now())
			for _, h := range all {
				e, err := o.host(rules, st, h)
				if err != nil {
					return err
				}
				if e == nil {
					continue
				}
				if size += len(e.Data); size > mostOfBatch {
					parts = append(parts, hostsSeen{epoch: o.epoch, driver: o.driver, unobserved: o.unobserved, burdened: o.burdened})
					size = len(e.Data)
				}
				p := &parts[len(parts)-1]
				p.hosts = append(p.hosts, h)
			}
			return nil
		})
	})
	return parts, err
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

// lane is where observations of one driver's hosts wait for their turn. Those of hosts that did not answer the last time
// have one of their own, so that a call that hangs holds up nobody who answers.
type lane struct {
	driver string
	silent bool
}

// traffic is what is on a lane.
type traffic struct {
	under   int
	waiting []func()
}

// enter starts an observation, or has it wait. It is called with l.mu held.
func (l *leadership) enter(n lane, observe func()) {
	t := l.lanes[n]
	if t == nil {
		t = &traffic{}
		l.lanes[n] = t
	}
	if t.under >= l.r.cfg.MaxPolls {
		t.waiting = append(t.waiting, observe)
		return
	}
	t.under++
	l.wg.Go(func() {
		for observe != nil {
			observe()
			observe = l.nextOn(t)
		}
	})
}

// nextOn returns what comes next on a lane, nil when nothing does.
func (l *leadership) nextOn(t *traffic) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(t.waiting) == 0 || l.ctx.Err() != nil {
		t.under--
		return nil
	}
	next := t.waiting[0]
	t.waiting[0] = nil
	t.waiting = t.waiting[1:]
	return next
}
