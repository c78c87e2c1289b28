package libvirt

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
)

// on runs f on the machine that r names.
func (d *Driver) on(ctx context.Context, op string, r hypervisor.Ref, f func(s *session, dom *domain) error) error {
	h, err := d.host(r.Host)
	if err != nil {
		return wrap(op, r, false, err)
	}
	if err := validTag(r.Tag); err != nil {
		return wrap(op, r, false, refuse(hypervisor.ErrInvalid, err))
	}
	s := h.session(ctx)
	dom, err := s.find(r)
	if err == nil && dom == nil {
		err = refuse(hypervisor.ErrNotFound, nil)
	}
	if err == nil {
		err = f(s, dom)
	}
	return wrap(op, r, s.changed, err)
}

// Start implements hypervisor.Driver. A suspended machine is resumed, a hibernated one goes on.
func (d *Driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "start", r, func(s *session, dom *domain) error {
		if err := d.settle(s, dom); err != nil {
			return err
		}
		switch dom.state {
		case lv.DomainPaused, lv.DomainPmsuspended:
			return s.resume(dom)
		case lv.DomainRunning, lv.DomainBlocked:
			return nil
		}
		if err := s.autostart(dom, true); err != nil {
			return err
		}
		create := func() error { return do(s, func(api *lv.Libvirt) error { return api.DomainCreate(dom.Domain) }) }
		var err error
		if dom.saved {
			err = s.patiently(create)
		} else {
			err = create()
		}
		return s.unless(err, dom, lv.DomainRunning, lv.DomainBlocked)
	})
}

// unless is err, or nil where the daemon has refused because the domain is in one of the states already:
// daemons' drivers disagree about the code of that answer.
func (s *session) unless(err error, dom *domain, states ...lv.DomainState) error {
	var no *serverError
	if !errors.As(err, &no) {
		return err
	}
	if now, e := s.state(dom.Domain); e == nil && slices.Contains(states, now) {
		return nil
	}
	return err
}

// Stop implements hypervisor.Driver. The request is repeated, as a guest that is still booting loses it. Of a hibernated
// machine the memory is forgotten.
func (d *Driver) Stop(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "stop", r, func(s *session, dom *domain) error {
		if err := s.autostart(dom, false); err != nil {
			return err
		}
		if dom.saved {
			return do(s, func(api *lv.Libvirt) error { return api.DomainManagedSaveRemove(dom.Domain, 0) })
		}
		deadline := time.Now().Add(s.h.timeouts.Shutdown)
		var asked time.Time
		for {
			state, err := s.state(dom.Domain)
			if err != nil {
				return err
			}
			switch state {
			case lv.DomainShutoff, lv.DomainCrashed:
				return nil
			case lv.DomainPaused, lv.DomainPmsuspended: // deaf
				return s.powerOff(dom.Domain)
			}
			if time.Now().After(deadline) {
				s.h.log.Warn("a guest did not shut down in time and is switched off", "machine", string(r.Machine))
				return s.powerOff(dom.Domain)
			}
			if time.Since(asked) >= repeatRequest {
				asked = time.Now()
				err := do(s, func(api *lv.Libvirt) error { return api.DomainShutdown(dom.Domain) })
				if err := s.unless(err, dom, lv.DomainShutoff, lv.DomainShutdown); err != nil {
					return err
				}
			}
			if err := pause(ctx, min(pollPower, max(time.Until(deadline), 0))); err != nil {
				return err
			}
		}
	})
}

const (
	repeatRequest = 5 * time.Second
	pollPower     = 250 * time.Millisecond
)

// Suspend implements hypervisor.Suspender: the virtual CPUs stand still, memory stays.
func (d *Driver) Suspend(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "suspend", r, func(s *session, dom *domain) error {
		switch dom.state {
		case lv.DomainPaused, lv.DomainPmsuspended:
			return nil
		case lv.DomainShutoff, lv.DomainCrashed:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		err := do(s, func(api *lv.Libvirt) error { return api.DomainSuspend(dom.Domain) })
		return s.unless(err, dom, lv.DomainPaused)
	})
}

// Resume implements hypervisor.Suspender.
func (d *Driver) Resume(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "resume", r, func(s *session, dom *domain) error {
		if err := d.settle(s, dom); err != nil {
			return err
		}
		switch dom.state {
		case lv.DomainPaused, lv.DomainPmsuspended:
			return s.resume(dom)
		case lv.DomainShutoff, lv.DomainCrashed:
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		return nil
	})
}

func (s *session) resume(dom *domain) error {
	err := do(s, func(api *lv.Libvirt) error {
		if dom.state == lv.DomainPmsuspended { // by the guest itself
			return api.DomainPmWakeup(dom.Domain, 0)
		}
		return api.DomainResume(dom.Domain)
	})
	return s.unless(err, dom, lv.DomainRunning, lv.DomainBlocked)
}

// Reboot implements hypervisor.Rebooter. That a guest has obeyed is told by libvirt's reboot event; a host whose
// driver sends none resets the machine after the grace time.
func (d *Driver) Reboot(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "reboot", r, func(s *session, dom *domain) error {
		if dom.state != lv.DomainRunning && dom.state != lv.DomainBlocked {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		rebooted := make(chan struct{})
		var once sync.Once
		// The request itself may take a newer connection than the one that is watched.
		watching, stop, err := s.listen(func(c *conn) *events { return &c.reboots }, func(id lv.UUID) {
			if id == dom.UUID {
				once.Do(func() { close(rebooted) })
			}
		})
		if err != nil {
			return err
		}
		defer stop()
		if err := do(s, func(api *lv.Libvirt) error { return api.DomainReboot(dom.Domain, lv.DomainRebootDefault) }); err != nil {
			return err
		}
		grace := time.NewTimer(s.h.timeouts.Shutdown)
		defer grace.Stop()
		select {
		case <-rebooted:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-watching.link.gone:
			return &transportError{sent: true, lost: true, cause: errLost}
		case <-grace.C:
		}
		s.h.log.Warn("a guest did not reboot in time and is reset", "machine", string(r.Machine))
		return do(s, func(api *lv.Libvirt) error { return api.DomainReset(dom.Domain, 0) })
	})
}
