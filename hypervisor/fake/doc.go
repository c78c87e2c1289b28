// Package fake is a simulated fleet behind the contract of hypervisor.Driver: hosts with storage pools and
// GPUs, machines that boot, use memory and disks and are refused where there is no room, and everything that
// goes wrong between a caller and a real hypervisor.
//
// It is meant for tests, the SDK's own and those of programs that import it, and for a daemon that is tried
// out without hardware. New with a zero Config gives an empty fleet on which nothing takes time and nothing
// fails; Fleet makes hosts to put into it.
//
// # What goes wrong
//
// Faults come by chance from Config.Faults, or exactly where a test wants them from Config.Hook. The chances
// are drawn from the seed, the call's arguments and how often that call was made before, so that they do not
// depend on the order in which goroutines happen to run. SetHostState kills a host, cuts it off while its
// machines go on running, and brings it back. SetRoom gives an aggregate less room than its inventory says.
//
// A request that has been sent is not called back: when the context ends before the effect, the call returns
// the context's error and the effect still lands at its time. Effects that land later than their call are
// timers, not goroutines; Wait waits for them, Close forgets them. All time is that of package time, so that
// a fleet runs in a bubble of testing/synctest.
//
// # What a monitor can see
//
// Inspect, Shelf, CountOf, Doubles, Overfills, Touched, Fences, Calls and Injected show the physical truth,
// which no Driver method shows: how full each host and device is, what is put aside, how often each machine
// was made and started, what stands for the content of its disks, whether an instance ever ran twice at the
// same time, and whether a machine of others was acted on.
package fake
