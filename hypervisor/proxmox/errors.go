package proxmox

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/berthage/berthage/hypervisor"
)

// taskError is a task that has failed.
type taskError struct{ status string }

func (e *taskError) Error() string { return harmless(e.status) }

// unavailable reports whether a status comes from what stands before the API and could not reach it, or has waited in vain.
func unavailable(status int) bool {
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusRequestTimeout, 595, 596, 597, 598, 599:
		return true
	}
	return status >= 300 && status < 400
}

// fact is what an answer says, whichever way: nearly everything that goes wrong has the status 500 and is told apart by its text.
type fact int

const (
	other      fact = iota
	noGuest         // there is no such guest on the node
	noAddress       // the node has no address; that it is one of the cluster's is known before it is asked
	taken           // the VMID is
	notRunning      // the guest does not run
	isRunning       // it runs
	locked          // something else is being done to the guest
	nameTaken       // the snapshot's name is
	noSnapshot      // there is no such snapshot
)

// factOf reads a text. The texts are those of Proxmox VE 9.2, as they were recorded.
func factOf(text string) fact {
	has := func(parts ...string) bool {
		for _, p := range parts {
			at := strings.Index(text, p)
			if at < 0 {
				return false
			}
			text = text[at+len(p):]
		}
		return true
	}
	for _, f := range []struct {
		fact  fact
		parts []string
	}{
		{noGuest, []string{"Configuration file 'nodes/", ".conf' does not exist"}},
		{noGuest, []string{"unable to find configuration file for VM "}},
		{noAddress, []string{"hostname lookup '", "' failed"}},
		{taken, []string{"unable to create VM ", "config file already exists"}},
		{taken, []string{"unable to create VM ", " already exists on node '"}},
		{notRunning, []string{"VM ", " not running"}},
		{isRunning, []string{"VM ", " is running - destroy failed"}},
		{isRunning, []string{"VM ", " already running"}},
		{locked, []string{"VM is locked ("}},
		{locked, []string{"can't lock file '"}},
		{nameTaken, []string{"snapshot name '", "' already used"}},
		{noSnapshot, []string{"snapshot '", "' does not exist"}},
	} {
		t := text
		if has(f.parts...) {
			return f.fact
		}
		text = t
	}
	return other
}

// says reports whether err is an answer, or a task, that states the fact.
func says(err error, f fact) bool {
	var no *answerError
	var failed *taskError
	switch {
	case errors.As(err, &no):
		return no.status == http.StatusInternalServerError && factOf(no.text) == f
	case errors.As(err, &failed):
		return factOf(failed.status) == f
	}
	return false
}

// kindOf gives the kind of an error by which a call has failed. What is not known better is a refusal: the server undoes what it
// has begun before it says no.
func kindOf(err error, changes bool) error {
	open := hypervisor.ErrUnavailable
	if changes {
		open = hypervisor.ErrUnknown
	}
	var own *hypervisor.Error
	var lost *lostError
	var no *answerError
	var failed *taskError
	switch {
	case errors.As(err, &own):
		return own.Kind
	case errors.As(err, &lost):
		if !lost.sent {
			return hypervisor.ErrUnavailable
		}
		return open
	case errors.As(err, &failed):
	case errors.As(err, &no):
		switch {
		case unavailable(no.status):
			return open
		case no.status == http.StatusUnauthorized:
			return hypervisor.ErrUnavailable
		case no.status == http.StatusNotImplemented:
			return errors.ErrUnsupported
		case no.status == http.StatusBadRequest:
			return hypervisor.ErrInvalid
		case no.status == http.StatusNotFound || no.status > 500:
			return open // not one of the API's
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return open
	case errors.Is(err, hypervisor.ErrInvalid):
		return hypervisor.ErrInvalid
	default:
		return hypervisor.ErrUnknown
	}
	for f, kind := range map[fact]error{
		noGuest: hypervisor.ErrNotFound, noAddress: hypervisor.ErrUnavailable, taken: hypervisor.ErrExists, notRunning: hypervisor.ErrWrongPower,
		isRunning: hypervisor.ErrWrongPower, nameTaken: hypervisor.ErrExists,
	} {
		if says(err, f) {
			return kind
		}
	}
	return hypervisor.ErrRefused
}

// refuse is an error of this driver's own.
func refuse(kind error, cause error) error { return &hypervisor.Error{Kind: kind, Cause: cause} }

// wrap completes the error of a call on r. changed says that a request that changes something may have been carried out:
// then no error says that the call has done nothing, unless it has been undone.
func wrap(op string, r hypervisor.Ref, changed bool, err error) error {
	if err == nil {
		return nil
	}
	out := &hypervisor.Error{Op: op, Host: r.Host, Machine: r.Machine, Kind: kindOf(err, changed), Cause: err}
	if own, ok := err.(*hypervisor.Error); ok {
		out.Cause = own.Cause
	}
	if changed && out.Kind == hypervisor.ErrUnavailable {
		out.Kind = hypervisor.ErrUnknown
	}
	return out
}
