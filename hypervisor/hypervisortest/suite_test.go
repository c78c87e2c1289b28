package hypervisortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

func TestSetupsThatAreWrong(t *testing.T) {
	t.Parallel()
	lost := errors.New("no route to host")
	for name, tc := range map[string]struct {
		change func(*hypervisortest.Setup)
		kind   error
	}{
		"no driver":      {func(s *hypervisortest.Setup) { s.Driver = nil }, pool.ErrInvalid},
		"no hosts":       {func(s *hypervisortest.Setup) { s.Hosts = nil }, pool.ErrInvalid},
		"three hosts":    {func(s *hypervisortest.Setup) { s.Hosts = []pool.HostID{"fake/a", "fake/b", "fake/c"} }, pool.ErrInvalid},
		"the same twice": {func(s *hypervisortest.Setup) { s.Hosts = []pool.HostID{"fake/a", "fake/a"} }, pool.ErrInvalid},
		"unknown host":   {func(s *hypervisortest.Setup) { s.Hosts = []pool.HostID{"fake/x"} }, pool.ErrNotFound},
		"no source":      {func(s *hypervisortest.Setup) { s.Order.Source = "" }, pool.ErrInvalid},
		"no disk":        {func(s *hypervisortest.Setup) { s.Order.Spec.Disks = nil }, pool.ErrInvalid},
		"bad spec":       {func(s *hypervisortest.Setup) { s.Order.Spec.Image = "a b" }, pool.ErrInvalid},
		"no list": {func(s *hypervisortest.Setup) {
			s.Driver = &tampered{Driver: s.Driver.(*fake.Driver), machines: func(context.Context, pool.HostID) ([]hypervisor.Machine, error) { return nil, lost }}
		}, lost},
		"no traces": {func(s *hypervisortest.Setup) {
			s.Traces = func(context.Context, pool.HostID) ([]string, error) { return nil, lost }
		}, lost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(fake.New(config()))
			tc.change(&s)
			report, err := hypervisortest.Check(t.Context(), s)
			require.ErrorIs(t, err, tc.kind)
			require.Empty(t, report.Results)
		})
	}
}

// What a setup does not make possible is said, and nothing else is left out.
func TestWhatIsNotOffered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := setup(fake.New(config()))
		s.Hosts, s.BadSource, s.Disturb, s.Untagged, s.Reopen = s.Hosts[:1], "", nil, nil, nil
		s.PowerOn = nil
		report, err := hypervisortest.Check(t.Context(), s)
		require.NoError(t, err)
		require.NoError(t, report.Err())
		require.Len(t, report.Results, len(hypervisortest.Cases()))
		not := make(map[string]string)
		for _, r := range report.Results {
			if r.Outcome == hypervisortest.NotOffered {
				not[r.Name] = r.Detail
			}
		}
		require.Equal(t, map[string]string{
			"not-offered":     "every optional interface of the driver works on the host",
			"create-fails":    "no Setup.BadSource",
			"tags-reopened":   "no Setup.Reopen",
			"untagged":        "no Setup.Untagged",
			"copies-apart":    "one host only",
			"migrate":         "one host only",
			"migrate-refused": "one host only",
			"migrate-running": "one host only",
			"fence":           "no Setup.PowerOn",

			"disturbed-create":  "no Setup.Disturb",
			"disturbed-destroy": "no Setup.Disturb",
			"disturbed-power":   "no Setup.Disturb",
			"disturbed-changes": "no Setup.Disturb",
		}, not)
	})
}

func TestCasesSayWhatTheyCheck(t *testing.T) {
	t.Parallel()
	names := make(map[string]bool)
	for _, c := range hypervisortest.Cases() {
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, c.Name)
		require.False(t, names[c.Name], c.Name)
		names[c.Name] = true
		require.Greater(t, len(c.Rule), 30, c.Name)
	}
	require.Equal(t, "leaves-nothing", hypervisortest.Cases()[len(names)-1].Name)
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	good := hypervisortest.Report{Driver: "one", Results: []hypervisortest.Result{
		{Case: hypervisortest.Case{Name: "start", Rule: "start starts"}, Outcome: hypervisortest.Pass},
		{Case: hypervisortest.Case{Name: "stop"}, Outcome: hypervisortest.NotOffered},
	}}
	bad := hypervisortest.Report{Driver: "another", Results: []hypervisortest.Result{
		{Case: hypervisortest.Case{Name: "start", Rule: "start starts"}, Outcome: hypervisortest.Fail, Detail: "it does not"},
	}}
	require.NoError(t, hypervisortest.Table(&b, good, bad))
	require.Contains(t, b.String(), "start              pass         FAIL\n")
	require.Contains(t, b.String(), "stop               not offered  not run\n")
	require.NoError(t, good.Err())
	require.EqualError(t, bad.Err(), "start: it does not (the rule: start starts)")
	require.Error(t, hypervisortest.Table(full{}, good))
}

// What is saved can be read again, and a later report of a driver takes the place of an earlier one.
func TestSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	report := hypervisortest.Report{
		Driver: "one/two three", Capabilities: hypervisor.Capabilities{CreateUnique: true, Settles: time.Second, Abilities: []hypervisor.Ability{hypervisor.CanMeter}},
		Results: []hypervisortest.Result{{Case: hypervisortest.Case{Name: "start", Rule: "start starts"}, Outcome: hypervisortest.Fail, Detail: "it does not", Took: time.Second}},
	}
	require.NoError(t, hypervisortest.Report{Driver: report.Driver}.Save(dir))
	require.NoError(t, report.Save(dir))
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	b, err := os.ReadFile(names[0])
	require.NoError(t, err)
	var again hypervisortest.Report
	require.NoError(t, json.Unmarshal(b, &again))
	require.Equal(t, report, again)
	require.Error(t, report.Save(filepath.Join(dir, "none")))
}

// full is a writer that fails.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }
