package proxmox

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Destroy implements hypervisor.Driver. The guest goes last, so that a machine is listed as long as anything of it is left, unless
// its creation never came that far.
func (d *Driver) Destroy(ctx context.Context, r hypervisor.Ref) error {
	s := d.session(ctx)
	err := s.destroy(r)
	if err != nil && s.changed {
		err = refuse(hypervisor.ErrUnknown, err) // a part has been done
	}
	return wrap("destroy", r, s.changed, err)
}

func (s *session) destroy(r hypervisor.Ref) error {
	if err := validTag(r.Tag); err != nil {
		return refuse(hypervisor.ErrInvalid, err)
	}
	node, err := s.node(r.Host)
	if err != nil {
		return err
	}
	done, err := s.machines.Take(s.ctx, r.Machine)
	if err != nil {
		return &lostError{cause: err}
	}
	defer done()
	// A create or a start that was sent before, and landed between two of the steps, is met in the next round.
	for range 4 {
		all, err := s.guests(node)
		if err != nil {
			return err
		}
		found, foreign := []*guest(nil), false
		for _, g := range all {
			if g.mark == nil || g.mark.tag().Machine != r.Machine {
				continue
			}
			if g.mark.tag() == r.Tag {
				found = append(found, g)
			} else {
				foreign = true
			}
		}
		if len(found) == 0 {
			if foreign || s.inPlace(all, r) {
				return refuse(hypervisor.ErrForeign, nil)
			}
			s.mu.Lock()
			delete(s.hints, hint{node, r.Machine})
			s.mu.Unlock()
			return s.deleteSeeds(node, seedName(r))
		}
		for _, g := range found {
			if err := s.remove(g); err != nil {
				return err
			}
		}
	}
	return refuse(hypervisor.ErrUnknown, errors.New("the machine keeps coming back"))
}

// remove switches a guest off and removes it with its disks and its seed; one that is gone is success.
func (s *session) remove(g *guest) error {
	if g.status.Lock == "clone" || g.status.Lock == "create" {
		if err := s.unlocked(g.node, g.vmid); err != nil {
			return gone(err)
		}
	}
	removed := func() (bool, error) {
		now, err := s.look(g.node, g.vmid)
		return now == nil || now.mark == nil || *now.mark != *g.mark, err
	}
	err := s.powerOff(g)
	if err != nil {
		return gone(err)
	}
	for _, d := range g.conf.drives() {
		if name, ok := strings.CutPrefix(d.volume, s.cfg.SeedStorage+":iso/"); ok && strings.HasPrefix(name, seedPrefix(pool.MachineID(g.mark.Machine))) {
			if err := s.deleteSeeds(g.node, name); err != nil {
				return err
			}
		}
	}
	err = s.do(http.MethodDelete, g.path(), params{"purge": 1, "destroy-unreferenced-disks": 1})
	if says(err, noGuest) {
		return nil
	}
	return s.settle(err, removed)
}

// gone is err, or nil where it says that there is no such guest.
func gone(err error) error {
	if says(err, noGuest) {
		return nil
	}
	return err
}

// powerOff ends a guest's run at once; one that does not run is success.
func (s *session) powerOff(g *guest) error {
	off := func() (bool, error) {
		p, err := s.power(g)
		return p == pool.Stopped, err
	}
	if ok, err := off(); ok || err != nil {
		return err
	}
	if g.status.power() == pool.Hibernated {
		return s.forget(g)
	}
	return s.settle(s.do(http.MethodPost, g.path()+"/status/stop", nil), off)
}
