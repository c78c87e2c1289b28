package audit

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
)

// Forwarder sends entries to a collector, in their order, over a connection that it makes anew when it breaks. Whoever has entries never waits for
// it: they are held meanwhile, up to a bound; what does not fit is counted, and an entry with Result Lost says at that place how
// many are missing.
//
// It is a copy for other eyes, and no proof: the ledger is. Neither syslog nor lines of JSON are acknowledged, so that what was on its
// way when a connection broke may be missing in the collector, without an entry that says so; what was written last may be there twice.
//
// Send and Status may be called at any time by anybody; Run once.
type Forwarder struct {
	Dial   func(context.Context) (net.Conn, error) // connects to the collector
	Format Format

	// MostBytes bounds what is held; 0: 16 MiB.
	MostBytes int
	// Timeout bounds each write; 0: 10 s.
	Timeout time.Duration
	// Logger is told when the collector cannot be reached, and when it can be again; nil: nobody is.
	Logger *slog.Logger

	mu     sync.Mutex
	queue  [][]byte
	held   int // bytes in queue
	missed int64
	last   time.Time // of the last one that was missed
	status ForwarderStatus
	wake   chan struct{}
}

// ForwarderStatus is how a Forwarder stands.
type ForwarderStatus struct {
	Connected bool
	Waiting   int   // entries that are held
	Sent      int64 // written to a connection since the start
	Lost      int64 // not held since the start
}

// What a Forwarder does where it is not told.
const (
	defaultBytes   = 16 << 20
	defaultTimeout = 10 * time.Second
	firstWait      = time.Second
	mostWait       = time.Minute
)

// Send has an entry sent. It never waits.
func (f *Forwarder) Send(e Entry) {
	line := f.Format.Append(nil, &e)
	f.mu.Lock()
	defer f.mu.Unlock()
	most := f.MostBytes
	if most == 0 {
		most = defaultBytes
	}
	var gap []byte
	if f.missed > 0 {
		said := lost(f.missed, f.last)
		gap = f.Format.Append(nil, &said)
	}
	if f.held+len(gap)+len(line) > most {
		f.missed, f.last = f.missed+1, e.Time
		f.status.Lost++
		return
	}
	if gap != nil {
		f.queue, f.missed = append(f.queue, gap), 0
	}
	f.queue, f.held = append(f.queue, line), f.held+len(gap)+len(line)
	select {
	case f.waker() <- struct{}{}:
	default:
	}
}

// waker returns the channel that wakes Run. The lock is held.
func (f *Forwarder) waker() chan struct{} {
	if f.wake == nil {
		f.wake = make(chan struct{}, 1)
	}
	return f.wake
}

// Status returns the present status.
func (f *Forwarder) Status() ForwarderStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status
	s.Waiting = len(f.queue)
	return s
}

// next returns the first entry that is held, or nil, and what to wait for.
func (f *Forwarder) next() ([]byte, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 && f.missed > 0 { // nothing comes after the gap so far
		said := lost(f.missed, f.last)
		gap := f.Format.Append(nil, &said)
		f.queue, f.held, f.missed = append(f.queue, gap), f.held+len(gap), 0
	}
	if len(f.queue) == 0 {
		return nil, f.waker()
	}
	return f.queue[0], nil
}

// sent takes the first entry out, which has been written.
func (f *Forwarder) sent() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held -= len(f.queue[0])
	f.queue[0] = nil
	f.queue = f.queue[1:]
	f.status.Sent++
}

func (f *Forwarder) connected(is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Connected = is
}

// Run sends until ctx ends, and then, for the time of one write at most, what is still held if there is a connection. It
// returns pool.ErrInvalid at once where Dial or Format is missing, and nil otherwise.
func (f *Forwarder) Run(ctx context.Context) error {
	if f.Dial == nil || f.Format == nil {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "forwarder", Want: "Dial and Format"}
	}
	log := f.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	wait, told := firstWait, false
	for ctx.Err() == nil {
		conn, err := f.Dial(ctx)
		if err == nil {
			if told {
				log.Info("audit entries are sent again")
			}
			before := f.Status().Sent
			f.connected(true)
			err = f.pump(ctx, conn)
			f.connected(false)
			if f.Status().Sent > before {
				wait, told = firstWait, false
			}
		}
		if ctx.Err() != nil {
			break
		}
		if !told {
			log.Warn("audit entries cannot be sent", "error", err)
			told = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
			wait = min(2*wait, mostWait)
		}
	}
	return nil
}

// errClosed is that of a collector that has closed the connection.
var errClosed = errors.New("the collector has closed the connection")

// pump writes what there is until the connection breaks or ctx ends.
func (f *Forwarder) pump(ctx context.Context, conn net.Conn) error {
	timeout := f.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	closed := make(chan struct{})
	go func() { // collectors say nothing: that the other end is gone shows here, and not when writing
		defer close(closed)
		_, _ = io.Copy(io.Discard, conn)
	}()
	defer func() {
		_ = conn.Close()
		<-closed
	}()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetWriteDeadline(time.Now().Add(timeout)) })
	defer stop()
	for {
		line, more := f.next()
		if line == nil {
			select {
			case <-more:
			case <-closed:
				return errClosed
			case <-ctx.Done():
				return nil
			}
			continue
		}
		select {
		case <-closed:
			return errClosed
		default:
		}
		if ctx.Err() == nil {
			if err := conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
				return err
			}
		}
		if _, err := conn.Write(line); err != nil {
			return err
		}
		f.sent()
	}
}
