package hypervisortest

import (
	"context"
	"errors"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

func (p *probe) disks(o hypervisor.Order) func(context.Context) error {
	d, _ := hypervisor.As[hypervisor.DiskAttacher](p.Driver)
	return func(ctx context.Context) error { return d.SetDisks(ctx, o) }
}

// more is a later order with n disks more.
func (p *probe) more(o hypervisor.Order, n int) hypervisor.Order {
	return p.reorder(o, func(next *hypervisor.Order) {
		for range n {
			next.Spec.Disks = append(next.Spec.Disks, p.ExtraDisk)
		}
	})
}

// fewer is a later order with the first n disks.
func (p *probe) fewer(o hypervisor.Order, n int) hypervisor.Order {
	return p.reorder(o, func(next *hypervisor.Order) { next.Spec.Disks = next.Spec.Disks[:n] })
}

// hasDisks requires that a stopped machine has as many disks as an order, by what the driver's Resizer says: another number of
// them is ErrInvalid.
func (p *probe) hasDisks(o hypervisor.Order, when string) {
	if !hypervisor.Has(p.Driver, o.Host, hypervisor.CanResize) {
		return
	}
	p.must("a resize that changes nothing, "+when+",", p.resizing(p.reorder(o, func(*hypervisor.Order) {})))
	p.fails(hypervisor.ErrInvalid, "a resize with one disk more, "+when+",", p.resizing(p.more(o, 1)))
}

func setDisks(p *probe) {
	o := p.used()
	two := p.more(o, 2)
	p.must("two disks more", p.disks(two))
	p.power(o.Ref, pool.Stopped, "after two disks more")
	p.must("the same disks again", p.disks(two))
	p.power(o.Ref, pool.Stopped, "after the same disks again")
	p.hasDisks(two, "after two disks more")
	p.must("start with more disks", p.start(o.Ref))
	p.power(o.Ref, pool.Running, "after start with more disks")
	p.must("stop", p.stop(o.Ref))
	one := p.fewer(two, len(o.Spec.Disks)+1)
	p.must("one disk fewer", p.disks(one))
	p.hasDisks(one, "after one disk fewer")
	none := p.fewer(one, len(o.Spec.Disks))
	p.must("the disks of the beginning", p.disks(none))
	p.hasDisks(none, "after the disks of the beginning")
	p.sized(none, "at the end")
}

func setDisksRefused(p *probe) {
	o := p.used()
	early := p.more(o, 2)
	one := p.more(o, 1)
	p.must("one disk more", p.disks(one))
	p.fails(hypervisor.ErrRefused, "an earlier order", p.disks(early))
	p.hasDisks(one, "after an earlier order")
	for what, change := range map[string]func(*hypervisor.Order){
		"a larger disk":  func(next *hypervisor.Order) { next.Spec.Disks[0].Size *= 2 },
		"no disk at all": func(next *hypervisor.Order) { next.Spec.Disks = nil },
		"more memory":    func(next *hypervisor.Order) { next.Spec.Resources[pool.Memory] *= 2 },
	} {
		p.fails(hypervisor.ErrInvalid, what, p.disks(p.reorder(one, change)))
		p.sized(one, "after "+what)
		p.hasDisks(one, "after "+what)
	}
	p.power(o.Ref, pool.Stopped, "after all that")
}

func setDisksRunning(p *probe) {
	o := p.started(p.Hosts[0])
	one := p.more(o, 1)
	p.must("one disk more of a running machine", p.disks(one))
	p.power(o.Ref, pool.Running, "after one disk more")
	switch err := p.try("one disk fewer of a running machine", p.disks(p.fewer(one, len(o.Spec.Disks)))); {
	case err == nil, errors.Is(err, hypervisor.ErrRefused):
	default:
		p.errorf("one disk fewer of a running machine failed with %q", err)
	}
	p.power(o.Ref, pool.Running, "after one disk fewer")
	p.must("stop", p.stop(o.Ref))
	none := p.fewer(one, len(o.Spec.Disks))
	p.must("one disk fewer", p.disks(none))
	p.hasDisks(none, "after one disk fewer")
}
