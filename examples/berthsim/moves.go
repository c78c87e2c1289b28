package main

import (
	"cmp"
	"errors"
	"slices"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// How often hosts are looked for that can be emptied, and how long a move takes, during which its VM has room on both
// hosts; in seconds.
const (
	lookEvery = 300
	moveTakes = 60
)

// moves empties hosts while VMs come and go: those with the fewest VMs first, each as a whole or not at all, onto hosts
// that are in use already. A host that is being emptied is cordoned, so that nothing new comes to it.
type moves struct {
	perHour int
	looks   float64               // the next time
	begun   []float64             // of the last hour, in order
	copies  []leaving             // in order
	on      map[pool.HostID][]int // VMs
	left    map[pool.HostID]int   // copies on hosts that are being emptied
	done    int
	hosts   []pool.HostID // space for a list
}

// leaving is the old copy of a VM that is being moved.
type leaving struct {
	until float64
	place scheduler.Decision
}

// due returns when something is to be done next.
func (m *moves) due() float64 {
	if len(m.copies) > 0 {
		return min(m.looks, m.copies[0].until)
	}
	return m.looks
}

// move does what is due.
func (t *tide) move() error {
	m := t.moves
	for len(m.copies) > 0 && m.copies[0].until <= t.now {
		c := m.copies[0]
		m.copies = m.copies[1:]
		if err := t.free(&c.place); err != nil {
			return err
		}
		if m.left[c.place.Host]--; m.left[c.place.Host] == 0 {
			delete(m.left, c.place.Host)
			if err := t.condition(c.place.Host, pool.Ready); err != nil {
				return err
			}
		}
	}
	if m.looks > t.now {
		return nil
	}
	m.looks = t.now + lookEvery
	for len(m.begun) > 0 && m.begun[0] <= t.now-3600 {
		m.begun = m.begun[1:]
	}
	m.hosts = m.hosts[:0]
	for id, on := range m.on {
		if len(on) <= m.perHour-len(m.begun) {
			m.hosts = append(m.hosts, id)
		}
	}
	slices.SortFunc(m.hosts, func(a, b pool.HostID) int {
		return cmp.Or(len(m.on[a])-len(m.on[b]), cmp.Compare(t.load(a), t.load(b)), cmp.Compare(a, b))
	})
	l := look{received: make(map[pool.HostID]bool), failed: make(map[size]bool)}
	for _, id := range m.hosts {
		if len(m.on[id]) > m.perHour-len(m.begun) {
			break
		}
		if l.received[id] || slices.ContainsFunc(m.on[id], func(i int) bool { return l.hopeless(t.vms[i].size) }) {
			continue
		}
		if err := t.empty(id, &l); err != nil {
			return err
		}
	}
	return nil
}

// look is what is found out while hosts are looked through, during which room only shrinks.
type look struct {
	received map[pool.HostID]bool // hosts to which something was moved
	failed   map[size]bool        // sizes for which no host but one, which was to be emptied, had room
	full     []size               // sizes for which none has any: they have failed from two hosts
}

func (l *look) fail(s size) {
	if l.failed[s] {
		l.full = append(l.full, s)
	}
	l.failed[s] = true
}

// hopeless reports whether there is no room for a size anywhere.
func (l *look) hopeless(s size) bool {
	return slices.ContainsFunc(l.full, func(f size) bool { return f.fits(s) })
}

// load is how much of a host its VMs take, summed over both classes.
func (t *tide) load(id pool.HostID) float64 {
	sum := 0.0
	for _, i := range t.moves.on[id] {
		sum += t.vms[i].size.part(t.host)
	}
	return sum
}

// empty moves all VMs of a host to others in use, if these have room for all, and notes where they go or
// what has failed.
func (t *tide) empty(id pool.HostID, l *look) error {
	m := t.moves
	vms := slices.Clone(m.on[id])
	slices.SortFunc(vms, func(a, b int) int {
		return cmp.Or(cmp.Compare(t.vms[b].size.part(t.host), t.vms[a].size.part(t.host)), a-b)
	})
	var to []scheduler.Decision
	undo := func() error {
		for k := range to {
			if err := t.free(&to[k]); err != nil {
				return err
			}
		}
		return nil
	}
	for _, i := range vms {
		req := t.request(t.vms[i].size)
		req.Avoid = []pool.HostID{id}
		ask, err := t.scheduler.Ask(req)
		if err != nil {
			return err
		}
		var d scheduler.Decision
		err = t.index.Choose(ask, &d)
		switch {
		case errors.Is(err, pool.ErrNoRoom) || err == nil && t.fleet.on[d.Host] == 0:
			if len(to) == 0 {
				l.fail(t.vms[i].size)
			}
			return undo()
		case err != nil:
			return err
		}
		if err := t.book(&d); err != nil {
			return err
		}
		to = append(to, d)
	}
	delete(m.on, id)
	for k, i := range vms {
		m.copies = append(m.copies, leaving{t.now + moveTakes, t.at[i]})
		m.begun = append(m.begun, t.now)
		m.on[to[k].Host] = append(m.on[to[k].Host], i)
		l.received[to[k].Host] = true
		t.at[i] = to[k]
		t.lives.moved(i, to[k].Host)
	}
	m.left[id], m.done = len(vms), m.done+len(vms)
	if err := t.condition(id, pool.Ready|pool.Cordoned); err != nil {
		return err
	}
	for _, c := range m.copies[len(m.copies)-len(vms):] { // which the index has forgotten
		if err := t.index.Book(id, &c.place.Allocation); err != nil {
			return err
		}
	}
	return nil
}

// condition changes a host's in books and index; the index takes the host for empty then.
func (t *tide) condition(id pool.HostID, c pool.Conditions) error {
	if err := t.fold(pool.KindHostConditions, &pool.HostConditions{Host: id, Conditions: c}); err != nil {
		return err
	}
	t.index.Sync(t.books, id)
	return nil
}

// came and went keep the lists of VMs; without moves there are none.
func (m *moves) came(i int, host pool.HostID) {
	if m != nil {
		m.on[host] = append(m.on[host], i)
	}
}

func (m *moves) went(i int, host pool.HostID) {
	if m == nil {
		return
	}
	on := m.on[host]
	at := slices.Index(on, i)
	if on = slices.Delete(on, at, at+1); len(on) == 0 {
		delete(m.on, host)
		return
	}
	m.on[host] = on
}
