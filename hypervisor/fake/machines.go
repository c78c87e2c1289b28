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

// Create implements hypervisor.Driver.
func (d *Driver) Create(ctx context.Context, o hypervisor.Order) error {
	o.Spec, o.Allocation.Claims = o.Spec.Clone(), slices.Clone(o.Allocation.Claims)
	demand, err := d.check(&o)
	if err != nil {
		return wrongf(OpCreate, o.Ref, hypervisor.ErrInvalid, err)
	}
	return d.do(ctx, &request{
		op: OpCreate, ref: o.Ref, takes: d.config.Build,
		effect: func(h *host) error { return d.create(h, &o, demand, pool.Stopped) },
		spoil: func(h *host) error {
			if err := d.create(h, &o, demand, Debris); err != nil {
				return err
			}
			return wrong(OpCreate, o.Ref, nil, "creation broke off half-way")
		},
	})
}

// check returns what the machine takes, or why no host of this driver will ever make it.
func (d *Driver) check(o *hypervisor.Order) (pool.Resources, error) {
	if o.Machine == "" || pool.ValidText(string(o.Machine), 255) != nil || o.Ledger == "" || pool.ValidText(o.Ledger, 255) != nil {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "tag", Want: "a ledger and a machine"}
	}
	if err := pool.ValidHostname(o.Name); err != nil {
		return nil, err
	}
	if err := o.Spec.Valid(); err != nil {
		return nil, pool.InField("spec", err)
	}
	if o.Source == "" {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "source", Want: "the image's source for driver " + d.config.Name}
	}
	if o.Allocation.Shape != "" {
		if err := o.Allocation.Resources.Valid(); err != nil {
			return nil, pool.InField("allocation", err)
		}
		return o.Allocation.Resources.Clone(), nil
	}
	return o.Spec.Demand()
}

func (d *Driver) create(h *host, o *hypervisor.Order, demand pool.Resources, p pool.Power) error {
	refused := func(why string) error { return wrong(OpCreate, o.Ref, hypervisor.ErrRefused, why) }
	native := string(o.Machine)
	var debris *machine
	for _, m := range h.named(o.Machine) {
		switch {
		case m.Power == Debris && m.Tag == o.Tag:
			debris = m
		case !d.config.Copies:
			return wrong(OpCreate, o.Ref, hypervisor.ErrExists, "")
		}
	}
	if d.config.Images != nil && !slices.Contains(d.config.Images, o.Source) {
		return refused("no image " + pool.Quote(o.Source))
	}
	if k := kindOf(o.Spec); !h.runs(k) {
		return refused("the host runs no " + string(k))
	}
	if s := o.Allocation.Shape; s != "" && !slices.ContainsFunc(h.spec.Shapes, func(x pool.Shape) bool { return x.Name == s }) {
		return refused("no shape " + pool.Quote(s))
	}
	if debris != nil {
		if err := d.remove(h, debris); err != nil {
			return refused(err.Error())
		}
	}
	claims, err := h.room(demand, o.Spec.Disks, o.Allocation.Claims, d.config.Overfill)
	if err != nil {
		return refused(err.Error())
	}
	for n := 2; h.machines[native] != nil; n++ {
		native = string(o.Machine) + "~" + strconv.Itoa(n)
	}
	m := &machine{
		Host: o.Host, Native: native, Name: o.Name, Tag: o.Tag,
		Addresses: []string{address(d.number)}, Number: d.number,
		Demand: demand, Claims: claims, Networks: max(1, len(o.Spec.Networks)),
	}
	for _, disk := range o.Spec.Disks {
		m.Disks = append(m.Disks, disk.Size)
	}
	if err := d.put(h, m.in(p, "created")); err != nil {
		return refused(err.Error())
	}
	if p != Debris {
		d.count(o.Machine).Creates++
	}
	if d.config.Overfill { // or it could not be
		for _, over := range h.over() {
			over.Machine, over.At = o.Ref, time.Now()
			d.overfills = append(d.overfills, over)
		}
	}
	return nil
}

// kindOf is the kind of instance that is asked for.
func kindOf(s pool.Spec) pool.Kind {
	if s.Kind == "" {
		return pool.VM
	}
	return s.Kind
}

// find returns the machines that r means, oldest first: one, or several where there are copies.
func (d *Driver) find(h *host, op Op, r hypervisor.Ref) ([]*machine, error) {
	var found []*machine
	foreign := false
	for _, m := range h.named(r.Machine) {
		switch {
		case m.Tag != r.Tag:
			foreign = true
		case m.Power != Debris || op == OpDestroy:
			found = append(found, m)
		}
	}
	if len(found) == 0 && foreign {
		return nil, wrong(op, r, hypervisor.ErrForeign, "")
	}
	slices.SortFunc(found, func(a, b *machine) int { return cmp.Compare(a.Number, b.Number) })
	return found, nil
}

// act changes the machine that r means: the oldest copy, or all of them.
func (d *Driver) act(ctx context.Context, op Op, r hypervisor.Ref, takes time.Duration, all bool, change func(h *host, m *machine) error) error {
	if r.Machine == "" {
		return wrong(op, r, hypervisor.ErrInvalid, "no machine is named")
	}
	return d.do(ctx, &request{op: op, ref: r, takes: takes, effect: func(h *host) error {
		found, err := d.find(h, op, r)
		if err != nil {
			return err
		}
		if len(found) == 0 && op != OpDestroy {
			return wrong(op, r, hypervisor.ErrNotFound, "no such machine")
		}
		if !all && len(found) > 1 {
			found = found[:1]
		}
		for _, m := range found {
			if err := change(h, m); err != nil {
				return err
			}
		}
		return nil
	}})
}

// power changes a machine's power state and keeps the monitor's books of it.
func (d *Driver) power(h *host, m, next *machine, op Op) error {
	if err := d.put(h, next); err != nil {
		return wrong(op, m.ref(), hypervisor.ErrRefused, err.Error())
	}
	if m.Foreign {
		d.touched = append(d.touched, Touch{Ref: m.ref(), Native: m.Native, Op: op})
	}
	return nil
}

// Start implements hypervisor.Driver. A suspended machine is resumed.
func (d *Driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.act(ctx, OpStart, r, 0, false, func(h *host, m *machine) error {
		switch m.Power {
		case pool.Running:
			return nil
		case pool.Suspended:
			return d.power(h, m, m.in(pool.Running, "resumed"), OpStart)
		}
		if err := d.power(h, m, m.booted(d.config.Boot, "booting"), OpStart); err != nil {
			return err
		}
		d.count(m.Tag.Machine).Starts++
		return nil
	})
}

// Stop implements hypervisor.Driver. Where there are copies all are stopped.
func (d *Driver) Stop(ctx context.Context, r hypervisor.Ref) error {
	return d.act(ctx, OpStop, r, d.config.Shutdown, true, func(h *host, m *machine) error {
		if m.Power == pool.Stopped {
			return nil
		}
		if err := d.power(h, m, m.in(pool.Stopped, "shut down"), OpStop); err != nil {
			return err
		}
		d.count(m.Tag.Machine).Stops++
		return nil
	})
}

// Destroy implements hypervisor.Driver. Where there are copies all are destroyed.
func (d *Driver) Destroy(ctx context.Context, r hypervisor.Ref) error {
	return d.act(ctx, OpDestroy, r, 0, true, func(h *host, m *machine) error {
		if err := d.remove(h, m); err != nil {
			return wrong(OpDestroy, r, hypervisor.ErrRefused, err.Error())
		}
		if m.Foreign {
			d.touched = append(d.touched, Touch{Ref: m.ref(), Native: m.Native, Op: OpDestroy})
		}
		if m.Power != Debris {
			d.count(m.Tag.Machine).Destroys++
		}
		return nil
	})
}

// Suspend implements hypervisor.Suspender. Where there are copies all are suspended.
func (d *Driver) Suspend(ctx context.Context, r hypervisor.Ref) error {
	if err := d.offered(hypervisor.CanSuspend, OpSuspend, r); err != nil {
		return err
	}
	return d.act(ctx, OpSuspend, r, 0, true, func(h *host, m *machine) error {
		switch m.Power {
		case pool.Suspended:
			return nil
		case pool.Running:
			return d.power(h, m, m.in(pool.Suspended, "suspended"), OpSuspend)
		}
		return wrong(OpSuspend, r, hypervisor.ErrWrongPower, "it does not run")
	})
}

// Resume implements hypervisor.Suspender.
func (d *Driver) Resume(ctx context.Context, r hypervisor.Ref) error {
	if err := d.offered(hypervisor.CanSuspend, OpResume, r); err != nil {
		return err
	}
	return d.act(ctx, OpResume, r, 0, false, func(h *host, m *machine) error {
		switch m.Power {
		case pool.Running:
			return nil
		case pool.Suspended:
			return d.power(h, m, m.in(pool.Running, "resumed"), OpResume)
		}
		return wrong(OpResume, r, hypervisor.ErrWrongPower, "it is not suspended")
	})
}

// Reboot implements hypervisor.Rebooter.
func (d *Driver) Reboot(ctx context.Context, r hypervisor.Ref) error {
	if err := d.offered(hypervisor.CanReboot, OpReboot, r); err != nil {
		return err
	}
	return d.act(ctx, OpReboot, r, 0, false, func(h *host, m *machine) error {
		if m.Power != pool.Running {
			return wrong(OpReboot, r, hypervisor.ErrWrongPower, "it does not run")
		}
		if err := d.power(h, m, m.booted(d.config.Boot, "rebooting"), OpReboot); err != nil {
			return err
		}
		d.count(m.Tag.Machine).Reboots++
		return nil
	})
}

// put saves a machine and puts it into its host, in the place of the one with its native id.
func (d *Driver) put(h *host, m *machine) error {
	if err := d.save(entry{Machine: m}); err != nil {
		return err
	}
	d.runs(h.put(m), m)
	d.number = max(d.number, m.Number+1)
	return nil
}

// remove takes a machine off its host.
func (d *Driver) remove(h *host, m *machine) error {
	if err := d.save(entry{Gone: &goneEntry{m.Host, m.Native}}); err != nil {
		return err
	}
	now := time.Now()
	h.spent += cpuMicros(m, now)
	d.runs(h.take(m.Native), nil)
	return nil
}

// AddForeign puts a machine onto a host as somebody else would: without a tag, with the tag of another
// ledger, or with one of ours that our books do not know. Its Resources are what it takes of the host,
// storage and GPUs included, and claims say of which devices (by default of those with the most room); what
// an untagged machine takes is reported as reserved. An empty Native is filled in and returned; an empty
// Power is Stopped. Nothing is refused for lack of room.
func (d *Driver) AddForeign(m hypervisor.Machine, claims ...pool.Claim) (native string, err error) {
	fail := func(err error) (string, error) { return "", pool.InField("machine", err) }
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return "", d.err
	}
	h := d.hosts[m.Host]
	if h == nil {
		return fail(&pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(m.Host)})
	}
	if err := m.Resources.Valid(); err != nil {
		return fail(err)
	}
	if m.Native == "" {
		m.Native = "foreign-" + strconv.FormatUint(uint64(d.number), 10)
	}
	if h.machines[m.Native] != nil {
		return fail(&pool.Error{Kind: pool.ErrExists, Field: "native", Value: m.Native})
	}
	switch m.Power {
	case "":
		m.Power = pool.Stopped
	case pool.Stopped, pool.Running, pool.Suspended:
	default:
		return fail(&pool.Error{Kind: pool.ErrInvalid, Field: "power", Value: string(m.Power), Want: "stopped, running or suspended"})
	}
	if claims, err = h.foreignClaims(m.Resources, claims); err != nil {
		return fail(err)
	}
	next := (&machine{
		Host: m.Host, Native: m.Native, Name: m.Name, Tag: m.Tag, Foreign: true, Number: d.number,
		Addresses: slices.Clone(m.Addresses), Demand: m.Resources.Clone(), Claims: claims, Networks: 1,
	}).in(m.Power, "created")
	if err := h.countable(next); err != nil {
		return fail(err)
	}
	if err := d.put(h, next); err != nil {
		return "", err
	}
	return m.Native, nil
}

// RemoveForeign takes away a machine that AddForeign has put there, as somebody else would. It is nil when
// there is none.
func (d *Driver) RemoveForeign(id pool.HostID, native string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[id]
	if d.err != nil || h == nil || h.machines[native] == nil {
		return d.err
	}
	if !h.machines[native].Foreign {
		return &pool.Error{Op: "remove machine", Kind: pool.ErrInvalid, Field: "native", Value: native, Want: "a machine of AddForeign"}
	}
	return d.remove(h, h.machines[native])
}
