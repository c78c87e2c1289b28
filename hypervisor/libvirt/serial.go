package libvirt

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/hypervisor"
)

// Serial opens the machine's serial console for reading and writing, on a connection of its own. A console has one user
// at a time: whoever opens it takes it over. Reading ends with io.EOF when the machine stops; Read and Write may be
// called at the same time, and Close ends both. The context bounds the opening only. A machine that does not run is
// hypervisor.ErrWrongPower.
func (d *Driver) Serial(ctx context.Context, r hypervisor.Ref) (io.ReadWriteCloser, error) {
	var out io.ReadWriteCloser
	err := d.on(ctx, "open the serial console of", r, func(s *session, dom *domain) error {
		if !s.c.offers.downloads {
			return errNotOffered()
		}
		if !dom.running() {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		var err error
		out, err = s.h.serial(ctx, dom.Domain)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// console is an open serial console.
type console struct {
	s      *stream
	rest   []byte // read and not yet handed out
	closed chan struct{}

	writing sync.Mutex
	closing sync.Once
}

func (h *host) serial(ctx context.Context, dom lv.Domain) (io.ReadWriteCloser, error) {
	conn, err := h.target.dial(ctx)
	if err != nil {
		return nil, &transportError{cause: err}
	}
	c := &console{s: &stream{conn: conn, r: bufio.NewReaderSize(conn, 64<<10), limit: h.timeouts.Call}, closed: make(chan struct{})}
	c.s.idle = time.AfterFunc(c.s.limit, func() { _ = conn.Close() })
	go func() {
		select {
		case <-h.life.Done():
			_ = conn.Close()
		case <-c.closed:
		}
	}()
	err = bounded(ctx, conn, func() error {
		if err := c.s.open(h.target.remote); err != nil {
			return err
		}
		var args xdr
		args.text(dom.Name)
		args = append(args, dom.UUID[:]...)
		args.u32(uint32(dom.ID))
		args.u32(0) // the first console
		args.u32(uint32(lv.DomainConsoleForce))
		_, err := c.s.call(procOpenConsole, args)
		return err
	})
	if err != nil {
		_ = c.Close()
		var said *serverError
		if !errors.As(err, &said) {
			err = &transportError{cause: err}
		}
		return nil, err
	}
	if !c.s.idle.Stop() {
		_ = c.Close()
		return nil, &transportError{cause: errNoAnswer}
	}
	c.s.limit = 0 // nobody has to type
	return c, nil
}

// Read implements io.Reader.
func (c *console) Read(p []byte) (int, error) {
	select {
	case <-c.closed:
		return 0, io.ErrClosedPipe
	default:
	}
	for len(c.rest) == 0 {
		f, err := c.s.read()
		switch {
		case err != nil:
			return 0, c.ended(err)
		case f.kind != typeStream:
			continue
		case len(f.payload) == 0: // the end, whatever the status
			return 0, io.EOF
		}
		c.rest = f.payload
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	done := 0
	for done < len(p) {
		n := min(len(p)-done, streamPayload)
		if err := c.s.write(procOpenConsole, typeStream, statusContinue, p[done:done+n]); err != nil {
			return done, c.ended(err)
		}
		done += n
	}
	return done, nil
}

// ended is the error of a console that cannot be used any more.
func (c *console) ended(err error) error {
	select {
	case <-c.closed:
		return io.ErrClosedPipe
	default:
	}
	var said *serverError
	if errors.As(err, &said) {
		return refuse(hypervisor.ErrRefused, err)
	}
	return refuse(hypervisor.ErrUnavailable, err)
}

// Close implements io.Closer.
func (c *console) Close() error {
	c.closing.Do(func() { close(c.closed) })
	c.s.idle.Stop()
	if err := c.s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
