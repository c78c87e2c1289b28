package hypervisortest

import (
	"context"
	"errors"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// reorder returns a later order for o's machine, changed.
func (p *probe) reorder(o hypervisor.Order, change func(*hypervisor.Order)) hypervisor.Order {
	p.number++
	o.Spec = o.Spec.Clone()
	o.Revision = pool.Revision(p.number)
	change(&o)
	var err error
	if o.Allocation, err = p.Allocate(p.hosts[o.Host], o.Spec); err != nil {
		p.fatalf("no order for %s: %v", o.Host, err)
	}
	return o
}

// twice doubles an order's sizes.
func twice(o *hypervisor.Order) {
	for _, c := range []pool.Class{pool.CPU, pool.Memory} {
		o.Spec.Resources[c] *= 2
	}
	o.Spec.Disks[0].Size *= 2
}

// sized requires that the machine is listed with the cores and the memory of the order.
func (p *probe) sized(o hypervisor.Order, when string) {
	m := p.shown(o.Ref, when)
	for _, c := range []pool.Class{pool.CPU, pool.Memory} {
		asked := o.Spec.Resources[c]
		if o.Allocation.Shape != "" {
			asked = o.Allocation.Resources[c]
		}
		if got := m.Resources[c]; got != 0 && asked != 0 && got != asked {
			p.errorf("%s the machine has %s of %s instead of %s", when, c.Format(got), c, c.Format(asked))
		}
	}
}

func (p *probe) resizing(o hypervisor.Order) func(context.Context) error {
	r, _ := hypervisor.As[hypervisor.Resizer](p.Driver)
	return func(ctx context.Context) error { return r.Resize(ctx, o) }
}

func resize(p *probe) {
	o := p.used()
	content := p.content(o.Ref)
	was := p.shown(o.Ref, "after stop")
	larger := p.reorder(o, twice)
	p.must("resize", p.resizing(larger))
	p.sized(larger, "after resize")
	p.power(o.Ref, pool.Stopped, "after resize")
	p.has(content, o.Ref, "after resize")
	if is := p.shown(o.Ref, "after resize"); is.Native != was.Native {
		p.errorf("a resize has put %q into the place of %q", is.Native, was.Native)
	}
	p.must("the same resize again", p.resizing(larger))
	p.sized(larger, "after the same resize again")
	p.must("start after resize", p.start(o.Ref))
	p.sized(larger, "after resize and start")
	p.must("a resize to the sizes that a running machine has", p.resizing(p.reorder(larger, func(*hypervisor.Order) {})))
	p.must("stop", p.stop(o.Ref))
	smaller := p.reorder(larger, func(next *hypervisor.Order) { next.Spec.Resources = o.Spec.Resources.Clone() })
	p.must("resize to less memory", p.resizing(smaller))
	p.sized(smaller, "after resize to less memory")
}

func resizeRefused(p *probe) {
	o := p.used()
	early := p.reorder(o, func(o *hypervisor.Order) { o.Spec.Disks[0].Size *= 2 })
	larger := p.reorder(o, twice)
	p.must("resize", p.resizing(larger))
	p.fails(hypervisor.ErrRefused, "an earlier resize", p.resizing(early))
	p.sized(larger, "after an earlier resize")
	for what, change := range map[string]func(*hypervisor.Order){
		"a resize to a smaller disk":   func(next *hypervisor.Order) { next.Spec.Disks[0].Size = o.Spec.Disks[0].Size },
		"a resize with another disk":   func(next *hypervisor.Order) { next.Spec.Disks = append(next.Spec.Disks, p.ExtraDisk) },
		"a resize with one disk fewer": func(next *hypervisor.Order) { next.Spec.Disks = nil },
	} {
		p.fails(hypervisor.ErrInvalid, what, p.resizing(p.reorder(larger, func(next *hypervisor.Order) {
			next.Spec.Resources = o.Spec.Resources.Clone()
			change(next)
		})))
		p.sized(larger, "after "+what)
	}
	p.power(o.Ref, pool.Stopped, "after all that")
}

func resizeRunning(p *probe) {
	o := p.started(p.Hosts[0])
	larger := p.reorder(o, twice)
	if hypervisor.Has(p.Driver, o.Host, hypervisor.CanResizeHot) {
		p.must("resize of a running machine", p.resizing(larger))
		p.sized(larger, "after resize while it runs")
	} else {
		p.fails(hypervisor.ErrWrongPower, "resize of a running machine", p.resizing(larger))
		p.sized(o, "after resize of a running machine")
	}
	p.power(o.Ref, pool.Running, "after resize of a running machine")
}

// moved returns a later order for the machine on the other host.
func (p *probe) moved(o hypervisor.Order) hypervisor.Order {
	next := p.reorder(o, func(next *hypervisor.Order) { next.Host = p.elsewhere(o.Host) })
	p.made[next.Ref] = true
	return next
}

func (p *probe) migration(from hypervisor.Ref, o hypervisor.Order) func(context.Context) error {
	m, _ := hypervisor.As[hypervisor.Migrator](p.Driver)
	return func(ctx context.Context) error { return m.Migrate(ctx, from, o) }
}

// went requires that a machine is on the host of the one order and not on that of the other.
func (p *probe) went(from, to hypervisor.Order, power pool.Power, when string) {
	p.gone(from.Ref, when+", on the first host,")
	p.power(to.Ref, power, when)
	p.sized(to, when)
}

func migrate(p *probe) {
	o := p.used()
	content := p.content(o.Ref)
	there := p.moved(o)
	p.must("migrate", p.migration(o.Ref, there))
	p.went(o, there, pool.Stopped, "after migrate")
	p.has(content, there.Ref, "after migrate")
	p.must("the same migration again", p.migration(o.Ref, there))
	p.went(o, there, pool.Stopped, "after the same migration again")
	p.must("start after migrate", p.start(there.Ref))
	p.power(there.Ref, pool.Running, "after migrate and start")
	p.must("stop", p.stop(there.Ref))
	back := p.moved(there)
	p.must("migrate back", p.migration(there.Ref, back))
	p.went(there, back, pool.Stopped, "after migrate back")
	p.must("destroy", p.destroy(back.Ref))
	p.fails(hypervisor.ErrNotFound, "migrate of a machine that is on neither host", p.migration(o.Ref, p.moved(o)))
}

func migrateRefused(p *probe) {
	o := p.used()
	content := p.content(o.Ref)
	stays := func(r hypervisor.Ref, after string) {
		p.power(r, pool.Stopped, after)
		other := r
		other.Host = p.elsewhere(r.Host)
		p.gone(other, after+", on the other host,")
		p.has(content, r, after)
	}
	nowhere := p.moved(o)
	nowhere.Host = pool.NewHostID(o.Host.Driver(), "no-such-host-"+p.ledger)
	p.fails(hypervisor.ErrRefused, "migrate to an unknown host", p.migration(o.Ref, nowhere))
	stays(o.Ref, "after migrate to an unknown host")
	p.fails(hypervisor.ErrInvalid, "migrate to the machine's own host", p.migration(o.Ref, p.reorder(o, func(*hypervisor.Order) {})))
	stays(o.Ref, "after migrate to its own host")
	strange := p.moved(o)
	strange.Launched++
	p.fails(hypervisor.ErrInvalid, "migrate under two tags", p.migration(o.Ref, strange))
	stays(o.Ref, "after migrate under two tags")

	taken := p.another(p.moved(o))
	p.must("create", p.creation(taken))
	was := p.shown(taken.Ref, "after create")
	p.fails(hypervisor.ErrExists, "migrate to where the id is taken", p.migration(o.Ref, p.moved(o)))
	p.power(o.Ref, pool.Stopped, "after migrate to where the id is taken")
	if is := p.shown(taken.Ref, "after a migration that it was in the way of"); is.Native != was.Native {
		p.errorf("a migration has put %q into the place of %q", is.Native, was.Native)
	}
	p.must("destroy", p.destroy(taken.Ref))

	early, later := p.moved(o), p.moved(o)
	p.must("migrate", p.migration(o.Ref, later))
	back := p.moved(later)
	p.must("migrate back", p.migration(later.Ref, back))
	p.fails(hypervisor.ErrRefused, "an earlier migration", p.migration(o.Ref, early))
	stays(o.Ref, "after an earlier migration")
}

func migrateRunning(p *probe) {
	o := p.started(p.Hosts[0])
	there := p.moved(o)
	if hypervisor.Has(p.Driver, o.Host, hypervisor.CanMigrateLive) && hypervisor.Has(p.Driver, there.Host, hypervisor.CanMigrateLive) {
		p.must("migrate of a running machine", p.migration(o.Ref, there))
		p.went(o, there, pool.Running, "after migrate while it ran")
		return
	}
	p.fails(hypervisor.ErrWrongPower, "migrate of a running machine", p.migration(o.Ref, there))
	p.power(o.Ref, pool.Running, "after migrate of a running machine")
	p.gone(there.Ref, "after migrate of a running machine, on the other host,")
}

func fence(p *probe) {
	f, _ := hypervisor.As[hypervisor.Fencer](p.Driver)
	host := p.Hosts[len(p.Hosts)-1]
	if !hypervisor.Has(p.Driver, host, hypervisor.CanFence) {
		host = p.Hosts[0]
	}
	o := p.started(host)
	var beside []hypervisor.Order
	if len(p.Hosts) > 1 {
		beside = append(beside, p.started(p.elsewhere(host)))
	}
	on := func(ctx context.Context) error { return p.PowerOn(ctx, host) }
	back := false
	defer func() {
		if !back { // or no later case could use the host
			if err := p.try("power on, cleaning up,", on); err != nil {
				p.errorf("cleaning up: %v", err)
			}
		}
	}()
	for _, what := range []string{"fence", "a second fence"} {
		proof := want(p, what, func(ctx context.Context) (string, error) { return f.Fence(ctx, host) })
		if proof == "" {
			p.errorf("%s does not say how the host was seen to be off", what)
		}
		if list, err := p.list(host); err == nil {
			for _, m := range list {
				if m.Power == pool.Running {
					p.errorf("after %s machine %q is listed as running", what, m.Native)
				}
			}
		}
	}
	for _, b := range beside {
		p.power(b.Ref, pool.Running, "after another host was fenced")
	}
	p.must("power on", on)
	back = true
	for deadline := time.Now().Add(p.Boot); ; p.pause(100 * time.Millisecond) {
		_, err := p.list(host)
		if err == nil {
			break
		}
		if time.Now().After(deadline) || errors.Is(err, hypervisor.ErrNotFound) {
			p.fatalf("%v after power on the host cannot be listed: %v", p.Boot, err)
		}
	}
	p.power(o.Ref, pool.Stopped, "after its host was fenced and is back")
	p.must("start", p.start(o.Ref))
	p.power(o.Ref, pool.Running, "after its host was fenced and is back, started,")
}
