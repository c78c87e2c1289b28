package openstack

import (
	"fmt"
	"math"
	"net/http"
	"net/url"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// unlimited is how much a region has of what nobody bounds: more than anybody asks for, and little enough for sums.
const unlimited = 1 << 50

// quota is what the project may have in all; -1 is no bound.
type quota struct {
	Cores     int64 `json:"maxTotalCores"`
	RAM       int64 `json:"maxTotalRAMSize"` // MiB
	Instances int64 `json:"maxTotalInstances"`
}

// quota asks for the limits of the project.
func (s *session) quota() (quota, error) {
	var answer struct {
		Limits *struct {
			Absolute *quota `json:"absolute"`
		} `json:"limits"`
	}
	if err := s.get(nova, "limits", &answer); err != nil {
		return quota{}, err
	}
	if answer.Limits == nil || answer.Limits.Absolute == nil {
		return quota{}, fmt.Errorf("limits: %w", errMalformed)
	}
	return *answer.Limits.Absolute, nil
}

// regionHost is the project's part of the region. Reserved is what others' servers take of it, and what is put aside: of
// that the disks are images, but its cores, memory and number still count.
func (s *session) regionHost() (pool.Host, error) {
	c := &s.d.config
	q, err := s.quota()
	if err != nil {
		return pool.Host{}, err
	}
	flavors, err := s.flavors()
	if err != nil {
		return pool.Host{}, err
	}
	all, err := s.servers(url.Values{})
	if err != nil {
		return pool.Host{}, err
	}
	h := c.host(c.native())
	if h.Shapes = c.shapes(flavors); len(h.Shapes) > 0 { // without them it would be taken for a server
		h.Conditions = pool.Ready
	}
	total := pool.Resources{pool.CPU: bound(q.Cores, pool.Core), pool.Memory: bound(q.RAM, pool.MiB), servers: bound(q.Instances, 1)}
	for _, shape := range h.Shapes {
		for class := range shape.Resources {
			if _, ok := total[class]; !ok {
				total[class] = unlimited
			}
		}
	}
	others := make(pool.Resources)
	for i := range all {
		v := &all[i]
		aside := v.Status == offloaded
		if v.tag() != (hypervisor.Tag{}) && !aside {
			continue
		}
		for class, n := range c.takes(v, aside) {
			others[class] += n
		}
	}
	if c.Placement {
		if err := s.boundByPlacement(total, others); err != nil {
			return pool.Host{}, err
		}
	}
	h.Inventory = make(map[pool.Class]pool.Inventory, len(total))
	for class, n := range total {
		if most, ok := c.Hosts[c.native()].Capacity[class]; ok {
			n = min(n, most)
		}
		h.Inventory[class] = pool.Inventory{Total: n, Reserved: others[class]}
	}
	return h.Normalize()
}

// bound is a limit of Nova's in our units.
func bound(n, unit int64) int64 {
	if n < 0 || n > unlimited/unit {
		return unlimited
	}
	return n * unit
}

// takes is what a server takes. What is shelved has no disk.
func (c *Config) takes(v *server, aside bool) pool.Resources {
	f := flavor{Name: v.Flavor.Name, VCPUs: v.Flavor.VCPUs, RAM: v.Flavor.RAM, Disk: v.Flavor.Disk, Ephemeral: v.Flavor.Ephemeral}
	if aside {
		f.Disk, f.Ephemeral = 0, 0
	}
	return c.resources(&f)
}

// boundByPlacement lowers the totals to what the region has at all, less what other projects take of it.
func (s *session) boundByPlacement(total, others pool.Resources) error {
	providers, err := s.providers("")
	if err != nil {
		return err
	}
	whole, used := make(pool.Resources), make(pool.Resources)
	for _, p := range providers {
		inventory, err := s.inventories(p.UUID)
		if err != nil {
			return err
		}
		usage, err := s.usages(p.UUID)
		if err != nil {
			return err
		}
		for class, as := range s.d.config.classes() {
			whole[class] += inventory[as.name].capacity(as.unit)
			used[class] += usage[as.name] * as.unit
		}
	}
	ours, err := s.usages("")
	if err != nil {
		return err
	}
	for class, as := range s.d.config.classes() {
		left := whole[class] - max(used[class]-ours[as.name]*as.unit, 0)
		if n, ok := total[class]; ok && left < n {
			total[class] = max(left, 0)
		}
	}
	return nil
}

// class is what Placement calls one of ours, and how much of ours one of its is.
type class struct {
	name string
	unit int64
}

// classes are those that Nova books.
func (c *Config) classes() map[pool.Class]class {
	return map[pool.Class]class{
		pool.CPU: {"VCPU", pool.Core}, pool.Memory: {"MEMORY_MB", pool.MiB}, c.Storage.Class(): {"DISK_GB", pool.GiB},
	}
}

// provided is a resource provider of Placement's.
type provided struct {
	UUID string `json:"uuid"`
	Name string `json:"name"`
}

// providers lists resource providers, all or those of a name.
func (s *session) providers(name string) ([]provided, error) {
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	return list[provided](s, placement, "resource_providers", "resource_providers", query)
}

// inventory is what a provider has of a class.
type inventory struct {
	Total    int64   `json:"total"`
	Reserved int64   `json:"reserved"`
	Ratio    float64 `json:"allocation_ratio"`
}

// ratio is Placement's in ours, which are thousandths; one that is beyond what can be is none.
func (i inventory) ratio() pool.Ratio {
	r := math.Round(i.Ratio * 1000)
	if !(r >= 1 && r <= 1000_000) {
		return 0
	}
	return pool.Ratio(r)
}

// offer is the inventory in units of ours.
func (i inventory) offer(unit int64) pool.Inventory {
	return pool.Inventory{Total: bound(max(i.Total, 0), unit), Reserved: bound(max(i.Reserved, 0), unit), Ratio: i.ratio()}
}

func (i inventory) capacity(unit int64) int64 { return min(i.offer(unit).Capacity(), unlimited) }

// inventories are what a provider has, by Placement's classes; one that has gone meanwhile has nothing.
func (s *session) inventories(uuid string) (map[string]inventory, error) {
	var has struct {
		Inventories map[string]inventory `json:"inventories"`
	}
	err := s.get(placement, "resource_providers/"+url.PathEscape(uuid)+"/inventories", &has)
	switch {
	case answeredWith(err, http.StatusNotFound):
		return nil, nil
	case err == nil && has.Inventories == nil:
		err = fmt.Errorf("inventories: %w", errMalformed)
	}
	return has.Inventories, err
}

// usages are what is taken of a provider, or, without one, by the project.
func (s *session) usages(uuid string) (map[string]int64, error) {
	path := "resource_providers/" + url.PathEscape(uuid) + "/usages"
	if uuid == "" {
		p, err := s.d.cloud.connect(s.ctx)
		if err != nil || p.project == "" {
			return nil, err
		}
		path = "usages?" + url.Values{"project_id": {p.project}}.Encode()
	}
	var used struct {
		Usages map[string]int64 `json:"usages"`
	}
	err := s.get(placement, path, &used)
	switch {
	case answeredWith(err, http.StatusNotFound):
		return nil, nil
	case err == nil && used.Usages == nil:
		err = fmt.Errorf("usages: %w", errMalformed)
	}
	return used.Usages, err
}
