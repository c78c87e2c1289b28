package ledgers_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// TestLedger puts every engine through the suite, the servers behind a relay that loses replies and holds
// commits back.
func TestLedger(t *testing.T) {
	t.Parallel()
	judge(t, "memory", "", ledgertest.Ledger(), func(testing.TB) ledgertest.Store {
		return ledgertest.Store{Ledger: pool.NewMemoryLedger(), Landing: landing}
	})
	for _, e := range sqlEngines() {
		judge(t, e.name, e.missing, ledgertest.Ledger(), func(t testing.TB) ledgertest.Store { return e.store(t).judged(t) })
	}
}

// TestScratch does the same for what is kept for a limited time.
func TestScratch(t *testing.T) {
	t.Parallel()
	judge(t, "memory", "", ledgertest.Scratch(), func(testing.TB) ledgertest.ScratchStore {
		return ledgertest.ScratchStore{Scratch: pool.NewMemoryScratch()}
	})
	for _, e := range sqlEngines() {
		judge(t, e.name, e.missing, ledgertest.Scratch(), func(t testing.TB) ledgertest.ScratchStore {
			d := e.store(t)
			s, _ := d.ledger(t)
			return ledgertest.ScratchStore{Scratch: s, Again: func(context.Context) (pool.Scratch, error) {
				s, _ := d.ledger(t)
				return s, nil
			}}
		})
	}
}

// TestOneConnection: a pool of one connection is enough, whatever goes on at the same time. It takes the cases
// in which something does.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	names := []string{
		"append inside a read loop", "read left early", "whole batches", "16 racing appenders", "compact under a reader", "compact while appending",
		"forget under a reader", "context ends during an append", "context ends during a read", "lost reply, landed at once",
	}
	cases := slices.DeleteFunc(ledgertest.Ledger(), func(c ledgertest.Case[ledgertest.Store]) bool { return !slices.Contains(names, c.Name) })
	if len(cases) != len(names) {
		t.Errorf("the suite has %d of these %d cases", len(cases), len(names))
	}
	for _, e := range sqlEngines() {
		judge(t, e.name, e.missing, cases, func(t testing.TB) ledgertest.Store {
			s, db := e.store(t).ledger(t)
			db.SetMaxOpenConns(1)
			return ledgertest.Store{Ledger: s}
		})
	}
}

// judge runs the cases, each on a store of its own, and notes the outcome for the table.
func judge[S any](t *testing.T, engine, missing string, cases []ledgertest.Case[S], open func(t testing.TB) S) {
	t.Helper()
	suite := t.Name()
	for _, c := range cases {
		outcomes.note(suite, c.Name, engine, "") // the order of the rows is that of the cases
	}
	t.Run(engine, func(t *testing.T) {
		t.Parallel()
		if missing != "" {
			for _, c := range cases {
				outcomes.note(suite, c.Name, engine, "NOT RUN")
			}
			t.Skipf("NOT RUN: %s: %s", engine, missing)
		}
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				outcomes.note(suite, c.Name, engine, "FAIL") // until it has passed
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				err := c.Check(ctx, open(t))
				switch {
				case errors.Is(err, errors.ErrUnsupported):
					outcomes.note(suite, c.Name, engine, "not offered")
					t.Skipf("NOT RUN: %v", err)
				case err != nil:
					t.Error(err)
				default:
					outcomes.note(suite, c.Name, engine, "pass")
				}
			})
		}
	})
}

// each runs a test once per engine, and notes the outcome for the table.
func each(t *testing.T, engines []engine, what string, f func(t *testing.T, e engine)) {
	t.Helper()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			t.Cleanup(func() {
				outcome := "pass"
				switch {
				case t.Failed():
					outcome = "FAIL"
				case t.Skipped():
					outcome = "NOT RUN"
				}
				outcomes.note("Further", what, e.name, outcome)
			})
			e.need(t)
			f(t, e)
		})
	}
}

// outcomes are what the table shows.
var outcomes table

// table has a row for each case and a column for each engine.
type table struct {
	mu    sync.Mutex
	rows  []row
	cells map[row]map[string]string
}

type row struct{ suite, name string }

func (tb *table) note(suite, name, engine, outcome string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	r := row{suite, name}
	if tb.cells == nil {
		tb.cells = make(map[row]map[string]string)
	}
	if tb.cells[r] == nil {
		tb.cells[r] = make(map[string]string)
		tb.rows = append(tb.rows, r)
	}
	tb.cells[r][engine] = outcome
}

// columns are the engines of the table.
func columns() []string { return []string{"memory", "SQLite", "PostgreSQL", "MariaDB"} }

func (tb *table) print(out io.Writer) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	slices.SortStableFunc(tb.rows, func(a, b row) int { return strings.Compare(order(a.suite), order(b.suite)) })
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	suite := ""
	total := make(map[string]int)
	for _, r := range tb.rows {
		if r.suite != suite {
			suite = r.suite
			fmt.Fprintf(w, "\n%s\t%s\n", title(suite), strings.Join(columns(), "\t"))
		}
		cells := []string{"  " + r.name}
		for _, c := range columns() {
			outcome := tb.cells[r][c]
			if outcome == "" {
				outcome = "-"
			}
			total[outcome]++
			cells = append(cells, outcome)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	fmt.Fprintf(out, "\npass %d, FAIL %d, not offered %d, NOT RUN %d\n", total["pass"], total["FAIL"], total["not offered"], total["NOT RUN"])
}

// order sorts the suites.
func order(suite string) string {
	return fmt.Sprint(slices.Index([]string{"TestLedger", "TestOneConnection", "TestScratch", "Further"}, suite))
}

func title(suite string) string {
	return map[string]string{
		"TestLedger": "LEDGER", "TestOneConnection": "LEDGER, ONE CONNECTION", "TestScratch": "SCRATCH", "Further": "FURTHER",
	}[suite]
}

// TestMain also is the process that the tests start again and kill; see child.
func TestMain(m *testing.M) {
	if ledger := os.Getenv(childLedger); ledger != "" {
		if err := child(ledger, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // the default
		_ = flag.Set("test.parallel", "8") // tests wait for disks, locks and clocks more than they compute
	}
	status := m.Run()
	if len(outcomes.rows) > 0 {
		outcomes.print(os.Stdout)
	}
	os.Exit(status)
}
