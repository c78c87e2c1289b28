package robot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Endpoint is the base URL of the public service.
const Endpoint = "https://robot-ws.your-server.de"

// Config says as whom a Client logs in.
type Config struct {
	User     string // of the web service, not of the customer's account
	Password string
	Endpoint string // base URL; empty: Endpoint

	Transport http.RoundTripper // nil: http.DefaultTransport
	Timeout   time.Duration     // of one request; zero: one minute
}

// Client talks to the service. It is safe for concurrent use, and sends one request at a time.
type Client struct {
	endpoint string
	timeout  time.Duration
	http     http.Client
	turn     chan struct{} // holds one token

	mu             sync.Mutex
	user, password string
	locked         bool // a log-in with these has failed
}

// ErrLocked: a log-in has failed, or a request was refused here since an earlier one had. Nothing is sent any more
// until SetCredentials.
var ErrLocked = errors.New("the log-in has failed; nothing is sent until there are other credentials")

// New returns a client. It sends nothing. A malformed configuration is pool.ErrInvalid.
func New(c Config) (*Client, error) {
	if c.Endpoint == "" {
		c.Endpoint = Endpoint
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, invalid("endpoint", "a URL without user and password")
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	out := &Client{endpoint: strings.TrimRight(c.Endpoint, "/"), timeout: c.Timeout, turn: make(chan struct{}, 1)}
	out.http = http.Client{Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return out, out.SetCredentials(c.User, c.Password)
}

// SetCredentials makes the client log in with these from the next request on, and ends a lock.
func (c *Client) SetCredentials(user, password string) error {
	if user == "" || password == "" || strings.Contains(user, ":") || pool.ValidText(user, 255) != nil {
		return invalid("user", "a user of the web service, and its password")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user, c.password, c.locked = user, password, false
	return nil
}

func invalid(field, want string) error {
	return &pool.Error{Op: "configure Robot client", Kind: pool.ErrInvalid, Field: field, Want: want}
}

// Error is a request that has failed. It unwraps to one of the kinds of package hypervisor, and to its cause.
type Error struct {
	Op      string // "POST /reset/321"
	Status  int    // of the answer; zero: none
	Code    string // "SERVER_NOT_FOUND"
	Message string

	// Of RATE_LIMIT_EXCEEDED: how many such requests there may be in an interval.
	MaxRequests int
	Interval    time.Duration

	Kind  error // hypervisor.ErrUnavailable, ErrUnknown, ErrRefused, ErrNotFound or ErrInvalid
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Op + ": " + e.Kind.Error()
	if e.Code != "" {
		s += ": " + e.Message + " (" + e.Code + ")"
	}
	if e.Interval > 0 {
		s += fmt.Sprintf(", at most %d in %v", e.MaxRequests, e.Interval)
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap makes errors.Is and errors.As see the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// RateLimited reports whether the service has refused a request for its budget.
func RateLimited(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeRateLimit
}

const (
	codeRateLimit = "RATE_LIMIT_EXCEEDED"
	mostAnswer    = 8 << 20
)

// do sends one request and reads the answer into out.
func (c *Client) do(ctx context.Context, method, path string, form url.Values, out any) error {
	e := &Error{Op: method + " " + path, Kind: hypervisor.ErrUnavailable}
	fail := func(kind, cause error) error {
		e.Kind, e.Cause = kind, cause
		return e
	}
	if err := ctx.Err(); err != nil {
		return fail(hypervisor.ErrUnavailable, err)
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return fail(hypervisor.ErrUnavailable, ctx.Err())
	}
	c.mu.Lock()
	user, password, locked := c.user, c.password, c.locked
	c.mu.Unlock()
	if locked {
		return fail(hypervisor.ErrUnavailable, ErrLocked)
	}
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent atomic.Bool
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	r, err := http.NewRequestWithContext(limited, method, c.endpoint+path, strings.NewReader(form.Encode()))
	if err != nil {
		return fail(hypervisor.ErrInvalid, errors.New("a request that cannot be sent"))
	}
	r.SetBasicAuth(user, password)
	r.Header.Set("Accept", "application/json")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	open := hypervisor.ErrUnavailable // what an answer that does not come leaves open
	resp, err := c.http.Do(r)
	if sent.Load() && method != http.MethodGet {
		open = hypervisor.ErrUnknown
	}
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fail(open, err)
	}
	defer resp.Body.Close()
	e.Status = resp.StatusCode
	if resp.StatusCode == http.StatusUnauthorized {
		c.mu.Lock()
		c.locked = c.locked || c.user == user && c.password == password
		c.mu.Unlock()
		return fail(hypervisor.ErrUnavailable, ErrLocked)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	switch {
	case err != nil:
		return fail(open, err)
	case len(body) > mostAnswer:
		return fail(open, errors.New("the answer is too long"))
	case resp.StatusCode < 200 || resp.StatusCode >= 300:
		return e.refusal(body, open)
	case out == nil || len(strings.TrimSpace(string(body))) == 0 && method != http.MethodGet:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fail(open, errors.New("the answer is not what it should be"))
	}
	return nil
}

// refusal sorts an answer that says no.
func (e *Error) refusal(body []byte, open error) error {
	var said struct {
		Error struct {
			Code        string   `json:"code"`
			Message     string   `json:"message"`
			Missing     []string `json:"missing"`
			Invalid     []string `json:"invalid"`
			MaxRequests int      `json:"max_request"`
			Interval    int      `json:"interval"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &said) // one in another form has no code
	e.Code, e.Message = clean(said.Error.Code), clean(said.Error.Message)
	for what, fields := range map[string][]string{"missing": said.Error.Missing, "invalid": said.Error.Invalid} {
		if len(fields) > 0 {
			e.Message += ", " + what + " " + clean(strings.Join(fields, " "))
		}
	}
	switch {
	case e.Code == codeRateLimit:
		e.Kind, e.MaxRequests, e.Interval = hypervisor.ErrUnavailable, said.Error.MaxRequests, time.Duration(max(said.Error.Interval, 0))*time.Second
	case e.Status == http.StatusServiceUnavailable && e.Code != "":
		e.Kind = hypervisor.ErrUnavailable // maintenance
	case e.Status >= 500, e.Code == "":
		e.Kind = open
		e.Cause = errors.New("status " + strconv.Itoa(e.Status))
	case e.Status == http.StatusNotFound:
		e.Kind = hypervisor.ErrNotFound
	case e.Status == http.StatusBadRequest:
		e.Kind = hypervisor.ErrInvalid
	default:
		e.Kind = hypervisor.ErrRefused
	}
	return e
}

// clean makes a text of the service's printable, and short.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// Secret is a text that formatting, logs and JSON do not show.
type Secret struct{ text string }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// String says that there is something, and not what.
func (s Secret) String() string { return "(secret)" }

// GoString is String, so that %#v shows no more.
func (s Secret) GoString() string { return s.String() }

// LogValue is String, so that logs show no more.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, so that JSON shows no more.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text.
func (s *Secret) UnmarshalText(b []byte) error {
	s.text = string(b)
	return nil
}
