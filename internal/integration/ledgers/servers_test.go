package ledgers_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
)

// TestOpenTogether: of several programs that open an empty database at once each gets the ledger, and there
// is one.
func TestOpenTogether(t *testing.T) {
	t.Parallel()
	each(t, sqlEngines(), "opened by 8 at once", func(t *testing.T, e engine) {
		d := e.store(t)
		const n = 8
		done := make(chan error, n)
		for i := range n {
			db := d.open(t, d.server, nil)
			go func() {
				s, err := sqlledger.Open(t.Context(), db, e.dialect)
				if err == nil {
					_, err = s.Put(t.Context(), fmt.Sprint("key ", i), nil, 0, time.Hour)
				}
				done <- err
			}()
		}
		for range n {
			require.NoError(t, <-done)
		}
		s, _ := d.ledger(t)
		version, err := s.Put(t.Context(), "key", nil, 0, time.Hour)
		require.NoError(t, err)
		require.EqualValues(t, n+1, version)
	})
}

// TestMariaDBHalfMade: MariaDB commits after every change to the schema, so a program that dies while it
// makes the tables leaves some; the next one makes the others.
func TestMariaDBHalfMade(t *testing.T) {
	t.Parallel()
	e := mariaDBEngine()
	e.need(t)
	d := e.store(t)
	_, db := d.ledger(t)
	for _, undo := range []string{"DELETE FROM berthage_schema", "DELETE FROM berthage_sequence", "DROP TABLE berthage_scratch", "DROP TABLE berthage_private", "DROP TABLE berthage_events"} {
		_, err := db.Exec(undo)
		require.NoError(t, err)
		if undo != "DELETE FROM berthage_schema" {
			_, err = db.Exec("DELETE FROM berthage_schema")
			require.NoError(t, err)
		}
		s, _ := d.ledger(t)
		_, err = s.Put(t.Context(), "key", nil, 0, time.Hour)
		if err != nil {
			require.ErrorIs(t, err, pool.ErrConflict)
		}
	}
	s, _ := d.ledger(t)
	_, err := s.Append(t.Context(), 0, batchOf(2, 0)...)
	require.NoError(t, err)
	require.Len(t, read(t, s), 1)
}

// TestLateCommit: the COMMIT of an append is held back for 2 s on the wire. For as long reading finds
// nothing; appending the same batch at the same place waits for the other and settles it.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	each(t, servers(), "COMMIT held back 2 s on the wire", func(t *testing.T, e engine) {
		d := e.store(t)
		r := relayTo(t, d.server)
		s, _ := d.at(t, r.addr, nil)
		other, _ := d.ledger(t)
		batch := batchOf(3, 0)
		r.loseReply(landing)
		start := time.Now()
		_, err := s.Append(t.Context(), 0, batch...)
		require.ErrorIs(t, err, pool.ErrUnknown)
		require.Less(t, time.Since(start), landing, "the caller learns at once that he knows nothing")
		require.Empty(t, read(t, other), "reading alone would say that it is not stored")

		for _, l := range []pool.Ledger{s, other} {
			rev, err := l.Append(t.Context(), 0, batch...)
			require.NoError(t, err)
			require.EqualValues(t, 1, rev)
		}
		require.GreaterOrEqual(t, time.Since(start), landing, "it cannot be known earlier")
		require.Len(t, read(t, other), 1)
		r.mu.Lock()
		defer r.mu.Unlock()
		require.Equal(t, 1, r.held)
	})
}

// TestKilledWhileCommitting: the server ends the connection while COMMIT is on its way. The caller is told
// that the outcome is unknown; nothing is stored until he appends again, and then it is stored once.
func TestKilledWhileCommitting(t *testing.T) {
	t.Parallel()
	each(t, servers(), "connection killed while committing", func(t *testing.T, e engine) {
		d := e.store(t)
		r := relayTo(t, d.server)
		s, behind := d.at(t, r.addr, nil)
		behind.SetMaxOpenConns(1)
		other, db := d.ledger(t)
		session, kill := "SELECT CONNECTION_ID()", "KILL CONNECTION %d"
		if e.name == "PostgreSQL" {
			session, kill = "SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%d)"
		}
		var id int64
		require.NoError(t, behind.QueryRow(session).Scan(&id))
		batch := batchOf(3, 0)
		r.loseReply(time.Second)
		_, err := s.Append(t.Context(), 0, batch...)
		require.ErrorIs(t, err, pool.ErrUnknown)
		_, err = db.Exec(fmt.Sprintf(kill, id))
		require.NoError(t, err)
		time.Sleep(2 * time.Second) // the COMMIT comes to a connection that is gone
		require.Empty(t, read(t, other))
		rev, err := s.Append(t.Context(), 0, batch...)
		require.NoError(t, err)
		require.EqualValues(t, 1, rev)
		require.Len(t, read(t, other), 1)
	})
}

// TestKilledBeforeCommit: a connection that the server has ended since it was last used costs nothing but
// another try.
func TestKilledBeforeCommit(t *testing.T) {
	t.Parallel()
	each(t, servers(), "connections killed while idle", func(t *testing.T, e engine) {
		d := e.store(t)
		r := relayTo(t, d.server)
		s, _ := d.at(t, r.addr, nil)
		for i := range pool.Revision(5) {
			for {
				_, err := s.Append(t.Context(), i, batchOf(1, int(i))...)
				if err == nil {
					break
				}
				require.ErrorIs(t, err, pool.ErrUnavailable, "COMMIT was never sent")
			}
			r.outage()()
		}
		other, _ := d.ledger(t)
		require.Len(t, read(t, other), 5)
	})
}

// TestWaitsForAnother: a transaction elsewhere that has taken the next revision delays an append. The append
// ends with its context; it goes on when the other is gone, and is a conflict when the other is stored.
// Readers do not wait.
func TestWaitsForAnother(t *testing.T) {
	t.Parallel()
	each(t, servers(), "an unfinished append elsewhere", func(t *testing.T, e engine) {
		d := e.store(t)
		s, _ := d.ledger(t)
		_, db := d.ledger(t)
		_, err := s.Append(t.Context(), 0, batchOf(1, 0)...)
		require.NoError(t, err)
		begin := func(revision int64) *sql.Tx {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.Exec(placed(e, "INSERT INTO berthage_events (revision, idx, id, time, actor, cause, epoch, kind, version, data, subject, private_hash, leaf, size)"+
				" SELECT ?, idx, 'another', time, actor, cause, epoch, kind, version, data, subject, private_hash, leaf, size FROM berthage_events WHERE revision = 1"), revision)
			require.NoError(t, err)
			return tx
		}
		tx := begin(2)
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err = s.Append(short, 1, batchOf(1, 1)...)
		require.ErrorIs(t, err, pool.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(start), 5*time.Second)
		require.Len(t, read(t, s), 1)

		for _, c := range []struct {
			prev pool.Revision
			end  func(*sql.Tx) error
			want error
		}{
			{1, (*sql.Tx).Rollback, nil},
			{2, (*sql.Tx).Commit, pool.ErrConflict},
		} {
			if c.prev > 1 {
				tx = begin(int64(c.prev) + 1)
			}
			done := make(chan error, 1)
			go func() {
				_, err := s.Append(t.Context(), c.prev, batchOf(1, 2)...)
				done <- err
			}()
			time.Sleep(500 * time.Millisecond)
			require.Empty(t, done)
			require.NoError(t, c.end(tx))
			require.ErrorIs(t, <-done, c.want)
		}
	})
}

// TestStrangeSessions: the settings of connections that could change what is stored, or how it is seen, do
// not matter.
func TestStrangeSessions(t *testing.T) {
	t.Parallel()
	options := map[string][]url.Values{
		"PostgreSQL": {
			{"default_transaction_isolation": {"serializable"}, "synchronous_commit": {"off"}, "bytea_output": {"escape"}, "timezone": {"Asia/Kathmandu"}, "extra_float_digits": {"-15"}},
			{"default_query_exec_mode": {"simple_protocol"}, "default_transaction_read_only": {"on"}, "datestyle": {"German"}},
		},
		"MariaDB": {
			{"charset": {"latin1"}, "sql_mode": {"'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'"}, "time_zone": {"'+05:45'"}, "tx_isolation": {"'SERIALIZABLE'"}},
			{"interpolateParams": {"true"}, "parseTime": {"true"}, "clientFoundRows": {"true"}, "sql_mode": {"'PAD_CHAR_TO_FULL_LENGTH'"}, "default_storage_engine": {"Aria"}},
		},
	}
	ledger := [][]string{{"bytes", "forget", "compact", "16 racing appenders"}, {"bytes", "forget", "conflict"}}
	each(t, servers(), "settings of connections", func(t *testing.T, e engine) {
		for i, o := range options[e.name] {
			for _, c := range ledgertest.Ledger() {
				if slices.Contains(ledger[i], c.Name) {
					d := e.store(t)
					s, _ := d.at(t, d.server, o)
					require.NoError(t, c.Check(t.Context(), ledgertest.Store{Ledger: s}))
				}
			}
			for _, c := range ledgertest.Scratch() {
				if c.Name == "values" || c.Name == "expiry" {
					d := e.store(t)
					s, _ := d.at(t, d.server, o)
					require.NoError(t, c.Check(t.Context(), ledgertest.ScratchStore{Scratch: s}))
				}
			}
		}
	})
}

// TestClock: the time is the database's, in UTC, wherever it says that it is.
func TestClock(t *testing.T) {
	t.Parallel()
	each(t, sqlEngines(), "UTC in any time zone", func(t *testing.T, e engine) {
		s, _ := e.store(t).ledger(t)
		before := time.Now()
		now, err := s.Now(t.Context())
		require.NoError(t, err)
		require.WithinRange(t, now, before.Add(-10*time.Millisecond), time.Now().Add(10*time.Millisecond)) // SQLite has milliseconds
	})
}
