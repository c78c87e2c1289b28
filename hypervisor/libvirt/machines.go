package libvirt

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Machines implements hypervisor.Driver. Addresses are those of DHCP leases and forwarded ports, and on bridges
// without a lease what the host's ARP table says; they are told of machines that are tagged and not stopped. A machine that
// is being moved is listed where it runs, or still can, and not where it is only about to be.
func (d *Driver) Machines(ctx context.Context, id pool.HostID) ([]hypervisor.Machine, error) {
	fail := func(err error) ([]hypervisor.Machine, error) {
		return nil, wrap("list machines", hypervisor.Ref{Host: id}, false, err)
	}
	h, err := d.host(id)
	if err != nil {
		return fail(err)
	}
	s := h.session(ctx)
	domains, err := s.domains()
	if err != nil {
		return fail(err)
	}
	addresses, err := s.addresses(domains)
	if err != nil {
		return fail(err)
	}
	out := make([]hypervisor.Machine, 0, len(domains))
	for i := range domains {
		dom := &domains[i]
		if d.arriving(s, dom) {
			continue
		}
		m := hypervisor.Machine{
			Ref:       hypervisor.Ref{Host: id},
			Native:    formatUUID(dom.UUID),
			Name:      dom.Name,
			Power:     dom.power(),
			Addresses: addresses[dom.UUID],
			Resources: pool.Resources{pool.CPU: dom.cpus * pool.Core, pool.Memory: dom.memory},
		}
		if dom.tag != nil {
			m.Tag = dom.tag.tag()
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b hypervisor.Machine) int { return strings.Compare(a.Native, b.Native) })
	return out, nil
}

// addresses returns the addresses of all tagged domains that are not stopped, in the order of their interfaces.
func (s *session) addresses(domains []domain) (map[lv.UUID][]string, error) {
	out := make(map[lv.UUID][]string)
	var leases map[string][]string
	for i := range domains {
		d := &domains[i]
		if d.tag == nil || d.power() == pool.Stopped {
			continue
		}
		for n, card := range d.tag.Interfaces {
			mac := machineMAC(pool.MachineID(d.tag.Machine), n)
			var found []string
			var err error
			switch card.Kind {
			case UserMode:
				if card.Address != "" {
					found = []string{card.Address}
				}
			default:
				if leases == nil {
					leases, err = s.leases()
				}
				if found = leases[mac]; err == nil && found == nil && card.Kind == Bridge {
					found, err = s.neighbours(d.Domain, mac)
				}
			}
			if err != nil {
				return nil, err
			}
			out[d.UUID] = append(out[d.UUID], found...)
		}
	}
	return out, nil
}

// leases returns the addresses that the active libvirt networks have leased, by hardware address, the newest
// first.
func (s *session) leases() (map[string][]string, error) {
	networks, err := read(s, func(api *lv.Libvirt) ([]lv.Network, error) {
		l, _, err := api.ConnectListAllNetworks(1, lv.ConnectListNetworksActive)
		return l, err
	})
	if err != nil {
		return nil, err
	}
	var all []lv.NetworkDhcpLease
	for _, n := range networks {
		leases, err := read(s, func(api *lv.Libvirt) ([]lv.NetworkDhcpLease, error) {
			l, _, err := api.NetworkGetDhcpLeases(n, nil, 1, 0)
			return l, err
		})
		if said(err, lv.ErrNoSupport, lv.ErrNoNetwork, lv.ErrOperationInvalid) {
			continue // the driver has none, or the network is gone
		}
		if err != nil {
			return nil, err
		}
		all = append(all, leases...)
	}
	slices.SortStableFunc(all, func(a, b lv.NetworkDhcpLease) int { return int(min(max(b.Expirytime-a.Expirytime, -1), 1)) })
	out := make(map[string][]string)
	for _, l := range all {
		if len(l.Mac) == 0 || net.ParseIP(l.Ipaddr) == nil {
			continue
		}
		mac := strings.ToLower(l.Mac[0])
		if !slices.Contains(out[mac], l.Ipaddr) {
			out[mac] = append(out[mac], l.Ipaddr)
		}
	}
	return out, nil
}

// neighbours returns the addresses that the host's ARP table has for the hardware address, or none where the
// daemon cannot read that table: libvirt 9.0 could not on a kernel 6.18.
func (s *session) neighbours(d lv.Domain, mac string) ([]string, error) {
	cards, err := read(s, func(api *lv.Libvirt) ([]lv.DomainInterface, error) {
		return api.DomainInterfaceAddresses(d, uint32(lv.DomainInterfaceAddressesSrcArp), 0)
	})
	var no *serverError
	if errors.As(err, &no) {
		s.h.log.Debug("the ARP table cannot be read", "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, card := range cards {
		if len(card.Hwaddr) == 0 || !strings.EqualFold(card.Hwaddr[0], mac) {
			continue
		}
		for _, a := range card.Addrs {
			if net.ParseIP(a.Addr) != nil {
				out = append(out, a.Addr)
			}
		}
	}
	return out, nil
}

// domain is a domain as a list shows it.
type domain struct {
	lv.Domain
	tag    *tagXML // nil: not tagged by any Berthage
	state  lv.DomainState
	cpus   int64
	memory int64 // bytes, what it is to have
	time   int64 // of its CPUs, nanoseconds
	saved  bool  // its memory is kept on disk
}

func (d *domain) power() pool.Power {
	switch d.state {
	case lv.DomainShutoff, lv.DomainCrashed, lv.DomainNostate:
		if d.saved {
			return pool.Hibernated
		}
		return pool.Stopped
	case lv.DomainPaused, lv.DomainPmsuspended:
		return pool.Suspended
	}
	return pool.Running // also while it shuts down
}

func (d *domain) stopped() bool { return d.power() == pool.Stopped }
func (d *domain) running() bool { return d.state == lv.DomainRunning || d.state == lv.DomainBlocked }

// sideBySide is how many requests one call makes at the same time; a daemon works on five of one connection.
const sideBySide = 4

// domains lists all domains. A domain that goes away meanwhile is left out; the test machines of kvmProbe are no
// machines.
func (s *session) domains() ([]domain, error) {
	list, err := read(s, func(api *lv.Libvirt) ([]lv.Domain, error) {
		l, _, err := api.ConnectListAllDomains(1, 0)
		return l, err
	})
	if err != nil {
		return nil, err
	}
	c, err := s.conn()
	if err != nil {
		return nil, err
	}
	found := make([]*domain, len(list))
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for i, dom := range list {
		if isProbe(dom) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			found[i], errs[i] = describe(s, c, dom)
		})
	}
	wg.Wait()
	var out []domain
	for i := range list {
		if said(errs[i], lv.ErrNoDomain) {
			continue
		}
		if errs[i] != nil {
			return nil, errs[i]
		}
		if found[i] != nil {
			out = append(out, *found[i])
		}
	}
	return out, nil
}

// describe looks at one domain of a list.
func describe(s *session, c *conn, dom lv.Domain) (*domain, error) {
	tag, err := readTag(s, c, dom)
	if err != nil {
		return nil, err
	}
	d, err := ask(s.ctx, c, func(api *lv.Libvirt) (*domain, error) {
		state, most, _, cpus, time, err := api.DomainGetInfo(dom)
		return &domain{
			Domain: dom, tag: tag, state: lv.DomainState(state), cpus: int64(cpus), memory: fromKiB(most), time: clamp(time),
		}, err
	})
	if err != nil || tag == nil {
		return d, err
	}
	if tag.Memory > 0 {
		d.memory = fromKiB(uint64(tag.Memory))
	}
	if !d.stopped() {
		return d, nil
	}
	saved, err := ask(s.ctx, c, func(api *lv.Libvirt) (int32, error) { return api.DomainHasManagedSaveImage(dom, 0) })
	if said(err, lv.ErrNoSupport) {
		return d, nil
	}
	d.saved = saved != 0
	return d, err
}

// readTag returns the tag of a domain, or nil: when it has none, or one that it cannot rightly have. A tag is
// copied along when somebody clones a domain; the clone has another UUID and is not ours.
func readTag(s *session, c *conn, dom lv.Domain) (*tagXML, error) {
	if !canBeOurs(dom.UUID) {
		return nil, nil
	}
	get := func(of lv.DomainModificationImpact) (string, error) {
		return ask(s.ctx, c, func(api *lv.Libvirt) (string, error) {
			return api.DomainGetMetadata(dom, int32(lv.DomainMetadataElement), lv.OptString{tagNamespace}, of)
		})
	}
	// That of its definition is where changes are recorded. A machine that is just arriving has none yet.
	text, err := get(lv.DomainAffectConfig)
	if said(err, lv.ErrOperationInvalid, lv.ErrInvalidArg) {
		text, err = get(lv.DomainAffectCurrent)
	}
	if said(err, lv.ErrNoDomainMetadata) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var t tagXML
	if parse("metadata", text, &t) != nil || validTag(t.tag()) != nil || machineUUID(t.tag().Machine) != dom.UUID {
		return nil, nil
	}
	return &t, nil
}

// find looks for the machine that r names. It is nil, without an error, where there is no domain of that id, and
// ErrForeign where the domain there does not have r's tag.
func (s *session) find(r hypervisor.Ref) (*domain, error) {
	dom, err := read(s, func(api *lv.Libvirt) (lv.Domain, error) { return api.DomainLookupByUUID(machineUUID(r.Machine)) })
	if said(err, lv.ErrNoDomain) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := s.conn()
	if err != nil {
		return nil, err
	}
	d, err := describe(s, c, dom)
	if said(err, lv.ErrNoDomain) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if d.tag == nil || d.tag.tag() != r.Tag {
		return nil, refuse(hypervisor.ErrForeign, nil)
	}
	return d, nil
}
