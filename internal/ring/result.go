package ring

import (
	"errors"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// errMoot refuses to record that a create is sent for a machine that is not to be created any more.
var errMoot = errors.New("no longer wanted")

// errDropped refuses the result of a call that was started under an earlier epoch.
var errDropped = errors.New("result of an earlier leader dropped")

// result brings home what a driver call did. Kind is the event that follows if the books still speak of
// that machine.
type result struct {
	epoch   int64
	kind    string
	machine pool.MachineID
	is      pool.Power // of KindObserved
	reason  string     // of KindRefused
	doubt   bool       // of KindCreated, KindRefused, and of a machine that is gone: a create may still land
}

func (c result) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != c.epoch {
		return nil, errDropped
	}
	if c.kind == pool.KindReleased {
		if _, ok := st.HeldMachine(c.machine); !ok {
			return nil, nil
		}
		return one(c.kind, &pool.OfMachine{Machine: c.machine})
	}
	id, n, _ := c.machine.Split()
	i, ok := st.Instance(id)
	if !ok || i.Place.Number != n || !i.Placed() && i.Want != pool.Absent {
		return nil, errMoot // the books have moved on
	}
	switch c.kind {
	case pool.KindSent:
		if i.Phase != pool.Building || i.Place.Sent {
			return nil, errMoot
		}
	case pool.KindCreated:
		if i.Created != 0 {
			return nil, nil
		}
		return one(c.kind, &pool.OfMachine{Machine: c.machine, Doubt: c.doubt})
	case pool.KindRebooted:
		if i.Rebooted == i.Reboots {
			return nil, nil
		}
	case pool.KindRefused:
		if i.Phase != pool.Building && i.Phase != pool.Deleting {
			return nil, nil
		}
		return one(c.kind, &pool.Refused{Machine: c.machine, Reason: c.reason, Doubt: c.doubt})
	case pool.KindObserved:
		if i.Phase != pool.Active || i.Is == c.is {
			return nil, nil
		}
		return one(c.kind, &pool.Observed{Machine: c.machine, Is: c.is, Addresses: i.Addresses})
	case pool.KindDeleted: // the machine is known to be gone
		return r.gone(st, i, c.doubt)
	}
	return one(c.kind, &pool.OfMachine{Machine: c.machine})
}

// gone says what follows when an instance's machine is known to be gone: the deletion is complete, or a
// failed creation is tried on another host, or given up. What may still land holds its place.
func (r *rules) gone(st *pool.State, i *pool.Instance, doubt bool) ([]pool.Event, error) {
	hold := doubt || i.Place.Doubt
	switch i.Phase {
	case pool.Failed:
		return one(pool.KindDeleted, &pool.Ended{Instance: i.ID})
	case pool.Deleting:
		return one(pool.KindDeleted, &pool.Ended{Instance: i.ID, Hold: hold})
	case pool.Undoing:
	default:
		return nil, nil
	}
	if len(i.Avoid)+1 >= r.maxPlaces {
		return one(pool.KindFailed, &pool.Ended{Instance: i.ID, Reason: i.Reason, Hold: hold})
	}
	avoid := append([]pool.HostID{i.Place.Host}, i.Avoid...)
	d, err := r.scheduler.Place(st, scheduler.Request{Spec: i.Spec, Image: i.Image, Avoid: avoid, Project: i.Project})
	if err == nil {
		err = grows(st, i, d.Allocation)
	}
	if err != nil {
		return one(pool.KindFailed, &pool.Ended{Instance: i.ID, Reason: i.Reason + "; and elsewhere: " + err.Error(), Hold: hold})
	}
	return one(pool.KindPlaced, &pool.Placed{
		Instance: i.ID, Hold: hold,
		Place: pool.Placement{Number: i.Place.Number + 1, Host: d.Host, Allocation: d.Allocation},
	})
}

// grows reports, as an error, that the project's quota does not allow what a new place of an instance takes
// beyond its present one: on an aggregate it may be booked as a larger shape.
func grows(st *pool.State, i *pool.Instance, a pool.Allocation) error {
	project, ok := st.Project(i.Project)
	if !ok {
		return notFound("project", i.Project)
	}
	more := make(pool.Resources)
	for c, n := range a.Resources {
		if n > i.Place.Allocation.Resources[c] {
			more[c] = n - i.Place.Allocation.Resources[c]
		}
	}
	return quota.Check(project, more)
}
