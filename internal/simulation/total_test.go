package simulation_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// total is what all worlds gave.
type total struct {
	mu     sync.Mutex
	worlds int
	outcome
	digests map[uint64]string // of the first worlds
	failed  []uint64
}

func newTotal() *total {
	return &total{
		outcome: outcome{Counts: make(map[string]int), Crashes: make(map[string]int), Breaches: make(map[breach]int)},
		digests: make(map[uint64]string),
	}
}

func (s *total) add(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worlds++
	s.Launches += o.Launches
	s.Took += o.Took
	s.Looks += o.Looks
	s.Shown += o.Shown
	s.Called += o.Called
	s.Faulted += o.Faulted
	s.Strays = append(s.Strays, o.Strays...)
	if len(o.Strays) > 0 {
		fmt.Printf("seed %d, a machine without a record for a moment:\n  %s\n", o.Seed, strings.Join(o.Strays, "\n\n  "))
	}
	for k, n := range o.Counts {
		s.Counts[k] += n
	}
	for k, n := range o.Crashes {
		s.Crashes[k] += n
	}
	for k, n := range o.Breaches {
		s.Breaches[k] += n
	}
	if len(o.Breaches) > 0 {
		s.failed = append(s.failed, o.Seed)
		fmt.Printf("seed %d is broken (history %s): %.300s\n", o.Seed, o.Digest, o.Reports[0])
	}
	if len(s.digests) < 3 && o.Digest != "" {
		s.digests[o.Seed] = o.Digest
	}
}

// again plays the first worlds once more; the error says which gave another history.
func (s *total) again(ctx context.Context) error {
	for _, seed := range slices.Sorted(maps.Keys(s.digests)) {
		o, err := playOutside(ctx, seed)
		if err != nil {
			return err
		}
		if o.Digest != s.digests[seed] {
			return fmt.Errorf("seed %d has given two histories, %s and %s", seed, s.digests[seed], o.Digest)
		}
	}
	fmt.Printf("replayed seeds %v: the same histories\n", slices.Sorted(maps.Keys(s.digests)))
	return nil
}

func (s *total) soFar() (launches, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Launches, len(s.failed)
}

// split returns the counts of faults and those of commands.
func (s *total) split() (faults, commands map[string]int) {
	faults, commands = make(map[string]int), make(map[string]int)
	for k, n := range s.Counts {
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
	line := fmt.Sprintf("launches=%d crashes=%d faults=%d", s.Launches, sum(s.Crashes), sum(faults))
	for _, b := range []breach{orphans, duplicates, leaks, overcommit, strangers, stuck, untold, trespasses} {
		line += fmt.Sprintf(" %s=%d", b, s.Breaches[b])
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
	list("faults", faults)
	list("crash points", s.Crashes)
	list("commands", commands)
	fmt.Fprintf(out, "worlds %d of %v each, driver calls %d of which faulty %.0f %%, machines for a moment without a record %d\n",
		s.worlds, (s.Took / time.Duration(max(1, s.worlds))).Round(time.Second), s.Called, 100*float64(s.Faulted)/float64(max(1, s.Called)), len(s.Strays))
	fmt.Fprintf(out, "looks of tenants at single things %d, of which shown %d\n", s.Looks, s.Shown)
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
	w := &world{leases: true, forwards: true, tells: true}
	for _, c := range w.calls() {
		for _, after := range []bool{false, true} {
			if p := (point{c, after}).String(); s.Crashes[p] < leastCrash {
				t.Errorf("killed %s: only %d times", p, s.Crashes[p])
			}
		}
	}
	if s.Shown < leastLooks || s.Looks-s.Shown < leastLooks {
		t.Errorf("of %d things that tenants looked for only %d were shown, and %d not", s.Looks, s.Shown, s.Looks-s.Shown)
	}
	if 100*s.Faulted < 30*s.Called {
		t.Errorf("only %d of %d driver calls were faulty", s.Faulted, s.Called)
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
