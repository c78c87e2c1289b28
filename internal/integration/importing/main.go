// Importing measures what a program gets that imports one package of the SDK and nothing else: requirements
// in its go.mod, lines in its go.sum, packages linked, bytes. It writes the table in docs/importing.md, or
// with -check says how that differs.
//
// Each figure is taken in a module made for it, by go mod tidy, go list and go build.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

func main() {
	check := flag.Bool("check", false, "change nothing; fail if an importer gets other modules than the table says")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *check); err != nil {
		fmt.Fprintln(os.Stderr, "importing:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, check bool) error {
	root, err := rootDir()
	if err != nil {
		return err
	}
	file := filepath.Join(root, "docs", "importing.md")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	rows, err := measure(ctx, root, !check)
	if err != nil {
		return err
	}
	if check {
		return compare(string(text), rows)
	}
	out, err := splice(string(text), table(rows))
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(out), 0o644)
}

// The generated part of the document stands between these lines.
const (
	begin = "<!-- begin: written by make importing -->\n"
	end   = "<!-- end: written by make importing -->\n"
)

// splice returns the document with its generated part replaced.
func splice(text, generated string) (string, error) {
	before, rest, ok1 := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("the document lacks the lines %q and %q", begin, end)
	}
	return before + begin + generated + end + after, nil
}

// table writes the rows as Markdown.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("\n| package | modules in go.mod | lines in go.sum | packages linked from other modules | program |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(append(r.cells(), fmt.Sprintf("%.1f MB", float64(r.size)/1e6)), " | "))
	}
	b.WriteString("\n")
	return b.String()
}

// cells returns what must not differ; the size of a program depends on the compiler too.
func (r row) cells() []string {
	modules := "none"
	if len(r.modules) > 0 {
		modules = fmt.Sprintf("%d: %s", len(r.modules), strings.Join(r.modules, ", "))
	}
	return []string{"`" + r.pkg + "`", modules, fmt.Sprint(r.sums), fmt.Sprint(r.linked)}
}

// compare says in which rows the document differs from what was measured.
func compare(text string, rows []row) error {
	_, rest, _ := strings.Cut(text, begin)
	generated, _, ok := strings.Cut(rest, end)
	if !ok {
		return fmt.Errorf("the document lacks the lines %q and %q", begin, end)
	}
	said := make(map[string]bool)
	for _, line := range strings.Split(generated, "\n") {
		if strings.HasPrefix(line, "| `") {
			said[line[:strings.LastIndex(strings.TrimSuffix(line, " |"), " | ")]] = true
		}
	}
	var wrong []string
	for _, r := range rows {
		if want := "| " + strings.Join(r.cells(), " | "); !said[want] {
			wrong = append(wrong, want)
		} else {
			delete(said, want)
		}
	}
	for line := range said {
		wrong = append(wrong, "and no longer: "+line)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("docs/importing.md is not up to date; run make importing. Measured:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}
