// Package libvirt drives hosts that run libvirt: QEMU and KVM, over libvirt's own protocol and without cgo. One
// Driver drives any number of hosts. It implements hypervisor.Driver, Describer and all optional interfaces but Shelver and
// Fencer; what a host offers of it is found out at the first connection, and some of it depends on the host's
// configuration: see Describe.
//
// # Hosts
//
// A URI has the forms of libvirt (https://libvirt.org/uri.html) with these transports:
//
//	qemu:///system                               the daemon of this machine, or ?socket=PATH
//	qemu+ssh://root@host/system                  its socket through SSH; keyfile=, known_hosts=, no_verify=
//	qemu+tls://host/system                       TLS with client certificates; pkipath=, no_verify=
//	qemu+tcp://host/system                       plain, for trusted networks
//	test:///default, test:///path/node.xml       libvirt's simulated hosts
//
// Passwords in URIs, SASL and mode=direct are refused.
//
// # Images
//
// An image's source for this driver is the absolute path of a qcow2 or raw file on the machine where the Driver
// runs (with or without "file:" before it), which is uploaded into the storage pool of the root disk once per
// content, or "volume:NAME" or "volume:POOL/NAME", a volume that is on the host already, such as Import makes. A qcow2
// file must not refer to another file. Machines get copy-on-write overlays.
//
// # Machines
//
// A machine's tag is in the metadata of its domain, under a namespace of our own; its UUID and the address of
// its network cards follow from the tag, so that libvirt itself refuses a second one. Disks are volumes whose
// names begin with the domain's name. Data disks have the serial numbers berthage-d1, berthage-d2 and so on,
// by which the guest finds them; first-boot data is a NoCloud seed. Domains and volumes that do not bear a tag
// are never changed.
//
// A machine that is changed is defined anew, in one request, with the revision of the order in its tag. Its snapshots are
// layers of files, which its tag names. Machines move between hosts that share their storage pools, and while one does
// the tag says so on both hosts.
//
// Whether KVM works is proved by a test boot, as the presence of /dev/kvm proves nothing; otherwise machines are
// emulated (see VirtType).
//
// # What has been run
//
// With libvirt 9.0 and QEMU 7.2, through Unix sockets: the conformance suite of hypervisortest on two daemons side by
// side and on libvirt's test driver; guests that boot and are reached on each kind of network; a daemon that is
// restarted and killed, and connections that are cut, in the middle of it all; a guest that is resized, hibernated, given
// disks and snapshots, and moved from one daemon to the other, while it counts. Guests have been emulated; none has
// been run under KVM.
//
// Through TCP and TLS: machines of the test driver, which takes no uploads, on a libvirtd that listens. Through SSH:
// OpenSSH 9.2, with an image uploaded and a guest started. Machines on more than one computer, and pools on a network
// file system, have not been tried.
package libvirt
