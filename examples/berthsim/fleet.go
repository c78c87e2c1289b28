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
		ID:         pool.NewHostID(simDriver, fmt.Sprintf("host-%06d", f.hosts)),
		Conditions: pool.Ready,
		Inventory:  map[pool.Class]pool.Inventory{pool.CPU: {Total: f.host.cpu}, pool.Memory: {Total: f.host.mem}},
	}})
}

// place places a VM where the scheduler wants it.
func (f *fleet) place(s size) error {
	image := pool.Image{Name: simImage, Sources: map[string]string{simDriver: simImage}}
	req := scheduler.Request{Spec: pool.Spec{Image: simImage, Resources: s.resources()}, Image: image, Project: "trace"}
	d, err := f.scheduler.Place(f.books, req)
	if err != nil {
		return err
	}
	h, _ := f.books.Host(d.Host)
	first := h.Placed == 0
	name := fmt.Sprintf("vm-%d", f.revision)
	if err := f.fold(pool.KindLaunched, &pool.Launched{
		Instance: pool.NewInstanceID("berthsim", "trace", name), Name: name, Project: "trace",
		Spec: req.Spec, Image: image, Want: pool.Running,
		Place: pool.Placement{Host: d.Host, Allocation: d.Allocation},
	}); err != nil {
		return err
	}
	if !first {
		return nil
	}
	f.used++
	return f.grow()
}
