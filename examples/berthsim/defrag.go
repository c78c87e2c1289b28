package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
	"github.com/berthage/berthage/scheduler/rebalance"
)

const defragExamples = `  berthsim defrag -trace vms.csv.gz -at 2500000 -host-cpu 64 -host-mem 128 -moves 25,100,400
  berthsim defrag -trace vms.csv.gz -at 2300000 -host-cpu 48 -host-mem 192 -moves 100,0 -json
  berthsim defrag -trace vms.csv.gz -at 2500000 -host-cpu 64 -host-mem 256 -moves 25,100,400 -plot emptied.svg
`

// defragResult is what berthsim defrag finds; its JSON form is the output of -json.
type defragResult struct {
	Trace   string  `json:"trace"`
	At      float64 `json:"at"`           // seconds
	VMs     int     `json:"vms"`          // running then
	HostCPU float64 `json:"host_cpu"`     // cores
	HostMem float64 `json:"host_mem_gib"` // GiB

	Skipped []skipped `json:"skipped"` // larger than a host, and left out of everything below

	Hosts   int          `json:"hosts"`    // in use then, after online best-fit
	LP      float64      `json:"lp_bound"` // no way of packing uses fewer hosts; certified and verified
	LPExact string       `json:"lp_exact"` // the same as a fraction
	Plans   []defragPlan `json:"plans"`
}

// defragPlan is what one budget of moves gains.
type defragPlan struct {
	Budget  int     `json:"budget"`  // 0: none
	Emptied int     `json:"emptied"` // hosts
	Part    float64 `json:"part"`    // of the hosts in use
	Moves   int     `json:"moves"`
	Bytes   int64   `json:"bytes"`
	Waves   int     `json:"waves"` // of moves that go side by side
	Again   int     `json:"again"` // moves of a second plan, when the first has been carried out and is counted
	Seconds float64 `json:"plan_seconds"`
}

// defrag replays a trace up to a moment, and plans moves that empty hosts.
func defrag(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("defrag", flag.ContinueOnError)
	trace := fs.String("trace", "", "CSV `file` of VMs, see below")
	at := fs.Float64("at", -1, "`seconds` of the trace up to which it is replayed")
	cpu := fs.String("host-cpu", "", "cores of a host")
	mem := fs.String("host-mem", "", "GiB of memory of a host")
	moves := fs.String("moves", "100", "budgets of moves, a `list` with commas; 0 is none")
	asJSON := fs.Bool("json", false, "print one JSON object")
	plot := fs.String("plot", "", "draw the result to this SVG `file`")
	if err := parse(fs, args, defragExamples, stdout, stderr); err != nil {
		return err
	}
	if *trace == "" || *cpu == "" || *mem == "" || !(*at >= 0) {
		return errors.New("-trace, -at, -host-cpu and -host-mem are needed; berthsim defrag --help has examples")
	}
	host, err := parseSize(*cpu, *mem)
	if err != nil {
		return fmt.Errorf("-host-cpu, -host-mem: %w", err)
	}
	var budgets []int
	for _, s := range strings.Split(*moves, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 0 {
			return fmt.Errorf("-moves: %q is not a number of moves", s)
		}
		budgets = append(budgets, n)
	}
	vms, err := readTrace(*trace, "arrive_s", "end_s", "cpu", "mem_gib")
	if err != nil {
		return err
	}
	r := &defragResult{
		Trace: filepath.Base(*trace), At: *at,
		HostCPU: float64(host.cpu) / 1000, HostMem: float64(host.mem) / (1 << 30),
	}
	if err := r.plan(ctx, vms, host, budgets, newTeller(stderr)); err != nil {
		return err
	}
	return show(stdout, r, *plot, *asJSON)
}

// plan fills in the figures.
func (r *defragResult) plan(ctx context.Context, vms []vm, host size, budgets []int, tell *teller) error {
	f, err := newFleet(host, 1, scheduler.Scheduler{Strategy: scheduler.BestFit})
	if err != nil {
		return err
	}
	vms, r.Skipped = split(slices.DeleteFunc(vms, func(v vm) bool { return v.arrive > r.At }), host)
	if err := f.replay(ctx, vms, r.At, tell); err != nil {
		return err
	}
	r.VMs, r.Hosts = f.books.InstanceCount(), f.used
	if r.VMs > 0 {
		p := packing.FromBooks(f.books)
		res, err := packing.Plan(ctx, p, packing.Options{})
		if err != nil {
			return err
		}
		if err := packing.Verify(ctx, p, res); err != nil {
			return err
		}
		r.LP, r.LPExact = res.Certificate.Value(), new(big.Rat).Set(res.Certificate.Bound).RatString()
	}
	for _, n := range budgets {
		tell.say("planning with a budget of %d moves", n)
		p, err := f.defragment(ctx, n)
		if err != nil {
			return err
		}
		r.Plans = append(r.Plans, p)
	}
	return nil
}

// defragment plans once, carries that out in a copy of the books, and plans again.
func (f *fleet) defragment(ctx context.Context, moves int) (defragPlan, error) {
	o := rebalance.Options{Goal: rebalance.Defragment, Budget: rebalance.Budget{Moves: moves}}
	start := time.Now()
	r, err := rebalance.Plan(ctx, f.books, &f.scheduler, o)
	if err != nil {
		return defragPlan{}, err
	}
	p := defragPlan{
		Budget: moves, Emptied: len(r.Emptied), Moves: len(r.Moves), Bytes: r.Bytes, Waves: r.Waves, Seconds: time.Since(start).Seconds(),
	}
	if r.Before.Hosts > 0 {
		p.Part = float64(p.Emptied) / float64(r.Before.Hosts)
	}
	after := f.books.Clone()
	if err := rebalance.Fold(after, r.Moves); err != nil {
		return p, err
	}
	o.Budget.Spent = r.Spent()
	again, err := rebalance.Plan(ctx, after, &f.scheduler, o)
	if err != nil {
		return p, err
	}
	p.Again = len(again.Moves)
	return p, nil
}

// replay lets VMs come and go up to a moment, each placed by the scheduler, and tells the books of those that are left.
func (f *fleet) replay(ctx context.Context, vms []vm, until float64, tell *teller) error {
	placed := make(map[int]scheduler.Decision)
	for e := range events(vms, until) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !e.comes {
			d := placed[e.vm]
			delete(placed, e.vm)
			if err := f.free(&d); err != nil {
				return err
			}
			continue
		}
		d, err := f.place(vms[e.vm].size, time.Time{}, nil)
		if err != nil {
			return err
		}
		placed[e.vm] = d
		if err := f.growWhenFull(); err != nil {
			return err
		}
		tell.say("replay: %d of %d VMs", e.vm+1, len(vms))
	}
	for i := range vms {
		if d, ok := placed[i]; ok {
			if err := f.run(vms[i].size, &d); err != nil {
				return err
			}
		}
	}
	return nil
}

// bound is how many hosts could be emptied at most.
func (r *defragResult) bound() float64 { return max(0, float64(r.Hosts)-math.Ceil(r.LP-1e-9)) }

func (r *defragResult) moment() string { return strconv.FormatFloat(r.At, 'f', -1, 64) }

func budget(n int) string {
	if n == 0 {
		return "none"
	}
	return strconv.Itoa(n)
}

func (r *defragResult) print(w io.Writer) error {
	fmt.Fprintf(w, "%d VMs of %s at %s s on %d hosts of %g cores and %g GiB, placed online by best-fit\n", r.VMs, r.Trace, r.moment(), r.Hosts, r.HostCPU, r.HostMem)
	fmt.Fprintf(w, "LP bound: nothing needs fewer than %.2f hosts, certified and verified; so at most %.0f could be emptied\n\n", r.LP, r.bound())
	fmt.Fprintf(w, "  %8s %8s %8s %8s %6s %10s %9s  %s\n", "budget", "emptied", "of used", "moves", "waves", "moved", "planned", "again")
	for _, p := range r.Plans {
		fmt.Fprintf(w, "  %8s %8d %6.2f %% %8d %6d %10s %7.3f s  %d\n",
			budget(p.Budget), p.Emptied, 100*p.Part, p.Moves, p.Waves, pool.FormatBytes(p.Bytes), p.Seconds, p.Again)
	}
	fmt.Fprintln(w, "\nMoves count both copies; those of a wave go side by side, one per host. \"again\" is what a second plan still moves.")
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "Left out, larger than a host: %d of %s\n", s.Count, s.Size)
	}
	return nil
}

// draw is the result as a picture: which part of the hosts in use each budget empties.
func (r *defragResult) draw() []byte {
	var bars []bar
	for _, p := range r.Plans {
		bars = append(bars, bar{"moves: " + budget(p.Budget), 100 * p.Part, fmt.Sprintf("%.2f %%  (%d by %d)", 100*p.Part, p.Emptied, p.Moves)})
	}
	if r.Hosts > 0 {
		part := 100 * r.bound() / float64(r.Hosts)
		bars = append(bars, bar{"LP bound", part, fmt.Sprintf("%.2f %%", part)})
	}
	return barChart(
		fmt.Sprintf("Hosts of %g cores and %g GiB emptied by moving VMs", r.HostCPU, r.HostMem),
		fmt.Sprintf("%s at %s s; in per cent of the %d hosts in use", r.Trace, r.moment(), r.Hosts), bars)
}
