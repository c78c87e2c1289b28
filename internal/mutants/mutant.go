package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berthage/berthage/internal/overlay"
)

// mutant is one seeded bug. Its file is a set of changes (see package overlay) with the keys
//
//	why: what the bug is and what comes of it
//	test: ./package TestName NAME=value ...
//
// and as many tests as are to be tried one after another until one catches it.
type mutant struct {
	name, why string
	tests     []test
	changes   []overlay.Change
}

// test is a test that is to catch a bug, with variables for its environment.
type test struct {
	pkg, name string
	env       []string
}

func parse(name, text string) (mutant, error) {
	m := mutant{name: name}
	set, err := overlay.Parse(text)
	if err != nil {
		return m, err
	}
	m.changes = set.Changes
	for _, said := range set.Said {
		switch said.Key {
		case "why":
			m.why = said.Text
		case "test":
			words := strings.Fields(said.Text)
			if len(words) < 2 {
				return m, errors.New("a test is a package and a name")
			}
			m.tests = append(m.tests, test{words[0], words[1], words[2:]})
		default:
			return m, fmt.Errorf("%s: why or test is wanted", said.Key)
		}
	}
	if m.why == "" || len(m.tests) == 0 {
		return m, errors.New("it needs a why and a test")
	}
	return m, nil
}
