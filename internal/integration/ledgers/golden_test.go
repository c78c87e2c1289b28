package ledgers_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
)

var writeGolden = flag.Bool("write-golden", false, "write the golden database of the present schema, if there is none")

// goldenBatches are what the golden databases hold: 30 batches, of which 12 are archived; the subject
// "forgotten" has been forgotten.
func goldenBatches(t *testing.T) []pool.Batch {
	t.Helper()
	var all []pool.Batch
	for i := range pool.Revision(30) {
		batch := []pool.Event{{
			ID: "e" + strconv.Itoa(int(i)), Time: time.Date(2026, 11, 20, 12, int(i), 0, 1000, time.UTC), Actor: "ada é 'x'", Cause: "token \U0001f6a2",
			Epoch: int64(i) << 40, Kind: "test.golden", Version: 1 + int(i%3), Data: json.RawMessage(`{ "n": ` + strconv.Itoa(int(i)) + "}\n"),
		}}
		for _, subject := range []string{"kept", "forgotten"} {
			e := pool.Event{ID: batch[0].ID + subject, Time: batch[0].Time, Actor: "berthage", Kind: "test.private", Version: 1, Data: json.RawMessage("null"),
				Subject: subject, Private: []byte("private part of " + subject), Salt: []byte("sixteen bytes or more")}
			e.Seal()
			if i%4 == 0 {
				batch = append(batch, e)
			}
		}
		stored, err := pool.CheckBatch(i, batch)
		require.NoError(t, err)
		all = append(all, pool.Batch{Revision: i + 1, Events: stored})
	}
	return all
}

// goldenDigest is SHA-256 over the leaf hashes of all events, in order.
const goldenDigest = "55bfb39a29ef572dae1f24ce1e77eb2da8c854c0ff7c74d0a2ab991d6f15d362"

// TestSQLiteGolden opens databases of every released schema and goes on with them.
func TestSQLiteGolden(t *testing.T) {
	t.Parallel()
	if *writeGolden {
		write(t, filepath.Join("testdata", "schema1.db"))
	}
	files, err := filepath.Glob(filepath.Join("testdata", "schema*.db"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			path := filepath.Join(t.TempDir(), "ledger.db")
			require.NoError(t, os.WriteFile(path, content, 0o600))
			s, _ := openSQLite(t, path)

			want := goldenBatches(t)
			digest := sha256.New()
			for i := range want {
				for j := range want[i].Events {
					e := &want[i].Events[j]
					leaf := e.Leaf()
					digest.Write(leaf[:])
					if e.Subject == "forgotten" {
						e.Private, e.Salt = nil, nil
					}
				}
			}
			require.Equal(t, goldenDigest, hex.EncodeToString(digest.Sum(nil)))
			at, snapshot, err := s.Checkpoint(t.Context())
			require.NoError(t, err)
			require.EqualValues(t, 12, at)
			require.Equal(t, "golden snapshot", string(snapshot))
			var got []pool.Batch
			for b, err := range s.Archive(t.Context(), 0) {
				require.NoError(t, err)
				got = append(got, b)
			}
			for b, err := range s.Read(t.Context(), at) {
				require.NoError(t, err)
				got = append(got, b)
			}
			require.Equal(t, want, got)
			value, version, err := s.Get(t.Context(), "golden key")
			require.NoError(t, err)
			require.Equal(t, "golden value", string(value))
			require.EqualValues(t, 2, version)

			version, err = s.Put(t.Context(), "new key", nil, 0, time.Hour)
			require.NoError(t, err)
			require.EqualValues(t, 3, version, "versions go on where they stood")
			rev, err := s.Append(t.Context(), 30, batchOf(3, 31)...)
			require.NoError(t, err)
			require.EqualValues(t, 31, rev)
			rev, err = s.Append(t.Context(), 4, want[4].Events...)
			require.NoError(t, err, "an archived batch again")
			require.EqualValues(t, 5, rev)
		})
	}
}

// write makes the golden database of the present schema. One that is there is never replaced.
func write(t *testing.T, path string) {
	t.Helper()
	_, err := os.Stat(path)
	require.ErrorIs(t, err, os.ErrNotExist, "a released golden file is never replaced")
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	for _, b := range goldenBatches(t) {
		_, err := s.Append(t.Context(), b.Revision-1, b.Events...)
		require.NoError(t, err)
	}
	require.NoError(t, s.Compact(t.Context(), 5, []byte("older snapshot")))
	require.NoError(t, s.Compact(t.Context(), 12, []byte("golden snapshot")))
	require.NoError(t, s.Forget(t.Context(), "forgotten"))
	version, err := s.Put(t.Context(), "golden key", []byte("older value"), 0, time.Hour)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), "golden key", []byte("golden value"), version, 200*365*24*time.Hour)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}
