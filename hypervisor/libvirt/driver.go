package libvirt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Driver drives libvirt hosts. All methods are safe for concurrent use.
type Driver struct {
	name   string
	hosts  map[pool.HostID]*host
	images images
}

var (
	_ hypervisor.Driver       = (*Driver)(nil)
	_ hypervisor.Describer    = (*Driver)(nil)
	_ hypervisor.Suspender    = (*Driver)(nil)
	_ hypervisor.Hibernator   = (*Driver)(nil)
	_ hypervisor.Rebooter     = (*Driver)(nil)
	_ hypervisor.Resizer      = (*Driver)(nil)
	_ hypervisor.DiskAttacher = (*Driver)(nil)
	_ hypervisor.Migrator     = (*Driver)(nil)
	_ hypervisor.Snapshotter  = (*Driver)(nil)
	_ hypervisor.Consoler     = (*Driver)(nil)
	_ hypervisor.Meter        = (*Driver)(nil)
	_ hypervisor.Imager       = (*Driver)(nil)
	_ hypervisor.Watcher      = (*Driver)(nil)
)

// New returns a driver for the hosts of the configuration. It connects to none: connections are made when they
// are needed and made again when they are lost. A malformed configuration is pool.ErrInvalid.
func New(c Config) (*Driver, error) {
	fail := func(err error) (*Driver, error) {
		return nil, &hypervisor.Error{Op: "configure libvirt", Kind: pool.ErrInvalid, Cause: err}
	}
	c, err := c.normalize()
	if err != nil {
		return fail(err)
	}
	d := &Driver{name: c.Name, hosts: make(map[pool.HostID]*host), images: images{dir: c.ImageDir}}
	for _, hc := range c.Hosts {
		h, err := newHost(c.Name, hc, c.Timeouts, c.Logger)
		if err != nil {
			return fail(pool.InField("hosts["+hc.Name+"]", err))
		}
		d.hosts[h.id] = h
	}
	return d, nil
}

// Close ends all connections. Calls under way and later ones fail; machines go on running, except those of
// libvirt's test driver with a node file, whose state lives as long as the connection.
func (d *Driver) Close() error {
	for _, h := range d.hosts {
		h.close()
	}
	return nil
}

// host returns the host with that id.
func (d *Driver) host(id pool.HostID) (*host, error) {
	if h := d.hosts[id]; h != nil {
		return h, nil
	}
	return nil, refuse(hypervisor.ErrNotFound, errors.New("no such host is configured"))
}

// all returns the hosts in the order of their ids.
func (d *Driver) all() []*host {
	var out []*host
	for _, h := range d.hosts {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b *host) int { return strings.Compare(string(a.id), string(b.id)) })
	return out
}

// Describe implements hypervisor.Describer. What depends on the host is known after the first connection to
// it, and stays known while it cannot be reached.
//
// Settles is Timeouts.Call. A create defines the domain last, in one request; when its caller goes away nothing
// more is sent, so that the machine appears by that request or not at all.
//
// Disks are resized, attached and kept by snapshots on hosts whose volumes are real files, and machines hibernate where
// the driver can keep memory. A shared pool lets stopped machines move; with a
// model of processor and the daemons' own URI running ones move too. Headroom lets running ones be resized.
func (d *Driver) Describe(id pool.HostID) hypervisor.Capabilities {
	h := d.hosts[id]
	if h == nil {
		return hypervisor.Capabilities{}
	}
	c := hypervisor.Capabilities{CreateUnique: true, Settles: h.timeouts.Call}
	o := h.offered()
	if !o.known {
		return c
	}
	c.FirstBoot = o.uploads
	if o.uploads {
		c.Abilities = append(c.Abilities, hypervisor.CanImage)
	}
	if o.downloads {
		c.Abilities = append(c.Abilities, hypervisor.CanConsole)
	}
	if o.saves {
		c.Abilities = append(c.Abilities, hypervisor.CanHibernate)
	}
	c.Abilities = append(c.Abilities, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanSuspend, hypervisor.CanWatch)
	if o.resizes {
		c.Abilities = append(c.Abilities, hypervisor.CanAttachDisk, hypervisor.CanResize, hypervisor.CanSnapshot)
		if h.config.Headroom.offered() {
			c.Abilities = append(c.Abilities, hypervisor.CanResizeHot)
		}
	}
	switch stopped, running := h.moves(); {
	case running:
		c.Abilities = append(c.Abilities, hypervisor.CanMigrate, hypervisor.CanMigrateLive)
	case stopped:
		c.Abilities = append(c.Abilities, hypervisor.CanMigrate)
	}
	slices.Sort(c.Abilities)
	return c
}

func (h *host) offered() offers {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.offers
}

// Hosts implements hypervisor.Driver. All hosts are asked at the same time. A host that does not answer in time
// is listed as it was last seen, without pool.Ready; one that was never seen has no inventory yet.
func (d *Driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	if err := ctx.Err(); err != nil {
		return nil, wrap("list hosts", hypervisor.Ref{}, false, err)
	}
	hosts := d.all()
	out := make([]pool.Host, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { out[i] = h.observe(ctx) })
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, wrap("list hosts", hypervisor.Ref{}, false, err)
	}
	return out, nil
}

// observe returns the host as it is now, or as it was last seen.
func (h *host) observe(ctx context.Context) pool.Host {
	ctx, cancel := context.WithTimeout(ctx, h.timeouts.Hosts)
	defer cancel()
	s := h.session(ctx)
	now, err := s.inventory()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		if now, err = now.Normalize(); err == nil {
			h.seen = now
		}
	}
	if err != nil {
		h.log.Warn("cannot be observed", "error", err)
		now = h.seen
		if now.ID == "" {
			now = pool.Host{ID: h.id, Name: h.config.Name, Address: orDefault(h.config.Address, h.target.address), Zone: h.config.Zone, Labels: h.config.Labels, Taints: h.config.Taints, Cost: h.config.Cost}
		}
		now.Conditions = 0
	}
	if copied, err := now.Normalize(); err == nil { // a deep copy
		now = copied
	}
	return now
}
