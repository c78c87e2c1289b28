// The program peers runs Nomad's scheduler, kube-scheduler and ours on the same hosts and requests, in turns, and
// prints how many times less processor time ours takes; see package peerbench.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/berthage/berthage/internal/peerbench"
	"github.com/berthage/berthage/scheduler"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	rounds := flag.Int("rounds", 3, "rounds")
	sizes := flag.String("hosts", "200,1000,10000", "sizes of the fleet, of 200, 1000 and 10000")
	only := flag.String("peer", "", "only the peers whose name has this in it")
	strategy := flag.String("strategy", "best-fit", "of ours: best-fit, balanced or spread")
	least := flag.Int("least", 30, "percent of its cores to which a host is filled at least")
	most := flag.Int("most", 70, "and at most")
	flag.Parse()

	var s scheduler.Strategy
	if err := s.UnmarshalText([]byte(*strategy)); err != nil {
		return err
	}
	if *rounds < 1 || *least < 0 || *most < *least || *most > 90 {
		return fmt.Errorf("want at least one round, and 0 <= least <= most <= 90")
	}
	var comparisons []peerbench.Comparison
	for _, c := range all() {
		c.Points = slices.DeleteFunc(c.Points, func(p peerbench.Point) bool {
			return !slices.Contains(strings.Split(*sizes, ","), strconv.Itoa(p.Hosts))
		})
		if strings.Contains(c.Name, *only) && len(c.Points) > 0 {
			comparisons = append(comparisons, c)
		}
	}
	if len(comparisons) == 0 {
		return fmt.Errorf("no such peer or size")
	}
	fmt.Fprintf(w, "%s, %d processors, load average at the beginning %s\n", runtime.Version(), runtime.GOMAXPROCS(0), load())
	b := peerbench.Bench{
		CPU: used, Ours: peerbench.Ours(s), Rounds: *rounds, Least: *least, Most: *most, Enough: 5000, Log: os.Stderr,
	}
	rows, err := b.Run(comparisons)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "load average at the end %s\n\n", load())
	if err := peerbench.Print(w, rows); err != nil {
		return err
	}
	_, err = fmt.Fprint(w, caveats)
	return err
}

// all are the comparisons, with what is aimed at.
func all() []peerbench.Comparison {
	at := func(hosts, instances int, target float64) peerbench.Point {
		return peerbench.Point{Hosts: hosts, Instances: instances, Target: target}
	}
	return []peerbench.Comparison{
		{Name: "Nomad", Open: openNomad, Count: 1, Points: []peerbench.Point{at(200, 1000, 0), at(1000, 1000, 300), at(10_000, 400, 1000)}},
		{Name: "Nomad, 100 at a time", Open: openNomad, Count: 100, Points: []peerbench.Point{at(200, 1000, 75), at(1000, 2000, 75), at(10_000, 2000, 75)}},
		{Name: "kube-scheduler", Open: openKubernetes(0), Count: 1, Points: []peerbench.Point{at(200, 1000, 150), at(1000, 1000, 300), at(10_000, 1000, 250)}},
		{Name: "kube-scheduler, all scored", Open: openKubernetes(100), Count: 1, Points: []peerbench.Point{at(200, 1000, 0), at(1000, 500, 600), at(10_000, 100, 4000)}},
	}
}

const caveats = `
its, our: processor time of the whole process per instance, garbage collection included; medians of the rounds. Of the
ratio the median, the least and the most of a round. Everything stands in memory; every placement of everybody has been
verified: all placed, and no host or storage pool beyond what it has.

Nomad 1.6.2: job and evaluation are stored, the service scheduler decides on a snapshot, the plan is applied to the
state store: its own test harness. Besides placing it reconciles jobs with allocations and keeps jobs, evaluations,
deployments and indexes in a transactional store. It scores about log2 of the hosts, in random order, so that it
is no best fit, and knows no pools of storage.
kube-scheduler 1.33.0: a snapshot is brought up to date, all default plugins but one filter and score, the pod is assumed
in the cache. "All scored" sets percentageOfNodesToScore to 100; by default it looks at a part of the hosts.
MostAllocated instead of LeastAllocated, and no balanced allocation, so that it packs. No binding, no queue; knows no
pools of storage.
Ours, "step": the requests are checked against catalogue, limits and quota, placed on the best host of all with every
filter, encoded as events of an audit log, and folded into the books; the index follows. "manager": all that a Manager
does, which also takes the requests from their callers, hands batches to the ledger, publishes them to readers and
answers. Up to 256 that wait together share a batch. Of "100 at a time" it is one cluster. The ledger keeps nothing, as
there is no Raft log and no etcd on the other side. It has no preemption, topology spread or volumes to ask about.
`

// used is the processor time of this process so far.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // there is no way in which it may fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) > 2 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}
