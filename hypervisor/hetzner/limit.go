package hetzner

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Limit is the budget of requests of one project, which the service grants per project and not per program: 3600 an
// hour, given back one by one. The zero value is ready. All that use the project's token should share one.
//
// It takes what the service says of the budget from the headers of its answers. As long as something is left
// requests go out at once. When nothing is, they go out one by one, as fast as the budget is given back; whoever
// cannot wait that long, by its context, is told so at once and sends nothing. It is safe for concurrent use.
type Limit struct {
	mu        sync.Mutex
	known     bool
	remaining int           // without those that are under way
	underWay  int           // requests that were not answered yet
	interval  time.Duration // in which one request is given back
	next      time.Time     // when the next request may go out, with nothing left
}

// The budget until an answer has told it: https://docs.hetzner.cloud, "Rate Limiting".
const (
	perHour = 3600
)

// take waits until a request may go out. It is errBusy, at once, when that would be later than the context ends.
func (l *Limit) take(ctx context.Context) error {
	l.mu.Lock()
	now := time.Now()
	if l.interval <= 0 {
		l.interval = time.Hour / perHour
	}
	at := now
	if l.known && l.remaining <= 0 && l.next.After(now) {
		at = l.next
	}
	if deadline, ok := ctx.Deadline(); ok && at.After(deadline) && deadline.After(now) {
		l.mu.Unlock()
		return errBusy
	}
	switch {
	case !l.known:
	case l.remaining > 0:
		l.remaining--
	default:
		l.next = at.Add(l.interval)
	}
	l.underWay++
	l.mu.Unlock()
	err := pause(ctx, at.Sub(now))
	if err != nil {
		l.ended()
	}
	return err
}

// ended notes that a request that take has let go is under way no more.
func (l *Limit) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay--
}

// heard takes the budget from an answer to a request that is still under way. Answers overtake each other: what others
// have taken meanwhile is not in them.
func (l *Limit) heard(r *http.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, err := strconv.Atoi(r.Header.Get("RateLimit-Limit")); err == nil && n > 0 {
		l.interval = max(time.Hour/time.Duration(n), time.Microsecond)
	}
	if n, err := strconv.Atoi(r.Header.Get("RateLimit-Remaining")); err == nil {
		n -= l.underWay - 1
		l.known, l.remaining = true, n
		if now := time.Now(); n <= 0 && !l.next.After(now) {
			l.next = now.Add(l.interval)
		}
	}
	if r.StatusCode != http.StatusTooManyRequests {
		return
	}
	if l.interval <= 0 {
		l.interval = time.Hour / perHour
	}
	l.known, l.remaining = true, 0
	wait := l.interval
	if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && s > 0 {
		wait = min(time.Duration(s)*time.Second, time.Hour)
	}
	if again := time.Now().Add(wait); again.After(l.next) {
		l.next = again
	}
}

// Remaining returns how many requests are left as far as the last answer has told, and false before the first one.
func (l *Limit) Remaining() (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.remaining, 0), l.known
}

// scarce reports whether less than a quarter of an hour's budget is left, so that what can wait should not be asked.
func (l *Limit) scarce() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known && l.interval > 0 && time.Duration(l.remaining)*l.interval < time.Hour/4
}

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
