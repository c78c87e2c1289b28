package ring

import (
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// verb is what a planned action does.
type verb string

const (
	nothing     verb = ""
	doCreate    verb = "create"    // record that a create is sent, then send it
	doLook      verb = "look"      // a create was sent and its outcome is not known: look, then perhaps create again
	doStart     verb = "start"     //
	doStop      verb = "stop"      //
	doSuspend   verb = "suspend"   //
	doHibernate verb = "hibernate" //
	doResume    verb = "resume"    //
	doReboot    verb = "reboot"    //
	doDestroy   verb = "destroy"   // until it is known to be gone
	doForget    verb = "forget"    // nothing was ever sent: no call is needed to know that it is gone
	doSettle    verb = "settle"    // record that no create for it can land any more
	doSkip      verb = "skip"      // a reboot that has become pointless
	doRelease   verb = "release"   // destroy what a held allocation is held for, look, and release it
	doShelve    verb = "shelve"    //
	doDiscard   verb = "discard"   // what is put aside
	doResize    verb = "resize"    //
	doMigrate   verb = "migrate"   //
	doReturn    verb = "return"    // to what is put aside: the machine that was made of it has never run
	doEvict     verb = "evict"     // decide where an instance goes whose host is being drained
	doEvacuate  verb = "evacuate"  // decide where an instance goes whose host is off
	doFence     verb = "fence"     // switch a host off
	doAdmit     verb = "admit"     // give places to those who wait
	doExpire    verb = "expire"    // end a reservation whose time has passed
)

// calls reports whether the verb calls the driver of the instance's host.
func (v verb) calls() bool {
	switch v {
	case doForget, doSettle, doSkip, doReturn, doEvict, doEvacuate, doAdmit, doExpire:
		return false
	}
	return true
}

// matters reports whether the end of a call must be known before the machine is destroyed.
func (v verb) matters() bool {
	switch v {
	case doCreate, doLook, doDestroy, doMigrate, doShelve, doDiscard:
		return true
	}
	return false
}

// Evacuation is when an instance may be made anew on another host although its machine may still be on the
// first.
type Evacuation string

// The policies. The empty one is EvacuateFenced.
const (
	EvacuateNever  Evacuation = "never"  // only a person's command does it, one by one
	EvacuateFenced Evacuation = "fenced" // when it is proved that the host is off
	EvacuateAlways Evacuation = "always" // when the host is unreachable: two may run, where it still does
)

// lost reports whether what is on the host counts as not running, so that it may be made anew elsewhere.
func (e Evacuation) lost(c pool.Conditions) bool {
	switch e {
	case EvacuateNever:
		return false
	case EvacuateAlways:
		return c.Has(pool.Unreachable) || c.Has(pool.Fenced)
	}
	return c.Has(pool.Fenced)
}

// knowledge is what the leader remembers about a machine beyond the books. It starts afresh with every
// leadership, and what is not remembered is taken for the worst.
type knowledge struct {
	sentHere bool      // this leader sent the first create itself
	unknown  int       // creates that ended without an answer
	made     bool      // one was answered: it has made the machine, whether or not that could be recorded
	failed   int       // creates that could not be sent
	since    time.Time // the last moment at which a create may have been sent, as far as this leader knows

	carried  pool.Revision             // the order to move or resize that a call was answered to have carried out
	undone   time.Time                 // when the machine was first destroyed to be made anew elsewhere
	order    pool.Revision             // the order to move, resize or shelve that the next two are of
	unheard  time.Time                 // when a call for it was last left unanswered; zero: never
	refusals int                       // calls for it that could not be sent
	notThere map[pool.HostID]time.Time // hosts to which it could not be moved, and until when not to try
	shelved  bool                      // a shelve was answered: it is put aside
}

// clean reports whether every create that was ever sent has been answered.
func (k knowledge) clean() bool { return k.sentHere && k.unknown == 0 }

// mayFollow reports, of a machine that is there, whether a create may land yet: seeing it is the answer to one of
// those that were not answered, unless another was answered with it.
func (k knowledge) mayFollow() bool {
	return !k.sentHere || k.unknown > 1 || k.made && k.unknown > 0
}

// plan returns the next action for an instance; h is the host of its place, nil when it has none. It is pure;
// what must wait is found out by the action itself and comes back as a later moment.
func plan(i *pool.Instance, h *pool.HostRecord, policy Evacuation) verb {
	if i.Shelf != nil && i.Shelf.Going {
		return doDiscard // before anything is made, which would be made of that
	}
	lost := h != nil && i.Placed() && !aggregate(h) && policy.lost(h.Conditions)
	if lost && i.Move == nil {
		return planLost(i)
	}
	switch i.Phase {
	case pool.Building:
		if !i.Place.Sent {
			return doCreate
		}
		return doLook
	case pool.Undoing, pool.Deleting:
		switch {
		case i.Phase == pool.Deleting && i.Shelf != nil:
			return doDiscard
		case !i.Place.Sent:
			return doForget
		}
		return doDestroy
	case pool.Active:
		return planActive(i, h, lost)
	case pool.Aside:
		switch {
		case i.Want == pool.Absent && i.Shelf != nil:
			return doDiscard
		case i.Want == pool.Absent:
			return doForget
		}
	case pool.Reserved:
		if h != nil && h.Conditions.Has(pool.Draining) {
			return doEvict
		}
	case pool.Failed, pool.Waiting:
		if i.Want == pool.Absent { // it holds no place and has no machine
			return doForget
		}
	}
	return nothing
}

// planLost is plan for an instance whose host is off. What is not wanted to run waits for the host: its disks
// are there.
func planLost(i *pool.Instance) verb {
	switch {
	case i.Phase == pool.Deleting && i.Shelf != nil:
		return doDiscard
	case i.Phase == pool.Reserved: // nothing of it is there
		return doEvict
	case i.Phase == pool.Active && i.Want != pool.Running:
		return nothing
	}
	return doEvacuate
}

// planActive is plan for an instance that has a machine.
func planActive(i *pool.Instance, h *pool.HostRecord, lost bool) verb {
	switch {
	case i.Shelf != nil && i.Started && i.Fault == "" && i.Is != pool.Absent:
		return doDiscard
	case i.Shelf != nil && !i.Started && i.Want == pool.Shelved:
		return doReturn
	case i.Move != nil:
		if !i.Move.Cold && i.Is == pool.Hibernated && !lost { // by a call that was late: what is hibernated can be moved by nobody
			return doStart
		}
		if i.Move.Cold && i.Is != pool.Stopped && i.Is != pool.Absent && !lost {
			return doStop
		}
		return doMigrate
	case i.Is == pool.Absent && i.Shelving && i.Place.Doubt:
		return doSettle
	case i.Is == pool.Absent && i.Shelving:
		return doShelve // it may have been, without an answer
	case i.Is == pool.Absent, i.Fault != "":
		return nothing // a person decides; a later observation may find it again
	case i.Resize != nil:
		if !i.Resize.Cold && i.Is == pool.Hibernated { // by a call that was late
			return doStart
		}
		if i.Resize.Cold && i.Is != pool.Stopped {
			return doStop
		}
		return doResize
	case i.Want == pool.Shelved:
		switch {
		case i.Place.Doubt: // else what lands of it later could be started beside the one that it is made anew as
			return doSettle
		case i.Is != pool.Stopped:
			return doStop
		}
		return doShelve
	}
	if v := planPower(i); v != nothing {
		return v
	}
	switch {
	case i.Place.Doubt:
		return doSettle
	case h != nil && h.Conditions.Has(pool.Draining):
		return doEvict
	}
	return nothing
}

func planPower(i *pool.Instance) verb {
	switch {
	case i.Is != i.Want && (i.Is == pool.Stopped || i.Is == pool.Hibernated) && (i.Want == pool.Running || i.Want == pool.Suspended || i.Want == pool.Hibernated):
		return doStart // what is to be suspended has to run first
	case i.Is == pool.Suspended && (i.Want == pool.Running || i.Want == pool.Hibernated):
		return doResume
	case i.Is == pool.Running && i.Want == pool.Suspended:
		return doSuspend
	case i.Is == pool.Running && i.Want == pool.Hibernated:
		return doHibernate
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
	return settled(k.since, c, listed)
}

// settled reports whether nothing that was sent up to since can take effect any more at the moment listed, and
// if it can, from when on not. A zero time means: only when a person says so.
func settled(since time.Time, c hypervisor.Capabilities, listed time.Time) (bool, time.Time) {
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
