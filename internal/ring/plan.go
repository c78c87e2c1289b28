package ring

import (
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// verb is what a planned action does.
type verb string

const (
	nothing   verb = ""
	doCreate  verb = "create"  // record that a create is sent, then send it
	doLook    verb = "look"    // a create was sent and its outcome is not known: look, then perhaps create again
	doStart   verb = "start"   //
	doStop    verb = "stop"    //
	doSuspend verb = "suspend" //
	doResume  verb = "resume"  //
	doReboot  verb = "reboot"  //
	doDestroy verb = "destroy" // until it is known to be gone
	doForget  verb = "forget"  // nothing was ever sent: no call is needed to know that it is gone
	doSkip    verb = "skip"    // a reboot that has become pointless
	doRelease verb = "release" // destroy what a held allocation is held for, look, and release it
)

// knowledge is what the leader remembers about a machine beyond the books. It starts afresh with every
// leadership, and what is not remembered is taken for the worst.
type knowledge struct {
	sentHere bool      // this leader sent the first create itself
	unknown  int       // creates that ended without an answer
	failed   int       // creates that could not be sent
	since    time.Time // the last moment at which a create may have been sent, as far as this leader knows
}

// clean reports whether every create that was ever sent has been answered.
func (k knowledge) clean() bool { return k.sentHere && k.unknown == 0 }

// plan returns the next action for an instance. It is pure; what must wait is found out by the action itself
// and comes back as a later moment.
func plan(i *pool.Instance) verb {
	switch i.Phase {
	case pool.Building:
		if !i.Place.Sent {
			return doCreate
		}
		return doLook
	case pool.Undoing, pool.Deleting:
		if !i.Place.Sent {
			return doForget
		}
		return doDestroy
	case pool.Active:
		return planPower(i)
	case pool.Failed:
		if i.Want == pool.Absent { // it holds no place and has no machine
			return doForget
		}
	}
	return nothing
}

func planPower(i *pool.Instance) verb {
	switch {
	case i.Is == pool.Absent:
		return nothing // missing: a person decides; a later observation may find it again
	case i.Is == pool.Stopped && i.Want == pool.Running, i.Is == pool.Stopped && i.Want == pool.Suspended:
		return doStart
	case i.Is == pool.Suspended && i.Want == pool.Running:
		return doResume
	case i.Is == pool.Running && i.Want == pool.Suspended:
		return doSuspend
	case i.Is != pool.Stopped && i.Want == pool.Stopped:
		return doStop
	case i.Reboots != i.Rebooted && i.Is == pool.Running:
		return doReboot
	case i.Reboots != i.Rebooted:
		return doSkip
	}
	return nothing
}

// mayCreateAgain reports whether a create whose outcome is unknown, and of which a complete list begun at
// listed shows nothing, may be sent again without the danger of a second machine, and if not, from when on.
// A zero time means: only when a person says so.
func mayCreateAgain(k knowledge, c hypervisor.Capabilities, listed time.Time) (bool, time.Time) {
	if c.CreateUnique || k.clean() {
		return true, time.Time{}
	}
	if c.Settles <= 0 {
		return false, time.Time{}
	}
	at := k.since.Add(c.Settles)
	return !listed.Before(at), at
}

// mayRelease reports whether a held allocation, whose machine a complete list begun at listed does not show,
// can be given back, and if not, from when on. A zero time means: only when a person says so.
func mayRelease(since time.Time, c hypervisor.Capabilities, listed time.Time) (bool, time.Time) {
	if c.Settles <= 0 {
		return false, time.Time{}
	}
	at := since.Add(c.Settles)
	return !listed.Before(at), at
}

// doubtful reports whether a create for the instance's machine may still land, as far as the books do not say
// so themselves: of a machine that has been created they do.
func doubtful(i *pool.Instance, k knowledge) bool {
	return i.Place.Sent && i.Created == 0 && !k.clean()
}
