package hetzner

import (
	"context"
	"time"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
)

func runs(s *hcloud.Server) bool { return s.Status == hcloud.ServerStatusRunning }
func off(s *hcloud.Server) bool  { return s.Status == hcloud.ServerStatusOff }

// mostPower is how often a request about a server's power is sent when its answer is lost: two do what one does.
const mostPower = 3

// power sends a request about a server's power and waits until it is as it should be. A request that was refused, or
// not answered, is success when it is so all the same.
func (c *call) power(s *hcloud.Server, request func(context.Context, *hcloud.Server) (*hcloud.Action, *hcloud.Response, error), good func(*hcloud.Server) bool) error {
	for try := 1; ; try++ {
		var action *hcloud.Action
		err := c.patiently(func() (err error) {
			action, _, err = request(c.ctx, s)
			return err
		})
		_, open := verdict(err)
		if err == nil {
			open, err = false, c.follow(action)
		}
		if err == nil {
			break
		}
		if c.ctx.Err() != nil {
			return err
		}
		now, e := c.again(s)
		switch {
		case e != nil || now == nil:
			return err
		case good(now) && !good(s): // else it says nothing: a machine to be reset runs before it, too
			return nil
		case !open || try == mostPower:
			return err
		}
	}
	now, err := c.until(s, good)
	if err == nil && now == nil {
		err = refuse(hypervisor.ErrNotFound, nil)
	}
	return err
}

// Start implements hypervisor.Driver.
func (d *Driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "start", r, func(c *call, s *hcloud.Server) error {
		if runs(s) {
			return nil
		}
		return c.power(s, c.client.Server.Poweron, runs)
	})
}

// Stop implements hypervisor.Driver. The request to shut down is repeated, as a guest that is still booting loses it.
func (d *Driver) Stop(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "stop", r, func(c *call, s *hcloud.Server) error {
		obeyed, err := c.shutdown(s)
		if err != nil || obeyed {
			return err
		}
		c.config.Logger.Warn("a guest did not shut down in time and is switched off", "machine", string(r.Machine))
		return c.power(s, c.client.Server.Poweroff, off)
	})
}

// repeatRequest is how often a guest is asked to shut down.
const repeatRequest = 15 * time.Second

// shutdown asks the guest to shut down, and reports whether it has within the grace time.
func (c *call) shutdown(s *hcloud.Server) (obeyed bool, err error) {
	deadline, asked := time.Now().Add(c.config.Timeouts.Shutdown), time.Time{}
	for wait := c.config.Timeouts.Poll; ; wait = c.later(wait) {
		now, err := c.again(s)
		switch {
		case err != nil:
			return false, err
		case now == nil:
			return false, refuse(hypervisor.ErrNotFound, nil)
		case off(now):
			return true, nil
		case time.Now().After(deadline):
			return false, nil
		}
		if time.Since(asked) >= repeatRequest && runs(now) {
			asked = time.Now()
			err := c.patiently(func() error {
				_, _, err := c.client.Server.Shutdown(c.ctx, s) // its action says that the guest was asked, and no more
				return err
			})
			if err != nil && c.ctx.Err() != nil {
				return false, err
			}
			if _, open := verdict(err); err != nil && open {
				asked = time.Time{} // it may not have heard
			}
		}
		if err := pause(c.ctx, min(wait, max(time.Until(deadline), time.Millisecond))); err != nil {
			return false, err
		}
	}
}

// Reboot implements hypervisor.Rebooter. The service does not tell whether a guest has obeyed a request to reboot, so
// it is shut down and started again, and reset when it has not shut down within the grace time.
func (d *Driver) Reboot(ctx context.Context, r hypervisor.Ref) error {
	return d.on(ctx, "reboot", r, func(c *call, s *hcloud.Server) error {
		if !runs(s) {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		obeyed, err := c.shutdown(s)
		if err != nil {
			return err
		}
		shut := *s
		shut.Status = hcloud.ServerStatusOff
		if obeyed {
			return c.power(&shut, c.client.Server.Poweron, runs)
		}
		c.config.Logger.Warn("a guest did not shut down in time and is reset", "machine", string(r.Machine))
		err = c.power(s, c.client.Server.Reset, runs)
		if err == nil || c.ctx.Err() != nil {
			return err
		}
		if now, e := c.again(s); e != nil || now == nil || !off(now) {
			return err
		}
		return c.power(&shut, c.client.Server.Poweron, runs) // it obeyed at the last moment
	})
}
