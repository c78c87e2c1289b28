package libvirt

import (
	"context"
	"errors"
	"time"

	lv "github.com/digitalocean/go-libvirt"
)

// session is one call of the Driver on a host. It is used by one goroutine.
type session struct {
	ctx     context.Context
	h       *host
	c       *conn
	retried bool
	changed bool              // a request that changes something may have been sent
	limit   time.Duration     // for the answer to a request; zero: the connection's own
	left    []<-chan struct{} // closed when requests that nobody waits for any more have ended
}

func (h *host) session(ctx context.Context) *session { return &session{ctx: ctx, h: h} }

// conn returns the connection for the next request.
func (s *session) conn() (*conn, error) {
	if s.c == nil || !s.c.usable() {
		c, err := s.h.connect(s.ctx)
		if err != nil {
			return nil, err
		}
		s.c = c
	}
	return s.c, nil
}

// read makes a request that changes nothing. When the connection is lost it is made once more on a new one.
func read[T any](s *session, f func(*lv.Libvirt) (T, error)) (T, error) {
	return request(s, true, f)
}

// change makes a request that changes something. It is made again, on a new connection, only when it cannot have
// been sent.
func change[T any](s *session, f func(*lv.Libvirt) (T, error)) (T, error) {
	return request(s, false, f)
}

// do is change for requests that return nothing.
func do(s *session, f func(*lv.Libvirt) error) error {
	_, err := change(s, func(api *lv.Libvirt) (struct{}, error) { return struct{}{}, f(api) })
	return err
}

func request[T any](s *session, repeatable bool, f func(*lv.Libvirt) (T, error)) (T, error) {
	for {
		var none T
		c, err := s.conn()
		if err != nil {
			return none, err
		}
		v, err := askFor(s.ctx, c, max(s.limit, c.limit), f)
		var lost *transportError
		if !errors.As(err, &lost) {
			s.changed = s.changed || !repeatable
			return v, err
		}
		if lost.ended != nil {
			s.left = append(s.left, lost.ended)
		}
		s.changed = s.changed || lost.sent && !repeatable
		if !lost.lost || s.retried || lost.sent && !repeatable || s.ctx.Err() != nil {
			return none, err
		}
		s.retried = true
	}
}

// patiently runs f with as much time for each answer as moving a machine's memory takes.
func (s *session) patiently(f func() error) error {
	s.limit = s.h.timeouts.Move
	defer func() { s.limit = 0 }()
	return f()
}

// release calls done once no request of the session is under way any more.
func (s *session) release(done func()) {
	if len(s.left) == 0 {
		done()
		return
	}
	go func() {
		for _, ended := range s.left {
			<-ended
		}
		done()
	}()
}
