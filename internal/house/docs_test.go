package house_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func documents(t *testing.T) []string {
	t.Helper()
	return files(t, func(name string) bool { return strings.HasSuffix(name, ".md") })
}

// block is a fenced block of a document.
type block struct {
	file, lang, text string
	line             int
	note             string // the HTML comment on the line before it
}

func blocks(t *testing.T, file string) []block {
	t.Helper()
	var out []block
	var b *block
	note := ""
	for n, line := range strings.Split(read(t, file), "\n") {
		switch {
		case b == nil && strings.HasPrefix(line, "```"):
			b = &block{file: file, lang: strings.TrimSpace(strings.TrimPrefix(line, "```")), line: n + 1, note: note}
		case b != nil && strings.HasPrefix(line, "```"):
			out = append(out, *b)
			b = nil
		case b != nil:
			b.text += line + "\n"
		}
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "<!-- "); ok && b == nil {
			note = strings.TrimSuffix(c, " -->")
		} else if strings.TrimSpace(line) != "" || b != nil {
			note = ""
		}
	}
	require.Nil(t, b, "%s: a block does not end", file)
	return out
}

// Every Go block of a document is a whole file, which must compile, or a quotation of a file of the tree,
// named in a comment before it: <!-- from examples/quickstart/main.go -->. Blocks of other languages may be quotations too.
func TestGoInDocuments(t *testing.T) {
	t.Parallel()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	var patterns []string
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			at := file + ":" + strconv.Itoa(b.line)
			src, quotes := strings.CutPrefix(b.note, "from ")
			if b.lang != "go" && !quotes {
				continue
			}
			if quotes {
				text, quoted := squeeze(read(t, src)), squeeze(b.text)
				require.Contains(t, text, quoted, "%s is not what %s says", at, src)
				if strings.HasPrefix(quoted, "package ") { // meant to be the whole of it, but for the comment before
					require.True(t, strings.HasSuffix(text, quoted), "%s ends before %s does", at, src)
				}
				continue
			}
			_, err := parser.ParseFile(token.NewFileSet(), at, b.text, 0)
			require.NoError(t, err, "%s is neither a whole file nor marked as a quotation", at)
			saved := filepath.Join(t.TempDir(), "block.go")
			require.NoError(t, os.WriteFile(saved, []byte(b.text), 0o600))
			name := "internal/house/block" + strconv.Itoa(len(patterns))
			overlay.Replace[filepath.Join(root(t), filepath.FromSlash(name), "block.go")] = saved
			patterns = append(patterns, "./"+name)
		}
	}
	if len(patterns) == 0 {
		return
	}
	list, err := json.Marshal(overlay)
	require.NoError(t, err)
	saved := filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(saved, list, 0o600))
	_, err = goCommand(t, ".", "linux", append([]string{"vet", "-overlay", saved}, patterns...)...)
	require.NoError(t, err)
}

// squeeze makes indentation and line breaks alike, so that a quotation may be indented differently.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// Every block of commands says in a comment before it who runs them, or why nobody does:
//
//	<!-- run by make test-vm -->       a target of the Makefile, or a test of the tree by its name
//	<!-- not run: needs an operator's server -->
//
// A quotation of a file says from which instead.
//
// Whatever it says, the Makefile must know the targets, and the packages of go run must exist.
func TestCommandsInDocuments(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			at := file + ":" + strconv.Itoa(b.line)
			switch b.lang {
			case "sh":
			case "go", "text", "json", "ini", "http":
				continue
			default:
				t.Errorf("%s: a block of language %q: use sh, go, json, ini, http or text", at, b.lang)
				continue
			}
			by, run := strings.CutPrefix(b.note, "run by ")
			why, not := strings.CutPrefix(b.note, "not run: ")
			if strings.HasPrefix(b.note, "from ") {
				continue
			}
			switch {
			case run && strings.HasPrefix(by, "make "):
				makeKnows(t, at, by)
			case run:
				if !tests[by] {
					t.Errorf("%s is said to be run by %s, which is no test", at, by)
				}
			case !not || why == "":
				t.Errorf("%s: say before it who runs these commands: <!-- run by make x -->, <!-- run by TestX --> or <!-- not run: why -->", at)
			default:
				t.Logf("NOT RUN: the commands at %s: %s", at, why)
			}
			for _, line := range strings.Split(b.text, "\n") {
				line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
				commandExists(t, at, strings.TrimSpace(line))
			}
		}
	}
}

// testNames returns the functions of all test files.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	tests := make(map[string]bool)
	for _, s := range sources(t, isTest) {
		for _, d := range s.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				tests[f.Name.Name] = true
			}
		}
	}
	return tests
}

// What a document names in its text exists: tests, targets of the Makefile, files, and of berthd its flags,
// routes and metrics.
func TestNamesInDocuments(t *testing.T) {
	t.Parallel()
	tests := testNames(t)
	berthd := `"config" "help"` // flags that are not in its table
	for _, name := range files(t, func(name string) bool {
		return strings.HasPrefix(name, "examples/berthd/") && strings.HasSuffix(name, ".go") && !isTest(name)
	}) {
		berthd += read(t, name)
	}
	quoted := regexp.MustCompile("`([^`\n]+)`")
	test := regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)[A-Z_]\w*$`)
	route := regexp.MustCompile(`^(GET|POST|PUT|DELETE) (/\S*)$`)
	metric := regexp.MustCompile(`^berth(age|d)(_[a-z]+)+$`)
	file := regexp.MustCompile(`^[\w.-]+(/[\w.-]+)+\.(go|sh|md|yml|svg|png|mod)$`)
	for _, doc := range documents(t) {
		for _, m := range quoted.FindAllStringSubmatch(read(t, doc), -1) {
			name := m[1]
			switch {
			case test.MatchString(name):
				if !tests[name] {
					t.Errorf("%s names %s, which is no test", doc, name)
				}
			case strings.HasPrefix(name, "make "):
				makeKnows(t, doc, name)
			case strings.HasPrefix(name, "--"):
				flag, _, _ := strings.Cut(strings.TrimPrefix(name, "--"), " ")
				if !strings.Contains(berthd, strconv.Quote(flag)) {
					t.Errorf("%s names %s, which is no flag of berthd", doc, name)
				}
			case route.MatchString(name):
				path, inAPI := strings.CutPrefix(route.FindStringSubmatch(name)[2], "/api/v1")
				if inAPI && !strings.Contains(berthd, strconv.Quote(path)) || !inAPI && !strings.Contains(berthd, `"`+name+`"`) {
					t.Errorf("%s names %s, which is no route of berthd", doc, name)
				}
			case metric.MatchString(name):
				if !strings.Contains(berthd, `"`+name+`"`) {
					t.Errorf("%s names %s, which is no metric of berthd", doc, name)
				}
			case file.MatchString(name):
				if _, err := os.Stat(filepath.Join(root(t), filepath.FromSlash(name))); err != nil {
					t.Errorf("%s names %s, which is not there", doc, name)
				}
			}
		}
	}
}

func commandExists(t *testing.T, at, line string) {
	t.Helper()
	words := strings.Fields(line)
	switch {
	case strings.HasPrefix(line, "make "):
		makeKnows(t, at, line)
	case len(words) > 4 && words[0] == "go" && words[1] == "run" && words[2] == "-C":
		_, err := os.Stat(filepath.Join(root(t), filepath.FromSlash(words[3]), filepath.FromSlash(words[4])))
		require.NoError(t, err, "%s: %s", at, line)
	}
}

// makeKnows looks in the Makefile for the targets and variables of a command. make itself is not asked: it
// carries out the lines that call make even when it is only to say what it would do.
func makeKnows(t *testing.T, at, line string) {
	t.Helper()
	makefile := read(t, "Makefile")
	for _, word := range strings.Fields(line)[1:] {
		name, _, variable := strings.Cut(word, "=")
		if variable {
			require.Contains(t, makefile, "$("+name, "%s: %s: the Makefile does not use %s", at, line, name)
		} else {
			require.Regexp(t, `(?m)^`+regexp.QuoteMeta(name)+`:`, makefile, "%s: %s: the Makefile has no target %s", at, line, name)
		}
	}
}

// Every link within the tree leads to a file that is there, and to a heading of it.
func TestLinksInDocuments(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"`)
	fence := regexp.MustCompile("(?ms)^```.*?^```")
	for _, file := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(read(t, file), ""), -1) {
			to := m[1] + m[2]
			if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
				continue
			}
			name, heading, _ := strings.Cut(to, "#")
			target := path.Join(path.Dir(file), name)
			if name == "" {
				target = file
			}
			info, err := os.Stat(filepath.Join(root(t), filepath.FromSlash(target)))
			if err != nil {
				t.Errorf("%s links to %s, which is not there", file, to)
				continue
			}
			if heading == "" || info.IsDir() || !strings.HasSuffix(target, ".md") {
				continue
			}
			found := false
			for _, line := range strings.Split(read(t, target), "\n") {
				found = found || strings.HasPrefix(line, "#") && anchor(line) == heading
			}
			if !found {
				t.Errorf("%s links to %s, a heading that is not there", file, to)
			}
		}
	}
}

// anchor is what a heading is linked by: its words in lower case, joined by hyphens, without punctuation.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(strings.TrimLeft(heading, "#")))
}

// Every package that can be imported is named in the README, and every document is reached from it.
func TestReadmeNamesEverything(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	for _, p := range list(t, ".", "linux", "./...") {
		name, _ := inside(p.ImportPath)
		if name != "" && p.Name != "main" && !strings.Contains("/"+name+"/", "/internal/") {
			require.Contains(t, readme, "`"+name+"`", "README.md")
		}
	}
	index := readme + read(t, "docs/decisions/README.md")
	for _, file := range documents(t) {
		if strings.HasPrefix(file, "docs/") {
			require.Contains(t, index, strings.TrimPrefix(path.Base(file), "docs/"), "no index links to "+file)
		}
	}
}

// What is published depends on nobody's computer: no paths of one, and no registry's address.
func TestNothingLocal(t *testing.T) {
	t.Parallel()
	// In parts, so that this file does not find itself.
	bad := regexp.MustCompile(strings.Join([]string{
		`/ro` + `ot/`, `/ho` + `me/[a-z]`, `/Us` + `ers/[a-z]`, `/wo` + `rk/`, `/tmp/ba` + `sh_`, `[A-Z]:\\` + `Users`,
		`proxy\.go` + `lang\.`, `registry\.npm` + `js\.`, `deb\.deb` + `ian\.`, `files\.pyth` + `onhosted\.`, `registry\.yarn` + `pkg\.`,
	}, "|"))
	for _, name := range files(t, func(name string) bool { return path.Base(name) != "go.sum" && path.Base(name) != "go.work.sum" }) {
		text := read(t, name)
		if strings.ContainsRune(text, 0) {
			continue // not text
		}
		for n, line := range strings.Split(text, "\n") {
			if m := bad.FindString(line); m != "" {
				t.Errorf("%s:%d: %q is of one computer or one registry", name, n+1, m)
			}
		}
	}
}
