// Package hetzner drives the Hetzner Cloud: a location of a project is a host, an aggregate that places by itself and
// sells server types as shapes. It implements hypervisor.Driver, Describer, DiskAttacher, Rebooter,
// Resizer, Shelver and Meter.
// Dedicated servers are those of package robot below this one.
//
// # Images, disks, networks
//
// An image's source for this driver is its name (debian-12) or, of a snapshot, its number. The first disk of a spec is
// on the server type's own disk, every further one is a volume of 10 GiB or more. A spec's network is the public one
// when it is not named, or named "public", and else a network of the project of that name. User-data, with what sets
// up user, keys and disks, is 32 KiB at most.
//
// # Machines
//
// A machine is a server whose name is the machine's id and the location, so that the service itself refuses a second
// one. Its tag, and that of volumes and snapshots, is in labels that are set by the request that creates them. A
// server of another name is not ours whatever its labels say, and is never changed: do not rename machines.
//
// Requests are never sent again when they could do something twice. A request whose answer was lost is looked after
// by what it would have made; where that does not tell, the error is hypervisor.ErrUnknown.
//
// # Costs
//
// Servers, IPv4 addresses, volumes and snapshots are billed from the moment they exist, stopped servers too. What a
// create has made that fails is removed again; Destroy returns nil only when nothing is left. LocationConfig.Servers
// bounds how many servers the scheduler places.
//
// # What has been run
//
// The conformance suite of hypervisortest and the tests of this package, on the simulated service of package
// hetznertest, whose requests and answers are judged by an OpenAPI description of the real one. Nothing has been run
// on the real service; TestConformanceReal does when it is given a token.
package hetzner
