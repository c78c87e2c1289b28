// Package operation tells how far a long command has come. It keeps no books of its own: an Operation is
// what the ledger's events say about one command, folded like the pool's State, so that it is the same after
// a restart and in every daemon on the ledger.
package operation

import (
	"time"

	"github.com/berthage/berthage/pool"
)

// Kind is what was asked for.
type Kind string

// The kinds.
const (
	Launch    Kind = "launch"
	Start     Kind = "start"
	Stop      Kind = "stop"
	Suspend   Kind = "suspend"
	Hibernate Kind = "hibernate"
	Resume    Kind = "resume"
	Shelve    Kind = "shelve"
	Unshelve  Kind = "unshelve"
	Reboot    Kind = "reboot"
	Move      Kind = "move"
	Resize    Kind = "resize"
	Rebuild   Kind = "rebuild" // made anew of its image
	Delete    Kind = "delete"
)

// Status is how an operation stands.
type Status string

// The statuses. All but Running are final.
const (
	Running    Status = "running"
	Done       Status = "done"
	Failed     Status = "failed"     // Reason says why
	Superseded Status = "superseded" // a later command wants something else
)

// Operation is one long command.
type Operation struct {
	ID       string
	Kind     Kind
	Instance pool.InstanceID
	Name     string // of the instance
	Project  string
	Owner    string // whose the instance is
	Actor    string // who asked; berthage for what it does by itself, as for a host that is drained or lost
	Cause    string // under which request
	Status   Status
	Progress int    // percent; an estimate by steps, not by time
	Step     string // what happened last
	Reason   string // of a failure
	Revision pool.Revision
	Started  time.Time
	Updated  time.Time

	target pool.Power  // power that ends it
	token  string      // of a reboot
	host   pool.HostID // of a move: where to
}

// Ended reports whether the status is final.
func (o *Operation) Ended() bool { return o.Status != Running }

// makes reports whether the operation ends with a new machine that does what is wanted by then.
func (o *Operation) makes() bool { return o.Kind == Launch || o.Kind == Unshelve || o.Kind == Rebuild }

// LaunchID returns the id of the operation that launches an instance.
func LaunchID(id pool.InstanceID) string { return string(Launch) + "-" + string(id) }

// DeleteID returns the id of the operation that deletes an instance.
func DeleteID(id pool.InstanceID) string { return string(Delete) + "-" + string(id) }
