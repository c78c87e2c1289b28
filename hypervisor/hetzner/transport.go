package hetzner

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// transport sends requests: within the budget, with bounded answers, and again where that can do no harm. A request
// that the service has refused for its budget (429) has done nothing and is sent again when there is budget again;
// one that only reads is sent again, too, when its answer has not come.
type transport struct {
	base  http.RoundTripper
	limit *Limit
	poll  time.Duration
}

// mostAnswer bounds an answer. A page of 50 servers is about 300 KB.
const mostAnswer = 16 << 20

// How often a request is sent.
const (
	mostReads   = 3
	mostLimited = 20
)

// errBusy: the budget of requests is used up for longer than the caller waits.
var errBusy = errors.New("the project's budget of requests is used up")

// errLong: an answer that no request of ours has.
var errLong = errors.New("the answer is too long")

// errMoved: the service does not redirect.
var errMoved = errors.New("the answer is a redirection")

// lostError is a request that was not answered.
type lostError struct {
	sent  bool // it may have reached the service
	cause error
}

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	reads, limited, wait := 0, 0, t.poll
	for {
		resp, err := t.once(r)
		var lost *lostError
		switch {
		case err == nil && resp.StatusCode == http.StatusTooManyRequests:
			if limited++; limited >= mostLimited {
				return resp, nil
			}
		case r.Context().Err() != nil || r.Method != http.MethodGet:
			return resp, err
		case errors.As(err, &lost) && !errors.Is(err, errBusy),
			err == nil && (resp.StatusCode == http.StatusBadGateway || resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusGatewayTimeout):
			if reads++; reads >= mostReads {
				return resp, err
			}
			if e := pause(r.Context(), wait); e != nil {
				return resp, err
			}
			wait *= 2
		default:
			return resp, err
		}
		if r.Body != nil {
			if r.GetBody == nil {
				return resp, err
			}
			body, e := r.GetBody()
			if e != nil {
				return resp, err
			}
			r = r.Clone(r.Context())
			r.Body = body
		}
	}
}

// once sends a request and reads its answer.
func (t *transport) once(r *http.Request) (*http.Response, error) {
	if err := t.limit.take(r.Context()); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, &lostError{cause: err}
	}
	defer t.limit.ended()
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	resp, err := t.base.RoundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
	if err != nil {
		return nil, &lostError{sent: sent.Load(), cause: ended(r.Context(), err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	switch {
	case err != nil:
		return nil, &lostError{sent: true, cause: ended(r.Context(), err)}
	case len(body) > mostAnswer:
		return nil, &lostError{sent: true, cause: errLong}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, &lostError{sent: true, cause: errMoved}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	t.limit.heard(resp)
	return resp, nil
}

// ended returns the context's error if it has ended, as the network's own then says less.
func ended(ctx context.Context, err error) error {
	if e := ctx.Err(); e != nil {
		return e
	}
	return err
}
