package ring

import (
	"reflect"
	"slices"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// hostsSeen is what a driver says of its hosts.
type hostsSeen struct {
	epoch  int64
	driver string
	hosts  []pool.Host // checked by Normalize, each once

	unobserved map[pool.HostID]bool // known hosts of which only the readiness is judged
	burdened   map[pool.HostID]bool // known hosts that are not ready, whatever their driver says: see watch
	listed     map[pool.HostID]bool // all that the driver lists; nil: that is not judged here
}

func (o hostsSeen) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != o.epoch {
		return nil, errDropped
	}
	var out portion
	for _, h := range o.hosts {
		e, err := o.host(r, st, h)
		if err != nil {
			return nil, err
		}
		if e != nil {
			out.take(*e)
		}
	}
	if o.listed != nil { // a host that its driver no longer lists is not ready, at once
		for h := range st.Hosts() {
			if h.ID.Driver() == o.driver && !o.listed[h.ID] && h.Conditions.Has(pool.Ready) {
				if err := out.add(pool.KindHostConditions, notReady(h, "no longer listed by its driver")); err != nil {
					return nil, err
				}
			}
		}
	}
	slices.SortStableFunc(out.events, func(a, b pool.Event) int { return slices.Compare(a.Data, b.Data) })
	return out.events, nil
}

// host decides on one host; nil says that nothing is new.
func (o hostsSeen) host(r *rules, st *pool.State, h pool.Host) (*pool.Event, error) {
	h, err := h.Normalize()
	if err != nil {
		return nil, err
	}
	h = r.recorded(h)
	kind, payload := pool.KindHostPut, any(nil)
	old, known := st.Host(h.ID)
	switch {
	case known && o.unobserved[h.ID]:
		if !old.Conditions.Has(pool.Ready) || h.Conditions.Has(pool.Ready) {
			return nil, nil
		}
		kind, payload = pool.KindHostConditions, notReady(old, "not ready, says its driver")
	case known:
		if o.burdened[h.ID] || old.Reason == whyBurdened { // or it is found out while the list is made
			h.Conditions = h.Conditions.Without(pool.Ready)
		}
		h.Conditions |= old.Conditions.Without(pool.Ready)
		if sameHost(old.Host, h) {
			return nil, nil
		}
	default:
		if _, removed := st.HostRemoved(h.ID); removed || r.admit != nil && !r.admit(h) {
			return nil, nil
		}
	}
	if payload == nil {
		payload = &pool.HostPut{Host: h}
	}
	e, err := pool.NewEvent(kind, payload)
	return &e, err
}

func notReady(h *pool.HostRecord, reason string) *pool.HostConditions {
	return &pool.HostConditions{Host: h.ID, Conditions: h.Conditions.Without(pool.Ready), Reason: why(h, reason), Cold: h.Cold}
}

// mostOfBatch is how much of a batch one observation fills, envelopes aside; what is left is for what is decided with it.
const mostOfBatch = pool.MaxBatch - 64<<10

// portion collects as many events as fit a batch; what is left out comes when the same observation is decided again.
type portion struct {
	events []pool.Event
	size   int
}

func (p *portion) add(kind string, payload any) error {
	if p.size > mostOfBatch {
		return nil
	}
	e, err := pool.NewEvent(kind, payload)
	p.take(e)
	return err
}

func (p *portion) take(e pool.Event) {
	if p.size += len(e.Data) + len(e.Private); p.size <= mostOfBatch || len(p.events) == 0 {
		p.events = append(p.events, e)
	}
}

// sameHost compares two normalized hosts; an empty list and none are the same.
func sameHost(a, b pool.Host) bool {
	blank := func(h *pool.Host) {
		if len(h.Kinds) == 0 {
			h.Kinds = nil
		}
		if len(h.Labels) == 0 {
			h.Labels = nil
		}
		h.Devices = slices.Clone(h.Devices)
		for i := range h.Devices {
			if len(h.Devices[i].Labels) == 0 {
				h.Devices[i].Labels = nil
			}
		}
		if len(h.Devices) == 0 {
			h.Devices = nil
		}
	}
	blank(&a)
	blank(&b)
	return reflect.DeepEqual(a, b)
}

// reach says that a host has not been observed for the grace period, or is observed again.
type reach struct {
	epoch  int64
	host   pool.HostID
	lost   bool
	reason string

	burdened bool // observed, with machines that have to go before anything new comes
}

// whyBurdened is the reason of a host that is back and not ready.
const whyBurdened = "machines on it that were made anew elsewhere are removed first"

func (o reach) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != o.epoch {
		return nil, errDropped
	}
	h, ok := st.Host(o.host)
	if !ok {
		return nil, nil
	}
	c := pool.HostConditions{Host: o.host, Conditions: h.Conditions, Reason: why(h, o.reason), Cold: h.Cold}
	switch silent := h.Conditions.Has(pool.Unreachable); {
	case o.lost && !silent:
		c.Conditions = h.Conditions.With(pool.Unreachable)
	case !o.lost && silent:
		c.Conditions = h.Conditions.Without(pool.Unreachable | pool.Fenced)
		if o.burdened {
			c.Conditions, c.Reason = c.Conditions.Without(pool.Ready), why(h, whyBurdened)
		}
	case !o.lost && !o.burdened && h.Reason == whyBurdened && c.Reason != whyBurdened: // its driver says whether it is ready
	default:
		return nil, nil
	}
	return one(pool.KindHostConditions, &c)
}

// answered says of a host that counts as off that a machine has been moved to it: whatever was proved, it was proved of
// the time before, and the machine may run.
func answered(h *pool.HostRecord) *pool.HostConditions {
	return &pool.HostConditions{Host: h.ID, Conditions: h.Conditions.Without(pool.Unreachable | pool.Fenced), Reason: why(h, "a machine has been moved to it"), Cold: h.Cold}
}

// why returns the reason to keep with a host's conditions: a person's for a cordon is not written over by what
// can be seen from the conditions themselves.
func why(h *pool.HostRecord, reason string) string {
	if h.Conditions.Has(pool.Cordoned) || h.Conditions.Has(pool.Draining) {
		return h.Reason
	}
	return reason
}

// observation is that a host has answered, and what it has said.
type observation struct {
	reach
	seen machinesSeen
}

func (o observation) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	events, err := o.reach.decide(r, st)
	if err != nil {
		return nil, err
	}
	seen, err := o.seen.decide(r, st)
	return append(events, seen...), err
}

// machinesSeen is the complete list of the machines of one host, with what the leader knew when it asked.
type machinesSeen struct {
	epoch    int64
	host     pool.HostID
	head     pool.Revision // of the State when the list was begun
	machines []hypervisor.Machine
	expected []pool.InstanceID               // placed on the host at that moment
	busy     map[pool.InstanceID]bool        // with a call under way then or now: the list says nothing of them
	found    map[pool.InstanceID]pool.HostID // on which other host a later list than the last change shows them
}

func (o machinesSeen) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != o.epoch {
		return nil, errDropped
	}
	seen := make(map[hypervisor.Tag]*hypervisor.Machine, len(o.machines))
	for n := range o.machines {
		m := &o.machines[n]
		// Of several copies the one that runs counts, whatever their order: it is what a start has acted on.
		if old := seen[m.Tag]; old == nil || old.Power != pool.Running {
			seen[m.Tag] = m
		}
	}
	var out portion
	var filled []string // shapes
	for _, id := range o.expected {
		i, ok := st.Instance(id)
		// A list begun before our last change of an instance says nothing about it.
		if !ok || o.busy[id] || i.Changed > o.head || i.Phase != pool.Active || i.Place.Host != o.host {
			continue
		}
		is, fault, addresses := pool.Absent, "", []string(nil)
		m := seen[Ref(st.LedgerOf(i.Machine(), i.Launched), i).Tag]
		if m != nil {
			is, fault, addresses = m.Power, printable(m.Fault, 400), m.Addresses
		} else if i.Move != nil {
			continue // it may be on the other host
		} else if to, ok := o.found[id]; ok {
			if _, ok := st.Host(to); ok && to != o.host {
				if err := out.add(pool.KindMoved, &pool.Moved{Machine: i.Machine(), Host: to}); err != nil {
					return nil, err
				}
				continue
			}
		}
		slices.Sort(addresses)
		if is == i.Is && fault == i.Fault && slices.Equal(addresses, i.Addresses) {
			continue
		}
		var err error
		if fault != "" && !i.Started && i.Move == nil && i.Resize == nil {
			// Accepted and then not made: as if it had been refused. One of a shape says that it is full.
			shape := i.Place.Allocation.Shape
			full := m.Full && !slices.Contains(filled, shape)
			if full {
				filled = append(filled, shape)
			}
			err = out.add(pool.KindRefused, &pool.Refused{Machine: i.Machine(), Reason: fault, Until: r.fullUntil(st, i, full)})
		} else {
			err = out.add(pool.KindObserved, &pool.Observed{Machine: i.Machine(), Is: is, Fault: fault, Addresses: addresses})
		}
		if err != nil {
			return nil, err
		}
	}
	return out.events, nil
}
