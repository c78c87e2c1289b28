package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Resize implements hypervisor.Resizer. Where there are copies the oldest is resized. GPUs cannot be added or
// taken away.
func (d *Driver) Resize(ctx context.Context, o hypervisor.Order) error {
	if err := d.offered(hypervisor.CanResize, OpResize, o.Ref); err != nil {
		return err
	}
	o.Spec, o.Allocation.Claims = o.Spec.Clone(), slices.Clone(o.Allocation.Claims)
	err := d.check(&o)
	var wanted pool.Resources
	if err == nil {
		wanted, err = demand(&o)
	}
	if err != nil {
		return wrongf(OpResize, o.Ref, hypervisor.ErrInvalid, err)
	}
	return d.act(ctx, OpResize, o.Ref, 0, false, func(h *host, m *machine) error { return d.resize(h, m, &o, wanted) })
}

func (d *Driver) resize(h *host, m *machine, o *hypervisor.Order, wanted pool.Resources) error {
	refused := func(err error) error { return wrongf(OpResize, o.Ref, hypervisor.ErrRefused, err) }
	if err := m.outdated(o); err != nil {
		return refused(err)
	}
	if err := grow(m, o.Spec.Disks); err != nil {
		return wrongf(OpResize, o.Ref, hypervisor.ErrInvalid, err)
	}
	if len(o.Spec.Disks) != len(m.Disks) || wanted[pool.GPU] != m.Demand[pool.GPU] {
		return wrong(OpResize, o.Ref, hypervisor.ErrInvalid, "a resize adds no disks and no GPUs and takes none away")
	}
	next := m.rated(time.Now())
	next.Revision = o.Revision
	next.Disks, next.Stores = sizes(o.Spec.Disks)
	if !wanted.Equal(m.Demand) || !slices.Equal(next.Disks, m.Disks) {
		if m.Power == pool.Hibernated || m.Power != pool.Stopped && !d.offers(o.Host, hypervisor.CanResizeHot) {
			return wrong(OpResize, o.Ref, hypervisor.ErrWrongPower, "it is not stopped")
		}
		if err := h.sells(o.Allocation.Shape); err != nil {
			return refused(err)
		}
		claims, err := m.regrown(o.Spec.Disks, o.Allocation.Claims)
		if err != nil {
			return refused(err)
		}
		u := h.usageOf(m)
		u.add(m, -1) // what it has itself is free for it
		next.Claims, err = h.room(wanted, o.Spec.Disks, claims, d.config.Overfill)
		u.add(m, 1)
		if err != nil {
			return refused(err)
		}
		next.Demand = wanted
		next = next.noted("resized")
	}
	if err := d.put(h, next); err != nil {
		return refused(err)
	}
	d.touch(m, OpResize)
	d.count(o.Machine).Resizes++
	d.full(h, o.Ref)
	return nil
}

// outdated returns an error when a later order has been carried out.
func (m *machine) outdated(o *hypervisor.Order) error {
	if o.Revision < m.Revision {
		return fmt.Errorf("the order is of revision %d, and one of revision %d has been carried out", o.Revision, m.Revision)
	}
	return nil
}

// grow returns an error when the machine's disks are not among those of an order, each as large or larger.
func grow(m *machine, disks []pool.Disk) error {
	for i, is := range m.disks() {
		field := fmt.Sprintf("spec.disks[%d]", i)
		switch {
		case i >= len(disks):
			return &pool.Error{Kind: pool.ErrInvalid, Field: field, Want: "a disk, as the machine has one"}
		case disks[i].Storage.Class() != is.Storage.Class():
			return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: string(disks[i].Storage), Want: string(is.Storage.Class())}
		case disks[i].Size < is.Size:
			return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: pool.StorageStandard.Format(disks[i].Size),
				Want: pool.StorageStandard.Format(is.Size) + " or more: disks do not shrink"}
		}
	}
	return nil
}

// regrown returns the machine's claims for disks of other sizes; they stay on their devices, and an order
// that has them elsewhere is an error.
func (m *machine) regrown(disks []pool.Disk, asked []pool.Claim) ([]pool.Claim, error) {
	storage := func(c pool.Claim) bool { return strings.HasPrefix(string(c.Class), "storage.") }
	for _, c := range asked {
		if storage(c) && !slices.ContainsFunc(m.Claims, func(is pool.Claim) bool {
			return storage(is) && is.Disk == c.Disk && is.Device == c.Device
		}) {
			return nil, errors.New("disk " + fmt.Sprint(c.Disk) + " is not on " + pool.Quote(c.Device))
		}
	}
	out := slices.Clone(m.Claims)
	for i := range out {
		if storage(out[i]) && out[i].Disk >= 0 && out[i].Disk < len(disks) {
			out[i].Amount = disks[out[i].Disk].Size
		}
	}
	return out, nil
}
