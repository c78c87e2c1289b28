package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/berthage/berthage/hypervisor"
)

// Destroy implements hypervisor.Driver. Every copy of the machine on the host goes, with its ports and disks, which are
// Nova's to remove. Nova deletes a server on a computer that is down from its books only; where it can be seen, in the
// mode Hypervisors, that is not asked for.
func (d *Driver) Destroy(ctx context.Context, r hypervisor.Ref) error {
	s := d.session(ctx)
	return wrap("destroy", r, s.call, s.destroy(r))
}

func (s *session) destroy(r hypervisor.Ref) error {
	deadline := time.Now().Add(s.d.config.Timeouts.Wait)
	gone := make(map[string]bool) // Nova may list for a moment what it does not find any more
	groups := make(map[string]bool)
	for n := 1; ; n++ {
		c, err := s.find(r)
		if err != nil {
			return err
		}
		if len(c.here) == 0 {
			for g := range groups {
				s.abandonGroup(g, gone)
			}
			if n > 1 {
				return nil
			}
			return s.knows(r.Host)
		}
		var ids []string
		for _, v := range c.here {
			if v.unreachable() {
				return errDown()
			}
			if !gone[v.ID] {
				ids = append(ids, v.ID)
				groups[v.Metadata[keyGroup]] = true
			}
		}
		if err := s.remove(ids); err != nil {
			return err
		}
		for _, id := range ids {
			gone[id] = true
		}
		if time.Now().After(deadline) {
			return refuse(hypervisor.ErrUnknown, errors.New("the machine keeps coming back"))
		}
		if len(ids) == 0 {
			if err := pause(s.ctx, s.d.config.poll(n)); err != nil {
				return err
			}
		}
	}
}

// remove deletes servers and waits until they are gone. Where deleted servers are kept for a while they are deleted once
// more, for good.
func (s *session) remove(ids []string) error {
	for _, id := range ids {
		if err := s.delete(id); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(s.d.config.Timeouts.Wait)
	for _, id := range ids {
		forced := false
		for n := 1; ; n++ {
			v, err := s.server(id)
			if err != nil {
				return err
			}
			if v == nil {
				break
			}
			if v.Status == softly && !forced {
				if err := s.send(id, "forceDelete", nil); err != nil && !answeredWith(err, http.StatusNotFound) {
					return err
				}
				forced = true
			}
			if v.Status == failed && v.Task == "" && v.Launched != "" && n > stills {
				return refuse(hypervisor.ErrUnknown, fmt.Errorf("the server cannot be removed: %w", s.failure(v)))
			}
			if time.Now().After(deadline) {
				return refuse(hypervisor.ErrUnknown, fmt.Errorf("not removed by Nova within %v", s.d.config.Timeouts.Wait))
			}
			if err := pause(s.ctx, s.d.config.poll(n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// delete sends the request; a server that is gone is success. It does no harm twice, so a lost answer is a reason to
// repeat it.
func (s *session) delete(id string) error {
	err := s.twice(func() error { return s.request(nova, http.MethodDelete, "servers/"+url.PathEscape(id), nil, nil) })
	if answeredWith(err, http.StatusNotFound) {
		return nil
	}
	return err
}

// twice makes a request that may be repeated, once more when its answer was lost.
func (s *session) twice(request func() error) error {
	err := request()
	if err != nil && s.ctx.Err() == nil && s.call.lost() {
		err = request()
	}
	return err
}
