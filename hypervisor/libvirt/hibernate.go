package libvirt

import (
	"context"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
)

// Hibernate implements hypervisor.Hibernator by libvirt's managed save: the memory is written to a file of the host's,
// where the daemon keeps such files, which is in none of its storage pools. A suspended machine is
// hypervisor.ErrWrongPower.
func (d *Driver) Hibernate(ctx context.Context, r hypervisor.Ref) error {
	return d.alter(ctx, "hibernate", r, func(s *session, dom *domain) error {
		switch {
		case dom.saved:
			return nil
		case !dom.running():
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		if err := s.autostart(dom, false); err != nil {
			return err
		}
		err := s.patiently(func() error {
			return do(s, func(api *lv.Libvirt) error { return api.DomainManagedSave(dom.Domain, 0) })
		})
		if err == nil {
			return nil
		}
		if now, e := s.find(r); e == nil && now != nil && now.saved {
			return nil // somebody else was faster
		}
		return err
	})
}

// autostart notes whether the machine is to be started with its host, where the configuration wants that.
func (s *session) autostart(dom *domain, on bool) error {
	if !s.h.config.Autostart {
		return nil
	}
	return do(s, func(api *lv.Libvirt) error { return api.DomainSetAutostart(dom.Domain, cmpOr(on, int32(1), 0)) })
}
