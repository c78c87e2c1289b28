package overlay_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/overlay"
)

const text = "why: one\n two\ntest: a\nfile: a.go\n<<<<\nold\n====\nnew\n>>>>\n<<<<\nend\n====\n>>>>\ntest: b\n"

func ExampleParse() {
	s, err := overlay.Parse(text)
	fmt.Println(s.Said, len(s.Changes), err)
	// Output: [{why one two} {test a} {test b}] 2 <nil>
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "why: x\n", "<<<<\na\n====\nb\n>>>>\n", "file: a\n<<<<\na\n====\nb\n", "file: a\n<<<<\na\n>>>>\n", "what\n", "file: a\n====\n",
	} {
		_, err := overlay.Parse(bad)
		require.Error(t, err, bad)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	s, err := overlay.Parse(text)
	require.NoError(t, err)
	read := func(text string) func(string) (string, error) {
		return func(string) (string, error) { return text, nil }
	}
	out, err := overlay.Apply(s.Changes, read("a\nold\nb\nend\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a.go": "a\nnew\nb\n"}, out)
	for _, text := range []string{"a\n", "old\nold\nend\n", "old\n"} {
		_, err := overlay.Apply(s.Changes, read(text))
		require.ErrorContains(t, err, "not once", text)
	}
	_, err = overlay.Apply(s.Changes, func(string) (string, error) { return "", errors.ErrUnsupported })
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestWrite(t *testing.T) {
	t.Parallel()
	tree := overlay.Tree{Module: t.TempDir(), GOROOT: t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(tree.GOROOT, "x.go"), []byte("old\n"), 0o600))
	at, err := tree.Write(filepath.Join(t.TempDir(), "new"), []overlay.Change{{File: "GOROOT/x.go", Old: "old\n", New: "new\n"}})
	require.NoError(t, err)
	list, err := os.ReadFile(at)
	require.NoError(t, err)
	require.Contains(t, string(list), `"`+filepath.ToSlash(tree.GOROOT)+`/x.go":`)
}

// The changes for exact replays can be read whatever Go there is; that they fit this one, make sim says.
func TestExact(t *testing.T) {
	t.Parallel()
	changes, err := overlay.Exact()
	require.NoError(t, err)
	require.Greater(t, len(changes), 10)
}
