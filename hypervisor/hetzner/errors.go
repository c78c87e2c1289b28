package hetzner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/hetznercloud/hcloud-go/v2/hcloud"

	"github.com/berthage/berthage/hypervisor"
)

// errShort: a list of several pages that did not hold together.
var errShort = errors.New("the list changed too often while it was read")

// actionError is an action that has ended in an error.
type actionError struct {
	command string
	code    hcloud.ErrorCode
	message string
}

func (e *actionError) Error() string {
	return e.command + " ended in an error: " + clean(e.message) + " (" + clean(string(e.code)) + ")"
}

// apiError is an answer that says no, made harmless for logs and terminals. It keeps what was sent to itself.
type apiError struct{ said hcloud.Error }

func (e *apiError) Error() string {
	s := clean(e.said.Message) + " (" + clean(string(e.said.Code)) + ")"
	if d, ok := e.said.Details.(hcloud.ErrorDetailsInvalidInput); ok {
		for _, f := range d.Fields { // names only: messages may quote what was sent
			s += ", " + clean(f.Name)
		}
	}
	return s
}

func (e *apiError) Unwrap() error { return e.said }

// clean makes a text of the service's printable, and short.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// said reports whether err is the service's answer with one of the codes.
func said(err error, codes ...hcloud.ErrorCode) bool { return hcloud.IsError(err, codes...) }

// codeKind gives the kind of a code, and whether the answer leaves open what was done.
func codeKind(code hcloud.ErrorCode) (kind error, open bool) {
	switch code {
	case hcloud.ErrorCodeNotFound:
		return hypervisor.ErrNotFound, false
	case hcloud.ErrorCodeUniquenessError:
		return hypervisor.ErrExists, false
	case hcloud.ErrorCodeInvalidInput, hcloud.ErrorCodeJSONError:
		return hypervisor.ErrInvalid, false
	case hcloud.ErrorCodeServerNotStopped:
		return hypervisor.ErrWrongPower, false
	case hcloud.ErrorCodeResourceUnavailable, hcloud.ErrorCodePlacementError, hcloud.ErrorCodeResourceLimitExceeded:
		return hypervisor.ErrFull, false
	case hcloud.ErrorCodeRateLimitExceeded, hcloud.ErrorCodeMaintenance, hcloud.ErrorCodeUnauthorized:
		return hypervisor.ErrUnavailable, false
	case hcloud.ErrorCodeServiceError, hcloud.ErrorCodeUnknownError, hcloud.ErrorCodeServerError, hcloud.ErrorCodeBadGateway,
		hcloud.ErrorCodeTimeout, "unavailable", "":
		return hypervisor.ErrUnavailable, true
	}
	return hypervisor.ErrRefused, false
}

// verdict sorts an error of the client: its kind, and whether it leaves open what a request has done that changes
// something.
func verdict(err error) (kind error, open bool) {
	var own *hypervisor.Error
	var lost *lostError
	var api hcloud.Error
	var action *actionError
	switch {
	case errors.As(err, &own):
		return own.Kind, errors.Is(own.Kind, hypervisor.ErrUnknown)
	case errors.As(err, &lost):
		return hypervisor.ErrUnavailable, lost.sent
	case errors.As(err, &api):
		if r := api.Response(); r != nil && r.Response != nil && r.StatusCode >= 500 {
			kind, _ := codeKind(api.Code)
			return kind, kind != hypervisor.ErrFull
		}
		return codeKind(api.Code)
	case errors.As(err, &action):
		if kind, _ := codeKind(action.code); kind == hypervisor.ErrFull {
			return kind, false
		}
		return hypervisor.ErrRefused, false
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return hypervisor.ErrUnavailable, false
	case errors.Is(err, hypervisor.ErrInvalid):
		return hypervisor.ErrInvalid, false
	}
	return hypervisor.ErrUnavailable, true
}

// refuse is an error of this driver's own.
func refuse(kind error, cause error) error { return &hypervisor.Error{Kind: kind, Cause: cause} }

// remains is the error of a call that failed, and failed again when what it had done was to be undone.
func remains(failed, undoing error) error {
	return refuse(hypervisor.ErrUnknown, fmt.Errorf("%w; and it could not be undone: %w", failed, undoing))
}

// refusef is refuse with words.
func refusef(kind error, format string, args ...any) error {
	return refuse(kind, fmt.Errorf(format, args...))
}

// wrap completes the error of a call on r, which has gone through harmless. changed says that a request that changes something may have been carried
// out, so that nobody can say that nothing was done.
func wrap(op string, r hypervisor.Ref, changed bool, err error) error {
	if err == nil {
		return nil
	}
	var own *hypervisor.Error
	kind, _ := verdict(err)
	out := &hypervisor.Error{Op: op, Host: r.Host, Machine: r.Machine, Kind: kind, Cause: err}
	switch {
	case errors.As(err, &own):
		if err == error(own) {
			out.Cause = own.Cause
		}
	case changed:
		out.Kind = hypervisor.ErrUnknown
	case kind == hypervisor.ErrFull:
		out.Kind = hypervisor.ErrRefused
		out.Cause = fmt.Errorf("%w: %w", hypervisor.ErrFull, out.Cause)
	}
	return out
}

// harmless returns an error of the client without what its text could carry into a log: control characters, the
// token, or what was sent.
func (d *Driver) harmless(err error) error {
	var lost *lostError
	var api hcloud.Error
	var clean *apiError
	switch {
	case errors.As(err, &clean):
		return err
	case errors.As(err, &lost):
		return lost // without the URL
	case errors.As(err, &api):
		api.Message = strings.ReplaceAll(api.Message, d.config.Token, "(token)")
		return &apiError{api}
	}
	return err
}
