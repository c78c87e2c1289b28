package hypervisortest_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

// mutant is a driver that is broken in one way.
type mutant struct {
	caught string // the case that has to fail
	how    string
	tamper func(d *tampered)
	config func(*fake.Config)          // of the fleet below
	setup  func(*hypervisortest.Setup) // instead of, or beside, what is broken in the driver
}

// The suite is worth what it catches: every case fails for at least one driver that breaks its rule, and none
// fails for the fake as it is.
func TestEveryCaseCatchesADriverThatBreaksItsRule(t *testing.T) {
	t.Parallel()
	caught := make(map[string]bool)
	for _, m := range mutants() {
		caught[m.caught] = true
		t.Run(m.caught+"/"+m.how, func(t *testing.T) {
			t.Parallel()
			report := judge(t, m)
			require.NotEmpty(t, report.Results, "no case of that name")
			res := report.Results[len(report.Results)-1]
			require.Equal(t, m.caught, res.Name)
			require.Equal(t, hypervisortest.Fail, res.Outcome, "not caught")
			t.Log(res.Detail)
		})
	}
	for _, c := range hypervisortest.Cases() {
		require.True(t, caught[c.Name], "no broken driver for case %s", c.Name)
	}
}

func TestNothingIsCaughtInADriverThatKeepsTheRules(t *testing.T) {
	t.Parallel()
	report := judge(t, mutant{})
	require.NoError(t, report.Err())
}

func judge(t *testing.T, m mutant) (report hypervisortest.Report) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := config()
		if m.config != nil {
			m.config(&c)
		}
		below := fake.New(c)
		defer below.Close()
		_, err := below.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: "fake/a"}, Name: "theirs", Power: pool.Running})
		require.NoError(t, err)
		s, d := setup(below), &tampered{Driver: below}
		if m.tamper != nil {
			m.tamper(d)
		}
		s.Driver = d
		s.Reopen = func(context.Context) (hypervisor.Driver, error) { return d, nil }
		if m.setup != nil {
			m.setup(&s)
		}
		if m.caught == "" || m.caught == "leaves-nothing" { // which judges all the others
			report, err = hypervisortest.Check(t.Context(), s)
		} else {
			report, err = hypervisortest.CheckCase(t.Context(), s, m.caught)
		}
		require.NoError(t, err)
		time.Sleep(time.Hour) // until the calls that hang have ended
	})
	return report
}

// refused is an error of a kind for mutants.
func refused(op string, r hypervisor.Ref) error {
	return &hypervisor.Error{Op: op, Host: r.Host, Machine: r.Machine, Kind: hypervisor.ErrRefused}
}

func kind(k error) error { return &hypervisor.Error{Op: "do it", Kind: k} }

func mutants() []mutant {
	return slices.Concat(aboutHosts(), aboutCreate(), aboutTags(), aboutPower(), aboutStorage(), aboutMoves(), aboutWatching(), aboutContexts(),
		aboutDisks(), aboutSleep(), aboutImages(), aboutChanges(), aboutDisturbances())
}
