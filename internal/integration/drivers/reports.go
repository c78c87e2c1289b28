package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
)

// compare prints the reports in a directory as one table, in the order in which drivers names them, and says which are missing.
func compare(w io.Writer, dir string) error {
	list, err := drivers()
	if err != nil {
		return err
	}
	reports, err := read(dir)
	if err != nil {
		return err
	}
	var wanted []string
	for _, d := range list {
		wanted = append(wanted, d.suites...)
		err = errors.Join(err, d.keepsWord(reports))
	}
	wanted = slices.Concat(wanted, servers(), examples())
	slices.SortStableFunc(reports, func(a, b hypervisortest.Report) int {
		return slices.Index(wanted, a.Driver) - slices.Index(wanted, b.Driver)
	})
	for _, r := range reports {
		if !slices.Contains(wanted, r.Driver) {
			err = errors.Join(err, fmt.Errorf("a report of %q, which no entry of drivers names", r.Driver))
		}
		if failed := r.Err(); failed != nil {
			err = errors.Join(err, fmt.Errorf("%s:\n%w", r.Driver, failed))
		}
	}
	if len(reports) == 0 {
		return errors.New("no reports in " + dir)
	}
	fmt.Fprintln(w)
	err = errors.Join(err, hypervisortest.Table(w, reports...))
	fmt.Fprintln(w)
	for _, name := range wanted {
		if !slices.ContainsFunc(reports, func(r hypervisortest.Report) bool { return r.Driver == name }) {
			fmt.Fprintf(w, "NOT RUN: the driver suite on %s: it left no report\n", name)
		}
	}
	return err
}

// keepsWord reports, as an error, what docs/drivers.md says of a driver and its reports do not.
func (d driver) keepsWord(reports []hypervisortest.Report) error {
	var errs []error
	seen := make(map[string]bool) // abilities, on any of its hosts
	ran := 0
	for _, r := range reports {
		if !slices.Contains(d.suites, r.Driver) {
			continue
		}
		ran++
		for _, a := range r.Capabilities.Abilities {
			seen[string(a)] = true
		}
		seen[string(firstBoot)] = seen[string(firstBoot)] || r.Capabilities.FirstBoot
	}
	said := map[string]bool{string(firstBoot): d.notes[firstBoot] != "" || hypervisor.CapabilitiesOf(d.driver, d.host).FirstBoot}
	for _, row := range rows() {
		can, err := d.can(row)
		if err != nil {
			return err
		}
		said[string(row.ability)] = can
	}
	for a := range said {
		switch {
		case seen[a] && !said[a]:
			errs = append(errs, fmt.Errorf("%s offers %q, and docs/drivers.md says that it does not", d.name, a))
		case said[a] && !seen[a] && ran == len(d.suites):
			errs = append(errs, fmt.Errorf("docs/drivers.md says that %s offers %q, and none of its reports does", d.name, a))
		}
	}
	return errors.Join(errs...)
}

// read reads the reports in a directory.
func read(dir string) ([]hypervisortest.Report, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var out []hypervisortest.Report
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var r hypervisortest.Report
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, r)
	}
	return out, nil
}
