package hetzner

import (
	"context"
	"strconv"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// What a snapshot of ours is. It becomes shelfKept in one request, and from that moment on the disk is put aside.
const (
	shelfTaking = "taking" // of an attempt to put aside, which is under way or broken
	shelfKept   = "kept"   // is what is put aside
)

// Shelve implements hypervisor.Shelver: a snapshot is taken, and when it is complete the server is deleted. Snapshots
// belong to the project and cost money by their size. They hold the root disk only, so that a machine with volumes
// is ErrRefused.
func (d *Driver) Shelve(ctx context.Context, r hypervisor.Ref) error {
	return d.with(ctx, "shelve", r, func(c *call) error {
		s, err := c.find(r)
		if err != nil {
			return err
		}
		kept, err := c.shelf(r.Tag, shelfKept)
		switch {
		case err != nil:
			return err
		case s == nil && len(kept) > 0:
			return nil
		case s == nil:
			return refuse(hypervisor.ErrNotFound, nil)
		case len(kept) > 0 && kept[0].Labels[labelServer] != strconv.FormatInt(s.ID, 10):
			// A create that has landed late has made it. What is put aside must not be lost to it.
			return refusef(hypervisor.ErrExists, "another one of that id is put aside")
		case len(kept) == 0:
			if err := c.putAside(r, s); err != nil {
				return err
			}
		}
		if err := c.remove(s); err != nil {
			return err
		}
		return c.removeShelf(r.Tag, shelfTaking)
	})
}

// putAside takes the snapshot.
func (c *call) putAside(r hypervisor.Ref, s *hcloud.Server) error {
	if !off(s) {
		return refuse(hypervisor.ErrWrongPower, nil)
	}
	if len(s.Volumes) > 0 {
		return refusef(hypervisor.ErrRefused, "a machine with volumes cannot be put aside: nothing copies volumes")
	}
	if err := c.removeShelf(r.Tag, shelfTaking); err != nil {
		return err
	}
	var made hcloud.ServerCreateImageResult
	err := c.patiently(func() (err error) {
		made, _, err = c.client.Server.CreateImage(c.ctx, s, &hcloud.ServerCreateImageOpts{
			Type: hcloud.ImageTypeSnapshot, Description: hcloud.Ptr(s.Name),
			Labels: with(tagLabels(r.Tag, c.at.Location), labelShelf, shelfTaking,
				labelServer, strconv.FormatInt(s.ID, 10), labelRoot, s.Labels[labelRoot]),
		})
		return err
	})
	if err == nil {
		err = c.follow(made.Action)
	}
	image := made.Image
	for wait := c.config.Timeouts.Poll; err == nil && image.Status != hcloud.ImageStatusAvailable; wait = c.later(wait) {
		if err = pause(c.ctx, wait); err == nil {
			if image, _, err = c.client.Image.GetByID(c.ctx, made.Image.ID); err == nil && image == nil {
				err = refusef(hypervisor.ErrRefused, "the service has given the snapshot up")
			}
			err = c.read(err)
		}
	}
	if err == nil {
		// A snapshot of a guest that ran meanwhile is not of the disk as it is.
		var now *hcloud.Server
		if now, err = c.again(s); err == nil && (now == nil || !off(now)) {
			err = refusef(hypervisor.ErrWrongPower, "it was started while it was put aside")
		}
	}
	if err != nil {
		return c.unshelved(r, err)
	}
	return c.patiently(func() error {
		_, _, err := c.client.Image.Update(c.ctx, image, hcloud.ImageUpdateOpts{Labels: with(image.Labels, labelShelf, shelfKept)})
		return err
	})
}

// unshelved removes the snapshot of an attempt that has failed.
func (c *call) unshelved(r hypervisor.Ref, failed error) error {
	if c.ctx.Err() != nil {
		return failed
	}
	if _, open := verdict(failed); open {
		return failed // a snapshot may come yet; the next attempt, or Destroy, removes it
	}
	if err := c.removeShelf(r.Tag, shelfTaking); err != nil {
		return remains(failed, err)
	}
	c.changed = false
	return failed
}

// Unshelve implements hypervisor.Shelver: a server is made of the snapshot, in whichever location of the project. It
// is a new server to its guest, whose first boot sets up again what the order asks for.
func (d *Driver) Unshelve(ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
	return d.with(ctx, "unshelve", o.Ref, func(c *call) error {
		if err := validTag(from.Tag); err != nil {
			return bad(pool.InField("from", err))
		}
		p, err := c.plan(o)
		if err != nil {
			return err
		}
		there := &call{Driver: d, ctx: ctx, at: &LocationConfig{Location: from.Host.Native()}}
		kept, err := there.shelf(from.Tag, shelfKept)
		if err != nil {
			return err
		}
		if len(kept) == 0 {
			return refusef(hypervisor.ErrRefused, "nothing of it is put aside")
		}
		if root, ok := readInt(kept[0].Labels, labelRoot); ok && (p.root < root || len(o.Spec.Disks) == 0) {
			return bad(invalid("spec.disks[0].size", pool.FormatBytes(p.root), pool.FormatBytes(root)+" or more: disks do not shrink"))
		}
		p.image = strconv.FormatInt(kept[0].ID, 10)
		return c.make(p)
	})
}

// Discard implements hypervisor.Shelver.
func (d *Driver) Discard(ctx context.Context, r hypervisor.Ref) error {
	const op = "discard"
	if err := validTag(r.Tag); err != nil {
		return wrap(op, r, false, bad(err))
	}
	turn, err := d.turns.Take(ctx, string(r.Host)+" "+string(r.Machine))
	if err != nil {
		return wrap(op, r, false, err)
	}
	defer turn()
	c := &call{Driver: d, ctx: ctx, at: &LocationConfig{Location: r.Host.Native()}} // which need not be there any more
	err = c.removeShelf(r.Tag, shelfKept)
	return wrap(op, r, c.changed, err)
}

// shelf lists the snapshots of the tag that are in that state.
func (c *call) shelf(t hypervisor.Tag, state string) ([]*hcloud.Image, error) {
	list, err := c.snapshots(selector(t.Machine))
	if err != nil {
		return nil, err
	}
	var out []*hcloud.Image
	for _, i := range list {
		if is, ok := readTag(i.Labels, c.at.Location); ok && is == t && i.Labels[labelShelf] == state {
			out = append(out, i)
		}
	}
	return out, nil
}

// removeShelf deletes the snapshots of the tag that are in that state, and looks until they are gone.
func (c *call) removeShelf(t hypervisor.Tag, state string) error {
	for wait := c.config.Timeouts.Poll; ; wait = c.later(wait) {
		list, err := c.shelf(t, state)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, i := range list {
			err := c.patiently(func() error {
				_, err := c.client.Image.Delete(c.ctx, i)
				return err
			})
			if _, open := verdict(err); err != nil && !open && !said(err, hcloud.ErrorCodeNotFound) {
				return err
			}
		}
		if err := pause(c.ctx, wait); err != nil {
			return err
		}
	}
}
