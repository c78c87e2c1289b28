package hypervisortest

import (
	"context"
	"slices"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// content tells what is on a stopped machine's disks, where the setup can.
func (p *probe) content(r hypervisor.Ref) string {
	if p.Content == nil {
		return ""
	}
	return want(p, "content", func(ctx context.Context) (string, error) { return p.Content(ctx, r) })
}

// has requires that a stopped machine has that on its disks.
func (p *probe) has(content string, r hypervisor.Ref, when string) {
	if got := p.content(r); got != content {
		p.errorf("%s the machine has %q on its disks instead of %q", when, got, content)
	}
}

// used makes a machine on the first host that has run, and is stopped.
func (p *probe) used(change ...func(*hypervisor.Order)) hypervisor.Order {
	o := p.started(p.Hosts[0], change...)
	p.must("stop", p.stop(o.Ref))
	p.power(o.Ref, pool.Stopped, "after stop")
	return o
}

// shelver returns the ability, which the case's row has made sure of, as calls.
func (p *probe) shelver() (shelve, discard func(hypervisor.Ref) func(context.Context) error, unshelve func(hypervisor.Order, hypervisor.Ref) func(context.Context) error) {
	s, _ := hypervisor.As[hypervisor.Shelver](p.Driver)
	shelve = func(r hypervisor.Ref) func(context.Context) error {
		p.aside[r] = true
		return func(ctx context.Context) error { return s.Shelve(ctx, r) }
	}
	discard = func(r hypervisor.Ref) func(context.Context) error {
		return func(ctx context.Context) error { return s.Discard(ctx, r) }
	}
	unshelve = func(o hypervisor.Order, from hypervisor.Ref) func(context.Context) error {
		p.made[o.Ref] = true
		return func(ctx context.Context) error { return s.Unshelve(ctx, o, from) }
	}
	return shelve, discard, unshelve
}

// placement returns an order for the next placement of o's instance.
func placement(o hypervisor.Order) func(*hypervisor.Order) {
	return func(next *hypervisor.Order) {
		id, n, _ := o.Machine.Split()
		next.Machine, next.Launched, next.Name = id.Machine(n+1), o.Launched, o.Name
	}
}

// unique reports whether the host's hypervisor refuses a second machine of an id.
func (p *probe) unique(host pool.HostID) bool {
	return hypervisor.CapabilitiesOf(p.Driver, host).CreateUnique
}

func shelve(p *probe) {
	shelve, _, unshelve := p.shelver()
	never := p.order(p.Hosts[0])
	p.fails(hypervisor.ErrNotFound, "shelve of a machine that never was", shelve(never.Ref))
	o := p.started(p.Hosts[0])
	p.fails(hypervisor.ErrWrongPower, "shelve of a running machine", shelve(o.Ref))
	p.power(o.Ref, pool.Running, "after shelve of a running machine")
	p.must("stop", p.stop(o.Ref))
	content := p.content(o.Ref)
	p.must("shelve", shelve(o.Ref))
	p.gone(o.Ref, "after shelve")
	p.must("a second shelve", shelve(o.Ref))
	p.gone(o.Ref, "after a second shelve")

	next := p.order(p.Hosts[len(p.Hosts)-1], placement(o))
	p.must("unshelve", unshelve(next, o.Ref))
	if is := p.shown(next.Ref, "after unshelve").Power; is != pool.Stopped && (is != pool.Running || p.unique(next.Host)) {
		p.errorf("after unshelve the machine is %q instead of stopped", is) // as after create
	}
	p.has(content, next.Ref, "after unshelve")
	if p.unique(next.Host) {
		p.fails(hypervisor.ErrExists, "a second unshelve of the same id", unshelve(next, o.Ref))
	}
	p.gone(o.Ref, "after unshelve under another id")
	p.must("start after unshelve", p.start(next.Ref))
	p.power(next.Ref, pool.Running, "after unshelve and start")
}

func shelfKeeps(p *probe) {
	shelve, discard, unshelve := p.shelver()
	o, other := p.used(), p.used()
	content := p.content(o.Ref)
	next := p.order(p.Hosts[0], placement(o))
	p.fails(hypervisor.ErrRefused, "unshelve of what has not been put aside", unshelve(next, o.Ref))
	p.gone(next.Ref, "after unshelve of what has not been put aside")
	p.must("discard of what has not been put aside", discard(o.Ref))
	p.power(o.Ref, pool.Stopped, "after discard of what has not been put aside")

	p.must("shelve", shelve(o.Ref))
	for whose, r := range p.strangers(o.Ref) {
		p.must("discard under the tag of "+whose, discard(r))
		p.fails(hypervisor.ErrRefused, "unshelve of what "+whose+" has put aside", unshelve(next, r))
		p.gone(next.Ref, "after unshelve of what another has put aside")
	}
	p.must("discard of another machine", discard(other.Ref))
	p.power(other.Ref, pool.Stopped, "after its discard")
	for range 2 {
		p.must("unshelve", unshelve(next, o.Ref))
		p.has(content, next.Ref, "after unshelve")
		p.must("destroy", p.destroy(next.Ref)) // what is put aside is not used up
	}
	for range 2 {
		p.must("discard", discard(o.Ref))
	}
	p.fails(hypervisor.ErrRefused, "unshelve of what has been discarded", unshelve(next, o.Ref))
	p.gone(next.Ref, "after unshelve of what has been discarded")
	p.fails(hypervisor.ErrNotFound, "shelve after discard", shelve(o.Ref))
}

// snapshotter returns the ability, which the case's row has made sure of.
func (p *probe) snapshotter() hypervisor.Snapshotter {
	s, _ := hypervisor.As[hypervisor.Snapshotter](p.Driver)
	return s
}

// take keeps the machine's state under a name.
func (p *probe) take(r hypervisor.Ref, name string) func(context.Context) error {
	return func(ctx context.Context) error { return p.snapshotter().Snapshot(ctx, r, name) }
}

// keeps requires that these snapshots of the machine are listed, oldest first.
func (p *probe) keeps(r hypervisor.Ref, when string, names ...string) {
	list := want(p, "list snapshots", func(ctx context.Context) ([]hypervisor.Snapshot, error) { return p.snapshotter().Snapshots(ctx, r) })
	var got []string
	for i, s := range list {
		got = append(got, s.Name)
		if i > 0 && s.Time.Before(list[i-1].Time) {
			p.errorf("%s snapshot %q is of %v and listed after one of %v", when, s.Name, s.Time, list[i-1].Time)
		}
		const skew = time.Minute // between the hypervisor's clock and ours
		if age := time.Since(s.Time); age < -skew || age > time.Hour {
			p.errorf("%s snapshot %q is of %v", when, s.Name, s.Time)
		}
	}
	if !slices.Equal(got, names) {
		p.errorf("%s the snapshots %q are listed instead of %q", when, got, names)
	}
}

func snapshots(p *probe) {
	o, other := p.created(p.Hosts[0]), p.created(p.Hosts[0])
	p.must("stop", p.stop(o.Ref)) // where create starts
	p.keeps(o.Ref, "after create")
	for _, name := range []string{"zero", "a-1"} {
		p.must("snapshot", p.take(o.Ref, name))
		p.fails(hypervisor.ErrExists, "a second snapshot of a name", p.take(o.Ref, name))
		p.pause(10 * time.Millisecond)
	}
	p.fails(hypervisor.ErrInvalid, "a snapshot whose name is no label", p.take(o.Ref, "../A b"))
	p.keeps(o.Ref, "after two snapshots", "zero", "a-1")
	p.keeps(other.Ref, "after snapshots of another machine")
	p.power(o.Ref, pool.Stopped, "after two snapshots")
	for range 2 {
		p.must("delete snapshot", func(ctx context.Context) error { return p.snapshotter().DeleteSnapshot(ctx, o.Ref, "zero") })
		p.keeps(o.Ref, "after one was deleted", "a-1")
	}
	p.must("snapshot under a name that is free again", p.take(o.Ref, "zero"))
	p.keeps(o.Ref, "after one was taken anew", "a-1", "zero")
	p.must("destroy", p.destroy(o.Ref))
	p.must("create after destroy", p.creation(o))
	p.keeps(o.Ref, "after the machine was made anew")
}

func revert(p *probe) {
	o := p.used()
	to := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { return p.snapshotter().Revert(ctx, o.Ref, name) }
	}
	content := make(map[string]string)
	for _, name := range []string{"one", "two"} {
		p.must("snapshot", p.take(o.Ref, name))
		content[name] = p.content(o.Ref)
		p.must("start", p.start(o.Ref))
		p.fails(hypervisor.ErrWrongPower, "revert of a running machine", to(name))
		p.power(o.Ref, pool.Running, "after revert of a running machine")
		p.must("stop", p.stop(o.Ref))
	}
	for _, name := range []string{"one", "two", "one"} { // back and forth
		p.must("revert", to(name))
		p.has(content[name], o.Ref, "after revert")
	}
	p.fails(hypervisor.ErrRefused, "revert to what is not kept", to("none"))
	p.has(content["one"], o.Ref, "after revert to what is not kept")
	p.keeps(o.Ref, "after revert", "one", "two")
	p.power(o.Ref, pool.Stopped, "after revert")
	p.must("start after revert", p.start(o.Ref))
}
