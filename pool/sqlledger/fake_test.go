package sqlledger_test

import (
	"context"
	"database/sql/driver"
	"io"
	"strings"
	"sync"
)

// fake is a driver.Connector whose database is a function: it answers what its script says.
type fake struct {
	mu     sync.Mutex
	script func(query string, args []driver.NamedValue) ([][]driver.Value, error)
	log    []string // statements, and "open" and "close" of connections
}

func (f *fake) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, what)
}

// count returns how many entries of the log start so.
func (f *fake) count(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func (f *fake) Driver() driver.Driver { return nil }

func (f *fake) Connect(context.Context) (driver.Conn, error) {
	f.note("open")
	return &fakeConn{f}, nil
}

type fakeConn struct{ *fake }

func (c *fakeConn) Close() error                        { c.note("close"); return nil }
func (c *fakeConn) Begin() (driver.Tx, error)           { panic("transactions are begun by statement") }
func (c *fakeConn) Prepare(string) (driver.Stmt, error) { panic("statements are not prepared") }

func (c *fakeConn) run(ctx context.Context, query string, args []driver.NamedValue) ([][]driver.Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.note(query)
	c.mu.Lock()
	script := c.script
	c.mu.Unlock()
	return script(query, args)
}

func (c *fakeConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	rows, err := c.run(ctx, query, args)
	return driver.RowsAffected(len(rows)), err
}

func (c *fakeConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.run(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return &fakeRows{c.fake, rows}, nil
}

type fakeRows struct {
	*fake
	rows [][]driver.Value
}

func (r *fakeRows) Close() error { return nil }

func (r *fakeRows) Columns() []string {
	if len(r.rows) == 0 {
		return make([]string, 1)
	}
	return make([]string, len(r.rows[0]))
}

func (r *fakeRows) Next(dest []driver.Value) error {
	if len(r.rows) == 0 {
		return io.EOF
	}
	r.note("row")
	copy(dest, r.rows[0])
	r.rows = r.rows[1:]
	return nil
}

// coded is an error as drivers of SQLite return it.
type coded struct {
	code int
	text string
}

func (e *coded) Error() string { return e.text }
func (e *coded) Code() int     { return e.code }
