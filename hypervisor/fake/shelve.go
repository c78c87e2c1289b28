package fake

import (
	"context"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// What is put aside is kept by the driver, as if in a store that all hosts reach: Unshelve works on every
// host, and Discard also when the machine's host is down or gone.

// Shelve implements hypervisor.Shelver. Where there are copies the oldest is put aside, and all go.
func (d *Driver) Shelve(ctx context.Context, r hypervisor.Ref) error {
	if err := d.offered(hypervisor.CanShelve, OpShelve, r); err != nil {
		return err
	}
	if r.Machine == "" {
		return wrong(OpShelve, r, hypervisor.ErrInvalid, "no machine is named")
	}
	return d.do(ctx, &request{op: OpShelve, ref: r, effect: func(h *host) error { return d.shelve(h, r) }})
}

func (d *Driver) shelve(h *host, r hypervisor.Ref) error {
	found, err := d.find(h, OpShelve, r)
	switch {
	case err != nil:
		return err
	case len(found) == 0 && d.shelf[r.Tag] != nil:
		return nil
	case len(found) == 0:
		return wrong(OpShelve, r, hypervisor.ErrNotFound, "no such machine")
	case d.shelf[r.Tag] != nil:
		// A create that has landed late has made it. What is put aside must not be lost to it.
		return wrong(OpShelve, r, hypervisor.ErrExists, "another one of that id is put aside")
	}
	var gone []entry
	for _, m := range found {
		if err := m.able(OpShelve); err != nil {
			return err
		}
		if m.Power != pool.Stopped {
			return wrong(OpShelve, r, hypervisor.ErrWrongPower, "it is not stopped")
		}
		gone = append(gone, entry{Gone: &goneEntry{m.Host, m.Native}})
	}
	aside := *found[0].noted("put aside")
	aside.Snapshots = nil // they were beside the machine
	gone[0].Shelved = &aside
	if err := d.save(gone...); err != nil {
		return wrongf(OpShelve, r, hypervisor.ErrRefused, err)
	}
	for _, m := range found {
		d.drop(h, m)
		d.touch(m, OpShelve)
	}
	d.shelf[r.Tag] = &aside
	d.count(r.Machine).Shelves++
	return nil
}

// Unshelve implements hypervisor.Shelver. The order needs no source of an image.
func (d *Driver) Unshelve(ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
	if err := d.offered(hypervisor.CanShelve, OpUnshelve, o.Ref); err != nil {
		return err
	}
	return d.make(ctx, &making{Order: o, op: OpUnshelve, from: &from.Tag})
}

// Discard implements hypervisor.Shelver.
func (d *Driver) Discard(ctx context.Context, r hypervisor.Ref) error {
	if err := d.offered(hypervisor.CanShelve, OpDiscard, r); err != nil {
		return err
	}
	if r.Machine == "" {
		return wrong(OpDiscard, r, hypervisor.ErrInvalid, "no machine is named")
	}
	return d.do(ctx, &request{op: OpDiscard, ref: r, shared: true, effect: func(*host) error {
		if d.shelf[r.Tag] == nil {
			return nil
		}
		if err := d.save(entry{Discarded: &r.Tag}); err != nil {
			return wrongf(OpDiscard, r, hypervisor.ErrRefused, err)
		}
		delete(d.shelf, r.Tag)
		d.count(r.Machine).Discards++
		return nil
	}})
}
