package hypervisor

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Ability names an optional interface.
type Ability string

// The abilities.
const (
	CanSuspend     Ability = "suspend"      // Suspender
	CanHibernate   Ability = "hibernate"    // Hibernator
	CanReboot      Ability = "reboot"       // Rebooter
	CanShelve      Ability = "shelve"       // Shelver
	CanResize      Ability = "resize"       // Resizer, of stopped machines
	CanResizeHot   Ability = "resize-hot"   // Resizer, of running ones too
	CanMigrate     Ability = "migrate"      // Migrator, of stopped machines
	CanMigrateLive Ability = "migrate-live" // Migrator, of running ones too
	CanSnapshot    Ability = "snapshot"     // Snapshotter
	CanFence       Ability = "fence"        // Fencer
	CanConsole     Ability = "console"      // Consoler
	CanMeter       Ability = "meter"        // Meter
	CanAttachDisk  Ability = "attach-disk"  // DiskAttacher, of running machines and of stopped ones
	CanImage       Ability = "image"        // Imager
	CanWatch       Ability = "watch"        // Watcher
)

// Suspender keeps a machine in memory without running it. Both calls are idempotent.
type Suspender interface {
	Suspend(ctx context.Context, r Ref) error
	Resume(ctx context.Context, r Ref) error
}

// Hibernator keeps a machine's memory on disk, so that it takes none of its host's.
type Hibernator interface {
	// Hibernate is idempotent; a machine that does not run is ErrWrongPower, and a suspended one may be. The machine is
	// pool.Hibernated then, and keeps its place. Driver.Start lets it go on where it was, Driver.Stop forgets the
	// memory and leaves it stopped, and whatever else needs a stopped machine is ErrWrongPower.
	Hibernate(ctx context.Context, r Ref) error
}

// Rebooter restarts the guest's operating system: by request, and by force when the guest has not obeyed
// within the driver's grace time. A machine that does not run is ErrWrongPower.
type Rebooter interface {
	Reboot(ctx context.Context, r Ref) error
}

// Shelver keeps what is on a machine's disks while the machine has no host. What is put aside is known by the
// machine's tag and belongs to the driver, not to a host: the hosts that from and Discard's r name are those it
// was put aside on, which need not be there any more. Snapshots are not kept.
type Shelver interface {
	// Shelve puts the disks of a stopped machine aside and removes the machine from its host, as a whole or not
	// at all. It is nil when that has been done already, ErrNotFound when there is neither a machine nor anything
	// put aside, and ErrWrongPower when the machine is not stopped. What is put aside is never replaced: ErrExists
	// when something of that tag is put aside and a machine is there all the same, which a late create has made.
	Shelve(ctx context.Context, r Ref) error

	// Unshelve is Create with the disks that Shelve has put aside of the machine from, of which they stay a
	// copy until Discard. Without them it is ErrRefused. The disks may be larger in o; fewer, smaller ones or
	// ones of other storage are ErrInvalid. Image and Source are not used.
	Unshelve(ctx context.Context, o Order, from Ref) error

	// Discard removes what Shelve has put aside; it is nil when there is nothing, under that very tag. A machine
	// is not touched.
	Discard(ctx context.Context, r Ref) error
}

// Resizer changes a machine's sizes.
type Resizer interface {
	// Resize gives the machine the cores, memory and disk sizes of o.Spec; o.Allocation says on which devices
	// the disks are, and o.Revision which of two orders is the later one: an earlier one than the last that
	// was carried out, be it a create, a resize or a migration, is ErrRefused, whatever the machine's sizes.
	// Else it is nil when the machine has those sizes. Disks stay where they are, and grow only: a smaller one,
	// or another number of them, is ErrInvalid. A machine that runs, on a host without CanResizeHot, is
	// ErrWrongPower, and a suspended one may be. Whatever the error, the sizes are all as before or all as
	// ordered.
	Resize(ctx context.Context, o Order) error
}

// DiskAttacher changes which disks a machine has, whether it runs or not.
type DiskAttacher interface {
	// SetDisks gives the machine the disks of o.Spec: those that it does not have yet, at the end of the list, are made
	// empty and attached; those of its own that are beyond the end of the list are detached and removed, with what is
	// on them. The root disk stays. The sizes of the disks that stay, and all that Resizer changes, must be what they
	// are: else ErrInvalid. o.Allocation and o.Revision are as in Resizer.Resize, and an earlier order is ErrRefused in
	// the same way. Mounts are the guest's own affair by then. It is nil when the machine has those disks. A hibernated
	// machine is ErrWrongPower, and a suspended one may be; a guest that does not let go of a disk is ErrRefused. Whatever
	// the error, the disks are all as before or all as ordered.
	SetDisks(ctx context.Context, o Order) error
}

// Migrator moves a machine, with its disks and their snapshots, to another host of the same driver. It stays
// the same machine, with the same tag and the same sizes, in the same power state.
type Migrator interface {
	// Migrate moves the machine from its host to that of o, whose tag is the same; another tag, or the same
	// host, is ErrInvalid. On success it is there and nowhere else; an error that says that nothing was done
	// leaves it where it was. It is nil when the machine is on o's host and no longer on the first, and
	// ErrNotFound when it is on neither. An order with an earlier o.Revision than the last that was carried out
	// is ErrRefused, and so is one whose host is not there, cannot be reached or has no room; a machine of that
	// id on o's host that is in the way is ErrExists. A machine that runs, without CanMigrateLive on both hosts,
	// is ErrWrongPower, and a suspended one may be.
	Migrate(ctx context.Context, from Ref, o Order) error
}

// Snapshotter keeps states of a machine's disks, beside the machine and for as long as it exists.
type Snapshotter interface {
	// Snapshot keeps the present state under a name, a DNS label. A name that is taken is ErrExists, one that is
	// no label ErrInvalid.
	Snapshot(ctx context.Context, r Ref, name string) error
	// Snapshots lists what is kept, oldest first.
	Snapshots(ctx context.Context, r Ref) ([]Snapshot, error)
	// Revert makes what is on the disks what it was; their sizes stay. A machine that is not stopped is
	// ErrWrongPower. Without a state of that name it is ErrRefused.
	Revert(ctx context.Context, r Ref, name string) error
	// DeleteSnapshot forgets a state; it is nil when there is none of that name.
	DeleteSnapshot(ctx context.Context, r Ref, name string) error
}

// Snapshot is a state of a machine's disks.
type Snapshot struct {
	Name string    `json:"name"`
	Time time.Time `json:"time"`
}

// Fencer switches hosts off, by a way that does not need the host's own co-operation (a power controller, a
// watchdog, the hoster's API).
type Fencer interface {
	// Fence returns nil only when the host has been seen to be off, and says how that was seen. From then on none
	// of its machines runs until it is started by a call that began later, also when the host comes back. Any
	// error leaves it open whether they run. A host that is off already is success.
	Fence(ctx context.Context, host pool.HostID) (proof string, err error)
}

// Imager knows the images of a host, and brings new ones to it. An image is shared by those hosts of the driver that its
// documentation names.
type Imager interface {
	// Images lists what can be the source of an image on that host, sorted by Source; it is complete or the call fails.
	Images(ctx context.Context, host pool.HostID) ([]SourceImage, error)
	// Import stores an image and returns its source for this driver. An image of that name with the same content is
	// success; one of another content is ErrExists, and stays as it is. A content that is not of the size or the checksum
	// that f says is ErrInvalid. Whatever the error, there is then no part of it in the list.
	Import(ctx context.Context, host pool.HostID, f ImageFile) (source string, err error)
	// RemoveImage removes an image; it is nil when there is none. One that machines still need is ErrRefused.
	RemoveImage(ctx context.Context, host pool.HostID, source string) error
}

// SourceImage is an image as a host has it.
type SourceImage struct {
	Source string `json:"source"`         // as in pool.Image.Sources
	Name   string `json:"name"`           // for people
	Size   int64  `json:"size,omitempty"` // bytes of the disk that it makes at least; zero: not known
}

// ImageFile is an image on its way to a host.
type ImageFile struct {
	Name    string    // a DNS label
	Format  string    // "qcow2" or "raw"; what the driver cannot take is ErrInvalid
	Size    int64     // bytes of Content
	SHA256  [32]byte  // of Content
	Content io.Reader // read once, to its end
}

// Watcher tells of changes when they happen, which makes looking less urgent, never needless: a change may be missed.
type Watcher interface {
	// Watch calls changed once as soon as it is watching the host, and again whenever a machine on it, or the host
	// itself, may have changed: several changes may be one call, and a call may have no change. Calls do not overlap. It
	// returns when the context has ended, with its error, or when it cannot watch any more.
	Watch(ctx context.Context, host pool.HostID, changed func()) error
}

// Consoler shows the machine's consoles.
type Consoler interface {
	// Log returns the newest output of the serial console, at most max bytes.
	Log(ctx context.Context, r Ref, max int) ([]byte, error)
	// Display returns where the graphical console can be reached from the host's own network, such as
	// "vnc://127.0.0.1:5900"; ErrWrongPower when the machine does not run.
	Display(ctx context.Context, r Ref) (string, error)
}

// Meter measures.
type Meter interface {
	// Sample returns the present readings of the host and of all machines on it that are ours.
	Sample(ctx context.Context, host pool.HostID) ([]Sample, error)
}

// Sample is one reading. Names and units follow Prometheus: base units, _total for cumulative counters.
type Sample struct {
	Host    pool.HostID    `json:"host"`
	Machine pool.MachineID `json:"machine,omitempty"` // empty: of the host itself
	Name    string         `json:"name"`              // "cpu_seconds_total"
	Device  string         `json:"device,omitempty"`  // disk, interface or pool, where there are several
	Value   float64        `json:"value"`
	Time    time.Time      `json:"time"`
}

// The names of samples that every Meter uses for the same things.
const (
	HostCPUSeconds      = "host_cpu_seconds_total"       // busy time of all cores
	HostCPUCores        = "host_cpu_cores"               // number of logical cores
	HostMemoryTotal     = "host_memory_total_bytes"      //
	HostMemoryAvailable = "host_memory_available_bytes"  // free and reclaimable
	HostStorageCapacity = "host_storage_capacity_bytes"  // per storage pool
	HostStorageFree     = "host_storage_free_bytes"      // per storage pool
	CPUSeconds          = "cpu_seconds_total"            // of a machine: time of its cores
	CPUCores            = "cpu_cores"                    //
	MemoryTotal         = "memory_total_bytes"           // what the machine has
	MemoryUsed          = "memory_used_bytes"            // as the guest sees it; else resident on the host
	DiskReadBytes       = "disk_read_bytes_total"        // per disk
	DiskWrittenBytes    = "disk_written_bytes_total"     // per disk
	DiskReads           = "disk_reads_completed_total"   // per disk
	DiskWrites          = "disk_writes_completed_total"  // per disk
	DiskAllocated       = "disk_allocated_bytes"         // per disk, space taken on the host
	NetworkReceived     = "network_receive_bytes_total"  // per interface
	NetworkTransmitted  = "network_transmit_bytes_total" // per interface

	HostCPUWaitSeconds = "host_cpu_iowait_seconds_total"  // idle time of all cores while input or output was awaited
	CPUStolenSeconds   = "cpu_steal_seconds_total"        // time that its cores were ready to run and did not
	MemoryAvailable    = "memory_available_bytes"         // that the guest could give to programs
	MemoryBalloon      = "memory_balloon_bytes"           // what the balloon leaves to the guest
	MemoryResident     = "memory_resident_bytes"          // what the host has given for it
	DiskReadSeconds    = "disk_read_seconds_total"        // per disk, time that reads took
	DiskWriteSeconds   = "disk_write_seconds_total"       // per disk, time that writes took
	DiskCapacity       = "disk_capacity_bytes"            // per disk, as the guest sees it
	PacketsReceived    = "network_receive_packets_total"  // per interface
	PacketsTransmitted = "network_transmit_packets_total" // per interface
	ReceiveErrors      = "network_receive_errors_total"   // per interface
	TransmitErrors     = "network_transmit_errors_total"  // per interface
	ReceiveDropped     = "network_receive_dropped_total"  // per interface, packets
	TransmitDropped    = "network_transmit_dropped_total" // per interface, packets
)

// Unwrapper is implemented by drivers that wrap another one, so that its abilities can be found.
type Unwrapper interface {
	Unwrap() Driver
}

// As returns the driver, or the innermost needed driver that it wraps, as a T. Use Has to know whether the
// ability works on a given host.
func As[T any](d Driver) (T, bool) {
	for d != nil {
		if t, ok := d.(T); ok {
			return t, true
		}
		u, ok := d.(Unwrapper)
		if !ok {
			break
		}
		d = u.Unwrap()
	}
	var zero T
	return zero, false
}

// CapabilitiesOf returns what can be asked of a driver on a host: what the driver's Describer says, with
// only those abilities whose interface is really there.
func CapabilitiesOf(d Driver, host pool.HostID) Capabilities {
	var c Capabilities
	describer, described := As[Describer](d)
	if described {
		c = describer.Describe(host)
	}
	var offered []Ability
	for _, a := range implemented(d) {
		if slices.Contains(c.Abilities, a) || !described && a != CanResizeHot && a != CanMigrateLive {
			offered = append(offered, a)
		}
	}
	c.Abilities = offered
	return c
}

// Has reports whether the ability works on the host.
func Has(d Driver, host pool.HostID, a Ability) bool {
	return slices.Contains(CapabilitiesOf(d, host).Abilities, a)
}

// implemented returns the abilities whose interfaces d has, sorted.
func implemented(d Driver) []Ability {
	var out []Ability
	if _, ok := As[DiskAttacher](d); ok {
		out = append(out, CanAttachDisk)
	}
	if _, ok := As[Consoler](d); ok {
		out = append(out, CanConsole)
	}
	if _, ok := As[Fencer](d); ok {
		out = append(out, CanFence)
	}
	if _, ok := As[Hibernator](d); ok {
		out = append(out, CanHibernate)
	}
	if _, ok := As[Imager](d); ok {
		out = append(out, CanImage)
	}
	if _, ok := As[Meter](d); ok {
		out = append(out, CanMeter)
	}
	if _, ok := As[Migrator](d); ok {
		out = append(out, CanMigrate, CanMigrateLive)
	}
	if _, ok := As[Rebooter](d); ok {
		out = append(out, CanReboot)
	}
	if _, ok := As[Resizer](d); ok {
		out = append(out, CanResize, CanResizeHot)
	}
	if _, ok := As[Shelver](d); ok {
		out = append(out, CanShelve)
	}
	if _, ok := As[Snapshotter](d); ok {
		out = append(out, CanSnapshot)
	}
	if _, ok := As[Suspender](d); ok {
		out = append(out, CanSuspend)
	}
	if _, ok := As[Watcher](d); ok {
		out = append(out, CanWatch)
	}
	return out
}
