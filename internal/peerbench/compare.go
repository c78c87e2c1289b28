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

// Side is a part of ours that is compared.
type Side struct {
	Name string
	Open Opener
}

// Bench is how the rounds are made.
type Bench struct {
	CPU         func() time.Duration // processor time of the process so far
	Ours        []Side
	Rounds      int
	Least, Most int // percent of its cores to which a host is filled at the beginning
	Enough      int // instances that ours places at least in a round, so that it is busy long enough to be measured
	Log         io.Writer
}

// Row is what one comparison of one side of ours gave at one size: processor time per instance in each round, and ours
// right beside it.
type Row struct {
	Comparison *Comparison
	Side       string
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

// Run makes the rounds: in each, every comparison at every size, the other scheduler and each side of ours one after the
// other, in turns which is first. An error is a scheduler that failed, or a placement that is not feasible.
func (b *Bench) Run(comparisons []Comparison) ([]Row, error) {
	var groups [][]Row // of one comparison at one size
	for i := range comparisons {
		for _, p := range comparisons[i].Points {
			group := make([]Row, len(b.Ours))
			for k, side := range b.Ours {
				group[k] = Row{Comparison: &comparisons[i], Side: side.Name, Point: p}
			}
			groups = append(groups, group)
		}
	}
	slices.SortStableFunc(groups, func(x, y []Row) int { return x[0].Point.Hosts - y[0].Point.Hosts })
	for round := range b.Rounds {
		for _, group := range groups {
			if err := b.round(round, group); err != nil {
				return nil, err
			}
		}
	}
	return slices.Concat(groups...), nil
}

// round adds to the rows of one comparison at one size.
func (b *Bench) round(round int, rows []Row) error {
	c, p := rows[0].Comparison, rows[0].Point
	hosts := Hosts(p.Hosts, b.Least, b.Most)
	turns := []func() error{func() error {
		took, err := b.time(c.Open, hosts, p.Instances, c.Count, 1)
		for i := range rows {
			rows[i].Theirs = append(rows[i].Theirs, took)
		}
		return named(c.Name, err)
	}}
	for i := range rows {
		turns = append(turns, func() error {
			n, times := b.longer(p.Hosts)
			took, err := b.time(b.Ours[i].Open, hosts, n, c.Count, times)
			rows[i].Ours = append(rows[i].Ours, took)
			return named(b.Ours[i].Name, err)
		})
	}
	if round%2 == 1 {
		slices.Reverse(turns)
	}
	for _, turn := range turns {
		if err := turn(); err != nil {
			return err
		}
	}
	fmt.Fprintf(b.Log, "round %d, %d hosts, %s: %v", round+1, p.Hosts, c.Name, rows[0].Theirs[round])
	for i := range rows {
		fmt.Fprintf(b.Log, ", %s %v", rows[i].Side, rows[i].Ours[round])
	}
	fmt.Fprintln(b.Log)
	return nil
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

// time returns the processor time per instance.
func (b *Bench) time(open Opener, hosts []Host, instances, count, times int) (time.Duration, error) {
	var sum time.Duration
	done := 0
	for range times {
		d, n, err := b.measure(open, hosts, Requests(instances, count))
		if err != nil {
			return 0, err
		}
		sum, done = sum+d, done+n
	}
	return sum / time.Duration(done), nil
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
	fmt.Fprintln(t, "hosts\tpeer\tits µs\tours\tour µs\tratio\tleast\tmost\ttarget\t\t")
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
		fmt.Fprintf(t, "%d\t%s\t%.1f\t%s\t%.2f\t%.0f\t%.0f\t%.0f\t%s\t%s\t\n",
			r.Point.Hosts, r.Comparison.Name, us(r.Theirs), r.Side, us(r.Ours), middle, least, most, target, reached)
	}
	return t.Flush()
}
