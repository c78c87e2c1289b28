package proxmox_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/pool"
)

// The tests of this file need a real Proxmox VE, which the environment names:
//
//	BERTHAGE_PVE_URL       https://pve1.example:8006
//	BERTHAGE_PVE_TOKEN     user@realm!name=secret
//	BERTHAGE_PVE_CA        a file with the certificate of its authority, PEM; empty: those that this machine trusts
//	BERTHAGE_PVE_NODE      the node on which machines are made, or two, separated by a comma
//	BERTHAGE_PVE_TEMPLATE  VMID or name of a template with cloud-init
//	BERTHAGE_PVE_STORAGE   where their disks are put
//
// and, for the display with a password, BERTHAGE_PVE_USER and BERTHAGE_PVE_PASSWORD; for user-data BERTHAGE_PVE_SEED_STORAGE, a
// storage that takes ISO images, without which those cases cannot pass.

// notRun ends a test that lacks what it needs, and says so loudly.
func notRun(t *testing.T, why string) {
	t.Helper()
	fmt.Printf("NOT RUN: %s: %s\n", t.Name(), why)
	t.Skip("not run: " + why)
}

// realCluster returns the settings for the real one, and the nodes to use; where it is not named the test is not run.
func realCluster(t *testing.T) (proxmox.Config, []pool.HostID, hypervisor.Order) {
	t.Helper()
	get := func(name string) string { return os.Getenv("BERTHAGE_PVE_" + name) }
	var missing []string
	for _, name := range []string{"URL", "TOKEN", "NODE", "TEMPLATE", "STORAGE"} {
		if get(name) == "" {
			missing = append(missing, "BERTHAGE_PVE_"+name)
		}
	}
	if len(missing) > 0 {
		notRun(t, "no real Proxmox VE: "+strings.Join(missing, ", ")+" not set")
	}
	c := proxmox.Config{
		URL: get("URL"), Token: get("TOKEN"), Storages: map[string]proxmox.Storage{get("STORAGE"): {}}, SeedStorage: get("SEED_STORAGE"),
		Timeouts: proxmox.Timeouts{Shutdown: 10 * time.Second}, // a guest that is still booting does not obey at all
		Logger:   logger(t),
	}
	if file := get("CA"); file != "" {
		ca, err := os.ReadFile(file)
		require.NoError(t, err)
		c.CA = ca
	}
	var hosts []pool.HostID
	for _, n := range strings.Split(get("NODE"), ",") {
		hosts = append(hosts, pool.NewHostID("proxmox", strings.TrimSpace(n)))
	}
	o := order()
	o.Source = get("TEMPLATE")
	o.Spec.Resources[pool.Memory] = 512 * pool.MiB
	return c, hosts, o
}

func TestConformanceReal(t *testing.T) {
	c, hosts, o := realCluster(t)
	d := open(t, c)
	all, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(all, func(h pool.Host) bool { return h.ID == hosts[0] }), "%s is not among %v", hosts[0], all)
	// The suite doubles sizes, so that the root disk has to have one.
	probe := numbered(1, hosts[0])
	probe.Source = o.Source
	size, err := templateSize(t, d, probe)
	require.NoError(t, err)
	o.Spec.Disks[0].Size = max(size, pool.GiB)
	hypervisortest.Run(t, hypervisortest.Setup{
		Name: "proxmox real", Driver: d, Hosts: hosts[:min(2, len(hosts))], Order: o, BadSource: "no-such-template",
		Reopen: func(ctx context.Context) (hypervisor.Driver, error) {
			d, err := proxmox.New(c)
			if err == nil {
				_, err = d.Hosts(ctx)
			}
			return d, err
		},
		Timeout: 10 * time.Minute,
	})
}

// templateSize makes a machine whose disk is as large as the template's and sees what that is.
func templateSize(t *testing.T, d *proxmox.Driver, o hypervisor.Order) (int64, error) {
	o.Spec.Disks = nil
	if err := d.Create(t.Context(), o); err != nil {
		return 0, err
	}
	size, err := d.RootSize(t.Context(), o.Ref)
	if e := d.Destroy(context.WithoutCancel(t.Context()), o.Ref); err == nil {
		err = e
	}
	return size, err
}

func TestScreenReal(t *testing.T) {
	c, hosts, o := realCluster(t)
	try := func(t *testing.T, c proxmox.Config) {
		d := open(t, c)
		made := numbered(2, hosts[0])
		made.Source, made.Spec.Disks, made.Spec.Resources = o.Source, nil, o.Spec.Resources
		require.NoError(t, d.Create(t.Context(), made))
		defer func() { require.NoError(t, d.Destroy(context.WithoutCancel(t.Context()), made.Ref)) }()
		require.NoError(t, d.Start(t.Context(), made.Ref))
		screen, err := d.Screen(t.Context(), made.Ref)
		require.NoError(t, err)
		defer screen.Close()
		greeting := make([]byte, 12)
		_, err = io.ReadFull(screen, greeting)
		require.NoError(t, err)
		require.Equal(t, "RFB 003.008\n", string(greeting))
	}
	t.Run("token", func(t *testing.T) { try(t, c) })
	t.Run("password", func(t *testing.T) {
		user, password := os.Getenv("BERTHAGE_PVE_USER"), os.Getenv("BERTHAGE_PVE_PASSWORD")
		if user == "" || password == "" {
			notRun(t, "BERTHAGE_PVE_USER and BERTHAGE_PVE_PASSWORD are not set")
		}
		c := c
		c.Token, c.User, c.Password = "", user, password
		try(t, c)
	})
}
