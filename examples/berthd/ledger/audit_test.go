package ledger_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/examples/berthd/ledger"
	"github.com/berthage/berthage/pool"
)

// prove runs a command of berthd audit.
func prove(t *testing.T, data string, args ...string) (int, string) {
	t.Helper()
	var out bytes.Buffer
	if data != "" {
		args = append(args, "--data", data)
	}
	code := ledger.Audit(context.Background(), args, &out, &out)
	return code, out.String()
}

func proved(t *testing.T, data string, args ...string) string {
	t.Helper()
	code, out := prove(t, data, args...)
	require.Zero(t, code, out)
	return out
}

// more appends n events to a ledger.
func more(t *testing.T, data string, n int, holder string) {
	t.Helper()
	s, err := datadir.OpenStore(t.Context(), data)
	require.NoError(t, err)
	at := pool.Revision(0)
	for b, err := range pool.History(t.Context(), s, 0) {
		require.NoError(t, err)
		at = b.Revision
	}
	for range n {
		e, err := pool.NewEvent(pool.KindTakenOver, &pool.TakenOver{Holder: holder})
		require.NoError(t, err)
		e.ID, e.Actor, e.Time = "more"+time.Duration(at).String(), "ada", time.Date(2026, 11, 21, 12, 0, int(at), 0, time.UTC)
		at, err = s.Append(t.Context(), at, e)
		require.NoError(t, err)
	}
	require.NoError(t, s.Close())
}

// keyed makes a key for the ledger, and returns the file with it and the one with the public key.
func keyed(t *testing.T, data string) (private, public string) {
	t.Helper()
	private = filepath.Join(t.TempDir(), "key.pem")
	public = write(t, "keys", proved(t, data, "key", "--out", private))
	return private, public
}

func signed(t *testing.T, data, private string, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "head")
	proved(t, data, append([]string{"head", "--key", private, "--out", name}, args...)...)
	return name
}

func TestHeadsAndEvidence(t *testing.T) {
	t.Parallel()
	data := filled(t, 300)
	private, public := keyed(t, data)
	info, err := os.Stat(private)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, proved(t, data, "key", "--key", private), proved(t, "", "key", "--key", private, "--ledger", "first"))

	first := signed(t, data, private)
	must(t, data, "compact")
	more(t, data, 30, "daemon")
	second := signed(t, data, private, "--previous", first)
	out := proved(t, data, "verify", "--head", second, "--head", first, "--keys", public)
	require.Equal(t, field(t, must(t, data, "verify"), "root"), field(t, out, "root"))
	require.Contains(t, out, "of revision 304, signed at ")
	require.Contains(t, out, "of revision 334, signed at ")

	// A file may have any number of them; where one is meant it is the last.
	read := func(name string) string {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(b)
	}
	many := write(t, "heads", read(first)+"\n"+read(second))
	out = proved(t, data, "verify", "--head", many, "--keys", public)
	require.Equal(t, 2, strings.Count(out, "the same history"))
	third := signed(t, data, private, "--previous", many)
	require.Equal(t, 3, strings.Count(proved(t, data, "verify", "--head", third, "--head", many, "--keys", public), "the same history"))
	require.Contains(t, proved(t, "", "check", write(t, "evidence", proved(t, data, "prove", "310", "--head", many, "--keys", public)), "--keys", public), "revision 334 of ")
	for text, want := range map[string]string{
		"": "the lines of a head", "\n": "the lines of a head", read(first) + "nothing": "head 2 of 2", strings.Replace(read(many), "\n304\n", "\n305\n", 1): "head 1 of 2",
	} {
		code, out := prove(t, data, "verify", "--head", write(t, "heads", text), "--keys", public)
		require.Equal(t, 3, code, out)
		require.Contains(t, out, want)
	}

	// An export is as good, and what personal data is forgotten makes no difference.
	s, err := datadir.OpenStore(t.Context(), data)
	require.NoError(t, err)
	require.NoError(t, s.Forget(t.Context(), string(id)))
	require.NoError(t, s.Close())
	file := filepath.Join(t.TempDir(), "x.ledger")
	must(t, data, "export", "--unencrypted", "--out", file)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NotContains(t, string(content), "SECRET")
	for _, from := range [][]string{{"--data", data}, {"--in", file}, {"--in", filepath.Dir(file)}} {
		proved(t, "", append([]string{"verify", "--head", second, "--head", first, "--keys", public}, from...)...)
	}
	again := signed(t, "", private, "--in", file, "--previous", second, "--keys", public)
	a, err := os.ReadFile(again)
	require.NoError(t, err)
	b, err := os.ReadFile(second)
	require.NoError(t, err)
	require.Equal(t, strings.SplitN(string(b), "\n", 5)[:4], strings.SplitN(string(a), "\n", 5)[:4], "all but time and signature")

	// An event is shown to somebody who has the public key only.
	for _, event := range []string{"4", "4.0", "e3ns", "more304ns", "334.0"} {
		evidence := filepath.Join(t.TempDir(), "evidence.json")
		proved(t, data, "prove", event, "--head", second, "--keys", public, "--out", evidence)
		require.Contains(t, proved(t, "", "check", evidence, "--keys", public), "ledger \"first\", revision 334 of ")
		text, err := os.ReadFile(evidence)
		require.NoError(t, err)
		require.NotContains(t, string(text), "SECRET")
		for _, change := range []struct{ old, other, want string }{
			{`"actor": "`, `"actor": "e`, "not proved"},
			{`"kind": "`, `"kind": "x`, "not proved"},
			{`"leaf": 3`, `"leaf": 4`, "not proved"},
			{`\n334\n`, `\n335\n`, "not signed by an accepted key"},
			{`"kind": "`, `"more": 1, "kind": "`, "evidence"},
		} {
			bad := strings.Replace(string(text), change.old, change.other, 1)
			require.NotEqual(t, string(text), bad, change.old)
			code, out := prove(t, "", "check", write(t, "evidence", bad), "--keys", public)
			require.Equal(t, 3, code, out)
			require.Contains(t, out, change.want)
		}
	}
	proved(t, "", "check", write(t, "evidence", proved(t, data, "prove", "1", "--key", private)), "--keys", public)
	code, out := prove(t, data, "prove", "310", "--head", first, "--keys", public)
	require.Equal(t, 1, code)
	require.Contains(t, out, "event 310.0, with a head of revision 304")

	// Keys are changed: both sign for a while, and either is accepted.
	private2, public2 := keyed(t, data)
	both := signed(t, data, private, "--key", private2, "--previous", first)
	for _, keys := range []string{public, public2} {
		proved(t, data, "verify", "--head", both, "--keys", keys)
	}
	code, out = prove(t, data, "verify", "--head", first, "--keys", public2)
	require.Equal(t, 3, code)
	require.Contains(t, out, "not signed by an accepted key")
	one, err := os.ReadFile(public)
	require.NoError(t, err)
	two, err := os.ReadFile(public2)
	require.NoError(t, err)
	proved(t, data, "verify", "--head", first, "--head", both, "--keys", write(t, "keys", string(one)+string(two)))
}

// A history that was rewritten, hashes and all, has the same form as a good one. A head that somebody has kept tells, and says
// between which heads the change is.
func TestARewrittenHistory(t *testing.T) {
	t.Parallel()
	data := filled(t, 20)
	private, public := keyed(t, data)
	early := signed(t, data, private)
	other := t.TempDir() // a copy up to here that goes on in another way
	content, err := os.ReadFile(filepath.Join(data, datadir.LedgerFile))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(other, datadir.LedgerFile), content, 0o600))
	more(t, data, 10, "daemon")
	late := signed(t, data, private)
	code, out := prove(t, other, "verify", "--head", early, "--head", late, "--keys", public)
	require.Equal(t, 3, code)
	require.Contains(t, out, "goes on up to revision 34, of which a head was signed; it ends at revision 24")
	more(t, other, 20, "somebody else")
	must(t, other, "verify") // it is sound by itself
	code, out = prove(t, other, "verify", "--head", early, "--head", late, "--keys", public)
	require.Equal(t, 3, code)
	require.Contains(t, out, "history up to revision 34 not proved")
	require.Contains(t, out, "what is another one stands after revision 24")
	code, out = prove(t, other, "head", "--key", private, "--previous", late)
	require.Equal(t, 3, code, "and is not signed either: "+out)

	// Two copies side by side say where.
	dir := t.TempDir()
	must(t, data, "export", "--unencrypted", "--out", filepath.Join(dir, "a.ledger"))
	must(t, other, "export", "--unencrypted", "--out", filepath.Join(dir, "b.ledger"))
	code, out = prove(t, "", "verify", "--in", dir)
	require.Equal(t, 3, code)
	require.Contains(t, out, "they begin to differ with event 25.0")
}

// A folder of encrypted backups is verified as one history.
func TestAFolderOfBackups(t *testing.T) {
	t.Parallel()
	data, dir := filled(t, 20), t.TempDir()
	identity := filepath.Join(t.TempDir(), "identity")
	recipient := strings.TrimSpace(must(t, data, "keygen", "--out", identity))
	private, public := keyed(t, data)
	names := []string{"c.ledger.age", "a.ledger.age", "b.ledger.age"}
	var heads []string
	for _, name := range names {
		must(t, data, "export", "--recipient", recipient, "--out", filepath.Join(dir, name))
		heads = append(heads, "--head", signed(t, data, private))
		more(t, data, 10, "daemon")
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	out := proved(t, "", append([]string{"verify", "--in", dir, "--identity", identity, "--keys", public}, heads...)...)
	require.Equal(t, 3, strings.Count(out, "file "))
	require.Equal(t, 3, strings.Count(out, "the same history"))
	require.Less(t, strings.Index(out, "c.ledger.age"), strings.Index(out, "a.ledger.age"), "the oldest first")

	// A flipped bit in an encrypted file is found; which event is behind it cannot be told, but from which revision on.
	name := filepath.Join(dir, names[2])
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	content[len(content)-100] ^= 1
	require.NoError(t, os.WriteFile(name, content, 0o600))
	code, out := prove(t, "", "verify", "--in", dir, "--identity", identity)
	require.NotZero(t, code)
	require.Contains(t, out, names[2])
	code, out = prove(t, "", "head", "--in", dir, "--key", private)
	require.Equal(t, 2, code)
	require.Contains(t, out, "a folder with 3 files")
}

// One flipped bit anywhere in an export is found, and the event named. Whatever bit of the database is flipped: either that is
// found, or the history is still the same, as the bit was in room that nothing uses.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	data := filled(t, 20)
	private, public := keyed(t, data)
	head := signed(t, data, private)
	root := field(t, proved(t, data, "verify"), "root")
	random := rand.New(rand.NewPCG(1, 2))

	export := filepath.Join(t.TempDir(), "x.ledger")
	must(t, data, "export", "--unencrypted", "--out", export)
	good, err := os.ReadFile(export)
	require.NoError(t, err)
	bad := filepath.Join(t.TempDir(), "bad.ledger")
	for range 200 {
		content := bytes.Clone(good)
		content[random.IntN(len(content))] ^= 1 << random.IntN(8)
		require.NoError(t, os.WriteFile(bad, content, 0o600))
		code, out := prove(t, "", "verify", "--in", bad)
		require.NotZero(t, code, out)
		require.Contains(t, out, "line ")
	}
	at := bytes.Index(good, []byte("SECRET")) // not there: in base64
	require.Negative(t, at)
	at = bytes.Index(good, []byte(`"kind":"host.put"`)) - 3
	content := bytes.Clone(good)
	content[at] ^= 1
	require.NoError(t, os.WriteFile(bad, content, 0o600))
	code, out := prove(t, "", "verify", "--in", bad)
	require.Equal(t, 3, code)
	require.Contains(t, out, `event 2.0 ("host.put") is not as it was written`)

	good, err = os.ReadFile(filepath.Join(data, datadir.LedgerFile))
	require.NoError(t, err)
	flip := func(at, bit int) (int, string) {
		data := t.TempDir()
		content := bytes.Clone(good)
		content[at] ^= 1 << bit
		require.NoError(t, os.WriteFile(filepath.Join(data, datadir.LedgerFile), content, 0o600))
		return prove(t, data, "verify", "--head", head, "--keys", public)
	}
	found := 0
	for range 60 {
		switch code, out := flip(random.IntN(len(good)), random.IntN(8)); code {
		case 0:
			require.Equal(t, root, field(t, out, "root"))
		default:
			found++
		}
	}
	require.NotZero(t, found)
	for _, c := range []struct{ text, want string }{
		{`"id":"sim/h1"`, `revision 2 corrupt: event 0 ("host.put") does not match its leaf hash`},
		{`"holder":"daemon"`, `("ledger.taken-over") does not match its leaf hash`},
		{`ssh-ed25519 SECRET`, `revision 4 corrupt: the private part of event 0 ("instance.launched") does not match its hash`},
	} {
		at := bytes.Index(good, []byte(c.text))
		require.Positive(t, at)
		code, out := flip(at+1, 0)
		require.Equal(t, 3, code, out)
		require.Contains(t, out, c.want)
	}
}

// What is not said right, and files that are not what they should be.
func TestAuditUsage(t *testing.T) {
	t.Parallel()
	data := filled(t, 1)
	private, public := keyed(t, data)
	head := signed(t, data, private)
	empty := t.TempDir()
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{0, "berthd audit prove EVENT", nil},
		{0, "EVENT is a revision and an index", []string{"prove", "--help"}},
		{2, "berthd audit help tells them", []string{"sign"}},
		{2, "an event is needed", []string{"prove", "--data", data}},
		{2, "and either --head with --keys, or --key", []string{"prove", "1", "--data", data}},
		{2, "--key is needed", []string{"head", "--data", data}},
		{2, "--keys is needed", []string{"verify", "--data", data, "--head", head}},
		{2, "--keys is needed", []string{"check", "x"}},
		{2, "a file of evidence is needed", []string{"check"}},
		{2, "either --out or --key is needed", []string{"key"}},
		{2, `"x" is not an option`, []string{"verify", "x"}},
		{1, "no Ed25519 private key", []string{"head", "--data", data, "--key", public}},
		{1, "keys in", []string{"verify", "--data", data, "--head", head, "--keys", private}},
		{3, "signatures", []string{"verify", "--data", data, "--head", public, "--keys", public}},
		{1, "no ledger in the data directory", []string{"verify", "--data", empty}},
		{1, "has no file named", []string{"verify", "--in", empty}},
		{1, "no such file", []string{"verify", "--in", filepath.Join(empty, "x")}},
		{1, "file exists", []string{"key", "--data", data, "--out", private}},
		{1, "file exists", []string{"head", "--data", data, "--key", private, "--out", head}},
		{1, "not found", []string{"prove", "nothing", "--data", data, "--key", private}},
		{1, "not found", []string{"prove", "99", "--data", data, "--key", private}},
		{3, "evidence", []string{"check", public, "--keys", public}},
		{3, "evidence", []string{"check", write(t, "word", "b\n"), "--keys", public}},
		{3, "evidence", []string{"check", write(t, "number", "7\n"), "--keys", public}},
		{1, "line 1 not a ledger file", []string{"verify", "--in", write(t, "x.ledger", "x\n")}},
	} {
		code, out := prove(t, "", c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, out)
		require.Contains(t, out, c.want, c.args)
	}
}
