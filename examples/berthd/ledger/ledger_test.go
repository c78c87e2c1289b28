package ledger_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/examples/berthd/ledger"
	"github.com/berthage/berthage/pool"
)

const id = pool.InstanceID("i0123456789abcdefghjkmnpq")

// filled makes a data directory whose ledger has n events and more.
func filled(t *testing.T, n int) string {
	t.Helper()
	data := t.TempDir()
	s, err := datadir.OpenStore(t.Context(), data)
	require.NoError(t, err)
	fill(t, s, n)
	require.NoError(t, s.Close())
	return data
}

func fill(t *testing.T, l pool.Ledger, n int) {
	t.Helper()
	at := pool.Revision(0)
	add := func(kind string, payload any) {
		e, err := pool.NewEvent(kind, payload)
		require.NoError(t, err)
		e.ID, e.Time = "e"+time.Duration(at).String(), time.Date(2026, 11, 20, 12, 0, int(at), 0, time.UTC)
		if e.Private != nil {
			e.Salt = []byte("sixteen bytes or more")
			e.Seal()
		}
		at, err = l.Append(t.Context(), at, e)
		require.NoError(t, err)
	}
	add(pool.KindOpened, &pool.Opened{Ledger: "first"})
	add(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "sim/h1", Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 8000}}}})
	add(pool.KindProjectPut, &pool.Project{Name: "p"})
	add(pool.KindLaunched, &pool.Launched{Instance: id, Name: "web", Project: "p", Want: pool.Running,
		Spec:  pool.Spec{Guest: pool.Guest{User: "ada", SSHKeys: []string{"ssh-ed25519 SECRET"}}},
		Place: pool.Placement{Host: "sim/h1", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: 1000}}}})
	for range n {
		add(pool.KindTakenOver, &pool.TakenOver{Holder: "daemon"})
	}
}

// do runs a command and returns its exit code and what it has said.
func do(t *testing.T, data string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	code := ledger.Run(context.Background(), append(args, "--data", data), &out, &out)
	return code, out.String()
}

func must(t *testing.T, data string, args ...string) string {
	t.Helper()
	code, out := do(t, data, args...)
	require.Zero(t, code, out)
	return out
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func exec(t *testing.T, data, statement string, args ...any) {
	t.Helper()
	s, err := sql.Open("sqlite", filepath.Join(data, datadir.LedgerFile))
	require.NoError(t, err)
	_, err = s.Exec(statement, args...)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

func field(t *testing.T, out, name string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return f[1]
		}
	}
	require.Fail(t, "no "+name, out)
	return ""
}

// Every way to encrypt can be imported again, and only with what belongs to it.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	data := filled(t, 20)
	keys := t.TempDir()
	identity := filepath.Join(keys, "identity")
	recipient := strings.TrimSpace(must(t, data, "keygen", "--out", identity))
	recipients := write(t, "recipients", "# ours\n"+recipient+"\n")
	other := filepath.Join(keys, "other")
	must(t, data, "keygen", "--out", other)
	secret, wrong := write(t, "passphrase", "correct horse\nsecond line\n"), write(t, "wrong", "incorrect horse\n")
	root := field(t, must(t, data, "verify"), "root")
	for name, c := range map[string]struct{ seal, open, bad []string }{
		"recipient":       {[]string{"--recipient", recipient}, []string{"--identity", identity}, []string{"--identity", other}},
		"recipients file": {[]string{"--recipients-file", recipients}, []string{"--identity", identity}, []string{"--passphrase-file", secret}},
		"passphrase":      {[]string{"--passphrase-file", secret}, []string{"--passphrase-file", secret}, []string{"--passphrase-file", wrong}},
		"unencrypted":     {[]string{"--unencrypted"}, nil, nil},
		"public":          {[]string{"--unencrypted", "--without-private"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "file")
			out := must(t, data, append([]string{"export", "--out", file}, c.seal...)...)
			require.Equal(t, root, field(t, out, "root"))
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, name == "unencrypted" || name == "public", bytes.Contains(content, []byte("ledger.opened")))
			info, err := os.Stat(file)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			entries, err := os.ReadDir(filepath.Dir(file))
			require.NoError(t, err)
			require.Len(t, entries, 1, "nothing is left over")
			code, out := do(t, data, append([]string{"export", "--out", file}, c.seal...)...)
			require.Equal(t, 1, code)
			require.Contains(t, out, "not written over")

			to := t.TempDir()
			if c.bad != nil {
				code, out := do(t, to, append([]string{"import", "--in", file}, c.bad...)...)
				require.Equal(t, 1, code, out)
				code, out = do(t, to, "import", "--in", file)
				require.Equal(t, 2, code, out)
				require.Contains(t, out, "is encrypted")
			}
			out = must(t, to, append([]string{"import", "--in", file}, c.open...)...)
			require.Equal(t, root, field(t, out, "root"))
			identity := field(t, out, "ledger")
			require.NotEqual(t, "first", identity)
			entries, err = os.ReadDir(to)
			require.NoError(t, err)
			for _, e := range entries {
				require.NotContains(t, e.Name(), ".part", "nothing is left over")
			}
			code, out = do(t, to, append([]string{"import", "--in", file}, c.open...)...)
			require.Equal(t, 1, code)
			require.Contains(t, out, "is there already")

			out = must(t, to, "verify")
			require.Contains(t, out, "not confirmed")
			require.Equal(t, "25", field(t, out, "revision"))
			must(t, to, "verify", "--revision", "24", "--root", root)
			code, out = do(t, to, "confirm", "--ledger", "first")
			require.Equal(t, 1, code)
			require.Contains(t, out, "this is ledger")
			must(t, to, "confirm", "--ledger", identity)
			require.Contains(t, must(t, to, "confirm", "--ledger", identity), "nothing to be done")
			require.NotContains(t, must(t, to, "verify"), "not confirmed")
		})
	}
}

// A file that is cut off or changed leaves no ledger behind, encrypted or not.
func TestImportOfADamagedFile(t *testing.T) {
	t.Parallel()
	data := filled(t, 20)
	secret := write(t, "passphrase", "correct horse\n")
	for name, args := range map[string][]string{"unencrypted": {"--unencrypted"}, "encrypted": {"--passphrase-file", secret}} {
		file := filepath.Join(t.TempDir(), "file")
		must(t, data, append([]string{"export", "--out", file}, args...)...)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		changed := bytes.Clone(content)
		changed[len(changed)/2] ^= 1
		for _, bad := range [][]byte{content[:len(content)*3/4], changed} {
			require.NoError(t, os.WriteFile(file, bad, 0o600))
			to := t.TempDir()
			use := []string{"import", "--in", file}
			if name == "encrypted" {
				use = append(use, args...)
			}
			code, out := do(t, to, use...)
			require.NotZero(t, code, out)
			if name == "unencrypted" {
				require.Equal(t, 3, code, out)
				require.Contains(t, out, "line ")
			}
			require.NoFileExists(t, filepath.Join(to, datadir.LedgerFile))
			entries, err := os.ReadDir(to)
			require.NoError(t, err)
			require.LessOrEqual(t, len(entries), 1, "but for the lock")
		}
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ statement, want string }{
		"an edited event":    {"UPDATE berthage_events SET actor = 'bob' WHERE revision = 7", "revision 7 corrupt"},
		"a missing event":    {"DELETE FROM berthage_events WHERE revision = 8", "revision 8 corrupt"},
		"private data":       {"UPDATE berthage_private SET private = zeroblob(LENGTH(private))", "revision 4 corrupt: the private part"},
		"an edited snapshot": {"UPDATE berthage_snapshot SET data = CAST(REPLACE(CAST(data AS TEXT), 'daemon', 'deamon') AS BLOB)", "corrupt: the snapshot"},
		"a snapshot whose hash was edited too": {
			"UPDATE berthage_snapshot SET sum = x'', data = CAST(REPLACE(CAST(data AS TEXT), 'daemon', 'deamon') AS BLOB)", "the snapshot of revision 14: read a snapshot: checksum corrupt"},
	} {
		data := filled(t, 10)
		must(t, data, "compact")
		must(t, data, "verify")
		exec(t, data, c.statement)
		code, out := do(t, data, "verify")
		require.Equal(t, 3, code, "%s: %s", name, out)
		require.Contains(t, out, c.want, name)
	}
	data := filled(t, 10)
	code, out := do(t, data, "verify", "--root", strings.Repeat("00", 32))
	require.Equal(t, 3, code)
	require.Contains(t, out, "the history up to there is another one")
	code, _ = do(t, data, "verify", "--revision", "99")
	require.Equal(t, 1, code)
	// A snapshot of another version of the program is no damage.
	exec(t, data, "INSERT INTO berthage_snapshot (revision, part, data, sum) VALUES (5, 0, ?, x'')", []byte("berthage snapshot 99\n"))
	require.Contains(t, must(t, data, "verify"), "of another version")
	require.Contains(t, must(t, data, "compact"), "archived")
	require.Contains(t, must(t, data, "compact"), "already")
}

func TestSaidWrong(t *testing.T) {
	t.Parallel()
	data, empty := filled(t, 0), t.TempDir()
	for _, c := range []struct {
		data string
		args []string
		code int
		want string
	}{
		{data, []string{"verif"}, 2, `"verif" is not a command`},
		{data, []string{"verify", "now"}, 2, `"now" is not an option`},
		{data, []string{"verify", "--root", "xy"}, 2, "64 hexadecimal digits"},
		{data, []string{"export", "--out", "x"}, 2, "say how the file is to be encrypted"},
		{data, []string{"export", "--unencrypted"}, 2, "--out is needed"},
		{data, []string{"export", "--out", "x", "--recipient", "age1nonsense"}, 2, "not an age recipient"},
		{data, []string{"export", "--out", "x", "--unencrypted", "--passphrase-file", "y"}, 2, "exclude each other"},
		{data, []string{"export", "--out", "x", "--passphrase-file", filepath.Join(empty, "none")}, 1, "passphrase: "},
		{data, []string{"import"}, 2, "--in is needed"},
		{data, []string{"confirm"}, 2, "--ledger is needed"},
		{data, []string{"keygen"}, 2, "--out is needed"},
		{data, []string{"backup"}, 1, "backup-recipients"},
		{data, []string{"restore-test"}, 1, "backups"},
		{empty, []string{"verify"}, 1, "no ledger in the data directory"},
		{empty, []string{"compact"}, 1, "no ledger in the data directory"},
		{filepath.Join(empty, "none"), []string{"compact"}, 1, "no data directory"},
		{empty, []string{"import", "--in", filepath.Join(empty, "none")}, 1, "none"},
		{empty, []string{"import", "--in", write(t, "text", "hello\n")}, 1, "not a ledger file"},
		{data, []string{"export", "--help"}, 0, "-without-private"},
		{data, []string{"help"}, 0, "restore-test"},
	} {
		code, out := do(t, c.data, c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, out)
		require.Contains(t, out, c.want, c.args)
		require.NoFileExists(t, filepath.Join(empty, datadir.LedgerFile))
	}
}

func TestRestoreTest(t *testing.T) {
	t.Parallel()
	data := filled(t, 10)
	identity := filepath.Join(t.TempDir(), "identity")
	recipients := write(t, "recipients", must(t, data, "keygen", "--out", identity))
	conf := write(t, "conf.json", `{"backup_recipients": "`+recipients+`"}`)
	must(t, data, "backup", "--config", conf)
	require.Contains(t, must(t, data, "restore-test", "--identity", identity), "the same history and the same books")

	s, err := datadir.OpenStore(t.Context(), data)
	require.NoError(t, err)
	require.NoError(t, s.Forget(t.Context(), string(id)))
	require.NoError(t, s.Close())
	require.Contains(t, must(t, data, "restore-test", "--identity", identity), "the same books", "what was forgotten since is no difference")

	there, err := filepath.Glob(filepath.Join(data, "backups", "*"))
	require.NoError(t, err)
	require.Len(t, there, 1)
	require.Contains(t, must(t, t.TempDir(), "restore-test", "--in", there[0], "--identity", identity), "there is no ledger here")
	for n, want := range map[int]string{0: "ends before revision 14", 11: ""} {
		code, out := do(t, filled(t, n), "restore-test", "--in", there[0], "--identity", identity)
		require.Equal(t, want != "", code == 3, out)
		require.Contains(t, out, want)
	}
	differs := filled(t, 11)
	exec(t, differs, "UPDATE berthage_events SET leaf = zeroblob(32) WHERE revision = 6")
	code, _ := do(t, differs, "restore-test", "--in", there[0], "--identity", identity)
	require.Equal(t, 3, code)
}

func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	identity := filepath.Join(dir, "identity")
	recipients := write(t, "recipients", must(t, dir, "keygen", "--out", identity))
	synctest.Test(t, func(t *testing.T) {
		l := pool.NewMemoryLedger()
		fill(t, l, 3)
		c := config.Config{Data: filepath.Join(dir, "data"), BackupEvery: 6 * time.Hour, BackupKeep: 3, BackupRecipients: recipients}
		b, err := ledger.NewBackups(c, l, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.Zero(t, b.Status().Success)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		start := func(b *ledger.Backups) {
			go func() {
				b.Run(ctx)
				done <- struct{}{}
			}()
			synctest.Wait()
		}
		began := time.Now().UTC()
		start(b)
		names := func() []string {
			there, err := filepath.Glob(filepath.Join(c.Data, "backups", "*"))
			require.NoError(t, err)
			return there
		}
		require.Len(t, names(), 1, "there was none")
		require.Equal(t, began.Truncate(time.Second), b.Status().Success)
		other := filepath.Join(c.Data, "backups", "notes.txt")
		require.NoError(t, os.WriteFile(other, nil, 0o600))
		time.Sleep(24*time.Hour + time.Minute)
		require.Len(t, names(), 4, "three, and what is not ours")
		require.Less(t, time.Since(b.Status().Success), 6*time.Hour)
		require.False(t, b.Status().Late(time.Now()))
		cancel()
		<-done

		// After a restart the schedule goes on; what fails is told and tried again soon.
		b, err = ledger.NewBackups(c, l, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		before := b.Status().Success
		require.NotZero(t, before)
		ctx, cancel = context.WithCancel(t.Context())
		start(b)
		require.Equal(t, before, b.Status().Success, "not yet due")
		away := filepath.Join(dir, "away")
		require.NoError(t, os.Rename(filepath.Join(c.Data, "backups"), away))
		time.Sleep(7 * time.Hour)
		s := b.Status()
		require.Greater(t, s.Failures, int64(2))
		require.Contains(t, s.LastError, "no such file")
		require.True(t, s.Late(time.Now()))
		require.NoError(t, os.Rename(away, filepath.Join(c.Data, "backups")))
		time.Sleep(time.Hour + time.Minute)
		require.Empty(t, b.Status().LastError)
		require.False(t, b.Status().Late(time.Now()))
		cancel()
		<-done
	})
	_, err := ledger.NewBackups(config.Config{Data: dir, BackupRecipients: identity}, nil, nil)
	require.Error(t, err, "an identity is no recipient")
	require.NotContains(t, err.Error(), "AGE-SECRET-KEY")
	_, err = ledger.NewBackups(config.Config{Data: dir, BackupRecipients: filepath.Join(dir, "none")}, nil, nil)
	require.True(t, errors.Is(err, os.ErrNotExist))
}
