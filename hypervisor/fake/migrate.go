package fake

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Migrate implements hypervisor.Migrator. It takes Config.Migrate; until then the machine is on the first
// host alone, and afterwards on the other alone. Room is asked for at the end. Where there are copies the
// oldest is moved, and any other one stays.
func (d *Driver) Migrate(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
	for _, h := range []pool.HostID{from.Host, o.Host} {
		if err := d.offeredOn(h, hypervisor.CanMigrate, OpMigrate, from); err != nil {
			return err
		}
	}
	switch {
	case from.Machine == "" || from.Tag != o.Tag:
		return wrong(OpMigrate, from, hypervisor.ErrInvalid, "the order is not for the machine that is named")
	case from.Host == o.Host:
		return wrong(OpMigrate, from, hypervisor.ErrInvalid, "it is to go where it is")
	}
	o.Allocation.Claims = slices.Clone(o.Allocation.Claims)
	return d.do(ctx, &request{op: OpMigrate, ref: from, to: o.Host, takes: d.config.Migrate,
		effect: func(h *host) error { return d.migrate(h, from, &o) }})
}

func (d *Driver) migrate(h *host, from hypervisor.Ref, o *hypervisor.Order) error {
	refused := func(err error) error { return wrongf(OpMigrate, from, hypervisor.ErrRefused, err) }
	if h.state != Up {
		return refused(errors.New("the host is " + string(h.state))) // a late one, that nobody hears
	}
	found, err := d.find(h, OpMigrate, from)
	if err != nil {
		return err
	}
	to := d.hosts[o.Host]
	if len(found) == 0 {
		return d.migrated(to, from, o)
	}
	m := found[0]
	if err := m.able(OpMigrate); err != nil {
		return err
	}
	if err := m.outdated(o); err != nil {
		return refused(err)
	}
	if to == nil {
		return refused(errors.New("no host " + pool.Quote(string(o.Host))))
	}
	if to.state != Up {
		return refused(errors.New("host " + string(o.Host) + " is " + string(to.state)))
	}
	if len(to.named(o.Machine)) > 0 {
		return wrong(OpMigrate, from, hypervisor.ErrExists, "a machine of that id is on "+string(o.Host))
	}
	live := d.offers(h.spec.ID, hypervisor.CanMigrateLive) && d.offers(o.Host, hypervisor.CanMigrateLive)
	if m.Power == pool.Hibernated || m.Power != pool.Stopped && !live {
		return wrong(OpMigrate, from, hypervisor.ErrWrongPower, "it is not stopped")
	}
	if k := kindOf(o.Spec); !to.runs(k) {
		return refused(errors.New("host " + string(o.Host) + " runs no " + string(k)))
	}
	claims, err := to.room(m.Demand, m.disks(), o.Allocation.Claims, d.config.Overfill)
	if err != nil {
		return refused(err)
	}
	now := time.Now()
	next := m.rated(now).noted("moved from " + string(h.spec.ID))
	next.Host, next.Native, next.Claims, next.Revision = o.Host, to.native(string(o.Machine)), claims, o.Revision
	if err := d.save(entry{Gone: &goneEntry{m.Host, m.Native}, Machine: next}); err != nil {
		return refused(err)
	}
	d.drop(h, m) // before it is on the other host: it never runs twice
	to.spent -= next.Spent
	d.runs(to.put(next), next)
	d.touch(m, OpMigrate)
	d.count(o.Machine).Migrations++
	d.full(to, o.Ref)
	return nil
}

// migrated answers for a machine that is not on the first host: it is on the other one, or nowhere.
func (d *Driver) migrated(to *host, from hypervisor.Ref, o *hypervisor.Order) error {
	if to != nil && to.state != Up {
		return wrong(OpMigrate, from, hypervisor.ErrUnavailable, "host "+string(o.Host)+" is "+string(to.state))
	}
	if to != nil {
		there, err := d.find(to, OpMigrate, o.Ref)
		if err != nil {
			return err
		}
		if len(there) > 0 {
			if err := there[0].outdated(o); err != nil {
				return wrongf(OpMigrate, from, hypervisor.ErrRefused, err)
			}
			return nil
		}
	}
	return wrong(OpMigrate, from, hypervisor.ErrNotFound, "no such machine")
}
