package proxmox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// running makes machine n on pve1 and starts it.
func running(t *testing.T, d *proxmox.Driver, n int) hypervisor.Order {
	t.Helper()
	_, err := d.Hosts(t.Context())
	require.NoError(t, err)
	o := numbered(n, "proxmox/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	return o
}

// A guest that does not obey is switched off, or reset, after the grace time.
func TestDeafGuest(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s)) // a second of grace
	o := running(t, d, 1)
	s.SetObeys(100, false)
	require.NoError(t, d.Reboot(t.Context(), o.Ref))
	require.Equal(t, "running", s.Guest(100, "power"))
	names, params := changes(s)
	require.Equal(t, "POST /nodes/pve1/qemu/100/status/reset", names[len(names)-1])
	require.Equal(t, "1", params[len(params)-2]["timeout"])
	begun := time.Now()
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	require.GreaterOrEqual(t, time.Since(begun), 900*time.Millisecond)
	require.Equal(t, "stopped", s.Guest(100, "power"))
	names, params = changes(s)
	require.Equal(t, []string{"POST /nodes/pve1/qemu/100/status/shutdown"}, names)
	require.Equal(t, "1", params[0]["forceStop"])
}

// A guest to which something else is being done is left alone, and it is said what; destroying waits for a clone.
func TestLocks(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := running(t, d, 1)
	s.Set(100, "lock", "backup")
	for name, call := range map[string]func() error{
		"stop":     func() error { return d.Stop(t.Context(), o.Ref) },
		"suspend":  func() error { return d.Suspend(t.Context(), o.Ref) },
		"reboot":   func() error { return d.Reboot(t.Context(), o.Ref) },
		"snapshot": func() error { return d.Snapshot(t.Context(), o.Ref, "a") },
	} {
		err := call()
		require.ErrorIs(t, err, hypervisor.ErrRefused, name)
		require.ErrorContains(t, err, "VM is locked (backup)", name)
	}
	require.ErrorContains(t, d.Destroy(t.Context(), o.Ref), "VM is locked (backup)")
	require.Equal(t, "running", s.Guest(100, "power"))
	s.Set(100, "lock", "clone")
	time.AfterFunc(200*time.Millisecond, func() { s.Set(100, "lock", "") })
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.NotContains(t, s.Guests("pve1"), 100)

	o = running(t, d, 2)
	s.Set(100, "protection", "1")
	require.ErrorContains(t, d.Destroy(t.Context(), o.Ref), "protection mode enabled")
	require.Contains(t, s.Guests("pve1"), 100)
}

// Sizes that a storage has no room for are refused before any disk has grown.
func TestResizeWithoutRoom(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := numbered(1, "proxmox/pve1")
	o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: 64 * pool.MiB, Storage: pool.NVMe})
	require.NoError(t, d.Create(t.Context(), o))
	larger := o
	larger.Spec = o.Spec.Clone()
	larger.Spec.Disks[0].Size, larger.Spec.Disks[1].Size, larger.Revision = 2*pool.GiB, pool.TiB, 9
	s.Requests()
	err := d.Resize(t.Context(), larger)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorIs(t, err, hypervisor.ErrFull)
	names, _ := changes(s)
	require.Empty(t, names)
	larger.Spec.Disks[1].Size = pool.GiB + 1 // rounded up to whole MiB
	require.NoError(t, d.Resize(t.Context(), larger))
	require.Contains(t, s.Guest(100, "scsi0"), "size=2G")
	require.Contains(t, s.Guest(100, "virtio1"), "size=1025M")

	// Where the second disk is refused all the same, the first has grown, and the outcome is open until the order is repeated.
	larger.Spec.Disks[0].Size, larger.Spec.Disks[1].Size, larger.Revision = 3*pool.GiB, 3*pool.GiB, 10
	s.Inject(pvetest.Fault{Method: "PUT", Path: "/resize", Delay: time.Millisecond}, pvetest.Fault{Method: "PUT", Path: "/resize", Status: 500})
	require.ErrorIs(t, d.Resize(t.Context(), larger), hypervisor.ErrUnknown)
	require.NoError(t, d.Resize(t.Context(), larger))
	require.Contains(t, s.Guest(100, "virtio1"), "size=3G")
}

// What people keep of a machine is theirs: their snapshots are not listed and not deleted, and their words in its description stay.
func TestWhatPeopleDo(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := running(t, d, 1)
	require.NoError(t, d.Do(t.Context(), "POST", "/nodes/pve1/qemu/100/snapshot", map[string]any{"snapname": "before-upgrade"}))
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	s.Set(100, "description", "ours: ask Kim\n"+s.Guest(100, "description"))
	for i, name := range []string{"one", "two", "three"} {
		require.NoError(t, d.Snapshot(t.Context(), o.Ref, name))
		larger := o
		larger.Spec = o.Spec.Clone()
		larger.Spec.Resources[pool.Memory] = int64(200+i) * pool.MiB
		larger.Revision = pool.Revision(10 + i)
		require.NoError(t, d.Resize(t.Context(), larger))
	}
	list, err := d.Snapshots(t.Context(), o.Ref)
	require.NoError(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name)
	}
	require.Equal(t, []string{"one", "two", "three"}, names, "of one second, in the order in which they were taken")
	require.NoError(t, d.Revert(t.Context(), o.Ref, "one"))
	require.Equal(t, "202", s.Guest(100, "memory"), "sizes stay")
	require.Contains(t, s.Guest(100, "description"), "ours: ask Kim")
	require.ErrorIs(t, d.Revert(t.Context(), o.Ref, "before-upgrade"), hypervisor.ErrRefused)
	require.NoError(t, d.DeleteSnapshot(t.Context(), o.Ref, "before-upgrade"))
	require.ErrorIs(t, d.Snapshot(t.Context(), o.Ref, strings.Repeat("x", 39)), hypervisor.ErrInvalid)
	require.NoError(t, d.Snapshot(t.Context(), o.Ref, strings.Repeat("x", 38)))
}

// Where a storage cannot keep snapshots they are not offered, and asking for one asks the cluster nothing.
func TestSnapshotsAreNotOffered(t *testing.T) {
	t.Parallel()
	s := cluster(t, func(c *pvetest.Config) { c.Storages[1].Type = "lvm" })
	d := open(t, settings(t, s))
	o := running(t, d, 1)
	require.False(t, hypervisor.Has(d, o.Host, hypervisor.CanSnapshot))
	s.Requests()
	require.ErrorContains(t, d.Snapshot(t.Context(), o.Ref, "a"), "unsupported")
	require.Empty(t, s.Requests())
}

// What cannot be moved stays where it is, and the reason is said before anything is asked for.
func TestWhatCannotBeMoved(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	c.SeedStorage, c.MigrateLive = "local", false
	d := open(t, c)
	o := running(t, d, 1)
	moved := func(o hypervisor.Order) hypervisor.Order {
		o.Host, o.Revision = "proxmox/pve2", 50
		return o
	}
	require.ErrorIs(t, d.Migrate(t.Context(), o.Ref, moved(o)), hypervisor.ErrWrongPower)
	require.NoError(t, d.Suspend(t.Context(), o.Ref))
	require.ErrorIs(t, d.Migrate(t.Context(), o.Ref, moved(o)), hypervisor.ErrWrongPower)
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	elsewhere := moved(o)
	elsewhere.Allocation.Claims = []pool.Claim{{Device: "none", Class: pool.StorageStandard}}
	require.ErrorContains(t, d.Migrate(t.Context(), o.Ref, elsewhere), "no storage")
	s.SetOffline("pve2", true)
	require.Error(t, d.Migrate(t.Context(), o.Ref, moved(o)))
	s.SetOffline("pve2", false)

	seeded := numbered(2, "proxmox/pve1")
	seeded.Spec.Guest.UserData = "#cloud-config\n"
	require.NoError(t, d.Create(t.Context(), seeded))
	err := d.Migrate(t.Context(), seeded.Ref, moved(seeded))
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorContains(t, err, "not shared")

	// To another storage of the target, which the allocation names.
	fast := moved(o)
	fast.Allocation.Claims = []pool.Claim{{Device: "fast", Class: pool.StorageStandard}}
	require.NoError(t, d.Migrate(t.Context(), o.Ref, fast))
	require.Equal(t, "pve2", s.Guest(100, "node"))
	require.Contains(t, s.Guest(100, "scsi0"), "fast:vm-100-disk-0")
}

// Readings of a machine, and addresses from the agent in it.
func TestReadings(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	c.Name, c.Agent = "our.pve-1", true
	d := open(t, c)
	o := numbered(1, "our.pve-1/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	two := numbered(2, "our.pve-1/pve1")
	two.Spec.Disks = append(two.Spec.Disks, pool.Disk{Size: 64 * pool.MiB})
	require.NoError(t, d.Create(t.Context(), two))
	for _, r := range []hypervisor.Ref{o.Ref, two.Ref} {
		require.NoError(t, d.Start(t.Context(), r))
	}
	list, err := d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	require.Empty(t, list[0].Addresses)
	s.SetAgent(100, true)
	list, err = d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	require.Equal(t, []string{"192.0.2.101"}, list[0].Addresses, "none of the loopback, none of the link")
	samples, err := d.Sample(t.Context(), o.Host)
	require.NoError(t, err)
	seen := make(map[string]bool)
	for _, m := range samples {
		who := ""
		if m.Machine == o.Machine {
			who = "one "
		} else if m.Machine == two.Machine {
			who = "two "
		}
		seen[who+m.Name+" "+m.Device] = true
	}
	for _, want := range []string{
		"host_cpu_cores ", "host_memory_total_bytes ", "host_memory_available_bytes ", "our_pve_1_host_cpu_busy_ratio ",
		"host_storage_capacity_bytes local", "host_storage_free_bytes fast", "one cpu_cores ", "one memory_total_bytes ", "one memory_used_bytes ",
		"one our_pve_1_cpu_busy_ratio ", "one disk_read_bytes_total scsi0", "one disk_written_bytes_total scsi0", "one network_receive_bytes_total ",
		"two our_pve_1_disk_read_bytes_total ", "two our_pve_1_disk_written_bytes_total ",
	} {
		require.True(t, seen[want], "%s is not among %v", want, seen)
	}
	require.False(t, seen["two disk_read_bytes_total scsi0"])
}
