package libvirt

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"unicode"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
)

// errNoAnswer: the daemon has not answered in time.
var errNoAnswer = errors.New("no answer from the daemon in time")

// errLost: the connection is gone.
var errLost = errors.New("the connection to the daemon is lost")

// errClosed: the driver has been closed.
var errClosed = errors.New("the driver is closed")

// transportError is a request that was not answered.
type transportError struct {
	sent  bool  // it may have reached the daemon
	lost  bool  // the connection is gone; on a new one it might succeed
	cause error // of the context, errLost, errNoAnswer, or from the network
	ended <-chan struct{}
}

func (e *transportError) Error() string { return e.cause.Error() }
func (e *transportError) Unwrap() error { return e.cause }

// serverError is an answer that says no. Messages come from the host, with QEMU's output in them, so they are
// made harmless for logs and terminals.
type serverError struct{ err lv.Error }

func (e *serverError) Error() string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(e.err.Message))
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

func (e *serverError) Unwrap() error { return e.err }

// answered sorts what the client library returns for a request.
func answered(err error) error {
	var said lv.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &said):
		return &serverError{said}
	case errors.Is(err, lv.ErrUnsupported): // the daemon is too old to know the request
		return &serverError{lv.Error{Code: uint32(lv.ErrNoSupport), Message: "the daemon does not know the request"}}
	case errors.Is(err, syscall.EINVAL): // checked before sending
		return &transportError{lost: true, cause: errLost}
	case errors.Is(err, lv.ErrInterrupted):
		return &transportError{sent: true, lost: true, cause: errLost}
	}
	return &transportError{sent: true, lost: true, cause: err}
}

// said reports whether err is the daemon's answer with one of the codes.
func said(err error, codes ...lv.ErrorNumber) bool {
	var s *serverError
	if !errors.As(err, &s) {
		return false
	}
	for _, c := range codes {
		if s.err.Code == uint32(c) {
			return true
		}
	}
	return false
}

// kindOf gives the kind of an answer that says no. libvirt undoes what a request has begun before it says no, so
// what is not known better is a refusal.
func kindOf(e *serverError) error {
	switch lv.ErrorNumber(e.err.Code) {
	case lv.ErrNoDomain:
		return hypervisor.ErrNotFound
	case lv.ErrDomExist:
		return hypervisor.ErrExists
	case lv.ErrOperationInvalid:
		return hypervisor.ErrWrongPower
	case lv.ErrNoSupport, lv.ErrOperationUnsupported:
		return errors.ErrUnsupported
	case lv.ErrXMLError, lv.ErrXMLDetail, lv.ErrXMLInvalidSchema, lv.ErrInvalidArg:
		return hypervisor.ErrInvalid
	case lv.ErrOperationTimeout, lv.ErrOperationAborted, lv.ErrRPC:
		return hypervisor.ErrUnknown
	}
	return hypervisor.ErrRefused
}

// refuse is an error of this driver's own.
func refuse(kind error, cause error) error { return &hypervisor.Error{Kind: kind, Cause: cause} }

// wrap completes the error of a call on r. changed says that a request that changes something may have been
// sent.
func wrap(op string, r hypervisor.Ref, changed bool, err error) error {
	if err == nil {
		return nil
	}
	out := &hypervisor.Error{Op: op, Host: r.Host, Machine: r.Machine, Cause: err}
	var own *hypervisor.Error
	var lost *transportError
	var said *serverError
	switch {
	case errors.As(err, &own):
		out.Kind = own.Kind
		if err == error(own) {
			out.Cause = own.Cause
		}
	case errors.As(err, &lost):
		out.Kind = hypervisor.ErrUnavailable
		if changed {
			out.Kind = hypervisor.ErrUnknown
		}
	case errors.As(err, &said):
		out.Kind = kindOf(said)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		out.Kind = hypervisor.ErrUnavailable
		if changed {
			out.Kind = hypervisor.ErrUnknown
		}
	case errors.Is(err, hypervisor.ErrInvalid):
		out.Kind = hypervisor.ErrInvalid
	default:
		out.Kind = hypervisor.ErrUnknown
	}
	return out
}
