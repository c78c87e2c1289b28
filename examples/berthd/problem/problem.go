// Package problem is how berthd says no: RFC 9457 problem details with stable type URIs, and the one place
// where the SDK's kinds of error become HTTP status codes.
//
// Every type URI is a path on the daemon itself (/problems/no-room), where a page explains it; clients
// compare the path. Extension members carry what a program needs to react: which field, what would be right,
// the lines of the quota, the reason of every host.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// Problem is one answer that is not the one hoped for. It implements huma.StatusError and
// huma.HeadersError, so that handlers return it as their error.
type Problem struct {
	Type      string    `json:"type" format:"uri-reference" doc:"Which kind of problem: a path of this daemon that explains it" example:"/problems/no-room"`
	Title     string    `json:"title" doc:"The kind in a few words; the same for every occurrence" example:"No host fits"`
	Status    int       `json:"status" doc:"HTTP status code" example:"409"`
	Detail    string    `json:"detail,omitempty" doc:"What was wrong this time" example:"launch \"web-1\": no host fits"`
	RequestID string    `json:"request_id,omitempty" doc:"Names this request in the daemon's log and in the events that it caused"`
	Field     string    `json:"field,omitempty" doc:"Where it was wrong" example:"spec.disks[1].size"`
	Value     string    `json:"value,omitempty" doc:"The offending value, quoted and shortened"`
	Want      string    `json:"want,omitempty" doc:"What would be right" example:"more than zero bytes"`
	Errors    []Invalid `json:"errors,omitempty" doc:"Every place where the request does not follow the schema"`
	Quota     []Line    `json:"quota,omitempty" doc:"Every class of which the project would take too much"`
	Placement *Refusal  `json:"placement,omitempty" doc:"Why each host was refused, and the nearest change that would help"`

	RetryAfter int   `json:"-"` // seconds; 0: no such header
	Cause      error `json:"-"` // for the log
}

// Invalid is one place where a request does not follow the schema.
type Invalid struct {
	Field string `json:"field" doc:"Where: body.spec.disks[0].size" example:"body.spec.disks[0].size"`
	Want  string `json:"want" doc:"What would be right" example:"expected number >= 1"`
}

// Line is a class of a project's quota.
type Line struct {
	Class   string `json:"class" doc:"Class of resource" example:"memory"`
	Limited bool   `json:"limited" doc:"Whether there is a limit"`
	Limit   int64  `json:"limit" doc:"The limit in the unit of the class; 0 unless limited"`
	Used    int64  `json:"used" doc:"What the project's instances take"`
	Free    int64  `json:"free" doc:"Limit less used, below zero when over it; 0 unless limited"`
	Asked   int64  `json:"asked,omitempty" doc:"What this request asked for"`
}

// Lines converts the lines of a quota.
func Lines(in []quota.Line) []Line {
	out := make([]Line, len(in))
	for i, l := range in {
		out[i] = Line{Class: string(l.Class), Limited: l.Limited, Limit: l.Limit, Used: l.Used, Free: l.Free, Asked: l.Asked}
	}
	return out
}

// Error implements error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Unwrap returns what the problem was made from.
func (p *Problem) Unwrap() error { return p.Cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	return h
}

// Write answers a request that no huma handler has seen.
func (p *Problem) Write(w http.ResponseWriter) {
	for k, v := range p.GetHeaders() {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(p) // a client that is gone needs no answer
}

// retryAfter is what a client is told to wait when the trouble is expected to pass by itself, in seconds.
const retryAfter = 2

// From turns an error of the SDK into a Problem. What it does not know is an internal error. The causes of
// troubles of the daemon itself, which may tell of its inside, are for the log and not for the client.
func From(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var refused *auth.Refusal
	if errors.As(err, &refused) {
		return ofRefusal(refused)
	}
	p = kindOf(err).New(err.Error())
	p.Cause = err
	switch p.Status {
	case http.StatusInternalServerError:
		p.Detail = "see the daemon's log under this request's id"
		return p
	case http.StatusServiceUnavailable:
		p.RetryAfter = retryAfter
		p.Detail = outline(err)
		return p
	}
	var e *pool.Error
	if errors.As(err, &e) {
		p.Field, p.Want = e.Field, e.Want
		if e.Value != "" {
			p.Value = pool.Quote(e.Value)
		}
	}
	var x *quota.Exceeded
	if errors.As(err, &x) {
		p.Quota = Lines(x.Lines)
	}
	var r *scheduler.Refusal
	if errors.As(err, &r) {
		p.Placement = NewRefusal(r.Explanation)
	}
	return p
}

// reasons are the kinds of problem of what somebody may not do.
func reasons(r auth.Reason) Kind {
	switch r {
	case auth.NotByRole:
		return NotByRole
	case auth.NotOwn:
		return NotOwn
	case auth.OutOfScope:
		return OutOfScope
	case auth.OutOfLimits:
		return OutOfLimits
	case auth.NotByToken:
		return NotByToken
	case auth.WouldLockOut:
		return LocksOut
	}
	return Forbidden
}

// ofRefusal is From for what package auth refuses. What is hidden is not there.
func ofRefusal(r *auth.Refusal) (p *Problem) {
	switch {
	case r.Kind == auth.ErrUnauthenticated:
		p = Unauthorized.New(string(r.Reason))
	case r.Kind == auth.ErrThrottled:
		p = Throttled.New(string(r.Reason))
		p.RetryAfter = int((r.Wait + time.Second - 1) / time.Second)
	case r.Hidden:
		p = NotFound.New("there is no such thing")
	default:
		p = reasons(r.Reason).New(r.Error())
	}
	p.Cause = r
	return p
}

// outline is an error's text without its cause.
func outline(err error) string {
	var p *pool.Error
	var h *hypervisor.Error
	switch {
	case errors.As(err, &h):
		c := *h
		c.Cause = nil
		return c.Error()
	case errors.As(err, &p):
		c := *p
		c.Cause = nil
		return c.Error()
	}
	return ""
}

// OfBody is From for a command whose body names other things: one that does not exist makes the body wrong,
// not the URL.
func OfBody(err error) *Problem {
	p := From(err)
	if p.Status == http.StatusNotFound {
		u := UnknownReference.New(p.Detail)
		u.Field, u.Value, u.Want = p.Field, p.Value, "the name of one that exists"
		return u
	}
	return p
}

// OfBodyAt is OfBody for a command whose path names one thing, by the field that it has in errors, and whose
// body names others.
func OfBodyAt(field string, err error) *Problem {
	if p := From(err); p.Field == field {
		return p
	}
	return OfBody(err)
}

// kindOf is the mapping. The order matters where an error has several kinds: the first that fits tells the
// client most.
func kindOf(err error) Kind {
	var e *pool.Error
	field := ""
	if errors.As(err, &e) {
		field = e.Field
	}
	for _, m := range []struct {
		is   error
		kind Kind
	}{
		{pool.ErrOverQuota, OverQuota},
		{pool.ErrNoRoom, NoRoom},
		{pool.ErrExpired, Expired},
		{pool.ErrReleased, Released},
		{pool.ErrCommitted, Committed},
		{pool.ErrStale, Stale},
		{pool.ErrUnknown, OutcomeUnknown},
		{pool.ErrOverflow, Overflow},
		{pool.ErrInvalid, InvalidValue},
		{pool.ErrNotFound, NotFound},
		{pool.ErrInUse, InUse},
		{pool.ErrWrongState, WrongState},
		{hypervisor.ErrWrongPower, WrongState},
		{errors.ErrUnsupported, Unsupported},
		{pool.ErrCompacted, Compacted},
		{pool.ErrConflict, Unavailable},
		{pool.ErrNotLeader, Unavailable},
		{pool.ErrUnavailable, Unavailable},
		{hypervisor.ErrRefused, Refused},
		{hypervisor.ErrForeign, Refused},
		{context.DeadlineExceeded, OutcomeUnknown},
		{context.Canceled, OutcomeUnknown},
	} {
		if errors.Is(err, m.is) {
			return m.kind
		}
	}
	if errors.Is(err, pool.ErrExists) {
		if field == "token" {
			return KeyReused
		}
		return Exists
	}
	return Internal
}
