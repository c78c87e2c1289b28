package hetzner

import (
	"context"
	"slices"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
)

// Destroy implements hypervisor.Driver. It removes the server, its volumes, those that broken attempts to create it
// have left, its addresses, and snapshots that a broken Shelve has left; what is put aside stays. A server that
// somebody has protected against deletion is ErrRefused.
func (d *Driver) Destroy(ctx context.Context, r hypervisor.Ref) error {
	return d.with(ctx, "destroy", r, func(c *call) error {
		// A create that was sent before, and lands between two of the steps, is met in the second round.
		for range 3 {
			s, err := c.find(r)
			if err != nil {
				return err
			}
			if s != nil {
				if err := c.remove(s); err != nil {
					return err
				}
			}
			if err := c.removeVolumes(r.Tag, func(*hcloud.Volume) bool { return true }); err != nil {
				return err
			}
			if err := c.removeShelf(r.Tag, shelfTaking); err != nil {
				return err
			}
			if s == nil {
				return nil
			}
		}
		return refusef(hypervisor.ErrUnknown, "the server is there again each time it was removed")
	})
}

// remove deletes a server and its addresses, and waits until they are gone.
func (c *call) remove(s *hcloud.Server) error {
	var actions []*hcloud.Action
	err := c.patiently(func() error {
		r, _, err := c.client.Server.DeleteWithResult(c.ctx, s)
		if err == nil && r.Action != nil && r.Action.ID != 0 {
			actions = append(actions, r.Action)
		}
		return err
	})
	_, open := verdict(err)
	switch {
	case err == nil:
		if err := c.follow(actions...); err != nil && !said(err, hcloud.ErrorCodeNotFound) {
			return err
		}
	case said(err, hcloud.ErrorCodeNotFound):
	case open: // it may have been done; the look tells
		now, e := c.again(s)
		if e != nil || now != nil && now.Status != hcloud.ServerStatusDeleting {
			return err
		}
	default:
		return err
	}
	if _, err := c.until(s, func(*hcloud.Server) bool { return false }); err != nil {
		return err
	}
	return c.removeAddresses(s)
}

// removeAddresses removes those addresses that were made with the server and should have gone with it. One that
// somebody has said is to be kept without its server is kept.
func (c *call) removeAddresses(s *hcloud.Server) error {
	for _, id := range []int64{s.PublicNet.IPv4.ID, s.PublicNet.IPv6.ID} {
		if id == 0 {
			continue
		}
		for wait := c.config.Timeouts.Poll; ; wait = c.later(wait) {
			ip, _, err := c.client.PrimaryIP.GetByID(c.ctx, id)
			if err := c.read(err); err != nil {
				return err
			}
			if ip == nil || !ip.AutoDelete || ip.AssigneeID != 0 && ip.AssigneeID != s.ID {
				break
			}
			if ip.AssigneeID == 0 {
				err := c.patiently(func() error {
					_, err := c.client.PrimaryIP.Delete(c.ctx, ip)
					return err
				})
				if err != nil && !said(err, hcloud.ErrorCodeNotFound) {
					return err
				}
			}
			if err := pause(c.ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeVolumes deletes volumes of the tag, once their server has let go of them, and looks until they are gone.
func (c *call) removeVolumes(t hypervisor.Tag, which func(*hcloud.Volume) bool) error {
	for wait := c.config.Timeouts.Poll; ; wait = c.later(wait) {
		list, err := c.volumes(selector(t.Machine))
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(v *hcloud.Volume) bool {
			is, ok := readTag(v.Labels, c.at.Location)
			return !ok || is != t || !which(v)
		})
		if len(list) == 0 {
			return nil
		}
		for _, v := range list {
			if v.Server != nil {
				s, _, err := c.client.Server.GetByID(c.ctx, v.Server.ID)
				if err := c.read(err); err != nil {
					return err
				}
				if s != nil { // of somebody else's by now, or our own that lands late
					return refusef(hypervisor.ErrRefused, "volume %d is attached to server %d", v.ID, s.ID)
				}
				continue
			}
			err := c.patiently(func() error {
				_, err := c.client.Volume.Delete(c.ctx, v)
				return err
			})
			if _, open := verdict(err); err != nil && !open && !said(err, hcloud.ErrorCodeNotFound) {
				return err
			}
		}
		if err := pause(c.ctx, min(wait, c.config.Timeouts.Poll)); err != nil {
			return err
		}
	}
}
