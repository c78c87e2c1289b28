package sqlledger_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
)

var (
	errFull    = &coded{13, "database or disk is full (13)"}
	errBusy    = &coded{5, "database is locked (5) (SQLITE_BUSY)"}
	errFlush   = &coded{1034, "disk I/O error (1034)"}
	errNetwork = errors.New("read tcp: connection reset by peer")
)

// healthy answers like an empty SQLite ledger of the present schema. fail, if not nil, comes first.
func healthy(fail func(query string) error) func(string, []driver.NamedValue) ([][]driver.Value, error) {
	return func(query string, _ []driver.NamedValue) ([][]driver.Value, error) {
		if fail != nil {
			if err := fail(query); err != nil {
				return nil, err
			}
		}
		one := func(v ...driver.Value) ([][]driver.Value, error) { return [][]driver.Value{v}, nil }
		switch {
		case strings.Contains(query, "sqlite_version"):
			return one("3.50.4")
		case query == "PRAGMA encoding":
			return one("UTF-8")
		case query == "PRAGMA journal_mode = WAL":
			return one("wal")
		case strings.HasPrefix(query, "SELECT version, checksum"):
			return nil, nil
		case strings.HasPrefix(query, "SELECT COALESCE(MAX(revision), 0)"):
			return one(int64(0))
		case strings.HasPrefix(query, "SELECT COALESCE((SELECT"):
			return one(int64(0), int64(1))
		case strings.HasPrefix(query, "SELECT q.version"):
			return one(int64(1), int64(0), nil, nil)
		case strings.HasPrefix(query, "DELETE FROM berthage_scratch WHERE name = ? AND version"):
			return one(int64(1))
		}
		return nil, nil
	}
}

func open(t *testing.T) (*sqlledger.Store, *fake) {
	t.Helper()
	f := &fake{script: healthy(nil)}
	db := sql.OpenDB(f)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	f.log = nil
	return s, f
}

// failing lets statements with that prefix fail, the first n times; 0 stands for always.
func failing(prefix string, n int, err error) func(string, []driver.NamedValue) ([][]driver.Value, error) {
	failed := 0
	return healthy(func(query string) error {
		if !strings.HasPrefix(query, prefix) || n > 0 && failed == n {
			return nil
		}
		failed++
		return err
	})
}

const begin = "PRAGMA busy_timeout = 20; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; BEGIN IMMEDIATE"

// TestWhatAnErrorProves: an error before COMMIT was sent stored nothing; one from COMMIT may have, unless
// the database itself says that it did not; locks are waited out.
func TestWhatAnErrorProves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at      string
		times   int
		err     error
		want    error // nil: success in the end
		commits int   // COMMITs sent
		lost    bool  // the connection must not be used again
	}{
		{begin, 0, errNetwork, pool.ErrUnavailable, 0, true},
		{begin, 3, errBusy, nil, 1, false},
		{begin, 0, errBusy, pool.ErrUnavailable, 0, false},
		{begin, 1, driver.ErrBadConn, nil, 1, true},
		{"SELECT COALESCE(MAX", 0, errNetwork, pool.ErrUnavailable, 0, false},
		{"SELECT COALESCE(MAX", 1, driver.ErrBadConn, nil, 1, true},
		{"INSERT INTO berthage_events", 0, errNetwork, pool.ErrUnavailable, 0, false},
		{"INSERT INTO berthage_events", 0, errFull, pool.ErrUnavailable, 0, false},
		{"INSERT INTO berthage_private", 0, errFlush, pool.ErrUnavailable, 0, false},
		{"COMMIT", 1, errNetwork, pool.ErrUnknown, 1, true},
		{"COMMIT", 1, errFlush, pool.ErrUnknown, 1, true},
		{"COMMIT", 1, driver.ErrBadConn, pool.ErrUnknown, 1, true},
		{"COMMIT", 1, context.DeadlineExceeded, pool.ErrUnknown, 1, true},
		{"COMMIT", 1, errFull, pool.ErrUnavailable, 1, true},
		{"COMMIT", 2, errBusy, nil, 3, true},
	} {
		t.Run(fmt.Sprint(c.at[:min(len(c.at), 30)], " ", c.times, " ", c.err), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fake{script: healthy(nil)}
				db := sql.OpenDB(f)
				defer func() { require.NoError(t, db.Close()) }()
				s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
				require.NoError(t, err)
				f.script, f.log = failing(c.at, c.times, c.err), nil

				e := pool.Event{ID: "e", Kind: "k", Version: 1, Time: time.Unix(0, 0), Subject: "s", Private: []byte("p")}
				e.Seal()
				start := time.Now()
				_, err = s.Append(t.Context(), 0, e)
				if c.want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, c.want)
					require.ErrorContains(t, err, "append: ")
					for _, other := range []error{pool.ErrUnavailable, pool.ErrUnknown, pool.ErrConflict, context.DeadlineExceeded} {
						require.Equal(t, other == c.want, errors.Is(err, other), "%v", other)
					}
				}
				require.LessOrEqual(t, time.Since(start), 11*time.Second, "waiting is bounded")
				require.Equal(t, c.commits, f.count("COMMIT"))
				require.Equal(t, c.lost, f.count("close") > 0, "%q", f.log)

				f.script = healthy(nil)
				_, err = s.Append(t.Context(), 0, e)
				require.NoError(t, err, "it goes on without a restart")
			})
		})
	}
}

// TestContextEndsBeforeCommit: once the body is done and the context has ended, COMMIT is not sent.
func TestContextEndsBeforeCommit(t *testing.T) {
	t.Parallel()
	s, f := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.script = healthy(func(query string) error {
		if strings.HasPrefix(query, "INSERT INTO berthage_events") {
			cancel()
		}
		return nil
	})
	_, err := s.Append(ctx, 0, pool.Event{ID: "e", Kind: "k", Version: 1})
	require.ErrorIs(t, err, pool.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, f.count("COMMIT"))
	require.Equal(t, 1, f.count("ROLLBACK"), "although the context has ended")
	require.Zero(t, f.count("close"))
}

// TestEndedContextSendsNothing: not one statement.
func TestEndedContextSendsNothing(t *testing.T) {
	t.Parallel()
	s, f := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Append(ctx, 0, pool.Event{ID: "e", Kind: "k", Version: 1})
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Now(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Forget(ctx, "s"), context.Canceled)
	require.Empty(t, f.log)
}

// TestOneWriter: a second write waits for the first, as long as its context lets it.
func TestOneWriter(t *testing.T) {
	t.Parallel()
	s, f := open(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	f.script = healthy(func(query string) error {
		if query == "COMMIT" {
			close(entered)
			<-leave
		}
		return nil
	})
	done := make(chan error)
	go func() {
		_, err := s.Append(t.Context(), 0, pool.Event{ID: "e", Kind: "k", Version: 1})
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Forget(ctx, "s"), context.DeadlineExceeded)
	require.Equal(t, 1, f.count(begin))
	close(leave)
	require.NoError(t, <-done)
}

// TestScratchUnknown: a Put whose COMMIT got lost does not claim that nothing was done.
func TestScratchUnknown(t *testing.T) {
	t.Parallel()
	s, f := open(t)
	f.script = failing("COMMIT", 0, errNetwork)
	_, err := s.Put(t.Context(), "k", nil, 0, time.Hour)
	require.ErrorIs(t, err, pool.ErrUnknown)
	require.ErrorIs(t, s.Delete(t.Context(), "k", 1), pool.ErrUnknown)
	f.script = failing("INSERT", 0, errNetwork)
	_, err = s.Put(t.Context(), "k", nil, 0, time.Hour)
	require.ErrorIs(t, err, pool.ErrUnavailable)
	require.Equal(t, 1, f.count("ROLLBACK"))
}

// TestReadBreaksOff: rows that end in an error are no short page.
func TestReadBreaksOff(t *testing.T) {
	t.Parallel()
	s, f := open(t)
	for _, c := range []struct {
		rows [][]driver.Value
		err  error
		want error
	}{
		{nil, errNetwork, pool.ErrUnavailable},
		{nil, nil, pool.ErrCorrupt}, // the head is 1, and nothing comes
		{[][]driver.Value{make([]driver.Value, 17)}, nil, pool.ErrUnavailable},
	} {
		f.script = func(query string, args []driver.NamedValue) ([][]driver.Value, error) {
			if strings.HasPrefix(query, "SELECT e.revision") {
				return c.rows, c.err
			}
			return healthy(nil)(query, args)
		}
		n := 0
		for _, err := range s.Read(t.Context(), 0) {
			require.ErrorIs(t, err, c.want)
			n++
		}
		require.Equal(t, 1, n)
	}
}

// TestReadIsBounded: of large batches Read holds a few at a time, and asks for fewer once it has seen them.
func TestReadIsBounded(t *testing.T) {
	t.Parallel()
	s, f := open(t)
	const head = 40
	data := make([]byte, 1<<20)
	f.script = func(query string, args []driver.NamedValue) ([][]driver.Value, error) {
		switch {
		case strings.HasPrefix(query, "SELECT COALESCE((SELECT"):
			return [][]driver.Value{{int64(0), int64(head)}}, nil
		case !strings.HasPrefix(query, "SELECT e.revision"):
			return healthy(nil)(query, args)
		}
		var rows [][]driver.Value
		for r := args[0].Value.(int64) + 1; r <= args[1].Value.(int64); r++ {
			e := pool.Event{ID: "e", Revision: pool.Revision(r), Kind: "k", Version: 1, Time: time.Unix(0, 0), Data: data}
			leaf := e.Leaf()
			rows = append(rows, []driver.Value{r, int64(0), "e", int64(0), "", "", int64(0), "k", int64(1), data, "", []byte{}, leaf[:], int64(1), nil, nil, nil})
		}
		return rows, nil
	}
	n := 0
	for b, err := range s.Read(t.Context(), 0) {
		require.NoError(t, err)
		n++
		require.EqualValues(t, n, b.Revision)
		ahead := f.count("row") - n // what is held, or was fetched in vain
		require.LessOrEqual(t, ahead, 10)
	}
	require.Equal(t, head, n)
}

// TestOpenRefuses: a zero dialect, an old SQLite, another encoding, no WAL.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	answering := func(query, answer string) *sql.DB {
		return sql.OpenDB(&fake{script: func(q string, args []driver.NamedValue) ([][]driver.Value, error) {
			if strings.Contains(q, query) {
				return [][]driver.Value{{answer}}, nil
			}
			return healthy(nil)(q, args)
		}})
	}
	for _, c := range []struct {
		db      *sql.DB
		dialect sqlledger.Dialect
		text    string
	}{
		{answering("x", ""), sqlledger.Dialect{}, "dialect"},
		{answering("sqlite_version", "3.41.2"), sqlledger.SQLite(), `SQLite "3.41.2" invalid: version 3.42 or newer`},
		{answering("sqlite_version", "4.0.0"), sqlledger.SQLite(), "version 3.42 or newer"},
		{answering("sqlite_version", "unknown"), sqlledger.SQLite(), "version 3.42 or newer"},
		{answering("encoding", "UTF-16le"), sqlledger.SQLite(), "UTF-8"},
		{answering("journal_mode", "memory"), sqlledger.SQLite(), `journal mode "memory" invalid`},
		{answering("journal_mode", "delete"), sqlledger.SQLite(), "wal"},
	} {
		_, err := sqlledger.Open(t.Context(), c.db, c.dialect)
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.ErrorContains(t, err, c.text)
		require.NoError(t, c.db.Close())
	}
}

// TestMigrations: an empty database gets all, one of the present schema nothing, others are refused.
func TestMigrations(t *testing.T) {
	t.Parallel()
	schema := func(rows ...[]driver.Value) (*fake, error) {
		f := new(fake)
		f.script = func(query string, args []driver.NamedValue) ([][]driver.Value, error) {
			if strings.HasPrefix(query, "SELECT version, checksum") {
				return rows, nil
			}
			return healthy(nil)(query, args)
		}
		db := sql.OpenDB(f)
		defer func() { require.NoError(t, db.Close()) }()
		_, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
		return f, err
	}
	f, err := schema()
	require.NoError(t, err)
	require.Equal(t, 1, f.count("CREATE TABLE berthage_events"))
	require.Equal(t, 2, f.count("INSERT INTO berthage_schema"))
	require.Equal(t, 1, f.count("COMMIT"))

	sums := sqlledger.Checksums(sqlledger.SQLite())
	one, two := []driver.Value{int64(1), sums[0]}, []driver.Value{int64(2), sums[1]}
	f, err = schema(one)
	require.NoError(t, err)
	require.Zero(t, f.count("CREATE TABLE berthage_events"))
	require.Equal(t, 1, f.count("UPDATE berthage_events SET size"))
	require.Equal(t, 1, f.count("INSERT INTO berthage_schema"))

	f, err = schema(one, two)
	require.NoError(t, err)
	require.Zero(t, f.count("CREATE TABLE berthage_events"))
	require.Zero(t, f.count("INSERT INTO berthage_schema"))

	f, err = schema(one, two, []driver.Value{int64(3), "x"})
	require.ErrorIs(t, err, sqlledger.ErrNewerSchema)
	require.ErrorContains(t, err, `schema version "3" schema of a newer program: at most 2; use a newer program`)
	require.Zero(t, f.count("COMMIT"))
	require.Equal(t, 1, f.count("ROLLBACK"))

	_, err = schema([]driver.Value{int64(1), "changed"})
	require.ErrorIs(t, err, pool.ErrCorrupt)
}
