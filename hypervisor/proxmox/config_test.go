package proxmox_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/pool"
)

const secret = "00000000-aaaa-4000-8000-00000000abcd"

func TestConfig(t *testing.T) {
	t.Parallel()
	good := func() proxmox.Config {
		return proxmox.Config{URL: "https://pve1.example:8006", Token: "a@pve!b=" + secret}
	}
	d, err := proxmox.New(good())
	require.NoError(t, err)
	require.NoError(t, d.Close())
	for field, change := range map[string]func(*proxmox.Config){
		"name":                func(c *proxmox.Config) { c.Name = "a/b" },
		"url":                 func(c *proxmox.Config) { c.URL = "http://pve1.example" },
		"url ":                func(c *proxmox.Config) { c.URL = "https://root:" + secret + "@pve1.example" },
		"url  ":               func(c *proxmox.Config) { c.URL = "https://pve1.example/api2/json" },
		"token":               func(c *proxmox.Config) { c.Token = "a@pve=" + secret },
		"token ":              func(c *proxmox.Config) { c.Token = "a@pve!b=" + secret + "\r\nX: y" },
		"token  ":             func(c *proxmox.Config) { c.User, c.Password = "a@pve", secret },
		"user":                func(c *proxmox.Config) { c.Token, c.User, c.Password = "", "a", secret },
		"password":            func(c *proxmox.Config) { c.Token, c.User = "", "a@pve" },
		"ca":                  func(c *proxmox.Config) { c.CA = []byte("none") },
		`nodes["a/b"]`:        func(c *proxmox.Config) { c.Nodes = map[string]proxmox.Node{"a/b": {}} },
		`nodes["a"]`:          func(c *proxmox.Config) { c.Nodes = map[string]proxmox.Node{"a": {Zone: "\n"}} },
		`nodes["a"].cpu`:      func(c *proxmox.Config) { c.Nodes = map[string]proxmox.Node{"a": {ReservedCPU: -1}} },
		`nodes["a"].memory`:   func(c *proxmox.Config) { c.Nodes = map[string]proxmox.Node{"a": {MemoryRatio: -1}} },
		`storages["../x"]`:    func(c *proxmox.Config) { c.Storages = map[string]proxmox.Storage{"../x": {}} },
		`storages["ab"].kind`: func(c *proxmox.Config) { c.Storages = map[string]proxmox.Storage{"ab": {Kind: "\x00"}} },
		`storages["ab"].iops`: func(c *proxmox.Config) { c.Storages = map[string]proxmox.Storage{"ab": {IOPS: -1}} },
		"seed_storage":        func(c *proxmox.Config) { c.SeedStorage = "a,b" },
		`networks["n"]`:       func(c *proxmox.Config) { c.Networks = map[string]proxmox.Network{"n": {}} },
		`networks["n"].vlan`:  func(c *proxmox.Config) { c.Networks = map[string]proxmox.Network{"n": {Bridge: "vmbr0", VLAN: 4095}} },
		`networks["n"].ip_c`: func(c *proxmox.Config) {
			c.Networks = map[string]proxmox.Network{"n": {Bridge: "vmbr0", IPConfig: "ip=dhcp\nx"}}
		},
		"network":    func(c *proxmox.Config) { c.Network = "vmbr0,tag=1" },
		"first_vmid": func(c *proxmox.Config) { c.FirstVMID, c.LastVMID = 99, 1000 },
		"cpu_type":   func(c *proxmox.Config) { c.CPUType = "host -x" },
		"pool":       func(c *proxmox.Config) { c.Pool = "a b" },
	} {
		c := good()
		change(&c)
		_, err := proxmox.New(c)
		require.ErrorIs(t, err, pool.ErrInvalid, field)
		require.Contains(t, err.Error(), strings.TrimSpace(field))
		require.NotContains(t, err.Error(), secret, field)
		var typed *pool.Error
		require.True(t, errors.As(err, &typed), field)
	}
}

// What cannot be made is refused before anything is asked of the cluster.
func TestImpossibleOrders(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	c.SeedStorage = ""
	d := open(t, c)
	for name, change := range map[string]func(*hypervisor.Order){
		"user-data without a storage for seeds": func(o *hypervisor.Order) { o.Spec.Guest.UserData = "#cloud-config\n" },
		"a mount without a storage for seeds": func(o *hypervisor.Order) {
			o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.GiB, Mount: "/data"})
		},
		"a bad key":     func(o *hypervisor.Order) { o.Spec.Guest.SSHKeys = []string{"ssh-rsa no key"} },
		"a container":   func(o *hypervisor.Order) { o.Spec.Kind = pool.Container },
		"a GPU":         func(o *hypervisor.Order) { o.Spec.Resources[pool.GPU] = 1 },
		"no memory":     func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = pool.MiB },
		"no source":     func(o *hypervisor.Order) { o.Source = "" },
		"a bad name":    func(o *hypervisor.Order) { o.Name = "A b" },
		"a bad network": func(o *hypervisor.Order) { o.Spec.Networks = []pool.Network{{Name: "1"}} },
		"a bad ledger":  func(o *hypervisor.Order) { o.Ledger = "a\nb" },
		"many disks": func(o *hypervisor.Order) {
			for range 16 {
				o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.GiB})
			}
		},
	} {
		o := numbered(1, "proxmox/pve1")
		o.Spec = o.Spec.Clone()
		change(&o)
		err := d.Create(t.Context(), o)
		require.ErrorIs(t, err, hypervisor.ErrInvalid, name)
	}
	require.Empty(t, s.Requests())
}

// numbered is an order for the n-th machine on a host.
func numbered(n int, host pool.HostID) hypervisor.Order {
	o := order()
	o.Spec = o.Spec.Clone()
	o.Name = "web-" + string(rune('a'+n%26))
	o.Ref = hypervisor.Ref{Host: host, Tag: hypervisor.Tag{Ledger: "tests", Machine: pool.NewInstanceID("tests", "p", string(rune('a'+n))).Machine(0), Launched: pool.Revision(n + 1)}}
	o.Revision = pool.Revision(n + 1)
	return o
}
