package hetzner_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

// The test of this file needs the real service, and costs money there: some dozens of servers of the smallest type, each
// for some minutes, snapshots and volumes of 10 GB. BERTHAGE_HCLOUD_TOKEN is the token of a project that is used for
// nothing else, BERTHAGE_HCLOUD_LOCATION one location of it, or two separated by a comma; BERTHAGE_HCLOUD_IMAGE may name
// another image than debian-12.
func TestConformanceReal(t *testing.T) {
	token, locations := os.Getenv("BERTHAGE_HCLOUD_TOKEN"), os.Getenv("BERTHAGE_HCLOUD_LOCATION")
	if token == "" || locations == "" {
		const why = "BERTHAGE_HCLOUD_TOKEN and BERTHAGE_HCLOUD_LOCATION name no project and location of the real service"
		fmt.Printf("NOT RUN: %s: %s\n", t.Name(), why)
		t.Skip("not run: " + why)
	}
	image := os.Getenv("BERTHAGE_HCLOUD_IMAGE")
	if image == "" {
		image = "debian-12"
	}
	c := hetzner.Config{
		Token:    token,
		Timeouts: hetzner.Timeouts{Shutdown: 20 * time.Second, Metrics: time.Second}, // a guest that is still booting does not obey at all
	}
	var hosts []pool.HostID
	for _, l := range strings.Split(locations, ",") {
		c.Locations = append(c.Locations, hetzner.LocationConfig{Location: l, Servers: 20, VolumeSpace: pool.TiB})
		hosts = append(hosts, pool.NewHostID("hetzner", l))
	}
	d := open(t, c)
	o := order(image)
	o.Spec.Resources, o.Spec.Disks = smallest(t, d, hosts[0])
	hypervisortest.Run(t, hypervisortest.Setup{
		Name: "hetzner cloud", Driver: d, Hosts: hosts, Order: o, BadSource: "no-such-image",
		ExtraDisk: pool.Disk{Size: 10 * pool.GiB, Storage: pool.SSD},
		Abilities: abilities(),
		Reopen:    func(context.Context) (hypervisor.Driver, error) { return hetzner.New(c) },
		Timeout:   10 * time.Minute,
	})
}

// smallest is an order for the smallest shape, whose double another one covers.
func smallest(t *testing.T, d *hetzner.Driver, host pool.HostID) (pool.Resources, []pool.Disk) {
	t.Helper()
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	for _, h := range hosts {
		if h.ID != host {
			continue
		}
		least := pool.Resources{pool.CPU: 1 << 40, pool.Memory: 1 << 60}
		for _, s := range h.Shapes {
			if s.Resources[pool.Memory] < least[pool.Memory] {
				least = pool.Resources{pool.CPU: s.Resources[pool.CPU], pool.Memory: s.Resources[pool.Memory]}
			}
		}
		return least, []pool.Disk{{Size: 8 * pool.GiB}}
	}
	t.Fatalf("%s is not listed", host)
	return nil, nil
}
