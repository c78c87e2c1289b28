package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/fencing"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// The names of the drivers. They are the first part of their hosts' ids and the key of their sources in
// images, and must stay the same for ever.
const (
	simName     = "sim"
	libvirtName = "libvirt"
)

// drivers is what the daemon drives. This file is all that knows which kinds there are.
type drivers struct {
	all   map[string]hypervisor.Driver
	kinds map[string]string // for people, by name
	sim   *simulated        // nil without one
	close []func() error
}

// assemble opens the drivers that the configuration names.
func assemble(ctx context.Context, c config.Config, shape func(*fake.Config), log *slog.Logger) (*drivers, error) {
	d := &drivers{all: make(map[string]hypervisor.Driver), kinds: make(map[string]string)}
	if c.Simulate > 0 {
		sim, err := simulate(ctx, c, shape, log)
		if err != nil {
			return nil, err
		}
		d.sim = sim
		d.add(simName, "simulated", sim.fleet, sim.fleet.Close)
	}
	if len(c.Libvirt) > 0 {
		hosts, err := libvirtHosts(c.Libvirt)
		if err != nil {
			return nil, errors.Join(err, d.Close())
		}
		driver, err := libvirt.New(libvirt.Config{Name: libvirtName, Hosts: hosts, ImageDir: c.ImageDir, Logger: log})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("libvirt: %w", err), d.Close())
		}
		fenced, err := fencing.Wrap(driver, fences(c.Libvirt))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("libvirt: %w", err), driver.Close(), d.Close())
		}
		d.add(libvirtName, "libvirt", fenced, driver.Close)
	}
	if err := d.clouds(c, log); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// libvirtHosts says what the configuration says in the driver's words.
func libvirtHosts(list []config.Libvirt) ([]libvirt.HostConfig, error) {
	var out []libvirt.HostConfig
	for _, l := range list {
		h := libvirt.HostConfig{
			URI: l.URI, Name: l.HostName(), Zone: l.Zone, Labels: l.Labels, Taints: l.Taints, Network: l.Network, VirtType: libvirt.VirtType(l.Virt),
			CPU: l.Model, Migration: libvirt.Migration{URI: l.Migrate, Memory: l.MigrateMemory},
			Headroom: libvirt.Headroom{CPU: l.HeadroomCPU, Memory: l.HeadroomMemory},
		}
		if l.CPU != 0 {
			ratio, err := pool.ParseRatio(strconv.FormatFloat(l.CPU, 'f', -1, 64))
			if err != nil {
				return nil, fmt.Errorf("libvirt host %s: cpu: %w", l.HostName(), err)
			}
			h.CPURatio = ratio
		}
		for name, bridge := range l.Networks {
			if h.Networks == nil {
				h.Networks = make(map[string]libvirt.Network)
			}
			h.Networks[name] = libvirt.Network{Kind: libvirt.Bridge, Source: bridge}
		}
		if len(l.Pools) > 0 {
			h.Pools = make(map[string]libvirt.StoragePool, len(l.Pools))
			for name, kind := range l.Pools {
				h.Pools[name] = libvirt.StoragePool{Kind: pool.Storage(kind), Shared: slices.Contains(l.Shared, name)}
			}
		}
		out = append(out, h)
	}
	return out, nil
}

// fences are the commands that switch hosts off.
func fences(list []config.Libvirt) map[pool.HostID]fencing.Command {
	out := make(map[pool.HostID]fencing.Command)
	for _, l := range list {
		if len(l.Fence) > 0 {
			out[pool.NewHostID(libvirtName, l.HostName())] = fencing.Command{Path: l.Fence[0], Args: l.Fence[1:]}
		}
	}
	return out
}

func (d *drivers) add(name, kind string, driver hypervisor.Driver, closer func() error) {
	d.all[name], d.kinds[name] = driver, kind
	d.close = append(d.close, closer)
}

// Close closes them all.
func (d *drivers) Close() error {
	var errs []error
	for _, c := range d.close {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// simulated is the fleet of --simulate. Its hosts and machines live in a file of their own, which is never
// filled from the ledger: like a real hypervisor it knows nothing of our books.
type simulated struct {
	fleet *fake.Driver
	fresh bool // made by this start
}

// fleetSeed gives a fleet whose first hosts are of all kinds, so that a small one can do everything.
const fleetSeed = 7

func simulate(ctx context.Context, c config.Config, shape func(*fake.Config), log *slog.Logger) (*simulated, error) {
	path := filepath.Join(c.Data, "simulated-fleet.jsonl")
	_, err := os.Stat(path)
	s := &simulated{fresh: errors.Is(err, fs.ErrNotExist)}
	hosts := fake.Fleet(simName, c.Simulate, fleetSeed)
	fc := fake.Config{
		Name: simName, Hosts: hosts, Path: path, Seed: fleetSeed,
		Latency: fake.Latency{Min: 2 * time.Millisecond, Mean: 10 * time.Millisecond},
		Build:   c.SimBuild, Boot: c.SimBoot, Shutdown: 300 * time.Millisecond,
	}
	if shape != nil {
		shape(&fc)
	}
	if s.fleet, err = fake.Open(fc); err != nil {
		return nil, fmt.Errorf("simulated fleet: %w", err)
	}
	have, err := s.fleet.Hosts(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("simulated fleet: %w", err), s.fleet.Close())
	}
	if len(have) > len(fc.Hosts) {
		log.Warn("the simulated fleet has more hosts than asked for and keeps them", "hosts", len(have), "asked", len(fc.Hosts))
	}
	for n := len(have); n < len(fc.Hosts); n++ {
		if err := s.fleet.AddHost(fc.Hosts[n]); err != nil {
			return nil, errors.Join(fmt.Errorf("simulated fleet: %w", err), s.fleet.Close())
		}
	}
	return s, nil
}
