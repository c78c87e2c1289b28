package hypervisortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/berthage/berthage/hypervisor"
)

// Case is a row of the suite.
type Case struct {
	Name    string             `json:"name"`              // "destroy-foreign"
	Rule    string             `json:"rule"`              // what it checks, in words
	Ability hypervisor.Ability `json:"ability,omitempty"` // that it needs; empty: none
}

// Outcome is how a case ended.
type Outcome string

// The outcomes.
const (
	Pass       Outcome = "pass"
	Fail       Outcome = "FAIL"
	NotOffered Outcome = "not offered" // by the driver, or not possible with this Setup
)

// Result is how a case ended for a driver.
type Result struct {
	Case
	Outcome Outcome       `json:"outcome"`
	Detail  string        `json:"detail,omitempty"` // what was wrong, or why the case was not run
	Took    time.Duration `json:"took"`             // in JSON nanoseconds
}

// Report is the judgement of one driver.
type Report struct {
	Driver       string                  `json:"driver"`       // Setup.Name
	Capabilities hypervisor.Capabilities `json:"capabilities"` // on the first host
	Results      []Result                `json:"results"`
}

// Err returns an error that names every case that failed and what was wrong, or nil.
func (r Report) Err() error {
	var errs []error
	for _, res := range r.Results {
		if res.Outcome == Fail {
			errs = append(errs, fmt.Errorf("%s: %s (the rule: %s)", res.Name, res.Detail, res.Rule))
		}
	}
	return errors.Join(errs...)
}

// String is the table of this one driver.
func (r Report) String() string {
	var b strings.Builder
	_ = Table(&b, r) // a strings.Builder does not fail
	return b.String()
}

// Table prints case by driver.
func Table(w io.Writer, reports ...Report) error {
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprint(tab, "case")
	for _, r := range reports {
		fmt.Fprint(tab, "\t"+r.Driver)
	}
	fmt.Fprintln(tab)
	for _, c := range Cases() {
		fmt.Fprint(tab, c.Name)
		for _, r := range reports {
			outcome := "not run"
			for _, res := range r.Results {
				if res.Name == c.Name {
					outcome = string(res.Outcome)
				}
			}
			fmt.Fprint(tab, "\t"+outcome)
		}
		fmt.Fprintln(tab)
	}
	return tab.Flush()
}

// Cases lists the rows of the suite in the order in which they run.
func Cases() []Case {
	var out []Case
	for _, r := range rows() {
		out = append(out, r.Case)
	}
	return out
}

// Check judges a driver. The error says that the setup is wrong or that the driver could not even list its
// hosts and machines; failing cases are in the report (see Report.Err).
func Check(ctx context.Context, s Setup) (Report, error) {
	b, err := begin(ctx, s)
	if err != nil {
		return Report{}, err
	}
	r := Report{Driver: b.Name}
	for _, row := range rows() {
		r.Results = append(r.Results, b.run(ctx, row))
	}
	r.Capabilities = hypervisor.CapabilitiesOf(b.Driver, b.Hosts[0])
	return r, nil
}

// Run judges a driver as subtests of t, one per case, logs the table and returns the report. A case that is
// not offered is a skipped subtest that says why; state Setup.Abilities, so that a driver cannot pass by
// offering less than it should.
//
// If the environment variable BERTHAGE_REPORTS names a directory, the report is written there too, as JSON in a file named after
// the driver, so that the reports of several drivers can be read and printed side by side.
func Run(t *testing.T, s Setup) Report {
	t.Helper()
	b, err := begin(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	r := Report{Driver: b.Name}
	for _, row := range rows() {
		t.Run(row.Name, func(t *testing.T) {
			res := b.run(t.Context(), row)
			r.Results = append(r.Results, res)
			switch res.Outcome {
			case Fail:
				t.Errorf("%s\nthe rule: %s", res.Detail, res.Rule)
			case NotOffered:
				t.Skip("not offered: " + res.Detail)
			}
		})
	}
	r.Capabilities = hypervisor.CapabilitiesOf(b.Driver, b.Hosts[0])
	t.Log("\n" + r.String())
	if dir := os.Getenv("BERTHAGE_REPORTS"); dir != "" {
		if err := r.save(dir); err != nil {
			t.Errorf("the report could not be written: %v", err)
		}
	}
	return r
}

// save writes the report into a directory, in place of an earlier one of the same driver.
func (r Report) save(dir string) error {
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, url.PathEscape(r.Driver)+".json"), b, 0o644)
}
