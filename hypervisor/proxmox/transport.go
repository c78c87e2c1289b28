package proxmox

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"
	"unicode"
)

// maxBody bounds what a server may answer: the list of ten thousand guests takes some 5 MB.
const maxBody = 32 << 20

// answerError is an answer that says no.
type answerError struct {
	status  int
	text    string            // the reason, or the message of the body
	fields  map[string]string // what is wrong with which parameter
	refused bool              // by the API itself, and not by what stands before it
}

// Error implements error.
func (e *answerError) Error() string {
	s := e.text
	for k, v := range e.fields {
		s += "; " + harmless(k) + ": " + v
	}
	if s == "" {
		s = http.StatusText(e.status)
	}
	return s
}

// lostError is a request that was not answered, or not by the API.
type lostError struct {
	sent  bool // it may have reached the server
	cause error
}

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

var (
	errTooLong  = errors.New("the answer is too long")
	errNoData   = errors.New("the answer is not one of the API")
	errNoAnswer = errors.New("no answer in time")
)

// transport is below the client library. The library takes some answers that say no for success and keeps of others
// neither their code nor their text; so it gets to see nothing but success, and everything else as an error that is typed.
type transport struct {
	base *http.Transport
	auth *auth
	hide *strings.Replacer // takes secrets out of texts
}

func newTransport(c Config) *transport {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		tlsConfig.RootCAs = x509.NewCertPool()
		tlsConfig.RootCAs.AppendCertsFromPEM(c.CA)
	}
	var hide []string
	for _, s := range c.secrets() {
		hide = append(hide, s, "***")
	}
	t := &transport{
		base: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			TLSClientConfig: tlsConfig, TLSHandshakeTimeout: 15 * time.Second,
			MaxIdleConnsPerHost: 2 * sideBySide,
			// The server's end of a connection that rests is closed after five seconds; what is sent just then is lost.
			IdleConnTimeout: 3 * time.Second,
		},
		hide: strings.NewReplacer(hide...),
	}
	t.auth = &auth{t: t, base: c.URL, token: c.Token, user: c.User, password: c.Password, turn: make(chan struct{}, 1)}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	for again := false; ; again = true {
		r := req.Clone(req.Context())
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, &lostError{cause: err}
			}
			r.Body = body
		}
		used, err := t.auth.sign(r)
		if err != nil {
			return nil, err
		}
		res, err := t.exchange(r)
		var no *answerError
		if errors.As(err, &no) && no.status == http.StatusUnauthorized && !again && t.auth.renew(used) {
			continue // it has not been looked at, so that it can be sent again
		}
		return res, err
	}
}

// exchange sends a request and reads the whole answer.
func (t *transport) exchange(req *http.Request) (*http.Response, error) {
	sent := false
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	res, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, &lostError{sent: sent, cause: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, &lostError{sent: true, cause: err}
	case len(body) > maxBody:
		return nil, &lostError{sent: true, cause: errTooLong}
	}
	if res.StatusCode < 200 || res.StatusCode >= 300 {
		return nil, t.refusal(res, body)
	}
	var data struct {
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &data) != nil || data.Data == nil {
		return nil, &lostError{sent: true, cause: errNoData}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// refusal reads an answer that says no.
func (t *transport) refusal(res *http.Response, body []byte) error {
	e := &answerError{status: res.StatusCode}
	_, e.text, _ = strings.Cut(res.Status, " ")
	var said struct {
		Message string            `json:"message"`
		Errors  map[string]string `json:"errors"`
	}
	if json.Unmarshal(body, &said) == nil {
		if said.Message != "" {
			e.text = said.Message
		}
		e.refused = true
		e.fields = make(map[string]string)
		for k, v := range said.Errors {
			e.fields[k] = harmless(t.hide.Replace(v))
		}
	}
	e.text = harmless(t.hide.Replace(e.text))
	return e
}

// harmless makes a text from the network fit for logs and terminals.
func harmless(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(strings.ToValidUTF8(s, "?")))
	const most = 400
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// plain is err without the URL that package net/http puts around it.
func plain(ctx context.Context, err error) error {
	var no *answerError
	var lost *lostError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return no
	case errors.As(err, &lost):
		if e := ctx.Err(); e != nil {
			return &lostError{sent: lost.sent, cause: e}
		}
		var timeout net.Error
		if errors.As(lost.cause, &timeout) && timeout.Timeout() {
			return &lostError{sent: lost.sent, cause: errNoAnswer}
		}
		return &lostError{sent: lost.sent, cause: errors.New(harmless(lost.cause.Error()))}
	case ctx.Err() != nil:
		return &lostError{cause: ctx.Err()} // before anything was sent
	}
	return &lostError{sent: true, cause: errNoData} // the library could not make sense of it
}
