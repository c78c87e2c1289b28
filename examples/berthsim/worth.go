package main

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
)

// worth is what free room is good for, by the sizes of the VMs that are there. nil: nobody looks.
type worth struct {
	scheduler.Worth
	host   size
	counts map[size]int
	there  int // VMs
	moved  int // that came or went since the last look
}

func newWorth(host size) *worth { return &worth{host: host, counts: make(map[size]int)} }

// count counts a VM that comes, by 1, or goes, by -1.
func (w *worth) count(s size, by int) {
	if w == nil {
		return
	}
	w.there += by
	w.moved++
	if w.counts[s] += by; w.counts[s] == 0 {
		delete(w.counts, s)
	}
}

// look makes what was counted until now count, once a quarter of the VMs has come or gone. The prices are those of the
// linear program that packs them into the fewest hosts.
func (w *worth) look(ctx context.Context) error {
	if w == nil || 4*w.moved < w.there || w.moved == 0 {
		return nil
	}
	w.moved = 0
	p := packing.Problem{Hosts: []packing.HostKind{{Name: "host", Capacity: w.host.resources()}}}
	sizes := slices.SortedFunc(maps.Keys(w.counts), func(a, b size) int { return cmp.Or(cmp.Compare(a.cpu, b.cpu), cmp.Compare(a.mem, b.mem)) })
	for _, s := range sizes {
		p.Items = append(p.Items, packing.Item{Name: s.String(), Resources: s.resources(), Count: int64(w.counts[s])})
	}
	r, err := packing.Plan(ctx, &p, packing.Options{})
	if err != nil {
		return err
	}
	priced := make([]scheduler.Priced, len(sizes))
	for i, s := range sizes {
		part := float64(r.Certificate.Prices[i]) / float64(r.Certificate.Scale)
		priced[i] = scheduler.Priced{Resources: pool.Resources{pool.CPU: s.cpu, pool.Memory: s.mem}, Price: part}
	}
	return w.Set(w.host.resources(), priced)
}
