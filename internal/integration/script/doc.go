// Package script gives the same commands to two Managers, one over the simulated fleet and one over libvirt's test
// driver, and compares their books after each: what the simulation is tested with is what a hypervisor does.
package script
