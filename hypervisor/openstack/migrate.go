package openstack

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Migrate implements hypervisor.Migrator: by Nova's live migration where the machine runs or is paused, and by its cold one,
// confirmed at once, where it is stopped.
func (d *Driver) Migrate(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
	if err := d.unsupported(hypervisor.CanMigrate, "migrate", from); err != nil {
		return err
	}
	s := d.session(ctx)
	return wrap("migrate", from, s.call, s.migrate(from, &o))
}

func (s *session) migrate(from hypervisor.Ref, o *hypervisor.Order) error {
	if from.Tag != o.Tag {
		return refuse(hypervisor.ErrInvalid, invalid("tag", string(o.Machine), "the tag of the machine that is moved"))
	}
	if from.Host == o.Host {
		return refuse(hypervisor.ErrInvalid, invalid("host", string(o.Host), "another host"))
	}
	c, err := s.find(from)
	if err != nil {
		return err
	}
	var moved *server // what is on the other host already
	for i := range c.away {
		if s.d.on(&c.away[i], o.Host) {
			moved = &c.away[i]
		}
	}
	switch {
	case len(c.here) == 0 && moved == nil:
		if err := s.knows(from.Host); err != nil {
			return err
		}
		return refuse(hypervisor.ErrNotFound, nil)
	case len(c.here) > 1:
		return refuse(hypervisor.ErrRefused, errors.New("there are several copies of the machine"))
	}
	v := moved
	if len(c.here) > 0 {
		v = &c.here[0]
	}
	if o.Revision < v.revision() {
		return refuse(hypervisor.ErrRefused, errEarlier)
	}
	if len(c.here) > 0 {
		for i := range c.other {
			if s.d.on(&c.other[i], o.Host) {
				moved = &c.other[i] // another's
			}
		}
		if moved != nil {
			return refuse(hypervisor.ErrExists, nil)
		}
	}
	target, err := s.hypervisor(o.Host)
	if errors.Is(err, hypervisor.ErrNotFound) {
		return refuse(hypervisor.ErrRefused, err)
	}
	if err == nil && len(c.here) > 0 && (!target.up() || target.Status != "enabled") {
		err = refuse(hypervisor.ErrRefused, fmt.Errorf("hypervisor %s is %s, its service is %s", pool.Quote(target.Name), target.State, target.Status))
	}
	if err != nil {
		return err
	}
	if err := s.bring(v.ID, s.migration(target)); err != nil {
		return err
	}
	what := maps.Clone(ordered(o))
	delete(what, keyDisks) // a move changes no sizes
	what[keyHost] = target.Name
	return s.record(v.ID, what)
}

// migration leads a server to a hypervisor.
func (s *session) migration(target *node) func(v *server) step {
	asked := false // to be confirmed
	return func(v *server) step {
		switch {
		case v == nil:
			return refused(hypervisor.ErrNotFound, nil)
		case v.unreachable():
			return step{err: errDown()}
		case v.Status == resized && asked:
			return step{wait: true}
		case v.Status == resized && v.Hypervisor == target.Name:
			return once(s.action(v, "confirmResize", nil), &asked)
		case v.Status == resized:
			return once(s.action(v, "revertResize", nil), &asked)
		case v.Hypervisor == target.Name && v.Status != failed:
			return done()
		case v.Status == shutoff:
			asked = false
			return s.action(v, "migrate", map[string]string{"host": target.Service.Host})
		case v.Status == active || v.Status == paused:
			if !s.d.offers(hypervisor.CanMigrateLive) {
				return refused(hypervisor.ErrWrongPower, errors.New("live migration is not offered here"))
			}
			return s.action(v, "os-migrateLive", map[string]any{"host": target.Service.Host, "block_migration": "auto"})
		}
		return s.broken(v)
	}
}
