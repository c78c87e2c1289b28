// The program rules gives package alert and the rule manager of Prometheus the same samples and the same rules, in turns, and
// prints how many times less processor time ours takes.
//
// What is measured is processor time of the whole process per sample, from samples that stand ready to alerts whose state is
// known: into the head block of Prometheus's TSDB (in memory, without its log) and through a group of its manager, and into
// an Engine and a step of it. At every step the alerts of every rule are compared, in a run of its own: which there are, whether
// each is pending or fires, and since when.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
		os.Exit(1)
	}
}

// follower is something that takes samples and follows rules.
type follower interface {
	tick(at time.Time, values []float64) error
	// alerts returns the alerts as text, sorted: rule, labels, phase and since when.
	alerts() []string
	close() error
}

// warm is how many steps pass before anything is measured.
const warm = 24

func run(w io.Writer) error {
	rounds := flag.Int("rounds", 3, "rounds, of which the median counts")
	ticks := flag.Int("ticks", 240, "steps of 15 seconds in a round")
	least := flag.Float64("least", 10, "fail when ours takes not this many times less processor time for thresholds")
	flag.Parse()
	if *rounds < 1 || *ticks < 1 {
		return fmt.Errorf("want at least one round and one tick")
	}
	fmt.Fprintf(w, "%s, %d processors; %d rounds of %d steps\n", runtime.Version(), runtime.GOMAXPROCS(0), *rounds, *ticks)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "rules\tseries\talerts compared\tPrometheus\tours\tratio\tallocations\tours")
	var slow error
	for _, s := range scenarios() {
		compared, err := compare(s, *ticks)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		var theirs, ours []cost
		for range *rounds {
			t, err := measure(s, prometheus, *ticks)
			if err != nil {
				return err
			}
			o, err := measure(s, engine, *ticks)
			if err != nil {
				return err
			}
			theirs, ours = append(theirs, t), append(ours, o)
		}
		t, o := median(theirs), median(ours)
		fmt.Fprintf(tw, "%s\t%d\t%d\t%.0f ns/sample\t%.0f ns/sample\t%.1f\t%.2f/sample\t%.3f/sample\n", s.name, len(s.things), compared, t.ns, o.ns, t.ns/o.ns, t.allocs, o.allocs)
		if ratio := t.ns / o.ns; !s.windows && ratio < *least {
			slow = fmt.Errorf("%s: only %.1f times less processor time", s.name, ratio)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	return slow
}

// compare runs both beside each other and says where they differ; it returns how many alerts were the same.
func compare(s scenario, ticks int) (int, error) {
	theirs, err := prometheus(s)
	if err != nil {
		return 0, err
	}
	defer theirs.close()
	ours, err := engine(s)
	if err != nil {
		return 0, err
	}
	defer ours.close()
	n := 0
	for i := range warm + ticks {
		at, values := s.at(i)
		if err := theirs.tick(at, values); err != nil {
			return 0, err
		}
		if err := ours.tick(at, values); err != nil {
			return 0, err
		}
		a, b := theirs.alerts(), ours.alerts()
		if !slices.Equal(a, b) {
			return 0, fmt.Errorf("step %d differs:\n%s\nand ours:\n%s", i, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
		n += len(a)
	}
	if n == 0 {
		return 0, fmt.Errorf("no alert at all: nothing was compared")
	}
	return n, nil
}

// cost is what a sample costs.
type cost struct{ ns, allocs float64 }

func measure(s scenario, start func(scenario) (follower, error), ticks int) (cost, error) {
	f, err := start(s)
	if err != nil {
		return cost{}, err
	}
	defer f.close()
	for i := range warm {
		if err := f.tick(s.at(i)); err != nil {
			return cost{}, err
		}
	}
	// The values are made beforehand.
	type step struct {
		at     time.Time
		values []float64
	}
	steps := make([]step, ticks)
	for i := range steps {
		at, values := s.at(warm + i)
		steps[i] = step{at, slices.Clone(values)}
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := used()
	for _, step := range steps {
		if err := f.tick(step.at, step.values); err != nil {
			return cost{}, err
		}
	}
	spent := used() - began
	runtime.ReadMemStats(&after)
	n := float64(ticks * len(s.things))
	return cost{float64(spent.Nanoseconds()) / n, float64(after.Mallocs-before.Mallocs) / n}, nil
}

func median(of []cost) cost {
	slices.SortFunc(of, func(a, b cost) int { return int(1000 * (a.ns - b.ns)) })
	return of[len(of)/2]
}
