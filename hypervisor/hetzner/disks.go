package hetzner

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// SetDisks implements hypervisor.DiskAttacher: volumes are made and attached, or detached and deleted. All that are to
// go are detached before the first is deleted, so that until then they can be attached again.
func (d *Driver) SetDisks(ctx context.Context, o hypervisor.Order) error {
	return d.on(ctx, "set disks", o.Ref, func(c *call, s *hcloud.Server) error {
		p, err := c.plan(o)
		if err != nil {
			return err
		}
		return c.setDisks(p, s)
	})
}

func (c *call) setDisks(p *plan, s *hcloud.Server) error {
	if err := outdated(p, s); err != nil {
		return err
	}
	root, _ := readInt(s.Labels, labelRoot)
	switch {
	case len(p.order.Spec.Disks) == 0 || p.root != root:
		return bad(invalid("spec.disks[0].size", pool.FormatBytes(p.root), "the root disk as it is, of "+pool.FormatBytes(root)))
	case s.ServerType == nil || s.ServerType.Name != p.order.Allocation.Shape:
		return bad(invalid("allocation.shape", p.order.Allocation.Shape, "the server type that the machine has"))
	case c.at.VolumeSpace == 0:
		return refusef(errors.ErrUnsupported, "the location has no VolumeSpace")
	}
	has, loose, err := c.disks(p.order.Tag)
	if err != nil {
		return err
	}
	for i, v := range has[:min(len(has), len(p.extra))] {
		if v.Size != p.extra[i] {
			return bad(invalid("spec.disks["+strconv.Itoa(i+1)+"].size", pool.FormatBytes(p.order.Spec.Disks[i+1].Size), "the disk as it is, of "+strconv.Itoa(v.Size)+" GiB"))
		}
	}
	if s, err = c.ordered(p, s); err != nil {
		return err
	}
	if len(has) < len(p.extra) {
		if err := c.attach(p, s, len(has)); err != nil {
			return err
		}
	} else if gone := has[len(p.extra):]; len(gone) > 0 {
		if err := c.detach(s, gone); err != nil {
			return err
		}
		loose = append(loose, gone...)
	}
	// With what earlier attempts have left that broke.
	return c.removeVolumes(p.order.Tag, func(v *hcloud.Volume) bool {
		return slices.ContainsFunc(loose, func(l *hcloud.Volume) bool { return l.ID == v.ID })
	})
}

// disks returns the machine's volumes in the order of its disks, and those of its tag that are attached to nothing.
func (c *call) disks(t hypervisor.Tag) (has, loose []*hcloud.Volume, err error) {
	list, err := c.volumes(selector(t.Machine))
	if err != nil {
		return nil, nil, err
	}
	for _, v := range list {
		is, ok := readTag(v.Labels, c.at.Location)
		switch {
		case !ok || is != t:
		case v.Server != nil:
			has = append(has, v)
		default:
			loose = append(loose, v)
		}
	}
	disk := func(v *hcloud.Volume) int64 { n, _ := readInt(v.Labels, labelDisk); return n }
	slices.SortFunc(has, func(a, b *hcloud.Volume) int { return int(disk(a) - disk(b)) })
	return has, loose, nil
}

// attach makes the volumes behind the first n of the plan, all or none.
func (c *call) attach(p *plan, s *hcloud.Server, n int) error {
	attempt, before := word(), c.changed
	for i := n; i < len(p.extra); i++ {
		_, err := c.makeVolume(p.order.Tag, i+1, p.extra[i], attempt, s)
		if err == nil {
			continue
		}
		if c.ctx.Err() != nil {
			return err
		}
		_, open := verdict(err)
		if e := c.takeBack(p.order.Tag, s, attempt); e != nil {
			return remains(err, e)
		}
		if !open {
			c.changed = before
		}
		return err
	}
	return nil
}

// takeBack removes the volumes of an attempt.
func (c *call) takeBack(t hypervisor.Tag, s *hcloud.Server, attempt string) error {
	mine := func(v *hcloud.Volume) bool { return v.Labels[labelAttempt] == attempt }
	has, _, err := c.disks(t)
	if err != nil {
		return err
	}
	if err := c.detach(s, slices.DeleteFunc(has, func(v *hcloud.Volume) bool { return !mine(v) })); err != nil {
		return err
	}
	return c.removeVolumes(t, mine)
}

// detach takes volumes off a server, all or none.
func (c *call) detach(s *hcloud.Server, volumes []*hcloud.Volume) error {
	before := c.changed
	for i, v := range volumes {
		c.changed = false
		err := c.move(v, nil)
		if err == nil {
			continue
		}
		var ended *actionError
		if c.changed && !errors.As(err, &ended) {
			return err // it may be so, or become so
		}
		for _, back := range volumes[:i] {
			if e := c.move(back, s); e != nil {
				return remains(err, e)
			}
		}
		c.changed = before
		return err
	}
	c.changed = before || len(volumes) > 0
	return nil
}

// move attaches a volume to a server, or to none, and looks until it is so.
func (c *call) move(v *hcloud.Volume, s *hcloud.Server) error {
	var action *hcloud.Action
	err := c.patiently(func() (err error) {
		if s == nil {
			action, _, err = c.client.Volume.Detach(c.ctx, v)
		} else {
			action, _, err = c.client.Volume.AttachWithOpts(c.ctx, v, hcloud.VolumeAttachOpts{Server: s, Automount: hcloud.Ptr(false)})
		}
		return err
	})
	if err == nil {
		err = c.follow(action)
	}
	at := func(v *hcloud.Volume) bool {
		return s == nil && v.Server == nil || s != nil && v.Server != nil && v.Server.ID == s.ID
	}
	if err != nil {
		if c.ctx.Err() != nil {
			return err
		}
		// It may be so all the same: the request was carried out, or had been before.
		now, _, e := c.client.Volume.GetByID(c.ctx, v.ID)
		if e != nil || now == nil || !at(now) {
			return err
		}
		return nil
	}
	_, err = c.volumeUntil(v, at)
	return err
}

// volumeUntil looks at a volume until it is as it should be.
func (c *call) volumeUntil(v *hcloud.Volume, good func(*hcloud.Volume) bool) (*hcloud.Volume, error) {
	for wait := c.config.Timeouts.Poll; ; wait = c.later(wait) {
		now, _, err := c.client.Volume.GetByID(c.ctx, v.ID)
		switch err := c.read(err); {
		case err != nil:
			return nil, err
		case now == nil:
			return nil, refusef(hypervisor.ErrRefused, "the service has given the volume up")
		case good(now):
			return now, nil
		}
		if err := pause(c.ctx, wait); err != nil {
			return nil, err
		}
	}
}

// makeVolume makes the volume of the i-th disk, attached to a server or, where that is nil, to none yet.
func (c *call) makeVolume(t hypervisor.Tag, i, gib int, attempt string, s *hcloud.Server) (*hcloud.Volume, error) {
	options := hcloud.VolumeCreateOpts{
		Name: volumeName(serverName(t.Machine, c.at.Location), i, attempt), Size: gib,
		Labels: with(tagLabels(t, c.at.Location), labelAttempt, attempt, labelDisk, strconv.Itoa(i)),
	}
	if s == nil {
		options.Location = &hcloud.Location{Name: c.at.Location}
	} else {
		options.Server, options.Automount = s, hcloud.Ptr(false)
	}
	v, actions, err := surely(c, func() (*hcloud.Volume, []*hcloud.Action, error) {
		r, _, err := c.client.Volume.Create(c.ctx, options)
		if err != nil || r.Action == nil {
			return r.Volume, nil, err
		}
		return r.Volume, append([]*hcloud.Action{r.Action}, r.NextActions...), nil
	}, func() (*hcloud.Volume, error) {
		v, _, err := c.client.Volume.GetByName(c.ctx, options.Name)
		return v, c.read(err)
	})
	if err == nil {
		err = c.follow(actions...)
	}
	if err != nil {
		return nil, err
	}
	return c.volumeUntil(v, func(v *hcloud.Volume) bool {
		return v.Status == hcloud.VolumeStatusAvailable && (s == nil || v.Server != nil && v.Server.ID == s.ID)
	})
}
