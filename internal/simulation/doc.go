// Package simulation runs the whole of Berthage, the real Manager with its ring and scheduler, in virtual time
// while everything around it goes wrong: hypervisor calls, hosts, the store, the network between daemons,
// clocks, and the daemons themselves, which are killed and paused at every call that leaves them. A monitor
// checks every virtual second that no promise is broken. It consists of tests only; `make sim` runs them, and
// docs/reliability.md says what they prove.
//
// A world is one seed: a simulated fleet, a ledger, one daemon or three, and callers. Commands stand in one
// table (commands_test.go), disturbances in another (disturb_test.go), and each kind of call that leaves a
// daemon has one line (boundary_test.go); a new ability of the product goes into these three.
package simulation
