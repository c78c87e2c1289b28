package ledgers_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// wire is a driver.Connector that wraps another's connections and plays the network between program and
// database: it loses replies to COMMIT and cuts all connections.
type wire struct {
	connect func() (driver.Conn, error)

	mu    sync.Mutex
	lose  bool          // the reply to the next COMMIT
	later time.Duration // how much later that COMMIT is carried out
	late  sync.WaitGroup

	refused atomic.Int64 // COMMITs that the database itself refused

	down atomic.Bool
	cuts atomic.Int64 // outages so far; a connection made before the last is dead
}

var (
	errDown = errors.New("connect: connection refused")
	errLost = errors.New("read: connection reset by peer")
)

// loseReply makes the next COMMIT's reply be lost.
func (w *wire) loseReply(later time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lose, w.later = true, later
}

// outage cuts all connections until end is called.
func (w *wire) outage() (end func()) {
	w.cuts.Add(1)
	w.down.Store(true)
	return func() { w.down.Store(false) }
}

func (w *wire) Driver() driver.Driver { return nil }

func (w *wire) Connect(context.Context) (driver.Conn, error) {
	if w.down.Load() {
		return nil, errDown
	}
	c, err := w.connect()
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: c, wire: w, made: w.cuts.Load()}, nil
}

type wireConn struct {
	driver.Conn
	wire     *wire
	made     int64 // cuts when it was made
	detached bool  // a late COMMIT still uses and then closes it
}

func (c *wireConn) err() error {
	switch {
	case c.wire.down.Load():
		return errDown
	case c.made != c.wire.cuts.Load():
		return driver.ErrBadConn // as a driver says of a connection that has died since it was last used
	}
	return nil
}

func (c *wireConn) Close() error {
	if c.detached {
		return nil
	}
	return c.Conn.Close()
}

func (c *wireConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	exec := c.Conn.(driver.ExecerContext).ExecContext
	if query != "COMMIT" {
		return exec(ctx, query, args)
	}
	w := c.wire
	w.mu.Lock()
	lose, later := w.lose, w.later
	w.lose = false
	w.mu.Unlock()
	switch {
	case !lose:
		result, err := exec(ctx, query, args)
		if err != nil {
			w.refused.Add(1)
		}
		return result, err
	case later == 0:
		_, _ = exec(ctx, query, args)
	default:
		c.detached = true
		w.late.Go(func() {
			time.Sleep(later)
			_, _ = exec(context.WithoutCancel(ctx), query, args)
			_ = c.Conn.Close()
		})
	}
	return nil, errLost
}

func (c *wireConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *wireConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
}

func (c *wireConn) ResetSession(ctx context.Context) error {
	return c.Conn.(driver.SessionResetter).ResetSession(ctx)
}
