package proxmox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Migrate implements hypervisor.Migrator. A guest keeps its VMID. Disks on shared storage stay where they are; local ones are
// copied to the storages that the order's allocation names. Linked clones on local storage cannot be moved, and neither can a
// machine whose seed is not on shared storage.
func (d *Driver) Migrate(ctx context.Context, from hypervisor.Ref, o hypervisor.Order) error {
	s := d.session(ctx)
	err := s.migrate(from, o)
	return wrap("migrate", from, s.changed, err)
}

func (s *session) migrate(from hypervisor.Ref, o hypervisor.Order) error {
	if err := validTag(from.Tag); err != nil {
		return refuse(hypervisor.ErrInvalid, err)
	}
	node, err := s.node(from.Host)
	if err != nil {
		return err
	}
	if err := s.offers(from.Host, hypervisor.CanMigrate); err != nil {
		return err
	}
	if from.Tag != o.Tag {
		return refuse(hypervisor.ErrInvalid, errors.New("the order is for a machine of another tag"))
	}
	if from.Host == o.Host {
		return refuse(hypervisor.ErrInvalid, errors.New("the machine is to move to where it is"))
	}
	done, err := s.machines.Take(s.ctx, from.Machine)
	if err != nil {
		return &lostError{cause: err}
	}
	defer done()
	g, err := s.find(node, from)
	if err != nil {
		return err
	}
	target, err := s.node(o.Host)
	if kindOf(err, false) == hypervisor.ErrNotFound && err != nil {
		if g == nil {
			return refuse(hypervisor.ErrNotFound, nil)
		}
		return refuse(hypervisor.ErrRefused, err)
	}
	if err != nil {
		return err
	}
	all, err := s.guests(target)
	if err != nil {
		return err
	}
	var there *guest
	for _, other := range all {
		if other.mark == nil || other.mark.tag().Machine != from.Machine {
			continue
		}
		if g != nil || other.mark.tag() != from.Tag {
			return refuse(hypervisor.ErrExists, nil)
		}
		there = other
	}
	switch {
	case g == nil && there == nil:
		return refuse(hypervisor.ErrNotFound, nil)
	case g == nil:
		if err := there.early(o); err != nil {
			return err
		}
		return s.arrived(there, o)
	}
	if err := g.early(o); err != nil {
		return err
	}
	return s.move(g, target, o)
}

// move sends a guest to another node.
func (s *session) move(g *guest, target string, o hypervisor.Order) error {
	if g.mark.Stage != complete {
		return refuse(hypervisor.ErrRefused, errors.New("its creation was broken off"))
	}
	power, err := s.power(g)
	if err != nil {
		return err
	}
	if power != pool.Stopped && (power != pool.Running || !s.cfg.MigrateLive) {
		return refuse(hypervisor.ErrWrongPower, nil)
	}
	p := params{"target": target}
	if power == pool.Running {
		p["online"], p["with-local-disks"] = 1, 1
	}
	mapping, err := s.mapping(g, target, o)
	if err != nil {
		return err
	}
	if mapping != "" {
		p["targetstorage"] = mapping
	}
	source := g.node
	arrived := func() (bool, error) {
		now, err := s.look(target, g.vmid)
		return now != nil && now.status.Lock == "" && now.mark != nil && now.mark.tag() == o.Tag, err
	}
	err = s.do(http.MethodPost, g.path()+"/migrate", p)
	if says(err, noGuest) { // a request that arrives twice finds it gone
		if ok, e := arrived(); e == nil && ok {
			err = nil
		}
	}
	if err := s.settle(err, arrived); err != nil {
		return err
	}
	there, err := s.look(target, g.vmid)
	if err != nil {
		return err
	}
	if there == nil || there.mark == nil || there.mark.tag() != o.Tag {
		return refuse(hypervisor.ErrUnknown, errors.New("the machine has not arrived"))
	}
	s.mu.Lock()
	delete(s.hints, hint{source, o.Machine})
	s.hints[hint{target, o.Machine}] = g.vmid
	s.mu.Unlock()
	return partly(true, s.arrived(there, o))
}

// arrived notes the order's revision with the guest, where it has arrived.
func (s *session) arrived(g *guest, o hypervisor.Order) error {
	if g.mark.Revision == int64(o.Revision) {
		return nil
	}
	description, err := g.revised(o)
	if err != nil {
		return refuse(hypervisor.ErrInvalid, err)
	}
	return s.describe(g.node, g.vmid, description)
}

// mapping returns to which storages of the target disks go, as the API wants it: by storage, not by disk.
func (s *session) mapping(g *guest, target string, o hypervisor.Order) (string, error) {
	here, err := s.storages(g.node)
	if err != nil {
		return "", err
	}
	there, err := s.storages(target)
	if err != nil {
		return "", err
	}
	no := func(format string, args ...any) (string, error) {
		return "", refuse(hypervisor.ErrRefused, fmt.Errorf(format, args...))
	}
	goes := make(map[string]string)
	for i, d := range g.conf.disks() {
		from := d.storage()
		to := from
		for _, claim := range o.Allocation.Claims {
			if claim.Disk == i {
				to = claim.Device
			}
		}
		switch st, ok := there[to]; {
		case !ok || !st.images():
			return no("disk %d: node %s has no storage %s for disks", i, pool.Quote(target), pool.Quote(to))
		case here[from].Shared != 0 && to != from:
			return no("disk %d: it is on shared storage %s and stays there", i, pool.Quote(from))
		case goes[from] != "" && goes[from] != to:
			return no("disk %d: disks of storage %s cannot go to different ones", i, pool.Quote(from))
		}
		goes[from] = to
	}
	for _, d := range g.conf.drives() {
		from := d.storage()
		if from == "" || here[from].Shared != 0 {
			continue
		}
		if d.cdrom() && !d.cloudInit() {
			return no("drive %s: images on storage %s, which is not shared, cannot be moved", pool.Quote(d.key), pool.Quote(from))
		}
		if _, ok := goes[from]; !ok {
			goes[from] = from
		}
	}
	var out []string
	for _, from := range slices.Sorted(maps.Keys(goes)) {
		if goes[from] != from {
			out = append(out, from+":"+goes[from])
		}
	}
	return strings.Join(out, ","), nil
}
