package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

const gpuExamples = `  berthsim gpu -nodes nodes.csv.gz -pods pods.csv.gz
  berthsim gpu -nodes nodes.csv.gz -pods pods.csv.gz -seeds 3 -policy fgd,default -json
  berthsim gpu -nodes nodes.csv.gz -pods pods.csv.gz -plot allocation.svg
`

// gpuResult is what berthsim gpu finds; its JSON form is the output of -json.
type gpuResult struct {
	Nodes    string      `json:"nodes"`
	Pods     string      `json:"pods"`
	Hosts    int         `json:"hosts"`
	GPUs     int64       `json:"gpus"`
	Sizes    int         `json:"sizes"` // of pods, different ones
	Seeds    int         `json:"seeds"`
	Workload string      `json:"workload"` // what FGD takes for what is to come
	Policies []gpuPolicy `json:"policies"`
}

// gpuPolicy is how one policy does: which part of the GPUs is allocated when pods that ask for so much of all GPUs
// have arrived, in per cent, as the mean of all seeds.
type gpuPolicy struct {
	Policy string    `json:"policy"`
	At100  float64   `json:"allocated_at_100"`
	At130  float64   `json:"allocated_at_130"`
	Each   []float64 `json:"each_at_100"`          // seed by seed
	Micros float64   `json:"microseconds_per_pod"` // wall time, of placement and booking
}

const learnt = "learnt from what has been placed: the sizes on the hosts at each moment"

// gpu lets pods of a list arrive in random order and stay, until they ask for 130 % of all GPUs.
func gpu(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("gpu", flag.ContinueOnError)
	nodes := fs.String("nodes", "", "CSV `file` of hosts: cpu_milli, memory_mib, gpu, and model if pods name any")
	pods := fs.String("pods", "", "CSV `file` of pods: cpu_milli, memory_mib, num_gpu, gpu_milli, and gpu_spec (models, with |) if they care")
	seeds := fs.Int("seeds", 10, "how many `orders` of arrival; figures are their means")
	first := fs.Uint64("seed", 42, "what the first order follows from; each further one from the next number")
	names := fs.String("policy", "fgd,best-fit,first-fit", "policies, a `list` with commas: "+strings.Join(gpuPolicies(), ", "))
	asJSON := fs.Bool("json", false, "print one JSON object")
	plot := fs.String("plot", "", "draw the result to this SVG `file`")
	if err := parse(fs, args, gpuExamples, stdout, stderr); err != nil {
		return err
	}
	if *nodes == "" || *pods == "" || *seeds < 1 {
		return errors.New("-nodes, -pods and at least one of -seeds are needed; berthsim gpu --help has examples")
	}
	var policies []string
	for _, p := range strings.Split(*names, ",") {
		p = strings.TrimSpace(p)
		if !slices.Contains(gpuPolicies(), p) {
			return fmt.Errorf("-policy: %q is none of %s", p, strings.Join(gpuPolicies(), ", "))
		}
		policies = append(policies, p)
	}
	hosts, err := readGPUHosts(*nodes)
	if err != nil {
		return err
	}
	list, err := readGPUPods(*pods)
	if err != nil {
		return err
	}
	r := &gpuResult{Nodes: filepath.Base(*nodes), Pods: filepath.Base(*pods), Hosts: len(hosts), Seeds: *seeds, Workload: learnt}
	if err := r.inflate(ctx, hosts, list, policies, *first, newTeller(stderr)); err != nil {
		return err
	}
	return show(stdout, r, *plot, *asJSON)
}

const firstFit = "first-fit"

func gpuPolicies() []string {
	return []string{scheduler.FGD.String(), scheduler.BestFit.String(), scheduler.Default.String(), scheduler.Spread.String(), firstFit}
}

// inflate fills in the figures.
func (r *gpuResult) inflate(ctx context.Context, hosts []pool.Host, list []pod, policies []string, first uint64, tell *teller) error {
	capacity := int64(0) // thousandths of a GPU
	for i := range hosts {
		capacity += hosts[i].Inventory[pool.GPUShare].Total
	}
	r.GPUs = capacity / 1000
	sizes := make(map[pod]bool)
	asked := int64(0)
	for _, p := range list {
		sizes[p] = true
		asked += p.share
	}
	r.Sizes = len(sizes)
	if capacity == 0 || asked == 0 {
		return errors.New("no GPUs on the hosts, or none asked for by the pods")
	}
	for _, name := range policies {
		p := gpuPolicy{Policy: name}
		arrived := 0
		start := time.Now()
		for k := range r.Seeds {
			order := arrivals(list, capacity+capacity/10*3, first+uint64(k))
			var to placer
			var err error
			if name == firstFit {
				to = newPlainFleet(hosts)
			} else if to, err = newGPUFleet(hosts, name); err != nil {
				return err
			}
			at100, at130, err := fill(ctx, to, order, capacity, func(n int) {
				tell.say("%s: order %d of %d, %d of %d pods", name, k+1, r.Seeds, n, len(order))
			})
			if err != nil {
				return err
			}
			p.At100, p.At130 = p.At100+at100/float64(r.Seeds), p.At130+at130/float64(r.Seeds)
			p.Each = append(p.Each, at100)
			arrived += len(order)
		}
		p.Micros = float64(time.Since(start).Microseconds()) / float64(arrived)
		r.Policies = append(r.Policies, p)
	}
	return nil
}

// placer places a pod and books it; false if there is no room.
type placer interface{ place(pod) (bool, error) }

// fill lets pods arrive and returns the allocated part of the GPUs, in per cent, when all of them have been asked for
// once, and at the end.
func fill(ctx context.Context, to placer, order []pod, capacity int64, tell func(int)) (at100, at130 float64, err error) {
	arrived, allocated := int64(0), int64(0)
	for i, p := range order {
		if ctx.Err() != nil {
			return 0, 0, context.Cause(ctx)
		}
		ok, err := to.place(p)
		if err != nil {
			return 0, 0, err
		}
		if ok {
			allocated += p.share
		}
		if before := arrived; before < capacity && before+p.share >= capacity {
			at100 = 100 * float64(allocated) / float64(capacity)
		}
		arrived += p.share
		tell(i + 1)
	}
	return at100, 100 * float64(allocated) / float64(capacity), nil
}

// gpuFleet is hosts on which the SDK's scheduler places.
type gpuFleet struct {
	scheduler scheduler.Scheduler
	index     *scheduler.Index
	asks      map[pod]*scheduler.Ask
	decision  scheduler.Decision
}

func newGPUFleet(hosts []pool.Host, policy string) (*gpuFleet, error) {
	f := &gpuFleet{index: scheduler.NewIndex(pool.NewState()), asks: make(map[pod]*scheduler.Ask)}
	if err := f.scheduler.Strategy.UnmarshalText([]byte(policy)); err != nil {
		return nil, err
	}
	for _, h := range hosts {
		f.index.Update(&pool.HostRecord{Host: h, Capacity: h.Capacity()})
	}
	return f, nil
}

func (f *gpuFleet) place(p pod) (bool, error) {
	ask := f.asks[p]
	if ask == nil {
		var err error
		if ask, err = f.scheduler.Ask(p.request()); err != nil {
			return false, err
		}
		f.asks[p] = ask
	}
	switch err := f.index.Choose(ask, &f.decision); {
	case errors.Is(err, pool.ErrNoRoom):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, f.index.Book(f.decision.Host, &f.decision.Allocation)
}

func (r *gpuResult) print(w io.Writer) error {
	fmt.Fprintf(w, "%s on %s: %d hosts with %d GPUs, %d sizes of pod, mean of %d orders of arrival\n", r.Pods, r.Nodes, r.Hosts, r.GPUs, r.Sizes, r.Seeds)
	fmt.Fprintf(w, "The workload that fgd goes by is %s.\n\n", r.Workload)
	fmt.Fprintf(w, "  %-10s %22s %22s  %s\n", "", "allocated at 100 %", "at 130 % asked for", "per pod")
	for _, p := range r.Policies {
		fmt.Fprintf(w, "  %-10s %20.2f %% %20.2f %%  %.1f µs\n", p.Policy, p.At100, p.At130, p.Micros)
	}
	return nil
}

// draw is the result as a picture.
func (r *gpuResult) draw() []byte {
	var bars []bar
	for _, p := range r.Policies {
		bars = append(bars, bar{p.Policy, p.At100, fmt.Sprintf("%.2f %%  (%.2f %% at 130)", p.At100, p.At130)})
	}
	return barChart(
		fmt.Sprintf("GPUs allocated when %d GPUs have been asked for", r.GPUs),
		fmt.Sprintf("%s on %s, in per cent; mean of %d orders of arrival", r.Pods, r.Nodes, r.Seeds), bars)
}
