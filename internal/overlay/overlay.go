// Package overlay lays changed sources over the tree for one build, with the go command's -overlay: no file of
// the tree changes, and the product needs no switch for what only a test wants of it. Seeded bugs
// (internal/mutants) and the exact replays of the simulation (Exact) are such changes.
//
// A set of changes is a text:
//
//	key: what is said of it, in as many lines as it takes
//	file: path/of/a/source.go
//	<<<<
//	the lines as they are, which the file has exactly once
//	====
//	the lines instead
//	>>>>
//
// with as many keys, files and changes as wanted. A path that begins with GOROOT/ is one of the standard library.
package overlay

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Change is one place of one file.
type Change struct{ File, Old, New string }

// Set is a parsed text: what is said under each key but file, in order, and the changes.
type Set struct {
	Said    []Said
	Changes []Change
}

// Said is one key and what stands behind it; further lines are joined by blanks.
type Said struct{ Key, Text string }

// Parse reads a set of changes. The error names the line.
func Parse(text string) (Set, error) {
	var s Set
	file, section := "", ""
	var old, new strings.Builder
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		bad := func(what string) (Set, error) { return s, fmt.Errorf("line %d: %s", n+1, what) }
		key, value, keyed := strings.Cut(line, ": ")
		switch {
		case line == "<<<<" && section != "old" && section != "new":
			if file == "" {
				return bad("a change without a file")
			}
			section = "old"
		case line == "====" && section == "old":
			section = "new"
		case line == ">>>>" && section == "new":
			s.Changes = append(s.Changes, Change{file, old.String(), new.String()})
			old.Reset()
			new.Reset()
			section = ""
		case section == "old":
			old.WriteString(line + "\n")
		case section == "new":
			new.WriteString(line + "\n")
		case keyed && key == "file":
			file, section = value, ""
		case keyed && !strings.Contains(key, " "):
			s.Said = append(s.Said, Said{key, value})
			section = "said"
		case section == "said":
			s.Said[len(s.Said)-1].Text += " " + strings.TrimSpace(line)
		case line != "":
			return bad("a key, a file, or a change between <<<< and >>>> is wanted")
		}
	}
	if len(s.Changes) == 0 || section == "old" || section == "new" {
		return s, errors.New("a whole change is wanted")
	}
	return s, nil
}

// Apply returns the changed text of each file, read by read.
func Apply(changes []Change, read func(name string) (string, error)) (map[string]string, error) {
	out := make(map[string]string)
	for _, c := range changes {
		text, ok := out[c.File]
		if !ok {
			var err error
			if text, err = read(c.File); err != nil {
				return nil, err
			}
		}
		if n := strings.Count(text, c.Old); n != 1 || c.Old == "" {
			return nil, fmt.Errorf("%s has these lines %d times, not once:\n%s", c.File, n, c.Old)
		}
		out[c.File] = strings.Replace(text, c.Old, c.New, 1)
	}
	return out, nil
}

// Tree is where the sources are: the module's own, and those of the standard library.
type Tree struct{ Module, GOROOT string }

func (t Tree) path(name string) string {
	if std, ok := strings.CutPrefix(name, "GOROOT/"); ok {
		return filepath.Join(t.GOROOT, filepath.FromSlash(std))
	}
	return filepath.Join(t.Module, filepath.FromSlash(name))
}

// Read returns a source as it is.
func (t Tree) Read(name string) (string, error) {
	b, err := os.ReadFile(t.path(name))
	return string(b), err
}

// Write applies changes and writes what the go command's -overlay wants into a directory, which is made; it
// returns the file to name there.
func (t Tree) Write(dir string, changes []Change) (string, error) {
	changed, err := Apply(changes, t.Read)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	list := struct{ Replace map[string]string }{make(map[string]string)}
	for name, text := range changed {
		to := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			return "", err
		}
		list.Replace[t.path(name)] = to
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	at := filepath.Join(dir, "overlay.json")
	return at, os.WriteFile(at, b, 0o644)
}
