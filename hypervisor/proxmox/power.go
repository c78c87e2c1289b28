package proxmox

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// is reports, for settle, whether a guest is in a power state.
func (s *session) is(g *guest, want pool.Power) func() (bool, error) {
	return func() (bool, error) {
		p, err := s.power(g)
		return p == want, err
	}
}

// turn makes a request that brings a guest into a power state. That it was in it already is success: which of two requests came
// first nobody can say.
func (s *session) turn(g *guest, to pool.Power, request string, p params) error {
	err := s.do(http.MethodPost, g.path()+"/status/"+request, p)
	if says(err, isRunning) || says(err, notRunning) {
		if ok, e := s.is(g, to)(); e == nil && ok {
			return nil
		}
	}
	if says(err, locked) && to == pool.Hibernated && strings.Contains(err.Error(), "(suspend") {
		// By the same request, which has arrived twice and is being carried out.
		err = refuse(hypervisor.ErrUnknown, err)
	}
	return s.settle(err, s.is(g, to))
}

// Start implements hypervisor.Driver. A suspended machine is resumed.
func (d *Driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "start", r, func(s *session, g *guest) error {
		if g.mark.Stage != complete {
			return refuse(hypervisor.ErrRefused, errors.New("its creation was broken off"))
		}
		switch p, err := s.power(g); {
		case err != nil:
			return err
		case p == pool.Running:
			return nil
		case p == pool.Suspended:
			return s.turn(g, pool.Running, "resume", nil)
		}
		return s.turn(g, pool.Running, "start", nil)
	})
}

// Stop implements hypervisor.Driver. The server waits for the guest and switches it off.
func (d *Driver) Stop(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "stop", r, func(s *session, g *guest) error {
		switch p, err := s.power(g); {
		case err != nil:
			return err
		case p == pool.Stopped:
			return nil
		case p == pool.Suspended: // deaf
			return s.turn(g, pool.Stopped, "stop", nil)
		case p == pool.Hibernated:
			return s.forget(g)
		}
		return s.turn(g, pool.Stopped, "shutdown", params{"timeout": seconds(s.cfg.Timeouts.Shutdown), "forceStop": 1})
	})
}

// seconds is a time as the API takes it, at least one.
func seconds(d time.Duration) int { return int(max(d.Round(time.Second)/time.Second, 1)) }

// Suspend implements hypervisor.Suspender: the virtual CPUs stand still, memory stays.
func (d *Driver) Suspend(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "suspend", r, func(s *session, g *guest) error {
		switch p, err := s.power(g); {
		case err != nil:
			return err
		case p == pool.Suspended:
			return nil
		case p != pool.Running:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		return s.turn(g, pool.Suspended, "suspend", nil)
	})
}

// Resume implements hypervisor.Suspender.
func (d *Driver) Resume(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "resume", r, func(s *session, g *guest) error {
		switch p, err := s.power(g); {
		case err != nil:
			return err
		case p == pool.Running:
			return nil
		case p != pool.Suspended:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		return s.turn(g, pool.Running, "resume", nil)
	})
}

// Hibernate implements hypervisor.Hibernator. A suspended machine is ErrWrongPower.
func (d *Driver) Hibernate(ctx context.Context, r hypervisor.Ref) error {
	s := d.session(ctx)
	if _, err := s.node(r.Host); err != nil {
		return wrap("hibernate", r, false, err)
	}
	if err := d.offers(r.Host, hypervisor.CanHibernate); err != nil {
		return wrap("hibernate", r, false, err)
	}
	return d.on(ctx, "hibernate", r, func(s *session, g *guest) error {
		switch p, err := s.power(g); {
		case err != nil:
			return err
		case p == pool.Hibernated:
			return nil
		case p != pool.Running:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		return s.turn(g, pool.Hibernated, "suspend", params{"todisk": 1})
	})
}

// forget removes the memory of a hibernated guest, which is stopped then.
func (s *session) forget(g *guest) error {
	return s.settle(s.do(http.MethodPost, g.path()+"/config", params{"delete": "vmstate"}), s.is(g, pool.Stopped))
}

// Reboot implements hypervisor.Rebooter. A guest that has not obeyed in time is reset.
func (d *Driver) Reboot(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "reboot", r, func(s *session, g *guest) error {
		switch p, err := s.power(g); {
		case err != nil:
			return err
		case p != pool.Running:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		err := s.do(http.MethodPost, g.path()+"/status/reboot", params{"timeout": seconds(s.cfg.Timeouts.Shutdown)})
		var failed *taskError
		if !errors.As(err, &failed) || says(err, locked) {
			return err
		}
		s.cfg.Logger.Warn("a guest did not reboot in time and is reset", "machine", string(r.Machine), "error", err)
		return s.do(http.MethodPost, g.path()+"/status/reset", nil)
	})
}
