package pool

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// The kinds of event that State folds, each with the payload that its Data holds.
const (
	KindOpened         = "ledger.opened"       // Opened: the first event of a ledger
	KindTakenOver      = "ledger.taken-over"   // TakenOver: a new leaseholder; the event's Epoch is the new one
	KindHostPut        = "host.put"            // HostPut: added, or observed differently
	KindHostConditions = "host.conditions"     // HostConditions
	KindHostRemoved    = "host.removed"        // HostRemoved
	KindImagePut       = "image.put"           // Image
	KindImageRemoved   = "image.removed"       // Named
	KindFlavorPut      = "flavor.put"          // Flavor
	KindFlavorRemoved  = "flavor.removed"      // Named
	KindProjectPut     = "project.put"         // Project
	KindProjectRemoved = "project.removed"     // Named
	KindLaunched       = "instance.launched"   // Launched; private: Guest
	KindAwaiting       = "instance.awaiting"   // Awaiting: a host's room is kept for one that waits
	KindCommitted      = "instance.committed"  // Of: what was reserved is to be built
	KindLapsed         = "instance.lapsed"     // Lapsed: what was reserved has given its place back
	KindWanted         = "instance.wanted"     // Wanted; Absent starts the deletion
	KindRebootWanted   = "instance.reboot"     // RebootWanted
	KindRebooted       = "instance.rebooted"   // OfMachine
	KindSent           = "machine.sent"        // OfMachine: a create is about to be sent
	KindCreated        = "machine.created"     // OfMachine: it exists, stopped
	KindSettled        = "machine.settled"     // OfMachine: no other create for it can land any more
	KindRefused        = "machine.refused"     // Refused: its creation is being undone
	KindObserved       = "machine.observed"    // Observed; private: addresses
	KindPlaced         = "instance.placed"     // Placed: on another place, after the machine on the old one is gone
	KindFailed         = "instance.failed"     // Ended: given up, its machine is gone
	KindDeleted        = "instance.deleted"    // Ended: its machine is gone
	KindReleased       = "allocation.release"  // OfMachine: a held allocation's machine is known to be gone
	KindReplacing      = "instance.replacing"  // Of: its machine is to be destroyed, and made anew of its image elsewhere
	KindMoving         = "instance.moving"     // Moving: its machine is to be moved to another host
	KindMoved          = "machine.moved"       // Moved: it is there, whether we moved it or somebody else
	KindStayed         = "machine.stayed"      // Stayed: it was not moved, and will not be by that order
	KindResizing       = "instance.resizing"   // ResizeWanted
	KindResized        = "machine.resized"     // OfMachine: it has the sizes
	KindUnresized      = "machine.unresized"   // Stayed: it has the old ones, and will not get the others by that order
	KindShelved        = "instance.shelved"    // Ended: its disks are put aside, its machine is gone
	KindDiscarding     = "instance.discarding" // Of: what is put aside is about to be discarded, and no machine is made of it any more
	KindDiscarded      = "instance.discarded"  // Of: what was put aside is gone
	KindClusterPut     = "cluster.put"         // ClusterPut; private: Guest
	KindClusterActed   = "cluster.acted"       // ClusterActed
	KindClusterRemoved = "cluster.removed"     // ClusterRemoved: its last member is gone
	KindForgotten      = "subject.forgotten"   // Forgotten: its personal data is to be forgotten
)

// Opened is the data of KindOpened.
type Opened struct {
	Ledger string `json:"ledger"` // random identity
}

// TakenOver is the data of KindTakenOver.
type TakenOver struct {
	Holder string `json:"holder"`
}

// HostPut is the data of KindHostPut: the whole record as it is from now on.
type HostPut struct {
	Host Host `json:"host"`
}

// HostConditions is the data of KindHostConditions.
type HostConditions struct {
	Host       HostID     `json:"host"`
	Conditions Conditions `json:"conditions"`
	Reason     string     `json:"reason,omitempty"`
	Cold       bool       `json:"cold,omitempty"`  // with Draining: instances may be stopped for their move
	Proof      string     `json:"proof,omitempty"` // with Fenced, when it is set: how it is known
}

// HostRemoved is the data of KindHostRemoved. A removed host is not admitted again until somebody asks.
type HostRemoved struct {
	Host HostID `json:"host"`
}

// Named is the data of removals of named things.
type Named struct {
	Name string `json:"name"`
}

// Launched is the data of KindLaunched.
type Launched struct {
	Instance InstanceID `json:"instance"`
	Name     string     `json:"name"`
	Project  string     `json:"project"`
	Spec     Spec       `json:"spec"` // without Guest
	Image    Image      `json:"image"`
	Want     Power      `json:"want"`
	Place    Placement  `json:"place"`
	Waits    bool       `json:"waits,omitempty"`  // for a place: Place is empty
	Reason   string     `json:"reason,omitempty"` // why it waits
	Until    time.Time  `json:"until,omitzero"`   // reserved until then, and not to be built before it is committed
	Owner    string     `json:"owner,omitempty"`  // see Instance.Owner

	// Of a member of a cluster: Project, Owner, Spec and Image are the cluster's, and left out here.
	Cluster ClusterID `json:"cluster,omitempty"`
	Index   int       `json:"index,omitempty"`

	Guest Guest `json:"-"` // in the event's Private; of a new event that of Spec counts, if there is one
}

// Awaiting is the data of KindAwaiting. An empty Host: no host's room is kept any more.
type Awaiting struct {
	Instance InstanceID `json:"instance"`
	Host     HostID     `json:"host,omitempty"`
}

// Lapsed is the data of KindLapsed. Released: before it had expired.
type Lapsed struct {
	Instance InstanceID `json:"instance"`
	Released bool       `json:"released,omitempty"`
}

// Wanted is the data of KindWanted. Ran is for Instance.Ran; Reason says why a wish was given up.
type Wanted struct {
	Instance InstanceID `json:"instance"`
	Want     Power      `json:"want"`
	Ran      bool       `json:"ran,omitempty"`
	Reason   string     `json:"reason,omitempty"`
}

// RebootWanted is the data of KindRebootWanted. The same token again is the same reboot.
type RebootWanted struct {
	Instance InstanceID `json:"instance"`
	Token    string     `json:"token,omitempty"`
}

// OfMachine is the data of events that say no more than which machine. Doubt, of KindCreated only, says that
// another create for it has not been answered, so that a second copy may still land.
type OfMachine struct {
	Machine MachineID `json:"machine"`
	Doubt   bool      `json:"doubt,omitempty"`
}

// Refused is the data of KindRefused: of a create, or of a machine that the hypervisor has given up before it
// ever ran. Doubt says that the create ended without an answer, so that it may
// still land. Until is set when an aggregate had no room for the shape: the shape counts as full there until then.
type Refused struct {
	Machine MachineID `json:"machine"`
	Reason  string    `json:"reason"`
	Doubt   bool      `json:"doubt,omitempty"`
	Until   time.Time `json:"until,omitzero"`
}

// Observed is the data of KindObserved.
type Observed struct {
	Machine MachineID `json:"machine"`
	Is      Power     `json:"is"`
	Fault   string    `json:"fault,omitempty"`

	Addresses []string `json:"-"` // in the event's Private
}

// Placed is the data of KindPlaced. Hold keeps the old place's allocation (see Held).
type Placed struct {
	Instance InstanceID `json:"instance"`
	Place    Placement  `json:"place"`
	Hold     bool       `json:"hold,omitempty"`
}

// Ended is the data of KindFailed, KindDeleted and KindShelved. Hold keeps the place's allocation (see Held).
type Ended struct {
	Instance InstanceID `json:"instance"`
	Reason   string     `json:"reason,omitempty"`
	Hold     bool       `json:"hold,omitempty"`
}

// Moving is the data of KindMoving.
type Moving struct {
	Instance   InstanceID `json:"instance"`
	Host       HostID     `json:"host"`
	Allocation Allocation `json:"allocation"`
	Cold       bool       `json:"cold,omitempty"`
}

// Moved is the data of KindMoved. On the host of the order to move it, that is carried out; on another one the
// machine holds there what it held, and the order, if any, has come to nothing.
type Moved struct {
	Machine MachineID `json:"machine"`
	Host    HostID    `json:"host"`
}

// Stayed is the data of KindStayed and KindUnresized.
type Stayed struct {
	Machine MachineID `json:"machine"`
	Reason  string    `json:"reason,omitempty"`
}

// ResizeWanted is the data of KindResizing.
type ResizeWanted struct {
	Instance InstanceID `json:"instance"`
	Sizes    Sizes      `json:"sizes"`
	After    Allocation `json:"after"`  // what is held when it is done
	During   Allocation `json:"during"` // and until then
	Cold     bool       `json:"cold,omitempty"`
}

// Of is the data of events that say no more than which instance.
type Of struct {
	Instance InstanceID `json:"instance"`
}

// NewEvent returns an event of that kind with payload as its data, and as its private part what the payload
// has of it; Subject is set for those. ID, Time, Actor and the like are left to the committer. The payload is the event's
// from then on and must not be changed.
func NewEvent(kind string, payload any) (Event, error) {
	e := Event{Kind: kind, Version: 1}
	var private any
	switch p := payload.(type) {
	case *Launched:
		if p.Cluster != "" {
			break // the cluster has what is private
		}
		if !p.Spec.Guest.empty() {
			c := *p
			c.Guest, c.Spec.Guest = p.Spec.Guest, Guest{}
			p = &c
		}
		payload, e.Subject, private = p, string(p.Instance), &p.Guest
	case *ClusterPut:
		c := *p
		c.Guest, c.Spec.Guest = p.Spec.Guest, Guest{}
		payload, e.Subject, private = &c, string(p.Cluster), &c.Guest
	case *Observed:
		if len(p.Addresses) > 0 {
			id, _, _ := p.Machine.Split()
			e.Subject, private = string(id), p.Addresses
		}
	}
	e.payload = payload
	var err error
	if e.Data, err = encode(payload); err != nil {
		return Event{}, err
	}
	if private != nil {
		if e.Private, err = encode(private); err != nil {
			return Event{}, err
		}
	}
	return e, nil
}

// Payload returns the event's data as a pointer to the struct that belongs to its kind. A kind or version
// that this program does not know is ErrUnknownKind; such an event may belong to another package's State.
// The result is shared and must not be changed.
func (e *Event) Payload() (any, error) {
	if e.payload != nil {
		return e.payload, nil
	}
	var p any
	switch e.Kind {
	case KindOpened:
		p = new(Opened)
	case KindImported:
		p = new(Imported)
	case KindConfirmed:
		p = new(Confirmed)
	case KindTakenOver:
		p = new(TakenOver)
	case KindHostPut:
		p = new(HostPut)
	case KindHostConditions:
		p = new(HostConditions)
	case KindHostRemoved:
		p = new(HostRemoved)
	case KindImagePut:
		p = new(Image)
	case KindFlavorPut:
		p = new(Flavor)
	case KindProjectPut:
		p = new(Project)
	case KindImageRemoved, KindFlavorRemoved, KindProjectRemoved:
		p = new(Named)
	case KindLaunched:
		p = new(Launched)
	case KindAwaiting:
		p = new(Awaiting)
	case KindWanted:
		p = new(Wanted)
	case KindRebootWanted:
		p = new(RebootWanted)
	case KindRebooted, KindSent, KindCreated, KindSettled, KindReleased, KindResized:
		p = new(OfMachine)
	case KindRefused:
		p = new(Refused)
	case KindObserved:
		p = new(Observed)
	case KindPlaced:
		p = new(Placed)
	case KindFailed, KindDeleted, KindShelved:
		p = new(Ended)
	case KindMoving:
		p = new(Moving)
	case KindMoved:
		p = new(Moved)
	case KindStayed, KindUnresized:
		p = new(Stayed)
	case KindResizing:
		p = new(ResizeWanted)
	case KindLapsed:
		p = new(Lapsed)
	case KindDiscarding, KindDiscarded, KindCommitted, KindReplacing:
		p = new(Of)
	case KindClusterPut:
		p = new(ClusterPut)
	case KindClusterActed:
		p = new(ClusterActed)
	case KindClusterRemoved:
		p = new(ClusterRemoved)
	case KindForgotten:
		p = new(Forgotten)
	}
	if p == nil || e.Version != 1 {
		return nil, &Error{Kind: ErrUnknownKind, Field: "kind", Value: e.Kind}
	}
	dec := json.NewDecoder(bytes.NewReader(e.Data))
	dec.DisallowUnknownFields() // a field that we would lose is a newer version in disguise
	if err := dec.Decode(p); err != nil {
		return nil, &Error{Kind: ErrInvalid, Field: "data of " + e.Kind, Cause: err}
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, &Error{Kind: ErrInvalid, Field: "data of " + e.Kind, Want: "one JSON value and nothing after it"}
	}
	if e.Private != nil {
		var err error
		switch p := p.(type) {
		case *Launched:
			err = json.Unmarshal(e.Private, &p.Guest)
		case *ClusterPut:
			err = json.Unmarshal(e.Private, &p.Guest)
		case *Observed:
			err = json.Unmarshal(e.Private, &p.Addresses)
		}
		if err != nil {
			return nil, &Error{Kind: ErrInvalid, Field: "private part of " + e.Kind}
		}
	}
	return p, nil
}
