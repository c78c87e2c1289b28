package hypervisor

import (
	"context"
	"time"

	"github.com/berthage/berthage/pool"
)

// Driver is what every hypervisor must offer.
//
// All methods are safe for concurrent use, honour their context, and return an error that unwraps to one of
// this package's kinds (see Error). An error that does not say otherwise leaves the outcome open: the
// caller looks again with Machines. Each call acts on one host's copy of one machine and on no other, even
// if another host has a machine of the same id. A machine of that id whose tag is not the Ref's, or that has
// none, is ErrForeign for every call that names it, and is not touched. A list begun after a call has
// returned shows what the call has done. What a call returns belongs to the caller, and so does, once it has
// returned, what it was given.
type Driver interface {
	// Hosts lists the hosts with their inventories as they are now. A host that cannot be reached is
	// listed without pool.Ready if it is known at all; the error is for the driver as a whole. Inventory
	// changes only when the host changes: what untagged machines take is Reserved, what tagged ones take is
	// not, whosever they are (the caller knows which are in its books), and free space that moves
	// by itself is not reported.
	Hosts(ctx context.Context) ([]pool.Host, error)

	// Machines lists all machines on the host, ours, others' and untagged ones. The list is complete or the
	// call fails; a shortened list is an error.
	Machines(ctx context.Context, host pool.HostID) ([]Machine, error)

	// Create makes the machine that o describes, disks and first-boot data included, and leaves it stopped
	// (running, where the hypervisor cannot create without starting).
	// A machine of that id on that host, whoever made it, is ErrExists, and nothing is changed. On an error
	// other than ErrUnknown and the context's, what had been made of it has been removed as far as possible;
	// Destroy removes the rest.
	Create(ctx context.Context, o Order) error

	// Start makes the machine run; a running one is success. A hibernated one is resumed, and a suspended one is resumed or
	// ErrWrongPower.
	Start(ctx context.Context, r Ref) error

	// Stop asks the guest to shut down and, when it has not within the driver's grace time, switches it
	// off; a stopped one is success, a suspended or hibernated one is switched off.
	Stop(ctx context.Context, r Ref) error

	// Destroy removes the machine, running or not, with everything that Create made for it. It returns nil
	// only when nothing is left, also when nothing was there. On a host that the driver does not have it is
	// ErrNotFound, as nothing is known of what is left there.
	Destroy(ctx context.Context, r Ref) error
}

// Tag is what marks a machine as ours; a driver stores it with the machine where it survives everything
// that the machine survives (libvirt metadata, a description, instance metadata).
type Tag struct {
	Ledger   string         `json:"ledger"`   // identity of the ledger that ordered it
	Machine  pool.MachineID `json:"machine"`  // its id there
	Launched pool.Revision  `json:"launched"` // revision of the launch of its instance
}

// Ref names one host's copy of a machine.
type Ref struct {
	Host pool.HostID `json:"host"`
	Tag
}

// Order is what Create is asked for.
type Order struct {
	Ref
	Name       string          // host name of the guest, a DNS label; not unique
	Spec       pool.Spec       // resolved; Guest.User is never empty
	Image      pool.Image      // with the sources of all drivers
	Source     string          // the image's source for this driver
	Allocation pool.Allocation // which devices carry which disks
	Revision   pool.Revision   // of the books when it was ordered
}

// Machine is a machine as the hypervisor shows it. A machine that is not tagged by any Berthage has a zero
// Tag.
type Machine struct {
	Ref
	Native    string         `json:"native"` // the hypervisor's own id
	Name      string         `json:"name"`   // the hypervisor's own name
	Power     pool.Power     `json:"power"`  // Running, Stopped, Suspended or Hibernated
	Addresses []string       `json:"addresses,omitempty"`
	Resources pool.Resources `json:"resources,omitempty"` // cpu and memory as far as known

	// Fault is the hypervisor's own word that it has given this machine up and will not run it: a create that it
	// had accepted, say, and then found no room for. It is Stopped, Start is ErrRefused, and Destroy removes it.
	// Empty: no fault.
	Fault string `json:"fault,omitempty"`
	// Full: the fault is that there was no room, as with ErrFull.
	Full bool `json:"full,omitempty"`
}

// Capabilities says what can be asked for on one host, before any call is made.
//
// The zero value is the safest: a create may be repeated only when a person says that the first can no
// longer land.
type Capabilities struct {
	// CreateUnique: the hypervisor itself refuses a second machine of the same id on the same host, so that
	// a create whose answer was lost can simply be repeated.
	CreateUnique bool `json:"create_unique"`

	// Settles is the longest time after which a create that was sent can still become visible; zero: not
	// known.
	Settles time.Duration `json:"settles"`

	FirstBoot bool      `json:"first_boot"` // Spec.Guest and mounts are set up (cloud-init)
	Abilities []Ability `json:"abilities"`  // the optional interfaces that work on this host, sorted
}

// Describer is implemented by drivers to state their Capabilities. A driver without it has the zero
// Capabilities, and the abilities whose interfaces it implements, of stopped machines where that differs.
type Describer interface {
	// Describe returns the capabilities on that host without asking the hypervisor. Abilities names those
	// of the driver's optional interfaces that work on this host.
	Describe(host pool.HostID) Capabilities
}

// Simulator is implemented by drivers whose hosts and machines are simulated, so that losing them loses
// nothing.
type Simulator interface {
	Simulated()
}
