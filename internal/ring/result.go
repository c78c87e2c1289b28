package ring

import (
	"errors"
	"slices"

	"github.com/berthage/berthage/hypervisor"
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
	is      pool.Power  // of KindObserved; of KindWanted what is still wanted, if it is
	host    pool.HostID // of KindMoved
	reason  string      // of what was refused or has come to nothing
	full    bool        // of KindRefused: for want of room
	doubt   bool        // of KindCreated, KindRefused, and of a machine that is gone: a create may still land
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
	case pool.KindSettled:
		if i.Phase != pool.Active || !i.Place.Doubt {
			return nil, nil
		}
	case pool.KindRebooted:
		if i.Rebooted == i.Reboots {
			return nil, nil
		}
	case pool.KindRefused:
		if i.Phase != pool.Building && i.Phase != pool.Deleting && (i.Phase != pool.Active || planActive(i, nil, false) != doReturn) {
			return nil, nil
		}
		return one(c.kind, &pool.Refused{Machine: c.machine, Reason: c.reason, Doubt: c.doubt, Until: r.fullUntil(st, i, c.full)})
	case pool.KindObserved:
		if i.Phase != pool.Active || i.Is == c.is {
			return nil, nil
		}
		return one(c.kind, &pool.Observed{Machine: c.machine, Is: c.is, Addresses: i.Addresses})
	case pool.KindDeleted: // the machine is known to be gone
		return r.gone(st, i, c.doubt)
	case pool.KindShelved:
		if i.Phase != pool.Active || i.Shelf != nil {
			return nil, nil
		}
		return one(c.kind, &pool.Ended{Instance: i.ID, Hold: i.Place.Doubt})
	case pool.KindDiscarding:
		if i.Phase != pool.Active || !i.Kept() {
			return nil, nil
		}
		return one(c.kind, &pool.Of{Instance: i.ID})
	case pool.KindDiscarded:
		if i.Shelf == nil {
			return nil, nil
		}
		return one(c.kind, &pool.Of{Instance: i.ID})
	case pool.KindWanted: // what was wanted cannot be had
		if i.Want != pool.Shelved || i.Phase != pool.Active {
			return nil, nil
		}
		back := pool.Shelve{Want: pool.Stopped}
		switch {
		case c.is == pool.Shelved && i.Reason == c.reason:
			return nil, nil
		case c.is == pool.Shelved:
			back = pool.Shelve{Want: pool.Shelved, Ran: i.Ran}
		case i.Shelve != nil:
			back = *i.Shelve
		}
		return one(c.kind, &pool.Wanted{Instance: i.ID, Want: back.Want, Ran: back.Ran, Reason: c.reason})
	case pool.KindResized, pool.KindUnresized:
		if i.Phase != pool.Active || i.Resize == nil {
			return nil, nil
		}
		if c.kind == pool.KindUnresized {
			return one(c.kind, &pool.Stayed{Machine: c.machine, Reason: c.reason})
		}
	case pool.KindMoved:
		if i.Phase != pool.Active || i.Move == nil || i.Move.Host != c.host {
			return nil, nil
		}
		out, err := one(c.kind, &pool.Moved{Machine: c.machine, Host: c.host})
		if h, ok := st.Host(c.host); err == nil && ok && !aggregate(h) && r.evacuation.lost(h.Conditions) {
			back, bad := one(pool.KindHostConditions, answered(h))
			return append(out, back...), bad
		}
		return out, err
	case pool.KindStayed:
		if i.Phase != pool.Active || i.Move == nil {
			return nil, nil
		}
		return one(c.kind, &pool.Stayed{Machine: c.machine, Reason: c.reason})
	}
	return one(c.kind, &pool.OfMachine{Machine: c.machine})
}

// gone says what follows when an instance's machine is known to be gone: the deletion is complete, or a
// failed creation is tried on another host, or given up. What may still land holds its place.
func (r *rules) gone(st *pool.State, i *pool.Instance, doubt bool) ([]pool.Event, error) {
	hold := doubt || i.Place.Doubt
	if i.Want == pool.Absent && i.Shelf != nil {
		return nil, nil // what is put aside of it goes first
	}
	switch i.Phase {
	case pool.Failed, pool.Aside, pool.Waiting:
		return deleted(st, i, false)
	case pool.Deleting:
		return deleted(st, i, hold)
	case pool.Undoing:
	default:
		return nil, nil
	}
	end := pool.KindFailed
	if i.Kept() {
		end = pool.KindShelved // what it was to be made of is still put aside
	}
	if i.Kept() && i.Want == pool.Shelved {
		return one(end, &pool.Ended{Instance: i.ID, Hold: hold})
	}
	if mayRunAgain(i) && r.capabilities(i.Place.Host).Settles <= 0 {
		return one(end, &pool.Ended{Instance: i.ID, Reason: i.Reason + "; not made elsewhere, since nobody can say when the first one cannot appear any more", Hold: hold})
	}
	if len(i.Avoid)+1 >= r.maxPlaces && !i.Replaced() {
		return one(end, &pool.Ended{Instance: i.ID, Reason: i.Reason, Hold: hold})
	}
	avoid := []pool.HostID{i.Place.Host}
	if !i.Replaced() { // else it is none of them that failed
		avoid = append(avoid, i.Avoid...)
	}
	d, err := r.again(st, i, r.anew(i, i.Spec, avoid))
	if err != nil && i.Replaced() { // it was to be better off: back then, rather than nowhere
		d, err = r.again(st, i, r.anew(i, i.Spec, nil))
	}
	if err != nil {
		return one(end, &pool.Ended{Instance: i.ID, Reason: i.Reason + "; and elsewhere: " + reason(err), Hold: hold})
	}
	return one(pool.KindPlaced, &pool.Placed{
		Instance: i.ID, Hold: hold,
		Place: pool.Placement{Number: i.Place.Number + 1, Host: d.Host, Allocation: d.Allocation},
	})
}

// deleted ends an instance, and with the last member of a cluster that is to be gone the cluster.
func deleted(st *pool.State, i *pool.Instance, hold bool) ([]pool.Event, error) {
	events, err := one(pool.KindDeleted, &pool.Ended{Instance: i.ID, Hold: hold})
	if c, ok := st.Cluster(i.Cluster); err == nil && ok && c.Want == pool.Absent && len(c.Members) == 1 {
		var last []pool.Event
		last, err = one(pool.KindClusterRemoved, &pool.ClusterRemoved{Cluster: c.ID})
		events = append(events, last...)
	}
	return events, err
}

// again places an instance anew: one whose disks are put aside on a host of the driver that has them.
func (r *rules) again(st *pool.State, i *pool.Instance, req scheduler.Request) (scheduler.Decision, error) {
	s := r.scheduler
	if i.Kept() {
		s = r.among(func(h *pool.HostRecord) string {
			if h.ID.Driver() != i.Shelf.Host.Driver() || !has(r.capabilities(h.ID).Abilities, string(hypervisor.CanShelve)) {
				return "the disks are put aside by driver " + pool.Quote(i.Shelf.Host.Driver())
			}
			return ""
		})
	}
	d, err := r.place(s, st, req)
	if err == nil {
		err = grows(st, i, d.Host, d.Allocation, req.Spec.Flavor)
	}
	return d, err
}

// among returns the scheduler with a filter more: why a host will never do, or nothing.
func (r *rules) among(not func(*pool.HostRecord) string) *scheduler.Scheduler {
	s := *r.scheduler
	s.Filters = append(slices.Clip(s.Filters), func(_ scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
		if why := not(h); why != "" {
			return &scheduler.Reason{Never: true, Detail: why}
		}
		return nil
	})
	return &s
}

// grows reports, as an error, that the quotas of the instance's project, of those that it lies in, or of its owner do not allow what a new place of an instance takes
// beyond its present one: on an aggregate it may be booked as a larger shape, and hosts of another driver may cost more. Flavors are those
// that it has there, one after the other.
func grows(st *pool.State, i *pool.Instance, host pool.HostID, a pool.Allocation, flavors ...string) error {
	if !i.Placed() {
		return quota.Allow(st, i.Project, i.Owner, demandOf(st, host, a, flavors...))
	}
	more := make(pool.Resources)
	for c, n := range a.Resources {
		if n > i.Place.Allocation.Resources[c] {
			more[c] = n - i.Place.Allocation.Resources[c]
		}
	}
	if cost := st.Cost(host, a, flavors...) - st.CostOf(i); cost > 0 {
		more[pool.Cost] = cost
	}
	return quota.Allow(st, i.Project, i.Owner, more)
}

// demandOf is what a place on a host takes of quotas, for an instance of those flavors.
func demandOf(st *pool.State, host pool.HostID, a pool.Allocation, flavors ...string) pool.Resources {
	d := quota.Demand(a)
	if cost := st.Cost(host, a, flavors...); cost > 0 {
		d[pool.Cost] = cost
	}
	return d
}
