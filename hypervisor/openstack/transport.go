package openstack

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// transport carries the requests of gophercloud, which by itself bounds neither their time nor the size of answers, and
// repeats none that was turned away for its rate.
type transport struct {
	next    http.RoundTripper
	timeout time.Duration
	pause   time.Duration // before something is repeated for the first time
}

func newTransport(next http.RoundTripper, config *tls.Config, t Timeouts) *transport {
	if next == nil {
		own := &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 15 * time.Second,
		}
		if config != nil {
			own.TLSClientConfig = config.Clone()
		}
		next = own
	}
	return &transport{next: next, timeout: t.Call, pause: t.Poll / 4}
}

// Limits of the transport.
const (
	maxBody      = 64 << 20         // of one answer; a page of 1,000 servers has about 3 MiB
	maxRepeats   = 4                // of one request
	maxRateDelay = 30 * time.Second // that is waited for; a longer one is the caller's to wait
)

// errTooLong: an answer is longer than maxBody.
var errTooLong = errors.New("the answer is too long")

// errNoAnswer: a request was not answered in time.
var errNoAnswer = errors.New("no answer in time")

// call is what has become of the requests of one call of the Driver that change something. Its context carries it to
// the transport.
type call struct {
	mu   sync.Mutex
	done bool // one was answered with success
	open bool // one was sent and not answered, or with an error that leaves open what it has done
}

// unsettled reports whether something may have been changed, and whether it is known what.
func (c *call) unsettled() (changed, open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done || c.open, c.open
}

// lost reports whether it is not known what the last request has done, and takes it that somebody looks.
func (c *call) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.open
	c.open, c.done = false, c.done || was
	return was
}

type callKey struct{}

// note takes down how a request has ended.
func (c *call) note(sent bool, resp *http.Response) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case resp == nil:
		c.open = c.open || sent
	case resp.StatusCode < 300:
		c.done = true
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented:
		c.open = true
	}
}

// RoundTrip implements http.RoundTripper. What only reads is repeated when it was not answered, or answered with an error
// of the server's; anything is repeated when it was turned away for its rate, and so has not been looked at.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, _ := req.Context().Value(callKey{}).(*call)
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	if strings.HasSuffix(req.URL.Path, "/auth/tokens") {
		c = nil // a log-in changes nothing that matters
	}
	for n := 1; ; n++ {
		resp, sent, err := t.once(req)
		delay, again := t.again(resp, err, reads, n)
		spent := req.Body != nil && req.Body != http.NoBody && req.GetBody == nil
		if !again || spent || req.Context().Err() != nil {
			if !reads {
				c.note(sent, resp)
			}
			return resp, err
		}
		if resp != nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
			_ = resp.Body.Close()
		}
		if err := pause(req.Context(), delay); err != nil {
			return nil, err
		}
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(req.Context())
			req.Body = body
		}
	}
}

// again says whether a request that has ended for the n-th time is made again, and after which pause.
func (t *transport) again(resp *http.Response, err error, reads bool, n int) (time.Duration, bool) {
	short := time.Duration(n) * t.pause
	switch {
	case n > maxRepeats:
		return 0, false
	case err != nil:
		return short, reads && n == 1
	case limited(resp):
		delay := retryAfter(resp, time.Duration(n)*time.Second)
		return delay, delay <= maxRateDelay
	case resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented:
		delay := retryAfter(resp, short)
		return delay, reads && n <= 2 && delay <= maxRateDelay
	}
	return 0, false
}

// limited reports whether a request was turned away because there have been too many. Releases before Newton said 413
// for it, which otherwise means that the request itself is too large.
func limited(resp *http.Response) bool {
	return resp.StatusCode == http.StatusTooManyRequests ||
		resp.StatusCode == http.StatusRequestEntityTooLarge && resp.Header.Get("Retry-After") != ""
}

// retryAfter returns what the answer says of when to come again: seconds, or a date.
func retryAfter(resp *http.Response, otherwise time.Duration) time.Duration {
	v := resp.Header.Get("Retry-After")
	if n, err := strconv.Atoi(v); err == nil && n >= 0 && n < 1<<30 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(time.Until(at), 0)
	}
	return otherwise
}

// once makes a request and says whether any of it may have been sent.
func (t *transport) once(req *http.Request) (resp *http.Response, sent bool, err error) {
	ctx, cancel := context.WithCancel(req.Context())
	if req.Header.Get("Content-Type") != octets {
		ctx, cancel = context.WithTimeoutCause(req.Context(), t.timeout, errNoAnswer)
	}
	resp, err = t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		if req.Context().Err() == nil && ctx.Err() != nil {
			err = errNoAnswer
		}
		cancel()
		var dial *net.OpError
		return nil, !errors.As(err, &dial) || dial.Op != "dial", err
	}
	resp.Body = &bounded{body: resp.Body, left: maxBody, ctx: ctx, cancel: cancel}
	return resp, true, nil
}

// bounded is the body of an answer, of a length and within a time.
type bounded struct {
	body   io.ReadCloser
	left   int64
	ctx    context.Context
	cancel context.CancelFunc
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		if n, err := b.body.Read(make([]byte, 1)); n == 0 && err != nil {
			return 0, err // it ended exactly there
		}
		return 0, errTooLong
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) && errors.Is(context.Cause(b.ctx), errNoAnswer) {
		err = errNoAnswer
	}
	return n, err
}

// Close implements io.Closer.
func (b *bounded) Close() error {
	defer b.cancel()
	return b.body.Close()
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// page reports whether a body is a web page, as proxies send it, of which nothing can be told to people.
func page(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(body), []byte("<"))
}
