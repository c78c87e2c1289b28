package peerbench

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// Comparison is one way in which another scheduler places, beside ours.
type Comparison struct {
	Name   string
	Open   Opener
	Count  int // instances per request
	Points []Point
}

// Point is a size of fleet.
type Point struct {
	Hosts     int
	Instances int     // placed by the other scheduler; ours places more of the same sequence
	Target    float64 // how many times less processor time ours should take; 0: none is set
}

// Bench is how the rounds are made.
type Bench struct {
	CPU         func() time.Duration // processor time of the process so far
	Ours        Opener
	Rounds      int
	Least, Most int // percent of its cores to which a host is filled at the beginning
	Enough      int // instances that ours places at least in a round, so that it is busy long enough to be measured
	Log         io.Writer
}

// Row is what one comparison gave at one size: processor time per instance in each round, and ours right beside it.
type Row struct {
	Comparison *Comparison
	Point      Point
	Theirs     []time.Duration
	Ours       []time.Duration
}

// Ratio returns the median over the rounds of how many times less ours took, and the least and the most.
func (r *Row) Ratio() (median, least, most float64) {
	ratios := make([]float64, len(r.Ours))
	for i := range ratios {
		ratios[i] = float64(r.Theirs[i]) / float64(r.Ours[i])
	}
	slices.Sort(ratios)
	return middle(ratios), ratios[0], ratios[len(ratios)-1]
}

func middle[T cmp.Ordered](sorted []T) T { return sorted[(len(sorted)-1)/2] }

func median(ds []time.Duration) time.Duration { return middle(slices.Sorted(slices.Values(ds))) }

// warm is the number of requests placed before the measurement, so that what is made at first use has been made.
const warm = 4

// Run makes the rounds: in each, every comparison at every size, the other scheduler and ours one after the other,
// in turns which is first. An error is a scheduler that failed, or a placement that is not feasible.
func (b *Bench) Run(comparisons []Comparison) ([]Row, error) {
	var rows []Row
	for i := range comparisons {
		for _, p := range comparisons[i].Points {
			rows = append(rows, Row{Comparison: &comparisons[i], Point: p})
		}
	}
	slices.SortStableFunc(rows, func(x, y Row) int { return x.Point.Hosts - y.Point.Hosts })
	for round := range b.Rounds {
		for i := range rows {
			r := &rows[i]
			hosts := Hosts(r.Point.Hosts, b.Least, b.Most)
			theirs := func() (err error) {
				r.Theirs, err = b.add(r.Theirs, r.Comparison.Open, hosts, r.Point.Instances, r.Comparison.Count, 1)
				return named(r.Comparison.Name, err)
			}
			ours := func() (err error) {
				n, times := b.longer(r.Point.Hosts)
				r.Ours, err = b.add(r.Ours, b.Ours, hosts, n, r.Comparison.Count, times)
				return named("ours", err)
			}
			turns := []func() error{theirs, ours}
			if round%2 == 1 {
				slices.Reverse(turns)
			}
			for _, turn := range turns {
				if err := turn(); err != nil {
					return nil, err
				}
			}
			fmt.Fprintf(b.Log, "round %d, %d hosts, %s: %v, ours %v\n", round+1, r.Point.Hosts, r.Comparison.Name, r.Theirs[round], r.Ours[round])
		}
	}
	return rows, nil
}

func named(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// longer returns how many instances ours places, and how many times: five per host on small fleets, which fills them
// further than the others do.
func (b *Bench) longer(hosts int) (instances, times int) {
	instances = min(5*hosts, 20_000)
	return instances, max(1, b.Enough/instances)
}

func (b *Bench) add(to []time.Duration, open Opener, hosts []Host, instances, count, times int) ([]time.Duration, error) {
	var sum time.Duration
	done := 0
	for range times {
		d, n, err := b.measure(open, hosts, Requests(instances, count))
		if err != nil {
			return nil, err
		}
		sum, done = sum+d, done+n
	}
	return append(to, sum/time.Duration(done)), nil
}

// measure places the requests in a fleet made for that, verifies them, and returns the processor time and for how many
// instances it was. Garbage of what comes before is collected before; that of the placements is when the runtime
// thinks fit, and counts.
func (b *Bench) measure(open Opener, hosts []Host, reqs []Request) (time.Duration, int, error) {
	s, err := open(hosts)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	first, err := s.Ready(reqs[:warm])
	if err != nil {
		return 0, 0, err
	}
	rest, err := s.Ready(reqs[warm:])
	if err != nil {
		return 0, 0, err
	}
	if err := first(); err != nil {
		return 0, 0, err
	}
	runtime.GC()
	before := b.CPU()
	err = rest()
	took := b.CPU() - before
	if err != nil {
		return 0, 0, err
	}
	placed, err := s.Placed()
	if err != nil {
		return 0, 0, err
	}
	if err := Verify(hosts, reqs, placed); err != nil {
		return 0, 0, err
	}
	return took, len(placed) - warm*reqs[0].Count, nil
}

// Print writes a table of the rows: medians of the rounds, and the range of the ratios.
func Print(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "hosts\tpeer\tits µs\tour µs\tratio\tleast\tmost\ttarget\t\t")
	for i := range rows {
		r := &rows[i]
		middle, least, most := r.Ratio()
		target, reached := "none", ""
		if r.Point.Target > 0 {
			target, reached = fmt.Sprintf("%.0f", r.Point.Target), "missed"
			if middle >= r.Point.Target {
				reached = "reached"
			}
		}
		us := func(ds []time.Duration) float64 { return float64(median(ds)) / float64(time.Microsecond) }
		fmt.Fprintf(t, "%d\t%s\t%.1f\t%.2f\t%.0f\t%.0f\t%.0f\t%s\t%s\t\n",
			r.Point.Hosts, r.Comparison.Name, us(r.Theirs), us(r.Ours), middle, least, most, target, reached)
	}
	return t.Flush()
}
