package openstack_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

// one returns the only server of the cloud.
func (f *fakeCloud) one() *fakeServer {
	f.t.Helper()
	require.Len(f.t, f.servers, 1)
	for _, v := range f.servers {
		return v
	}
	return nil
}

func TestRegionInventory(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(func(c *openstack.Config) {
		c.Flavors = map[string]pool.Resources{"c1.tiny": nil, "c4.huge": {pool.GPU: 1}}
		c.Hosts = map[string]openstack.HostConfig{fakeRegion: {Zone: "z", Capacity: pool.Resources{pool.Memory: 10 * pool.GiB}}}
	})
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	h := hosts[0]
	require.True(t, h.Aggregate())
	require.True(t, h.Conditions.Has(pool.Ready))
	require.Equal(t, "z", h.Zone)
	require.Equal(t, []pool.Shape{
		{Name: "c1.tiny", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 512 * pool.MiB, "storage.standard": pool.GiB, "servers": 1}},
		{Name: "c4.huge", Resources: pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: 16 * pool.GiB, "storage.standard": 20 * pool.GiB,
			"storage.ephemeral": 8 * pool.GiB, pool.GPU: 1, "servers": 1}},
	}, h.Shapes)
	require.Equal(t, int64(100*pool.Core), h.Inventory[pool.CPU].Total)
	require.Equal(t, 10*pool.GiB, h.Inventory[pool.Memory].Total, "bounded by the configuration")
	require.Equal(t, int64(60), h.Inventory["servers"].Total)

	// What is ours is not reserved; others' servers are, and so is what is put aside.
	o := f.created(d, host, 1)
	again, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, hosts, again)
	delete(f.one().metadata, "berthage-ledger")
	again, err = d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(pool.Core), again[0].Inventory[pool.CPU].Reserved)
	require.Equal(t, pool.GiB, again[0].Inventory["storage.standard"].Reserved)
	require.Equal(t, int64(1), again[0].Inventory["servers"].Reserved)
	f.one().metadata["berthage-ledger"] = "l"
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	require.NoError(t, d.Shelve(t.Context(), o.Ref))
	again, err = d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(pool.Core), again[0].Inventory[pool.CPU].Reserved)
	require.Zero(t, again[0].Inventory["storage.standard"].Reserved)

	// No quota is more than anybody asks for; without a flavor there is nothing to sell.
	f.quota["maxTotalCores"] = -1
	f.flavors = nil
	f.servers = map[string]*fakeServer{}
	again, err = d.Hosts(t.Context())
	require.NoError(t, err)
	require.Greater(t, again[0].Inventory[pool.CPU].Total, int64(1<<40))
	require.False(t, again[0].Conditions.Has(pool.Ready))
}

// With Placement a region has no more than its computers, less what other projects take.
func TestRegionBoundByPlacement(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	f.quota["maxTotalCores"], f.quota["maxTotalRAMSize"] = -1, 4096
	d, host := f.driver(func(c *openstack.Config) { c.Placement = true })
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(2*16*16*pool.Core), hosts[0].Inventory[pool.CPU].Total)
	require.Equal(t, 4*pool.GiB, hosts[0].Inventory[pool.Memory].Total)
	require.Equal(t, 1000*pool.GiB, hosts[0].Inventory["storage.standard"].Total)
	f.created(d, host, 1)
	again, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, hosts, again)
}

func TestHypervisorInventory(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(hypervisors)
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 2)
	require.Equal(t, pool.HostID("openstack/node1"), hosts[0].ID)
	require.Equal(t, "nova", hosts[0].Zone)
	require.False(t, hosts[0].Aggregate())
	require.Equal(t, map[pool.Class]pool.Inventory{
		pool.CPU:           {Total: 16 * pool.Core, Ratio: 16000},
		pool.Memory:        {Total: 64 * pool.GiB, Reserved: 512 * pool.MiB, Ratio: 1500},
		"storage.standard": {Total: 500 * pool.GiB, Ratio: 1000},
	}, hosts[0].Inventory)
	free := hosts[0].Capacity()

	// A stranger's server takes from what machines may take in sum as much as it has, whatever the ratio.
	f.created(d, host, 1)
	delete(f.one().metadata, "berthage-ledger")
	hosts, err = d.Hosts(t.Context())
	require.NoError(t, err)
	now := hosts[0].Capacity()
	require.InDelta(t, pool.Core, free[pool.CPU]-now[pool.CPU], 16)
	require.GreaterOrEqual(t, free[pool.CPU]-now[pool.CPU], int64(pool.Core))
	require.InDelta(t, 512*pool.MiB, free[pool.Memory]-now[pool.Memory], 2)
	require.Equal(t, pool.GiB, free["storage.standard"]-now["storage.standard"])

	f.down["node1"] = true
	hosts, err = d.Hosts(t.Context())
	require.NoError(t, err)
	require.False(t, hosts[0].Conditions.Has(pool.Ready))
	require.True(t, hosts[1].Conditions.Has(pool.Ready))
}

func hypervisors(c *openstack.Config) { c.Mode, c.CreateFlavors = openstack.Hypervisors, true }

// On a computer that is down nothing is known and nothing is begun: Nova itself would accept it all.
func TestHypervisorDown(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(hypervisors)
	o := f.created(d, host, 1)
	f.down["node1"] = true
	f.hook = func(r *http.Request, _ int) func(http.ResponseWriter) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		return nil
	}
	_, err := d.Machines(t.Context(), host)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	there := o
	there.Host = "openstack/node2"
	for what, err := range map[string]error{
		"create": d.Create(t.Context(), f.order(host, 2)), "start": d.Start(t.Context(), o.Ref), "stop": d.Stop(t.Context(), o.Ref),
		"destroy": d.Destroy(t.Context(), o.Ref), "suspend": d.Suspend(t.Context(), o.Ref), "reset": d.ResetState(t.Context(), o.Ref),
		"migrate": d.Migrate(t.Context(), o.Ref, there),
	} {
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, what)
	}
	f.hook, f.down["node1"] = nil, false
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
}

// A server that Nova gave up before it was anywhere is found on the host that it was for, also by a later process.
func TestFailedServerIsFoundOnItsHost(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(hypervisors)
	o := f.created(d, host, 1)
	v := f.one()
	v.status, v.node, v.launched, v.power, v.fault = "ERROR", "", "", 0, "Build of instance aborted: no disk"
	list, err := d.Machines(t.Context(), host)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "Build of instance aborted: no disk", list[0].Fault)
	require.False(t, list[0].Full)
	other, err := d.Machines(t.Context(), "openstack/node2")
	require.NoError(t, err)
	require.Empty(t, other)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Empty(t, f.servers)
}

// A server that has run and then failed is no refused create: its disks are there.
func TestErrorAfterLaunchIsNoFault(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	v := f.one()
	for power, want := range map[int]pool.Power{1: pool.Running, 3: pool.Suspended, 4: pool.Stopped} {
		v.status, v.power, v.fault = "ERROR", power, "No valid host was found."
		list, err := d.Machines(t.Context(), host)
		require.NoError(t, err)
		require.Equal(t, want, list[0].Power)
		require.Empty(t, list[0].Fault)
		require.False(t, list[0].Full)
	}
	err := d.Start(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorContains(t, err, "ResetState")
	require.NoError(t, d.ResetState(t.Context(), o.Ref))
	require.Equal(t, "ACTIVE", v.status)
}

// A tag is one only with Nova's tag beside it, by which it is found; metadata that somebody has copied are none.
func TestCopiedMetadataIsNoTag(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	v := f.one()
	f.servers["copy"] = &fakeServer{id: "copy", name: "copy", status: "ACTIVE", flavor: "c1.tiny", metadata: maps.Clone(v.metadata), launched: "x"}
	list, err := d.Machines(t.Context(), host)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, 1, len(slices.DeleteFunc(list, func(m hypervisor.Machine) bool { return m.Tag == hypervisor.Tag{} })))
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Contains(t, f.servers, "copy")
}

// Two copies of one machine, as a create that was repeated too early makes them: calls mean the older one, stop and destroy
// both.
func TestCopies(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	first := *f.one()
	second := first
	second.id, second.created = "00000000-second", "2027-01-01T00:00:00Z"
	second.metadata = maps.Clone(first.metadata)
	second.metadata["berthage-attempt"] = "another"
	f.servers[second.id] = &second
	require.NoError(t, d.Suspend(t.Context(), o.Ref))
	require.Equal(t, "ACTIVE", second.status)
	require.NoError(t, d.Resume(t.Context(), o.Ref))
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	require.Equal(t, "SHUTOFF", second.status)
	require.ErrorIs(t, d.Shelve(t.Context(), o.Ref), hypervisor.ErrRefused)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Empty(t, f.servers)
}

// The guest gets its user-data whole, compressed where Nova would not take it, and finds its disks by the labels that Nova
// gives them.
func TestUserData(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.order(host, 1)
	o.Allocation.Shape = "c1.data"
	o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.GiB, Storage: "ephemeral", Mount: "/data"}, pool.Disk{Size: pool.GiB + 1, Storage: "ephemeral", Mount: "/srv"})
	require.NoError(t, d.Create(t.Context(), o))
	b, err := base64.StdEncoding.DecodeString(f.one().data)
	require.NoError(t, err)
	require.Contains(t, string(b), `["/dev/disk/by-label/ephemeral0","/data"`)
	require.Contains(t, string(b), `["/dev/disk/by-label/ephemeral1","/srv"`)
	require.NotContains(t, string(b), "fs_setup")
	require.NoError(t, d.Destroy(t.Context(), o.Ref))

	o = f.order(host, 2)
	o.Spec.Guest.UserData = "#!/bin/sh\n# " + strings.Repeat("many words ", 5800) + "\n"
	require.NoError(t, d.Create(t.Context(), o))
	b, err = base64.StdEncoding.DecodeString(f.one().data)
	require.NoError(t, err)
	r, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	plain, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Contains(t, string(plain), "berth")
	require.NoError(t, d.Destroy(t.Context(), o.Ref))

	o = f.order(host, 3)
	o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.GiB, Storage: "ephemeral"})
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrInvalid, "the flavor has no further disks")
	o.Allocation.Shape = "no-such"
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrRefused)
}

// Without CreateFlavors a hypervisor's machines have the sizes that a flavor has.
func TestMatchingFlavors(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(hypervisors, func(c *openstack.Config) { c.CreateFlavors = false })
	o := f.order(host, 1)
	require.NoError(t, d.Create(t.Context(), o))
	require.Equal(t, "c1.tiny", f.one().flavor)
	odd := f.order(host, 2)
	odd.Spec.Resources[pool.Memory] = 600 * pool.MiB
	err := d.Create(t.Context(), odd)
	require.ErrorIs(t, err, hypervisor.ErrInvalid)
	require.ErrorContains(t, err, "600 MiB")
	with, _ := f.driver(hypervisors)
	require.NoError(t, with.Create(t.Context(), odd))
	list, err := with.Machines(t.Context(), host)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(list, func(m hypervisor.Machine) bool {
		return m.Machine == odd.Machine && m.Resources[pool.Memory] == 600*pool.MiB
	}))
}

// A resize for which there is no room leaves the machine as it was; one that broke off half-way is ended by the next.
func TestResize(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	v := f.one()
	larger := f.order(host, 1)
	larger.Spec.Resources[pool.CPU], larger.Spec.Resources[pool.Memory], larger.Spec.Disks[0].Size = 2*pool.Core, pool.GiB, 2*pool.GiB
	larger.Allocation.Shape, larger.Revision = "c2.small", 20
	f.full = true
	err := d.Resize(t.Context(), larger)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.Equal(t, "c1.tiny", v.flavor)
	require.Equal(t, "9", v.metadata["berthage-revision"])
	f.full = false

	for _, flavor := range []string{"c2.small", "c4.huge"} { // that, and another one
		v.old, v.flavor, v.status = "c1.tiny "+v.node, flavor, "VERIFY_RESIZE"
		require.NoError(t, d.Resize(t.Context(), larger))
		require.Equal(t, "c2.small", v.flavor)
		require.Equal(t, "SHUTOFF", v.status)
		require.Equal(t, "20", v.metadata["berthage-revision"])
	}
	v.status = "ERROR"
	require.ErrorIs(t, d.Resize(t.Context(), larger), hypervisor.ErrRefused)
}

// A migration that broke off half-way is ended by the next: here or there.
func TestMigrationHalfWay(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"there": "node2", "elsewhere": "node1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeCloud(t)
			d, host := f.driver(hypervisors)
			o := f.created(d, host, 1)
			require.NoError(t, d.Stop(t.Context(), o.Ref))
			v := f.one()
			v.old, v.node, v.status = v.flavor+" node1", at, "VERIFY_RESIZE"
			there := o
			there.Host, there.Revision = "openstack/node2", 30
			require.NoError(t, d.Migrate(t.Context(), o.Ref, there))
			require.Equal(t, "node2", v.node)
			require.Equal(t, "SHUTOFF", v.status)
		})
	}
}

// Machines of one group share a server group of Nova's, which goes with the last of them.
func TestServerGroups(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(func(c *openstack.Config) {
		c.Group = func(o hypervisor.Order) openstack.Group {
			return openstack.Group{Name: o.Spec.Labels["cluster"], Policy: openstack.AntiAffinity}
		}
	})
	var orders []hypervisor.Order
	for n, cluster := range []string{"a", "a", "b", ""} {
		o := f.order(host, n)
		o.Spec.Labels = map[string]string{"cluster": cluster}
		if cluster == "" {
			o.Spec.Labels = nil
		}
		orders = append(orders, o)
		require.NoError(t, d.Create(t.Context(), o))
	}
	require.Len(t, f.groups, 2)
	groups := make(map[string]int)
	for _, v := range f.servers {
		groups[v.group]++
	}
	require.ElementsMatch(t, []int{2, 1, 1}, slices.Collect(maps.Values(groups)))
	require.NoError(t, d.Destroy(t.Context(), orders[0].Ref))
	require.Len(t, f.groups, 2)
	for _, o := range orders[1:] {
		require.NoError(t, d.Destroy(t.Context(), o.Ref))
	}
	require.Empty(t, f.groups)
	f.groups["x"] = &fakeGroup{id: "x", name: "somebody's", policy: "affinity"}
	bad := orders[0]
	bad.Spec.Labels = map[string]string{"cluster": "not a name"}
	require.ErrorIs(t, d.Create(t.Context(), bad), hypervisor.ErrInvalid)
	f.full = true
	require.ErrorIs(t, d.Create(t.Context(), orders[0]), hypervisor.ErrFull)
	require.Contains(t, f.groups, "x")
}

// Rebuild gives a machine a new root disk and leaves everything else.
func TestRebuild(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	v := f.one()
	o.Revision = 11
	require.NoError(t, d.Rebuild(t.Context(), o))
	require.Equal(t, "ACTIVE", v.status)
	require.Equal(t, "11", v.metadata["berthage-revision"])
	o.Revision = 10
	require.ErrorIs(t, d.Rebuild(t.Context(), o), hypervisor.ErrRefused)
	require.NoError(t, d.Hibernate(t.Context(), o.Ref))
	o.Revision = 12
	require.ErrorIs(t, d.Rebuild(t.Context(), o), hypervisor.ErrWrongPower)
}

func TestDiagnostics(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(func(c *openstack.Config) { c.Diagnostics = true })
	o := f.created(d, host, 1)
	got := make(map[string]float64)
	list, err := d.Sample(t.Context(), host)
	require.NoError(t, err)
	for _, s := range list {
		if s.Machine == o.Machine {
			got[s.Name+" "+s.Device] = s.Value
		}
	}
	require.Equal(t, map[string]float64{
		"cpu_cores ": 1, "memory_total_bytes ": float64(512 * pool.MiB), "cpu_seconds_total ": 1, "memory_used_bytes ": float64(256 * pool.MiB),
		"disk_read_bytes_total vda": 100, "disk_written_bytes_total vda": 200, "disk_reads_completed_total vda": 1,
		"disk_writes_completed_total vda": 2, "network_receive_bytes_total net0": 1,
	}, got, "what is absent is left out")
}
