package ring

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Reserve wants the place of a launch held, or the places of a new cluster, all or none, until they are committed or
// released, or until a time has passed. One of Launch and Cluster is set; what it would be refused for this is refused for.
//
// What is reserved is the instances themselves, in the phase pool.Reserved: they differ from those that are being built only in
// that no machine is made of them. Under the token of a launch, or of a cluster's creation, that has been carried out it gives what
// that has made, as committed.
type Reserve struct {
	Launch  *Launch        `json:"launch,omitempty"`
	Cluster *CreateCluster `json:"cluster,omitempty"`
	For     time.Duration  `json:"for,omitempty"` // 0: the configured time
}

// first returns the id of the first instance, which is that of the reservation.
func (c *Reserve) first(st *pool.State) pool.InstanceID {
	if c.Launch != nil {
		return st.InstanceFor(c.Launch.Project, c.Launch.Token)
	}
	return st.MemberFor(pool.NewClusterID(c.Cluster.Project, c.Cluster.Name), c.Cluster.Token, 0)
}

func (c *Reserve) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if (c.Launch == nil) == (c.Cluster == nil) {
		return nil, invalid("reserve", "", "a launch or a cluster, one of the two")
	}
	id := c.first(st)
	t, ended := st.Ended(id)
	if ended {
		if err := lapsed(id, t); err != nil {
			return nil, err
		}
	}
	length := cmp.Or(c.For, r.reserveFor)
	if _, there := st.Instance(id); !there && !ended && (length <= 0 || length > r.mostReserve) {
		return nil, invalid("for", length.String(), "more than nothing and at most "+r.mostReserve.String())
	}
	until := r.now.Add(length).Truncate(time.Microsecond)
	if c.Launch != nil {
		l := *c.Launch
		if l.Wait {
			return nil, invalid("wait", "true", "false: what waits for a place has none to hold")
		}
		l.until = until
		return l.decide(r, st)
	}
	l := *c.Cluster
	if l.Wait {
		return nil, invalid("wait", "true", "false: what waits for a place has none to hold")
	}
	l.until = until
	return l.decide(r, st)
}

// lapsed returns how a reservation has ended without being committed, as an error; nil if it was committed.
func lapsed(id pool.InstanceID, t pool.Tombstone) error {
	e := &pool.Error{Kind: pool.ErrExpired, Field: "reservation", Value: string(id), Want: "one that is still held; reserve anew with another token"}
	switch t.Launched {
	case pool.Expired:
	case pool.Released:
		e.Kind = pool.ErrReleased
	default:
		return nil
	}
	return e
}

// reserved returns the instances that are reserved with one that is: itself, or all members of its cluster, by index.
func reserved(st *pool.State, i *pool.Instance) []*pool.Instance {
	c, ok := st.Cluster(i.Cluster)
	if !ok {
		return []*pool.Instance{i}
	}
	return slices.DeleteFunc(membersOf(st, c), func(m *pool.Instance) bool { return m.Phase != pool.Reserved })
}

// isReserved reports whether a cluster's members are reserved, which they are together or not at all.
func isReserved(st *pool.State, c *pool.Cluster) bool {
	if len(c.Members) == 0 {
		return false
	}
	i, ok := st.Instance(st.MemberFor(c.ID, c.Token, c.Members[0]))
	return ok && i.Phase == pool.Reserved
}

// Commit wants what is reserved built, on the places that are held for it.
type Commit struct {
	Reservation pool.InstanceID `json:"reservation"`
}

// decide looks for no place: what is held is there. Only where a host has been lost since, or is being drained, another is
// looked for, as the leader is about to. One that is being drained is built there all the same if there is no other, and
// leaves when it can.
func (c *Commit) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	i, ok := st.Instance(c.Reservation)
	if !ok {
		if t, ended := st.Ended(c.Reservation); ended {
			return nil, lapsed(c.Reservation, t)
		}
		return nil, notFound("reservation", string(c.Reservation))
	}
	if i.Phase != pool.Reserved {
		return nil, nil
	}
	if !r.now.Before(i.Until) {
		return nil, lapsed(i.ID, pool.Tombstone{Launched: pool.Expired}) // the leader is about to say so
	}
	d := r.draft(st)
	for _, m := range reserved(st, i) {
		if lost, leaves := r.leaving(d.st, m); lost || leaves {
			p, err := r.elsewhere(d.st, m, nil)
			if err != nil && lost {
				return nil, err
			}
			if err == nil {
				err = d.add(pool.KindPlaced, p)
			}
			if err != nil && lost {
				return nil, err
			}
		}
		if err := d.add(pool.KindCommitted, &pool.Of{Instance: m.ID}); err != nil {
			return nil, err
		}
	}
	return d.done(), nil
}

// leaving reports whether the host of an instance that is reserved has been lost, or is being drained.
func (r *rules) leaving(st *pool.State, i *pool.Instance) (lost, drained bool) {
	h, ok := st.Host(i.Place.Host)
	if !ok || aggregate(h) {
		return !ok, false
	}
	return r.evacuation.lost(h.Conditions), h.Conditions.Has(pool.Draining)
}

// elsewhere finds another place for an instance that is reserved.
func (r *rules) elsewhere(st *pool.State, i *pool.Instance, avoid []pool.HostID) (*pool.Placed, error) {
	d, err := r.again(st, i, r.anew(i, i.Spec, append([]pool.HostID{i.Place.Host}, avoid...)))
	if err != nil {
		return nil, err
	}
	return &pool.Placed{Instance: i.ID, Place: pool.Placement{Number: i.Place.Number + 1, Host: d.Host, Allocation: d.Allocation}}, nil
}

// Release gives back what is reserved and not committed.
type Release struct {
	Reservation pool.InstanceID `json:"reservation"`
}

func (c *Release) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	i, ok := st.Instance(c.Reservation)
	t, ended := st.Ended(c.Reservation)
	switch {
	case !ok && !ended:
		return nil, notFound("reservation", string(c.Reservation))
	case ended && lapsed(c.Reservation, t) != nil:
		return nil, nil
	case ended, i.Phase != pool.Reserved:
		return nil, &pool.Error{Kind: pool.ErrCommitted, Field: "reservation", Value: string(c.Reservation), Want: "one that is still held; delete the instance or cluster"}
	}
	return lapse(st, i, true)
}

// lapse gives the places of a reservation back, and ends it.
func lapse(st *pool.State, i *pool.Instance, released bool) ([]pool.Event, error) {
	var out []pool.Event
	all := reserved(st, i)
	for _, m := range all {
		e, err := pool.NewEvent(pool.KindLapsed, &pool.Lapsed{Instance: m.ID, Released: released})
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if c, ok := st.Cluster(i.Cluster); ok && len(c.Members) == len(all) {
		e, err := pool.NewEvent(pool.KindClusterRemoved, &pool.ClusterRemoved{Cluster: c.ID})
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// expiresIn returns how long a reservation is still held: until its end by the ledger's time, and never for longer than it was
// reserved for, which the leader counts itself, since the ledger's time stands still after a clock was set back. It is called
// with l.mu held.
func (l *leadership) expiresIn(i *pool.Instance, now time.Time) time.Duration {
	since, ok := l.reserved[i.ID]
	if !ok {
		since = now
		l.reserved[i.ID] = now
	}
	return min(i.Until.Sub(l.r.now()), i.Until.Sub(i.At)-now.Sub(since))
}

// expire is the leader's finding that a reservation's time has passed.
type expire struct {
	epoch    int64
	instance pool.InstanceID
}

func (o expire) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	if st.Epoch() != o.epoch {
		return nil, errDropped
	}
	i, ok := st.Instance(o.instance)
	if !ok || i.Phase != pool.Reserved {
		return nil, errMoot
	}
	return lapse(st, i, false)
}

// expired submits that a reservation's time has passed.
func (l *leadership) expired(a action) ending {
	_, err := l.r.submit(l.ctx, expire{epoch: l.epoch, instance: a.instance.ID}, Caller{Actor: self, Cause: string(a.verb)})
	if err == nil || errors.Is(err, errMoot) || errors.Is(err, errDropped) || l.ctx.Err() != nil {
		return ending{}
	}
	l.r.log.Warn("end of a reservation not recorded", "instance", a.instance.ID, "error", err)
	return ending{retry: true}
}

// Reservation is what is held for somebody, or what has become of it.
type Reservation struct {
	ID        pool.InstanceID `json:"id"`
	Status    string          `json:"status"` // "held", "committed", "expired" or "released"
	Project   string          `json:"project,omitempty"`
	Name      string          `json:"name,omitempty"`
	Cluster   pool.ClusterID  `json:"cluster,omitempty"`   // that it is to become
	Until     time.Time       `json:"until,omitzero"`      // while it is held
	Instances []pool.Instance `json:"instances,omitempty"` // as they are, by index
}

// The states of a Reservation.
const (
	HeldReservation      = "held"
	CommittedReservation = "committed"
	ExpiredReservation   = "expired"
	ReleasedReservation  = "released"
)

func reservation(st *pool.State, i *pool.Instance) Reservation {
	v := Reservation{ID: i.ID, Status: CommittedReservation, Project: i.Project, Name: i.Name, Cluster: i.Cluster, Until: i.Until}
	if i.Phase == pool.Reserved {
		v.Status = HeldReservation
	}
	all := []*pool.Instance{i}
	if c, ok := st.Cluster(i.Cluster); ok {
		v.Name, all = c.ID.Name(), membersOf(st, c)
	}
	for _, m := range all {
		v.Instances = append(v.Instances, *m)
	}
	return v
}

// Reservation returns a reservation, also what has become of one; ok is false if there has never been one.
func (r *Ring) Reservation(id pool.InstanceID) (v Reservation, ok bool) {
	r.View(func(st *pool.State) {
		if i, there := st.Instance(id); there {
			v, ok = reservation(st, i), true
			return
		}
		var t pool.Tombstone
		if t, ok = st.Ended(id); ok {
			v = Reservation{ID: id, Status: map[pool.Revision]string{pool.Expired: ExpiredReservation, pool.Released: ReleasedReservation}[t.Launched]}
			v.Status = cmp.Or(v.Status, CommittedReservation)
		}
	})
	return v, ok
}

// Reservations returns those that are held, by the time of their end.
func (r *Ring) Reservations() []Reservation {
	var out []Reservation
	r.View(func(st *pool.State) {
		for i := range st.Unsettled() {
			if i.Phase != pool.Reserved {
				continue
			}
			if c, ok := st.Cluster(i.Cluster); ok && i.Index != c.Members[0] {
				continue
			}
			out = append(out, reservation(st, i))
		}
	})
	slices.SortFunc(out, func(a, b Reservation) int { return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID)) })
	return out
}

// ReservationFor returns the id of the reservation that a Reserve makes, or has made.
func (r *Ring) ReservationFor(c Reserve) (id pool.InstanceID) {
	if c.Launch != nil || c.Cluster != nil {
		r.View(func(st *pool.State) { id = c.first(st) })
	}
	return id
}
