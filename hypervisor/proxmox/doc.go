// Package proxmox drives clusters of Proxmox VE over their HTTPS API. One Driver drives one cluster, whose nodes are its
// hosts. It implements hypervisor.Driver, Describer, Suspender, Hibernator, Rebooter, Resizer, Migrator, Snapshotter and
// Meter; Screen connects to a machine's display. docs/proxmox.md says how to make a token and a template.
//
// # Images
//
// An image's source for this driver is the VMID of a template, "9000", or the name of templates: of several of one name
// the one on the machine's node is taken, or else one whose disk is on shared storage. A template has one disk.
//
// # Machines
//
// A machine is a clone, full unless Config.Linked says otherwise, whose VMID is the cluster's next one. Two callers may be
// given the same: the one whose clone is then refused looks whose guest it is before it asks for another. The machine's tag
// stands in its description, which the request to clone carries, so that there is no moment at which a guest of ours
// is not known as one. The tag names the VMID, so that a copy that somebody makes is not taken for the machine.
//
// A guest whose creation broke off is listed with a Fault, and not started.
//
// Users, keys and addresses at first boot are set up by Proxmox VE's own cloud-init. What that cannot do, user-data and
// mounts, takes a seed of our own, an ISO image on Config.SeedStorage; without one it is refused before anything is made.
// Data disks are virtio disks with the serial numbers berthage-d1, berthage-d2 and so on.
//
// # Lists
//
// Guests are listed node by node and not by /cluster/resources, whose figures were recorded seconds after a guest had been
// started still to call it stopped. Every list is followed by a look at one's own rights: a server does not refuse to list
// what one may not see, it leaves it out. A right that is missing is an error that names it. A list takes one request per
// guest beside, for its description.
//
// # Errors
//
// The server tells most of what goes wrong by texts. They are read in one place, and tested against a recording of a real
// server. A request that changes something and is not answered, or is answered with 595, 596 or by anything but the API,
// may have been carried out: the driver looks, and where that does not settle it the error is hypervisor.ErrUnknown. Requests that
// change something are never sent twice.
//
// # What has been run
//
// The conformance suite and all faults of package pvetest, a simulated cluster that answers as was recorded from a real
// Proxmox VE 9.2 of one node. With BERTHAGE_PVE_URL and the like the tests run against a real server; nobody has done so yet.
package proxmox
