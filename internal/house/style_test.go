package house_test

import (
	"go/ast"
	"go/doc"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// No package has state of its own or does anything when it is imported: there is no init function, and the
// only package variables are sentinel errors, embedded files, and assertions that a type meets an interface.
func TestNoGlobals(t *testing.T) {
	t.Parallel()
	// Names are package path, dot, variable.
	exceptions := map[string]string{
		"pool.conditionNames":     "names of a bit set: an array that nothing writes, which Go cannot make a constant",
		"scheduler.strategyNames": "names of an enumeration, likewise",
	}
	used := make(map[string]bool)
	for _, s := range shipped(t) {
		if strings.HasPrefix(s.name, "internal/integration/") {
			continue // tests and the programs that they are made of
		}
		for _, d := range s.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s: an init function; pass what it sets up as an argument", s.at(d))
				}
			case *ast.GenDecl:
				if d.Tok != token.VAR {
					continue
				}
				for _, spec := range d.Specs {
					v := spec.(*ast.ValueSpec)
					for _, name := range v.Names {
						full := path.Dir(s.name) + "." + name.Name
						switch {
						case exceptions[full] != "":
							used[full] = true
						case name.Name == "_", embeds(d, v), sentinel(name.Name, v):
						default:
							t.Errorf("%s: package variable %s; only sentinel errors (ErrX, errX) and embedded files are allowed", s.at(v), name.Name)
						}
					}
				}
			}
		}
	}
	for name := range exceptions {
		if !used[name] {
			t.Errorf("the exception for %s is not needed", name)
		}
	}
}

func embeds(d *ast.GenDecl, v *ast.ValueSpec) bool {
	for _, g := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if g != nil && strings.Contains("\n"+commentText(g), "\n//go:embed ") {
			return true
		}
	}
	return false
}

// commentText returns a comment as it is written; ast.CommentGroup.Text leaves directives out.
func commentText(g *ast.CommentGroup) string {
	var lines []string
	for _, c := range g.List {
		lines = append(lines, c.Text)
	}
	return strings.Join(lines, "\n")
}

// sentinel reports whether v has the name of an error and is made by errors.New or is another package's.
func sentinel(name string, v *ast.ValueSpec) bool {
	if !strings.HasPrefix(name, "Err") && !strings.HasPrefix(name, "err") || len(v.Values) != len(v.Names) {
		return false
	}
	for _, x := range v.Values {
		if call, ok := x.(*ast.CallExpr); ok {
			x = call.Fun
		}
		sel, ok := x.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "New" && !strings.HasPrefix(sel.Sel.Name, "Err") {
			return false
		}
	}
	return true
}

// Every package says what it is for, every exported name what it means, and no package has a name that says
// nothing. Fields and the methods of interfaces may be explained by their type's comment.
func TestEverythingExportedIsDocumented(t *testing.T) {
	t.Parallel()
	byDir := make(map[string][]source)
	for _, s := range sources(t, func(name string) bool { return !isTest(name) }) {
		byDir[path.Dir(s.name)] = append(byDir[path.Dir(s.name)], s)
	}
	for dir, ss := range byDir {
		name := ss[0].File.Name.Name
		if slices.Contains([]string{"util", "utils", "common", "types", "models", "helpers", "misc", "base"}, name) {
			t.Errorf("%s: package %s: a name that says nothing", dir, name)
		}
		var asts []*ast.File
		hand := false
		for _, s := range ss {
			asts = append(asts, s.File)
			hand = hand || !ast.IsGenerated(s.File)
		}
		p, err := doc.NewFromFiles(ss[0].fset, asts, module+"/"+dir, doc.PreserveAST)
		require.NoError(t, err, dir)
		if len(strings.TrimSpace(p.Doc)) < 20 {
			t.Errorf("%s: package %s has no comment that says its place in the whole", dir, name)
		}
		if !hand {
			continue
		}
		need := func(what, text string, n ast.Node) {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: exported %s has no comment", ss[0].fset.Position(n.Pos()), what)
			}
		}
		values := func(vs []*doc.Value) {
			for _, v := range vs {
				valuesDocumented(v, need)
			}
		}
		funcs := func(fs []*doc.Func) {
			for _, f := range fs {
				need("function "+f.Name, f.Doc, f.Decl)
			}
		}
		values(p.Consts)
		values(p.Vars)
		funcs(p.Funcs)
		for _, typ := range p.Types {
			need("type "+typ.Name, typ.Doc, typ.Decl)
			values(typ.Consts)
			values(typ.Vars)
			funcs(typ.Funcs)
			funcs(typ.Methods)
		}
	}
}

// valuesDocumented wants a comment on each exported constant or variable, or on the group that holds it.
func valuesDocumented(v *doc.Value, need func(what, text string, n ast.Node)) {
	for _, spec := range v.Decl.Specs {
		spec := spec.(*ast.ValueSpec)
		for _, name := range spec.Names {
			if name.IsExported() {
				need(name.Name, v.Doc+spec.Doc.Text()+spec.Comment.Text(), spec)
			}
		}
	}
}

// Files are of a length that can be read as one subject; tables of tests may be longer.
func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t, func(string) bool { return true }) {
		most := 700
		if isTest(s.name) {
			most = 1000
		}
		if n := s.fset.File(s.Pos()).LineCount(); n > most && !ast.IsGenerated(s.File) {
			t.Errorf("%s has %d lines, more than %d: is it one subject?", s.name, n, most)
		}
	}
}

// Interfaces stand at the edges and are small: none has more than six methods, half of them one or two.
func TestInterfacesAreSmall(t *testing.T) {
	t.Parallel()
	const most, median = 6, 2
	bodies := make(map[string]*ast.InterfaceType)
	where := make(map[string]string)
	for _, s := range shipped(t) {
		for _, d := range s.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			for _, spec := range g.Specs {
				if i, ok := spec.(*ast.TypeSpec).Type.(*ast.InterfaceType); ok {
					name := path.Dir(s.name) + "." + spec.(*ast.TypeSpec).Name.Name
					bodies[name], where[name] = i, s.at(spec)
				}
			}
		}
	}
	require.NotEmpty(t, bodies)
	var sizes []int
	for name, i := range bodies {
		n, constraint := methods(bodies, path.Dir(name), i)
		if constraint {
			continue
		}
		sizes = append(sizes, n)
		if n > most {
			t.Errorf("%s: interface %s has %d methods, more than %d", where[name], name, n, most)
		}
	}
	slices.Sort(sizes)
	require.LessOrEqual(t, sizes[len(sizes)/2], median, "the median of %v", sizes)
}

// methods counts an interface's methods with those of the embedded interfaces that bodies has; one from
// elsewhere counts as one. An interface with a union of types is a constraint.
func methods(bodies map[string]*ast.InterfaceType, dir string, i *ast.InterfaceType) (n int, constraint bool) {
	for _, f := range i.Methods.List {
		switch typ := f.Type.(type) {
		case *ast.FuncType:
			n += max(1, len(f.Names))
		case *ast.UnaryExpr, *ast.BinaryExpr:
			return 0, true
		default:
			m := 1
			if id, ok := typ.(*ast.Ident); ok && bodies[dir+"."+id.Name] != nil {
				m, _ = methods(bodies, dir, bodies[dir+"."+id.Name])
			}
			n += m
		}
	}
	return n, false
}

// Every package that can be imported shows by an example how it is used, one that runs and is checked.
func TestEveryPackageHasAnExample(t *testing.T) {
	t.Parallel()
	compiled := map[string]string{ // an example without output is compiled and never run
		"hypervisor/libvirt": "to run it a libvirt daemon is needed",
	}
	has, runs := make(map[string]bool), make(map[string]bool)
	for _, s := range sources(t, isTest) {
		for _, e := range doc.Examples(s.File) {
			dir := path.Dir(s.name)
			has[dir], runs[dir] = true, runs[dir] || e.Output != "" || e.EmptyOutput
		}
	}
	for _, p := range list(t, ".", "linux", "./...") {
		name, _ := inside(p.ImportPath)
		if p.Name == "main" || strings.Contains("/"+name+"/", "/internal/") {
			continue
		}
		if dir := path.Clean(name); !runs[dir] && (compiled[name] == "" || !has[dir]) { // the root package is "."
			t.Errorf("package %s has no Example that runs", p.ImportPath)
		}
	}
}
