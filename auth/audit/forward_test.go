package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// collector is the other end: it takes connections one after another, or refuses them.
type collector struct {
	conns chan net.Conn
	up    atomic.Bool
}

func (c *collector) dial(context.Context) (net.Conn, error) {
	if !c.up.Load() {
		return nil, errors.New("refused")
	}
	here, there := net.Pipe()
	c.conns <- there
	return here, nil
}

func newCollector() *collector {
	c := &collector{conns: make(chan net.Conn, 10)}
	c.up.Store(true)
	return c
}

// entries reads n lines of a connection.
func entries(t *testing.T, r *bufio.Reader, n int) (out []audit.Entry) {
	t.Helper()
	for range n {
		line, err := r.ReadBytes('\n')
		require.NoError(t, err)
		var e audit.Entry
		require.NoError(t, json.Unmarshal(line, &e))
		out = append(out, e)
	}
	return out
}

func numbered(n int) audit.Entry {
	return audit.Entry{Time: noon().Add(time.Duration(n) * time.Second), Actor: "ada", Action: fmt.Sprint("action ", n), Result: audit.Done}
}

func run(t *testing.T, f *audit.Forwarder) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		require.NoError(t, <-done)
	}
}

// Entries arrive in their order; those that come while the collector is away arrive when it is back, the one that was being
// written included.
func TestForwarderReconnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCollector()
		var said bytes.Buffer
		f := &audit.Forwarder{Dial: c.dial, Format: audit.JSONLines{}, Logger: slog.New(slog.NewTextHandler(&said, nil))}
		stop := run(t, f)
		for n := range 5 {
			f.Send(numbered(n))
		}
		conn := <-c.conns
		got := entries(t, bufio.NewReaderSize(conn, 16), 2)
		c.up.Store(false)
		require.NoError(t, conn.Close())
		for n := 5; n < 20; n++ {
			f.Send(numbered(n))
			time.Sleep(20 * time.Second)
		}
		synctest.Wait()
		require.False(t, f.Status().Connected)
		require.Equal(t, 1, strings.Count(said.String(), "cannot be sent"), "not at every try: %s", said.String())
		c.up.Store(true)
		conn = <-c.conns
		r := bufio.NewReader(conn)
		got = append(got, entries(t, r, 18)...)
		for n, e := range got {
			require.Equal(t, fmt.Sprint("action ", n), e.Action)
		}
		synctest.Wait()
		require.Equal(t, audit.ForwarderStatus{Connected: true, Sent: 20}, f.Status())
		require.Contains(t, said.String(), "sent again")

		// A collector that goes while nothing is sent is noticed too, so that the next entry is not written to nobody.
		require.NoError(t, conn.Close())
		time.Sleep(2 * time.Second)
		conn = <-c.conns
		f.Send(numbered(20))
		require.Equal(t, "action 20", entries(t, bufio.NewReader(conn), 1)[0].Action)
		synctest.Wait()

		// What is held when the program ends is still sent, if that does not take long.
		f.Send(numbered(21))
		f.Send(numbered(22))
		go stop()
		require.Equal(t, "action 22", entries(t, bufio.NewReader(conn), 2)[1].Action)
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

// A collector that is away, or does not read, holds nobody up: what does not fit is counted, and an entry at its place says how many.
func TestForwarderSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCollector()
		one := numbered(10)
		size := len(audit.JSONLines{}.Append(nil, &one))
		f := &audit.Forwarder{Dial: c.dial, Format: audit.JSONLines{}, MostBytes: 10*size + 300, Timeout: time.Second}
		stop := run(t, f)
		conn := <-c.conns // which nobody reads
		for n := 10; n < 99; n++ {
			f.Send(numbered(n))
		}
		before := f.Status()
		require.Positive(t, before.Lost)
		require.Equal(t, 89, before.Waiting+int(before.Lost))
		time.Sleep(2 * time.Second) // the write has been given up by now
		require.NoError(t, conn.Close())
		r := bufio.NewReader(<-c.conns)
		got := entries(t, r, before.Waiting)
		for n, e := range got {
			require.Equal(t, fmt.Sprint("action ", 10+n), e.Action)
		}
		gap := entries(t, r, 1)[0]
		require.Equal(t, audit.Entry{Time: numbered(98).Time, Actor: "berthage", Action: "audit.lost", Result: audit.Lost, Count: before.Lost, Detail: "entries that could not be sent in time"}, gap)
		f.Send(numbered(200))
		require.Equal(t, "action 200", entries(t, r, 1)[0].Action)
		stop()
		require.Equal(t, before.Lost, f.Status().Lost)
	})
}

// The place of the gap is before what fits again, also where nothing was sent in between.
func TestForwarderGapIsInItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCollector()
		c.up.Store(false)
		f := &audit.Forwarder{Dial: c.dial, Format: audit.JSONLines{}, MostBytes: 700}
		large := numbered(2)
		large.Detail = strings.Repeat("x", 400)
		f.Send(numbered(1))
		f.Send(large)
		f.Send(large) // does not fit
		f.Send(numbered(3))
		require.EqualValues(t, 2, f.Status().Lost, "with what says so it does not fit either")
		c.up.Store(true)
		stop := run(t, f)
		r := bufio.NewReader(<-c.conns)
		require.Equal(t, "action 2", entries(t, r, 2)[1].Action)
		synctest.Wait()
		f.Send(numbered(4))
		got := entries(t, r, 2)
		require.EqualValues(t, 2, got[0].Count)
		require.Equal(t, "action 4", got[1].Action)
		stop()
	})
}

func TestForwarderWithoutItsFields(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, (&audit.Forwarder{}).Run(t.Context()), pool.ErrInvalid)
	require.ErrorIs(t, (&audit.Forwarder{Format: audit.JSONLines{}}).Run(t.Context()), pool.ErrInvalid)
}

// Over a real connection: syslog with octet counting.
func TestForwarderOverTCP(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	f := &audit.Forwarder{Format: audit.Syslog{Host: "db-1"}, Dial: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}}
	stop := run(t, f)
	f.Send(numbered(1))
	conn, err := l.Accept()
	require.NoError(t, err)
	r := bufio.NewReader(conn)
	f.Send(numbered(2))
	for n := 1; n < 3; n++ {
		length, err := r.ReadString(' ')
		require.NoError(t, err)
		var size int
		_, err = fmt.Sscan(length, &size)
		require.NoError(t, err)
		m := make([]byte, size)
		_, err = io.ReadFull(r, m)
		require.NoError(t, err)
		require.Contains(t, string(m), fmt.Sprintf(`"action":"action %d"`, n))
		require.True(t, bytes.HasPrefix(m, []byte("<110>1 ")))
	}
	require.NoError(t, conn.Close())
	stop()
}
