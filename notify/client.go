package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage/pool"
)

// MaxAnswer is how many bytes of an answer are read.
const MaxAnswer = 1 << 20

// ClientConfig says how receivers are called.
type ClientConfig struct {
	Guard     Guard
	Timeout   time.Duration // of one request with its answer; 0: 15 seconds
	Redirects int           // how many are followed, by 307 and 308 only and never from https to http; 0: none
	UserAgent string        // empty: "berthage"
}

// Client makes requests to receivers. It uses no proxy, since a proxy would go where the Guard cannot see, and a
// connection for each request: messages are rare, and on a connection that was kept one can be lost. It is safe for
// concurrent use.
type Client struct {
	http    http.Client
	dialer  net.Dialer
	timeout time.Duration
	agent   string
}

// NewClient returns a Client.
func NewClient(c ClientConfig) *Client {
	if c.Timeout <= 0 {
		c.Timeout = 15 * time.Second
	}
	if c.UserAgent == "" {
		c.UserAgent = "berthage"
	}
	out := &Client{timeout: c.Timeout, agent: c.UserAgent, dialer: net.Dialer{Timeout: c.Timeout, Control: c.Guard.Control}}
	out.http = http.Client{
		Transport: &http.Transport{
			DialContext: out.dialer.DialContext, TLSHandshakeTimeout: c.Timeout, DisableKeepAlives: true,
			MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > c.Redirects || r.Method != via[0].Method || via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	return out
}

// Request is one request. Nothing of it stands in an error.
type Request struct {
	Op      string // what is tried, for errors: "slack: post"
	Method  string // empty: POST
	URL     Secret // http or https
	Header  http.Header
	Body    []byte
	Secrets []Secret // what else must not come back in an error, if the service should repeat it
}

// Answer is an answer. Of one whose status is an error it is for a receiver that has to read its service's own codes.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // at most MaxAnswer bytes of it
}

// Do makes a request and reads its answer. The error is an *Error; a status outside 200 to 299 is one too.
func (c *Client) Do(ctx context.Context, r Request) (Answer, error) {
	if err := ctx.Err(); err != nil {
		return Answer{}, &Error{Op: r.Op, Kind: ErrTemporary, Cause: context.Cause(ctx)}
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	if r.Method == "" {
		r.Method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL.Reveal(), bytes.NewReader(r.Body))
	if err != nil { // which would show the URL
		return Answer{}, &Error{Op: r.Op, Kind: ErrBroken, Detail: "the URL is malformed"}
	}
	req.Header.Set("User-Agent", c.agent)
	for name, values := range r.Header {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, r.failed(outer, err, sent.Load())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		if err != nil {
			return Answer{}, r.failed(outer, err, true)
		}
		return Answer{resp.StatusCode, resp.Header, body}, nil
	}
	return Answer{resp.StatusCode, resp.Header, body}, &Error{
		Op: r.Op, Kind: kindOf(resp.StatusCode), Status: resp.StatusCode,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()), Detail: r.excerpt(string(body)),
	}
}

// Dial connects to a receiver that does not speak HTTP, by host and port: "mail.example.com:587". The Guard holds for it too. The connection
// is good for the Client's Timeout and for MaxAnswer bytes of answers; it is the caller's, who closes it. The error is an *Error.
func (c *Client) Dial(ctx context.Context, op, address string) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: op, Kind: ErrTemporary, Cause: context.Cause(ctx)}
	}
	end := time.Now().Add(c.timeout)
	conn, err := c.dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		err = conn.SetDeadline(end)
	}
	if err != nil {
		return nil, Request{Op: op}.failed(ctx, err, false)
	}
	return &metered{conn, MaxAnswer}, nil
}

// metered is a connection from which no more than left bytes are read.
type metered struct {
	net.Conn
	left int
}

// ErrAnswer is what reading from a connection of Client.Dial says when MaxAnswer bytes have been read.
var ErrAnswer = errors.New("the answer does not end")

func (m *metered) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, ErrAnswer
	}
	n, err := m.Conn.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// failed is what has become of a request without an answer. Errors of net/http have the URL in them, and those of parsing an
// answer what the answer said, so that none is passed on.
func (r Request) failed(ctx context.Context, err error, sent bool) error {
	out := &Error{Op: r.Op, Kind: ErrTemporary, Maybe: sent}
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		out.Cause = context.Cause(ctx)
	case errors.Is(err, ErrForbidden):
		out.Kind, out.Cause, out.Maybe = ErrBroken, forbidden(err), false
	case errors.As(err, &timeout) && timeout.Timeout():
		out.Detail = "no answer in time"
	default:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		out.Detail = r.excerpt(err.Error())
	}
	return out
}

// forbidden returns the Guard's own error, which names the address and nothing else.
func forbidden(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return ErrForbidden
}

// excerpt returns what can be shown of a text that the service wrote.
func (r Request) excerpt(s string) string {
	secrets := append(slices.Clone(r.Secrets), r.URL)
	for _, v := range r.Header["Authorization"] {
		_, credentials, _ := strings.Cut(v, " ")
		secrets = append(secrets, NewSecret(credentials))
	}
	return Excerpt(s, secrets...)
}

// Excerpt returns what can be shown of a text that a service wrote: the beginning, in quotes, without the secrets.
func Excerpt(s string, secrets ...Secret) string {
	for _, secret := range secrets {
		for _, f := range secret.forms() {
			for _, f := range []string{f, jsonText(f)} {
				if f != "" {
					s = strings.ReplaceAll(s, f, redacted)
				}
			}
		}
	}
	return pool.Quote(Cut(Line(strings.TrimSpace(s)), 60))
}

func jsonText(s string) string {
	b, err := json.Marshal(s)
	if err != nil || len(b) < 2 {
		return ""
	}
	return string(b[1 : len(b)-1])
}

// retryAfter reads the header of that name: seconds, or a date (RFC 9110, section 10.2.3). More than a day is a day.
func retryAfter(s string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	if n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64); err == nil {
		return time.Duration(min(n, uint64(most/time.Second))) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), most)
}

// PostJSON posts v as JSON.
func (c *Client) PostJSON(ctx context.Context, r Request, v any) (Answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Answer{}, &Error{Op: r.Op, Kind: ErrPermanent, Detail: "the message cannot be written as JSON"}
	}
	if r.Header = r.Header.Clone(); r.Header == nil {
		r.Header = make(http.Header)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Body = body
	return c.Do(ctx, r)
}

// CheckURL tells whether s is an absolute http or https URL with a host and without a fragment. The error is pool.ErrInvalid and does not show it.
func CheckURL(field string, s Secret) error {
	u, err := url.Parse(s.Reveal())
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Fragment != "" {
		return Invalid(field, "an absolute URL with https")
	}
	return nil
}

// Invalid is the error of a receiver's configuration: pool.ErrInvalid with the field and what would be right, and without
// its value.
func Invalid(field, want string) error {
	return &pool.Error{Op: "configure receiver", Kind: pool.ErrInvalid, Field: field, Want: want}
}
