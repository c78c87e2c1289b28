package hypervisor

import (
	"errors"

	"github.com/berthage/berthage/pool"
)

// The kinds of error. A driver returns an *Error with one of them, or an error that unwraps to one of them,
// to the context's error, or to errors.ErrUnsupported. An error of no kind counts as ErrUnknown.
var (
	// ErrNotFound: the host, or the machine on it, does not exist. For a machine it is a fact, not a guess.
	ErrNotFound = pool.ErrNotFound
	// ErrExists: a machine of that id is there already.
	ErrExists = pool.ErrExists
	// ErrForeign: the machine is not ours, or not the one that was meant. It has not been touched.
	ErrForeign = errors.New("not ours")
	// ErrRefused: the hypervisor has said no, on this host and for now (full, a quota, an image that is
	// missing there). Nothing was done. Another host may do better.
	ErrRefused = errors.New("refused")
	// ErrFull: a cause of ErrRefused: the hypervisor has no room, whatever it has reported of its inventory.
	// Drivers of aggregates say so where they can tell it: the shape is not tried again there for a while.
	ErrFull = errors.New("full")
	// ErrInvalid: no host of this driver will ever do this. Nothing was done.
	ErrInvalid = pool.ErrInvalid
	// ErrWrongPower: the machine is not in the power state that the call needs. Nothing was done.
	ErrWrongPower = errors.New("wrong power state")
	// ErrUnavailable: the host could not be reached. Nothing was sent.
	ErrUnavailable = pool.ErrUnavailable
	// ErrUnknown: the call was sent and its outcome is not known; it may have been done or may still be.
	ErrUnknown = pool.ErrUnknown
)

// Error says which call on which machine failed, of what kind, and why.
type Error struct {
	Op      string // "create", "list machines"
	Host    pool.HostID
	Machine pool.MachineID // empty for calls on a host
	Kind    error          // one of the kinds above, or errors.ErrUnsupported
	Cause   error
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Op
	if e.Machine != "" {
		s += " " + string(e.Machine)
	}
	if e.Host != "" {
		s += " on " + string(e.Host)
	}
	if e.Kind != nil {
		s += ": " + e.Kind.Error()
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap makes errors.Is and errors.As see the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	return errs
}

// Nothing reports whether err says for certain that the call has done nothing and will do nothing.
func Nothing(err error) bool {
	if errors.Is(err, ErrUnknown) {
		return false
	}
	for _, k := range []error{ErrExists, ErrForeign, ErrRefused, ErrInvalid, ErrWrongPower, ErrUnavailable, ErrNotFound, errors.ErrUnsupported} {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}
