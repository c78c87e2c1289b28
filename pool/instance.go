package pool

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"time"
)

// InstanceID identifies an instance within its ledger and, by chance of collision, everywhere.
type InstanceID string

// NewInstanceID derives the id from the ledger's identity, the project and the caller's token, so that the
// same token always gives the same instance.
func NewInstanceID(ledger, project, token string) InstanceID {
	return newInstanceID("berthage instance v1", ledger, project, token)
}

func newInstanceID(parts ...string) InstanceID {
	b := make([]byte, 0, 256)
	for _, s := range parts {
		b = append(strconv.AppendInt(b, int64(len(s)), 10), ':')
		b = append(b, s...)
	}
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	sum := sha256.Sum256(b)
	id := append(b[:0], 'i')
	for i := 0; i < 15; i += 5 { // base 32: five bytes are eight digits
		bits := uint64(sum[i])<<32 | uint64(binary.BigEndian.Uint32(sum[i+1:]))
		for shift := 35; shift >= 0; shift -= 5 {
			id = append(id, alphabet[bits>>shift&31])
		}
	}
	return InstanceID(id)
}

// Valid reports, as an error, whether id has the form that NewInstanceID gives: 25 letters and digits.
func (id InstanceID) Valid() error {
	if len(id) != 25 || !wellFormed(string(id), 25, lowers|digits, lowers|digits) {
		return invalid("instance", string(id), "an instance's id: 25 lower-case letters and digits")
	}
	return nil
}

// MachineID names one placement of an instance: the instance's id, a hyphen, and the number of the
// placement. Another host after a failure is another machine; a migration is not.
type MachineID string

// Machine returns the id of the n-th placement, from 0.
func (id InstanceID) Machine(n int) MachineID { return MachineID(string(id) + "-" + strconv.Itoa(n)) }

// Split returns the instance and the number of the placement; ok is false when m is malformed.
func (m MachineID) Split() (id InstanceID, n int, ok bool) {
	i := strings.LastIndexByte(string(m), '-')
	if i < 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(string(m[i+1:]))
	id = InstanceID(m[:i])
	if err != nil || n < 0 || id.Valid() != nil || id.Machine(n) != m {
		return "", 0, false
	}
	return id, n, true
}

// Power is what an instance is to do, or what a machine does.
type Power string

// The power states. Absent is what a deleted instance is to be, and what a machine that is not there is.
const (
	Absent     Power = "absent"
	Stopped    Power = "stopped"
	Running    Power = "running"
	Suspended  Power = "suspended"  // held in memory
	Hibernated Power = "hibernated" // its memory held on disk
	Shelved    Power = "shelved"    // only wanted: the place given back, the disks put aside
)

// Phase is where an instance stands in its life; within Active its machine's Power tells the rest.
type Phase string

// The phases.
const (
	Waiting  Phase = "waiting"  // for room or quota; holds no place
	Reserved Phase = "reserved" // holds a place until Until and is not built before it is committed
	Building Phase = "building" // placed; its machine is to be created
	Active   Phase = "active"   // its machine has been created
	Undoing  Phase = "undoing"  // creation failed, or it is to be replaced; what there may be of the machine is being destroyed
	Aside    Phase = "shelved"  // its disks are put aside; holds no place and has no machine
	Failed   Phase = "failed"   // given up; holds no place
	Deleting Phase = "deleting" // its machine is being destroyed
	Deleted  Phase = "deleted"  // gone; only answers show this phase, State keeps no record
)

// Claim says which device carries a part of an allocation.
type Claim struct {
	Device string `json:"device"`         // Device.ID on the host
	Class  Class  `json:"class"`          //
	Amount int64  `json:"amount"`         //
	Disk   int    `json:"disk,omitempty"` // index in Spec.Disks, for storage classes
}

// Allocation is what an instance holds on a host: the amounts per class, and which devices carry them.
// On an aggregate the amounts are those of Shape.
type Allocation struct {
	Resources Resources `json:"resources"`
	Claims    []Claim   `json:"claims,omitempty"`
	Shape     string    `json:"shape,omitempty"`
}

// Placement is one stay of an instance on a host.
type Placement struct {
	Number     int        `json:"number"` // the part of the machine id
	Host       HostID     `json:"host"`
	Allocation Allocation `json:"allocation"`
	Sent       bool       `json:"sent"`  // a create may have reached the hypervisor
	Doubt      bool       `json:"doubt"` // a create ended without an answer and may still land
}

// Move is the host to which an instance's machine is being moved; what it will take there is booked on both.
type Move struct {
	Host       HostID     `json:"host"`
	Allocation Allocation `json:"allocation"`
	Cold       bool       `json:"cold,omitempty"` // it is stopped for the time of the move
	Ordered    Revision   `json:"ordered"`
}

// Resizing is a change of sizes under way. Until it has ended the larger of both is booked, class by class.
type Resizing struct {
	Sizes   Sizes      `json:"sizes"`          // as they are to be
	After   Allocation `json:"after"`          // what is held when it is done
	Before  Allocation `json:"before"`         // and when it is not
	Cold    bool       `json:"cold,omitempty"` // it is stopped for the time of the change
	Ordered Revision   `json:"ordered"`        //
}

// Sizes are what a resize changes of a Spec.
type Sizes struct {
	Flavor    string    `json:"flavor,omitempty"`
	Resources Resources `json:"resources"`
	Disks     []Disk    `json:"disks"`
}

// Of returns the spec with those sizes.
func (z Sizes) Of(s Spec) Spec {
	s = s.Clone()
	s.Flavor, s.Resources, s.Disks = z.Flavor, z.Resources.Clone(), slices.Clone(z.Disks)
	return s
}

// Shelve is an order to shelve, and what the instance goes back to should that be refused.
type Shelve struct {
	Want    Power    `json:"want"`          // before
	Ran     bool     `json:"ran,omitempty"` // Instance.Ran before
	Ordered Revision `json:"ordered"`
}

// Shelf is where an instance's disks are put aside: those of one of its former machines.
type Shelf struct {
	Machine MachineID `json:"machine"`
	Host    HostID    `json:"host"`            // that the machine was on
	Going   bool      `json:"going,omitempty"` // it is being discarded, and may be gone
}

// Anew is that an instance was made anew of its image, on new disks: what was on those of its machine before is not on them.
type Anew struct {
	Machine MachineID `json:"machine"` // the one before
	Host    HostID    `json:"host"`    // that it was on
	At      time.Time `json:"at"`
}

// Instance is a VM or container in our books. Records in State are immutable: a change makes a new one.
type Instance struct {
	ID      InstanceID `json:"id"`
	Name    string     `json:"name"`
	Project string     `json:"project"`
	Owner   string     `json:"owner,omitempty"` // whose it is, for whom Project.PerUser holds; empty: nobody's
	Spec    Spec       `json:"spec"`            // resolved: with the flavor's sizes; Guest is absent once forgotten
	Image   Image      `json:"image"`           // as it was at launch
	Want    Power      `json:"want"`
	Is      Power      `json:"is"`
	Phase   Phase      `json:"phase"`
	Reason  string     `json:"reason,omitempty"`  // of the last failure
	Started bool       `json:"started,omitempty"` // its present machine has run
	Fault   string     `json:"fault,omitempty"`   // the word of the hypervisor that it has given the machine up

	Place     Placement `json:"place"`               // meaningful while Placed
	Avoid     []HostID  `json:"avoid,omitempty"`     // hosts on which creation failed
	Awaits    HostID    `json:"awaits,omitempty"`    // while Waiting: the host whose room is kept for it
	Until     time.Time `json:"until,omitzero"`      // while Reserved: when the place is given back
	Addresses []string  `json:"addresses,omitempty"` // of the guest, as observed

	Move     *Move     `json:"move,omitempty"`     // while it is being moved
	Resize   *Resizing `json:"resize,omitempty"`   // while it is being resized
	Resized  bool      `json:"resized,omitempty"`  // it has other sizes than it was launched with
	Shelving bool      `json:"shelving,omitempty"` // its machine may have been put aside, or still be
	Shelve   *Shelve   `json:"shelve,omitempty"`   // while it is to be shelved and is not yet
	Shelf    *Shelf    `json:"shelf,omitempty"`    // while disks of it are put aside
	Anew     *Anew     `json:"anew,omitempty"`     // the last time that it was made anew, if ever

	Cluster ClusterID `json:"cluster,omitempty"` // that it is a member of
	Index   int       `json:"index,omitempty"`   // its number there, never used again
	Ran     bool      `json:"ran,omitempty"`     // it ran when its cluster was stopped, suspended or shelved

	Reboots     int       `json:"reboots,omitempty"`      // reboots asked for
	Rebooted    int       `json:"rebooted,omitempty"`     // of those, done
	RebootToken string    `json:"reboot_token,omitempty"` // of the last reboot asked for
	Launched    Revision  `json:"launched"`               // of the launch; part of the machine's tag
	Created     Revision  `json:"created,omitempty"`      // of the creation of the present machine
	Changed     Revision  `json:"changed"`                // of the last change of this record
	At          time.Time `json:"at"`                     // of the launch
}

// Machine returns the id of the present placement.
func (i Instance) Machine() MachineID { return i.ID.Machine(i.Place.Number) }

// Placed reports whether the instance holds a place.
func (i Instance) Placed() bool {
	return i.Phase != Failed && i.Phase != Aside && i.Phase != Deleted && i.Phase != Waiting
}

// Kept reports whether disks of the instance are put aside, of which its next machine would be made.
func (i Instance) Kept() bool { return i.Shelf != nil && !i.Shelf.Going }

// Replaced reports whether the instance's machine is being destroyed to be made anew elsewhere, and not because its creation failed.
func (i Instance) Replaced() bool { return i.Phase == Undoing && i.Created != 0 && i.Shelf == nil }

// Settled reports whether the instance is what it is wanted to be, so that plan has nothing to do for it. A
// failed one that is to be deleted is not: it holds no place and has no machine, so that nothing but the
// event that ends it is missing.
func (i Instance) Settled() bool {
	switch i.Phase {
	case Failed:
		return i.Want != Absent
	case Aside:
		return i.Want == Shelved
	case Active:
		if i.Fault != "" { // a person decides
			return i.Move == nil
		}
		// What was put aside stays until the machine that was made of it has run.
		return i.Is == i.Want && i.Reboots == i.Rebooted && i.Move == nil && i.Resize == nil && (i.Shelf == nil || !i.Started)
	}
	return false
}

// Status returns one word for people: the phase, or within Active the machine's power, or "moving" or
// "resizing"; "missing" when an active instance's machine is not there, and "broken" when its hypervisor has
// given it up.
func (i Instance) Status() string {
	if i.Phase != Active {
		return string(i.Phase)
	}
	switch {
	case i.Is == Absent:
		return "missing"
	case i.Fault != "":
		return "broken"
	case i.Move != nil:
		return "moving"
	case i.Resize != nil:
		return "resizing"
	}
	return string(i.Is)
}

// Held is capacity kept for a machine that must not exist but might: a create that ended in doubt and may
// still land. It is released only when the machine is known to be gone.
type Held struct {
	Machine    MachineID  `json:"machine"`
	Host       HostID     `json:"host"`
	Launched   Revision   `json:"launched"`
	Allocation Allocation `json:"allocation"`
	Reason     string     `json:"reason"`
	Shelving   bool       `json:"shelving,omitempty"` // it may have been put aside, for nobody
}
