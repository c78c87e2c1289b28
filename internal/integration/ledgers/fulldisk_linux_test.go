package ledgers_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"
)

// TestSQLiteFullDisk fills the disk under an open ledger and then gives it room again, several times. What
// was refused is not stored, not even for one who finds the files after a crash; once there is room all
// goes on without a restart.
func TestSQLiteFullDisk(t *testing.T) {
	dir := t.TempDir()
	size := 4 << 20
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		t.Skipf("NOT RUN: full disk: a small file system cannot be mounted here (root is needed): %v", err)
	}
	defer func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) }()
	path := filepath.Join(dir, "ledger.db")
	w := &wire{connect: func() (driver.Conn, error) { return new(sqlite.Driver).Open(path) }}
	db := sql.OpenDB(w)
	defer func() { require.NoError(t, db.Close()) }()
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)

	random := rand.New(rand.NewPCG(3, 4))
	var want []pool.Batch
	refusedAppends, refusedPuts := 0, 0
	for round := range 2 * rounds(t) {
		largest := []int{200, 5_000, 60_000, 500_000}[3-round%4]
		n := 0
		next := func() []pool.Event {
			n++
			return []pool.Event{
				{ID: fmt.Sprint(round, ".", n, "a"), Kind: "k", Version: 1, Time: time.Unix(int64(n), 0), Data: make([]byte, 1+random.IntN(largest))},
				{ID: fmt.Sprint(round, ".", n, "b"), Kind: "k", Version: 1, Time: time.Unix(int64(n), 0), Data: []byte("{}")},
			}
		}
		for refused := 0; refused < 12; {
			batch, head := next(), pool.Revision(len(want))
			_, err := s.Append(t.Context(), head, batch...)
			if err == nil {
				stored, err := pool.CheckBatch(head, batch)
				require.NoError(t, err)
				want = append(want, pool.Batch{Revision: head + 1, Events: stored})
				continue
			}
			require.ErrorIs(t, err, pool.ErrUnavailable)
			require.NotErrorIs(t, err, pool.ErrUnknown)
			require.ErrorContains(t, err, "full")
			refused++
			refusedAppends++
			require.EqualValues(t, len(want), headAfterCrash(t, path))
			if _, err := s.Put(t.Context(), "k", make([]byte, largest), 0, time.Hour); err != nil {
				require.ErrorIs(t, err, pool.ErrUnavailable)
				refusedPuts++
			} else {
				_, version, err := s.Get(t.Context(), "k")
				require.NoError(t, err)
				if err := s.Delete(t.Context(), "k", version); err != nil {
					require.ErrorIs(t, err, pool.ErrUnavailable)
				}
			}
		}
		require.True(t, reflect.DeepEqual(want, read(t, s)), "reading goes on while the disk is full")
		size += 4 << 20
		require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprint("size=", size)))
		batch, head := next(), pool.Revision(len(want))
		_, err := s.Append(t.Context(), head, batch...)
		require.NoError(t, err, "there is room again")
		stored, err := pool.CheckBatch(head, batch)
		require.NoError(t, err)
		want = append(want, pool.Batch{Revision: head + 1, Events: stored})
		if at, version, err := s.Get(t.Context(), "k"); err == nil {
			require.NoError(t, s.Delete(t.Context(), "k", version), "%d bytes", len(at))
		}
	}
	require.True(t, reflect.DeepEqual(want, read(t, s)))
	require.Positive(t, refusedPuts)
	require.Greater(t, w.refused.Load(), int64(10))
	t.Logf("%d batches stored, %d appends and %d puts refused as unavailable, %d of them at COMMIT, 0 lost", len(want), refusedAppends, refusedPuts, w.refused.Load())
}

// headAfterCrash returns the head that a process finds which has only the files.
func headAfterCrash(t *testing.T, path string) pool.Revision {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "ledger.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(copied+suffix, content, 0o600))
	}
	db, err := sql.Open("sqlite", copied)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var head pool.Revision
	require.NoError(t, db.QueryRowContext(context.Background(), "SELECT MAX(revision) FROM berthage_events").Scan(&head))
	return head
}
