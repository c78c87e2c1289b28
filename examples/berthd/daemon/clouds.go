package daemon

import (
	"cmp"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strconv"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fencing"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/pool"
)

// clouds opens the drivers of clusters, regions and projects.
func (d *drivers) clouds(c config.Config, log *slog.Logger) error {
	for _, p := range c.Proxmox {
		name := cmp.Or(p.Name, config.DefaultProxmox)
		driver, err := openProxmox(name, p, log)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := d.fenced(name, "Proxmox VE", driver, p.Nodes, driver.Close); err != nil {
			return err
		}
	}
	for _, o := range c.OpenStack {
		name := cmp.Or(o.Name, config.DefaultOpenStack)
		driver, err := openOpenStack(name, o, log)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := d.fenced(name, "OpenStack", driver, o.Hosts, nothingToClose); err != nil {
			return err
		}
	}
	for _, h := range c.Hetzner {
		name := cmp.Or(h.Name, config.DefaultHetzner)
		driver, err := openHetzner(name, h, log)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		d.add(name, "Hetzner Cloud", driver, nothingToClose)
	}
	return nil
}

func nothingToClose() error { return nil }

// fenced adds a driver with the commands that switch its hosts off.
func (d *drivers) fenced(name, kind string, driver hypervisor.Driver, hosts map[string]config.Place, closer func() error) error {
	commands := make(map[pool.HostID]fencing.Command)
	for host, at := range hosts {
		if len(at.Fence) > 0 {
			commands[pool.NewHostID(name, host)] = fencing.Command{Path: at.Fence[0], Args: at.Fence[1:]}
		}
	}
	wrapped, err := fencing.Wrap(driver, commands)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	d.add(name, kind, wrapped, closer)
	return nil
}

// price is a cost as hosts have it, in millionths.
func price(perHour float64) int64 { return int64(math.Round(perHour * 1e6)) }

// ratio is an over-commit ratio; zero stands for none.
func ratio(r float64) (pool.Ratio, error) {
	if r == 0 {
		return 0, nil
	}
	return pool.ParseRatio(strconv.FormatFloat(r, 'f', -1, 64))
}

func openProxmox(name string, p config.Proxmox, log *slog.Logger) (*proxmox.Driver, error) {
	c := proxmox.Config{
		Name: name, URL: p.URL, User: p.User, SeedStorage: p.SeedStorage, Network: p.Network, CPUType: p.CPUType, Pool: p.Pool,
		Linked: p.Linked, Agent: p.Agent, FirstVMID: p.FirstVMID, LastVMID: p.LastVMID, MigrateLive: p.MigrateLive, Logger: log,
	}
	var err error
	if p.TokenFile != "" {
		c.Token, err = config.ReadSecret(p.TokenFile)
	} else {
		c.Password, err = config.ReadSecret(p.Password)
	}
	if err == nil && p.CAFile != "" {
		c.CA, err = os.ReadFile(p.CAFile)
	}
	if err != nil {
		return nil, err
	}
	for node, at := range p.Nodes {
		cpu, err := ratio(at.CPU)
		if err != nil {
			return nil, fmt.Errorf("node %s: cpu: %w", node, err)
		}
		if c.Nodes == nil {
			c.Nodes = make(map[string]proxmox.Node)
		}
		c.Nodes[node] = proxmox.Node{Zone: at.Zone, Labels: at.Labels, Taints: at.Taints, Cost: price(at.Cost), CPURatio: cpu}
	}
	for storage, kind := range p.Storages {
		if c.Storages == nil {
			c.Storages = make(map[string]proxmox.Storage)
		}
		c.Storages[storage] = proxmox.Storage{Kind: pool.Storage(kind)}
	}
	return proxmox.New(c)
}

func openOpenStack(name string, o config.OpenStack, log *slog.Logger) (*openstack.Driver, error) {
	cloud, err := openstack.FromEnvironment()
	if o.Cloud != "" {
		cloud, err = openstack.FromFile(o.CloudsFile, o.Cloud)
	}
	if err != nil {
		return nil, err
	}
	c := openstack.Config{
		Name: name, Cloud: cloud, Mode: openstack.Mode(o.Mode), CreateFlavors: o.NewFlavors, Networks: o.Networks, Network: o.Network,
		AvailabilityZone: o.Zone, SecurityGroups: o.Groups, Placement: o.Placement, Diagnostics: o.Diagnostics, Logger: log,
	}
	for _, f := range o.Flavors {
		if c.Flavors == nil {
			c.Flavors = make(map[string]pool.Resources)
		}
		c.Flavors[f] = nil
	}
	for host, at := range o.Hosts {
		if c.Hosts == nil {
			c.Hosts = make(map[string]openstack.HostConfig)
		}
		c.Hosts[host] = openstack.HostConfig{Zone: at.Zone, Labels: at.Labels, Taints: at.Taints, Cost: price(at.Cost)}
	}
	return openstack.New(c)
}

func openHetzner(name string, h config.Hetzner, log *slog.Logger) (*hetzner.Driver, error) {
	token, err := config.ReadSecret(h.TokenFile)
	if err != nil {
		return nil, err
	}
	c := hetzner.Config{
		Name: name, Token: token, Endpoint: h.Endpoint, Architecture: hetzner.Architecture(h.Architecture), Types: h.Types,
		Public: hetzner.PublicNet(h.Public), GrowDisks: h.GrowDisks, Logger: log,
	}
	for _, l := range h.Locations {
		c.Locations = append(c.Locations, hetzner.LocationConfig{
			Location: l.Location, Zone: l.Zone, Labels: l.Labels, Taints: l.Taints, Cost: price(l.Cost), Servers: l.Servers, Cores: l.Cores, VolumeSpace: l.Volumes,
		})
	}
	return hetzner.New(c)
}
