package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

// realOrder is one for a new machine on a host of the cloud.
func realOrder(t *testing.T, d *openstack.Driver, host pool.HostID, name string) hypervisor.Order {
	t.Helper()
	o := order(os.Getenv("BERTHAGE_OPENSTACK_IMAGE"))
	ledger := fmt.Sprintf("test-%d", time.Now().UnixNano())
	o.Ref = hypervisor.Ref{Host: host, Tag: hypervisor.Tag{Ledger: ledger, Machine: pool.NewInstanceID(ledger, "p", name).Machine(0), Launched: 1}}
	o.Name, o.Revision = name, 1
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	for _, h := range hosts {
		if h.ID == host {
			o.Allocation, err = allocate(h, o.Spec)
			require.NoError(t, err)
		}
	}
	t.Cleanup(func() { require.NoError(t, d.Destroy(context.WithoutCancel(t.Context()), o.Ref)) })
	return o
}

// Machines of a group lie apart, a machine gets a new root disk, and a token may expire between any two requests.
func TestRealGroupAndRebuild(t *testing.T) {
	c := real(t, openstack.Region)
	c.Group = func(hypervisor.Order) openstack.Group {
		return openstack.Group{Name: "test", Policy: openstack.AntiAffinity}
	}
	d, hosts := open(t, c)
	before, err := d.Traces(t.Context())
	require.NoError(t, err)
	seen := make(map[string]bool)
	var orders []hypervisor.Order
	for n := range 2 {
		o := realOrder(t, d, hosts[0], fmt.Sprintf("group-%d", n))
		orders = append(orders, o)
		require.NoError(t, d.Create(t.Context(), o))
		require.NoError(t, d.Expire(t.Context()))
		ids, err := d.Servers(t.Context(), o.Machine)
		require.NoError(t, err)
		var answer struct {
			Server struct {
				HostID string `json:"hostId"` // a hash of it and of the project
			} `json:"server"`
		}
		require.NoError(t, d.Send(t.Context(), "GET", "servers/"+ids[0], nil, &answer))
		require.NotEmpty(t, answer.Server.HostID)
		seen[answer.Server.HostID] = true
	}
	require.Len(t, seen, 2)

	o := orders[0]
	o.Revision = 2
	require.NoError(t, d.Rebuild(t.Context(), o))
	list, err := d.Machines(t.Context(), hosts[0])
	require.NoError(t, err)
	for _, m := range list {
		if m.Machine == o.Machine {
			require.Equal(t, o.Ref, m.Ref, "its tag survives")
			require.Equal(t, pool.Running, m.Power)
			require.NotEmpty(t, m.Addresses)
		}
	}
	for _, o := range orders {
		require.NoError(t, d.Destroy(t.Context(), o.Ref))
	}
	after, err := d.Traces(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, before, after)
}

// What no hypervisor has room for Nova accepts, and gives up later: it is a refusal for want of room, and nothing is left.
func TestRealNoRoom(t *testing.T) {
	d, hosts := open(t, real(t, openstack.Hypervisors))
	before, err := d.Traces(t.Context())
	require.NoError(t, err)
	o := realOrder(t, d, hosts[0], "too-large")
	o.Spec.Disks[0].Size = 1000 * 1024 * pool.GiB // of which there is no quota
	err = d.Create(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorIs(t, err, hypervisor.ErrFull)
	require.ErrorContains(t, err, "No valid host")
	require.True(t, hypervisor.Nothing(err))
	after, err := d.Traces(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, before, after)
}

// A machine in the status ERROR that has run is a person's to repair, and can be.
func TestRealRepair(t *testing.T) {
	c := real(t, openstack.Hypervisors)
	c.Diagnostics = true
	d, hosts := open(t, c)
	o := realOrder(t, d, hosts[0], "broken")
	require.NoError(t, d.Create(t.Context(), o))
	samples, err := d.Sample(t.Context(), hosts[0])
	require.NoError(t, err)
	measured := false
	for _, s := range samples {
		measured = measured || s.Machine == o.Machine && s.Name == hypervisor.CPUSeconds
	}
	require.True(t, measured)
	ids, err := d.Servers(t.Context(), o.Machine)
	require.NoError(t, err)
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	require.NoError(t, d.Send(t.Context(), "POST", "servers/"+ids[0]+"/action", map[string]any{"os-resetState": map[string]string{"state": "error"}}, nil))
	err = d.Start(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	list, err := d.Machines(t.Context(), hosts[0])
	require.NoError(t, err)
	for _, m := range list {
		require.Empty(t, m.Fault)
	}
	require.NoError(t, d.ResetState(t.Context(), o.Ref))
}

// A hypervisor whose service is disabled gets nothing, and its machines stay.
func TestRealDisabledService(t *testing.T) {
	c := real(t, openstack.Hypervisors)
	if os.Getenv("BERTHAGE_OPENSTACK_DISPOSABLE") == "" {
		notRun(t, "BERTHAGE_OPENSTACK_DISPOSABLE does not say that nobody else needs the cloud")
	}
	d, hosts := open(t, c)
	o := realOrder(t, d, hosts[0], "stays")
	require.NoError(t, d.Create(t.Context(), o))
	var services struct {
		Services []struct{ ID, Host string }
	}
	require.NoError(t, d.Send(t.Context(), "GET", "os-services?binary=nova-compute", nil, &services))
	set := func(status string) {
		for _, s := range services.Services {
			if pool.NewHostID("openstack", s.Host) == hosts[0] {
				require.NoError(t, d.Send(t.Context(), "PUT", "os-services/"+s.ID, map[string]string{"status": status}, nil))
			}
		}
	}
	set("disabled")
	defer set("enabled")
	all, err := d.Hosts(t.Context())
	require.NoError(t, err)
	for _, h := range all {
		require.Equal(t, h.ID != hosts[0], h.Conditions.Has(pool.Ready), h.ID)
	}
	require.ErrorIs(t, d.Create(t.Context(), realOrder(t, d, hosts[0], "another")), hypervisor.ErrRefused)
	list, err := d.Machines(t.Context(), hosts[0])
	require.NoError(t, err)
	require.NotEmpty(t, list)
}

// A member of a project is told that hypervisors are not for it.
func TestRealRights(t *testing.T) {
	c := real(t, openstack.Region)
	if os.Getenv("BERTHAGE_OPENSTACK_ADMIN") == "" {
		notRun(t, "BERTHAGE_OPENSTACK_ADMIN names no other credential than that of OS_CLOUD, which may be an admin's")
	}
	c.Mode = openstack.Hypervisors
	d, err := openstack.New(c)
	require.NoError(t, err)
	_, err = d.Hosts(t.Context())
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.False(t, errors.Is(err, hypervisor.ErrFull))
	require.ErrorContains(t, err, "Policy doesn't allow")
}

// A password does as well as an application credential, which up.sh's file has side by side.
func TestRealPassword(t *testing.T) {
	c := real(t, openstack.Region)
	file, cloud := os.Getenv("OS_CLIENT_CONFIG_FILE"), os.Getenv("OS_CLOUD")
	other, err := openstack.FromFile(file, cloud+"-password")
	if err != nil {
		notRun(t, "the clouds.yaml has no cloud "+cloud+"-password")
	}
	d, _ := open(t, c)
	want, err := d.Hosts(t.Context())
	require.NoError(t, err)
	c.Cloud = other
	d, _ = open(t, c)
	got, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)
	c.Cloud.Password = "wrong"
	d, err = openstack.New(c)
	require.NoError(t, err)
	_, err = d.Hosts(t.Context())
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
}
