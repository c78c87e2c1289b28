// Tally runs the parts of make test, keeps count of what passed, and says loudly what was not run.
//
//	tally test [-C dir] [-race] [go test's flags and packages]
//	tally run NAME command [arguments]    any other program as a part
//	tally skip NAME REASON                a part that cannot run here
//	tally summary                         what all parts gave, and whether any failed
//
// A test passes silently, as go test has it; what fails shows its whole output. A test that is skipped, and a
// line of output that begins with "NOT RUN:", are shown at once and again in the summary. Results are kept in
// the directory that the environment variable TALLY names, between one part and the next.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	t := &tally{dir: os.Getenv("TALLY"), out: os.Stdout}
	failed, err := t.main(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

// The files of a tally's directory.
const (
	resultsFile = "results" // go test's line of each package
	notRunFile  = "not-run" // one line each
)

// notRun begins the line of something that was not run.
const notRun = "NOT RUN: "

type tally struct {
	dir string
	out io.Writer
}

func (t *tally) main(args []string) (failed bool, err error) {
	if t.dir == "" {
		return false, errors.New("TALLY must name a directory")
	}
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return false, err
	}
	switch {
	case len(args) > 1 && args[0] == "test":
		return t.test(args[1:])
	case len(args) > 2 && args[0] == "run":
		return t.run(args[1], args[2:])
	case len(args) == 3 && args[0] == "skip":
		return false, t.note(args[1] + ": " + args[2])
	case len(args) == 1 && args[0] == "summary":
		return t.summary()
	}
	return false, errors.New("usage: tally test ... | run NAME command ... | skip NAME REASON | summary")
}

// note shows and keeps that something was not run.
func (t *tally) note(what string) error {
	fmt.Fprintln(t.out, notRun+what)
	return t.keep(notRunFile, notRun+what)
}

// keep appends a line to one of the files, once.
func (t *tally) keep(file, line string) error {
	had, err := t.lines(file)
	if err != nil || slices.Contains(had, line) {
		return err
	}
	f, err := os.OpenFile(filepath.Join(t.dir, file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

func (t *tally) lines(file string) ([]string, error) {
	b, err := os.ReadFile(filepath.Join(t.dir, file))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return r == '\n' }), err
}

// event is a line of go test -json; go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// test runs go test and shows of its output what go test itself would show, and what was not run.
func (t *tally) test(args []string) (failed bool, err error) {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	if args[0] == "-C" { // must come first
		cmd = exec.Command("go", append([]string{"test", "-C", args[1], "-json"}, args[2:]...)...)
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return true, err
	}
	if err := cmd.Start(); err != nil {
		return true, err
	}
	err = t.follow(out)
	if cmd.Wait() != nil {
		had, _ := t.lines(resultsFile)
		if !slices.ContainsFunc(had, func(line string) bool { return strings.HasPrefix(line, "FAIL") }) {
			// The go command failed without a word about any package.
			err = errors.Join(err, t.keep(resultsFile, "FAIL\tgo test "+strings.Join(args, " ")))
		}
		failed = true
	}
	return failed, err
}

// follow reads events to the end.
func (t *tally) follow(r io.Reader) error {
	type test struct{ pkg, name string }
	said := make(map[test]*bytes.Buffer)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(t.out, "%s", line) // of the go command itself
				continue
			}
			key := test{e.Package, e.Test}
			if said[key] == nil {
				said[key] = new(bytes.Buffer)
			}
			switch e.Action {
			case "build-output":
				fmt.Fprint(t.out, e.Output)
			case "output":
				if err := t.output(e, said[key]); err != nil {
					return err
				}
			case "skip":
				if why := reason(said[key].String()); e.Test != "" && why != told {
					if err := t.note(name(e) + why); err != nil {
						return err
					}
				}
				delete(said, key)
			case "pass":
				delete(said, key)
			case "fail":
				fmt.Fprint(t.out, said[key].String())
				delete(said, key)
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// output keeps a line of a test until the test's end is known, and shows that of a package at once.
func (t *tally) output(e event, said *bytes.Buffer) error {
	if _, what, ok := strings.Cut(e.Output, notRun); ok {
		said.WriteString(notRun + "\n")
		return t.note(name(e) + strings.TrimPrefix(strings.TrimSpace(what), e.Test+": "))
	}
	if e.Test != "" {
		said.WriteString(e.Output)
		return nil
	}
	line := strings.TrimRight(e.Output, "\n")
	if line == "PASS" {
		return nil
	}
	fmt.Fprintln(t.out, line)
	if strings.HasPrefix(line, "ok  \t") || strings.HasPrefix(line, "FAIL\t") {
		return t.keep(resultsFile, line)
	}
	return nil
}

// name says which test an event is about, for a line of what was not run.
func name(e event) string {
	pkg := strings.TrimPrefix(e.Package, "github.com/berthage/berthage/")
	if e.Test == "" {
		return pkg + ": "
	}
	return pkg + " " + e.Test + ": "
}

// told is the reason of a test that has said itself what is not run.
const told = "told"

// reason finds in a skipped test's output why it was skipped.
func reason(said string) string {
	var why []string
	for _, line := range strings.Split(said, "\n") {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, strings.TrimSpace(notRun)) {
			return told
		}
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			why = append(why, line)
		}
	}
	if len(why) == 0 {
		return "skipped without a reason"
	}
	return strings.Join(why, " ")
}

// run runs a program as a part, shows its output, and keeps what it says was not run.
func (t *tally) run(name string, args []string) (failed bool, err error) {
	cmd := exec.Command(args[0], args[1:]...)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	done := make(chan error, 1)
	start := time.Now()
	go func() {
		err := cmd.Run()
		w.Close()
		done <- err
	}()
	lines := bufio.NewReader(r)
	for {
		line, end := lines.ReadString('\n')
		if _, what, ok := strings.Cut(line, notRun); ok {
			err = errors.Join(err, t.note(strings.TrimSpace(what)))
		} else {
			fmt.Fprint(t.out, line)
		}
		if end != nil {
			break
		}
	}
	result := "ok  \t"
	if ran := <-done; ran != nil {
		fmt.Fprintln(t.out, name+": "+ran.Error())
		failed, result = true, "FAIL\t"
	}
	line := fmt.Sprintf("%s%s\t%.3fs", result, name, time.Since(start).Seconds())
	fmt.Fprintln(t.out, line)
	return failed, errors.Join(err, t.keep(resultsFile, line))
}

// summary shows what was not run and then, as go test would, the result of every part.
func (t *tally) summary() (failed bool, err error) {
	skipped, err := t.lines(notRunFile)
	if err != nil {
		return false, err
	}
	results, err := t.lines(resultsFile)
	if err != nil {
		return false, err
	}
	if len(skipped) == 0 {
		fmt.Fprint(t.out, "\nNothing was left out: every part and every test was run.\n\n")
	} else {
		fmt.Fprintf(t.out, "\n%s\n%d NOT RUN, and why:\n\n%s\n%s\n\n", rule, len(skipped), strings.Join(skipped, "\n"), rule)
	}
	for _, line := range results {
		fmt.Fprintln(t.out, line)
		failed = failed || strings.HasPrefix(line, "FAIL")
	}
	if len(results) == 0 {
		return false, errors.New("no results in " + t.dir)
	}
	if failed {
		fmt.Fprintln(t.out, "FAIL")
	}
	return failed, nil
}

const rule = "==============================================================================="
