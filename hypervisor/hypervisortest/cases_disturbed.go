package hypervisortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Disturbance is what goes wrong between a driver and its hypervisor.
type Disturbance string

// The disturbances.
const (
	CutBefore Disturbance = "cut before it arrives" // the connection breaks, and the request has not been carried out
	CutAfter  Disturbance = "cut after it arrived"  // the connection breaks when it has been, before the reply
	Delayed   Disturbance = "delayed"               // it arrives a good deal later, and the reply with it
	Twice     Disturbance = "twice"                 // it arrives a second time, whose reply nobody hears
)

// mostRequests bounds how many requests of one call are disturbed in turn.
const mostRequests = 100

// step is a call that is disturbed.
type step struct {
	what string
	// prepare returns the order of a machine in the state before the call, without any disturbance.
	prepare func() hypervisor.Order
	call    func(ctx context.Context, o hypervisor.Order) error
	// before and after report whether the machine, as it is listed on the order's host, is as it was and as it is to be. With
	// what cannot be seen in lists both are true.
	before, after func(o hypervisor.Order, found []hypervisor.Machine) bool
	once          error // with which a repetition may say that it has been done; nil: it is success
}

// settle makes a call until it says something definite: what broke the connection may make the next call fail too.
func (p *probe) settle(what string, call func(context.Context) error) error {
	var err error
	for range 20 {
		err = p.try(what, call)
		if err == nil || !errors.Is(err, hypervisor.ErrUnavailable) && !errors.Is(err, hypervisor.ErrUnknown) {
			return err
		}
		p.pause(50 * time.Millisecond)
	}
	return err
}

// sees returns the machines of an id on its host.
func (p *probe) sees(o hypervisor.Order) []hypervisor.Machine {
	var list []hypervisor.Machine
	if err := p.settle("list machines after a disturbance", func(ctx context.Context) (err error) {
		list, err = p.Driver.Machines(ctx, o.Host)
		return err
	}); err != nil {
		p.fatalf("list machines after a disturbance: %v", err)
	}
	return slices.DeleteFunc(list, func(m hypervisor.Machine) bool { return m.Machine != o.Machine })
}

// disturbed makes a call under every disturbance of every of its requests.
func (p *probe) disturbed(s step) {
	kinds := p.Disturbances
	if kinds == nil {
		kinds = []Disturbance{CutBefore, CutAfter, Delayed, Twice}
	}
	for _, kind := range kinds {
		for n := 1; n <= mostRequests && p.disturb(s, kind, n); n++ {
		}
	}
}

// disturb makes a call of which the n-th request is disturbed; it is false when there was none.
func (p *probe) disturb(s step, kind Disturbance, n int) bool {
	o := s.prepare()
	call := func(ctx context.Context) error { return s.call(ctx, o) }
	hit := p.Disturb(kind, n)
	err := p.try(s.what+", disturbed,", call)
	was := hit()
	what := fmt.Sprintf("%s, its request %d %s,", s.what, n, kind)
	if !was {
		if err != nil {
			p.fatalf("%s with nothing to disturb: %v", s.what, err)
		}
		what = s.what + " with nothing to disturb"
	}
	found := p.sees(o)
	if len(found) > 1 && needsUnique(p.suite) == "" {
		p.errorf("%s has left %d machines", what, len(found))
	}
	before, after := s.before(o, found), s.after(o, found)
	done := s.once != nil && errors.Is(err, s.once)
	switch {
	case err == nil && !after:
		p.errorf("%s succeeded, and is not done: %+v", what, found)
	case err != nil && hypervisor.Nothing(err) && !done && !before:
		p.errorf("%s says that nothing was done (%v), and it was: %+v", what, err, found)
	case !before && !after:
		p.errorf("%s (%v) has left the machine half-way: %+v", what, err, found)
	}
	if after && !before { // it has been done, and is not asked for again
		return was
	}
	if err := p.settle(what+" repeated", call); err != nil && (s.once == nil || !errors.Is(err, s.once)) {
		p.fatalf("%s repeated: %v", what, err)
	}
	if found := p.sees(o); !s.after(o, found) {
		p.errorf("%s, repeated with success, is not done: %+v", what, found)
	}
	return was
}

// hadDisks reports whether a machine has as many disks as an order, or not, by what the driver's Resizer says; without one both
// are true.
func (p *probe) hadDisks(has bool) func(hypervisor.Order, []hypervisor.Machine) bool {
	return func(o hypervisor.Order, _ []hypervisor.Machine) bool {
		if !hypervisor.Has(p.Driver, o.Host, hypervisor.CanResize) {
			return true
		}
		err := p.settle("a resize that changes nothing", p.resizing(p.reorder(o, func(*hypervisor.Order) {})))
		return (err == nil) == has
	}
}

// is reports whether there is one machine, in that power state.
func is(power pool.Power) func(hypervisor.Order, []hypervisor.Machine) bool {
	return func(_ hypervisor.Order, found []hypervisor.Machine) bool {
		return len(found) == 1 && found[0].Power == power
	}
}

func none(_ hypervisor.Order, found []hypervisor.Machine) bool { return len(found) == 0 }
func some(_ hypervisor.Order, found []hypervisor.Machine) bool { return len(found) > 0 }
func unseen(hypervisor.Order, []hypervisor.Machine) bool       { return true }

// undone destroys a machine that a disturbed call has been about.
func (p *probe) undone(o hypervisor.Order) {
	if err := p.settle("destroy after a disturbance", p.destroy(o.Ref)); err != nil {
		p.fatalf("destroy after a disturbance: %v", err)
	}
	if found := p.sees(o); len(found) > 0 {
		p.errorf("destroy after a disturbance has left %+v", found)
	}
}

func disturbedCreate(p *probe) {
	var last *hypervisor.Order
	prepare := func() hypervisor.Order {
		if last != nil {
			p.undone(*last)
		}
		o := p.order(p.Hosts[0])
		p.made[o.Ref] = true
		last = &o
		return o
	}
	p.disturbed(step{"create", prepare, p.Driver.Create, none, some, hypervisor.ErrExists})
}

func disturbedDestroy(p *probe) {
	p.disturbed(step{"destroy", func() hypervisor.Order { return p.started(p.Hosts[0]) },
		func(ctx context.Context, o hypervisor.Order) error { return p.Driver.Destroy(ctx, o.Ref) }, some, none, nil})
}

// disturbedPower disturbs the calls that change what a machine does.
func disturbedPower(p *probe) {
	o := p.created(p.Hosts[0])
	// to brings the machine into a power state without a disturbance.
	to := func(power pool.Power) func() hypervisor.Order {
		return func() hypervisor.Order {
			if power == pool.Stopped || !is(pool.Running)(o, p.sees(o)) {
				p.must("stop", p.stop(o.Ref))
			}
			if power != pool.Stopped {
				p.must("start", p.start(o.Ref))
			}
			if power == pool.Suspended {
				suspend, _ := p.suspender()
				p.must("suspend", suspend(o.Ref))
			}
			p.power(o.Ref, power, "before it is disturbed")
			return o
		}
	}
	p.disturbed(step{"start", to(pool.Stopped), func(ctx context.Context, o hypervisor.Order) error { return p.Driver.Start(ctx, o.Ref) },
		is(pool.Stopped), is(pool.Running), nil})
	p.disturbed(step{"stop", to(pool.Running), func(ctx context.Context, o hypervisor.Order) error { return p.Driver.Stop(ctx, o.Ref) },
		is(pool.Running), is(pool.Stopped), nil})
	has := func(a hypervisor.Ability) bool { return hypervisor.Has(p.Driver, o.Host, a) }
	if has(hypervisor.CanSuspend) {
		s, _ := hypervisor.As[hypervisor.Suspender](p.Driver)
		p.disturbed(step{"suspend", to(pool.Running), func(ctx context.Context, o hypervisor.Order) error { return s.Suspend(ctx, o.Ref) },
			is(pool.Running), is(pool.Suspended), nil})
		p.disturbed(step{"resume", to(pool.Suspended), func(ctx context.Context, o hypervisor.Order) error { return s.Resume(ctx, o.Ref) },
			is(pool.Suspended), is(pool.Running), nil})
	}
	if has(hypervisor.CanHibernate) {
		h, _ := hypervisor.As[hypervisor.Hibernator](p.Driver)
		p.disturbed(step{"hibernate", to(pool.Running), func(ctx context.Context, o hypervisor.Order) error { return h.Hibernate(ctx, o.Ref) },
			is(pool.Running), is(pool.Hibernated), nil})
	}
	if has(hypervisor.CanReboot) {
		r, _ := hypervisor.As[hypervisor.Rebooter](p.Driver)
		p.disturbed(step{"reboot", to(pool.Running), func(ctx context.Context, o hypervisor.Order) error { return r.Reboot(ctx, o.Ref) },
			unseen, is(pool.Running), nil})
	}
}

// disturbedChanges disturbs the calls that change what a stopped machine is.
func disturbedChanges(p *probe) {
	first := p.created(p.Hosts[0])
	p.must("stop", p.stop(first.Ref)) // where create starts
	now := first
	has := func(a hypervisor.Ability) bool { return hypervisor.Has(p.Driver, first.Host, a) }
	if has(hypervisor.CanResize) {
		r, _ := hypervisor.As[hypervisor.Resizer](p.Driver)
		var was hypervisor.Order
		sized := func(of *hypervisor.Order) func(hypervisor.Order, []hypervisor.Machine) bool {
			return func(_ hypervisor.Order, found []hypervisor.Machine) bool {
				return len(found) == 1 && (found[0].Resources[pool.Memory] == 0 || of.Allocation.Shape != "" || found[0].Resources[pool.Memory] == of.Spec.Resources[pool.Memory])
			}
		}
		p.disturbed(step{"resize", func() hypervisor.Order {
			was = now
			now = p.reorder(now, func(next *hypervisor.Order) {
				if next.Spec.Resources[pool.Memory] *= 2; next.Spec.Resources[pool.Memory] > 2*first.Spec.Resources[pool.Memory] {
					next.Spec.Resources[pool.Memory] = first.Spec.Resources[pool.Memory]
				}
			})
			return now
		}, r.Resize, sized(&was), sized(&now), nil})
	}
	if has(hypervisor.CanAttachDisk) {
		d, _ := hypervisor.As[hypervisor.DiskAttacher](p.Driver)
		p.disturbed(step{"set disks", func() hypervisor.Order {
			if len(now.Spec.Disks) > len(first.Spec.Disks) {
				now = p.fewer(now, len(first.Spec.Disks))
			} else {
				now = p.more(now, 1)
			}
			return now
		}, func(ctx context.Context, o hypervisor.Order) error {
			return d.SetDisks(ctx, p.reorder(o, func(*hypervisor.Order) {})) // later than what looking has ordered
		}, p.hadDisks(false), p.hadDisks(true), nil})
	}
	if has(hypervisor.CanSnapshot) {
		s, _ := hypervisor.As[hypervisor.Snapshotter](p.Driver)
		name, taken := "", 0
		kept := func(hypervisor.Order, []hypervisor.Machine) bool {
			list := want(p, "list snapshots", func(ctx context.Context) ([]hypervisor.Snapshot, error) { return s.Snapshots(ctx, now.Ref) })
			return slices.ContainsFunc(list, func(k hypervisor.Snapshot) bool { return k.Name == name })
		}
		p.disturbed(step{"snapshot", func() hypervisor.Order {
			if name != "" {
				p.must("delete snapshot", func(ctx context.Context) error { return s.DeleteSnapshot(ctx, now.Ref, name) })
			}
			taken++
			name = fmt.Sprintf("s%d", taken)
			return now
		}, func(ctx context.Context, o hypervisor.Order) error { return s.Snapshot(ctx, o.Ref, name) },
			func(o hypervisor.Order, found []hypervisor.Machine) bool { return !kept(o, found) }, kept, hypervisor.ErrExists})
		p.must("delete snapshot", func(ctx context.Context) error { return s.DeleteSnapshot(ctx, now.Ref, name) })
	}
	if has(hypervisor.CanMigrate) && needsMigration(p.suite) == "" {
		m, _ := hypervisor.As[hypervisor.Migrator](p.Driver)
		from := now
		p.disturbed(step{"migrate", func() hypervisor.Order {
			from, now = now, p.moved(now)
			return now
		}, func(ctx context.Context, o hypervisor.Order) error { return m.Migrate(ctx, from.Ref, o) },
			func(hypervisor.Order, []hypervisor.Machine) bool {
				return len(p.sees(from)) == 1 && len(p.sees(now)) == 0
			},
			func(_ hypervisor.Order, found []hypervisor.Machine) bool {
				return len(found) == 1 && len(p.sees(from)) == 0
			}, nil})
	}
	p.power(now.Ref, pool.Stopped, "after disturbances")
	p.undone(now)
}

func needsDisturb(s *suite) string {
	if s.Disturb == nil {
		return "no Setup.Disturb"
	}
	return ""
}
