package proxmox_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ops@host: x"

// changes lists the requests that change something, as "METHOD path", and their parameters.
func changes(s *pvetest.Server) (names []string, params []map[string]string) {
	for _, r := range s.Requests() {
		if r.Method != "GET" {
			names = append(names, r.Method+" "+r.Path)
			params = append(params, r.Params)
		}
	}
	return names, params
}

// The flow of a creation, request by request: next id, clone to the node, settings, the disk grown, the mark.
func TestFlow(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	c.CPUType, c.Pool = "x86-64-v2-AES", ""
	c.Networks = map[string]proxmox.Network{"dmz": {Bridge: "vmbr1", VLAN: 12, Firewall: true, IPConfig: "ip=192.0.2.9/24,gw=192.0.2.1"}}
	d := open(t, c)
	o := numbered(1, "proxmox/pve1")
	o.Spec.Resources[pool.CPU] = 1500
	o.Spec.Guest.SSHKeys = []string{key, key}
	o.Spec.Networks = []pool.Network{{}, {Name: "dmz"}}
	o.Spec.Disks = []pool.Disk{{Size: pool.GiB, IOPS: 500}, {Size: 64 * pool.MiB, Storage: pool.NVMe, IOPS: 100}}
	s.Requests()
	require.NoError(t, d.Create(t.Context(), o))
	var asked []string
	for _, r := range s.Requests() {
		if r.Path == "/cluster/nextid" || r.Method != "GET" {
			asked = append(asked, r.Method+" "+r.Path)
		}
		switch {
		case strings.HasSuffix(r.Path, "/clone"):
			require.Equal(t, "100", r.Params["newid"])
			require.Equal(t, "web-b", r.Params["name"])
			require.Equal(t, "pve1", r.Params["target"])
			require.Equal(t, "1", r.Params["full"])
			require.Equal(t, "local", r.Params["storage"])
			require.Contains(t, r.Params["description"], string(o.Machine), "the tag is in the request that creates")
		case r.Method == "POST" && strings.HasSuffix(r.Path, "/config"):
			require.Equal(t, "2", r.Params["cores"], "whole cores")
			require.Equal(t, "1", r.Params["sockets"])
			require.Equal(t, "192", r.Params["memory"])
			require.Equal(t, "x86-64-v2-AES", r.Params["cpu"])
			require.Equal(t, "berth", r.Params["ciuser"])
			keys, err := url.PathUnescape(r.Params["sshkeys"])
			require.NoError(t, err)
			require.NotContains(t, r.Params["sshkeys"], "+")
			require.Equal(t, key+"\n"+key, keys)
			require.Equal(t, "ip=dhcp", r.Params["ipconfig0"])
			require.Equal(t, "ip=192.0.2.9/24,gw=192.0.2.1", r.Params["ipconfig1"])
			require.Regexp(t, `^virtio=[0-9a-f:]{17},bridge=vmbr0$`, r.Params["net0"])
			require.Regexp(t, `^virtio=[0-9a-f:]{17},bridge=vmbr1,tag=12,firewall=1$`, r.Params["net1"])
			require.Equal(t, "fast:0.0625,serial=berthage-d1,iops=100", r.Params["virtio1"])
			require.Contains(t, r.Params["scsi0"], ",iops=500")
		case strings.HasSuffix(r.Path, "/resize"):
			require.Equal(t, "scsi0", r.Params["disk"])
			require.Equal(t, strconv.Itoa(1<<30), r.Params["size"])
		}
	}
	require.Equal(t, []string{
		"GET /cluster/nextid", "POST /nodes/pve1/qemu/9001/clone", "POST /nodes/pve1/qemu/100/config", "PUT /nodes/pve1/qemu/100/resize", "PUT /nodes/pve1/qemu/100/config",
	}, asked)
	require.Contains(t, s.Guest(100, "scsi0"), "size=1G")
	require.Contains(t, s.Guest(100, "virtio1"), "size=64M")
	require.Contains(t, s.Volumes("pve1"), "fast:vm-100-disk-0")

	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	asked, params := changes(s)
	require.Equal(t, []string{"POST /nodes/pve1/qemu/100/status/start", "POST /nodes/pve1/qemu/100/status/stop", "DELETE /nodes/pve1/qemu/100"}, asked)
	require.Equal(t, "1", params[2]["purge"])
	require.Equal(t, []int{9001, 9003}, s.Guests("pve1"))
}

// A linked clone stays on the template's storage, whatever the allocation says elsewhere.
func TestLinkedClone(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	c.Linked = true
	d := open(t, c)
	o := numbered(1, "proxmox/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	require.Contains(t, s.Guest(100, "scsi0"), "local:9001/base-9001-disk-0.qcow2/100/")
	o = numbered(2, "proxmox/pve1")
	o.Spec.Disks[0].Storage = pool.NVMe
	o.Allocation.Claims = []pool.Claim{{Device: "fast", Class: pool.NVMe.Class(), Amount: pool.GiB}}
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrRefused)
}

// Templates: the one on the node, else one on shared storage; what is on another node's own disk cannot be cloned.
func TestTemplates(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	s.AddTemplate("pve1", 9010, "only-on-1", "local", 1<<20)
	s.AddGuest("pve1", 9011, "a-guest", "local", 1<<20, nil)
	s.AddGuest("pve1", 9012, "two-disks", "local", 1<<20, map[string]string{"template": "1", "scsi1": "local:9012/x.qcow2,size=1M"})
	d := open(t, settings(t, s))
	n := 0
	try := func(host pool.HostID, source string, storage pool.Storage) error {
		n++
		o := numbered(n, host)
		o.Source = source
		o.Spec.Disks[0].Storage = storage
		return d.Create(t.Context(), o)
	}
	for _, ok := range []struct {
		host    pool.HostID
		source  string
		storage pool.Storage
		from    string
	}{
		{"proxmox/pve1", "tiny", "", "pve1/qemu/9001"},
		{"proxmox/pve2", "tiny", "", "pve2/qemu/9002"},
		{"proxmox/pve1", "9001", "", "pve1/qemu/9001"},
		{"proxmox/pve2", "tiny-shared", "shared", "pve1/qemu/9003"},
	} {
		s.Requests()
		require.NoError(t, try(ok.host, ok.source, ok.storage), "%+v", ok)
		names, _ := changes(s)
		require.Equal(t, "POST /nodes/"+ok.from+"/clone", names[0])
	}
	before := len(s.Guests("pve1")) + len(s.Guests("pve2"))
	for _, bad := range []struct {
		host   pool.HostID
		source string
	}{
		{"proxmox/pve2", "only-on-1"}, {"proxmox/pve2", "9001"}, {"proxmox/pve1", "none"}, {"proxmox/pve1", "777"}, {"proxmox/pve1", "9011"}, {"proxmox/pve1", "two-disks"},
		{"proxmox/pve2", "tiny-shared"}, // to storage that is not shared
	} {
		s.Requests()
		require.ErrorIs(t, try(bad.host, bad.source, ""), hypervisor.ErrRefused, "%+v", bad)
		names, _ := changes(s)
		require.Empty(t, names)
	}
	small := numbered(20, "proxmox/pve1")
	small.Spec.Disks[0].Size = 100 * pool.MiB
	require.ErrorIs(t, d.Create(t.Context(), small), hypervisor.ErrInvalid, "smaller than the template")
	require.Len(t, append(s.Guests("pve1"), s.Guests("pve2")...), before)
}

// User-data and mounts come with a seed of ours, which has the drive of the cluster's own, and goes with the machine.
func TestSeeds(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := numbered(1, "proxmox/pve1")
	script := "#!/bin/sh\necho a script of the caller's\n"
	o.Spec.Guest.UserData = script
	o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: 64 * pool.MiB, Mount: "/data"})
	before := s.Volumes("pve1")
	require.NoError(t, d.Create(t.Context(), o))
	cd := s.Guest(100, "ide2")
	require.Regexp(t, `^shared:iso/berthage-`+string(o.Machine)+`-[0-9a-f]{16}\.iso,media=cdrom$`, cd)
	volume, _, _ := strings.Cut(cd, ",")
	image := s.ISO("pve1", volume)
	require.True(t, bytes.Contains(image, []byte(base64.StdEncoding.EncodeToString([]byte(script)))))
	require.True(t, bytes.Contains(image, []byte("virtio-berthage-d1")))
	require.Empty(t, s.Guest(100, "ciuser"))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	moved := o
	moved.Host, moved.Revision = "proxmox/pve2", 50
	_, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.Migrate(t.Context(), o.Ref, moved))
	require.NoError(t, d.Start(t.Context(), moved.Ref))
	require.NoError(t, d.Destroy(t.Context(), moved.Ref))
	require.Equal(t, before, s.Volumes("pve1"))

	// A seed that was uploaded and never came to be used goes too.
	s.Inject(pvetest.Fault{Method: "POST", Path: "/100/config", Status: 596})
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrUnknown)
	require.NotEqual(t, before, s.Volumes("pve1"))
	s.Remove(100)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Equal(t, before, s.Volumes("pve1"))
}

// What fails after the clone is undone: stop, destroy, and nothing is left, neither on disks.
func TestUndo(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]pvetest.Fault{
		"the clone":        {Task: "qmclone", TaskFails: "clone failed: no space left on device"},
		"the settings":     {Task: "qmconfig", TaskFails: "unable to create image: no space left"},
		"the disk":         {Task: "resize", TaskFails: "unable to resize"},
		"the seed":         {Task: "imgcopy", TaskFails: "import failed"},
		"what is left out": {Method: "POST", Path: "/clone", Status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := cluster(t)
			d := open(t, settings(t, s))
			o := numbered(1, "proxmox/pve1")
			o.Spec.Guest.UserData = "#cloud-config\n"
			before := s.Volumes("pve1")
			s.Inject(f)
			err := d.Create(t.Context(), o)
			require.ErrorIs(t, err, hypervisor.ErrRefused)
			require.True(t, hypervisor.Nothing(err))
			require.Equal(t, []int{9001, 9003}, s.Guests("pve1"))
			require.Equal(t, before, s.Volumes("pve1"))
			require.NoError(t, d.Create(t.Context(), o))
		})
	}
}

// A task that ends with warnings has succeeded.
func TestWarnings(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	s.Inject(pvetest.Fault{Task: "qmclone", Warnings: 2}, pvetest.Fault{Task: "qmstart", Warnings: 1})
	o := numbered(1, "proxmox/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.Zero(t, s.Pending())
}

// A creation that broke off, in a process that is gone, is listed with a Fault, is not started, and can be destroyed.
func TestBrokenOff(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := numbered(1, "proxmox/pve1")
	s.Inject(pvetest.Fault{Method: "PUT", Path: "/resize", CutBefore: true})
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrUnknown)
	list, err := d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, o.Ref, list[0].Ref)
	require.NotEmpty(t, list[0].Fault)
	require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrExists)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.NoError(t, d.Create(t.Context(), o))
	list, err = d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	require.Empty(t, list[0].Fault)
}

// rounds is how often a race is run; make test-race runs it again and again.
const rounds = 60

// Two callers, each with a driver of its own, are given the same next id. Both get a machine.
func TestTwoCallersOneID(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	lost := 0
	drivers := []*proxmox.Driver{open(t, quiet(settings(t, s))), open(t, quiet(settings(t, s)))}
	played := 0
	for round := 0; round < rounds || lost <= 10 && round < 20*rounds; round++ { // until they have met, however busy the computer is
		played++
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, d := range drivers {
			wg.Go(func() { errs[i] = d.Create(t.Context(), numbered(10+i, "proxmox/pve1")) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...), "round %d", round)
		for _, r := range s.Requests() {
			if strings.HasSuffix(r.Path, "/clone") && r.Status == 500 {
				lost++
			}
		}
		list, err := drivers[0].Machines(t.Context(), "proxmox/pve1")
		require.NoError(t, err)
		require.Len(t, list, 2)
		for i, d := range drivers {
			require.NoError(t, d.Destroy(t.Context(), numbered(10+i, "proxmox/pve1").Ref))
		}
	}
	require.Greater(t, lost, 10, "the callers have hardly met")
	t.Logf("%d of %d rounds had a clone that came second", lost, played)
}

func quiet(c proxmox.Config) proxmox.Config {
	c.Logger = nil
	return c
}

// Two processes make the same machine at the same time: never are there two of it, and whoever was told that it made it has.
func TestTwoCallersOneMachine(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("VMIDs of their own: %v", own), func(t *testing.T) {
			t.Parallel()
			s := cluster(t)
			c := quiet(settings(t, s))
			if own {
				c.FirstVMID, c.LastVMID = 1000, 100_000
			}
			o := numbered(3, "proxmox/pve1")
			both := 0
			drivers := []*proxmox.Driver{open(t, c), open(t, c)}
			for round := range rounds {
				errs := make([]error, 2)
				var wg sync.WaitGroup
				for i, d := range drivers {
					wg.Go(func() { errs[i] = d.Create(t.Context(), o) })
				}
				wg.Wait()
				won := 0
				for _, err := range errs {
					if err == nil {
						won++
					} else {
						require.ErrorIs(t, err, hypervisor.ErrExists, "round %d", round)
					}
				}
				require.LessOrEqual(t, won, 1, "round %d", round)
				if won == 0 {
					both++
					require.False(t, own, "the cluster lets one through")
				}
				list, err := drivers[0].Machines(t.Context(), o.Host)
				require.NoError(t, err)
				require.Len(t, list, won, "round %d", round)
				for _, m := range list {
					require.Empty(t, m.Fault)
				}
				require.NoError(t, drivers[0].Destroy(t.Context(), o.Ref))
			}
			t.Logf("in %d of %d rounds both have given way", both, rounds)
		})
	}
}

// A clone that arrives late, long after its caller has gone, is a machine that is listed with a Fault; the VMID that it would
// have had is not used for another.
func TestLateClone(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	d := open(t, c)
	o := numbered(1, "proxmox/pve1")
	s.Inject(pvetest.Fault{Method: "POST", Path: "/clone", Late: c.Timeouts.Settle + 200*time.Millisecond})
	err := d.Create(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrUnknown)
	require.Eventually(t, func() bool {
		list, err := d.Machines(context.Background(), o.Host)
		return err == nil && len(list) == 1 && list[0].Fault != ""
	}, 5*time.Second, 20*time.Millisecond)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.NoError(t, d.Create(t.Context(), o))
}
