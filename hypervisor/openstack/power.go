package openstack

import (
	"context"
	"errors"
	"fmt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// move brings the machine that r names, or with all every copy of it, where next says.
func (d *Driver) move(ctx context.Context, op string, r hypervisor.Ref, all bool, next func(s *session, v *server) step) error {
	s := d.session(ctx)
	return wrap(op, r, s.call, s.move(r, all, next))
}

func (s *session) move(r hypervisor.Ref, all bool, next func(s *session, v *server) step) error {
	c, err := s.find(r)
	if err != nil {
		return err
	}
	if len(c.here) == 0 {
		return refuse(hypervisor.ErrNotFound, nil)
	}
	if !all {
		c.here = c.here[:1]
	}
	for _, v := range c.here {
		if v.unreachable() {
			return errDown()
		}
		err := s.bring(v.ID, func(v *server) step {
			if v == nil {
				return refused(hypervisor.ErrNotFound, nil)
			}
			return next(s, v)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// broken is the step for a server from whose state no action leads on.
func (s *session) broken(v *server) step {
	switch v.Status {
	case failed:
		return refused(hypervisor.ErrRefused, fmt.Errorf("the server is in the status ERROR (%w); ResetState may help", s.failure(v)))
	case resized:
		return refused(hypervisor.ErrRefused, errors.New("a resize or a migration of the server waits to be confirmed"))
	}
	return refused(hypervisor.ErrWrongPower, fmt.Errorf("the server is %s", pool.Quote(v.Status)))
}

// Start implements hypervisor.Driver. A suspended or hibernated machine is resumed.
func (d *Driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.move(ctx, "start", r, false, func(s *session, v *server) step {
		switch v.Status {
		case active, rescued:
			return done()
		case shutoff:
			return s.action(v, "os-start", nil)
		case paused, suspended:
			return s.waken(v)
		case shelved:
			return s.action(v, "unshelve", nil)
		}
		return s.broken(v)
	})
}

// waken is the step that ends either way of suspending.
func (s *session) waken(v *server) step {
	if v.Status == paused {
		return s.action(v, "unpause", nil)
	}
	return s.action(v, "resume", nil)
}

// Stop implements hypervisor.Driver. Nova asks the guest, and switches it off when it has not obeyed within the image's
// or the cloud's shutdown_timeout, by default a minute. It stops no server that is paused or suspended: such a one runs
// for a moment.
func (d *Driver) Stop(ctx context.Context, r hypervisor.Ref) error {
	return d.move(ctx, "stop", r, true, func(s *session, v *server) step {
		switch {
		case v.Status == shutoff, v.Status == shelved, v.givenUp():
			return done()
		case v.Status == active, v.Status == failed:
			return s.action(v, "os-stop", nil)
		case v.Status == paused, v.Status == suspended:
			return s.waken(v)
		case v.Status == rescued:
			return s.action(v, "unrescue", nil)
		}
		return s.broken(v)
	})
}

// Suspend implements hypervisor.Suspender by Nova's pause: the virtual CPUs stand still, memory stays.
func (d *Driver) Suspend(ctx context.Context, r hypervisor.Ref) error {
	return d.halt(ctx, "suspend", hypervisor.CanSuspend, "pause", paused, r)
}

// Hibernate implements hypervisor.Hibernator by Nova's suspend: the memory is written to the hypervisor's disk. It goes on
// counting in the quota.
func (d *Driver) Hibernate(ctx context.Context, r hypervisor.Ref) error {
	return d.halt(ctx, "hibernate", hypervisor.CanHibernate, "suspend", suspended, r)
}

func (d *Driver) halt(ctx context.Context, op string, a hypervisor.Ability, action, reached string, r hypervisor.Ref) error {
	if err := d.unsupported(a, op, r); err != nil {
		return err
	}
	return d.move(ctx, op, r, false, func(s *session, v *server) step {
		switch v.Status {
		case reached:
			return done()
		case active:
			return s.action(v, action, nil)
		}
		return s.broken(v)
	})
}

// Resume implements hypervisor.Suspender.
func (d *Driver) Resume(ctx context.Context, r hypervisor.Ref) error {
	if err := d.unsupported(hypervisor.CanSuspend, "resume", r); err != nil {
		return err
	}
	return d.move(ctx, "resume", r, false, func(s *session, v *server) step {
		switch v.Status {
		case paused:
			return s.waken(v)
		case active:
			return done()
		}
		return s.broken(v)
	})
}

// Reboot implements hypervisor.Rebooter by Nova's soft reboot, which becomes a hard one when the guest has not obeyed within
// the cloud's wait_soft_reboot_seconds, by default two minutes.
func (d *Driver) Reboot(ctx context.Context, r hypervisor.Ref) error {
	if err := d.unsupported(hypervisor.CanReboot, "reboot", r); err != nil {
		return err
	}
	asked := false
	return d.move(ctx, "reboot", r, false, func(s *session, v *server) step {
		switch {
		case v.Status != active:
			return s.broken(v)
		case asked:
			return done()
		}
		do := s.action(v, "reboot", map[string]string{"type": "SOFT"})
		return step{act: func() error {
			err := do.act()
			asked = err == nil
			return err
		}}
	})
}

// errNotOffered is the cause of errors.ErrUnsupported.
func errNotOffered(a hypervisor.Ability) error {
	return refuse(errors.ErrUnsupported, fmt.Errorf("ability %q is not offered here", a))
}
