// Package hypervisor is the edge between Berthage and what runs the machines: the contract of a Driver, the
// optional abilities beside it, and the errors that all drivers share.
//
// A driver is a translator. It keeps no books: which machines should exist, and whether a call may be
// repeated, is decided elsewhere from the ledger. It tells what it sees, does what it is told to one host's
// copy of one machine, and says honestly when it does not know how a call ended.
//
// hypervisor/fake is a simulated fleet, hypervisor/hypervisortest the suite that judges every driver,
// hypervisor/hypervisormock a generated mock. The real drivers are packages below this one.
package hypervisor
