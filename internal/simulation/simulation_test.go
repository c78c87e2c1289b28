package simulation_test

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// testLog is where the daemons log, if anywhere.
var testLog io.Writer

// perWorld is how many launches a world has.
const perWorld = 60

// What make sim asks for when it is to prove that everything has happened: launches, and how often each.
const (
	wholeForm   = 10_000
	leastFaults = 100
	leastCrash  = 20
)

// TestSimulation plays worlds until there have been enough launches. BERTHAGE_LAUNCHES is how many (without it
// a few), BERTHAGE_SEED the first seed, BERTHAGE_SEEDS how many worlds instead, BERTHAGE_LOG=1 shows what the
// daemons log.
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
	if os.Getenv("BERTHAGE_LOG") != "" {
		testLog = os.Stderr
	}
	most := 10 // failing worlds, after which no more are begun
	if flag.Lookup("test.failfast").Value.String() == "true" {
		most = 1
	}
	total := &total{counts: make(map[string]int), crashes: make(map[point]int), breaches: make(map[breach]int)}
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
					t.Run(fmt.Sprint("seed=", from+i), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							w := newWorld(uint64(from+i), perWorld)
							w.play()
							total.add(t, w)
						})
					})
				}
			})
		}
	})
	stop()
	total.print(os.Stdout)
	if launches >= wholeForm && seeds == 0 {
		total.enough(t)
	}
}

// total is what all worlds gave.
type total struct {
	mu       sync.Mutex
	worlds   int
	launches int
	took     time.Duration // virtual
	calls    int
	faulty   int
	strays   int // machines without a record at some second
	counts   map[string]int
	crashes  map[point]int
	breaches map[breach]int
	failed   []uint64
}

func (s *total) add(t *testing.T, w *world) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	s.worlds++
	s.launches += w.monitor.launches
	s.took += w.took
	s.calls += w.called
	s.faulty += w.faulted
	s.strays += len(w.strays)
	if len(w.strays) > 0 {
		fmt.Printf("seed %d, a machine without a record for a moment:\n  %s\n", w.seed, strings.Join(w.strays, "\n\n  "))
	}
	for k, n := range w.counts {
		s.counts[k] += n
	}
	for k, n := range w.fleet.Injected() {
		s.counts["driver: "+string(k)] += n
	}
	for k, n := range w.faulty.Counts() {
		if k != "none" {
			s.counts["store: "+string(k)] += n
		}
	}
	for k, n := range w.crashes {
		s.crashes[k] += n
	}
	for k, n := range w.breaches {
		s.breaches[k] += n
	}
	if len(w.breaches) > 0 {
		s.failed = append(s.failed, w.seed)
		t.Errorf("seed %d (sweeper %v, unique %v, settling known %v, %d daemons, leases %v by the wall clock %v, forwarding %v); again: make sim SEED=%d SEEDS=1\n%s",
			w.seed, w.sweeps, w.unique, w.known, len(w.seats), w.leases, w.jumpy, w.forwards, w.seed, strings.Join(w.reports, "\n"))
	}
}

func (s *total) soFar() (launches, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.launches, len(s.failed)
}

// split returns the counts of faults and those of commands.
func (s *total) split() (faults, commands map[string]int) {
	faults, commands = make(map[string]int), make(map[string]int)
	for k, n := range s.counts {
		if name, ok := strings.CutPrefix(k, "command: "); ok {
			commands[name] = n
		} else {
			faults[k] = n
		}
	}
	return faults, commands
}

func (s *total) line() string {
	faults, _ := s.split()
	sum := func(m map[string]int) (n int) {
		for _, v := range m {
			n += v
		}
		return n
	}
	crashes := 0
	for _, n := range s.crashes {
		crashes += n
	}
	line := fmt.Sprintf("launches=%d crashes=%d faults=%d", s.launches, crashes, sum(faults))
	for _, b := range []breach{orphans, duplicates, leaks, overcommit, strangers, stuck} {
		line += fmt.Sprintf(" %s=%d", b, s.breaches[b])
	}
	return line
}

func (s *total) print(out io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	faults, commands := s.split()
	list := func(title string, m map[string]int) {
		fmt.Fprintf(out, "%s:", title)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(out, " %s %d,", k, m[k])
		}
		fmt.Fprintln(out)
	}
	crashes := make(map[string]int)
	for k, n := range s.crashes {
		crashes[k.String()] = n
	}
	list("faults", faults)
	list("crash points", crashes)
	list("commands", commands)
	fmt.Fprintf(out, "worlds %d of %v each, driver calls %d of which faulty %.0f %%, machines for a moment without a record %d\n",
		s.worlds, (s.took / time.Duration(max(1, s.worlds))).Round(time.Second), s.calls, 100*float64(s.faulty)/float64(max(1, s.calls)), s.strays)
	fmt.Fprintln(out, s.line())
	if len(s.failed) > 0 {
		fmt.Fprintln(out, "failing seeds:", s.failed)
	}
}

// enough fails when something has not happened often enough to say that it was tried.
func (s *total) enough(t *testing.T) {
	faults, _ := s.split()
	for _, k := range faultKinds() {
		if faults[k] < leastFaults {
			t.Errorf("%s: only %d times", k, faults[k])
		}
	}
	w := &world{leases: true, forwards: true}
	for _, c := range w.calls() {
		for _, after := range []bool{false, true} {
			if p := (point{c, after}); s.crashes[p] < leastCrash {
				t.Errorf("killed %s: only %d times", p, s.crashes[p])
			}
		}
	}
	if 100*s.faulty < 25*s.calls {
		t.Errorf("only %d of %d driver calls were faulty", s.faulty, s.calls)
	}
}

// faultKinds returns the names of all faults.
func faultKinds() []string {
	return []string{
		"driver: refuse", "driver: unavailable", "driver: drop", "driver: lose", "driver: late", "driver: duplicate",
		"driver: spoil", "driver: shorten", "driver: hang", "driver: slow",
		"host dead", "host cut off", "host returned",
		"store: refused", "store: lost request", "store: lost reply", "store: late", "store outage", "daemon cut off from the store",
		"forward: request lost", "forward: reply lost",
		"daemon paused", "daemon ended in order", "clock jump",
	}
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

// progress prints a line now and then during a long run, until it is stopped.
func (s *total) progress() (stop func()) {
	done := make(chan struct{})
	began := time.Now()
	go func() {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				s.mu.Lock()
				fmt.Printf("after %v, %d worlds: %s\n", time.Since(began).Round(time.Second), s.worlds, s.line())
				s.mu.Unlock()
			}
		}
	}()
	return func() { close(done) }
}
