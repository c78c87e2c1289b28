package pool

import (
	"errors"
	"strconv"
	"strings"
)

// The kinds of error. Test for them with errors.Is; an *Error carries one of them with its circumstances.
var (
	// ErrInvalid: the input can never be accepted as it is.
	ErrInvalid = errors.New("invalid")
	// ErrOverflow: a size or a sum of sizes exceeds what an int64 holds.
	ErrOverflow = errors.New("overflow")
	// ErrNotFound: the named thing does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: a different thing of that name exists already.
	ErrExists = errors.New("already exists")
	// ErrInUse: the thing cannot be removed or changed while something else depends on it.
	ErrInUse = errors.New("in use")
	// ErrWrongState: the thing exists but is in a state that does not allow the command.
	ErrWrongState = errors.New("not possible in this state")
	// ErrExpired: the reservation was not committed in time, and its place has been given back.
	ErrExpired = errors.New("expired")
	// ErrReleased: the reservation was released before it was committed.
	ErrReleased = errors.New("released")
	// ErrCommitted: the reservation has been committed, so that it cannot be released any more.
	ErrCommitted = errors.New("committed already")
	// ErrNoRoom: no host can take the request; scheduler.Refusal says why, for every host.
	ErrNoRoom = errors.New("no host fits")
	// ErrOverQuota: the project's quota does not allow the request; quota.Exceeded says by how much.
	ErrOverQuota = errors.New("over quota")
	// ErrConflict: an Append named a previous revision that is not the head. Read, decide again, append again.
	ErrConflict = errors.New("revision conflict")
	// ErrUnavailable: the store or hypervisor could not be reached and has done nothing.
	ErrUnavailable = errors.New("unavailable")
	// ErrUnknown: the outcome is not known; what was asked may have happened, or may still happen.
	// Append the same batch at the same revision again to settle it. Reading alone never settles it.
	ErrUnknown = errors.New("outcome unknown")
	// ErrCorrupt: what a store holds is not what was stored: a gap, or an event that does not match its hash.
	ErrCorrupt = errors.New("corrupt")
	// ErrCompacted: the history asked for has moved to the archive; start from the Checkpoint.
	ErrCompacted = errors.New("compacted")
	// ErrUnknownKind: an event's kind, or its version, is not one that this program can fold.
	ErrUnknownKind = errors.New("unknown kind of event")
	// ErrStale: this program cannot follow the ledger (see ErrUnknownKind): it serves reads only.
	ErrStale = errors.New("stale")
	// ErrNotLeader: the call can be carried out only by the holder of the lease, which could not be reached.
	ErrNotLeader = errors.New("not the leaseholder")
)

// Error says what was tried, what was wrong, where, and what would be right. It unwraps to its Kind and to
// its Cause. Values in it are quoted and shortened when printed, so that hostile input stays harmless in
// logs; secrets must not be put into it.
type Error struct {
	Op    string // what was tried: "launch web-1"
	Kind  error  // one of the kinds above, or of another package
	Field string // where: "spec.disks[1].size"; empty when the thing as a whole is meant
	Value string // the offending value; empty when it is absent or secret
	Want  string // what would be right: "1 GiB to 1 TiB"
	Cause error  // the underlying error, if any
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteByte(' ')
	}
	if e.Value != "" {
		b.WriteString(Quote(e.Value))
		b.WriteByte(' ')
	}
	if e.Kind != nil {
		b.WriteString(e.Kind.Error())
	} else {
		b.WriteString("failed")
	}
	if e.Want != "" {
		b.WriteString(": ")
		b.WriteString(e.Want)
	}
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	return b.String()
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

// Quote returns s quoted for a message or a log line: control and non-ASCII characters escaped, and no
// longer than about 80 bytes.
func Quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

func invalid(field, value, want string) error {
	return &Error{Kind: ErrInvalid, Field: field, Value: value, Want: want}
}

// InField returns err with its field prefixed by prefix, so that a nested check says where it stands.
// Errors that are not an *Error are wrapped as invalid.
func InField(prefix string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Kind: ErrInvalid, Field: prefix, Cause: err}
	}
	c := *e
	switch {
	case c.Field == "":
		c.Field = prefix
	case strings.HasPrefix(c.Field, "["):
		c.Field = prefix + c.Field
	default:
		c.Field = prefix + "." + c.Field
	}
	return &c
}
