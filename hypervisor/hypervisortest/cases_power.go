package hypervisortest

import (
	"context"
	"errors"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

func start(p *probe) {
	o := p.started(p.Hosts[0])
	p.must("start of a running machine", p.start(o.Ref))
	p.power(o.Ref, pool.Running, "after a second start")
}

func stopped(p *probe) {
	o := p.started(p.Hosts[0])
	p.must("stop", p.stop(o.Ref))
	p.power(o.Ref, pool.Stopped, "after stop")
	p.must("stop of a stopped machine", p.stop(o.Ref))
	p.power(o.Ref, pool.Stopped, "after a second stop")
	p.must("start after stop", p.start(o.Ref))
	p.power(o.Ref, pool.Running, "after stop and start")
}

func destroy(p *probe) {
	off, on := p.created(p.Hosts[0]), p.started(p.Hosts[0])
	for _, o := range []hypervisor.Order{off, on} {
		p.must("destroy", p.destroy(o.Ref))
		p.gone(o.Ref, "after destroy")
		p.must("a second destroy", p.destroy(o.Ref))
	}
	never := p.order(p.Hosts[0])
	p.must("destroy of a machine that never was", p.destroy(never.Ref))
	// What is destroyed can be made again: nothing is left in the way.
	p.must("create after destroy", p.creation(on))
	p.shown(on.Ref, "after destroy and create")
}

// strangers returns refs to r's machine under tags that are not its own.
func (p *probe) strangers(r hypervisor.Ref) map[string]hypervisor.Ref {
	ledger, launched, earlier := r, r, r
	ledger.Ledger += "-other"
	launched.Launched++
	earlier.Launched = 0
	return map[string]hypervisor.Ref{"another ledger": ledger, "a later launch": launched, "launch 0": earlier}
}

func destroyForeign(p *probe) {
	o := p.started(p.Hosts[0])
	was := p.shown(o.Ref, "after start")
	for whose, r := range p.strangers(o.Ref) {
		p.fails(hypervisor.ErrForeign, "destroy under the tag of "+whose, p.destroy(r))
		p.power(o.Ref, pool.Running, "after destroy under the tag of "+whose)
	}
	if is := p.shown(o.Ref, "after all that"); is.Native != was.Native {
		p.errorf("the machine is another one: %q instead of %q", is.Native, was.Native)
	}
}

func powerForeign(p *probe) {
	off, on := p.created(p.Hosts[0]), p.started(p.Hosts[0])
	p.must("stop", p.stop(off.Ref)) // where create starts
	for whose, r := range p.strangers(off.Ref) {
		p.fails(hypervisor.ErrForeign, "start under the tag of "+whose, p.start(r))
		p.power(off.Ref, pool.Stopped, "after start under the tag of "+whose)
	}
	for whose, r := range p.strangers(on.Ref) {
		p.fails(hypervisor.ErrForeign, "stop under the tag of "+whose, p.stop(r))
		for _, opt := range offered(p.suite) {
			if opt.on == aMachine && !opt.reads {
				strange := on
				strange.Ref = r
				p.fails(hypervisor.ErrForeign, opt.what+" under the tag of "+whose, func(ctx context.Context) error { return opt.call(ctx, p.Driver, strange) })
			}
		}
		p.power(on.Ref, pool.Running, "after calls under the tag of "+whose)
	}
}

func untagged(p *probe) {
	o := p.order(p.Hosts[0])
	before := natives(p.machines(o.Host))
	ctx, cancel := context.WithTimeout(p.ctx, p.Timeout)
	defer cancel()
	remove, err := p.Untagged(ctx, o.Ref)
	if err != nil {
		p.fatalf("an untagged machine could not be made: %v", err)
	}
	defer func() {
		if err := remove(); err != nil {
			p.errorf("the untagged machine could not be removed: %v", err)
		}
	}()
	look := func(when string) {
		found := 0
		for _, m := range p.machines(o.Host) {
			if before[m.Native] || p.ours(m.Tag) && m.Machine != o.Machine {
				continue
			}
			found++
			if m.Tag != (hypervisor.Tag{}) {
				p.errorf("%s the untagged machine is listed with the tag %+v", when, m.Tag)
			}
		}
		if found != 1 {
			p.errorf("%s %d machines are listed instead of the untagged one", when, found)
		}
	}
	look("before anything")
	p.fails(hypervisor.ErrForeign, "destroy of an untagged machine", p.destroy(o.Ref))
	look("after destroy")
	if needsUnique(p.suite) == "" {
		p.fails(hypervisor.ErrExists, "create in the place of an untagged machine", p.creation(o))
		look("after create")
	}
	p.fails(hypervisor.ErrForeign, "start of an untagged machine", p.start(o.Ref))
	p.fails(hypervisor.ErrForeign, "stop of an untagged machine", p.stop(o.Ref))
	look("after all that")
	delete(p.made, o.Ref)
}

func placementsApart(p *probe) {
	first := p.started(p.Hosts[0])
	second := p.started(p.Hosts[len(p.Hosts)-1], func(o *hypervisor.Order) {
		id, n, _ := first.Machine.Split()
		o.Machine, o.Launched, o.Name = id.Machine(n+1), first.Launched, first.Name
	})
	p.apart(first, second)
}

func copiesApart(p *probe) {
	first := p.created(p.Hosts[0])
	second := p.created(p.Hosts[1], func(o *hypervisor.Order) { o.Tag, o.Name = first.Tag, first.Name })
	p.must("stop", p.stop(first.Ref)) // where create starts
	p.must("stop", p.stop(second.Ref))
	p.must("start", p.start(first.Ref))
	p.power(first.Ref, pool.Running, "after its start")
	p.power(second.Ref, pool.Stopped, "after the other copy's start")
	p.must("start", p.start(second.Ref))
	p.apart(first, second)
}

// apart takes two running machines and requires that what is done to one leaves the other alone.
func (p *probe) apart(first, second hypervisor.Order) {
	p.power(first.Ref, pool.Running, "after both were started")
	p.power(second.Ref, pool.Running, "after both were started")
	p.must("stop", p.stop(first.Ref))
	p.power(first.Ref, pool.Stopped, "after stop")
	p.power(second.Ref, pool.Running, "after the other copy's stop")
	p.must("destroy", p.destroy(first.Ref))
	p.gone(first.Ref, "after destroy")
	p.power(second.Ref, pool.Running, "after the other copy's destroy")
	p.must("a second destroy", p.destroy(first.Ref))
	p.power(second.Ref, pool.Running, "after the other copy's second destroy")
	p.must("destroy", p.destroy(second.Ref))
	p.gone(second.Ref, "after destroy")
}

// suspender returns the ability, which the case's row has made sure of.
func (p *probe) suspender() (suspend, resume func(hypervisor.Ref) func(context.Context) error) {
	s, _ := hypervisor.As[hypervisor.Suspender](p.Driver)
	suspend = func(r hypervisor.Ref) func(context.Context) error {
		return func(ctx context.Context) error { return s.Suspend(ctx, r) }
	}
	resume = func(r hypervisor.Ref) func(context.Context) error {
		return func(ctx context.Context) error { return s.Resume(ctx, r) }
	}
	return suspend, resume
}

func suspend(p *probe) {
	suspend, resume := p.suspender()
	o := p.started(p.Hosts[0])
	p.must("resume of a running machine", resume(o.Ref))
	p.power(o.Ref, pool.Running, "after resume of a running machine")
	p.must("suspend", suspend(o.Ref))
	p.power(o.Ref, pool.Suspended, "after suspend")
	p.must("a second suspend", suspend(o.Ref))
	p.power(o.Ref, pool.Suspended, "after a second suspend")
	p.must("resume", resume(o.Ref))
	p.power(o.Ref, pool.Running, "after resume")
	p.must("a second resume", resume(o.Ref))
	p.power(o.Ref, pool.Running, "after a second resume")
	p.must("stop", p.stop(o.Ref))
	p.fails(hypervisor.ErrWrongPower, "suspend of a stopped machine", suspend(o.Ref))
	p.fails(hypervisor.ErrWrongPower, "resume of a stopped machine", resume(o.Ref))
	p.power(o.Ref, pool.Stopped, "after suspend and resume of a stopped machine")
}

func suspendedEnds(p *probe) {
	suspend, _ := p.suspender()
	o := p.started(p.Hosts[0])
	p.must("suspend", suspend(o.Ref))
	switch err := p.try("start of a suspended machine", p.start(o.Ref)); {
	case err == nil:
		p.power(o.Ref, pool.Running, "after start of a suspended machine")
		p.must("suspend", suspend(o.Ref))
	case errors.Is(err, hypervisor.ErrWrongPower):
		p.power(o.Ref, pool.Suspended, "after a start that was refused")
	default:
		p.errorf("start of a suspended machine failed with %q", err)
	}
	p.must("stop of a suspended machine", p.stop(o.Ref))
	p.power(o.Ref, pool.Stopped, "after stop of a suspended machine")
	p.must("start", p.start(o.Ref))
	p.must("suspend", suspend(o.Ref))
	p.must("destroy of a suspended machine", p.destroy(o.Ref))
	p.gone(o.Ref, "after destroy of a suspended machine")
}

func hibernate(p *probe) {
	h, _ := hypervisor.As[hypervisor.Hibernator](p.Driver)
	o := p.started(p.Hosts[0])
	call := func(ctx context.Context) error { return h.Hibernate(ctx, o.Ref) }
	for range 2 { // the second time after it has run on
		p.must("hibernate", call)
		p.power(o.Ref, pool.Hibernated, "after hibernate")
		p.must("a second hibernate", call)
		p.power(o.Ref, pool.Hibernated, "after a second hibernate")
		p.must("start of a hibernated machine", p.start(o.Ref))
		p.power(o.Ref, pool.Running, "after start of a hibernated machine")
	}
	p.must("hibernate", call)
	has := func(a hypervisor.Ability) bool { return hypervisor.Has(p.Driver, o.Host, a) }
	if has(hypervisor.CanResize) {
		p.fails(hypervisor.ErrWrongPower, "resize of a hibernated machine", p.resizing(p.reorder(o, twice)))
	}
	if has(hypervisor.CanAttachDisk) {
		p.fails(hypervisor.ErrWrongPower, "another disk of a hibernated machine", p.disks(p.more(o, 1)))
	}
	if s, ok := hypervisor.As[hypervisor.Shelver](p.Driver); ok && has(hypervisor.CanShelve) {
		p.fails(hypervisor.ErrWrongPower, "shelve of a hibernated machine", func(ctx context.Context) error { return s.Shelve(ctx, o.Ref) })
	}
	if has(hypervisor.CanMigrate) && needsMigration(p.suite) == "" {
		p.fails(hypervisor.ErrWrongPower, "migration of a hibernated machine", p.migration(o.Ref, p.moved(o)))
	}
	p.power(o.Ref, pool.Hibernated, "after all that")
	p.must("stop of a hibernated machine", p.stop(o.Ref))
	p.power(o.Ref, pool.Stopped, "after stop of a hibernated machine")
	p.fails(hypervisor.ErrWrongPower, "hibernate of a stopped machine", call)
	p.power(o.Ref, pool.Stopped, "after hibernate of a stopped machine")
	p.must("start", p.start(o.Ref))
	p.must("hibernate", call)
	p.must("destroy of a hibernated machine", p.destroy(o.Ref))
	p.gone(o.Ref, "after destroy of a hibernated machine")
}

func reboot(p *probe) {
	r, _ := hypervisor.As[hypervisor.Rebooter](p.Driver)
	o := p.started(p.Hosts[0])
	call := func(ctx context.Context) error { return r.Reboot(ctx, o.Ref) }
	p.must("reboot", call)
	p.power(o.Ref, pool.Running, "after reboot")
	p.must("stop", p.stop(o.Ref))
	p.fails(hypervisor.ErrWrongPower, "reboot of a stopped machine", call)
	p.power(o.Ref, pool.Stopped, "after reboot of a stopped machine")
}
