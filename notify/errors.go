package notify

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// What is to be done about a message that did not arrive. An *Error is one of these.
var (
	// ErrTemporary: send the same message again, not before RetryAfter has passed.
	ErrTemporary = errors.New("not delivered for now")
	// ErrPermanent: the receiver will never take this message.
	ErrPermanent = errors.New("refused for good")
	// ErrBroken: the receiver takes nothing until somebody has repaired it: credentials are refused, or its address is not allowed.
	ErrBroken = errors.New("receiver broken")
	// ErrForbidden: the address is one that a Guard does not let through. An *Error that says so is also ErrBroken.
	ErrForbidden = errors.New("address not allowed")
)

// Error is a message that was not delivered, or not known to be. It has no secret in it.
type Error struct {
	Op         string        // what was tried: "slack: post"
	Kind       error         // ErrTemporary, ErrPermanent or ErrBroken
	Status     int           // of the answer; 0: there was none
	RetryAfter time.Duration // as the receiver asks; 0: it does not say
	Maybe      bool          // the request went out and no answer came: the message may have arrived all the same
	Detail     string        // what the receiver said, made harmless and short
	Cause      error         // an error that can be told from others: of the context, or ErrForbidden
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op + ": ")
	if e.Kind != nil {
		b.WriteString(e.Kind.Error())
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", again in %v", e.RetryAfter.Round(time.Second))
	}
	if e.Maybe {
		b.WriteString(", it may have arrived")
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	if e.Cause != nil {
		b.WriteString(": " + e.Cause.Error())
	}
	return b.String()
}

// Unwrap makes errors.Is and errors.As see the kind and the cause.
func (e *Error) Unwrap() []error {
	var out []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

// Permanent reports whether sending the same message again is of no use: err is ErrPermanent or ErrBroken, or the message
// has failed [Message.Check]. Errors of any other origin count as temporary.
func Permanent(err error) bool {
	return errors.Is(err, ErrPermanent) || errors.Is(err, ErrBroken) || errors.Is(err, pool.ErrInvalid)
}

// RetryAfter returns how long the receiver asks to be left alone; 0: it does not say.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// kindOf says what a status means: 401 and 403 that the receiver is broken; 408, 425, 429 and all from 500 that the
// request may be repeated; every other, redirects included, that it may not.
func kindOf(status int) error {
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return ErrBroken
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests || status >= 500:
		return ErrTemporary
	}
	return ErrPermanent
}
