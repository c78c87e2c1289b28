package hypervisortest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

func capabilities(p *probe) {
	describer, described := hypervisor.As[hypervisor.Describer](p.Driver)
	for _, host := range p.Hosts {
		if described {
			c := want(p, "describe", func(context.Context) (hypervisor.Capabilities, error) {
				c := describer.Describe(host)
				return c, nil
			})
			if !slices.IsSorted(c.Abilities) || len(slices.Compact(slices.Clone(c.Abilities))) != len(c.Abilities) {
				p.errorf("on %s the abilities %v are not sorted, or not each named once", host, c.Abilities)
			}
			for _, a := range c.Abilities {
				if !implements(p.Driver, a) {
					p.errorf("on %s ability %q is named and its interface is missing or not known", host, a)
				}
			}
			if c.Settles < 0 {
				p.errorf("on %s Settles is negative", host)
			}
		}
		if p.Abilities == nil {
			continue
		}
		expected := slices.Compact(slices.Sorted(slices.Values(p.Abilities)))
		if got := hypervisor.CapabilitiesOf(p.Driver, host).Abilities; !slices.Equal(got, expected) {
			p.errorf("on %s the abilities %v are offered instead of %v", host, got, expected)
		}
	}
	if !described {
		return
	}
	// A question to the hypervisor takes a millisecond or more.
	ctx, cancel := context.WithTimeout(p.ctx, time.Second)
	defer cancel()
	err := p.watch(ctx, "describe, 1000 times,", func(ctx context.Context) error {
		for range 1000 {
			if err := ctx.Err(); err != nil {
				return err
			}
			describer.Describe(p.Hosts[0])
		}
		return nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		p.errorf("1000 answers of Describe took more than a second: does it ask the hypervisor?")
	}
}

func notOffered(p *probe) {
	o := p.created(p.Hosts[0])
	for _, opt := range unoffered(p.suite) {
		p.fails(errors.ErrUnsupported, opt.what, func(ctx context.Context) error { return opt.call(ctx, p.Driver, o) })
	}
}

// all returns the hosts, or ends the case.
func (p *probe) all() []pool.Host {
	return want(p, "list hosts", p.Driver.Hosts)
}

func hostsValid(p *probe) {
	seen := make(map[pool.HostID]bool)
	ready := make(map[pool.HostID]bool)
	for _, h := range p.all() {
		if _, err := h.Normalize(); err != nil {
			p.errorf("%v", err)
		}
		if seen[h.ID] {
			p.errorf("host %s is listed twice", h.ID)
		}
		seen[h.ID] = true
		ready[h.ID] = h.Conditions.Has(pool.Ready)
		if h.ID.Driver() != p.Hosts[0].Driver() {
			p.errorf("host %s does not begin with %q", h.ID, p.Hosts[0].Driver())
		}
	}
	for _, id := range p.Hosts {
		if !ready[id] {
			p.errorf("host %s is not listed as ready", id)
		}
	}
}

func answersOwn(p *probe) {
	o := p.created(p.Hosts[0])
	for _, h := range p.all() {
		for c := range h.Inventory {
			h.Inventory[c] = pool.Inventory{Total: -1}
		}
		for l := range h.Labels {
			h.Labels[l] = "\n"
		}
		for i := range h.Devices {
			h.Devices[i] = pool.Device{}
		}
		for i := range h.Shapes {
			clear(h.Shapes[i].Resources)
		}
	}
	for _, h := range p.all() {
		if _, err := h.Normalize(); err != nil {
			p.errorf("after an earlier answer was changed: %v", err)
		}
		for _, s := range h.Shapes {
			if len(s.Resources) == 0 {
				p.errorf("after an earlier answer was changed shape %q is empty", s.Name)
			}
		}
	}
	first := p.shown(o.Ref, "after create")
	n := first.Resources[pool.Memory]
	if first.Resources != nil {
		first.Resources[pool.Memory] = -1
	}
	if again := p.shown(o.Ref, "after create"); again.Resources[pool.Memory] != n {
		p.errorf("after an earlier list was changed the machine has %d bytes of memory instead of %d", again.Resources[pool.Memory], n)
	}
	// The order belongs to the caller too.
	o = p.order(p.Hosts[0])
	p.must("create", p.creation(o))
	o.Spec.Disks[0].Size = -1
	for c := range o.Spec.Resources {
		o.Spec.Resources[c] = -1
	}
	if m := p.shown(o.Ref, "after create"); m.Resources[pool.Memory] < 0 {
		p.errorf("after its order was changed the machine has %d bytes of memory", m.Resources[pool.Memory])
	}
}

func inventoryStable(p *probe) {
	before := p.inventories()
	o := p.created(p.Hosts[0])
	p.same(before, "after create")
	p.must("start", p.start(o.Ref))
	p.same(before, "after start")
	p.must("stop", p.stop(o.Ref))
	p.must("destroy", p.destroy(o.Ref))
	p.same(before, "after destroy")
}

// inventories returns the setup's hosts as they are now.
func (p *probe) inventories() map[pool.HostID]pool.Host {
	out := make(map[pool.HostID]pool.Host)
	for _, h := range p.all() {
		n, err := h.Normalize()
		if err != nil {
			p.fatalf("%v", err)
		}
		if slices.Contains(p.Hosts, h.ID) {
			out[h.ID] = n
		}
	}
	return out
}

func (p *probe) same(before map[pool.HostID]pool.Host, when string) {
	now := p.inventories()
	for id, was := range before {
		is, ok := now[id]
		if !ok {
			p.errorf("%s host %s is not listed", when, id)
			continue
		}
		for c, inv := range was.Inventory {
			if is.Inventory[c] != inv {
				p.errorf("%s %s of %s is %+v instead of %+v", when, c, id, is.Inventory[c], inv)
			}
		}
		if len(is.Inventory) != len(was.Inventory) || len(is.Devices) != len(was.Devices) {
			p.errorf("%s host %s has other classes or devices than before", when, id)
			continue
		}
		for i, d := range was.Devices {
			if is.Devices[i].ID != d.ID || is.Devices[i].Inventory != d.Inventory {
				p.errorf("%s device %s of %s is %+v instead of %+v", when, d.ID, id, is.Devices[i], d)
			}
		}
	}
}

func machinesComplete(p *probe) {
	host := p.Hosts[0]
	before := natives(p.machines(host))
	var made []hypervisor.Order
	for range 3 {
		made = append(made, p.created(host))
	}
	list := p.machines(host)
	now := natives(list)
	if len(now) != len(list) {
		p.errorf("%d machines are listed under %d native ids", len(list), len(now))
	}
	for n := range before {
		if !now[n] {
			p.errorf("machine %q is listed no more after machines of ours were made", n)
		}
	}
	for _, m := range list {
		if m.Host != host {
			p.errorf("machine %q in the list of %s names host %s", m.Native, host, m.Host)
		}
		if m.Native == "" {
			p.errorf("a machine is listed without a native id")
		}
		if m.Power != pool.Running && m.Power != pool.Stopped && m.Power != pool.Suspended && m.Power != pool.Hibernated {
			p.errorf("machine %q is listed as %q instead of running, stopped or suspended", m.Native, m.Power)
		}
	}
	for _, o := range made {
		p.shown(o.Ref, "after create")
	}
	for _, other := range p.Hosts[1:] {
		for _, m := range p.machines(other) {
			if p.ours(m.Tag) {
				p.errorf("machine %s of %s is in the list of %s", m.Machine, host, other)
			}
		}
	}
}

func unknownHost(p *probe) {
	nowhere := pool.NewHostID(p.Hosts[0].Driver(), "no-such-host-"+p.ledger)
	o := p.order(p.Hosts[0], func(o *hypervisor.Order) { o.Host = nowhere })
	p.fails(hypervisor.ErrNotFound, "list machines of an unknown host", func(ctx context.Context) error {
		_, err := p.Driver.Machines(ctx, nowhere)
		return err
	})
	calls := map[string]func(context.Context) error{
		"create": func(ctx context.Context) error { return p.Driver.Create(ctx, o) },
		"start":  p.start(o.Ref), "stop": p.stop(o.Ref), "destroy": p.destroy(o.Ref),
	}
	for _, opt := range offered(p.suite) {
		if opt.on != shelf {
			calls[opt.what] = func(ctx context.Context) error { return opt.call(ctx, p.Driver, o) }
		}
	}
	for what, call := range calls {
		p.fails(hypervisor.ErrNotFound, what+" on an unknown host", call)
	}
}

func unknownMachine(p *probe) {
	o := p.order(p.Hosts[0])
	p.fails(hypervisor.ErrNotFound, "start of an unknown machine", p.start(o.Ref))
	p.fails(hypervisor.ErrNotFound, "stop of an unknown machine", p.stop(o.Ref))
	for _, opt := range offered(p.suite) {
		if opt.on == aMachine {
			p.fails(hypervisor.ErrNotFound, opt.what+" of an unknown machine", func(ctx context.Context) error { return opt.call(ctx, p.Driver, o) })
		}
	}
}

func leavesNothing(p *probe) {
	if !p.doubtful.IsZero() {
		// A create whose context ended may still become visible.
		settles := hypervisor.CapabilitiesOf(p.Driver, p.Hosts[0]).Settles
		if wait := time.Until(p.doubtful.Add(settles)); wait > 0 {
			p.pause(wait)
		}
		p.cleanUp()
	}
	for _, host := range p.Hosts {
		now := natives(p.machines(host))
		for n := range now {
			if !p.before[host][n] {
				p.errorf("machine %q has been left on %s", n, host)
			}
		}
		for n := range p.before[host] {
			if !now[n] {
				p.errorf("machine %q is no more on %s", n, host)
			}
		}
		if p.Traces == nil {
			continue
		}
		traces := want(p, "traces", func(ctx context.Context) (map[string]bool, error) { return p.trace(ctx, host) })
		for n := range traces {
			if !p.traces[host][n] {
				p.errorf("%q has been left on %s", n, host)
			}
		}
		for n := range p.traces[host] {
			if !traces[n] {
				p.errorf("%q is no more on %s", n, host)
			}
		}
	}
}
