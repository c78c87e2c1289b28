// Vulncheck has govulncheck look in every module for known vulnerabilities of what it calls, and judges what that finds.
//
//	vulncheck [-db URL] -with PACKAGE@VERSION MODULE...
//
// The database is the one of -db (file:// or https://), or else the Go project's at vuln.go.dev, or where that cannot be reached the
// module golang.org/x/vulndb, of which it is made, as new as the module proxy has it. Where there is none of them, or no govulncheck, it
// says NOT RUN and why, and fails nothing.
//
// It fails because of a vulnerability that a module calls and that another version of what it requires would not have, unless accepted.txt
// says why that is left; and because of a line in accepted.txt that nothing is found for. Those of the standard library are shown and fail
// nothing: what mends them is the Go that somebody builds with, and no file of this tree.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed accepted.txt
var accepted string

func main() {
	db := flag.String("db", "", "database of vulnerabilities, as file:// or https://; empty: the first that there is")
	with := flag.String("with", "", "package of govulncheck, with its version")
	flag.Parse()
	failed, err := check(context.Background(), os.Stdout, *db, *with, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "vulncheck:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

// check looks at all modules, each a directory.
func check(ctx context.Context, out io.Writer, db, with string, modules []string) (failed bool, err error) {
	j, err := newJudge(accepted)
	if err != nil {
		return false, err
	}
	bin, err := os.MkdirTemp("", "vulncheck-*")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	install := exec.CommandContext(ctx, "go", "install", with)
	install.Env = append(os.Environ(), "GOBIN="+bin)
	if said, err := install.CombinedOutput(); err != nil {
		return false, notRun(out, fmt.Sprintf("%s cannot be had: %s", with, lastLine(said)))
	}
	if db == "" {
		if db, err = find(ctx, out); err != nil {
			return false, notRun(out, err.Error())
		}
	}
	for _, module := range modules {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, "govulncheck"), "-C", module, "-format", "json", "-db", db, "./...")
		cmd.Stderr = os.Stderr
		said, err := cmd.Output()
		if err == nil {
			err = j.read(module, said)
		}
		if err != nil {
			return false, fmt.Errorf("%s: govulncheck: %w", module, err)
		}
	}
	return j.say(out), nil
}

// notRun says what was not run in the form that make test repeats at its end.
func notRun(out io.Writer, why string) error {
	_, err := fmt.Fprintln(out, "NOT RUN: govulncheck: "+why)
	return err
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// online is the Go project's database.
const online = "https://vuln.go.dev"

// find returns a database that can be had.
func find(ctx context.Context, out io.Writer) (string, error) {
	within, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(within, http.MethodGet, online+"/index/db.json", nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err == nil {
		err = answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return online, err
		}
	}
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", "golang.org/x/vulndb@latest")
	said, err := cmd.Output()
	var m struct{ Dir, Version, Error string }
	if json.Unmarshal(said, &m) != nil || m.Dir == "" {
		return "", fmt.Errorf("neither %s nor the module golang.org/x/vulndb can be reached: %s", online, cmp.Or(m.Error, fmt.Sprint(err)))
	}
	fmt.Fprintf(out, "govulncheck: %s cannot be reached; its data are those of golang.org/x/vulndb@%s, of when its version says\n", online, m.Version)
	return "file://" + filepath.ToSlash(filepath.Join(m.Dir, "data", "osv")), nil
}

// found is one vulnerability in one module that is required, or in the standard library.
type found struct{ id, in string }

// call is how somebody comes to it.
type call struct{ by, version, fixed, function string }

// judge collects what was found in all modules.
type judge struct {
	accepted map[found]string // the reason
	found    map[found]call   // the first
	summary  map[string]string
	goes     string // version of Go
}

func newJudge(accepted string) (*judge, error) {
	j := &judge{make(map[found]string), make(map[found]call), make(map[string]string), ""}
	for _, line := range strings.Split(accepted, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.SplitN(line, " ", 3)
		if len(words) != 3 {
			return nil, fmt.Errorf("accepted.txt: %q: an id, a module and a reason", line)
		}
		j.accepted[found{words[0], words[1]}] = words[2]
	}
	return j, nil
}

// message is one of govulncheck's, of which it writes a stream (golang.org/x/vuln/internal/govulncheck.Message).
type message struct {
	Config *struct {
		GoVersion string `json:"go_version"`
	}
	OSV *struct {
		ID, Summary string
	}
	Finding *struct {
		OSV          string
		FixedVersion string `json:"fixed_version"`
		Trace        []struct{ Module, Version, Package, Function string }
	}
}

// read takes what govulncheck says of a module. Only what is called counts: of a package that is imported, or a module that is
// required, it has findings too, without a function.
func (j *judge) read(module string, stream []byte) error {
	said := false
	for d := json.NewDecoder(strings.NewReader(string(stream))); ; {
		var m message
		if err := d.Decode(&m); err == io.EOF && said {
			return nil
		} else if err != nil {
			return err
		}
		said = true
		switch {
		case m.Config != nil:
			j.goes = m.Config.GoVersion
		case m.OSV != nil:
			j.summary[m.OSV.ID] = m.OSV.Summary
		case m.Finding != nil && len(m.Finding.Trace) > 0 && m.Finding.Trace[0].Function != "":
			at := m.Finding.Trace[0]
			f := found{m.Finding.OSV, at.Module}
			if _, had := j.found[f]; !had {
				j.found[f] = call{module, at.Version, m.Finding.FixedVersion, at.Package + "." + at.Function}
			}
		}
	}
}

// standard is what govulncheck calls the standard library.
const standard = "stdlib"

// say writes what is to be done, and reports whether something is.
func (j *judge) say(out io.Writer) (failed bool) {
	var ofGo []string
	for _, f := range slices.SortedFunc(maps.Keys(j.found), compare) {
		c := j.found[f]
		mended := "nothing mends it yet"
		if c.fixed != "" {
			mended = "mended in " + c.fixed
		}
		text := fmt.Sprintf("%s: %s (%s, %s; called by %s, as %s)", f.id, j.summary[f.id], f.in+" "+c.version, mended, c.by, c.function)
		switch why := j.accepted[f]; {
		case f.in == standard:
			ofGo = append(ofGo, text)
		case why != "":
			fmt.Fprintf(out, "accepted: %s: %s\n", text, why)
		default:
			failed = true
			fmt.Fprintf(out, "FAIL: %s\n", text)
		}
	}
	for _, f := range slices.SortedFunc(maps.Keys(j.accepted), compare) {
		if _, there := j.found[f]; !there {
			failed = true
			fmt.Fprintf(out, "FAIL: accepted.txt has %s of %s, which is not found any more: take the line out\n", f.id, f.in)
		}
	}
	if len(ofGo) > 0 {
		fmt.Fprintf(out, "WARNING: %s itself has %d known vulnerabilities that are called; build with a newer one:\n  %s\n", j.goes, len(ofGo), strings.Join(ofGo, "\n  "))
	}
	return failed
}

func compare(a, b found) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.in, b.in)) }
