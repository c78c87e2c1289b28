package pool

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Kind is what an instance is.
type Kind string

// The kinds. The empty Kind means VM.
const (
	VM        Kind = "vm"
	Container Kind = "container"
)

// Storage is a kind of storage; each has a class of its own for bytes and for IOPS.
type Storage string

// The kinds of storage. The empty Storage means Standard.
const (
	Standard Storage = "standard"
	SSD      Storage = "ssd"
	NVMe     Storage = "nvme"
)

// What the classes of storage begin with; the kind follows.
const (
	storagePrefix = "storage."
	iopsPrefix    = "iops."
)

// Class returns the class in which the bytes of s are counted.
func (s Storage) Class() Class {
	switch s {
	case "", Standard:
		return StorageStandard
	case SSD:
		return StorageSSD
	case NVMe:
		return StorageNVMe
	}
	return Class(storagePrefix + string(s))
}

// IOPSClass returns the class in which the operations per second of s are counted.
func (s Storage) IOPSClass() Class {
	switch s {
	case "", Standard:
		return IOPSStandard
	case SSD:
		return IOPSSSD
	case NVMe:
		return IOPSNVMe
	}
	return Class(iopsPrefix + string(s))
}

// Disk is one disk of an instance. The first disk of a Spec is the root disk and holds the image.
type Disk struct {
	Size    int64   `json:"size"`              // bytes
	Storage Storage `json:"storage,omitempty"` // empty: standard
	Mount   string  `json:"mount,omitempty"`   // where the guest formats and mounts it; not for the root disk
	IOPS    int64   `json:"iops,omitempty"`    // limit and booking, operations per second; zero: none
}

// Network is one interface of an instance, by the name that the driver knows: a libvirt network, a bridge,
// a Neutron network. The empty name is the driver's default.
type Network struct {
	Name string `json:"name,omitempty"`
}

// Guest is what the first boot sets up inside the guest. It is personal data: it travels in the private
// part of an event and can be forgotten.
type Guest struct {
	User     string   `json:"user,omitempty"`      // login made at first boot; empty: the image's default
	SSHKeys  []string `json:"ssh_keys,omitempty"`  // authorized_keys lines without options
	UserData string   `json:"user_data,omitempty"` // cloud-init user-data: UTF-8 text, at most 64 KiB
}

// MaxUserData is the largest user-data in bytes.
const MaxUserData = 64 << 10

// Spec is what is asked of an instance. Sizes come either from Flavor or from Resources, Disks apart.
type Spec struct {
	Kind        Kind              `json:"kind,omitempty"`
	Image       string            `json:"image"`
	Flavor      string            `json:"flavor,omitempty"`
	Resources   Resources         `json:"resources,omitempty"` // cpu, memory, gpu and own classes; not storage
	Disks       []Disk            `json:"disks,omitempty"`
	Networks    []Network         `json:"networks,omitempty"`
	Constraints Constraints       `json:"constraints,omitzero"`
	Labels      map[string]string `json:"labels,omitempty"`
	Guest       Guest             `json:"guest,omitzero"`

	// Priority decides who gets a place first where not all do, and who may be made to give way; higher is first.
	Priority int `json:"priority,omitempty"`
	// Preemptible says that the instance may be made to give way to one of higher priority, and what becomes of it then.
	// Empty: it may not.
	Preemptible Preemption `json:"preemptible,omitempty"`

	// Replaceable says that nothing on the instance's disks is needed: its machine may be destroyed and made anew of its image
	// elsewhere, when that serves the fleet.
	Replaceable bool `json:"replaceable,omitempty"`

	// Lifetime is how long the instance is expected to exist from its launch on, in seconds; zero: nobody says. It is a hint for
	// schedulers that look at lifetimes (scheduler.Ends) and nothing else: nothing ends because it has passed.
	Lifetime int64 `json:"lifetime,omitempty"`
}

// Preemption is what becomes of an instance that gives way.
type Preemption string

// The preemptions.
const (
	PreemptShelve Preemption = "shelve" // its disks are put aside; only where its host can do that
	PreemptDelete Preemption = "delete" // it is gone for good
)

// MaxLifetime bounds Spec.Lifetime: a hundred years of 365 days.
const MaxLifetime = 100 * 365 * 24 * 3600

// MaxPriority bounds priorities on both sides of zero.
const MaxPriority = 1_000_000_000

// Clone returns a deep copy.
func (s Spec) Clone() Spec {
	c := s
	c.Resources = s.Resources.Clone()
	c.Disks = slices.Clone(s.Disks)
	c.Networks = slices.Clone(s.Networks)
	c.Labels = maps.Clone(s.Labels)
	c.Constraints = s.Constraints.Clone()
	c.Guest.SSHKeys = slices.Clone(s.Guest.SSHKeys)
	return c
}

// Demand returns what the instance takes of a host in all: Resources, and its disks' bytes and IOPS by
// kind of storage. A sum beyond an int64 is ErrOverflow.
func (s Spec) Demand() (Resources, error) {
	sum := s.Resources.Clone()
	if err := sum.raiseBy(s.Disks); err != nil {
		return nil, err
	}
	return sum, nil
}

// raiseBy adds what disks take.
func (r Resources) raiseBy(disks []Disk) error {
	for i := range disks {
		d := &disks[i]
		err := r.raise(d.Storage.Class(), d.Size)
		if d.IOPS != 0 && err == nil {
			err = r.raise(d.Storage.IOPSClass(), d.IOPS)
		}
		if err != nil {
			return InField("disks["+strconv.Itoa(i)+"]", err)
		}
	}
	return nil
}

// Valid reports, as an error, what is malformed in the spec, apart from what other records decide (does the
// image exist?) and from policy (see Limits).
func (s Spec) Valid() error {
	if s.Kind != "" && s.Kind != VM && s.Kind != Container {
		return invalid("kind", string(s.Kind), "vm or container")
	}
	if err := validNameIn("image", s.Image); err != nil {
		return err
	}
	if s.Flavor != "" {
		if err := validNameIn("flavor", s.Flavor); err != nil {
			return err
		}
	}
	if err := s.Resources.Valid(); err != nil {
		return InField("resources", err)
	}
	if c, found := s.Resources.first(func(c Class, n int64) bool { return n != 0 && !c.ofSpec() }); found {
		return invalid("resources", string(c), "cpu, memory, gpu and own classes; storage is asked for by disks")
	}
	if err := s.validDisks(); err != nil {
		return err
	}
	if len(s.Networks) > 16 {
		return invalid("networks", strconv.Itoa(len(s.Networks)), "at most 16")
	}
	for i, n := range s.Networks {
		if n.Name != "" {
			if err := ValidName(n.Name); err != nil {
				return InField("networks["+strconv.Itoa(i)+"]", err)
			}
		}
	}
	if err := ValidLabels(s.Labels); err != nil {
		return err
	}
	if err := s.Constraints.valid(); err != nil {
		return InField("constraints", err)
	}
	if s.Priority < -MaxPriority || s.Priority > MaxPriority {
		return invalid("priority", strconv.Itoa(s.Priority), "-1000000000 to 1000000000")
	}
	switch s.Preemptible {
	case "", PreemptShelve, PreemptDelete:
	default:
		return invalid("preemptible", string(s.Preemptible), "shelve, delete, or nothing")
	}
	if s.Lifetime < 0 || s.Lifetime > MaxLifetime {
		return invalid("lifetime", strconv.FormatInt(s.Lifetime, 10), "0 to "+strconv.Itoa(MaxLifetime)+" seconds")
	}
	if len(s.Disks) > 1 { // one alone adds up with nothing
		if _, err := s.Demand(); err != nil {
			return err
		}
	}
	return InField("guest", s.Guest.Valid())
}

// ofSpec reports whether a Spec's Resources may hold the class: all but storage, which disks ask for, the
// number of instances and what they cost. "storage" alone is what Limits calls the sum of all disks.
func (c Class) ofSpec() bool {
	return c != Instances && c != Cost && c != allStorage && !strings.HasPrefix(string(c), storagePrefix) && !strings.HasPrefix(string(c), iopsPrefix)
}

func (s Spec) validDisks() error {
	if len(s.Disks) > 16 {
		return invalid("disks", strconv.Itoa(len(s.Disks)), "at most 16")
	}
	var mounts map[string]bool
	for i := range s.Disks {
		d := &s.Disks[i]
		if err := d.valid(); err != nil {
			return InField("disks["+strconv.Itoa(i)+"]", err)
		}
		if d.Mount == "" {
			continue
		}
		if i == 0 {
			return invalid("disks[0].mount", d.Mount, "no mount point for the root disk")
		}
		if err := ValidMountPoint(d.Mount); err != nil {
			return InField("disks["+strconv.Itoa(i)+"]", err)
		}
		if mounts[d.Mount] {
			return invalid("disks["+strconv.Itoa(i)+"].mount", d.Mount, "each mount point once")
		}
		if mounts == nil {
			mounts = make(map[string]bool)
		}
		mounts[d.Mount] = true
	}
	return nil
}

// valid asks all but the mount point.
func (d *Disk) valid() error {
	if d.Size <= 0 {
		return invalid("size", strconv.FormatInt(d.Size, 10), "more than zero bytes")
	}
	if d.IOPS < 0 {
		return invalid("iops", strconv.FormatInt(d.IOPS, 10), "zero or more")
	}
	if err := d.Storage.Class().Valid(); err != nil {
		return invalid("storage", string(d.Storage), "standard, ssd, nvme or another kind that a host offers")
	}
	return nil
}

func (g *Guest) empty() bool { return g.User == "" && g.SSHKeys == nil && g.UserData == "" }

// Valid reports, as an error, what is malformed.
func (g Guest) Valid() error {
	if g.User != "" {
		if err := ValidUser(g.User); err != nil {
			return err
		}
	}
	if len(g.SSHKeys) > 64 {
		return invalid("ssh_keys", strconv.Itoa(len(g.SSHKeys)), "at most 64 keys")
	}
	for i, k := range g.SSHKeys {
		if err := validSSHKeyIn("ssh_keys["+strconv.Itoa(i)+"]", k); err != nil {
			return err
		}
	}
	if len(g.UserData) > MaxUserData {
		return invalid("user_data", strconv.Itoa(len(g.UserData)), "at most 65536 bytes")
	}
	if !utf8.ValidString(g.UserData) {
		return invalid("user_data", "", "UTF-8 text; binary parts in the base64 of a MIME message")
	}
	return nil
}

// Range is a closed interval. A zero Max means no upper bound.
type Range struct {
	Min int64 `json:"min"`
	Max int64 `json:"max"`
}

// allStorage is the entry of Limits for the sum of all disks; it is no class of a host.
const allStorage Class = "storage"

// Limits is the policy on the size of one instance, per class; a class without an entry is not limited.
// The entry "storage" limits the sum of all disks.
type Limits map[Class]Range

// DefaultLimits returns 1 to 32 cores, 1 to 32 GiB of memory, 1 GiB to 1 TiB of disks in sum.
func DefaultLimits() Limits {
	return Limits{
		CPU:        {Core, 32 * Core},
		Memory:     {GiB, 32 * GiB},
		allStorage: {GiB, TiB},
	}
}

// Check reports, as an error that names the class and the range, whether s is outside the limits.
func (l Limits) Check(s Spec) error {
	demand := make(Resources) // Demand, which need not outlive the check
	maps.Copy(demand, s.Resources)
	if err := demand.raiseBy(s.Disks); err != nil {
		return err
	}
	all, ok := int64(0), true
	for _, d := range s.Disks {
		if all, ok = addInt64(all, d.Size); !ok {
			return &Error{Kind: ErrOverflow, Field: "disks", Want: "a sum within an int64"}
		}
	}
	demand[allStorage] = all
	var c Class
	for other, r := range l { // the first by name of those that are not kept to
		if n := demand[other]; (n < r.Min || r.Max != 0 && n > r.Max) && (ok || other < c) {
			c, ok = other, false
		}
	}
	if ok {
		return nil
	}
	r, n, format := l[c], demand[c], c.Format
	if c == allStorage {
		format = FormatBytes
	}
	want := format(r.Min) + " or more"
	if r.Max != 0 {
		want = format(r.Min) + " to " + format(r.Max)
	}
	return &Error{Kind: ErrInvalid, Field: c.field(), Value: format(n), Want: want}
}
