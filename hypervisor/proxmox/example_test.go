package proxmox_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// A cluster with local and shared storage, of which two nodes are used. Nothing is connected before the first call. What is
// malformed is told, without the secret.
func ExampleNew() {
	config := proxmox.Config{
		URL:   "https://pve1.example:8006",
		Token: "berthage@pve!daemon=00000000-0000-4000-8000-000000000000",
		Nodes: map[string]proxmox.Node{
			"pve1": {Zone: "a", ReservedMemory: 4 * pool.GiB},
			"pve2": {Zone: "b", ReservedMemory: 4 * pool.GiB, CPURatio: 2000}, // two virtual cores for each real one
		},
		Storages: map[string]proxmox.Storage{
			"local-zfs": {Kind: pool.NVMe, IOPS: 100_000},
			"ceph":      {Kind: pool.SSD},
		},
		SeedStorage: "cephfs",
		Networks:    map[string]proxmox.Network{"dmz": {Bridge: "vmbr1", VLAN: 120, Firewall: true}},
		CPUType:     "x86-64-v2-AES",
	}
	d, err := proxmox.New(config)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	fmt.Println(d.Describe("proxmox/pve1").FirstBoot)

	config.Token = "berthage@pve=secret"
	_, err = proxmox.New(config)
	fmt.Println(err)
	// Output:
	// true
	// configure proxmox: invalid: token invalid: an API token in the form user@realm!name=secret
}

// A machine from its template to its end, on a simulated cluster.
func ExampleDriver_Create() {
	cluster := pvetest.New(pvetest.Config{})
	defer cluster.Close()
	cluster.AddTemplate("pve1", 9000, "debian-13", "local", 2<<30)

	d, err := proxmox.New(proxmox.Config{URL: cluster.URL(), Token: cluster.Token(), CA: cluster.CA()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	ctx := context.Background()
	web := hypervisor.Order{
		Ref: hypervisor.Ref{Host: "proxmox/pve1", Tag: hypervisor.Tag{
			Ledger: "an-example", Machine: pool.NewInstanceID("an-example", "shop", "order-17").Machine(0), Launched: 7,
		}},
		Name: "web-1", Source: "debian-13", Revision: 7,
		Spec: pool.Spec{
			Image: "debian-13", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB},
			Disks: []pool.Disk{{Size: 20 * pool.GiB}}, Guest: pool.Guest{User: "debian"},
		},
	}
	if err := d.Create(ctx, web); err != nil {
		fmt.Println(err)
		return
	}
	if err := d.Start(ctx, web.Ref); err != nil {
		fmt.Println(err)
		return
	}
	machines, err := d.Machines(ctx, "proxmox/pve1")
	for _, m := range machines {
		fmt.Println(m.Native, m.Name, m.Power, m.Resources)
	}
	fmt.Println(err, d.Destroy(ctx, web.Ref))

	// What the cluster was asked to change, in this order.
	for _, r := range cluster.Requests() {
		if r.Method != "GET" {
			fmt.Println(r.Method, strings.TrimPrefix(r.Path, "/nodes/pve1/qemu/"))
		}
	}
	// Output:
	// qemu/100 web-1 running cpu 2 cores, memory 4 GiB
	// <nil> <nil>
	// POST 9000/clone
	// POST 100/config
	// PUT 100/resize
	// PUT 100/config
	// POST 100/status/start
	// POST 100/status/stop
	// DELETE 100
}
