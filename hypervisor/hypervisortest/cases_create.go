package hypervisortest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

func createStopped(p *probe) {
	o := p.created(p.Hosts[0])
	m := p.shown(o.Ref, "after create")
	if m.Power != pool.Stopped && m.Power != pool.Running {
		p.errorf("after create the machine is %q instead of stopped", m.Power)
	}
	if m.Power == pool.Running && hypervisor.CapabilitiesOf(p.Driver, o.Host).CreateUnique {
		// A hypervisor that knows ids of ours is one to which a driver can define a machine without starting it.
		p.errorf("after create the machine runs")
	}
	for _, c := range []pool.Class{pool.CPU, pool.Memory} {
		got, asked := m.Resources[c], o.Spec.Resources[c]
		if shape := o.Allocation.Shape; shape != "" {
			asked = o.Allocation.Resources[c]
		}
		if got != 0 && asked != 0 && got != asked {
			p.errorf("the machine has %s of %s instead of %s", c.Format(got), c, c.Format(asked))
		}
	}
}

// another returns o under the tag of another ledger.
func (p *probe) another(o hypervisor.Order) hypervisor.Order {
	o.Ledger = p.ledger + "-other"
	return o
}

func createTwice(p *probe) {
	o := p.created(p.Hosts[0])
	was := p.shown(o.Ref, "after create")
	p.fails(hypervisor.ErrExists, "a second create", p.creation(o))
	p.power(o.Ref, was.Power, "after a second create")
	p.must("start", p.start(o.Ref))
	p.fails(hypervisor.ErrExists, "a second create of a running machine", p.creation(o))
	p.fails(hypervisor.ErrExists, "a create of the same id by another ledger", p.creation(p.another(o)))
	p.power(o.Ref, pool.Running, "after three creates")
	if is := p.shown(o.Ref, "after three creates"); is.Native != was.Native {
		p.errorf("a second create has put %q into the place of %q", is.Native, was.Native)
	}
}

func createRace(p *probe) {
	o := p.order(p.Hosts[0])
	create := p.creation(o)
	const racers = 4
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { errs[i] = p.try("create", create) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, hypervisor.ErrExists):
			p.errorf("a create that lost the race failed with %q instead of %q", err, hypervisor.ErrExists)
		}
	}
	if won != 1 {
		p.errorf("%d of %d creates at the same time have succeeded", won, racers)
	}
	p.shown(o.Ref, "after the race")
	p.must("start", p.start(o.Ref))
	p.power(o.Ref, pool.Running, "after the race, started,")
}

func createFails(p *probe) {
	o := p.order(p.Hosts[0])
	bad := o
	bad.Source = p.BadSource
	err := p.try("create from an image that is not there", p.creation(bad))
	switch {
	case err == nil:
		p.errorf("a create from an image that is not there has succeeded")
	case !errors.Is(err, hypervisor.ErrRefused) && !errors.Is(err, hypervisor.ErrInvalid):
		p.errorf("a create from an image that is not there failed with %q instead of %q or %q", err, hypervisor.ErrRefused, hypervisor.ErrInvalid)
	case !hypervisor.Nothing(err):
		p.errorf("the error %q leaves open what was done", err)
	}
	p.gone(o.Ref, "after a create that failed")
	if p.Traces != nil {
		traces := want(p, "traces", func(ctx context.Context) (map[string]bool, error) { return p.trace(ctx, o.Host) })
		for n := range traces {
			if !p.traces[o.Host][n] {
				p.errorf("after a create that failed there is %q", n)
			}
		}
	}
	p.must("create after one that failed", p.creation(o))
	p.shown(o.Ref, "after a create that followed one that failed")
	p.must("destroy", p.destroy(o.Ref))
	p.must("destroy", p.destroy(o.Ref))
}

func createDisks(p *probe) {
	o := p.started(p.Hosts[0], func(o *hypervisor.Order) {
		first, second := p.ExtraDisk, p.ExtraDisk
		if hypervisor.CapabilitiesOf(p.Driver, o.Host).FirstBoot {
			first.Mount, second.Mount = "/data", "/srv/more"
		} else {
			first.Mount, second.Mount = "", ""
		}
		o.Spec.Disks = append(o.Spec.Disks, first, second)
	})
	if meter, ok := hypervisor.As[hypervisor.Meter](p.Driver); ok && hypervisor.Has(p.Driver, o.Host, hypervisor.CanMeter) {
		disks := make(map[string]bool)
		for _, s := range want(p, "sample", func(ctx context.Context) ([]hypervisor.Sample, error) { return meter.Sample(ctx, o.Host) }) {
			if s.Machine == o.Machine && slices.Contains([]string{hypervisor.DiskAllocated, hypervisor.DiskReadBytes, hypervisor.DiskReads}, s.Name) {
				disks[s.Device] = true
			}
		}
		if n := len(disks); n != 0 && n < len(o.Spec.Disks) {
			p.errorf("%d disks are metered instead of %d", n, len(o.Spec.Disks))
		}
	}
	p.must("destroy", p.destroy(o.Ref))
	p.gone(o.Ref, "after destroy")
}

func createText(p *probe) {
	hostile := `]]></domain> "'` + "`$(id)` \\ {{.}} %s äöü 機 &amp; - :"
	o := p.created(p.Hosts[0], func(o *hypervisor.Order) {
		o.Spec.Labels = map[string]string{"note": hostile, "a/b.c-d_e": `"`}
		o.Image.OS = hostile
		if hypervisor.CapabilitiesOf(p.Driver, o.Host).FirstBoot {
			o.Spec.Guest.UserData = "#cloud-config\nwrite_files:\n- path: /tmp/a\n  content: |\n    " + hostile + "\n\t]]>\n"
		}
	})
	m := p.shown(o.Ref, "after create")
	if m.Power != pool.Stopped && m.Power != pool.Running {
		p.errorf("after create the machine is %q", m.Power)
	}
	p.must("destroy", p.destroy(o.Ref))
	p.gone(o.Ref, "after destroy")
}

func tagsExact(p *probe) {
	plain := p.created(p.Hosts[0])
	odd := p.created(p.Hosts[0], func(o *hypervisor.Order) {
		id, _, _ := o.Machine.Split()
		o.Machine = id.Machine(math.MaxInt32)
		o.Launched = math.MaxInt64
		o.Ledger += "-0123456789abcdefghijklmnopqrstuvwxyz"
	})
	for _, o := range []hypervisor.Order{plain, odd} {
		p.shown(o.Ref, "after create")
		p.must("start", p.start(o.Ref))
		p.power(o.Ref, pool.Running, "after start")
		p.must("stop", p.stop(o.Ref))
		p.power(o.Ref, pool.Stopped, "after stop")
	}
}

func tagsReopened(p *probe) {
	off, on := p.created(p.Hosts[0]), p.started(p.Hosts[0])
	was := p.shown(off.Ref, "after create").Power
	ctx, cancel := context.WithTimeout(p.ctx, p.Timeout)
	defer cancel()
	d, err := p.Reopen(ctx)
	if err != nil {
		p.fatalf("reopen: %v", err)
	}
	p.Driver = d
	p.power(off.Ref, was, "after the driver was opened anew")
	p.power(on.Ref, pool.Running, "after the driver was opened anew")
	p.must("destroy", p.destroy(on.Ref))
	p.must("destroy", p.destroy(off.Ref))
}
