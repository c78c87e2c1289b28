package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Resize implements hypervisor.Resizer by Nova's resize, which is confirmed at once: from then on there is no way back. Of
// the disks only the first can grow.
func (d *Driver) Resize(ctx context.Context, o hypervisor.Order) error {
	if err := d.unsupported(hypervisor.CanResize, "resize", o.Ref); err != nil {
		return err
	}
	s := d.session(ctx)
	return wrap("resize", o.Ref, s.call, s.resize(&o))
}

func (s *session) resize(o *hypervisor.Order) error {
	v, err := s.one(o.Ref)
	if err != nil {
		return err
	}
	if o.Revision < v.revision() {
		return refuse(hypervisor.ErrRefused, errEarlier)
	}
	if err := o.Spec.Valid(); err != nil {
		return refuse(hypervisor.ErrInvalid, pool.InField("spec", err))
	}
	was := v.disks()
	if err := grown(was, o.Spec.Disks); err != nil {
		return refuse(hypervisor.ErrInvalid, err)
	}
	for i := range was {
		if i > 0 && o.Spec.Disks[i].Size != was[i] {
			return refuse(hypervisor.ErrRefused, errors.New("only the root disk can grow"))
		}
	}
	f, err := s.sized(o)
	if err != nil {
		return err
	}
	asked := false // to be confirmed
	err = s.bring(v.ID, func(v *server) step {
		is := v != nil && f.is(v)
		switch {
		case v == nil:
			return refused(hypervisor.ErrNotFound, nil)
		case v.Status == resized && asked:
			return step{wait: true}
		case v.Status == resized && is:
			return once(s.action(v, "confirmResize", nil), &asked)
		case v.Status == resized: // to something else
			return once(s.action(v, "revertResize", nil), &asked)
		case is && (v.Status == shutoff || v.power() != pool.Stopped && v.Status != failed):
			return done()
		case v.Status == shutoff:
			asked = false
			return s.action(v, "resize", map[string]string{"flavorRef": f.ID})
		}
		return s.broken(v)
	})
	if err != nil {
		return err
	}
	return s.record(v.ID, ordered(o))
}

// once is a step that is remembered when it was taken.
func once(do step, asked *bool) step {
	return step{act: func() error {
		err := do.act()
		*asked = *asked || err == nil
		return err
	}}
}

// errEarlier: a later order has been carried out.
var errEarlier = errors.New("a later order has been carried out")

// is reports whether a server has the flavor's sizes.
func (f *flavor) is(v *server) bool {
	w := &v.Flavor
	return w.Name == f.Name && w.VCPUs == f.VCPUs && w.RAM == f.RAM && w.Disk == f.Disk && w.Ephemeral == f.Ephemeral
}

// grown reports, as an error, disks that are not the same number as before, each at least as large.
func grown(was []int64, disks []pool.Disk) error {
	if len(was) != len(disks) {
		return invalid("spec.disks", strconv.Itoa(len(disks)), strconv.Itoa(len(was))+" disks")
	}
	for i, disk := range disks {
		if disk.Size < was[i] {
			return invalid("spec.disks["+strconv.Itoa(i)+"].size", strconv.FormatInt(disk.Size, 10), "at least "+strconv.FormatInt(was[i], 10))
		}
	}
	return nil
}

// record writes with a server what was ordered of it last.
func (s *session) record(id string, what map[string]string) error {
	err := s.twice(func() error {
		return s.post(nova, "servers/"+url.PathEscape(id)+"/metadata", map[string]any{"metadata": what}, nil)
	})
	if err != nil {
		return refuse(hypervisor.ErrUnknown, fmt.Errorf("it was done, and could not be noted with the server: %w", err))
	}
	return nil
}
