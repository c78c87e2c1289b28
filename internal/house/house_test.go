package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the path of the module that importers get.
const module = "github.com/berthage/berthage"

// inside returns an import path relative to the module: "" is the root package.
func inside(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

// root returns the directory of the module, two above this one.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

// files returns the slash-separated names of all files of the tree, relative to its root, that want
// accepts. What tools leave behind is passed over: hidden directories but .ci, and build and bin.
func files(t *testing.T, want func(name string) bool) []string {
	t.Helper()
	top := root(t)
	var out []string
	require.NoError(t, filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if path != top && (base[0] == '.' && base != ".ci" || base == "build" || base == "bin" || base == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if base == ".git" { // a file in a linked checkout
			return nil
		}
		name, err := filepath.Rel(top, path)
		if name = filepath.ToSlash(name); err == nil && want(name) {
			out = append(out, name)
		}
		return err
	}))
	require.NotEmpty(t, out)
	return out
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(b)
}

// modules returns the directories of all modules of the tree, relative to its root; that is ".".
func modules(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, name := range files(t, func(name string) bool { return name == "go.mod" || strings.HasSuffix(name, "/go.mod") }) {
		out = append(out, filepath.ToSlash(filepath.Dir(filepath.FromSlash(name))))
	}
	return out
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath, Dir, Name, Doc                         string
	Standard, DepOnly                                  bool
	Imports, TestImports, XTestImports                 []string
	GoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
	Deps                                               []string
	Module                                             *struct{ Path string }
}

// list runs go list on a module's packages, for a system, without a workspace: as an importer gets it.
func list(t *testing.T, mod, goos string, args ...string) []pkg {
	t.Helper()
	out, err := goCommand(t, mod, goos, append([]string{"list", "-json"}, args...)...)
	require.NoError(t, err)
	var pkgs []pkg
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		require.NoError(t, err)
		pkgs = append(pkgs, p)
	}
}

// goCommand runs the go command in a module's directory and returns its output; an error has what it said.
func goCommand(t *testing.T, mod, goos string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(root(t), filepath.FromSlash(mod))
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOOS="+goos, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.New("go " + strings.Join(args, " ") + " in " + mod + " for " + goos + ": " + err.Error() + "\n" + stderr.String())
	}
	return out, err
}

// source is a parsed Go file.
type source struct {
	name string // relative to the root
	*ast.File
	fset *token.FileSet
}

func (s source) at(n ast.Node) string {
	p := s.fset.Position(n.Pos())
	p.Filename = s.name
	return p.String()
}

// sources parses all Go files of the tree, of every system, that want accepts.
func sources(t *testing.T, want func(name string) bool) []source {
	t.Helper()
	fset := token.NewFileSet()
	var out []source
	for _, name := range files(t, func(name string) bool { return strings.HasSuffix(name, ".go") && want(name) }) {
		f, err := parser.ParseFile(fset, filepath.Join(root(t), filepath.FromSlash(name)), nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		out = append(out, source{name, f, fset})
	}
	return out
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// shipped returns the sources that are neither tests nor generated.
func shipped(t *testing.T) []source {
	t.Helper()
	var out []source
	for _, s := range sources(t, func(name string) bool { return !isTest(name) }) {
		if !ast.IsGenerated(s.File) {
			out = append(out, s)
		}
	}
	return out
}
