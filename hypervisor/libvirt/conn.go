package libvirt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	lv "github.com/digitalocean/go-libvirt"
)

// conn is one connection to a daemon. Requests on it run side by side. A connection is never opened a second
// time: the client library's object is racy after a loss.
type conn struct {
	api   *lv.Libvirt
	link  *link
	limit time.Duration // for the answer to one request

	offers offers   // what the host offers, set before the connection is handed out
	probe  kvmProbe // whether KVM works, found out when first needed

	reboots events // of guests
	changes events // of what machines there are and what they do

	mu      sync.Mutex
	active  int  // requests that somebody waits for
	retired bool // takes no more requests; closed when active is 0
}

// open connects.
func open(ctx context.Context, t target, limit time.Duration) (*conn, error) {
	raw, err := t.dial(ctx)
	if err != nil {
		return nil, &transportError{lost: true, cause: err}
	}
	l := newLink(raw)
	c := &conn{
		api: lv.NewWithDialer(connected{l}), link: l, limit: limit,
		reboots: events{kind: lv.DomainEventIDReboot}, changes: events{kind: lv.DomainEventIDLifecycle},
	}
	if _, err := ask(ctx, c, func(api *lv.Libvirt) (struct{}, error) { return struct{}{}, api.ConnectToURI(t.remote) }); err != nil {
		_ = l.Close()
		return nil, err
	}
	return c, nil
}

// connected is a dialer for a connection that is open.
type connected struct{ link *link }

func (c connected) Dial() (net.Conn, error) { return c.link, nil }

// ask makes one request. The client library knows no contexts: when ctx ends first, the request is left to
// itself, and the connection goes on unless the answer does not come at all.
func ask[T any](ctx context.Context, c *conn, request func(*lv.Libvirt) (T, error)) (T, error) {
	return askFor(ctx, c, c.limit, request)
}

// askFor is ask with another limit for the answer.
func askFor[T any](ctx context.Context, c *conn, limit time.Duration, request func(*lv.Libvirt) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, &transportError{cause: err}
	}
	if !c.enter() {
		return none, &transportError{lost: true, cause: errLost}
	}
	got := make(chan answer, 1)
	ended := make(chan struct{})
	go func() {
		v, err := request(c.api)
		got <- answer{v, err}
		close(ended)
	}()
	timer := time.NewTimer(limit)
	select {
	case a := <-got:
		timer.Stop()
		err := answered(a.err)
		var lost *transportError
		if errors.As(err, &lost) {
			c.retire() // the link may not have noticed yet
		}
		c.leave()
		return a.value, err
	case <-c.link.gone:
		timer.Stop()
		defer c.leave()
		// The answer may have been read just before the end, and the library tells its waiters soon after it.
		select {
		case a := <-got:
			return a.value, answered(a.err)
		case <-time.After(time.Second):
			return none, &transportError{sent: true, lost: true, cause: errLost}
		}
	case <-timer.C:
		c.retire()
		c.leave()
		return none, &transportError{sent: true, lost: true, cause: errNoAnswer}
	case <-ctx.Done():
		settled := make(chan struct{})
		go func() {
			defer close(settled)
			defer c.leave()
			defer timer.Stop()
			select {
			case <-ended:
			case <-c.link.gone:
			case <-timer.C:
				c.retire()
			}
		}()
		return none, &transportError{sent: true, cause: ctx.Err(), ended: settled}
	}
}

func (c *conn) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired || c.link.isGone() {
		return false
	}
	c.active++
	return true
}

func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active--
	if c.retired && c.active == 0 {
		_ = c.link.Close()
	}
}

// retire gives the connection up. Requests under way may still end well.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	if c.active == 0 {
		_ = c.link.Close()
	}
}

// usable reports whether new requests can be made.
func (c *conn) usable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.retired && !c.link.isGone()
}

// link is the network connection below. It tells at once when it has ended, and it checks the frames that
// come in: the client library would panic on a length that cannot be, and take any amount of memory.
type link struct {
	net.Conn
	gone chan struct{}
	once sync.Once

	// Where the reader stands in a frame; only Read uses these.
	header [4]byte
	have   int   // bytes of header that have come
	left   int64 // bytes of the frame that are still to come
}

// Bounds of a frame: its header, and VIR_NET_MESSAGE_MAX of libvirt with some room.
const (
	frameHeader = 28
	maxFrame    = 33 << 20
)

var errFrame = errors.New("the daemon sent a frame of an impossible length")

func newLink(c net.Conn) *link { return &link{Conn: c, gone: make(chan struct{})} }

// Read implements net.Conn.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if !l.check(p[:n]) {
		n, err = 0, errFrame
	}
	if err != nil {
		_ = l.Close()
		err = fmt.Errorf("read: %w", err) // the client library would try again after some errors of package net
	}
	return n, err
}

func (l *link) check(b []byte) bool {
	for len(b) > 0 {
		if l.left > 0 {
			n := min(l.left, int64(len(b)))
			l.left -= n
			b = b[n:]
			continue
		}
		n := copy(l.header[l.have:], b)
		l.have += n
		b = b[n:]
		if l.have == len(l.header) {
			length := int64(binary.BigEndian.Uint32(l.header[:]))
			if length < frameHeader || length > maxFrame {
				return false
			}
			l.have, l.left = 0, length-int64(len(l.header))
		}
	}
	return true
}

// Close implements net.Conn. Only the first call does something.
func (l *link) Close() error {
	var err error
	l.once.Do(func() {
		close(l.gone)
		err = l.Conn.Close()
	})
	return err
}

func (l *link) isGone() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}
