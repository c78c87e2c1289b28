package openstack

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// node is a hypervisor as Nova shows it.
type node struct {
	Name    string `json:"hypervisor_hostname"`
	State   string `json:"state"`  // up or down
	Status  string `json:"status"` // enabled or disabled
	Address string `json:"host_ip"`
	VCPUs   int64  `json:"vcpus"`
	Memory  int64  `json:"memory_mb"`
	Disk    int64  `json:"local_gb"`
	MemFree int64  `json:"free_ram_mb"`
	Service struct {
		Host string `json:"host"` // of the compute service, which may have several hypervisors
	} `json:"service"`
}

func (n *node) up() bool { return n.State == "up" }

// hypervisor looks for one hypervisor by its host's id.
func (s *session) hypervisor(id pool.HostID) (*node, error) {
	found, err := list[node](s, nova, "os-hypervisors/detail", "hypervisors", url.Values{"hypervisor_hostname_pattern": {nativeOf(id)}}) // takes no limit
	if answeredWith(err, 404) {
		found, err = nil, nil // no hypervisor matches
	}
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].Name == nativeOf(id) {
			return &found[i], nil
		}
	}
	return nil, refuse(hypervisor.ErrNotFound, fmt.Errorf("there is no hypervisor %s", pool.Quote(nativeOf(id))))
}

// hypervisorHosts lists the hypervisors. One that is down or disabled is not Ready. A server that is not ours is reserved
// where it is, in proportion to the over-commit, as what is reserved comes off before the ratio is applied.
func (s *session) hypervisorHosts() ([]pool.Host, error) {
	nodes, err := list[node](s, nova, "os-hypervisors/detail", "hypervisors", url.Values{"limit": {pageSize}})
	if err != nil {
		return nil, err
	}
	zones, err := s.zones()
	if err != nil {
		return nil, err
	}
	providers, err := s.providers("")
	if err != nil {
		return nil, err
	}
	all, err := s.servers(url.Values{})
	if err != nil {
		return nil, err
	}
	uuids := make(map[string]string, len(providers))
	for _, p := range providers {
		uuids[p.Name] = p.UUID
	}
	out := make([]pool.Host, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	slots := make(chan struct{}, sideBySide)
	for i := range nodes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			out[i], errs[i] = s.nodeHost(&nodes[i], uuids[nodes[i].Name], zones[nodes[i].Service.Host], all)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	out = slices.DeleteFunc(out, func(h pool.Host) bool { return h.ID == "" })
	slices.SortFunc(out, func(a, b pool.Host) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return out, nil
}

// sideBySide is how many requests one call makes at the same time.
const sideBySide = 4

// zones returns the availability zones of the compute services, by their hosts.
func (s *session) zones() (map[string]string, error) {
	type service struct {
		Host string `json:"host"`
		Zone string `json:"zone"`
	}
	all, err := list[service](s, nova, "os-services", "services", url.Values{"binary": {"nova-compute"}})
	out := make(map[string]string, len(all))
	for _, sv := range all {
		out[sv.Host] = sv.Zone
	}
	return out, err
}

// nodeHost is a hypervisor as a host; one whose name cannot be that of a host is left out, with a word to the operator.
func (s *session) nodeHost(n *node, uuid, zone string, all []server) (pool.Host, error) {
	c := &s.d.config
	h := c.host(n.Name)
	if err := h.ID.Valid(); err != nil {
		c.Logger.Warn("a hypervisor has a name that a host cannot have, and is left out", "error", err)
		return pool.Host{}, nil
	}
	h.Address = orDefault(h.Address, n.Address)
	if h.Zone == "" && pool.ValidName(zone) == nil {
		h.Zone = zone
	}
	h.Inventory = make(map[pool.Class]pool.Inventory)
	if uuid != "" {
		has, err := s.inventories(uuid)
		if err != nil {
			return pool.Host{}, err
		}
		for class, as := range c.classes() {
			if i, ok := has[as.name]; ok {
				h.Inventory[class] = i.offer(as.unit)
			}
		}
	}
	// A hypervisor without an inventory has no room, and is not ready.
	if n.up() && n.Status == "enabled" && len(h.Inventory) > 0 {
		h.Conditions = pool.Ready
	}
	others := make(pool.Resources)
	for i := range all {
		v := &all[i]
		if v.Hypervisor != n.Name || v.Status == offloaded || v.tag() != (hypervisor.Tag{}) {
			continue
		}
		for class, n := range c.takes(v, false) {
			others[class] += n
		}
	}
	for class, inv := range h.Inventory {
		ratio := int64(inv.Ratio)
		if ratio == 0 {
			ratio = 1000
		}
		inv.Reserved += share(others[class], ratio)
		h.Inventory[class] = inv
	}
	return h.Normalize()
}

// share returns n divided by a ratio in thousandths, rounded up.
func share(n, ratio int64) int64 {
	whole, rest := n/ratio, n%ratio
	return whole*1000 + (rest*1000+ratio-1)/ratio
}
