package receivers_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/pool"
)

func keys(t testing.TB, lines ...string) *receivers.Keys {
	t.Helper()
	text := ""
	for _, line := range lines {
		text += line + "\n"
	}
	k, err := receivers.ParseKeys([]byte(text))
	require.NoError(t, err)
	return k
}

func reveal(s receivers.Secrets) map[string][]string {
	out := make(map[string][]string)
	for name, values := range s {
		for _, v := range values {
			out[name] = append(out[name], v.Reveal())
		}
	}
	return out
}

// What is sealed for a receiver opens for it and for no other, unchanged or not at all, and with the key that sealed it.
func TestSeals(t *testing.T) {
	t.Parallel()
	old, young := receivers.NewKey(), receivers.NewKey()
	k := keys(t, old)
	s := secrets(t, `{"token": "canary", "signing": ["one", "two"], "none": ""}`)
	sealed, err := k.Seal("ops", "slack", s)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "canary")
	again, err := k.Seal("ops", "slack", s)
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "a nonce is used once")
	opened, err := k.Open("ops", "slack", sealed)
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"token": {"canary"}, "signing": {"one", "two"}}, reveal(opened))

	for _, other := range [][2]string{{"ops2", "slack"}, {"ops", "webhook"}, {"", "opsslack"}, {"op", "sslack"}} {
		_, err := k.Open(other[0], other[1], sealed)
		require.ErrorIs(t, err, pool.ErrCorrupt)
	}
	for at := range sealed {
		bent := append([]byte{}, sealed...)
		bent[at] ^= 1
		_, err := k.Open("ops", "slack", bent)
		require.Error(t, err, at)
		require.NotContains(t, err.Error(), "canary")
		_, err = k.Open("ops", "slack", sealed[:at])
		if at > 0 {
			require.Error(t, err, at)
		}
	}
	none, err := k.Open("ops", "slack", nil)
	require.NoError(t, err)
	require.Empty(t, none)

	// Keys change: a new one goes before the old.
	both := keys(t, "# the new one", young, "", old)
	opened, err = both.Open("ops", "slack", sealed)
	require.NoError(t, err)
	resealed, err := both.Seal("ops", "slack", opened)
	require.NoError(t, err)
	require.Equal(t, both.Seals(), receivers.KeyOf(resealed))
	require.Equal(t, k.Seals(), receivers.KeyOf(sealed))
	require.NotEqual(t, k.Seals(), both.Seals())
	_, err = keys(t, young).Open("ops", "slack", resealed)
	require.NoError(t, err)
	_, err = keys(t, young).Open("ops", "slack", sealed)
	require.ErrorIs(t, err, pool.ErrWrongState)
	require.ErrorContains(t, err, k.Seals(), "it says which key is missing")
	require.NotContains(t, err.Error(), old[11:20])
}

// The first start makes the file, for its owner only; of several that begin at the same time all use the same key.
func TestTheFileOfKeys(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "key")
	_, err := receivers.LoadKeys(name, false)
	require.ErrorIs(t, err, os.ErrNotExist)
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for n := range ids {
		wg.Go(func() {
			if k, err := receivers.LoadKeys(name, true); err == nil {
				ids[n] = k.Seals()
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		require.Equal(t, ids[0], id)
		require.NotEmpty(t, id)
	}
	if runtime.GOOS != "windows" {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NoError(t, os.Chmod(name, 0o644))
		_, err = receivers.LoadKeys(name, false)
		require.NoError(t, err)
		info, err = os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	entries, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	require.Len(t, entries, 1, "nothing is left behind")
	for _, bad := range []string{"", "# nothing", "canary-canary", "berthd-key-canary", receivers.NewKey() + "\nberthd_canary"} {
		require.NoError(t, os.WriteFile(name, []byte(bad), 0o600))
		_, err := receivers.LoadKeys(name, true)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "canary")
	}
}

// Who changes a receiver need not know its secrets, but cannot have them sent elsewhere.
func TestSecretsAreKept(t *testing.T) {
	t.Parallel()
	k := keys(t, receivers.NewKey())
	old := receivers.Receiver{Name: "ops", Type: "slack", Settings: json.RawMessage(`{"channel": "C1", "endpoint": ""}`)}
	sealed, err := k.Seal(old.Name, old.Type, secrets(t, `{"token": "canary"}`))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		typ, settings, secrets string
		sealed                 []byte
		want                   map[string][]string
		err                    error
		field                  string
	}{
		"another channel":        {"slack", `{"channel": "C2"}`, `{}`, sealed, map[string][]string{"token": {"canary"}}, nil, ""},
		"a new token":            {"slack", `{"channel": "C1"}`, `{"token": "new"}`, sealed, map[string][]string{"token": {"new"}}, nil, ""},
		"none":                   {"slack", `{"channel": "C1"}`, `{"token": ""}`, sealed, map[string][]string{}, nil, ""},
		"elsewhere":              {"slack", `{"channel": "C1", "endpoint": "https://evil.example"}`, `{}`, sealed, nil, pool.ErrInvalid, "secrets.token"},
		"elsewhere, a new token": {"slack", `{"channel": "C1", "endpoint": "https://other.example"}`, `{"token": "new"}`, sealed, map[string][]string{"token": {"new"}}, nil, ""},
		"another type":           {"telegram", `{"chat": "@a"}`, `{}`, sealed, map[string][]string{}, nil, ""},
		"nothing was sealed":     {"slack", `{"channel": "C1"}`, `{}`, nil, map[string][]string{}, nil, ""},
		"what cannot be opened":  {"slack", `{"channel": "C1"}`, `{}`, sealed[:20], nil, pool.ErrWrongState, "secrets.token"},
		"and need not be":        {"slack", `{"channel": "C1"}`, `{"token": "new", "signing_secret": ""}`, sealed[:20], map[string][]string{"token": {"new"}}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := receivers.Receiver{Name: "ops", Type: c.typ, Settings: json.RawMessage(c.settings), Secrets: secrets(t, c.secrets)}
			got, err := k.Keep(next, old, c.sealed)
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				var e *pool.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, c.field, e.Field)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, reveal(got.Secrets))
		})
	}
}

// An address that is a secret itself says where the other secrets go.
func TestSecretsDoNotFollowAnAddress(t *testing.T) {
	t.Parallel()
	k := keys(t, receivers.NewKey())
	old := receivers.Receiver{Name: "ops", Type: "webhook"}
	sealed, err := k.Seal(old.Name, old.Type, secrets(t, `{"url": "https://a.example/1", "headers": ["Authorization: Bearer canary"]}`))
	require.NoError(t, err)
	keep := func(text string) (receivers.Receiver, error) {
		return k.Keep(receivers.Receiver{Name: "ops", Type: "webhook", Secrets: secrets(t, text)}, old, sealed)
	}
	_, err = keep(`{"url": "https://evil.example/"}`)
	require.Equal(t, "secrets.headers", fieldOf(t, err))
	for _, text := range []string{`{"url": "https://a.example/1"}`, `{}`} {
		got, err := keep(text)
		require.NoError(t, err)
		require.Equal(t, []string{"headers", "url"}, got.Secrets.Set())
	}
	got, err := keep(`{"url": "https://b.example/", "headers": "", "signing": ""}`)
	require.NoError(t, err)
	require.Equal(t, []string{"url"}, got.Secrets.Set())
}

func FuzzOpen(f *testing.F) {
	k := keys(f, receivers.NewKey())
	sealed, err := k.Seal("ops", "slack", receivers.Secrets{})
	require.NoError(f, err)
	f.Add(sealed)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := k.Open("ops", "slack", b)
		if err == nil && len(b) > 0 {
			require.Equal(t, sealed, b, "only what was sealed opens")
		}
	})
}
