package pool

import (
	"bytes"
	"encoding/json"
	"io"
)

// The kinds of event that State folds, each with the payload that its Data holds.
const (
	KindOpened         = "ledger.opened"      // Opened: the first event of a ledger
	KindTakenOver      = "ledger.taken-over"  // TakenOver: a new leaseholder; the event's Epoch is the new one
	KindHostPut        = "host.put"           // HostPut: added, or observed differently
	KindHostConditions = "host.conditions"    // HostConditions
	KindHostRemoved    = "host.removed"       // HostRemoved
	KindImagePut       = "image.put"          // Image
	KindImageRemoved   = "image.removed"      // Named
	KindFlavorPut      = "flavor.put"         // Flavor
	KindFlavorRemoved  = "flavor.removed"     // Named
	KindProjectPut     = "project.put"        // Project
	KindProjectRemoved = "project.removed"    // Named
	KindLaunched       = "instance.launched"  // Launched; private: Guest
	KindWanted         = "instance.wanted"    // Wanted; Absent starts the deletion
	KindRebootWanted   = "instance.reboot"    // RebootWanted
	KindRebooted       = "instance.rebooted"  // OfMachine
	KindSent           = "machine.sent"       // OfMachine: a create is about to be sent
	KindCreated        = "machine.created"    // OfMachine: it exists, stopped
	KindRefused        = "machine.refused"    // Refused: its creation is being undone
	KindObserved       = "machine.observed"   // Observed; private: addresses
	KindPlaced         = "instance.placed"    // Placed: on another place, after the machine on the old one is gone
	KindFailed         = "instance.failed"    // Ended: given up, its machine is gone
	KindDeleted        = "instance.deleted"   // Ended: its machine is gone
	KindReleased       = "allocation.release" // OfMachine: a held allocation's machine is known to be gone
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

	Guest Guest `json:"-"` // in the event's Private
}

// Wanted is the data of KindWanted.
type Wanted struct {
	Instance InstanceID `json:"instance"`
	Want     Power      `json:"want"`
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

// Refused is the data of KindRefused. Doubt says that the create ended without an answer, so that it may
// still land.
type Refused struct {
	Machine MachineID `json:"machine"`
	Reason  string    `json:"reason"`
	Doubt   bool      `json:"doubt,omitempty"`
}

// Observed is the data of KindObserved.
type Observed struct {
	Machine MachineID `json:"machine"`
	Is      Power     `json:"is"`

	Addresses []string `json:"-"` // in the event's Private
}

// Placed is the data of KindPlaced. Hold keeps the old place's allocation (see Held).
type Placed struct {
	Instance InstanceID `json:"instance"`
	Place    Placement  `json:"place"`
	Hold     bool       `json:"hold,omitempty"`
}

// Ended is the data of KindFailed and KindDeleted. Hold keeps the place's allocation (see Held).
type Ended struct {
	Instance InstanceID `json:"instance"`
	Reason   string     `json:"reason,omitempty"`
	Hold     bool       `json:"hold,omitempty"`
}

// NewEvent returns an event of that kind with payload as its data, and as its private part what the payload
// has of it; Subject is set for those. ID, Time, Actor and the like are left to the committer.
func NewEvent(kind string, payload any) (Event, error) {
	e := Event{Kind: kind, Version: 1, payload: payload}
	var private any
	switch p := payload.(type) {
	case *Launched:
		c := *p
		c.Guest, c.Spec.Guest = p.Spec.Guest, Guest{}
		e.payload, e.Subject, private = &c, string(p.Instance), &c.Guest
		payload = &c
	case *Observed:
		if len(p.Addresses) > 0 {
			id, _, _ := p.Machine.Split()
			e.Subject, private = string(id), p.Addresses
		}
	}
	var err error
	if e.Data, err = json.Marshal(payload); err != nil {
		return Event{}, err
	}
	if private != nil {
		if e.Private, err = json.Marshal(private); err != nil {
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
	case KindWanted:
		p = new(Wanted)
	case KindRebootWanted:
		p = new(RebootWanted)
	case KindRebooted, KindSent, KindCreated, KindReleased:
		p = new(OfMachine)
	case KindRefused:
		p = new(Refused)
	case KindObserved:
		p = new(Observed)
	case KindPlaced:
		p = new(Placed)
	case KindFailed, KindDeleted:
		p = new(Ended)
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
		case *Observed:
			err = json.Unmarshal(e.Private, &p.Addresses)
		}
		if err != nil {
			return nil, &Error{Kind: ErrInvalid, Field: "private part of " + e.Kind}
		}
	}
	return p, nil
}
