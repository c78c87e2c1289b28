package hetzner

import (
	"context"
	"errors"
	"strconv"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Resize implements hypervisor.Resizer, for stopped machines: the server's type is changed, which is what most likely
// fails, and then volumes grow. Where a volume cannot, the type is changed back. The service may start a server
// whose type it has changed; it is stopped again.
func (d *Driver) Resize(ctx context.Context, o hypervisor.Order) error {
	return d.on(ctx, "resize", o.Ref, func(c *call, s *hcloud.Server) error {
		p, err := c.plan(o)
		if err != nil {
			return err
		}
		return c.resize(p, s)
	})
}

func (c *call) resize(p *plan, s *hcloud.Server) error {
	if err := outdated(p, s); err != nil {
		return err
	}
	root, _ := readInt(s.Labels, labelRoot)
	if p.root < root {
		return bad(invalid("spec.disks[0].size", pool.FormatBytes(p.root), pool.FormatBytes(root)+" or more: disks do not shrink"))
	}
	volumes, grow, err := c.growth(p)
	if err != nil {
		return err
	}
	if s.ServerType == nil {
		return refusef(hypervisor.ErrUnavailable, "the server's type is not told")
	}
	upgrade := p.root > int64(s.PrimaryDiskSize)*diskGB
	changeType := s.ServerType.Name != p.order.Allocation.Shape || upgrade
	if changeType {
		if err := c.allowed(p, s, upgrade); err != nil {
			return err
		}
	}
	if (changeType || grow) && !off(s) {
		return refuse(hypervisor.ErrWrongPower, nil)
	}
	if s, err = c.ordered(p, s); err != nil {
		return err
	}
	if changeType {
		if err := c.changeType(s, p.order.Allocation.Shape, upgrade); err != nil {
			return err
		}
	}
	if grow {
		if err := c.grow(volumes, p.extra); err != nil {
			if changeType && !upgrade && c.ctx.Err() == nil {
				if e := c.changeType(s, s.ServerType.Name, false); e != nil {
					return remains(err, e)
				}
			}
			return err
		}
	}
	if p.root != root {
		_, err = c.relabel(s, labelRoot, strconv.FormatInt(p.root, 10))
	}
	return err
}

// outdated refuses an order that is earlier than the last one that was carried out.
func outdated(p *plan, s *hcloud.Server) error {
	if last, ok := readInt(s.Labels, labelRevision); ok && int64(p.order.Revision) < last {
		return refusef(hypervisor.ErrRefused, "the order is of revision %d, and one of revision %d has been carried out", p.order.Revision, last)
	}
	return nil
}

// ordered writes the order's revision, before anything is changed: from then on no earlier order is carried out, be it
// even that this one fails.
func (c *call) ordered(p *plan, s *hcloud.Server) (*hcloud.Server, error) {
	if last, ok := readInt(s.Labels, labelRevision); ok && last == int64(p.order.Revision) {
		return s, nil
	}
	return c.relabel(s, labelRevision, strconv.FormatInt(int64(p.order.Revision), 10))
}

// allowed refuses a change of type that would grow the root disk for good where the configuration does not say so.
func (c *call) allowed(p *plan, s *hcloud.Server, upgrade bool) error {
	o, err := c.offered()
	if err != nil {
		return err
	}
	t := o.types[p.order.Allocation.Shape]
	switch {
	case t == nil:
		return refusef(hypervisor.ErrRefused, "there is no server type %s", pool.Quote(p.order.Allocation.Shape))
	case t.Architecture != s.ServerType.Architecture:
		return refusef(hypervisor.ErrRefused, "server type %s is of another architecture", t.Name)
	case int64(t.Disk)*diskGB < p.root:
		return bad(invalid("spec.disks[0].size", pool.FormatBytes(p.root), "at most the "+strconv.Itoa(t.Disk)+" GB of server type "+t.Name))
	case t.Disk < s.PrimaryDiskSize:
		return refusef(hypervisor.ErrRefused, "the machine's disk of %d GB is larger than that of server type %s", s.PrimaryDiskSize, t.Name)
	case upgrade && !c.config.GrowDisks:
		return refusef(hypervisor.ErrRefused, "the root disk would grow for good, which the configuration does not allow (GrowDisks)")
	}
	return nil
}

// growth returns the machine's volumes, and whether any is to grow.
func (c *call) growth(p *plan) (volumes []*hcloud.Volume, grow bool, err error) {
	volumes, _, err = c.disks(p.order.Tag)
	if err != nil {
		return nil, false, err
	}
	if len(volumes) != len(p.extra) || len(p.order.Spec.Disks) == 0 {
		return nil, false, bad(invalid("spec.disks", strconv.Itoa(len(p.order.Spec.Disks)), "the "+strconv.Itoa(len(volumes)+1)+" disks that the machine has"))
	}
	for i, v := range volumes {
		if p.extra[i] < v.Size {
			return nil, false, bad(invalid("spec.disks["+strconv.Itoa(i+1)+"].size", pool.FormatBytes(p.order.Spec.Disks[i+1].Size), strconv.Itoa(v.Size)+" GiB or more: disks do not shrink"))
		}
		grow = grow || p.extra[i] > v.Size
	}
	return volumes, grow, nil
}

// grow makes volumes as large as ordered.
func (c *call) grow(volumes []*hcloud.Volume, sizes []int) error {
	for i, v := range volumes {
		if v.Size == sizes[i] {
			continue
		}
		var action *hcloud.Action
		err := c.patiently(func() (err error) {
			action, _, err = c.client.Volume.Resize(c.ctx, v, sizes[i])
			return err
		})
		if err == nil {
			err = c.follow(action)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// relabel writes one label of a server, leaving the others as they are.
func (c *call) relabel(s *hcloud.Server, key, value string) (*hcloud.Server, error) {
	labels, before := with(s.Labels, key, value), c.changed
	var next *hcloud.Server
	err := c.patiently(func() (err error) {
		next, _, err = c.client.Server.Update(c.ctx, s, hcloud.ServerUpdateOpts{Labels: labels})
		return err
	})
	if err == nil {
		c.changed = before // a label is nothing that the machine has
	}
	return next, err
}

// changeType changes the type of a stopped server and leaves it stopped.
func (c *call) changeType(s *hcloud.Server, name string, upgrade bool) error {
	var action *hcloud.Action
	err := c.patiently(func() (err error) {
		action, _, err = c.client.Server.ChangeType(c.ctx, s, hcloud.ServerChangeTypeOpts{ServerType: &hcloud.ServerType{Name: name}, UpgradeDisk: upgrade})
		return err
	})
	if err == nil {
		err = c.follow(action)
	}
	if err != nil {
		if _, open := verdict(err); c.ctx.Err() != nil || !open && !c.changed {
			return err
		}
		// What an action that failed has left, or a request that was not answered, is told by the server alone.
		now, e := c.until(s, func(now *hcloud.Server) bool { return !now.Locked })
		switch {
		case e != nil || now == nil || now.ServerType == nil:
			return err
		case now.ServerType.Name == s.ServerType.Name && off(now) && now.PrimaryDiskSize == s.PrimaryDiskSize:
			var ended *actionError
			if errors.As(err, &ended) {
				c.changed = false // all is as before
			}
			return err
		case now.ServerType.Name != name:
			return err
		}
	}
	now, err := c.until(s, func(now *hcloud.Server) bool {
		return !now.Locked && (off(now) || runs(now)) && now.ServerType != nil && now.ServerType.Name == name
	})
	switch {
	case err != nil:
		return err
	case now == nil:
		return refuse(hypervisor.ErrNotFound, nil)
	case off(now):
		return nil
	}
	obeyed, err := c.shutdown(s)
	if err != nil || obeyed {
		return err
	}
	return c.power(s, c.client.Server.Poweroff, off)
}
