package delivery

import (
	"errors"
	"time"

	"github.com/berthage/berthage/notify"
)

// Item is a message that waits. An item that is listed with other content, another Queued above all, is another item: it is sent even if
// one with the same key has been.
type Item struct {
	Key      string    // of the message; no other item has it
	Receiver string    // its name
	Order    string    // items of the same Receiver and Order are sent one after another: the incident
	Queued   time.Time // since when it waits, for its age; zero: it never gets too old
}

func (i Item) same(j Item) bool {
	return i.Key == j.Key && i.Receiver == j.Receiver && i.Order == j.Order && i.Queued.Equal(j.Queued)
}

// Status is what has become of an item.
type Status string

// All of them.
const (
	Waiting   Status = "waiting"   // for its turn, or to be tried again
	Delivered Status = "delivered" // its receiver has taken it
	Dead      Status = "dead"      // it is not tried any more
)

// Result is what has become of an item.
type Result struct {
	Item
	Status Status
	At     time.Time // since when; of one that waits, until when at least
	Reason string    // why it waits or is dead: at most 300 characters, without secrets if the notifier's errors are
}

// Attempt is one attempt to send an item.
type Attempt struct {
	Item
	At     time.Time // when it began
	Took   time.Duration
	Status Status // what came of it; Waiting: it failed and will be repeated
	Error  string // as Result.Reason
}

// Progress is how far an item has come.
type Progress struct {
	Status   Status    // what is not Waiting has yet to be written down
	Attempts int       // that have ended since its receiver was Reset
	InFlight bool      // one is under way
	NextTry  time.Time // not before; zero while one is under way, and while the item waits for another one of its Order
	Error    string    // of the last attempt, if that failed
}

// State is what is known of a receiver.
type State string

// All of them.
const (
	Unknown State = "unknown" // nothing has been sent yet
	OK      State = "ok"      // it has taken the last one
	Failing State = "failing" // it has not
	Broken  State = "broken"  // it takes nothing until somebody has repaired it: see notify.ErrBroken
)

// Health is how a receiver is.
type Health struct {
	Receiver  string
	State     State
	Failures  int       // in a row that were not for good; from Policy.Failures on it gets one item at a time, after a pause
	Error     string    // of the last attempt that failed
	Failed    time.Time // when that was; zero: never
	Delivered time.Time // when it last took an item; zero: never
	NextTry   time.Time // when it will be sent something, not before; zero: nothing waits, or only what is under way
	Waiting   int       // items that have not arrived yet
	InFlight  int       // of these, how many are under way
}

// forGood reports that an error says of an item, and not of its receiver, that it will never be taken. One of several errors that
// are joined may say so of a part only; the others then keep the item from being lost.
func forGood(err error) bool {
	return notify.Permanent(err) && !errors.Is(err, notify.ErrBroken) && !errors.Is(err, notify.ErrTemporary)
}

// text is an error in one line of at most 300 characters.
func text(err error) string {
	if err == nil {
		return ""
	}
	return notify.Cut(notify.Line(err.Error()), 300)
}
