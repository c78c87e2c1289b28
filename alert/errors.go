package alert

import (
	"errors"
	"strconv"
	"strings"
)

// The kinds of error. Test for them with errors.Is; an *Error carries one of them with its circumstances.
var (
	// ErrInvalid: the input can never be accepted as it is.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: the named thing does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: a thing of that name exists already.
	ErrExists = errors.New("already exists")
	// ErrDuplicate: two series of one rule give the same alert.
	ErrDuplicate = errors.New("two series give the same alert")
	// ErrLimit: there is more than there may be: alerts of a rule, series, samples.
	ErrLimit = errors.New("too many")
	// ErrUnavailable: a source could not be asked. Nothing is known, so nothing changes.
	ErrUnavailable = errors.New("unavailable")
)

// Error says what was wrong, where, and what would be right. It unwraps to its Kind and its Cause. Values in it are
// quoted and shortened when printed, so that hostile input stays harmless in logs.
type Error struct {
	Op    string // what was tried: "rule HighCPU"
	Kind  error  // one of the kinds above
	Field string // where: "matchers[1].value"; empty when the thing as a whole is meant
	Value string // the offending value; empty when it is absent or secret
	Want  string // what would be right: "a name of letters, digits and underscores"
	Cause error  // the underlying error, if any
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + " ")
	}
	if e.Value != "" {
		b.WriteString(quote(e.Value) + " ")
	}
	if e.Kind != nil {
		b.WriteString(e.Kind.Error())
	} else {
		b.WriteString("failed")
	}
	if e.Want != "" {
		b.WriteString(": " + e.Want)
	}
	if e.Cause != nil {
		b.WriteString(": " + e.Cause.Error())
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

func invalid(field, value, want string) error {
	return &Error{Kind: ErrInvalid, Field: field, Value: value, Want: want}
}

// quote is pool.Quote, which this package does not import.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
