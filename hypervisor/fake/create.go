package fake

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// making is an order on its way to a host.
type making struct {
	hypervisor.Order
	op     Op
	demand pool.Resources
	from   *hypervisor.Tag // whose shelved disks it gets; nil: a clone of the image
}

func (o *making) refused(why string) error { return wrong(o.op, o.Ref, hypervisor.ErrRefused, why) }

// Create implements hypervisor.Driver.
func (d *Driver) Create(ctx context.Context, o hypervisor.Order) error {
	return d.make(ctx, &making{Order: o, op: OpCreate})
}

// make sends an order that makes a machine.
func (d *Driver) make(ctx context.Context, o *making) error {
	o.Spec, o.Allocation.Claims = o.Spec.Clone(), slices.Clone(o.Allocation.Claims)
	err := d.check(&o.Order)
	if err == nil && o.from == nil && o.Source == "" {
		err = &pool.Error{Kind: pool.ErrInvalid, Field: "source", Want: "the image's source for driver " + d.config.Name}
	}
	if err == nil {
		o.demand, err = demand(&o.Order)
	}
	if err != nil {
		return wrongf(o.op, o.Ref, hypervisor.ErrInvalid, err)
	}
	return d.do(ctx, &request{
		op: o.op, ref: o.Ref, takes: d.config.Build,
		effect: func(h *host) error { return d.create(h, o, pool.Stopped) },
		spoil: func(h *host) error {
			if err := d.create(h, o, Debris); err != nil {
				return err
			}
			return wrong(o.op, o.Ref, nil, "creation broke off half-way")
		},
		breaks: func(h *host, why error) error { return d.breakDown(h, o, why) },
	})
}

// check reports, as an error, why no host of this driver will ever carry out the order.
func (d *Driver) check(o *hypervisor.Order) error {
	if o.Machine == "" || pool.ValidText(string(o.Machine), 255) != nil || o.Ledger == "" || pool.ValidText(o.Ledger, 255) != nil {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "tag", Want: "a ledger and a machine"}
	}
	if err := pool.ValidHostname(o.Name); err != nil {
		return err
	}
	return pool.InField("spec", o.Spec.Valid())
}

// demand is what the machine takes of its host.
func demand(o *hypervisor.Order) (pool.Resources, error) {
	if o.Allocation.Shape != "" {
		if err := o.Allocation.Resources.Valid(); err != nil {
			return nil, pool.InField("allocation", err)
		}
		return o.Allocation.Resources.Clone(), nil
	}
	return o.Spec.Demand()
}

// create makes the machine, or what is left of one whose creation breaks off.
func (d *Driver) create(h *host, o *making, p pool.Power) error {
	native := string(o.Machine)
	var debris *machine
	for _, m := range h.named(o.Machine) {
		switch {
		case m.Power == Debris && m.Tag == o.Tag:
			debris = m
		case !d.config.Copies:
			return wrong(o.op, o.Ref, hypervisor.ErrExists, "")
		}
	}
	data := content{Clone: d.number}
	if o.from != nil {
		aside := d.shelf[*o.from]
		if aside == nil {
			return o.refused("nothing is put aside of " + pool.Quote(string(o.from.Machine)))
		}
		if err := grow(aside, o.Spec.Disks); err != nil {
			return wrongf(o.op, o.Ref, hypervisor.ErrInvalid, err)
		}
		data = aside.Content
	} else if !d.has(o.Source) {
		return o.refused("no image " + pool.Quote(o.Source))
	}
	if k := kindOf(o.Spec); !h.runs(k) {
		return o.refused("the host runs no " + string(k))
	}
	if err := h.sells(o.Allocation.Shape); err != nil {
		return o.refused(err.Error())
	}
	if debris != nil {
		if err := d.remove(h, debris); err != nil {
			return o.refused(err.Error())
		}
	}
	claims, err := h.room(o.demand, o.Spec.Disks, o.Allocation.Claims, d.config.Overfill)
	if err != nil {
		return wrongf(o.op, o.Ref, hypervisor.ErrRefused, err)
	}
	m := &machine{
		Host: o.Host, Native: h.native(native), Name: o.Name, Tag: o.Tag,
		Addresses: []string{address(d.number)}, Number: d.number,
		Demand: o.demand, Claims: claims, Networks: max(1, len(o.Spec.Networks)),
		Revision: o.Revision, Content: data,
	}
	m.Disks, m.Stores = sizes(o.Spec.Disks)
	m = m.in(p, "created")
	if h.really.Accepts && p != Debris {
		m.Decided = m.Since.Add(h.really.After)
	} else if err := h.lacks(m); err != nil {
		return wrongf(o.op, o.Ref, hypervisor.ErrRefused, err)
	}
	if err := d.put(h, m); err != nil {
		return o.refused(err.Error())
	}
	if p != Debris {
		c := d.count(o.Machine)
		c.Creates++
		if o.from != nil {
			c.Unshelves++
		}
	}
	d.full(h, o.Ref)
	d.accepted(h, o)
	return nil
}

// breakDown lets the newest machine that the order has made show a fault.
func (d *Driver) breakDown(h *host, o *making, why error) error {
	found, err := d.find(h, o.op, o.Ref)
	if err != nil || len(found) == 0 {
		return nil // it has been destroyed in the meantime
	}
	if err := d.put(h, found[len(found)-1].givenUp(why)); err != nil {
		return wrongf(o.op, o.Ref, hypervisor.ErrUnknown, err)
	}
	return nil
}

// full notes, where nothing is refused for lack of room, of what the host has too little for a machine that
// has come or grown.
func (d *Driver) full(h *host, r hypervisor.Ref) {
	if !d.config.Overfill {
		return // or it could not be
	}
	for _, over := range h.over() {
		over.Machine, over.At = r, time.Now()
		d.overfills = append(d.overfills, over)
	}
}

// native is a native id that is free on the host: the one that is wanted, where it is.
func (h *host) native(wanted string) string {
	native := wanted
	for n := 2; h.machines[native] != nil; n++ {
		native = wanted + "~" + strconv.Itoa(n)
	}
	return native
}

// sizes divides disks into how large they are and of which storage.
func sizes(disks []pool.Disk) (bytes []int64, stores []pool.Storage) {
	for _, disk := range disks {
		bytes, stores = append(bytes, disk.Size), append(stores, disk.Storage)
	}
	return bytes, stores
}

// kindOf is the kind of instance that is asked for.
func kindOf(s pool.Spec) pool.Kind { return cmp.Or(s.Kind, pool.VM) }
