package fake

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Room is what an aggregate really has room for, and how it says that it has none. The hosts that it places on by
// itself are full before its inventory is, or others have been there first; nobody outside can see that.
type Room struct {
	Resources pool.Resources // for all machines in sum; classes that are not named are bounded by the inventory only
	Accepts   bool           // a create beyond it is accepted and then given up, as by Nova; otherwise it is ErrFull
	After     time.Duration  // how long after it was accepted; until then a machine is being built and cannot be started
}

// SetRoom says what an aggregate really has room for, from now on; the zero Room is what its inventory says. It is
// not kept in Config.Path. What is there stays.
func (d *Driver) SetRoom(id pool.HostID, r Room) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[id]
	switch {
	case d.err != nil:
		return d.err
	case h == nil || !h.spec.Aggregate():
		return &pool.Error{Op: "set room of host " + pool.Quote(string(id)), Kind: pool.ErrNotFound, Want: "an aggregate"}
	}
	if err := r.Resources.Valid(); err != nil {
		return pool.InField("room", err)
	}
	r.Resources = r.Resources.Clone()
	h.really = r
	return nil
}

// lacks returns an error, which is ErrFull, when there is really no room for a machine beside those that were made
// before it.
func (h *host) lacks(m *machine) error {
	if len(h.really.Resources) == 0 || m.Power == Debris {
		return nil
	}
	free := h.really.Resources.Clone()
	for _, other := range h.machines {
		if other.Fault != "" || other.Number >= m.Number {
			continue
		}
		for c := range free {
			free[c] -= other.Demand[c]
		}
	}
	for _, c := range h.really.Resources.Classes() {
		if m.Demand[c] > free[c] {
			return fmt.Errorf("%w: no valid host was found: %s: %s", hypervisor.ErrFull, c, short(c, m.Demand[c], free[c]))
		}
	}
	return nil
}

// accepted lets an aggregate find out, now or later, whether it has room for what it has accepted.
func (d *Driver) accepted(h *host, o *making) {
	switch r := h.really; {
	case !r.Accepts:
	case r.After > 0:
		d.schedule(r.After, &request{op: o.op, ref: o.Ref, effect: d.decide, fences: h.fences})
	default:
		_ = d.decide(h)
	}
}

// decide gives up those machines whose time has come and for which there is no room: in the order in which they were
// made, whatever the order of timers.
func (d *Driver) decide(h *host) error {
	now := time.Now()
	var due []*machine
	for _, m := range h.machines {
		if !m.Decided.IsZero() && !m.Decided.After(now) {
			due = append(due, m)
		}
	}
	slices.SortFunc(due, func(a, b *machine) int { return cmp.Compare(a.Number, b.Number) })
	for _, m := range due {
		next := *m
		if err := h.lacks(m); err != nil && m.Fault == "" {
			next = *m.givenUp(err)
		}
		next.Decided = time.Time{}
		if err := d.put(h, &next); err != nil {
			return wrongf(OpCreate, m.ref(), hypervisor.ErrUnknown, err)
		}
	}
	return nil
}

// givenUp returns a copy of the machine that its hypervisor will not run.
func (m *machine) givenUp(why error) *machine {
	next := m.in(pool.Stopped, "given up")
	next.Fault, next.Full = "no valid host was found", true
	if why != nil {
		next.Fault, next.Full = why.Error(), errors.Is(why, hypervisor.ErrFull)
	}
	return next
}
