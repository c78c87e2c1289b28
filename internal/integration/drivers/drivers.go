package main

import (
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/pool"
)

// driver is a column of docs/drivers.md, and one or more of the table of make test-drivers.
type driver struct {
	name   string
	driver hypervisor.Driver // configured with one host, which it does not reach
	host   pool.HostID
	// notes says of an ability, or of another row, on what it depends. An ability that the driver implements and does not
	// describe before it has reached the host must have one: there is no "yes" of which it is not said when.
	notes  map[hypervisor.Ability]string
	suites []string // the names under which the driver's conformance tests report
}

// examples are reports of drivers that are not part of the SDK.
func examples() []string { return []string{"customdriver"} }

// servers are reports of runs against servers that the environment names.
func servers() []string { return []string{"proxmox real"} }

// drivers has every driver of the SDK.
func drivers() ([]driver, error) {
	const (
		reached = "known when the host has been reached for the first time"
		stored  = "where volumes can be written and read through libvirt: not with its test driver"
	)
	const alone = "of single hypervisors, in the mode for admins"
	virt, err := libvirt.New(libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: "qemu:///system"}}})
	if err != nil {
		return nil, err
	}
	hetzner, err := hetzner.New(hetzner.Config{Token: "none", Locations: []hetzner.LocationConfig{{Location: "fsn1", Servers: 1, VolumeSpace: pool.TiB}}})
	if err != nil {
		return nil, err
	}
	pve, err := proxmox.New(proxmox.Config{URL: "https://pve1.example:8006", Token: "berthage@pve!daemon=none"})
	if err != nil {
		return nil, err
	}
	region, err := openstack.New(openstack.Config{Cloud: openstack.Cloud{
		AuthURL: "https://cloud.example:5000/v3", ApplicationCredentialID: "id", ApplicationCredentialSecret: "secret", Region: "r1",
	}})
	if err != nil {
		return nil, err
	}
	return []driver{
		{"fake", fake.New(fake.Config{Hosts: fake.Fleet("fake", 1, 1), Settles: time.Second}), "fake/node-0001",
			map[hypervisor.Ability]string{createUnique: "as configured", settles: "as configured"},
			[]string{"fake"}},
		{"libvirt", virt, "libvirt/h1", map[hypervisor.Ability]string{
			hypervisor.CanConsole: stored, hypervisor.CanMeter: reached, hypervisor.CanReboot: reached, hypervisor.CanSuspend: reached, firstBoot: stored,
			hypervisor.CanWatch: reached, hypervisor.CanHibernate: "where libvirt's driver can keep memory", hypervisor.CanImage: stored,
			hypervisor.CanResize: stored, hypervisor.CanAttachDisk: stored, hypervisor.CanSnapshot: stored,
			hypervisor.CanResizeHot:   "up to the Headroom that is configured",
			hypervisor.CanMigrate:     "between hosts with a Shared storage pool",
			hypervisor.CanMigrateLive: "with a Shared storage pool, a model of processor and the way between the daemons configured",
		}, []string{"libvirt test default", "libvirt test nodes", "libvirt qemu"}},
		{"hetzner", hetzner, "hetzner/fsn1", map[hypervisor.Ability]string{
			hypervisor.CanAttachDisk: "where the configuration says how much volumes may have (VolumeSpace)",
			hypervisor.CanShelve:     "machines without volumes",
			settles:                  "as configured",
		}, []string{"hetzner"}},
		{"proxmox", pve, "proxmox/pve1", map[hypervisor.Ability]string{
			hypervisor.CanHibernate: "as configured", hypervisor.CanMigrate: "where there are several nodes", hypervisor.CanMigrateLive: "as configured, where there are several nodes",
			hypervisor.CanSnapshot: "where every storage for disks keeps them", createUnique: "as configured", settles: "as configured", firstBoot: "user-data and mounts with a storage for seeds",
		}, []string{"proxmox full", "proxmox linked", "proxmox stopped", "proxmox own ids", "proxmox password"}},
		{"openstack", region, "openstack/r1", map[hypervisor.Ability]string{
			hypervisor.CanMigrate: alone, hypervisor.CanMigrateLive: alone,
			hypervisor.CanResize: "of a region, where Nova places", settles: "as configured",
		}, []string{"openstack fake region", "openstack fake hypervisors", "openstack region", "openstack hypervisors"}},
	}, err
}

// The rows that are no abilities, by the names that Capabilities has in JSON.
const (
	createUnique hypervisor.Ability = "create_unique"
	settles      hypervisor.Ability = "settles"
	firstBoot    hypervisor.Ability = "first_boot"
)

// row is an ability and the interface behind it.
type row struct {
	ability hypervisor.Ability
	what    string
	has     func(hypervisor.Driver) bool
	more    bool // than the interface says: an implementation need not have it
}

// rows lists the abilities as docs/drivers.md does.
func rows() []row {
	return []row{
		{hypervisor.CanSuspend, "suspend and resume", has[hypervisor.Suspender], false},
		{hypervisor.CanHibernate, "hibernate", has[hypervisor.Hibernator], false},
		{hypervisor.CanReboot, "reboot", has[hypervisor.Rebooter], false},
		{hypervisor.CanResize, "resize a stopped machine", has[hypervisor.Resizer], false},
		{hypervisor.CanResizeHot, "resize a running one", has[hypervisor.Resizer], true},
		{hypervisor.CanAttachDisk, "attach and detach disks", has[hypervisor.DiskAttacher], false},
		{hypervisor.CanMigrate, "move a stopped machine to another host", has[hypervisor.Migrator], false},
		{hypervisor.CanMigrateLive, "move a running one", has[hypervisor.Migrator], true},
		{hypervisor.CanShelve, "shelve and unshelve", has[hypervisor.Shelver], false},
		{hypervisor.CanSnapshot, "snapshots of disks", has[hypervisor.Snapshotter], false},
		{hypervisor.CanImage, "list, import and remove images", has[hypervisor.Imager], false},
		{hypervisor.CanConsole, "log of the serial console, address of the display", has[hypervisor.Consoler], false},
		{hypervisor.CanMeter, "readings of hosts and machines", has[hypervisor.Meter], false},
		{hypervisor.CanWatch, "tell of changes", has[hypervisor.Watcher], false},
		{hypervisor.CanFence, "switch a host off, with a proof", has[hypervisor.Fencer], false},
	}
}

func has[T any](d hypervisor.Driver) bool {
	_, ok := hypervisor.As[T](d)
	return ok
}
