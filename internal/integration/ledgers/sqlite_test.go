package ledgers_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

// openSQLite opens the database file at path, as each process would for itself.
func openSQLite(t testing.TB, path string) (*sqlledger.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	return s, db
}

// openWired opens it behind a wire.
func openWired(t testing.TB, path string) (*sqlledger.Store, *wire) {
	t.Helper()
	w := &wire{connect: func() (driver.Conn, error) { return new(sqlite.Driver).Open(path) }}
	db := sql.OpenDB(w)
	t.Cleanup(func() {
		w.late.Wait()
		require.NoError(t, db.Close())
	})
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	return s, w
}

// TestSQLiteReopen closes everything in between.
func TestSQLiteReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "strange name?a=%41#&'\".db")
	var want []pool.Batch
	for i := range pool.Revision(10) {
		db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path))
		require.NoError(t, err)
		s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
		require.NoError(t, err)
		require.Equal(t, want, read(t, s))
		b := batchOf(3, int(i))
		_, err = s.Append(t.Context(), i, b...)
		require.NoError(t, err)
		stored, err := pool.CheckBatch(i, b)
		require.NoError(t, err)
		want = append(want, pool.Batch{Revision: i + 1, Events: stored})
		_, err = s.Put(t.Context(), fmt.Sprint("k", i), []byte("v"), 0, time.Hour)
		require.NoError(t, err)
		_, version, err := s.Get(t.Context(), "k0")
		require.NoError(t, err)
		require.EqualValues(t, 1, version)
		require.NoError(t, db.Close())
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	require.NoError(t, err)
	require.Equal(t, []string{path}, files)
}

func read(t testing.TB, l pool.Ledger) (all []pool.Batch) {
	t.Helper()
	for b, err := range l.Read(t.Context(), 0) {
		require.NoError(t, err)
		all = append(all, b)
	}
	return all
}

// TestSQLiteAlwaysFlushes: whatever the connection's string says, a commit is flushed to the disk.
func TestSQLiteAlwaysFlushes(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "ledger.db")+"?_pragma=synchronous(OFF)&_pragma=journal_mode(DELETE)")
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	db.SetMaxOpenConns(1)
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	_, err = s.Append(t.Context(), 0, batchOf(1, 0)...)
	require.NoError(t, err)
	var synchronous, journal string
	require.NoError(t, db.QueryRow("PRAGMA synchronous").Scan(&synchronous))
	require.NoError(t, db.QueryRow("PRAGMA journal_mode").Scan(&journal))
	require.Equal(t, "2", synchronous)
	require.Equal(t, "wal", journal)
}

// TestSQLiteRefuses: databases that cannot keep the promises, and schemas that are not ours.
func TestSQLiteRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil string // statement on a good database; empty: the database is in memory
		kind  error
		text  string
	}{
		"in memory":          {"", pool.ErrInvalid, "journal mode"},
		"newer":              {"INSERT INTO berthage_schema VALUES (3, '', 0)", sqlledger.ErrNewerSchema, `"3"`},
		"much newer":         {"INSERT INTO berthage_schema VALUES (7, '', 0)", sqlledger.ErrNewerSchema, `"7"`},
		"changed":            {"UPDATE berthage_schema SET checksum = 'x'", pool.ErrCorrupt, "schema"},
		"no first migration": {"DELETE FROM berthage_schema WHERE version = 1", pool.ErrCorrupt, "schema"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := ":memory:"
			if c.spoil != "" {
				path = filepath.Join(t.TempDir(), "ledger.db")
				_, db := openSQLite(t, path)
				_, err := db.Exec(c.spoil)
				require.NoError(t, err)
			}
			db, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			_, err = sqlledger.Open(t.Context(), db, sqlledger.SQLite())
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, "open ledger")
		})
	}
	t.Run("no database", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "text")
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600))
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		defer func() { require.NoError(t, db.Close()) }()
		_, err = sqlledger.Open(t.Context(), db, sqlledger.SQLite())
		require.ErrorIs(t, err, pool.ErrUnavailable)
		require.ErrorContains(t, err, "not a database")
	})
}

// TestSQLiteScratchSweeps: what has expired does not stay in the file.
func TestSQLiteScratchSweeps(t *testing.T) {
	t.Parallel()
	s, db := openSQLite(t, filepath.Join(t.TempDir(), "ledger.db"))
	for i := range 20 {
		_, err := s.Put(t.Context(), fmt.Sprint("short", i), nil, 0, time.Millisecond)
		require.NoError(t, err)
	}
	time.Sleep(20 * time.Millisecond)
	_, err := s.Put(t.Context(), "long", nil, 0, time.Hour)
	require.NoError(t, err)
	var n int
	require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM berthage_scratch").Scan(&n))
	require.Equal(t, 1, n)
}

// TestSQLiteWaitsForLocks: a lock held elsewhere delays an append; it ends with its context, not later.
func TestSQLiteWaitsForLocks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	s, _ := openSQLite(t, path)
	_, other := openSQLite(t, path)
	conn, err := other.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)

	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = s.Append(short, 0, batchOf(1, 0)...)
	require.ErrorIs(t, err, pool.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Empty(t, read(t, s), "readers are not held up")

	done := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), 0, batchOf(1, 1)...)
		done <- err
	}()
	time.Sleep(500 * time.Millisecond)
	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.Len(t, read(t, s), 1)
}

// TestSQLiteForgetsForGood: the bytes are gone from the files, not only from the tables.
func TestSQLiteForgetsForGood(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	s, _ := openSQLite(t, path)
	const subjects = 60
	secret := func(subject int) string { return fmt.Sprintf("<secret of %d>", subject) }
	random := rand.New(rand.NewPCG(1, 2))
	at := pool.Revision(0)
	add := func(n int) {
		for range n {
			var batch []pool.Event
			for i := range 1 + random.IntN(5) {
				subject := random.IntN(subjects)
				e := pool.Event{ID: fmt.Sprint(at, ".", i), Kind: "k", Version: 1, Time: time.Now(), Subject: fmt.Sprint("s", subject), Salt: make([]byte, 16)}
				e.Private = []byte(strings.Repeat(secret(subject), 1+random.IntN(40)*random.IntN(20)))
				e.Seal()
				batch = append(batch, e)
			}
			_, err := s.Append(t.Context(), at, batch...)
			require.NoError(t, err)
			at++
		}
	}
	gone := func(what string) {
		for _, file := range []string{path, path + "-wal"} {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			require.False(t, bytes.Contains(content, []byte(what)), "%s is still in %s", what, filepath.Base(file))
		}
	}
	add(150)
	for subject := range subjects {
		require.NoError(t, s.Forget(t.Context(), fmt.Sprint("s", subject)))
		gone(secret(subject))
		if subject%10 != 0 {
			continue
		}
		for _, b := range read(t, s) {
			for _, e := range b.Events {
				var n int
				_, err := fmt.Sscanf(e.Subject, "s%d", &n)
				require.NoError(t, err)
				require.Equal(t, n > subject, e.Private != nil)
			}
		}
		if subject == 30 {
			add(50)
			for again := range subject + 1 {
				require.NoError(t, s.Forget(t.Context(), fmt.Sprint("s", again)))
				gone(secret(again))
			}
		}
	}
	require.NoError(t, s.Compact(t.Context(), 10, []byte(strings.Repeat("<secret in a snapshot>", 10_000))))
	require.NoError(t, s.Compact(t.Context(), 11, []byte("without")))
	gone("<secret in a snapshot>")
}
