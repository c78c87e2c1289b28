package ledgers_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/stretchr/testify/require"
)

var writeGolden = flag.Bool("write-golden", false, "write the golden databases of the present schemas that are not there")

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

// TestGolden opens databases of every released schema, of SQLite as a file and of servers as their own dump,
// and goes on with them.
func TestGolden(t *testing.T) {
	t.Parallel()
	files := map[string]string{"SQLite": "sqlite%d.db", "PostgreSQL": "postgresql%d.sql", "MariaDB": "mariadb%d.sql"}
	each(t, sqlEngines(), "written by every released schema", func(t *testing.T, e engine) {
		_, db := e.store(t).ledger(t)
		var present int
		require.NoError(t, db.QueryRow("SELECT MAX(version) FROM berthage_schema").Scan(&present))
		if *writeGolden {
			write(t, e, filepath.Join("testdata", fmt.Sprintf(files[e.name], present)))
		}
		for version := 1; version <= present; version++ {
			d := e.store(t)
			restore(t, d, filepath.Join("testdata", fmt.Sprintf(files[e.name], version)))
			golden(t, d)
		}
	})
}

// golden checks that the database holds what a golden one must, and goes on with it.
func golden(t *testing.T, d database) {
	t.Helper()
	s, db := d.ledger(t)
	want := goldenBatches(t)
	digest := sha256.New()
	tree := treeOf(want)
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
	require.True(t, reflect.DeepEqual(want, got))
	verified, err := s.Verify(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, tree, verified)
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

	// What older schemas did not have was filled in: the last event of an old batch is missed too.
	_, err = db.Exec("DELETE FROM berthage_events WHERE revision = 29 AND idx = 2")
	require.NoError(t, err)
	_, err = s.Verify(t.Context(), 28)
	require.NoError(t, err)
	_, err = s.Verify(t.Context(), 29)
	require.ErrorIs(t, err, pool.ErrCorrupt)
	require.NoError(t, s.Compact(t.Context(), 31, []byte("newer snapshot")))
	_, snapshot, err = s.Checkpoint(t.Context())
	require.NoError(t, err)
	require.Equal(t, "newer snapshot", string(snapshot))
}

// inDump stands in a dump of PostgreSQL for the schema's name.
const inDump = "berthage_golden"

// restore makes the database what the file says.
func restore(t *testing.T, d database, file string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	if d.path != "" {
		require.NoError(t, os.WriteFile(d.path, content, 0o600))
		return
	}
	options := url.Values{}
	if d.engine.name == "MariaDB" {
		options.Set("multiStatements", "true")
	}
	db := d.open(t, d.server, options)
	db.SetMaxIdleConns(0) // a dump changes the session
	_, err = db.Exec(strings.ReplaceAll(string(content), inDump, d.name))
	require.NoError(t, err)
}

// write makes the golden database of the present schema, if it is not there. One that is there is never
// replaced.
func write(t *testing.T, e engine, file string) {
	t.Helper()
	if _, err := os.Stat(file); err == nil {
		return
	}
	d := e.store(t)
	s, db := d.ledger(t)
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
	if d.path != "" {
		require.NoError(t, db.Close())
		content, err := os.ReadFile(d.path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, content, 0o644))
		return
	}
	host, port, err := net.SplitHostPort(d.server)
	require.NoError(t, err)
	dump := exec.Command("pg_dump", "-h", host, "-p", port, "-U", "berthage", "-d", "postgres", "-n", d.name, "--inserts", "--no-owner", "--no-privileges", "--no-comments")
	if e.name == "MariaDB" {
		dump = exec.Command("mariadb-dump", "--no-defaults", "-h", host, "-P", port, "-u", "root", "--hex-blob", "--skip-dump-date", d.name)
	}
	dump.Stderr = os.Stderr
	content, err := dump.Output()
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(string(content), d.name, inDump)) {
		if !strings.HasPrefix(line, "\\") && !strings.HasPrefix(line, "--") && !strings.HasPrefix(line, "CREATE SCHEMA") && strings.TrimSpace(line) != "" {
			lines = append(lines, line) // without the commands of psql and what is there already
		}
	}
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "")), 0o644))
}
