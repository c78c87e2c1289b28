package openstack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Shelve implements hypervisor.Shelver by Nova's shelve, which makes an image of the root disk and takes the server off
// its computer. What is put aside goes on counting in the project's quota. A machine with further disks is refused, as
// Nova would drop them.
func (d *Driver) Shelve(ctx context.Context, r hypervisor.Ref) error {
	if err := d.unsupported(hypervisor.CanShelve, "shelve", r); err != nil {
		return err
	}
	s := d.session(ctx)
	return wrap("shelve", r, s.call, s.shelve(r))
}

func (s *session) shelve(r hypervisor.Ref) error {
	c, err := s.find(r)
	switch {
	case err != nil:
		return err
	case len(c.here) == 0 && len(c.aside) > 0:
		return nil
	case len(c.here) == 0:
		if err := s.knows(r.Host); err != nil {
			return err
		}
		return refuse(hypervisor.ErrNotFound, nil)
	case len(c.aside) > 0:
		return refuse(hypervisor.ErrExists, errors.New("something is put aside of the machine already"))
	case len(c.here) > 1:
		return refuse(hypervisor.ErrRefused, errors.New("there are several copies of the machine"))
	case len(c.here[0].disks()) > 1:
		return refuse(hypervisor.ErrRefused, errors.New("the machine has disks that Nova would not keep"))
	}
	id := c.here[0].ID
	var waiting int // for Nova to take the server off its computer by itself
	err = s.bring(id, func(v *server) step {
		switch {
		case v == nil:
			return refused(hypervisor.ErrUnknown, errors.New("the server has gone"))
		case v.Status == offloaded:
			return done()
		case v.Status == shelved:
			if waiting++; waiting < stills {
				return step{wait: true}
			}
			return s.action(v, "shelveOffload", nil)
		case v.Status == shutoff:
			return s.action(v, "shelve", nil)
		}
		return s.broken(v)
	})
	if err != nil {
		return err
	}
	if _, err := s.shelf(id); err != nil {
		return refuse(hypervisor.ErrUnknown, fmt.Errorf("the server is shelved: %w", err))
	}
	return nil
}

// shelf returns the id of the image that Nova has made of a shelved server.
func (s *session) shelf(id string) (string, error) {
	images, err := s.shelves(id)
	if err != nil {
		return "", err
	}
	for _, i := range images {
		if i.Status == "active" {
			return i.ID, nil
		}
	}
	return "", refuse(hypervisor.ErrRefused, errors.New("its image is not there"))
}

// shelfImage is an image of a server. Nova notes with it which.
type shelfImage struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
	Server string `json:"instance_uuid"`
}

func (s *session) shelves(server string) ([]shelfImage, error) {
	all, err := list[shelfImage](s, glance, "images", "images", url.Values{"instance_uuid": {server}, "limit": {pageSize}})
	if err != nil {
		return nil, err
	}
	var out []shelfImage
	for _, i := range all {
		if i.Server == server && len(i.Name) > len("-shelved") && i.Name[len(i.Name)-len("-shelved"):] == "-shelved" {
			out = append(out, i)
		}
	}
	return out, nil
}

// Unshelve implements hypervisor.Shelver: a new server from the image of the one that was put aside.
func (d *Driver) Unshelve(ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
	if err := d.unsupported(hypervisor.CanShelve, "unshelve", o.Ref); err != nil {
		return err
	}
	s := d.session(ctx)
	return wrap("unshelve", o.Ref, s.call, s.create(&o, func() (string, error) { return s.takeDown(&o, from) }))
}

// takeDown returns the image of what is put aside of a machine, if an order can be made from it.
func (s *session) takeDown(o *hypervisor.Order, from hypervisor.Ref) (string, error) {
	aside, err := s.aside(from)
	if err != nil {
		return "", err
	}
	if len(aside) == 0 {
		return "", refuse(hypervisor.ErrRefused, fmt.Errorf("nothing is put aside of %s", pool.Quote(string(from.Machine))))
	}
	if err := grown(aside[0].disks(), o.Spec.Disks); err != nil {
		return "", refuse(hypervisor.ErrInvalid, err)
	}
	return s.shelf(aside[0].ID)
}

// aside lists what is put aside under a tag, wherever that was.
func (s *session) aside(r hypervisor.Ref) ([]server, error) {
	if err := validTag(r.Tag); err != nil {
		return nil, refuse(hypervisor.ErrInvalid, err)
	}
	all, err := s.servers(url.Values{"tags": {machineTag(r.Machine)}})
	if err != nil {
		return nil, err
	}
	var out []server
	for _, v := range all {
		if v.Status == offloaded && v.tag() == r.Tag {
			out = append(out, v)
		}
	}
	return out, nil
}

// Discard implements hypervisor.Shelver. With a shelved server Nova deletes its image.
func (d *Driver) Discard(ctx context.Context, r hypervisor.Ref) error {
	if err := d.unsupported(hypervisor.CanShelve, "discard", r); err != nil {
		return err
	}
	s := d.session(ctx)
	return wrap("discard", r, s.call, s.discard(r))
}

func (s *session) discard(r hypervisor.Ref) error {
	aside, err := s.aside(r)
	if err != nil {
		return err
	}
	for _, v := range aside {
		// The server goes last, as without it nobody would know of the image.
		images, err := s.shelves(v.ID)
		if err != nil {
			return err
		}
		if err := s.remove([]string{v.ID}); err != nil {
			return err
		}
		for _, i := range images {
			if err := s.forget(i.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget makes sure that Nova has removed an image, and removes it where it has not.
func (s *session) forget(image string) error {
	at := "images/" + url.PathEscape(image)
	for n := 1; n <= stills; n++ {
		err := s.get(glance, at, nil)
		if answeredWith(err, http.StatusNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := pause(s.ctx, min(s.d.config.poll(n), time.Second)); err != nil {
			return err
		}
	}
	err := s.request(glance, http.MethodDelete, at, nil, nil)
	if answeredWith(err, http.StatusNotFound) {
		return nil
	}
	return err
}
