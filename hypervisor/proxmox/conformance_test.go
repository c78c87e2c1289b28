package proxmox_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// logger writes into the test's log.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// cluster is a simulated cluster of two nodes: a directory and a pool of thin volumes on each, and a shared storage. There
// are templates on each node, one of which is on shared storage.
func cluster(t *testing.T, change ...func(*pvetest.Config)) *pvetest.Server {
	t.Helper()
	c := pvetest.Config{
		Nodes: []pvetest.Node{{Name: "pve1"}, {Name: "pve2"}},
		Storages: []pvetest.Storage{
			{Name: "local"}, {Name: "fast", Type: "lvmthin", Content: "images,rootdir"}, {Name: "shared", Type: "nfs", Shared: true},
		},
		Check: official(t),
	}
	for _, f := range change {
		f(&c)
	}
	s := pvetest.New(c)
	t.Cleanup(func() {
		s.Close()
		require.Empty(t, s.Problems())
	})
	s.AddTemplate("pve1", 9001, "tiny", "local", 256<<20)
	s.AddTemplate("pve2", 9002, "tiny", "local", 256<<20)
	s.AddTemplate("pve1", 9003, "tiny-shared", "shared", 256<<20)
	return s
}

// settings are those of a driver for a simulated cluster.
func settings(t *testing.T, s *pvetest.Server) proxmox.Config {
	return proxmox.Config{
		URL: s.URL(), Token: s.Token(), CA: s.CA(),
		Storages:    map[string]proxmox.Storage{"local": {}, "fast": {Kind: pool.NVMe, IOPS: 50_000}, "shared": {Kind: "shared"}},
		SeedStorage: "shared",
		MigrateLive: true, Hibernate: true,
		Timeouts: proxmox.Timeouts{Shutdown: time.Second, Settle: 300 * time.Millisecond, Settles: 500 * time.Millisecond, Call: 5 * time.Second},
		Logger:   logger(t),
	}
}

func open(t *testing.T, c proxmox.Config) *proxmox.Driver {
	t.Helper()
	d, err := proxmox.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// order is a small machine.
func order() hypervisor.Order {
	return hypervisor.Order{
		Source: "tiny",
		Image:  pool.Image{Name: "tiny", User: "berth"},
		Spec: pool.Spec{
			Image: "tiny", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 192 * pool.MiB}, Disks: []pool.Disk{{Size: pool.GiB}},
			Guest: pool.Guest{User: "berth"},
		},
	}
}

// abilities are what the driver offers on a cluster of several nodes.
func abilities() []hypervisor.Ability {
	return []hypervisor.Ability{
		hypervisor.CanHibernate, hypervisor.CanMeter, hypervisor.CanMigrate, hypervisor.CanMigrateLive, hypervisor.CanReboot, hypervisor.CanResize,
		hypervisor.CanSnapshot, hypervisor.CanSuspend,
	}
}

// traces lists all that a node has.
func traces(s *pvetest.Server) func(context.Context, pool.HostID) ([]string, error) {
	return func(_ context.Context, host pool.HostID) ([]string, error) {
		out := s.Volumes(host.Native())
		for _, id := range s.Guests(host.Native()) {
			out = append(out, fmt.Sprint(id))
		}
		return out, nil
	}
}

// content tells what is written on a machine's disks.
func content(s *pvetest.Server) func(context.Context, hypervisor.Ref) (string, error) {
	return func(_ context.Context, r hypervisor.Ref) (string, error) {
		for _, id := range s.Guests(r.Host.Native()) {
			if d := s.Guest(id, "description"); strings.Contains(d, string(r.Machine)) && strings.Contains(d, r.Ledger) {
				return s.Content(id), nil
			}
		}
		return "", fmt.Errorf("%s is not on %s", r.Machine, r.Host)
	}
}

// disturb lets one request of those that come go wrong.
func disturb(s *pvetest.Server) func(hypervisortest.Disturbance, int) func() bool {
	return func(d hypervisortest.Disturbance, n int) func() bool {
		f := map[hypervisortest.Disturbance]pvetest.Fault{
			hypervisortest.CutBefore: {CutBefore: true}, hypervisortest.CutAfter: {CutAfter: true},
			hypervisortest.Delayed: {Delay: 30 * time.Millisecond}, hypervisortest.Twice: {Again: true},
		}[d]
		f.Nth = n
		s.Inject(f)
		return func() bool {
			hit := s.Pending() == 0
			s.Heal()
			return hit
		}
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string // of what is unlike the others: how machines are cloned, what is offered, how one logs in
		change func(*pvetest.Server, *proxmox.Config, *hypervisortest.Setup)
	}{
		{"full", func(server *pvetest.Server, _ *proxmox.Config, s *hypervisortest.Setup) { s.Disturb = disturb(server) }},
		{"linked", func(server *pvetest.Server, c *proxmox.Config, s *hypervisortest.Setup) {
			c.Linked = true
			s.Order.Source = "tiny-shared"
			s.Order.Spec.Disks = []pool.Disk{{Size: pool.GiB, Storage: "shared"}}
		}},
		{"stopped", func(server *pvetest.Server, c *proxmox.Config, s *hypervisortest.Setup) {
			c.MigrateLive, c.Hibernate, c.Agent = false, false, true
			s.Order.Source = "9003"
			s.Order.Spec.Disks = []pool.Disk{{Size: pool.GiB, Storage: "shared", IOPS: 100}}
			s.Abilities = append(s.Abilities[1:3:3], s.Abilities[4:]...)
		}},
		{"own ids", func(server *pvetest.Server, c *proxmox.Config, s *hypervisortest.Setup) {
			c.FirstVMID, c.LastVMID = 100_000_000, 999_999_999
			config := *c
			s.Untagged = func(_ context.Context, r hypervisor.Ref) (func() error, error) {
				id := config.OwnVMID(r)
				server.AddGuest(r.Host.Native(), id, "somebody-else", "local", 1<<20, nil)
				return func() error { server.Remove(id); return nil }, nil
			}
		}},
		{"password", func(server *pvetest.Server, c *proxmox.Config, s *hypervisortest.Setup) { c.Token = "" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := cluster(t)
			server.AddGuest("pve1", 101, "somebody-else", "local", 1<<30, nil)
			server.AddContainer("pve2", 102, "a-container", 2, 1<<30)
			config := settings(t, server)
			setup := hypervisortest.Setup{
				Name: "proxmox " + test.name, Hosts: []pool.HostID{"proxmox/pve1", "proxmox/pve2"},
				Order: order(), BadSource: "no-such-template", Abilities: abilities(),
				Traces: traces(server), Content: content(server),
				Reopen: func(ctx context.Context) (hypervisor.Driver, error) {
					d, err := proxmox.New(config)
					if err == nil {
						_, err = d.Hosts(ctx) // from which it knows what the nodes offer
					}
					return d, err
				},
			}
			test.change(server, &config, &setup)
			if config.Token == "" {
				config.User, config.Password = server.User()
			}
			setup.Driver = open(t, config)
			hypervisortest.Run(t, setup)
		})
	}
}
