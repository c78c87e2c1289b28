package berthage

import (
	"context"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// Reserve asks for what a Launch or a CreateCluster asks for, of which exactly one is set, to be held without being built: For is
// how long, Config.ReserveFor by default and Config.MaxReserve at most.
//
// Errors: those of the launch or of the creation, all or none unless BestEffort is set; pool.ErrExpired and pool.ErrReleased for
// the token of a reservation that has ended so. Wait is not possible.
type Reserve = ring.Reserve

// Reservation is what is held for somebody, or what has become of it. Its id is that of its first instance.
type Reservation = ring.Reservation

// The states of a Reservation.
const (
	HeldReservation      = ring.HeldReservation
	CommittedReservation = ring.CommittedReservation
	ExpiredReservation   = ring.ExpiredReservation
	ReleasedReservation  = ring.ReleasedReservation
)

// Reserve decides where the instances go as a launch does, and holds the places, in one commit. They are in the books, in the phase
// pool.Reserved: they take room and quota, rules between instances count them, and no machine is made of them. Nobody is placed there,
// they are neither moved by rebalancing nor made to give way. A host that is drained or lost they leave for another, if there is one.
//
// The same token in the same project gives the same reservation, as it is by then: held, or committed.
func (m *Manager) Reserve(ctx context.Context, r Reserve) (Reservation, error) {
	switch {
	case r.Launch != nil:
		l := *r.Launch
		l.Spec = l.Spec.Clone()
		r.Launch = &l
	case r.Cluster != nil:
		c := *r.Cluster
		c.Spec = c.Spec.Clone()
		r.Cluster = &c
	}
	if err := m.do(ctx, ring.Command{Reserve: &r}); err != nil {
		return Reservation{}, named(err, "reserve")
	}
	return m.Reservation(m.ring.ReservationFor(r))
}

// Commit has what is reserved built where it is held, the whole of it in one commit; follow its instances or its cluster. Nothing
// is decided for that, so that it cannot fail for want of room: only what is held on a host that has been lost since needs another
// place, and where there is none that is a *scheduler.Refusal and the reservation goes on.
//
// Committing again does nothing. Errors: pool.ErrExpired, pool.ErrReleased, and pool.ErrNotFound where there has never been one.
func (m *Manager) Commit(ctx context.Context, id pool.InstanceID) (Reservation, error) {
	if err := m.do(ctx, ring.Command{Commit: &ring.Commit{Reservation: id}}); err != nil {
		return Reservation{}, named(err, "commit "+pool.Quote(string(id)))
	}
	return m.Reservation(id)
}

// Release gives a reservation's places back at once. Releasing again, or one that has expired, does nothing. Errors:
// pool.ErrCommitted, and pool.ErrNotFound where there has never been one.
func (m *Manager) Release(ctx context.Context, id pool.InstanceID) (Reservation, error) {
	if err := m.do(ctx, ring.Command{Release: &ring.Release{Reservation: id}}); err != nil {
		return Reservation{}, named(err, "release "+pool.Quote(string(id)))
	}
	return m.Reservation(id)
}

// Reservation returns a reservation, or what has become of it; pool.ErrNotFound means that there has never been one. One that has
// ended has a Status and little else.
func (m *Manager) Reservation(id pool.InstanceID) (Reservation, error) {
	r, ok := m.ring.Reservation(id)
	if !ok {
		return r, &pool.Error{Kind: pool.ErrNotFound, Field: "reservation", Value: string(id)}
	}
	return r, nil
}

// Reservations returns those that are held, the first to expire first.
func (m *Manager) Reservations() []Reservation { return m.ring.Reservations() }
