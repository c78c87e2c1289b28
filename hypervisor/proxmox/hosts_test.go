package proxmox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// The inventory: what the node says, less what is configured, what guests and containers of others take, and templates' disks. A
// shared storage is divided among the nodes.
func TestInventory(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	s.AddGuest("pve1", 101, "theirs", "local", 10<<30, map[string]string{"cores": "3", "sockets": "2", "memory": "2048"})
	s.AddGuest("pve2", 102, "theirs-too", "shared", 4<<30, nil)
	s.AddContainer("pve1", 103, "a-container", 2, 1<<30)
	c := settings(t, s)
	c.Nodes = map[string]proxmox.Node{
		"pve1": {Address: "192.0.2.1", Zone: "a", Labels: map[string]string{"rack": "7"}, Cost: 5, ReservedCPU: 500, ReservedMemory: pool.GiB, CPURatio: 2000},
		"pve2": {}, "pve9": {},
	}
	c.Storages["local"] = proxmox.Storage{Reserved: pool.GiB, IOPS: 100}
	d := open(t, c)
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 3)
	h := hosts[0]
	require.Equal(t, pool.HostID("proxmox/pve1"), h.ID)
	require.Equal(t, []any{"192.0.2.1", "a", "7", int64(5), pool.Ready}, []any{h.Address, h.Zone, h.Labels["rack"], h.Cost, h.Conditions})
	require.Equal(t, pool.Inventory{Total: 16 * pool.Core, Reserved: 500 + 6*pool.Core + 2*pool.Core, Ratio: 2000}, h.Inventory[pool.CPU])
	require.Equal(t, pool.Inventory{Total: 64 * pool.GiB, Reserved: pool.GiB + 2*pool.GiB + pool.GiB}, h.Inventory[pool.Memory])
	require.Equal(t, int64(100), h.Inventory[pool.IOPSStandard].Total)
	require.Equal(t, int64(50_000), h.Inventory[pool.IOPSNVMe].Total)
	const template = 256 * pool.MiB
	require.Equal(t, pool.Inventory{Total: 100 * pool.GiB, Reserved: pool.GiB + 10*pool.GiB + template}, h.Device("local").Inventory)
	require.Equal(t, pool.Inventory{Total: 100 * pool.GiB}, h.Device("fast").Inventory)
	share := pool.Inventory{Total: 50 * pool.GiB, Reserved: (4*pool.GiB + template) / 2}
	require.Equal(t, share, h.Device("shared").Inventory)
	require.Equal(t, share, hosts[1].Device("shared").Inventory)
	require.Equal(t, pool.Conditions(0), hosts[2].Conditions, "it is not in the cluster")

	// A node that is off keeps what was last seen of it, without being ready; the others do not notice.
	s.SetOffline("pve2", true)
	off, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, hosts[0], off[0])
	require.Equal(t, pool.Conditions(0), off[1].Conditions)
	require.Equal(t, hosts[1].Inventory, off[1].Inventory)
	_, err = d.Machines(t.Context(), "proxmox/pve2")
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	_, err = d.Machines(t.Context(), "proxmox/pve3")
	require.ErrorIs(t, err, hypervisor.ErrNotFound)
	s.SetOffline("pve2", false)
	on, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, hosts, on)

	// Without a word about nodes and storages all are used.
	all := open(t, proxmox.Config{Name: "all", URL: s.URL(), Token: s.Token(), CA: s.CA()})
	hosts, err = all.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 2)
	require.Len(t, hosts[0].Devices, 3)
	require.Equal(t, pool.HostID("all/pve1"), hosts[0].ID)
}

// One node that hangs holds up no other, nor Hosts.
func TestNodeThatHangs(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	c.Timeouts.Hosts = 200 * time.Millisecond
	d := open(t, c)
	s.Inject(pvetest.Fault{Method: "GET", Path: "/nodes/pve2/status", Delay: 3 * time.Second})
	begun := time.Now()
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Less(t, time.Since(begun), 2*time.Second)
	require.Equal(t, pool.Ready, hosts[0].Conditions)
	require.Equal(t, pool.Conditions(0), hosts[1].Conditions)
}

// What a driver is asked for and what it is told of, where a right is missing: the server shortens lists, and the driver must not
// believe them.
func TestShortenedLists(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	everything := []string{"VM.Audit", "VM.Clone", "VM.Allocate", "VM.PowerMgmt", "VM.Config.Disk", "VM.Config.Options", "VM.Snapshot", "VM.Migrate"}
	rights := func() map[string][]string {
		return map[string][]string{"/vms": everything, "/nodes": {"Sys.Audit"}, "/storage": {"Datastore.Audit", "Datastore.AllocateSpace"}}
	}
	c := settings(t, s)
	maker := open(t, c)
	o := numbered(1, "proxmox/pve1")
	require.NoError(t, maker.Create(t.Context(), o))
	for i, test := range []struct {
		name, missing string
		hosts, list   bool // whether they are told
		change        func(map[string][]string)
		below         string // a path with a rule of its own
	}{
		{"nothing", "", true, true, func(map[string][]string) {}, ""},
		{"no right at all", "VM.Audit on /vms", false, false, func(r map[string][]string) { clear(r) }, ""},
		{"guests", "VM.Audit on /vms", false, false, func(r map[string][]string) { delete(r, "/vms") }, ""},
		{"one guest", "VM.Audit on /vms/100", false, false, func(map[string][]string) {}, "/vms/100"},
		{"only one guest", "VM.Audit on /vms", false, false, func(r map[string][]string) { r["/vms/100"] = r["/vms"]; delete(r, "/vms") }, ""},
		{"nodes", "Sys.Audit on /nodes", false, true, func(r map[string][]string) { delete(r, "/nodes") }, ""},
		{"storages", "Datastore.Audit on /storage", false, true, func(r map[string][]string) { delete(r, "/storage") }, ""},
		{"one storage", "Datastore.Audit on /storage/fast", false, true, func(map[string][]string) {}, "/storage/fast"},
	} {
		r := rights()
		test.change(r)
		c := settings(t, s)
		c.Token = s.AddToken("few@pve!t"+string(rune('a'+i)), r)
		if test.below != "" {
			s.Restrict(c.Token, test.below)
		}
		d := open(t, c)
		_, err := d.Hosts(t.Context())
		if test.hosts {
			require.NoError(t, err, test.name)
		} else {
			require.ErrorIs(t, err, hypervisor.ErrRefused, test.name)
			require.ErrorContains(t, err, test.missing, test.name)
		}
		list, err := d.Machines(t.Context(), "proxmox/pve1")
		if test.list {
			require.NoError(t, err, test.name)
			require.Len(t, list, 1, test.name)
			continue
		}
		require.Error(t, err, test.name)
		require.ErrorIs(t, err, hypervisor.ErrRefused, test.name)
		require.ErrorContains(t, err, test.missing, test.name)
		require.ErrorIs(t, d.Destroy(t.Context(), o.Ref), hypervisor.ErrRefused, "not seen is not gone: %s", test.name)
		require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrRefused, test.name)
		require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrRefused, "it might be there: %s", test.name)
	}
	// A right that is taken away in the middle.
	token := s.AddToken("few@pve!last", rights())
	c.Token = token
	d := open(t, c)
	_, err := d.Machines(t.Context(), "proxmox/pve1")
	require.NoError(t, err)
	s.Restrict(token, "/vms")
	_, err = d.Machines(t.Context(), "proxmox/pve1")
	require.ErrorContains(t, err, "VM.Audit")
	// What may not be done is refused with the server's words.
	few := rights()
	few["/vms"] = []string{"VM.Audit"}
	c.Token = s.AddToken("few@pve!audit", few)
	d = open(t, c)
	err = d.Start(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorContains(t, err, "Permission check failed (/vms/100, VM.PowerMgmt)")
	require.ErrorContains(t, d.Create(t.Context(), numbered(2, "proxmox/pve1")), "VM.Clone")
}

// A list shows what has been done before it, although the figures of the cluster's own list are old.
func TestListsAreFresh(t *testing.T) {
	t.Parallel()
	s := cluster(t, func(c *pvetest.Config) { c.Lag = time.Hour })
	d := open(t, settings(t, s))
	o := numbered(1, "proxmox/pve1")
	power := func() pool.Power {
		list, err := d.Machines(t.Context(), o.Host)
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Power
	}
	require.NoError(t, d.Create(t.Context(), o))
	require.Equal(t, pool.Stopped, power())
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.Equal(t, pool.Running, power())
	require.NoError(t, d.Suspend(t.Context(), o.Ref))
	require.Equal(t, pool.Suspended, power(), "paused is running, and told by qmpstatus alone")
}

// A copy that somebody makes of a machine, and a description that somebody copies, is not ours.
func TestCopies(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := numbered(1, "proxmox/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Change(t.Context(), "POST", "/nodes/pve1/qemu/100/clone", map[string]any{"newid": 555, "full": 1}))
	require.Equal(t, s.Guest(100, "description"), s.Guest(555, "description"))
	list, err := d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, o.Tag, list[0].Tag)
	require.Equal(t, hypervisor.Tag{}, list[1].Tag)
	require.Eventually(t, func() bool { return s.Guest(555, "lock") == "" }, time.Second, 5*time.Millisecond)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Contains(t, s.Guests("pve1"), 555)
}

// A guest of another's that gets the VMID of a machine that is gone is not taken for it.
func TestVMIDUsedAgain(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := numbered(1, "proxmox/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	s.Remove(100)
	s.AddGuest("pve1", 100, "somebody-else", "local", 1<<20, nil)
	require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrNotFound)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Equal(t, "stopped", s.Guest(100, "power"))
	require.Contains(t, s.Guests("pve1"), 100)
}
