package openstack

import (
	"context"

	"github.com/berthage/berthage/hypervisor"
)

// ResetState is an admin's repair of a machine that Nova shows in the status ERROR, or at work that will never end: Nova's
// books then say that the server is active, whatever it is. A hard reboot follows, which makes it so. What was wrong with
// it is not looked at.
func (d *Driver) ResetState(ctx context.Context, r hypervisor.Ref) error {
	s := d.session(ctx)
	return wrap("reset", r, s.call, s.reset(r))
}

func (s *session) reset(r hypervisor.Ref) error {
	v, err := s.one(r)
	if err != nil {
		return err
	}
	if v.unreachable() {
		return errDown()
	}
	if err := s.send(v.ID, "os-resetState", map[string]string{"state": "active"}); err != nil {
		return err
	}
	asked := false
	return s.bring(v.ID, func(v *server) step {
		switch {
		case v == nil:
			return refused(hypervisor.ErrNotFound, nil)
		case v.Status == active && asked:
			return done()
		case v.Status == active:
			return once(s.action(v, "reboot", map[string]string{"type": "HARD"}), &asked)
		}
		return s.broken(v)
	})
}

// Rebuild gives the machine that the order names, which runs or is stopped, a new root disk from the order's image, with
// its first-boot data, and leaves it as it was. It stays the same machine on the same host, of the same size; what was on its
// root disk is lost.
func (d *Driver) Rebuild(ctx context.Context, o hypervisor.Order) error {
	s := d.session(ctx)
	return wrap("rebuild", o.Ref, s.call, s.rebuild(&o))
}

func (s *session) rebuild(o *hypervisor.Order) error {
	seed, err := s.check(o)
	if err != nil {
		return err
	}
	v, err := s.one(o.Ref)
	if err != nil {
		return err
	}
	if o.Revision < v.revision() {
		return refuse(hypervisor.ErrRefused, errEarlier)
	}
	image, err := s.image(o.Source)
	if err != nil {
		return err
	}
	asked := false
	err = s.bring(v.ID, func(v *server) step {
		switch {
		case v == nil:
			return refused(hypervisor.ErrNotFound, nil)
		case v.Status != active && v.Status != shutoff && v.Status != failed:
			return s.broken(v)
		case asked && v.Status == failed:
			return s.broken(v)
		case asked:
			return done()
		}
		return once(s.action(v, "rebuild", map[string]any{"imageRef": image, "user_data": string(seed)}), &asked)
	})
	if err != nil {
		return err
	}
	return s.record(v.ID, map[string]string{keyRevision: ordered(o)[keyRevision]})
}
