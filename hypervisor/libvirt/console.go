package libvirt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
)

// Log implements hypervisor.Consoler. virtlogd writes the console into a volume of the machine, which is read
// through the storage interface, so that it works over every transport. After 2 MiB (virtlogd's max_size) it
// begins a new file; the older ones are kept on the host and not read here.
func (d *Driver) Log(ctx context.Context, r hypervisor.Ref, most int) ([]byte, error) {
	var out []byte
	err := d.on(ctx, "read the console of", r, func(s *session, dom *domain) error {
		if !s.c.offers.downloads {
			return errNotOffered()
		}
		x, err := s.definition(dom, 0)
		if err != nil {
			return err
		}
		if len(x.Devices.Serials) == 0 || x.Devices.Serials[0].Log == nil {
			return refuse(errors.ErrUnsupported, errors.New("the machine's console is not logged"))
		}
		path := x.Devices.Serials[0].Log.File
		type volume struct {
			lv.StorageVol
			size int64
		}
		vol, err := read(s, func(api *lv.Libvirt) (volume, error) {
			v, err := api.StorageVolLookupByPath(path)
			if err != nil {
				return volume{}, err
			}
			_, size, _, err := api.StorageVolGetInfo(v)
			return volume{v, clamp(size)}, err
		})
		if err != nil {
			return fmt.Errorf("log of the console: %w", err)
		}
		n := min(int64(max(most, 0)), vol.size)
		if n == 0 {
			return nil // a length of zero would mean all
		}
		out, err = s.h.download(ctx, vol.StorageVol, vol.size-n, n)
		return err
	})
	return out, err
}

// Display implements hypervisor.Consoler. The address is that of VNC on the host itself.
func (d *Driver) Display(ctx context.Context, r hypervisor.Ref) (string, error) {
	var out string
	err := d.on(ctx, "find the display of", r, func(s *session, dom *domain) error {
		if !s.c.offers.downloads {
			return errNotOffered()
		}
		if dom.state == lv.DomainShutoff || dom.state == lv.DomainCrashed {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		x, err := s.definition(dom, 0)
		if err != nil {
			return err
		}
		for _, g := range x.Devices.Graphics {
			if g.Type == "vnc" && g.Port > 0 {
				out = "vnc://" + net.JoinHostPort(orDefault(g.Listen, "127.0.0.1"), strconv.Itoa(g.Port))
				return nil
			}
		}
		return refuse(errors.ErrUnsupported, errors.New("the machine has no VNC server"))
	})
	return out, err
}

// errNotOffered is the error of consoles on hosts that do not have them.
func errNotOffered() error {
	return refuse(errors.ErrUnsupported, errors.New("the host's driver cannot read volumes, and so no console"))
}

// definition returns a domain's XML.
func (s *session) definition(dom *domain, flags lv.DomainXMLFlags) (*domainXML, error) {
	text, err := read(s, func(api *lv.Libvirt) (string, error) { return api.DomainGetXMLDesc(dom.Domain, flags) })
	if err != nil {
		return nil, err
	}
	var x domainXML
	return &x, parse("domain", text, &x)
}
