package main

import (
	"errors"
	"fmt"
	"strings"
)

// mutant is one seeded bug. Its file has
//
//	why: what the bug is and what comes of it, in as many lines as it takes
//	test: ./package TestName NAME=value ...
//	file: path/of/a/source.go
//	<<<<
//	the lines as they are, which the file has exactly once
//	====
//	the lines with the bug
//	>>>>
//
// with as many tests as are to be tried one after another until one catches it, and as many files and changes
// as the bug needs.
type mutant struct {
	name, why string
	tests     []test
	changes   []change
}

// test is a test that is to catch a bug, with variables for its environment.
type test struct {
	pkg, name string
	env       []string
}

// change is one place of a bug.
type change struct{ file, old, new string }

func parse(name, text string) (mutant, error) {
	m := mutant{name: name}
	file, section := "", ""
	var old, new strings.Builder
	for n, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		bad := func(what string) (mutant, error) { return m, fmt.Errorf("line %d: %s", n+1, what) }
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "<<<<" && section != "old" && section != "new":
			if file == "" {
				return bad("a change without a file")
			}
			section = "old"
		case line == "====" && section == "old":
			section = "new"
		case line == ">>>>" && section == "new":
			m.changes = append(m.changes, change{file, old.String(), new.String()})
			old.Reset()
			new.Reset()
			section = ""
		case section == "old":
			old.WriteString(line + "\n")
		case section == "new":
			new.WriteString(line + "\n")
		case key == "why":
			m.why, section = value, "why"
		case key == "test":
			words := strings.Fields(value)
			if len(words) < 2 {
				return bad("a test is a package and a name")
			}
			m.tests, section = append(m.tests, test{words[0], words[1], words[2:]}), ""
		case key == "file":
			file, section = value, ""
		case section == "why":
			m.why += " " + line
		case line != "":
			return bad("why, test, file, or a change between <<<< and >>>> is wanted")
		}
	}
	if m.why == "" || len(m.tests) == 0 || len(m.changes) == 0 || section == "old" || section == "new" {
		return m, errors.New("it needs a why, a test and a whole change")
	}
	return m, nil
}

// apply returns the changed text of each file, read by read.
func (m mutant) apply(read func(name string) (string, error)) (map[string]string, error) {
	out := make(map[string]string)
	for _, c := range m.changes {
		text, ok := out[c.file]
		if !ok {
			var err error
			if text, err = read(c.file); err != nil {
				return nil, err
			}
		}
		if n := strings.Count(text, c.old); n != 1 || c.old == "" {
			return nil, fmt.Errorf("%s has these lines %d times, not once:\n%s", c.file, n, c.old)
		}
		out[c.file] = strings.Replace(text, c.old, c.new, 1)
	}
	return out, nil
}
