package libvirt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Destroy implements hypervisor.Driver. The definition goes last, so that a machine is listed as long as
// anything of it is left, unless its create never came that far. Volumes are found by their names, in all
// active storage pools of the host, so also those of attempts that broke off and the logs that virtlogd has
// rotated.
func (d *Driver) Destroy(ctx context.Context, r hypervisor.Ref) error {
	h, err := d.host(r.Host)
	if err != nil {
		return wrap("destroy", r, false, err)
	}
	if err := validTag(r.Tag); err != nil {
		return wrap("destroy", r, false, refuse(hypervisor.ErrInvalid, err))
	}
	done, err := h.machines.Take(ctx, r.Machine)
	if err != nil {
		return wrap("destroy", r, false, err)
	}
	s := h.session(ctx)
	defer s.release(done)
	err = d.destroy(s, r)
	var no *serverError
	if s.changed && errors.As(err, &no) {
		err = refuse(hypervisor.ErrUnknown, err) // a part has been done
	}
	return wrap("destroy", r, s.changed, err)
}

func (d *Driver) destroy(s *session, r hypervisor.Ref) error {
	// A start that was sent before, and landed between two of the steps, is met in the second round.
	for range 3 {
		dom, err := s.find(r)
		if err != nil {
			return err
		}
		own := "" // names of its files begin with this
		if dom != nil {
			there, err := d.other(s, dom)
			if err != nil {
				return err
			}
			if err := s.powerOff(dom.Domain); err != nil {
				return err
			}
			if there != nil { // the disks are those of the other copy
				return s.undefine(dom.Domain)
			}
			if s.h.shares() {
				if own, err = s.family(dom); err != nil {
					return err
				}
			}
		}
		if err := s.deleteVolumes(r.Tag, own, dom != nil); err != nil {
			return err
		}
		if dom == nil {
			return nil
		}
		if err := s.undefine(dom.Domain); err != nil {
			return err
		}
	}
	return refuse(hypervisor.ErrUnknown, errors.New("the machine keeps coming back"))
}

// powerOff ends a domain at once; one that does not run, or is gone, is success.
func (s *session) powerOff(dom lv.Domain) error {
	err := do(s, func(api *lv.Libvirt) error { return api.DomainDestroyFlags(dom, 0) })
	var no *serverError
	if !errors.As(err, &no) {
		return err
	}
	if said(err, lv.ErrNoDomain) {
		return nil
	}
	if state, e := s.state(dom); e == nil && (state == lv.DomainShutoff || state == lv.DomainCrashed) {
		return nil
	}
	return err
}

// state returns the power state of a domain.
func (s *session) state(dom lv.Domain) (lv.DomainState, error) {
	return read(s, func(api *lv.Libvirt) (lv.DomainState, error) {
		state, _, err := api.DomainGetState(dom, 0)
		return lv.DomainState(state), err
	})
}

// undefine removes a definition with what libvirt keeps beside it; one that is gone is success.
func (s *session) undefine(dom lv.Domain) error {
	err := do(s, func(api *lv.Libvirt) error {
		return api.DomainUndefineFlags(dom, lv.DomainUndefineManagedSave|lv.DomainUndefineSnapshotsMetadata)
	})
	if said(err, lv.ErrNoDomain) {
		return nil
	}
	return err
}

// family is what the names of the machine's files begin with, or nothing where its definition has none of them any more.
func (s *session) family(dom *domain) (string, error) {
	x, err := s.inspect(dom)
	if err != nil {
		if errors.Is(err, hypervisor.ErrRefused) || said(err, lv.ErrNoDomain) {
			return "", nil
		}
		return "", err
	}
	f, _ := family(x.disks[0].file(), dom.tag.tag())
	return f, nil
}

// deleteVolumes removes all volumes of the machine. Pools that hold one, and all when the machine was there, are read
// anew first: virtlogd adds files that libvirt does not know yet, and so do other hosts.
func (s *session) deleteVolumes(t hypervisor.Tag, own string, there bool) error {
	pools, err := read(s, func(api *lv.Libvirt) ([]lv.StoragePool, error) {
		l, _, err := api.ConnectListAllStoragePools(1, lv.ConnectListStoragePoolsActive)
		return l, err
	})
	if err != nil {
		return err
	}
	active := make(map[string]bool)
	for _, p := range pools {
		active[p.Name] = true
		if err := s.deleteFrom(p, t, own, there); err != nil {
			return fmt.Errorf("storage pool %s: %w", pool.Quote(p.Name), err)
		}
	}
	for name := range s.h.config.Pools {
		if active[name] || s.c.offers.odd[name] != "" {
			continue
		}
		_, err := read(s, func(api *lv.Libvirt) (lv.StoragePool, error) { return api.StoragePoolLookupByName(name) })
		if said(err, lv.ErrNoStoragePool) {
			continue
		}
		if err == nil {
			err = refuse(hypervisor.ErrUnknown, fmt.Errorf("storage pool %s is not active, what is in it is not known", pool.Quote(name)))
		}
		return err
	}
	return nil
}

func (s *session) deleteFrom(p lv.StoragePool, t hypervisor.Tag, own string, there bool) error {
	config, ours := s.h.config.Pools[p.Name]
	prefix := volumePrefix(t)
	volumes, err := s.volumes(p, prefix)
	if err != nil {
		return err
	}
	if len(volumes) == 0 && !(there && ours) && !config.Shared {
		return nil
	}
	if err := s.refresh(p); err != nil {
		return err
	}
	if volumes, err = s.volumes(p, prefix); err != nil {
		return err
	}
	if config.Shared {
		volumes = s.h.ofHost(volumes, t, own)
	}
	// The mark of what has moved away goes last, as without it the rest would be another host's no longer.
	slices.SortStableFunc(volumes, func(a, b lv.StorageVol) int {
		return cmp.Compare(strings.Count(a.Name, "-"+movedFile), strings.Count(b.Name, "-"+movedFile))
	})
	for _, vol := range volumes {
		if err := s.deleteVolume(vol); err != nil {
			return err
		}
	}
	return nil
}

// volumes lists the volumes of a pool whose names begin with the prefix.
func (s *session) volumes(p lv.StoragePool, prefix string) ([]lv.StorageVol, error) {
	return read(s, func(api *lv.Libvirt) ([]lv.StorageVol, error) {
		all, _, err := api.StoragePoolListAllVolumes(p, 1, 0)
		var out []lv.StorageVol
		for _, vol := range all {
			if strings.HasPrefix(vol.Name, prefix) {
				out = append(out, vol)
			}
		}
		return out, err
	})
}

// refresh lets the daemon read a pool anew. It refuses while it makes a volume there, which is soon over.
func (s *session) refresh(p lv.StoragePool) error {
	var err error
	for range 50 {
		_, err = read(s, func(api *lv.Libvirt) (struct{}, error) { return struct{}{}, api.StoragePoolRefresh(p, 0) })
		var no *serverError
		if err == nil || !errors.As(err, &no) {
			return err
		}
		if err := pause(s.ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
	return err
}
