// Drivers shows the drivers of the SDK side by side: what each can do, which is the table of docs/drivers.md, and with -table how each
// did in the conformance suite, from the reports that hypervisortest.Run has left in a directory.
//
//	drivers              write the table of docs/drivers.md anew
//	drivers -table DIR   print driver by case; fail if a driver failed, or can do other things than docs/drivers.md says
//
// A new driver is an entry in the function drivers.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:generate go run .

func main() {
	table := flag.String("table", "", "print the reports in this directory instead")
	flag.Parse()
	err := errors.New("no arguments are taken")
	switch {
	case flag.NArg() > 0:
	case *table != "":
		err = compare(os.Stdout, *table)
	default:
		err = write(filepath.Join("..", "..", "..", "docs", "drivers.md"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "drivers:", err)
		os.Exit(1)
	}
}

// The generated part of the document stands between these lines.
const (
	begin = "<!-- begin: written by make generate -->\n"
	end   = "<!-- end: written by make generate -->\n"
)

// write replaces the generated part of the document.
func write(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, err := splice(string(text))
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(out), 0o644)
}

// splice returns the document with its generated part replaced.
func splice(text string) (string, error) {
	before, rest, ok1 := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("the document lacks the lines %q and %q", begin, end)
	}
	list, err := drivers()
	if err != nil {
		return "", err
	}
	table, err := document(list)
	return before + begin + table + end + after, err
}
