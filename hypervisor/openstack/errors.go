package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/berthage/berthage/hypervisor"
)

// errMalformed: an answer is not what the interface says.
var errMalformed = errors.New("the answer cannot be understood")

// answer is what a service has said to a request that it did not carry out.
type answer struct {
	code    int
	message string // made harmless, without secrets
	limited bool   // there have been too many requests
}

func (a *answer) Error() string {
	s := strconv.Itoa(a.code)
	if t := http.StatusText(a.code); t != "" {
		s += " " + t
	}
	if a.message != "" {
		s += ": " + a.message
	}
	return s
}

// answered sorts what gophercloud returns for a request, whose errors hold bodies as they came and addresses with
// whatever stands in them.
func (c *cloud) answered(err error) error {
	var code gophercloud.ErrUnexpectedResponseCode
	var login *gophercloud.ErrUnableToReauthenticate
	var address *url.Error
	var syntax *json.SyntaxError
	var own *hypervisor.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return err
	case errors.As(err, &login):
		return c.loginFailed(login.ErrReauth)
	case errors.As(err, &code):
		return &answer{
			code: code.Actual, message: c.harmless(said(code.Body)),
			limited: limited(&http.Response{StatusCode: code.Actual, Header: code.ResponseHeader}),
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNoAnswer), errors.Is(err, errTooLong):
		return err
	case errors.As(err, &address):
		return &lost{c.harmless(address.Err.Error())}
	case errors.As(err, &syntax):
		return errMalformed
	}
	return &lost{c.harmless(err.Error())}
}

// lost is a request that was not answered.
type lost struct{ why string }

func (l *lost) Error() string { return l.why }

// said returns the words of an error's body: Nova's and Neutron's one object with a message, Keystone's, or Placement's list of
// errors.
func said(body []byte) string {
	if page(body) {
		return ""
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return string(body)
	}
	if raw, ok := fields["errors"]; ok {
		var list []struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
			return list[0].Detail
		}
	}
	for _, raw := range fields {
		var e struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(raw, &e) == nil && e.Message != "" {
			return e.Message
		}
	}
	var message string
	if json.Unmarshal(fields["message"], &message) == nil {
		return message
	}
	return ""
}

// harmless makes a text that has come from elsewhere fit for logs and terminals, and takes secrets out of it: an error
// page may show the request with all its headers.
func (c *cloud) harmless(s string) string {
	for _, secret := range c.hidden() {
		s = strings.ReplaceAll(s, secret, redacted)
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// answeredWith reports whether err is an answer of one of the codes.
func answeredWith(err error, codes ...int) bool {
	var a *answer
	if !errors.As(err, &a) {
		return false
	}
	for _, code := range codes {
		if a.code == code {
			return true
		}
	}
	return false
}

// locked reports whether a request was refused because somebody has locked the server.
func locked(err error) bool {
	var a *answer
	return errors.As(err, &a) && a.code == http.StatusConflict && strings.Contains(a.message, " is locked")
}

// full reports whether Nova's words say that there is no room: no host, or no quota.
func full(words string) bool {
	w := strings.ToLower(words)
	return strings.Contains(w, "no valid host") || strings.Contains(w, "quota exceeded") || strings.Contains(w, "exceeds quota") ||
		strings.Contains(w, "insufficient compute resources")
}

// refusal is the kind of an answer that says no. That of a quota is told from that of a policy by the words only.
func refusal(a *answer) error {
	switch {
	case a.limited, a.code < 400, a.code == http.StatusUnauthorized, a.code == http.StatusRequestTimeout:
		return hypervisor.ErrUnavailable
	case a.code == http.StatusBadRequest && strings.Contains(strings.ToLower(a.message), "image"):
		return hypervisor.ErrRefused // it may be there tomorrow, or elsewhere
	case a.code == http.StatusBadRequest, a.code == http.StatusRequestEntityTooLarge:
		return hypervisor.ErrInvalid
	case a.code == http.StatusNotAcceptable, a.code == http.StatusNotImplemented: // a release before Train, a virt driver without it
		return errors.ErrUnsupported
	}
	return hypervisor.ErrRefused
}

// refuse is an error of this driver's own.
func refuse(kind error, cause error) error { return &hypervisor.Error{Kind: kind, Cause: cause} }

// wrap completes the error of a call on r.
func wrap(op string, r hypervisor.Ref, c *call, err error) error {
	if err == nil {
		return nil
	}
	out := &hypervisor.Error{Op: op, Host: r.Host, Machine: r.Machine, Cause: err}
	changed, open := c.unsettled()
	var own *hypervisor.Error
	var no *answer
	switch {
	case errors.As(err, &own):
		out.Kind = own.Kind
		if err == error(own) {
			out.Cause = own.Cause
		}
	case open:
		out.Kind = hypervisor.ErrUnknown
	case errors.As(err, &no) && !changed && no.code < 500:
		out.Kind = refusal(no)
		if full(no.message) {
			out.Cause = fmt.Errorf("%w: %w", hypervisor.ErrFull, err)
		}
	case changed:
		out.Kind = hypervisor.ErrUnknown // a part has been done
	case errors.Is(err, hypervisor.ErrInvalid):
		out.Kind = hypervisor.ErrInvalid
	default:
		out.Kind = hypervisor.ErrUnavailable
	}
	return out
}
