package hetzner

import (
	"context"
	"maps"
	"slices"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Hosts implements hypervisor.Driver. A location's inventory is what the configuration allows; what servers and
// volumes take there that are not tagged is reserved. A location that the service does not have is listed without
// pool.Ready.
func (d *Driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	fail := func(err error) ([]pool.Host, error) { return nil, wrap("list hosts", hypervisor.Ref{}, false, err) }
	c := &call{Driver: d, ctx: ctx}
	o, err := c.offered()
	if err != nil {
		return fail(err)
	}
	servers, err := c.all()
	if err != nil {
		return fail(err)
	}
	var volumes []*hcloud.Volume
	if slices.ContainsFunc(d.config.Locations, func(l LocationConfig) bool { return l.VolumeSpace > 0 }) {
		if volumes, err = c.volumes(""); err != nil {
			return fail(err)
		}
	}
	var out []pool.Host
	for _, id := range d.order {
		c.at = d.locations[id]
		h, err := c.host(id, o, servers, volumes)
		if err != nil {
			return fail(err)
		}
		out = append(out, h)
	}
	return out, nil
}

// host describes one location.
func (c *call) host(id pool.HostID, o *offer, servers []*hcloud.Server, volumes []*hcloud.Volume) (pool.Host, error) {
	at := c.at
	h := pool.Host{
		ID: id, Name: at.Name, Zone: at.Zone, Labels: maps.Clone(at.Labels), Taints: slices.Clone(at.Taints), Cost: at.Cost,
		Inventory: make(map[pool.Class]pool.Inventory),
	}
	sold := o.sold[at.Location]
	if !o.locations[at.Location] || len(sold) == 0 {
		c.config.Logger.Warn("nothing is sold at the location", "location", at.Location)
		return h, nil
	}
	h.Conditions = pool.Ready
	for _, t := range sold {
		h.Shapes = append(h.Shapes, pool.Shape{Name: t.Name, Resources: c.resources(t)})
	}
	totals := c.totals(o)
	reserved, err := c.reserved(servers, volumes)
	if err != nil {
		return pool.Host{}, err
	}
	for class, n := range totals {
		h.Inventory[class] = pool.Inventory{Total: n, Reserved: reserved[class]}
	}
	if h.Cost == 0 {
		list, err := c.prices()
		if err != nil {
			return pool.Host{}, err
		}
		h.Cost = slices.MinFunc(list, func(a, b Price) int { return int(max(min(a.Hourly-b.Hourly, 1), -1)) }).Hourly
	}
	return h, nil
}

// totals is what the location's configuration allows in all: as many servers of the largest sizes, unless it says less.
func (c *call) totals(o *offer) pool.Resources {
	totals := make(pool.Resources)
	for _, t := range o.sold[c.at.Location] {
		for class, n := range c.resources(t) {
			totals[class] = max(totals[class], times(n, int64(c.at.Servers)))
		}
	}
	totals[ClassServers] = int64(c.at.Servers)
	if c.at.Cores > 0 {
		totals[pool.CPU] = int64(c.at.Cores) * pool.Core
	}
	if c.at.VolumeSpace > 0 {
		totals[c.config.VolumeStorage.Class()] = c.at.VolumeSpace
	}
	return totals
}

// times multiplies amounts that are not negative, and is the most that can be said where that overflows.
func times(a, b int64) int64 {
	const most = 1 << 60
	if a != 0 && b > most/a {
		return most
	}
	return a * b
}

// reserved is what servers and volumes of others take.
func (c *call) reserved(servers []*hcloud.Server, volumes []*hcloud.Volume) (pool.Resources, error) {
	var err error
	sum := make(pool.Resources)
	for _, s := range servers {
		if !c.here(s.Location) {
			continue
		}
		if _, ours := c.tagOf(s); ours || s.ServerType == nil {
			continue
		}
		r := c.resources(s.ServerType)
		r[c.config.LocalStorage.Class()] = int64(s.PrimaryDiskSize) * diskGB
		if sum, err = sum.Add(r); err != nil {
			return nil, err
		}
	}
	for _, v := range volumes {
		if _, ours := readTag(v.Labels, c.at.Location); ours || !c.here(v.Location) || c.at.VolumeSpace == 0 {
			continue
		}
		if sum, err = sum.Add(pool.Resources{c.config.VolumeStorage.Class(): int64(v.Size) * pool.GiB}); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

func (c *call) here(l *hcloud.Location) bool { return l != nil && l.Name == c.at.Location }
