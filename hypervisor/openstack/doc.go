// Package openstack drives OpenStack clouds through Nova, with gophercloud as the client. It implements
// hypervisor.Driver, Describer, Suspender, Hibernator, Rebooter, Resizer, Shelver, Migrator, Consoler, Meter
// and Imager; which of them are offered depends on the mode.
//
// # Modes
//
// Region: the project's part of a region is one host, an aggregate that places by itself. Any member of a project
// can have that. Its capacity is the project's quota, its shapes are the flavors; on which computer a machine
// is, nobody says.
//
// Hypervisors: every hypervisor is a host of its own, on which our scheduler places. That takes the role admin:
// to see hypervisors and what is used of them, and to name one as the target of a create.
//
// # Machines
//
// A machine is a server. Its tag is in the server's metadata, all of which travels in the request that creates
// it; a tag of Nova's beside it, made of the machine's id, finds it again with one request. Nova itself does not
// refuse a second server of the same name or tag: CreateUnique is false, and a create whose answer is lost may
// land as long as Config.Settles.
//
// Nova cannot create a server without starting it. Create returns when the server runs; one that Nova has
// accepted and then found no room for is removed by Create, and shown with its fault when nobody has come to
// that.
//
// Suspend is Nova's pause: the virtual CPUs stand still and memory stays, which is what hypervisor.Suspender asks
// for. Nova's own suspend writes the memory to disk, which is Hibernate.
//
// Shelve is Nova's shelve: the root disk is kept as an image and the server leaves its computer. As what is put
// aside has to stay when it is used, Unshelve makes a new server from that image, and Discard deletes the old one.
//
// # Images
//
// An image's source for this driver is the id or the name of a Glance image. A name must be that of one active
// image. The hosts of a driver share their images.
//
// # Disks
//
// A server's root disk is as large as its flavor says. Further disks are local ones of the flavor's ephemeral
// space, which Nova formats and labels; they are lost when the machine is shelved, so that a machine with such
// disks is not. Volumes are not used.
//
// See docs/openstack.md for credentials and rights, and for what has been run.
package openstack
