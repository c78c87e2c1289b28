// Package libvirt drives hosts that run libvirt: QEMU and KVM, over libvirt's own protocol and without cgo. One
// Driver drives any number of hosts. It implements hypervisor.Driver, Describer, Suspender, Rebooter, Consoler
// and Meter; what a host offers of it is found out at the first connection.
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
// content, or "volume:NAME" or "volume:POOL/NAME", a volume that is on the host already. A qcow2 file must not
// refer to another file. Machines get copy-on-write overlays.
//
// # Machines
//
// A machine's tag is in the metadata of its domain, under a namespace of our own; its UUID and the address of
// its network cards follow from the tag, so that libvirt itself refuses a second one. Disks are volumes whose
// names begin with the domain's name. Data disks have the serial numbers berthage-d1, berthage-d2 and so on,
// by which the guest finds them; first-boot data is a NoCloud seed. Domains and volumes that do not bear a tag
// are never changed.
//
// Whether KVM works is proved by a test boot, as the presence of /dev/kvm proves nothing; otherwise machines are
// emulated (see VirtType).
//
// # What has been run
//
// With libvirt 9.0 and QEMU 7.2, through Unix sockets: the conformance suite of hypervisortest on two daemons side by
// side and on libvirt's test driver; guests that boot and are reached on each kind of network; a daemon that is
// restarted and killed, and connections that are cut, in the middle of it all. Guests have been emulated; none has
// been run under KVM.
//
// Through TCP and TLS: machines of the test driver, which takes no uploads, on a libvirtd that listens. Through SSH: a
// server that is part of the tests; by hand, and not by the tests, OpenSSH 9.2, with an image uploaded and a guest
// started. Machines on more than one computer have not been tried.
package libvirt
