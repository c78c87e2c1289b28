package oidc

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// How long what the provider says of itself is relied on, and how soon it is asked again at the earliest: after an answer that did not
// have what was looked for, and after none.
const (
	keep       = time.Hour
	afterKnown = time.Minute
	afterError = 5 * time.Second
)

// newClient returns the client for all requests to the provider: only to addresses that the guard allows, without redirects, since where they
// lead the provider has not been configured, without proxies, which would go where the guard cannot see, and with bounds on time and size.
func newClient(c Config) *http.Client {
	dialer := &net.Dialer{Timeout: c.Timeout, Control: c.Guard.Control}
	return &http.Client{
		Timeout: c.Timeout,
		Transport: bounded{&http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: c.Timeout, DisableKeepAlives: true, DisableCompression: true,
			MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bounded cuts answers off with an error.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, MaxAnswer)
	}
	return resp, err
}

// remembered is something that the provider publishes. Whoever needs it first fetches it while others wait.
type remembered[T any] struct {
	turn chan struct{} // has one value, which is taken to look at what follows

	value T
	at    time.Time // when it was asked for
	next  time.Time // before which it is not asked for again
	err   error     // of the last time, if it failed
}

func newRemembered[T any]() *remembered[T] {
	r := &remembered[T]{turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// get returns the value, fetched anew if it is old or has not what is looked for, but not too often; it may still not have it then.
func (r *remembered[T]) get(ctx context.Context, has func(T) bool, fetch func(context.Context) (T, error)) (T, error) {
	var none T
	select {
	case <-ctx.Done():
		return none, context.Cause(ctx)
	case <-r.turn:
	}
	defer func() { r.turn <- struct{}{} }()
	now := time.Now()
	good := !r.at.IsZero() && now.Sub(r.at) < keep
	if good && has(r.value) {
		return r.value, nil
	}
	if now.Before(r.next) {
		if r.err != nil {
			return none, r.err
		}
		return r.value, nil
	}
	v, err := fetch(ctx)
	if err != nil {
		if ctx.Err() == nil { // whoever goes away spoils it for nobody
			r.next, r.err = now.Add(afterError), err
		}
		return none, err
	}
	r.value, r.at, r.next, r.err = v, now, now.Add(afterKnown), nil
	return v, nil
}
