package ring

import (
	"context"
	"errors"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Move wants an instance's machine on another host of the same driver, disks and all.
type Move struct {
	Instance pool.InstanceID `json:"instance"`
	Host     pool.HostID     `json:"host,omitempty"` // empty: the scheduler chooses
	Cold     bool            `json:"cold,omitempty"` // it may be stopped for that, where it cannot be moved running
}

func (c *Move) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	i, err := unbusy(st, c.Instance)
	if err != nil {
		if i != nil && i.Move != nil && (c.Host == "" || i.Move.Host == c.Host) {
			return nil, nil // that is under way
		}
		return nil, err
	}
	if c.Host != "" {
		if i.Place.Host == c.Host {
			return nil, nil
		}
		if _, ok := st.Host(c.Host); !ok {
			return nil, notFound("host", string(c.Host))
		}
	}
	return r.moving(st, i, c.Host, c.Cold, nil, nil)
}

// unbusy returns an active instance that is neither being moved, resized nor shelved, and whose machine is
// there. The instance is returned with the error too, if there is one.
func unbusy(st *pool.State, id pool.InstanceID) (*pool.Instance, error) {
	i, err := alive(st, id)
	if err != nil {
		return nil, err
	}
	wrong := func(want string) (*pool.Instance, error) {
		return i, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(id), Want: want}
	}
	switch {
	case i.Phase != pool.Active || i.Is == pool.Absent || i.Fault != "":
		return wrong("an instance that has a machine, not one that is " + i.Status())
	case i.Move != nil, i.Resize != nil, i.Want == pool.Shelved:
		return wrong("an instance that is not being moved, resized or shelved")
	case i.Place.Doubt:
		return wrong("an instance of which no second copy may still appear on its host")
	}
	return i, nil
}

// stopped reports whether the machine is stopped and stays so: one that is to be started may be running before
// anything else is done to it.
func stopped(i *pool.Instance) bool { return i.Is == pool.Stopped && i.Want == pool.Stopped }

// inMemory reports whether a move or a change of sizes can leave the guest running: what is hibernated is not anywhere that it
// could be moved from running.
func inMemory(i *pool.Instance) bool { return i.Is != pool.Hibernated && i.Want != pool.Hibernated }

// moving decides where a machine is moved; not says why a host is none, beside all else, and may be nil.
func (r *rules) moving(st *pool.State, i *pool.Instance, to pool.HostID, cold bool, avoid []pool.HostID, not func(*pool.HostRecord) string) ([]pool.Event, error) {
	from := i.Place.Host
	can := r.capabilities(from).Abilities
	live := has(can, string(hypervisor.CanMigrateLive)) && inMemory(i)
	h, ok := st.Host(from)
	switch {
	case !ok:
		return nil, notFound("host", string(from))
	case aggregate(h):
		return nil, noAggregate("move", h, "rebuild it where it is to be")
	case !has(can, string(hypervisor.CanMigrate)):
		return nil, &pool.Error{Kind: errors.ErrUnsupported, Field: "move", Want: "a host whose driver can move machines"}
	case !stopped(i) && !live && !cold:
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "move", Want: "a stopped instance, or leave to stop it, as its host cannot move running ones"}
	}
	s := r.among(func(h *pool.HostRecord) string {
		there := r.capabilities(h.ID).Abilities
		switch {
		case to != "" && h.ID != to:
			return "not the host asked for"
		case aggregate(h):
			return "it places by itself, and takes no machines from elsewhere"
		case h.ID.Driver() != from.Driver() || !has(there, string(hypervisor.CanMigrate)):
			return "machines of " + pool.Quote(string(from)) + " cannot be moved to it"
		case !stopped(i) && !cold && !has(there, string(hypervisor.CanMigrateLive)):
			return "it takes no running machines"
		case not != nil:
			return not(h)
		}
		return ""
	})
	d, err := r.place(s, st, r.anew(i, i.Spec, append([]pool.HostID{from}, avoid...)))
	if err == nil {
		err = grows(st, i, d.Host, d.Allocation, i.Spec.Flavor)
	}
	if err != nil {
		return nil, err
	}
	live = live && has(r.capabilities(d.Host).Abilities, string(hypervisor.CanMigrateLive))
	return one(pool.KindMoving, &pool.Moving{Instance: i.ID, Host: d.Host, Allocation: d.Allocation, Cold: !live})
}

// evict is the leader's wish to move an instance off a host that is being drained. One that is only reserved gets another place
// at once, also where its host is off.
type evict struct {
	epoch    int64
	instance pool.InstanceID
	avoid    []pool.HostID // to which it could not be moved
}

func (o evict) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != o.epoch {
		return nil, errDropped
	}
	if i, ok := st.Instance(o.instance); ok && i.Phase == pool.Reserved {
		if lost, drained := r.leaving(st, i); !lost && !drained {
			return nil, errMoot
		}
		p, err := r.elsewhere(st, i, o.avoid)
		if err != nil {
			return nil, err
		}
		return one(pool.KindPlaced, p)
	}
	i, err := unbusy(st, o.instance)
	if err != nil {
		return nil, errMoot
	}
	h, ok := st.Host(i.Place.Host)
	if !ok || !h.Conditions.Has(pool.Draining) {
		return nil, errMoot
	}
	return r.drained(st, i, h, o.avoid)
}

// evacuate is the leader's finding that an instance's host is off, as far as the policy asks for that.
type evacuate struct {
	epoch   int64
	machine pool.MachineID
}

func (o evacuate) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != o.epoch {
		return nil, errDropped
	}
	id, n, _ := o.machine.Split()
	i, ok := st.Instance(id)
	if !ok || i.Place.Number != n || !i.Placed() || i.Move != nil {
		return nil, errMoot
	}
	h, ok := st.Host(i.Place.Host)
	if !ok || aggregate(h) || !r.evacuation.lost(h.Conditions) || planLost(i) != doEvacuate {
		return nil, errMoot
	}
	return r.rebuilt(st, i)
}

// rebuilt ends a deletion whose machine cannot be reached, or makes an instance anew. The old machine's place is
// held until the machine is known to be gone.
func (r *rules) rebuilt(st *pool.State, i *pool.Instance) ([]pool.Event, error) {
	hold := i.Place.Sent
	if i.Phase == pool.Deleting {
		return deleted(st, i, hold)
	}
	spec := i.Spec
	if i.Resize != nil {
		spec = i.Resize.Sizes.Of(spec)
	}
	d, err := r.again(st, i, r.anew(i, spec, i.Avoid))
	if err != nil {
		return nil, err
	}
	return one(pool.KindPlaced, &pool.Placed{
		Instance: i.ID, Hold: hold,
		Place: pool.Placement{Number: i.Place.Number + 1, Host: d.Host, Allocation: d.Allocation},
	})
}

// Rebuild is a person's word that an instance's machine is lost: it is made anew of its image,
// on whatever host has room.
type Rebuild struct {
	Instance pool.InstanceID `json:"instance"`
	Machine  pool.MachineID  `json:"machine"` // the one that is lost, so that a repetition does nothing
}

func (c *Rebuild) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	i, err := alive(st, c.Instance)
	if err != nil {
		return nil, err
	}
	if id, n, ok := c.Machine.Split(); ok && id == c.Instance && n < i.Place.Number {
		return nil, nil
	}
	switch h, ok := st.Host(i.Place.Host); {
	case c.Machine != i.Machine():
		return nil, invalid("machine", string(c.Machine), string(i.Machine()))
	case i.Phase != pool.Active || i.Move != nil || i.Shelving:
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(c.Instance), Want: "an instance that has, or had, a machine and is not being moved or shelved, not one that is " + i.Status()}
	case i.Is != pool.Absent && i.Fault == "" && ok && !h.Conditions.Has(pool.Fenced):
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(c.Instance), Want: "an instance that is missing or broken, or whose host is known to be off"}
	}
	return r.rebuilt(st, i)
}

// relocate submits where an instance goes. That it finds no place is no failure of its host.
func (l *leadership) relocate(ctx context.Context, a action) ending {
	var in input = evacuate{epoch: l.epoch, machine: a.ref.Machine}
	if a.verb == doEvict {
		o := evict{epoch: l.epoch, instance: a.instance.ID}
		for h, until := range a.known.notThere {
			if until.After(time.Now()) {
				o.avoid = append(o.avoid, h)
			}
		}
		in = o
	} else if at := l.evacuateFrom(a.ref.Host); at.After(time.Now()) {
		return ending{known: &a.known, at: at}
	}
	_, err := l.r.submit(l.ctx, in, Caller{Actor: self, Cause: string(a.verb)})
	known := &a.known
	if a.instance.Phase == pool.Reserved { // there is no machine of which anything could be known
		known = nil
	}
	switch {
	case err == nil, errors.Is(err, errMoot), errors.Is(err, errDropped):
		return ending{known: known}
	}
	if ctx.Err() == nil {
		l.r.log.Warn("no other host for an instance", "verb", string(a.verb), "instance", a.instance.ID, "host", a.ref.Host, "error", err)
	}
	return ending{known: known, retry: true}
}

// evacuateFrom is from when on nothing that was sent to a host before it was lost can take effect when it comes
// back.
func (l *leadership) evacuateFrom(host pool.HostID) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	since := l.began
	if w := l.hosts[host]; w != nil && w.offAt.After(since) {
		since = w.offAt
	}
	if s := l.r.Capabilities(host).Settles; s > 0 {
		return since.Add(s)
	}
	return since.Add(l.r.cfg.CallTimeout)
}
