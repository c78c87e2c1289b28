package main

import (
	"fmt"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// fleet is a pool of equal hosts on which the SDK's scheduler places VMs. Placements are booked in an index; the books
// know the hosts, and VMs only where run has told them.
type fleet struct {
	scheduler scheduler.Scheduler
	books     *pool.State
	index     *scheduler.Index
	asks      map[size]*scheduler.Ask
	host      size
	hosts     int                 // that there are
	used      int                 // that carry something
	on        map[pool.HostID]int // how many VMs
	revision  pool.Revision
}

const (
	simDriver = "sim"
	simImage  = "any"
)

// newFleet returns a pool of so many hosts.
func newFleet(host size, hosts int, s scheduler.Scheduler) (*fleet, error) {
	f := &fleet{
		scheduler: s, books: pool.NewState(), host: host, asks: make(map[size]*scheduler.Ask), on: make(map[pool.HostID]int, hosts),
	}
	f.index = scheduler.NewIndex(f.books)
	if err := f.fold(pool.KindOpened, &pool.Opened{Ledger: "berthsim"}); err != nil {
		return nil, err
	}
	if err := f.fold(pool.KindProjectPut, &pool.Project{Name: "trace"}); err != nil {
		return nil, err
	}
	for range hosts {
		if err := f.grow(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// fold puts a fact into the books, as a Ledger would.
func (f *fleet) fold(kind string, payload any) error {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		return err
	}
	f.revision++
	e.ID, e.Revision = "e", f.revision
	return f.books.Apply(&e)
}

// grow adds a host.
func (f *fleet) grow() error {
	f.hosts++
	id := pool.NewHostID(simDriver, fmt.Sprintf("host-%06d", f.hosts))
	err := f.fold(pool.KindHostPut, &pool.HostPut{Host: pool.Host{
		ID:         id,
		Conditions: pool.Ready,
		Inventory:  map[pool.Class]pool.Inventory{pool.CPU: {Total: f.host.cpu}, pool.Memory: {Total: f.host.mem}},
	}})
	f.index.Sync(f.books, id)
	return err
}

// growWhenFull adds a host if there is no empty one, so that none is refused that fits on one.
func (f *fleet) growWhenFull() error {
	if f.used < f.hosts {
		return nil
	}
	return f.grow()
}

// request asks for a VM of that size.
func (f *fleet) request(s size) scheduler.Request {
	return scheduler.Request{
		Spec:  pool.Spec{Image: simImage, Resources: s.resources()},
		Image: pool.Image{Name: simImage, Sources: map[string]string{simDriver: simImage}}, Project: "trace",
	}
}

// place places a VM where the scheduler wants it; lives is how long it is expected to, nil if nobody knows. What it takes is the
// same for all VMs of a size and must not be changed. The error is pool.ErrNoRoom if no host has room.
func (f *fleet) place(s size, now time.Time, lives scheduler.Lives) (scheduler.Decision, error) {
	var d scheduler.Decision
	ask := f.asks[s]
	if ask == nil {
		var err error
		if ask, err = f.scheduler.Ask(f.request(s)); err != nil {
			return d, err
		}
		f.asks[s] = ask
	}
	ask.Expect(now, lives)
	if err := f.index.Choose(ask, &d); err != nil {
		return d, err
	}
	return d, f.book(&d)
}

func (f *fleet) book(d *scheduler.Decision) error {
	if err := f.index.Book(d.Host, &d.Allocation); err != nil {
		return err
	}
	if f.on[d.Host]++; f.on[d.Host] == 1 {
		f.used++
	}
	return nil
}

// free takes a VM away again.
func (f *fleet) free(d *scheduler.Decision) error {
	if err := f.index.Free(d.Host, &d.Allocation); err != nil {
		return err
	}
	if f.on[d.Host]--; f.on[d.Host] == 0 {
		f.used--
	}
	return nil
}

// run tells the books of a VM that has been placed, and that its machine runs.
func (f *fleet) run(s size, d *scheduler.Decision) error {
	req, name := f.request(s), fmt.Sprintf("vm-%d", f.revision)
	id := pool.NewInstanceID("berthsim", "trace", name)
	err := f.fold(pool.KindLaunched, &pool.Launched{
		Instance: id, Name: name, Project: "trace", Spec: req.Spec, Image: req.Image, Want: pool.Running,
		Place: pool.Placement{Host: d.Host, Allocation: d.Allocation},
	})
	if err != nil {
		return err
	}
	if err := f.fold(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)}); err != nil {
		return err
	}
	return f.fold(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Running})
}
