package detect

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrInvalid is the kind of every error of this package: the input can never be accepted as it is.
var ErrInvalid = errors.New("invalid")

// Error says what was wrong, where, and what would be right. It unwraps to its Kind and its Cause.
type Error struct {
	Op    string // the method: "ewma"
	Kind  error  // ErrInvalid
	Field string // the parameter, or "state"
	Value string // the offending value, quoted when printed; empty when it is absent
	Want  string // what would be right
	Cause error  // the underlying error, if any
}

// Error implements error.
func (e *Error) Error() string {
	parts := []string{}
	for _, s := range []string{e.Field, quote(e.Value), e.Kind.Error()} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	s := e.Op + ": " + strings.Join(parts, " ") + ": " + e.Want
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap makes errors.Is and errors.As see the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause != nil {
		return []error{e.Kind, e.Cause}
	}
	return []error{e.Kind}
}

// quote is pool.Quote, which this package does not import, but for the empty string.
func quote(s string) string {
	const most = 64
	switch {
	case s == "":
		return ""
	case len(s) > most:
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// checks gathers the first thing that is wrong with the parameters of a method.
type checks struct {
	op  string
	err error
}

func (c *checks) fail(field, value, want string) {
	if c.err == nil {
		c.err = &Error{Op: c.op, Kind: ErrInvalid, Field: field, Value: value, Want: want}
	}
}

func (c *checks) number(field string, v, least, most float64) {
	if !(v >= least && v <= most) {
		c.fail(field, number(v), "a number from "+number(least)+" to "+number(most))
	}
}

func (c *checks) count(field string, v, least, most int) {
	if v < least || v > most {
		c.fail(field, strconv.Itoa(v), "from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
}

func (c *checks) span(field string, v, least, most time.Duration) {
	if v < least || v > most {
		c.fail(field, v.String(), "from "+least.String()+" to "+most.String())
	}
}

// share is for what is strictly between zero and one.
func (c *checks) share(field string, v float64) {
	if !(v > 0 && v < 1) {
		c.fail(field, number(v), "a number between 0 and 1")
	}
}

// band checks the two parameters that nearly all methods have.
func (c *checks) band(width, least float64) {
	c.number("width", width, math.SmallestNonzeroFloat64, 1000)
	c.number("least", least, 0, MaxValue)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
