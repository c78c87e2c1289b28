package berthage

import (
	"context"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
)

// appraiseEvery is the time between two looks at what room is worth. What instances are like, on the whole, changes slowly.
const appraiseEvery = 5 * time.Minute

// appraise keeps the scheduler told what room is worth by what the pool's instances are like, until ctx ends.
func (m *Manager) appraise(ctx context.Context) {
	timer := time.NewTicker(appraiseEvery)
	defer timer.Stop()
	seen := pool.Revision(-1)
	for {
		var p *packing.Problem // of records that do not change any more
		m.View(func(st *pool.State) {
			if head := st.Head(); head != seen {
				seen, p = head, packing.FromBooks(st)
			}
		})
		if p != nil {
			if err := appraised(ctx, p, m.worth); err != nil && ctx.Err() == nil {
				m.log.Warn("what room is worth is not known anew", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// appraised sets what room is worth in a pool: the prices of its instances' sizes in the plan that would pack them best onto
// hosts like its own.
func appraised(ctx context.Context, p *packing.Problem, w *scheduler.Worth) error {
	if len(p.Hosts) == 0 || len(p.Items) == 0 {
		return nil
	}
	largest := make(pool.Resources)
	for i := range p.Hosts {
		p.Hosts[i].Count = 0 // as many as are wanted
		for _, c := range []pool.Class{pool.CPU, pool.Memory} {
			largest[c] = max(largest[c], p.Hosts[i].Capacity[c])
		}
	}
	r, err := packing.Plan(ctx, p, packing.Options{})
	if err != nil {
		return err
	}
	sizes := make([]scheduler.Priced, 0, len(p.Items))
	for i := range p.Items {
		sizes = append(sizes, scheduler.Priced{
			Resources: p.Items[i].Resources, Price: float64(r.Certificate.Prices[i]) / float64(r.Certificate.Scale),
		})
	}
	return w.Set(largest, sizes)
}
