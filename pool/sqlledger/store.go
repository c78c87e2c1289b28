package sqlledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// Store is a pool.Ledger, a pool.Scratch and a pool.Clock in one SQL database. It is safe for concurrent
// use. It owns neither goroutines nor the *sql.DB, so it has nothing to close.
type Store struct {
	db      *sql.DB
	dialect Dialect
	writer  chan struct{} // has room for the one transaction that writes
}

var (
	_ pool.Ledger  = (*Store)(nil)
	_ pool.Scratch = (*Store)(nil)
	_ pool.Clock   = (*Store)(nil)
)

// Open returns the Store in db, after it has made or migrated its tables, whose names start with
// "berthage_". A schema that a newer program has made is ErrNewerSchema; a database that cannot keep the
// Store's promises is pool.ErrInvalid.
func Open(ctx context.Context, db *sql.DB, d Dialect) (*Store, error) {
	if d.name == "" {
		return nil, &pool.Error{Op: "open ledger", Kind: pool.ErrInvalid, Field: "dialect", Want: "one of this package's, such as SQLite()"}
	}
	s := &Store{db: db, dialect: d, writer: make(chan struct{}, 1)}
	if err := s.retry(ctx, func() error { return d.prepare(ctx, db) }); err != nil {
		return nil, s.failed(ctx, "open ledger", err)
	}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Now implements pool.Clock by the database's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	var now int64
	err := s.retry(ctx, func() error {
		return s.db.QueryRowContext(ctx, s.dialect.sql("SELECT {now}")).Scan(&now)
	})
	if err != nil {
		return time.Time{}, s.failed(ctx, "now", err)
	}
	return time.UnixMicro(now).UTC(), nil
}

// How long locks, deadlocks and broken connections are waited out, and the pauses between tries. The pauses
// stay short, or one who waits would rarely look just when a busy lock is free. Dialects whose database waits
// by itself bound that by the same time.
const (
	patience     = 10 * time.Second
	firstPause   = time.Millisecond
	longestPause = 5 * time.Millisecond
)

// rollbackTime is how long a ROLLBACK may take before the connection is closed instead.
const rollbackTime = 2 * time.Second

// errCommit marks an error that came from COMMIT and proves nothing.
type errCommit struct{ error }

// retry calls f until its error is of another class than again.
func (s *Store) retry(ctx context.Context, f func() error) error {
	deadline, pause := time.Now().Add(patience), firstPause
	for {
		err := f()
		if err == nil || s.class(err) != again || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// class says what err proves, wherever it came from but COMMIT.
func (s *Store) class(err error) class {
	var own *pool.Error
	switch {
	case errors.As(err, &own), errors.As(err, new(errCommit)), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return doubtful
	case errors.Is(err, driver.ErrBadConn): // lost since it was last used, say because the server was restarted
		return again
	}
	return s.dialect.classify(err)
}

// write runs body in a transaction and commits it, again if it could not be because of others. Errors are
// of pool's kinds: those of body as they are, ErrUnknown if COMMIT may have succeeded, and ErrUnavailable
// for the rest. op is for the message.
func (s *Store) write(ctx context.Context, op string, body func(tx *sql.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.failed(ctx, op, s.retry(ctx, func() error { return s.transaction(ctx, body) }))
}

func (s *Store) transaction(ctx context.Context, body func(tx *sql.Conn) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	clean := false // whether no transaction is open on the connection
	defer func() {
		if !clean { // whatever is open there ends with it
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = conn.Close()
	}()
	for i, statement := range s.dialect.begin {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			clean = i == 0 && s.class(err) == again && !errors.Is(err, driver.ErrBadConn)
			return err
		}
	}
	err = body(conn)
	if err == nil {
		err = ctx.Err() // the last moment at which it is known that nothing is stored
	}
	if err != nil {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		_, rollback := conn.ExecContext(bounded, "ROLLBACK")
		clean = rollback == nil
		return err
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		if s.class(err) == doubtful || errors.Is(err, driver.ErrBadConn) {
			err = errCommit{err}
		}
		return err
	}
	clean = true
	return nil
}

// failed returns err as an error of pool's kinds.
func (s *Store) failed(ctx context.Context, op string, err error) error {
	var own *pool.Error
	var commit errCommit
	switch {
	case err == nil:
		return nil
	case errors.As(err, &commit):
		// Only its text is kept: to unwrap to a context's error would say that nothing was sent.
		return &pool.Error{Op: op, Kind: pool.ErrUnknown, Cause: errors.New(commit.Error())}
	case errors.As(err, &own):
		e := *own
		e.Op = op
		return &e
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return &pool.Error{Op: op, Kind: pool.ErrUnavailable, Cause: err}
}

func number[T ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// blob returns b as a value that is never NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
