package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
)

const staticExamples = `  berthsim static -trace vms.csv.gz -host-cpu 64 -host-mem 256
  berthsim static -trace vms.csv.gz -sample 0 -host-cpu 48 -host-mem 192 -json
  berthsim static -trace vms.csv.gz -sample 5000 -seed 7 -host-cpu 32 -host-mem 64 -plot hosts.svg
`

// staticResult is what berthsim static finds; its JSON form is the output of -json.
type staticResult struct {
	Trace   string  `json:"trace"`
	VMs     int     `json:"vms"`    // in the trace
	Sample  int     `json:"sample"` // of these, taken
	Seed    uint64  `json:"seed"`
	HostCPU float64 `json:"host_cpu"`     // cores
	HostMem float64 `json:"host_mem_gib"` // GiB

	Skipped []skipped `json:"skipped"` // larger than a host, and left out of everything below

	Online     int   `json:"online"`     // hosts used in the order of arrival, by the default strategy with the worth of room
	BestFit    int   `json:"best_fit"`   // the same by best-fit
	Decreasing int   `json:"decreasing"` // by best-fit, large VMs first
	Plan       int64 `json:"plan"`       // by packing.Plan

	LP      float64 `json:"lp_bound"`     // no way of packing uses fewer hosts; certified and verified
	LPExact string  `json:"lp_exact"`     // the same as a fraction
	Volume  float64 `json:"volume_bound"` // total demand by capacity, of the scarcer class
	Optimal bool    `json:"optimal"`      // the plan has the fewest hosts possible

	PlanSeconds   float64 `json:"plan_seconds"` // wall time
	VerifySeconds float64 `json:"verify_seconds"`
}

type skipped struct {
	Size  string `json:"size"`
	Count int    `json:"count"`
}

// static samples VMs, which come one after another and stay, and packs them in four ways.
func static(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("static", flag.ContinueOnError)
	trace := fs.String("trace", "", "CSV `file` of VMs, see below")
	n := fs.Int("sample", 20000, "how many VMs to take at random; 0 takes all")
	seed := fs.Uint64("seed", 1, "what the sample follows from")
	cpu := fs.String("host-cpu", "", "cores of a host")
	mem := fs.String("host-mem", "", "GiB of memory of a host")
	asJSON := fs.Bool("json", false, "print one JSON object")
	plot := fs.String("plot", "", "draw the result to this SVG `file`")
	if err := parse(fs, args, staticExamples, stdout, stderr); err != nil {
		return err
	}
	if *trace == "" || *cpu == "" || *mem == "" {
		return errors.New("-trace, -host-cpu and -host-mem are needed; berthsim static --help has examples")
	}
	host, err := parseSize(*cpu, *mem)
	if err != nil {
		return fmt.Errorf("-host-cpu, -host-mem: %w", err)
	}
	vms, err := readTrace(*trace, "arrive_s", "cpu", "mem_gib")
	if err != nil {
		return err
	}
	taken, err := sample(vms, *n, *seed)
	if err != nil {
		return err
	}
	r := &staticResult{
		Trace: filepath.Base(*trace), VMs: len(vms), Sample: len(taken), Seed: *seed,
		HostCPU: float64(host.cpu) / 1000, HostMem: float64(host.mem) / (1 << 30),
	}
	if err := r.pack(ctx, taken, host, newTeller(stderr)); err != nil {
		return err
	}
	return show(stdout, r, *plot, *asJSON)
}

// pack fills in the figures.
func (r *staticResult) pack(ctx context.Context, vms []vm, host size, tell *teller) error {
	fit, large := split(vms, host)
	r.Skipped = large
	sizes := make([]size, len(fit))
	for i := range fit {
		sizes[i] = fit[i].size
	}
	if err := r.plan(ctx, sizes, host, tell); err != nil {
		return err
	}
	var err error
	if r.Online, err = online(ctx, sizes, host, newWorth(host), tell, "online"); err != nil {
		return err
	}
	if r.BestFit, err = online(ctx, sizes, host, nil, tell, "online best-fit"); err != nil {
		return err
	}
	slices.SortStableFunc(sizes, func(a, b size) int { return cmp.Compare(b.part(host), a.part(host)) })
	r.Decreasing, err = online(ctx, sizes, host, nil, tell, "best-fit decreasing")
	return err
}

// part is how much of a host a size takes, summed over both classes.
func (s size) part(host size) float64 {
	return float64(s.cpu)/float64(host.cpu) + float64(s.mem)/float64(host.mem)
}

// plan packs by packing.Plan, and verifies what it says.
func (r *staticResult) plan(ctx context.Context, sizes []size, host size, tell *teller) error {
	p := packing.Problem{Hosts: []packing.HostKind{{Name: "host", Capacity: host.resources()}}}
	at := make(map[size]int)
	var cpu, mem float64
	for _, s := range sizes {
		i, ok := at[s]
		if !ok {
			i = len(p.Items)
			at[s] = i
			p.Items = append(p.Items, packing.Item{Name: s.String(), Resources: s.resources()})
		}
		p.Items[i].Count++
		cpu, mem = cpu+float64(s.cpu), mem+float64(s.mem)
	}
	r.Volume = max(cpu/float64(host.cpu), mem/float64(host.mem))
	start := time.Now()
	res, err := packing.Plan(ctx, &p, packing.Options{Tight: true, Progress: func(g packing.Progress) {
		tell.say("plan: %d hosts, bound %.2f, %d patterns", g.Cost, g.Bound, g.Patterns)
	}})
	if err != nil {
		return err
	}
	r.PlanSeconds = time.Since(start).Seconds()
	start = time.Now()
	if err := packing.Verify(ctx, &p, res); err != nil {
		return err
	}
	r.VerifySeconds = time.Since(start).Seconds()
	r.Plan, r.Optimal = res.Hosts, res.Optimal
	r.LP, r.LPExact = res.Certificate.Value(), new(big.Rat).Set(res.Certificate.Bound).RatString()
	return nil
}

// online lets the scheduler place the sizes one after another and returns the hosts in use at the end. Without a worth it is by
// best-fit.
func online(ctx context.Context, sizes []size, host size, w *worth, tell *teller, what string) (int, error) {
	by := scheduler.Scheduler{Strategy: scheduler.BestFit}
	if w != nil {
		by = scheduler.Scheduler{Worth: &w.Worth}
	}
	f, err := newFleet(host, 1, by)
	if err != nil {
		return 0, err
	}
	for i, s := range sizes {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err := w.look(ctx); err != nil {
			return 0, err
		}
		if _, err := f.place(s, time.Time{}, nil); err != nil {
			return 0, err
		}
		w.count(s, 1)
		if err := f.growWhenFull(); err != nil {
			return 0, err
		}
		tell.say("%s: %d of %d VMs on %d hosts", what, i+1, len(sizes), f.used)
	}
	return f.used, nil
}

// ratio prints hosts as a multiple of the bound.
func (r *staticResult) ratio(hosts int64) string {
	if r.LP <= 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(hosts)/r.LP, 'f', 4, 64)
}

func (r *staticResult) print(w io.Writer) error {
	fmt.Fprintf(w, "%d of %d VMs of %s, seed %d, on hosts of %g cores and %g GiB\n\n",
		r.Sample, r.VMs, r.Trace, r.Seed, r.HostCPU, r.HostMem)
	fmt.Fprintf(w, "  %-36s %10s  %s\n", "", "hosts", "of the bound")
	fmt.Fprintf(w, "  %-36s %10d  %s\n", "online, by the worth of room", r.Online, r.ratio(int64(r.Online)))
	fmt.Fprintf(w, "  %-36s %10d  %s\n", "online, best-fit", r.BestFit, r.ratio(int64(r.BestFit)))
	fmt.Fprintf(w, "  %-36s %10d  %s\n", "offline, best-fit decreasing", r.Decreasing, r.ratio(int64(r.Decreasing)))
	fmt.Fprintf(w, "  %-36s %10d  %s\n", "plan", r.Plan, r.ratio(r.Plan))
	fmt.Fprintf(w, "  %-36s %10.2f  certified and verified\n", "LP bound: nothing needs fewer", r.LP)
	fmt.Fprintf(w, "  %-36s %10.2f\n\n", "volume bound", r.Volume)
	if r.Optimal {
		fmt.Fprintln(w, "The plan has the fewest hosts possible.")
	}
	fmt.Fprintf(w, "Planned in %.3f s, verified in %.3f s.\n", r.PlanSeconds, r.VerifySeconds)
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "Left out, larger than a host: %d of %s\n", s.Count, s.Size)
	}
	return nil
}
