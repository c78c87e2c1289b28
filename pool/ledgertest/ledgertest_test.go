package ledgertest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
	"github.com/stretchr/testify/require"
)

// A store's test is this and nothing more; Again is given where a second process could open the store.
func ExampleRun() {
	_ = func(t *testing.T) { // func TestLedger(t *testing.T)
		ledgertest.Run(t, func(t *testing.T) ledgertest.Store {
			return ledgertest.Store{Ledger: pool.NewMemoryLedger()}
		})
	}
}

// The cases are values too, for a check of a live store outside a test.
func ExampleLedger() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, c := range ledgertest.Ledger()[:3] {
		err := c.Check(ctx, ledgertest.Store{Ledger: pool.NewMemoryLedger()})
		fmt.Println(c.Name, err)
	}
	// Output:
	// empty <nil>
	// dense revisions <nil>
	// conflict <nil>
}

func memory(*testing.T) ledgertest.Store {
	l := pool.NewMemoryLedger()
	return ledgertest.Store{Ledger: l, Again: func(context.Context) (pool.Ledger, error) { return l, nil }}
}

func TestMemoryLedger(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, memory)
}

func TestMemoryScratch(t *testing.T) {
	t.Parallel()
	ledgertest.RunScratch(t, func(*testing.T) ledgertest.ScratchStore {
		s := pool.NewMemoryScratch()
		return ledgertest.ScratchStore{Scratch: s, Again: func(context.Context) (pool.Scratch, error) { return s, nil }}
	})
}

// TestCases: every case has a name of its own and says which rule it checks.
func TestCases(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	check := func(suite, name, rule string) {
		require.False(t, seen[suite+name], "%s: two cases are named %q", suite, name)
		seen[suite+name] = true
		require.Regexp(t, `^[A-Z].{20,}\.$`, rule, "%s: case %q states no rule", suite, name)
	}
	for _, c := range ledgertest.Ledger() {
		check("ledger", c.Name, c.Rule)
	}
	for _, c := range ledgertest.Scratch() {
		check("scratch", c.Name, c.Rule)
	}
}

// TestCheckSaysWhatIsMissing: a case that cannot be run is no success.
func TestCheckSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	missing := 0
	for _, c := range ledgertest.Ledger() {
		if c.Name != "second handle" && c.Name != "outage" {
			continue
		}
		missing++
		err := c.Check(t.Context(), ledgertest.Store{Ledger: pool.NewMemoryLedger()})
		require.ErrorIs(t, err, errors.ErrUnsupported, c.Name)
	}
	require.Equal(t, 2, missing)
}
