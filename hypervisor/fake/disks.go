package fake

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// SetDisks implements hypervisor.DiskAttacher. Where there are copies the oldest is changed.
func (d *Driver) SetDisks(ctx context.Context, o hypervisor.Order) error {
	if err := d.offered(hypervisor.CanAttachDisk, OpSetDisks, o.Ref); err != nil {
		return err
	}
	o.Spec, o.Allocation.Claims = o.Spec.Clone(), slices.Clone(o.Allocation.Claims)
	err := d.check(&o)
	var wanted pool.Resources
	if err == nil {
		wanted, err = demand(&o)
	}
	if err == nil && len(o.Spec.Disks) == 0 {
		err = &pool.Error{Kind: pool.ErrInvalid, Field: "spec.disks", Want: "at least the root disk"}
	}
	if err != nil {
		return wrongf(OpSetDisks, o.Ref, hypervisor.ErrInvalid, err)
	}
	return d.act(ctx, OpSetDisks, o.Ref, 0, false, func(h *host, m *machine) error { return d.setDisks(h, m, &o, wanted) })
}

func (d *Driver) setDisks(h *host, m *machine, o *hypervisor.Order, wanted pool.Resources) error {
	refused := func(err error) error { return wrongf(OpSetDisks, o.Ref, hypervisor.ErrRefused, err) }
	if err := m.outdated(o); err != nil {
		return refused(err)
	}
	if err := m.sameButDisks(o.Spec.Disks, wanted); err != nil {
		return wrongf(OpSetDisks, o.Ref, hypervisor.ErrInvalid, err)
	}
	next := *m
	next.Revision = o.Revision
	if len(o.Spec.Disks) != len(m.Disks) {
		if m.Power == pool.Hibernated {
			return wrong(OpSetDisks, o.Ref, hypervisor.ErrWrongPower, "it is hibernated")
		}
		if err := h.sells(o.Allocation.Shape); err != nil {
			return refused(err)
		}
		claims, err := m.reclaimed(o.Spec.Disks, o.Allocation.Claims)
		if err != nil {
			return refused(err)
		}
		u := h.usageOf(m)
		u.add(m, -1)
		next.Claims, err = h.room(wanted, o.Spec.Disks, claims, d.config.Overfill)
		u.add(m, 1)
		if err != nil {
			return refused(err)
		}
		next.Demand = wanted
		next.Disks, next.Stores = sizes(o.Spec.Disks)
		next = *next.noted(fmt.Sprintf("%d disks", len(next.Disks)))
	}
	if err := d.put(h, &next); err != nil {
		return refused(err)
	}
	d.touch(m, OpSetDisks)
	d.count(o.Machine).DiskSets++
	d.full(h, o.Ref)
	return nil
}

// sameButDisks returns an error where more than the number of disks is to change.
func (m *machine) sameButDisks(disks []pool.Disk, wanted pool.Resources) error {
	for i, is := range m.disks() {
		if i < len(disks) && (disks[i].Size != is.Size || disks[i].Storage.Class() != is.Storage.Class()) {
			return &pool.Error{Kind: pool.ErrInvalid, Field: fmt.Sprintf("spec.disks[%d]", i), Value: pool.StorageStandard.Format(disks[i].Size),
				Want: "the disk that the machine has there, of " + pool.StorageStandard.Format(is.Size)}
		}
	}
	for _, c := range []pool.Class{pool.CPU, pool.Memory, pool.GPU} {
		if wanted[c] != m.Demand[c] {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "spec.resources", Value: string(c), Want: "what the machine has"}
		}
	}
	return nil
}

// reclaimed returns the claims for more or fewer disks: those that stay are where they are, and only new ones may be asked for
// elsewhere.
func (m *machine) reclaimed(disks []pool.Disk, asked []pool.Claim) ([]pool.Claim, error) {
	storage := func(c pool.Claim) bool { return strings.HasPrefix(string(c.Class), "storage.") }
	out := slices.DeleteFunc(slices.Clone(m.Claims), func(c pool.Claim) bool { return storage(c) && c.Disk >= len(disks) })
	for _, c := range asked {
		is := slices.ContainsFunc(m.Claims, func(is pool.Claim) bool { return storage(is) && is.Disk == c.Disk && is.Device == c.Device })
		switch {
		case !storage(c), c.Disk < len(m.Disks) && is:
		case c.Disk < len(m.Disks):
			return nil, fmt.Errorf("disk %d is not on %s", c.Disk, pool.Quote(c.Device))
		default:
			out = append(out, c)
		}
	}
	return out, nil
}
