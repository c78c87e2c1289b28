package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

// The tests of this file need a cloud, which the usual variables name (OS_CLOUD, or OS_AUTH_URL and its like), as
// internal/integration/openstack/up.sh prints them. BERTHAGE_OPENSTACK_IMAGE is the name or id of an image;
// BERTHAGE_OPENSTACK_NETWORK those of a network, without it Nova chooses; BERTHAGE_OPENSTACK_ADMIN the name of a
// cloud in the same clouds.yaml whose credential is an admin's, without it the first one is tried.
//
// The project needs quota for six machines, flavors of 1 and 2 cores with 512 MiB of memory and 1 GiB of disk or more, and one
// with ephemeral disks.

// notRun ends a test that lacks what it needs, and says so loudly.
func notRun(t *testing.T, why string) {
	t.Helper()
	fmt.Printf("NOT RUN: %s: %s\n", t.Name(), why)
	t.Skip("not run: " + why)
}

// logger writes into the test's log.
func logger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// real returns the configuration for the cloud that the environment names.
func real(t *testing.T, mode openstack.Mode) openstack.Config {
	t.Helper()
	if os.Getenv("OS_CLOUD") == "" && os.Getenv("OS_AUTH_URL") == "" {
		notRun(t, "neither OS_CLOUD nor OS_AUTH_URL names a cloud")
	}
	if os.Getenv("BERTHAGE_OPENSTACK_IMAGE") == "" {
		notRun(t, "BERTHAGE_OPENSTACK_IMAGE names no image")
	}
	cloud, err := openstack.FromEnvironment()
	if admin := os.Getenv("BERTHAGE_OPENSTACK_ADMIN"); mode == openstack.Hypervisors && admin != "" {
		cloud, err = openstack.FromFile(os.Getenv("OS_CLIENT_CONFIG_FILE"), admin)
	}
	require.NoError(t, err)
	c := openstack.Config{
		Cloud: cloud, Mode: mode, Logger: logger(t),
		Settles:  30 * time.Second, // there is no proxy on the way
		Timeouts: openstack.Timeouts{Poll: 500 * time.Millisecond},
	}
	if network := os.Getenv("BERTHAGE_OPENSTACK_NETWORK"); network != "" {
		c.Networks, c.Network = map[string]string{"net": network}, "net"
	}
	c.CreateFlavors = mode == openstack.Hypervisors
	return c
}

// open returns a driver and its hosts, those that are ready.
func open(t *testing.T, c openstack.Config) (*openstack.Driver, []pool.HostID) {
	t.Helper()
	d, err := openstack.New(c)
	require.NoError(t, err)
	hosts, err := d.Hosts(t.Context())
	if errors.Is(err, hypervisor.ErrRefused) && c.Mode == openstack.Hypervisors {
		notRun(t, "the credential is no admin's: "+err.Error())
	}
	require.NoError(t, err)
	var ready []pool.HostID
	for _, h := range hosts {
		if h.Conditions.Has(pool.Ready) {
			ready = append(ready, h.ID)
		}
	}
	require.NotEmpty(t, ready)
	return d, ready
}

// order is a small machine.
func order(image string) hypervisor.Order {
	return hypervisor.Order{
		Source: image,
		Image:  pool.Image{Name: "small", User: "berth"},
		Spec: pool.Spec{
			Image:     "small",
			Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 512 * pool.MiB},
			Disks:     []pool.Disk{{Size: pool.GiB}},
			Guest:     pool.Guest{User: "berth"},
		},
	}
}

// allocate takes the smallest shape that covers all that is asked.
func allocate(h pool.Host, s pool.Spec) (pool.Allocation, error) {
	demand, err := s.Demand()
	if err != nil || !h.Aggregate() {
		return pool.Allocation{Resources: demand}, err
	}
	shapes := slices.Clone(h.Shapes)
	slices.SortStableFunc(shapes, func(a, b pool.Shape) int {
		return int(a.Resources[pool.Memory]/pool.MiB - b.Resources[pool.Memory]/pool.MiB)
	})
	for _, shape := range shapes {
		if demand.Fits(shape.Resources) {
			return pool.Allocation{Resources: shape.Resources.Clone(), Shape: shape.Name}, nil
		}
	}
	return pool.Allocation{}, fmt.Errorf("no flavor covers %v", demand)
}

func setup(t *testing.T, c openstack.Config, name, image string) hypervisortest.Setup {
	d, hosts := open(t, c)
	s := hypervisortest.Setup{
		Name: name, Driver: d, Hosts: hosts[:min(2, len(hosts))], Order: order(image), Allocate: allocate,
		ExtraDisk: pool.Disk{Size: pool.GiB},
		BadSource: "no-such-image",
		Untagged: func(ctx context.Context, r hypervisor.Ref) (func() error, error) {
			o := order(image)
			o.Ref, o.Name = r, "somebody-else"
			all, err := d.Hosts(ctx)
			if err != nil {
				return nil, err
			}
			for _, h := range all {
				if h.ID == r.Host {
					o.Allocation, err = allocate(h, o.Spec)
				}
			}
			if err != nil {
				return nil, err
			}
			return d.Stranger(context.WithoutCancel(ctx), o)
		},
		Traces:  func(ctx context.Context, _ pool.HostID) ([]string, error) { return d.Traces(ctx) },
		Reopen:  func(context.Context) (hypervisor.Driver, error) { return openstack.New(c) },
		Timeout: 3 * time.Minute,
	}
	if c.Mode == openstack.Region {
		s.ExtraDisk.Storage = "ephemeral"
	}
	return s
}

func regionAbilities() []hypervisor.Ability {
	return []hypervisor.Ability{
		hypervisor.CanConsole, hypervisor.CanHibernate, hypervisor.CanImage, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanResize,
		hypervisor.CanShelve, hypervisor.CanSuspend,
	}
}

func hypervisorAbilities() []hypervisor.Ability {
	return []hypervisor.Ability{
		hypervisor.CanConsole, hypervisor.CanHibernate, hypervisor.CanImage, hypervisor.CanMeter, hypervisor.CanMigrate, hypervisor.CanMigrateLive,
		hypervisor.CanReboot, hypervisor.CanShelve, hypervisor.CanSuspend,
	}
}

// The project's part of a region is one host.
func TestRealRegion(t *testing.T) {
	s := setup(t, real(t, openstack.Region), "openstack region", os.Getenv("BERTHAGE_OPENSTACK_IMAGE"))
	s.Abilities = regionAbilities()
	hypervisortest.Run(t, s)
}

// Two of the hypervisors are the hosts.
func TestRealHypervisors(t *testing.T) {
	s := setup(t, real(t, openstack.Hypervisors), "openstack hypervisors", os.Getenv("BERTHAGE_OPENSTACK_IMAGE"))
	s.Abilities = hypervisorAbilities()
	hypervisortest.Run(t, s)
}
