package ring

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// keep has a host's room kept for the first in the queue, and has those give way on it that are in its way. It is planned on
// the committed State; what has changed since makes it moot, and it is planned anew.
type keep struct {
	epoch    int64
	instance pool.InstanceID // empty: only what is to be dropped
	changed  pool.Revision   // of the instance
	host     pool.HostID
	seen     pool.Revision // of the host's last change
	victims  []pool.InstanceID
	drop     []pool.InstanceID // for which no room is to be kept any more
	now      pool.HostID       // that has room already, so that the one to be placed there needs only be asked
}

func (k *keep) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != k.epoch {
		return nil, errDropped
	}
	var events []pool.Event
	add := func(kind string, payload any) error {
		e, err := pool.NewEvent(kind, payload)
		events = append(events, e)
		return err
	}
	for _, id := range k.drop {
		if i, ok := st.Instance(id); ok && i.Awaits != "" {
			if err := add(pool.KindAwaiting, &pool.Awaiting{Instance: id}); err != nil {
				return nil, err
			}
		}
	}
	if k.instance == "" {
		return events, nil
	}
	i, ok := st.Instance(k.instance)
	h, there := st.Host(k.host)
	if !ok || !there || i.Phase != pool.Waiting || i.Want == pool.Absent || i.Changed != k.changed || h.Changed != k.seen {
		return nil, errMoot
	}
	if i.Awaits != k.host {
		if err := add(pool.KindAwaiting, &pool.Awaiting{Instance: i.ID, Host: k.host}); err != nil {
			return nil, err
		}
	}
	for _, id := range k.victims {
		v, ok := st.Instance(id)
		if !ok || v.Place.Host != k.host || !r.givesWay(v, i.Spec.Priority) {
			return nil, errMoot
		}
		want := pool.Shelved
		if v.Spec.Preemptible == pool.PreemptDelete {
			want = pool.Absent
		}
		if err := add(pool.KindWanted, &pool.Wanted{
			Instance: id, Want: want, Ran: v.Ran, Reason: "gives way to an instance of priority " + strconv.Itoa(i.Spec.Priority),
		}); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// givesWay reports whether an instance may be made to give way to one of that priority, and can.
func (r *rules) givesWay(v *pool.Instance, priority int) bool {
	if v.Spec.Priority >= priority || v.Want == pool.Absent || v.Want == pool.Shelved || v.Shelf != nil || v.Move != nil || v.Resize != nil || v.Place.Doubt {
		return false
	}
	switch v.Spec.Preemptible {
	case pool.PreemptDelete:
		return v.Phase == pool.Active || v.Phase == pool.Building
	case pool.PreemptShelve:
		return v.Phase == pool.Active && v.Is != pool.Absent && v.Fault == "" && has(r.capabilities(v.Place.Host).Abilities, string(hypervisor.CanShelve))
	}
	return false
}

// leaves reports whether an instance's place will be given back without anybody asking for it anew.
func leaves(i *pool.Instance) bool {
	return i.Want == pool.Absent || i.Want == pool.Shelved || i.Phase == pool.Undoing || i.Move != nil
}

// keeping plans what is to be kept for whom: for the first in the queue whose project's quota allows it and that some host
// could take. It is nil when all is as it should be. Unwilling are those that could not be made to give way.
//
// Who keeps a host's room already found no better one when it was chosen: it is compared only with what has been freed since. Should
// that host be none any more, the next look, which such a change asks for, is at all of them.
func (r *rules) keeping(st *pool.State, f freed, unwilling map[pool.InstanceID]bool) *keep {
	out := &keep{epoch: st.Epoch()}
	for i, ok := range allowed(st) {
		var room *candidate
		if ok {
			var among []pool.HostID // all
			if i.Awaits != "" && !f.all && !f.first {
				among = slices.AppendSeq([]pool.HostID{i.Awaits}, maps.Keys(f.hosts))
			}
			room = r.nearest(st, i, among, unwilling)
		}
		if room != nil {
			switch {
			case room.now:
				out.now = room.host.ID
			case i.Awaits != room.host.ID || len(room.victims) > 0:
				out.instance, out.changed, out.host, out.seen = i.ID, i.Changed, room.host.ID, room.host.Changed
				for _, v := range room.victims {
					out.victims = append(out.victims, v.ID)
				}
			}
			break
		}
		if i.Awaits != "" {
			out.drop = append(out.drop, i.ID)
		}
	}
	if out.instance == "" && out.now == "" && len(out.drop) == 0 {
		return nil
	}
	return out
}

// candidate is a host on which an instance may wait.
type candidate struct {
	host    *pool.HostRecord
	now     bool    // it has room
	short   float64 // what it lacks once those that leave anyhow have left: parts of what is asked, summed up
	victims []*pool.Instance
}

// nearest chooses the host on which an instance waits. First is one that will have room without anybody's doing; then, with
// preemption, the one on which the fewest have to give way; then the one that lacks least. Where it waits already it stays,
// as long as that host can take it and nobody can be made to give way elsewhere. It is nil if none of these hosts, or of all, could take it
// even if nothing were on it.
func (r *rules) nearest(st *pool.State, i *pool.Instance, among []pool.HostID, unwilling map[pool.InstanceID]bool) *candidate {
	req := r.anew(i, i.Spec, nil).In(st)
	s := r.kept(r.scheduler, st, i.Spec.Priority, i.ID)
	fits := func(h *pool.HostRecord) bool {
		_, err := s.PlaceAt(h, req)
		return err == nil
	}
	demand, err := i.Spec.Demand()
	if err != nil {
		return nil
	}
	var best *candidate
	hunt := victims{rules: r, st: st, priority: i.Spec.Priority, fits: fits, demand: demand, unwilling: unwilling, steps: mostCombinations}
	var hosts []*pool.HostRecord
	if among == nil {
		hosts = st.SortedHosts()
	} else {
		hosts = records(st, among)
	}
	for _, h := range hosts {
		if aggregate(h) || !h.Conditions.Schedulable() {
			continue
		}
		empty := *h
		empty.Used, empty.DeviceUsed, empty.Peers, empty.Placed, empty.Held = nil, nil, nil, 0, 0
		if !fits(&empty) {
			continue
		}
		c := &candidate{host: h, now: fits(h)}
		after, others := h, []*pool.Instance(nil)
		for o := range st.InstancesOn(h.ID) {
			switch {
			case o.Place.Host != h.ID: // it is being moved here
			case !leaves(o):
				others = append(others, o)
			default:
				if less, err := after.Without(o.Place.Allocation); err == nil {
					after = less
				}
			}
		}
		if !fits(after) {
			c.short = short(after, demand)
			if r.preempt {
				hunt.on(c, after, others, best)
			}
		}
		if best == nil || hunt.sooner(c, best, i) {
			best = c
		}
	}
	return best
}

// records returns the hosts of those that there are, each once, in order.
func records(st *pool.State, hosts []pool.HostID) []*pool.HostRecord {
	var out []*pool.HostRecord
	slices.Sort(hosts)
	for _, id := range slices.Compact(hosts) {
		if h, ok := st.Host(id); ok {
			out = append(out, h)
		}
	}
	return out
}

// short adds up what a host lacks of a demand. One that lacks nothing of any class, and has no device for it, lacks a whole part.
func short(h *pool.HostRecord, demand pool.Resources) float64 {
	sum := 0.0
	for _, class := range demand.Classes() {
		if lack := demand[class] - (h.Capacity[class] - h.Used[class]); lack > 0 {
			sum += float64(lack) / float64(demand[class])
		}
	}
	if sum == 0 {
		return 1
	}
	return sum
}

// sooner reports whether a is where an instance waits rather than b.
func (v *victims) sooner(a, b *candidate, i *pool.Instance) bool {
	rank := func(c *candidate) int {
		switch {
		case c.now:
			return -1
		case c.short == 0:
			return 0 // those that leave are enough
		case len(c.victims) > 0:
			return 1
		}
		return 2
	}
	x, y := rank(a), rank(b)
	switch {
	case x != y:
		return x < y
	case x == 1:
		if n := v.compare(a.victims, b.victims); n != 0 {
			return n < 0
		}
	case (a.host.ID == i.Awaits) != (b.host.ID == i.Awaits):
		return a.host.ID == i.Awaits
	case a.short != b.short:
		return a.short < b.short
	}
	return a.host.ID < b.host.ID
}

// admitting is the leader's step for the queue: it places whom it can, and then sees to whoever is first.
func (l *leadership) admitting(a action) ending {
	more := true
	for f := a.freed; more; {
		_, err := l.r.submit(l.ctx, admit{epoch: l.epoch, freed: f, more: &more}, Caller{Actor: self, Cause: string(a.verb)})
		if err != nil {
			return l.queueLater(a, err)
		}
	}
	var k *keep
	var again time.Time
	l.mu.Lock()
	unwilling := maps.Clone(l.unwilling)
	l.mu.Unlock()
	l.r.View(func(st *pool.State) {
		r := l.r.rules.at(l.r.now())
		k = r.keeping(st, a.freed, unwilling)
		again = notFullAt(st, r.now)
	})
	if k != nil {
		l.mu.Lock()
		for _, v := range k.victims {
			l.giving[v] = true
		}
		if _, asked := a.freed.hosts[k.now]; k.now != "" && !asked && !a.freed.all {
			l.freed.add(freed{hosts: map[pool.HostID]struct{}{k.now: {}}})
		}
		l.mu.Unlock()
		_, err := l.r.submit(l.ctx, k, Caller{Actor: self, Cause: string(a.verb)})
		switch {
		case errors.Is(err, errMoot): // the books have moved on
			l.mu.Lock()
			l.freed.add(freed{first: true})
			l.mu.Unlock()
		case err != nil:
			return l.queueLater(a, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fullUntil = time.Time{}
	if !again.IsZero() && !l.freed.any() {
		l.fullUntil = time.Now().Add(again.Sub(l.r.now()))
	}
	return ending{at: l.fullUntil}
}

// queueLater has the same looked at again after a pause.
func (l *leadership) queueLater(a action, err error) ending {
	if errors.Is(err, errDropped) {
		return ending{}
	}
	if l.ctx.Err() == nil {
		l.r.log.Warn("the queue could not be gone through", "error", err)
	}
	l.mu.Lock()
	l.freed.add(a.freed)
	l.mu.Unlock()
	return ending{retry: true}
}

// notFullAt returns when the first shape that counts as full anywhere is tried again, if somebody waits: that moment is no
// event.
func notFullAt(st *pool.State, now time.Time) time.Time {
	var first time.Time
	if st.WaitingCount() == 0 {
		return first
	}
	for h := range st.Hosts() {
		for _, f := range h.Full {
			if f.Until.After(now) && (first.IsZero() || f.Until.Before(first)) {
				first = f.Until
			}
		}
	}
	return first
}
