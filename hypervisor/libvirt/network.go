package libvirt

import (
	"errors"
	"fmt"
	"strconv"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// checkNetworks makes sure that the networks can be used, and reserves the forwarded ports. It returns the
// addresses, by interface, under which those are opened.
func (b *build) checkNetworks() (forwards map[int]string, err error) {
	forwards = make(map[int]string)
	var used map[string]bool
	for i, n := range b.networks {
		switch {
		case n.Kind == LibvirtNetwork:
			if err := b.activeNetwork(n.Source); err != nil {
				return nil, err
			}
		case n.Kind == UserMode && n.FirstPort != 0:
			if used == nil {
				if used, err = b.forwarded(); err != nil {
					return nil, err
				}
			}
			address, port, err := b.h.reservePort(b.order.Machine, i, n, used)
			if err != nil {
				return nil, err
			}
			b.ports = append(b.ports, port)
			forwards[i] = address
		}
	}
	return forwards, nil
}

// activeNetwork returns an error unless the libvirt network is there and active.
func (s *session) activeNetwork(name string) error {
	active, err := read(s, func(api *lv.Libvirt) (int32, error) {
		n, err := api.NetworkLookupByName(name)
		if err != nil {
			return 0, err
		}
		return api.NetworkIsActive(n)
	})
	if err != nil {
		return fmt.Errorf("network %s: %w", pool.Quote(name), err)
	}
	if active == 0 {
		return refuse(hypervisor.ErrRefused, fmt.Errorf("network %s is not active", pool.Quote(name)))
	}
	return nil
}

// forwarded returns the addresses that are forwarded to machines on the host.
func (s *session) forwarded() (map[string]bool, error) {
	domains, err := s.domains()
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	for _, d := range domains {
		if d.tag == nil {
			continue
		}
		for _, card := range d.tag.Interfaces {
			if card.Kind == UserMode {
				used[card.Address] = true
			}
		}
	}
	return used, nil
}

// reservePort returns a port of the network's range: the one that follows from the machine's id, or the next
// that no machine on the host uses and that no other create of this process is about to use. Should another
// process choose the same at the same time, the machine that is started later cannot be.
func (h *host) reservePort(m pool.MachineID, i int, n Network, used map[string]bool) (address string, port int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := n.LastPort - n.FirstPort + 1
	start := portOf(m, i, count)
	for j := range count {
		port := n.FirstPort + (start+j)%count
		address := n.Listen + ":" + strconv.Itoa(port)
		if !h.ports[port] && !used[address] {
			h.ports[port] = true
			return address, port, nil
		}
	}
	return "", 0, refuse(hypervisor.ErrRefused, errors.New("all ports of the user-mode network are in use"))
}

// freePorts ends the reservations; a machine that has been defined shows its ports itself.
func (b *build) freePorts() {
	b.h.mu.Lock()
	defer b.h.mu.Unlock()
	for _, port := range b.ports {
		delete(b.h.ports, port)
	}
}

// connect adds the i-th interface. Forward is the host's address that leads to the guest's port 22.
func (b *build) connect(x *domainXML, t *tagXML, i int, n Network, forward string) {
	mac := machineMAC(b.order.Machine, i)
	t.Interfaces = append(t.Interfaces, interfaceTag{n.Kind, forward})
	if forward == "" {
		card := interfaceXML{Type: string(n.Kind), MAC: addressXML{mac}, Model: modelXML{"virtio"}}
		switch n.Kind {
		case Bridge:
			card.Source = &interfaceSourceXML{Bridge: n.Source}
		case LibvirtNetwork:
			card.Source = &interfaceSourceXML{Network: n.Source}
		}
		x.Devices.Interfaces = append(x.Devices.Interfaces, card)
		return
	}
	// Past libvirt, whose own port forwarding needs passt on the host.
	id := "berthage" + strconv.Itoa(i)
	device := "virtio-net-pci,netdev=" + id + ",mac=" + mac
	if b.c.offers.machine == "q35" {
		// A slot that libvirt gives to nothing; QEMU would take the first, before libvirt's own devices come.
		device += ",bus=pcie.0,addr=0x" + strconv.FormatInt(int64(0x0c+i), 16)
	}
	if x.CommandLine == nil {
		x.CommandLine = &commandXML{}
	}
	for _, arg := range []string{"-netdev", "user,id=" + id + ",hostfwd=tcp:" + forward + "-:22", "-device", device} {
		x.CommandLine.Args = append(x.CommandLine.Args, commandArg{arg})
	}
}
