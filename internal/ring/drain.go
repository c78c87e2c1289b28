package ring

import (
	"context"
	"errors"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Drain wants all instances moved off a host, which takes no new ones; or ends that.
type Drain struct {
	Host   pool.HostID `json:"host"`
	On     bool        `json:"on"`
	Cold   bool        `json:"cold,omitempty"` // instances may be stopped for it, where they cannot be moved running
	Reason string      `json:"reason,omitempty"`
}

func (c *Drain) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	h, ok := st.Host(c.Host)
	if !ok {
		return nil, notFound("host", string(c.Host))
	}
	if err := pool.ValidText(c.Reason, 255); err != nil {
		return nil, pool.InField("reason", err)
	}
	if c.On && aggregate(h) {
		return nil, noAggregate("drain", h, "cordon it, so that nothing new goes there")
	}
	conditions := h.Conditions.Without(pool.Draining)
	if c.On {
		conditions = h.Conditions.With(pool.Draining)
	}
	cold, reason := c.On && c.Cold, c.Reason
	if !c.On && conditions.Has(pool.Cordoned) {
		reason = h.Reason // the cordon's
	}
	if conditions == h.Conditions && cold == h.Cold && (!c.On || c.Reason == h.Reason) {
		return nil, nil
	}
	return one(pool.KindHostConditions, &pool.HostConditions{Host: c.Host, Conditions: conditions, Reason: reason, Cold: cold})
}

// Off is the word of a person, or of somebody's own fencing, that a host is off and will run nothing that was on
// it until it is started by us.
type Off struct {
	Host  pool.HostID `json:"host"`
	Proof string      `json:"proof"`

	epoch int64 // of the leader that has fenced it itself; zero: a caller
}

func (c *Off) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	if c.epoch != 0 && c.epoch != st.Epoch() {
		return nil, errDropped
	}
	h, ok := st.Host(c.Host)
	if !ok {
		return nil, notFound("host", string(c.Host))
	}
	if c.Proof == "" || pool.ValidText(c.Proof, 400) != nil {
		return nil, invalid("proof", c.Proof, "how it is known that the host is off, in one line")
	}
	switch {
	case aggregate(h):
		return nil, noAggregate("off", h, "rebuild single instances")
	case h.Conditions.Has(pool.Fenced):
		return nil, nil
	case !h.Conditions.Has(pool.Unreachable):
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "host", Value: string(c.Host), Want: "a host that is unreachable, not one that is " + h.Conditions.String()}
	}
	return one(pool.KindHostConditions, &pool.HostConditions{
		Host: c.Host, Conditions: h.Conditions.With(pool.Fenced), Reason: h.Reason, Cold: h.Cold, Proof: c.Proof,
	})
}

// aggregate reports whether a host places by itself, on hosts that are not seen from here: it cannot be drained,
// switched off or given up as a whole.
func aggregate(h *pool.HostRecord) bool { return len(h.Shapes) > 0 }

func noAggregate(field string, h *pool.HostRecord, instead string) error {
	return &pool.Error{Kind: errors.ErrUnsupported, Field: field, Value: string(h.ID), Want: "a server, not an aggregate that places by itself; " + instead}
}

// fence switches a host off and records that it is.
func (l *leadership) fence(ctx context.Context, d hypervisor.Driver, a action) ending {
	err := missing("fence", a.ref)
	proof := ""
	if f, ok := hypervisor.As[hypervisor.Fencer](d); ok {
		proof, err = f.Fence(ctx, a.ref.Host)
	}
	if err != nil {
		return l.failed(ctx, a, err)
	}
	if proof = printable(proof, 300); proof == "" {
		proof = "the driver says so"
	}
	_, err = l.r.submit(l.ctx, &Off{Host: a.ref.Host, Proof: proof, epoch: l.epoch}, Caller{Actor: self, Cause: "fence"})
	if err != nil && l.ctx.Err() == nil {
		l.r.log.Warn("fence not recorded", "host", a.ref.Host, "error", err)
		return ending{retry: true}
	}
	return ending{}
}

// fenceAt reports whether a host is to be switched off, and if not now, when to ask again; a zero time: not for
// what is known now. It is called with l.mu and r.mu held.
func (l *leadership) fenceAt(id pool.HostID, now time.Time) (bool, time.Time) {
	st, w := l.r.st, l.hosts[id]
	h, ok := st.Host(id)
	if !ok || w == nil || aggregate(h) || l.r.cfg.Evacuation == EvacuateNever || !h.Conditions.Has(pool.Unreachable) || h.Conditions.Has(pool.Fenced) {
		return false, time.Time{}
	}
	if !has(l.r.Capabilities(id).Abilities, string(hypervisor.CanFence)) {
		return false, time.Time{}
	}
	if at := w.lostAt.Add(l.r.cfg.FenceAfter); at.After(now) {
		return false, at
	}
	// Where many hosts of a driver are silent at once it is rather we who are cut off.
	all, silent := 0, 0
	for other := range l.hosts {
		if other.Driver() == id.Driver() {
			all++
			if o, ok := st.Host(other); ok && o.Conditions.Has(pool.Unreachable) && !o.Conditions.Has(pool.Fenced) {
				silent++
			}
		}
	}
	if silent > max(1, all/3) {
		return false, now.Add(l.r.cfg.Poll)
	}
	for i := range st.InstancesOn(id) {
		if planLost(i) == doEvacuate {
			return true, now
		}
	}
	return false, now.Add(l.r.cfg.Poll)
}
