package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/berthage/berthage/scheduler"
)

const churnExamples = `  berthsim churn -trace vms.csv.gz -hosts 1400 -host-cpu 64 -host-mem 128 -policy best-fit,default
  berthsim churn -trace vms.csv.gz -hosts 1400 -host-cpu 64 -host-mem 128 -migrations-per-hour 100
  berthsim churn -trace vms.csv.gz -hosts 1400 -host-cpu 64 -host-mem 256 -policy default -lifetime learnt
  berthsim churn -trace vms.csv.gz -hosts 1800 -host-cpu 48 -host-mem 192 -policy best-fit,default,spread -json
  berthsim churn -trace vms.csv.gz -hosts 1400 -host-cpu 64 -host-mem 256 -policy best-fit,default -plot hosts.svg
`

// churnResult is what berthsim churn finds; its JSON form is the output of -json.
type churnResult struct {
	Trace   string  `json:"trace"`
	VMs     int     `json:"vms"`
	Hosts   int     `json:"hosts"`
	HostCPU float64 `json:"host_cpu"`     // cores
	HostMem float64 `json:"host_mem_gib"` // GiB
	PerHour int     `json:"migrations_per_hour"`

	Lifetime lifetimes `json:"lifetime"`
	Worth    bool      `json:"worth"` // the default strategy looks at what room is good for

	Skipped  []skipped    `json:"skipped"` // larger than a host, and left out of everything below
	Policies []churnStats `json:"policies"`
}

// churnStats is how one policy did. Averages are over time, from the first arrival to the last event of the trace.
type churnStats struct {
	Policy string `json:"policy"`
	// HostsOverBound is the average number of hosts in use over the average volume bound: what the VMs that run take of the
	// scarcer class, as hosts. No way of placing gets below 1.
	HostsOverBound    float64 `json:"hosts_over_bound"`
	AverageHosts      float64 `json:"average_hosts"`
	AverageBound      float64 `json:"average_bound"`
	PeakHosts         int     `json:"peak_hosts"`
	Rejected          int     `json:"rejected"`
	RejectedCoreHours float64 `json:"rejected_core_hours"`
	// CPUPerPlacement is processor time, in microseconds, for a placement with its release and all that belongs to it.
	CPUPerPlacement float64 `json:"cpu_us_per_placement"`
	Migrations      int     `json:"migrations"`
}

// churn lets the VMs of a trace come and go on a fleet of fixed size, once for each policy.
func churn(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("churn", flag.ContinueOnError)
	trace := fs.String("trace", "", "CSV `file` of VMs, see below")
	hosts := fs.Int("hosts", 0, "`number` of hosts")
	cpu := fs.String("host-cpu", "", "cores of a host")
	mem := fs.String("host-mem", "", "GiB of memory of a host")
	policy := fs.String("policy", "best-fit,default", "strategies of the scheduler, a `list` with commas")
	lifetime := fs.String("lifetime", "none", "`what` placements know of the VMs' ends: none, learnt from those before, or oracle, the truth")
	byWorth := fs.Bool("worth", false, "let the default strategy look at what free room is good for to VMs like those that run")
	perHour := fs.Int("migrations-per-hour", 0, "`moves` within any hour that may empty hosts; 0 is none")
	asJSON := fs.Bool("json", false, "print one JSON object")
	plot := fs.String("plot", "", "draw the result to this SVG `file`")
	if err := parse(fs, args, churnExamples, stdout, stderr); err != nil {
		return err
	}
	if *trace == "" || *cpu == "" || *mem == "" || *hosts <= 0 {
		return errors.New("-trace, -hosts, -host-cpu and -host-mem are needed; berthsim churn --help has examples")
	}
	host, err := parseSize(*cpu, *mem)
	if err != nil {
		return fmt.Errorf("-host-cpu, -host-mem: %w", err)
	}
	known, err := parseLifetimes(*lifetime)
	if err != nil {
		return err
	}
	if *perHour < 0 {
		return fmt.Errorf("-migrations-per-hour: %d is not a number of moves", *perHour)
	}
	var strategies []scheduler.Strategy
	for _, name := range strings.Split(*policy, ",") {
		var s scheduler.Strategy
		if err := s.UnmarshalText([]byte(strings.TrimSpace(name))); err != nil {
			return fmt.Errorf("-policy: %w", err)
		}
		strategies = append(strategies, s)
	}
	vms, err := readTrace(*trace, "arrive_s", "end_s", "cpu", "mem_gib")
	if err != nil {
		return err
	}
	r := &churnResult{
		Trace: filepath.Base(*trace), Hosts: *hosts,
		HostCPU: float64(host.cpu) / 1000, HostMem: float64(host.mem) / (1 << 30), PerHour: *perHour,
		Lifetime: known, Worth: *byWorth,
	}
	vms, r.Skipped = split(vms, host)
	r.VMs = len(vms)
	tell := newTeller(stderr)
	for _, s := range strategies {
		t, err := newTide(vms, host, *hosts, s, *perHour, known, *byWorth)
		if err != nil {
			return err
		}
		stats, err := t.run(ctx, tell)
		if err != nil {
			return err
		}
		r.Policies = append(r.Policies, stats)
	}
	return show(stdout, r, *plot, *asJSON)
}

func (r *churnResult) print(w io.Writer) error {
	fmt.Fprintf(w, "%d VMs of %s come and go on %d hosts of %g cores and %g GiB%s%s\n\n", r.VMs, r.Trace, r.Hosts, r.HostCPU, r.HostMem, map[lifetimes]string{
		lifetimesLearnt: ", lifetimes being learnt", lifetimesTrue: ", their ends known beforehand",
	}[r.Lifetime], map[bool]string{true: ", default by the worth of room"}[r.Worth])
	fmt.Fprintf(w, "  %-12s %16s %9s %6s %9s %20s %18s %11s\n",
		"policy", "hosts_over_bound", "hosts", "peak", "rejected", "rejected_core_hours", "cpu per placement", "migrations")
	for _, p := range r.Policies {
		fmt.Fprintf(w, "  %-12s %16.4f %9.2f %6d %9d %20.1f %15.2f µs %11d\n",
			p.Policy, p.HostsOverBound, p.AverageHosts, p.PeakHosts, p.Rejected, p.RejectedCoreHours, p.CPUPerPlacement, p.Migrations)
	}
	if len(r.Policies) > 0 {
		fmt.Fprintf(w, "\nThe bound is %.2f hosts on average, by volume.\n", r.Policies[0].AverageBound)
	}
	for _, s := range r.Skipped {
		fmt.Fprintf(w, "Left out, larger than a host: %d of %s\n", s.Count, s.Size)
	}
	return nil
}

// draw is the result as a picture: by how much each policy exceeds the volume bound.
func (r *churnResult) draw() []byte {
	var bars []bar
	for _, p := range r.Policies {
		above := 100 * (p.HostsOverBound - 1)
		bars = append(bars, bar{p.Policy, above, fmt.Sprintf("+%.2f %%  (%d rejected)", above, p.Rejected)})
	}
	return barChart(
		fmt.Sprintf("Hosts in use while VMs come and go, %d hosts of %g cores and %g GiB", r.Hosts, r.HostCPU, r.HostMem),
		fmt.Sprintf("%s, %d VMs; in per cent above the volume bound, on average over time", r.Trace, r.VMs), bars)
}
