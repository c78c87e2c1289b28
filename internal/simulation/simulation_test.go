package simulation_test

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// testLog is where the daemons log, if anywhere.
var testLog io.Writer

// traced is what is to be traced, if anything.
var traced = os.Getenv("BERTHAGE_TRACE")

// perWorld is how many launches a world has.
const perWorld = 60

// What make sim asks for when it is to prove that everything has happened: launches, and how often each.
const (
	wholeForm   = 10_000
	leastFaults = 100
	leastCrash  = 20
	leastLooks  = 1_000_000
)

// TestSimulation plays worlds until there have been enough launches, each in a process of its own. BERTHAGE_LAUNCHES
// is how many (without it a few), BERTHAGE_SEED the first seed, BERTHAGE_SEEDS how many worlds instead,
// BERTHAGE_LOG=1 shows what the daemons log, BERTHAGE_TRACE=text all events and driver calls with that text.
func TestSimulation(t *testing.T) {
	number := func(name string, otherwise int) int {
		s := os.Getenv(name)
		if s == "" {
			return otherwise
		}
		n, err := strconv.Atoi(s)
		require.NoError(t, err, name)
		return n
	}
	launches, from, seeds := number("BERTHAGE_LAUNCHES", 200), number("BERTHAGE_SEED", 1), number("BERTHAGE_SEEDS", 0)
	most := 10 // failing worlds, after which no more are begun
	if flag.Lookup("test.failfast").Value.String() == "true" {
		most = 1
	}
	total := newTotal()
	stop := total.progress()
	var next atomic.Int64
	t.Run("seeds", func(t *testing.T) {
		for n := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("worker ", n), func(t *testing.T) {
				t.Parallel()
				for {
					i := int(next.Add(1)) - 1
					done, failed := total.soFar()
					if failed >= most || seeds > 0 && i >= seeds || seeds == 0 && done >= launches {
						return
					}
					o, err := playOutside(t.Context(), uint64(from+i))
					if err != nil {
						o.Seed, o.Breaches, o.Reports = uint64(from+i), map[breach]int{stuck: 1}, []string{err.Error()}
					}
					total.add(o)
					if traced != "" {
						fmt.Printf("seed %d, history %s:\n", o.Seed, o.Digest)
					}
					for _, what := range o.Traced {
						fmt.Println(what)
					}
					if len(o.Breaches) > 0 {
						t.Errorf("seed %d (%s); again: make sim SEED=%d SEEDS=1\n%s", o.Seed, o.Settings, o.Seed, strings.Join(o.Reports, "\n"))
					}
				}
			})
		}
	})
	stop()
	total.print(os.Stdout)
	if launches >= wholeForm && seeds == 0 {
		total.enough(t)
	}
	if exact {
		require.NoError(t, total.again(t.Context()))
	}
}

// faultKinds returns the names of all faults.
func faultKinds() []string {
	return append(receiverFaults(), []string{
		"driver: refuse", "driver: unavailable", "driver: drop", "driver: lose", "driver: late", "driver: duplicate",
		"driver: spoil", "driver: shorten", "driver: hang", "driver: slow",
		"host dead", "host cut off", "host returned",
		"store: refused", "store: lost request", "store: lost reply", "store: late", "store outage", "daemon cut off from the store",
		"forward: request lost", "forward: reply lost",
		"daemon paused", "daemon ended in order", "clock jump",
	}...)
}

// Every fault that is injected stands in the document that says what the simulation proves.
func TestFaultsAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/reliability.md")
	require.NoError(t, err)
	for _, k := range faultKinds() {
		_, name, ok := strings.Cut(k, ": ")
		if !ok {
			name = k
		}
		require.Contains(t, string(doc), "`"+name+"`")
	}
}
