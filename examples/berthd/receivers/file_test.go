package receivers_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/pool"
)

// In a file of configuration secrets are named, not given.
func TestSecretsOfAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	one, many, empty := file("one", " https://w.example/canary\n"), file("many", "first\r\n\nsecond\n"), file("empty", "\n")
	env := func(name string) string {
		return map[string]string{"URL": "https://e.example/canary", "A": "a", "B": "b"}[name]
	}
	resolve := func(typ string, said map[string]any) (receivers.Receiver, error) {
		return receivers.Configured{Name: "ops", Type: typ, Settings: json.RawMessage(`{}`), Secrets: said}.Resolve(env)
	}
	for name, c := range map[string]struct {
		said map[string]any
		want map[string][]string
	}{
		"a file":           {map[string]any{"url_file": one}, map[string][]string{"url": {"https://w.example/canary"}}},
		"a variable":       {map[string]any{"url": "env:URL"}, map[string][]string{"url": {"https://e.example/canary"}}},
		"variables":        {map[string]any{"signing": []any{"env:A", "env:B"}}, map[string][]string{"signing": {"a", "b"}}},
		"a file of a list": {map[string]any{"signing_file": many}, map[string][]string{"signing": {"first", "second"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := resolve("webhook", c.said)
			require.NoError(t, err)
			require.Equal(t, c.want, reveal(r.Secrets))
		})
	}
	for name, c := range map[string]struct {
		said  map[string]any
		field string
	}{
		"a secret itself":     {map[string]any{"url": "https://w.example/canary"}, "secrets.url"},
		"an unknown one":      {map[string]any{"token": "env:A"}, "secrets.token"},
		"an unknown file":     {map[string]any{"file_file": one}, "secrets.file_file"},
		"twice":               {map[string]any{"url": "env:URL", "url_file": one}, "secrets.url_file"},
		"an unset variable":   {map[string]any{"url": "env:NONE"}, "secrets.url"},
		"nothing in the file": {map[string]any{"url_file": empty}, "secrets.url_file"},
		"a number":            {map[string]any{"url": 7}, "secrets.url"},
		"numbers":             {map[string]any{"signing": []any{7}}, "secrets.signing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := resolve("webhook", c.said)
			require.Equal(t, c.field, fieldOf(t, err))
			require.NotContains(t, err.Error(), "canary")
		})
	}
	_, err := resolve("webhook", map[string]any{"url_file": filepath.Join(dir, "none")})
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = resolve("pigeon", nil)
	require.Equal(t, "type", fieldOf(t, err))
}

// Notes stand in the store, by receiver: another daemon on it finds them.
func TestNotes(t *testing.T) {
	t.Parallel()
	scratch := pool.NewMemoryScratch()
	ctx := t.Context()
	n, other := receivers.ScratchNotes(scratch)("ops"), receivers.ScratchNotes(scratch)("dev")
	text, err := n.Load(ctx, "slack/C1/i1")
	require.NoError(t, err)
	require.Empty(t, text)
	require.NoError(t, n.Save(ctx, "slack/C1/i1", ""), "there is nothing to remove")
	require.NoError(t, n.Save(ctx, "slack/C1/i1", "1.2"))
	require.NoError(t, n.Save(ctx, "slack/C1/i1", "1.3"))
	text, err = receivers.ScratchNotes(scratch)("ops").Load(ctx, "slack/C1/i1")
	require.NoError(t, err)
	require.Equal(t, "1.3", text)
	text, err = other.Load(ctx, "slack/C1/i1")
	require.NoError(t, err)
	require.Empty(t, text, "another receiver has notes of its own")
	require.NoError(t, n.Save(ctx, "slack/C1/i1", ""))
	text, err = n.Load(ctx, "slack/C1/i1")
	require.NoError(t, err)
	require.Empty(t, text)
	require.NoError(t, n.Save(ctx, string(make([]byte, 10_000)), "any name will do"))
}
