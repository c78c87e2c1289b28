package main

import (
	"fmt"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// fleet is a pool of equal hosts on which the SDK's scheduler places VMs. There is always an empty host, so that
// none is refused that fits on one.
type fleet struct {
	scheduler scheduler.Scheduler
	books     *pool.State
	host      size
	hosts     int // that there are
	used      int // that carry something
	revision  pool.Revision
}

const (
	simDriver = "sim"
	simImage  = "any"
)

func newFleet(host size, s scheduler.Scheduler) (*fleet, error) {
	f := &fleet{scheduler: s, books: pool.NewState(), host: host}
	if err := f.fold(pool.KindOpened, &pool.Opened{Ledger: "berthsim"}); err != nil {
		return nil, err
	}
	if err := f.fold(pool.KindProjectPut, &pool.Project{Name: "trace"}); err != nil {
		return nil, err
	}
	return f, f.grow()
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
	return f.fold(pool.KindHostPut, &pool.HostPut{Host: pool.Host{
		ID:         f.last(),
		Conditions: pool.Ready,
		Inventory:  map[pool.Class]pool.Inventory{pool.CPU: {Total: f.host.cpu}, pool.Memory: {Total: f.host.mem}},
	}})
}

// last returns the host that was added last.
func (f *fleet) last() pool.HostID {
	return pool.NewHostID(simDriver, fmt.Sprintf("host-%06d", f.hosts))
}

// request asks for a VM of that size.
func (f *fleet) request(s size) scheduler.Request {
	return scheduler.Request{
		Spec:  pool.Spec{Image: simImage, Resources: s.resources()},
		Image: pool.Image{Name: simImage, Sources: map[string]string{simDriver: simImage}}, Project: "trace",
	}
}

// place places a VM where the scheduler wants it.
func (f *fleet) place(s size) error {
	d, err := f.scheduler.Place(f.books, f.request(s))
	if err != nil {
		return err
	}
	used := f.used
	if _, err := f.launch(s, d); err != nil || f.used == used {
		return err
	}
	return f.grow()
}

// launch books a VM.
func (f *fleet) launch(s size, d scheduler.Decision) (pool.InstanceID, error) {
	h, _ := f.books.Host(d.Host)
	if h.Placed == 0 {
		f.used++
	}
	req, name := f.request(s), fmt.Sprintf("vm-%d", f.revision)
	id := pool.NewInstanceID("berthsim", "trace", name)
	return id, f.fold(pool.KindLaunched, &pool.Launched{
		Instance: id, Name: name, Project: "trace", Spec: req.Spec, Image: req.Image, Want: pool.Running,
		Place: pool.Placement{Host: d.Host, Allocation: d.Allocation},
	})
}

// run books a VM whose machine runs.
func (f *fleet) run(s size, d scheduler.Decision) error {
	id, err := f.launch(s, d)
	if err != nil {
		return err
	}
	if err := f.fold(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)}); err != nil {
		return err
	}
	return f.fold(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Running})
}
