package proxmox

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/luthermonson/go-proxmox"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/inturn"
	"github.com/berthage/berthage/pool"
)

// Driver drives a cluster of Proxmox VE. It implements hypervisor.Driver, Describer, Suspender, Hibernator, Rebooter, Resizer, Migrator,
// Snapshotter and Meter. All methods are safe for concurrent use.
type Driver struct {
	cfg      Config
	web      *transport
	lib      *proxmox.Client
	machines inturn.Keys[pool.MachineID] // what makes, moves or removes a machine excludes each other

	mu    sync.Mutex
	nodes map[string]bool        // of the cluster, as last listed
	seen  map[string]observation // by node, as last observed
	hints map[hint]int           // VMIDs under which machines were last found
}

// hint is a key of Driver.hints.
type hint struct {
	node    string
	machine pool.MachineID
}

var (
	_ hypervisor.Driver      = (*Driver)(nil)
	_ hypervisor.Describer   = (*Driver)(nil)
	_ hypervisor.Suspender   = (*Driver)(nil)
	_ hypervisor.Hibernator  = (*Driver)(nil)
	_ hypervisor.Rebooter    = (*Driver)(nil)
	_ hypervisor.Resizer     = (*Driver)(nil)
	_ hypervisor.Migrator    = (*Driver)(nil)
	_ hypervisor.Snapshotter = (*Driver)(nil)
	_ hypervisor.Meter       = (*Driver)(nil)
)

// New returns a driver for a cluster. It connects to nothing. A malformed configuration is pool.ErrInvalid.
func New(c Config) (*Driver, error) {
	c, err := c.normalize()
	if err != nil {
		return nil, &hypervisor.Error{Op: "configure proxmox", Kind: pool.ErrInvalid, Cause: err}
	}
	web := newTransport(c)
	return &Driver{
		cfg: c, web: web,
		lib: proxmox.NewClient(c.URL+"/api2/json",
			proxmox.WithHTTPClient(&http.Client{Transport: web}), proxmox.WithUserAgent("berthage"), proxmox.WithLogger(silent{})),
		nodes: make(map[string]bool), seen: make(map[string]observation), hints: make(map[hint]int),
	}, nil
}

// silent keeps the client library from printing: what it would print are bodies of requests.
type silent struct{}

func (silent) Debugf(string, ...any) {}
func (silent) Errorf(string, ...any) {}
func (silent) Infof(string, ...any)  {}
func (silent) Warnf(string, ...any)  {}

// Close ends idle connections. The driver can be used afterwards.
func (d *Driver) Close() error {
	d.web.base.CloseIdleConnections()
	return nil
}

// Describe implements hypervisor.Describer. What depends on the cluster is known after the first call of Hosts: machines
// are moved where there is more than one node, and snapshots taken where every storage of the node that disks may lie on
// can keep them.
//
// CreateUnique is false where a VMID is the next free one and not the machine's own.
func (d *Driver) Describe(id pool.HostID) hypervisor.Capabilities {
	c := hypervisor.Capabilities{CreateUnique: d.cfg.FirstVMID != 0, Settles: d.cfg.Timeouts.Settles, FirstBoot: true}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cfg.Hibernate {
		c.Abilities = append(c.Abilities, hypervisor.CanHibernate)
	}
	c.Abilities = append(c.Abilities, hypervisor.CanMeter)
	several := 0
	for n := range d.nodes {
		if d.cfg.uses(n) {
			several++
		}
	}
	if several > 1 {
		c.Abilities = append(c.Abilities, hypervisor.CanMigrate)
		if d.cfg.MigrateLive {
			c.Abilities = append(c.Abilities, hypervisor.CanMigrateLive)
		}
	}
	c.Abilities = append(c.Abilities, hypervisor.CanReboot, hypervisor.CanResize)
	if d.seen[id.Native()].snapshots {
		c.Abilities = append(c.Abilities, hypervisor.CanSnapshot)
	}
	c.Abilities = append(c.Abilities, hypervisor.CanSuspend)
	return c
}

// offers is nil where an ability works on a host.
func (d *Driver) offers(id pool.HostID, a hypervisor.Ability) error {
	if slices.Contains(d.Describe(id).Abilities, a) {
		return nil
	}
	return &hypervisor.Error{Kind: errors.ErrUnsupported}
}

// node returns the name of the node of that id, if the cluster has it and the driver uses it.
func (s *session) node(id pool.HostID) (string, error) {
	name := id.Native()
	if id.Driver() != s.cfg.Name || !s.cfg.uses(name) {
		return "", refuse(hypervisor.ErrNotFound, errNoNode)
	}
	s.mu.Lock()
	known := s.nodes[name]
	s.mu.Unlock()
	if known {
		return name, nil
	}
	if _, err := s.listNodes(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.nodes[name] {
		return "", refuse(hypervisor.ErrNotFound, errNoNode)
	}
	return name, nil
}

// nodeEntry is an element of the list of nodes.
type nodeEntry struct {
	Node   string `json:"node"`
	Status string `json:"status"` // online or offline
}

// listNodes lists the nodes of the cluster. It needs no rights and is never shortened.
func (s *session) listNodes() ([]nodeEntry, error) {
	var list []nodeEntry
	if err := s.get("/nodes", nil, &list); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = make(map[string]bool, len(list))
	for _, n := range list {
		if validNode(n.Node) {
			s.nodes[n.Node] = true
		}
	}
	return list, nil
}

// on runs f on the machine that r names.
func (d *Driver) on(ctx context.Context, op string, r hypervisor.Ref, f func(s *session, g *guest) error) error {
	s := d.session(ctx)
	err := func() error {
		if err := validTag(r.Tag); err != nil {
			return refuse(hypervisor.ErrInvalid, err)
		}
		node, err := s.node(r.Host)
		if err != nil {
			return err
		}
		g, err := s.find(node, r)
		if err != nil {
			return err
		}
		if g == nil {
			return refuse(hypervisor.ErrNotFound, nil)
		}
		return f(s, g)
	}()
	return wrap(op, r, s.changed, err)
}
