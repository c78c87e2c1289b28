// Package customdriver is a driver as somebody outside the SDK would write it, on its exported names only: small, but one that
// keeps the whole contract. docs/writing-a-driver.md explains how it is made, step by step.
//
// Its machines are programs. A host is a Linux computer that can be reached by a shell, this one or another by ssh, and a
// directory on it:
//
//	images/    shell scripts, which are what a machine can boot
//	machines/  a directory for each machine: its program, its disks, its console
//
// Nothing is kept in the driver: whatever happens to its process, the machines run on, and another process finds them and their
// tags in the directory. A machine is stopped by SIGTERM, and by SIGKILL when it has not obeyed, and suspended by SIGSTOP. Its
// memory is limited as the order says, its cores are not. It is not set up at first boot: of the guest's user, keys and data
// nothing is sent to the host.
package customdriver
