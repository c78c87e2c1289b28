package fake

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

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
			if err := m.able(op); err != nil {
				return err
			}
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
	d.touch(m, op)
	return nil
}

// touch notes that a call has changed a machine, if it is somebody else's.
func (d *Driver) touch(m *machine, op Op) {
	if m.Foreign {
		d.touched = append(d.touched, Touch{Ref: m.ref(), Native: m.Native, Op: op})
	}
}

// able returns an error when op is more than can be done to a machine that shows a fault.
func (m *machine) able(op Op) error {
	switch op {
	case OpStart, OpShelve, OpResize, OpSetDisks, OpMigrate, OpSnapshot, OpRevert:
		if m.Fault != "" {
			return wrong(op, m.ref(), hypervisor.ErrRefused, m.Fault)
		}
	}
	return nil
}

// Start implements hypervisor.Driver. A suspended or hibernated machine is resumed.
func (d *Driver) Start(ctx context.Context, r hypervisor.Ref) error {
	return d.act(ctx, OpStart, r, 0, false, func(h *host, m *machine) error {
		switch m.Power {
		case pool.Running:
			return nil
		case pool.Suspended, pool.Hibernated:
			return d.power(h, m, m.in(pool.Running, "resumed"), OpStart)
		}
		if m.Decided.After(time.Now()) {
			return wrong(OpStart, r, hypervisor.ErrWrongPower, "it is being built")
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
		d.touch(m, OpDestroy)
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

// Hibernate implements hypervisor.Hibernator. Where there are copies all are hibernated.
func (d *Driver) Hibernate(ctx context.Context, r hypervisor.Ref) error {
	if err := d.offered(hypervisor.CanHibernate, OpHibernate, r); err != nil {
		return err
	}
	return d.act(ctx, OpHibernate, r, 0, true, func(h *host, m *machine) error {
		switch m.Power {
		case pool.Hibernated:
			return nil
		case pool.Running:
			return d.power(h, m, m.in(pool.Hibernated, "hibernated"), OpHibernate)
		}
		return wrong(OpHibernate, r, hypervisor.ErrWrongPower, "it does not run")
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
	d.drop(h, m)
	return nil
}

// drop is remove for a machine whose removal has been saved.
func (d *Driver) drop(h *host, m *machine) {
	h.spent += cpuMicros(m, time.Now())
	d.runs(h.take(m.Native), nil)
}
