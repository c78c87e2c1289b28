package libvirt_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

func TestConfigInvalid(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*libvirt.Config){
		"no hosts":         func(c *libvirt.Config) { c.Hosts = nil },
		"driver's name":    func(c *libvirt.Config) { c.Name = "a/b" },
		"image dir":        func(c *libvirt.Config) { c.ImageDir = "images" },
		"no host name":     func(c *libvirt.Config) { c.Hosts[0].Name = "" },
		"host with slash":  func(c *libvirt.Config) { c.Hosts[0].Name = "a/b" },
		"host with space":  func(c *libvirt.Config) { c.Hosts[0].Name = "a b" },
		"host twice":       func(c *libvirt.Config) { c.Hosts = append(c.Hosts, c.Hosts[0]) },
		"zone":             func(c *libvirt.Config) { c.Hosts[0].Zone = "a\nb" },
		"labels":           func(c *libvirt.Config) { c.Hosts[0].Labels = map[string]string{"": "x"} },
		"no uri":           func(c *libvirt.Config) { c.Hosts[0].URI = "" },
		"uri":              func(c *libvirt.Config) { c.Hosts[0].URI = "qemu:system" },
		"transport":        func(c *libvirt.Config) { c.Hosts[0].URI = "qemu+ext:///system" },
		"password":         func(c *libvirt.Config) { c.Hosts[0].URI = "qemu+ssh://root:hunter2@h/system" },
		"parameter":        func(c *libvirt.Config) { c.Hosts[0].URI = "qemu:///system?sockt=/x" },
		"tls parameter":    func(c *libvirt.Config) { c.Hosts[0].URI = "qemu+tls://h/system?keyfile=/x" },
		"direct":           func(c *libvirt.Config) { c.Hosts[0].URI = "qemu:///system?mode=direct" },
		"unix with host":   func(c *libvirt.Config) { c.Hosts[0].URI = "qemu+unix://h/system" },
		"ssh session":      func(c *libvirt.Config) { c.Hosts[0].URI = "qemu+ssh://h/session" },
		"ssh without host": func(c *libvirt.Config) { c.Hosts[0].URI = "qemu+ssh:///system" },
		"virt type":        func(c *libvirt.Config) { c.Hosts[0].VirtType = "xen" },
		"negative reserve": func(c *libvirt.Config) { c.Hosts[0].ReservedMemory = -1 },
		"ratio":            func(c *libvirt.Config) { c.Hosts[0].CPURatio = -1 },
		"pool name":        func(c *libvirt.Config) { c.Hosts[0].Pools = map[string]libvirt.StoragePool{"a/b": {}} },
		"pool kind":        func(c *libvirt.Config) { c.Hosts[0].Pools = map[string]libvirt.StoragePool{"a": {Kind: "A B"}} },
		"pool format":      func(c *libvirt.Config) { c.Hosts[0].Pools = map[string]libvirt.StoragePool{"a": {Format: "vmdk"}} },
		"pool iops":        func(c *libvirt.Config) { c.Hosts[0].Pools = map[string]libvirt.StoragePool{"a": {IOPS: -1}} },
		"pool reserve":     func(c *libvirt.Config) { c.Hosts[0].Pools = map[string]libvirt.StoragePool{"a": {Reserved: -1}} },
		"network name":     func(c *libvirt.Config) { c.Hosts[0].Networks = map[string]libvirt.Network{"a b": {Source: "x"}} },
		"network kind":     func(c *libvirt.Config) { c.Hosts[0].Networks = map[string]libvirt.Network{"a": {Kind: "x"}} },
		"no source":        func(c *libvirt.Config) { c.Hosts[0].Networks = map[string]libvirt.Network{"a": {}} },
		"ports of a bridge": func(c *libvirt.Config) {
			c.Hosts[0].Networks = map[string]libvirt.Network{"a": {Kind: libvirt.Bridge, Source: "br0", FirstPort: 1}}
		},
		"source of user": func(c *libvirt.Config) {
			c.Hosts[0].Networks = map[string]libvirt.Network{"a": {Kind: libvirt.UserMode, Source: "br0"}}
		},
		"ports": func(c *libvirt.Config) {
			c.Hosts[0].Networks = map[string]libvirt.Network{"a": {Kind: libvirt.UserMode, FirstPort: 9, LastPort: 8}}
		},
		"listen": func(c *libvirt.Config) {
			c.Hosts[0].Networks = map[string]libvirt.Network{"a": {Kind: libvirt.UserMode, FirstPort: 8, LastPort: 9, Listen: "1.2.3.4,hostfwd=tcp::1-:1"}}
		},
		"processor":         func(c *libvirt.Config) { c.Hosts[0].CPU = "a\nb" },
		"headroom":          func(c *libvirt.Config) { c.Hosts[0].Headroom.Memory = -1 },
		"cores of headroom": func(c *libvirt.Config) { c.Hosts[0].Headroom.CPU = -1 },
		"migration":         func(c *libvirt.Config) { c.Hosts[0].Migration.URI = "h2" },
		"migration password": func(c *libvirt.Config) {
			c.Hosts[0].Migration.URI = "qemu+tls://root:hunter2@h2/system"
		},
		"memory's way":    func(c *libvirt.Config) { c.Hosts[0].Migration.Memory = "10.0.0.1:x" },
		"pool of images":  func(c *libvirt.Config) { c.Hosts[0].Images = "other" },
		"default network": func(c *libvirt.Config) { c.Hosts[0].Network = "a b" },
	} {
		c := libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: "qemu:///system"}}}
		change(&c)
		d, err := libvirt.New(c)
		require.ErrorIs(t, err, pool.ErrInvalid, name)
		require.Nil(t, d, name)
		require.NotContains(t, err.Error(), "hunter2", name)
	}
}

func TestURIs(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string][2]string{
		"qemu:///system":                                          {"qemu:///system", ""},
		"qemu+unix:///system?socket=/a/b":                         {"qemu:///system", ""},
		"test+unix:///default?socket=/s":                          {"test:///default", ""},
		"test+unix:///a/node.xml?socket=/s":                       {"test:///a/node.xml", ""},
		"qemu+ssh://root@h1.example.org/system":                   {"qemu:///system", "h1.example.org"},
		"qemu+ssh://root@[2001:db8::1]:2222/system?keyfile=/k":    {"qemu:///system", "2001:db8::1"},
		"qemu+ssh://h/system?known_hosts=/k&socket=/s&no_verify=": {"qemu:///system", "h"},
		"qemu://h1/system":                                        {"qemu:///system", "h1"},
		"qemu+tls://h1:1/system?pkipath=/p":                       {"qemu:///system", "h1"},
		"qemu+tcp://h1/system":                                    {"qemu:///system", "h1"},
		"remote+tcp://h1/?name=qemu%3A%2F%2F%2Fsession":           {"qemu:///session", "h1"},
	} {
		remote, address, err := libvirt.ParseURI(uri)
		require.NoError(t, err, uri)
		require.Equal(t, want, [2]string{remote, address}, uri)
	}
}

// The configuration belongs to its caller.
func TestConfigCopied(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	c := libvirt.Config{Hosts: []libvirt.HostConfig{{
		Name: "h1", URI: daemon.uri(), Zone: "a", Labels: map[string]string{"rack": "1"},
		Pools:       map[string]libvirt.StoragePool{"default": {Kind: pool.SSD, IOPS: 100, Reserved: 5, Ratio: 1500}, "gone": {}},
		ReservedCPU: 500, CPURatio: 4000,
	}}}
	d := open(t, c)
	c.Hosts[0].Labels["rack"] = "2"
	delete(c.Hosts[0].Pools, "default")
	c.Hosts[0].Name = "h2"
	hosts, err := d.Hosts(context.Background())
	require.NoError(t, err)
	require.Equal(t, []pool.Host{{
		ID: "libvirt/h1", Name: "h1", Address: "fake.example.org", Zone: "a", Labels: map[string]string{"rack": "1"}, Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{
			pool.CPU:        {Total: 4 * pool.Core, Reserved: 500, Ratio: 4000},
			pool.Memory:     {Total: 8 * pool.GiB},
			pool.StorageSSD: {Total: pool.TiB, Reserved: 5},
			pool.IOPSSSD:    {Total: 100},
		},
		Devices: []pool.Device{{ID: "default", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: pool.TiB, Reserved: 5, Ratio: 1500}}},
	}}, hosts, "the pool that is gone is not offered")
}

// Names and addresses are the same for ever, and those of different machines differ.
func TestNames(t *testing.T) {
	t.Parallel()
	require.Equal(t, "5184347f-396e-8480-99f6-1e70dcda8a80", libvirt.MachineUUID("i0123456789abcdefghijklmn-0"))
	require.Equal(t, "2a:5c:63:3b:34:09", libvirt.MachineMAC("i0123456789abcdefghijklmn-0", 0))
	tag := hypervisor.Tag{Ledger: "ledger", Machine: "i0123456789abcdefghijklmn-0", Launched: 7}
	require.Equal(t, "berthage-i0123456789abcdefghijklmn-0-", libvirt.VolumePrefix(tag)[:37])
	uuids, macs, prefixes := map[string]bool{}, map[string]bool{}, map[string]bool{libvirt.VolumePrefix(tag): true}
	for i := range 20000 {
		m := pool.InstanceID("i0123456789abcdefghijklmn").Machine(i)
		u, mac := libvirt.MachineUUID(m), libvirt.MachineMAC(m, 1)
		require.Equal(t, byte('8'), u[14], "version")
		require.Contains(t, "89ab", u[19:20], "variant")
		require.Contains(t, "26ae", mac[1:2], "unicast, locally administered")
		require.False(t, strings.HasPrefix(mac, "fe"))
		require.False(t, uuids[u] || macs[mac])
		uuids[u], macs[mac] = true, true
	}
	for _, other := range []hypervisor.Tag{
		{Ledger: "ledger2", Machine: tag.Machine, Launched: 7}, {Ledger: "ledger", Machine: tag.Machine, Launched: 8},
		{Ledger: "ledger", Machine: "i0123456789abcdefghijklmn-00", Launched: 7}, {Ledger: "ledger", Machine: "i0123456789abcdefghijklmn-01", Launched: 7},
	} {
		p := libvirt.VolumePrefix(other)
		for known := range prefixes {
			require.False(t, strings.HasPrefix(p, known) || strings.HasPrefix(known, p), "%s %s", p, known)
		}
		prefixes[p] = true
	}
}
