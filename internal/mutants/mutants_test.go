package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/overlay"
)

// Every seeded bug can still be laid over the source, and what comes of it is Go.
func TestSeededBugsFitTheSource(t *testing.T) {
	t.Parallel()
	all, err := load()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 15)
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			changed, err := overlay.Apply(m.changes, func(name string) (string, error) {
				b, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
				return string(b), err
			})
			require.NoError(t, err)
			for name, text := range changed {
				_, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
				require.NoError(t, err)
			}
		})
	}
}

// A test is run in the module that its package lies in.
func TestModule(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	for pkg, want := range map[string][2]string{
		".":                      {root, "."},
		"./pool/ledgertest":      {root, "./pool/ledgertest"},
		"./examples/berthd/api":  {filepath.Join(root, "examples"), "./berthd/api"},
		"./examples":             {filepath.Join(root, "examples"), "."},
		"./internal/integration": {filepath.Join(root, "internal", "integration"), "."},
	} {
		dir, within := module(root, pkg)
		require.Equal(t, want, [2]string{dir, within}, pkg)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	m, err := parse("x", "why: one\n two\ntest: ./p TestX A=1\nfile: a.go\n<<<<\nold\n====\nnew\n>>>>\n")
	require.NoError(t, err)
	require.Equal(t, mutant{
		name: "x", why: "one two", tests: []test{{"./p", "TestX", []string{"A=1"}}}, changes: []overlay.Change{{File: "a.go", Old: "old\n", New: "new\n"}},
	}, m)
	for _, bad := range []string{
		"", "why: x\nfile: a\n<<<<\na\n====\nb\n>>>>\n", "why: x\ntest: ./p\nfile: a\n<<<<\na\n====\nb\n>>>>\n",
		"test: ./p T\nfile: a\n<<<<\na\n====\nb\n>>>>\n", "hm: x\nwhy: x\ntest: ./p T\nfile: a\n<<<<\na\n====\nb\n>>>>\n",
	} {
		_, err := parse("x", bad)
		require.Error(t, err, bad)
	}
}
