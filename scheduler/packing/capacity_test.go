package packing_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/packing"
)

// holds reports whether that many hosts of each kind hold all that fits on any.
func holds(t *testing.T, p *packing.Problem, hosts []int64) bool {
	t.Helper()
	q := packing.Problem{}
	never := make(map[int]bool)
	for i := range p.Items {
		fits := false
		for _, h := range p.Hosts {
			fits = fits || takes(&h, p.Items[i].Resources)
		}
		never[i] = !fits
	}
	for i, it := range p.Items {
		if !never[i] {
			q.Items = append(q.Items, it)
		}
	}
	for i, n := range hosts {
		if n > 0 {
			q.Hosts = append(q.Hosts, packing.HostKind{Capacity: p.Hosts[i].Capacity, Units: p.Hosts[i].Units, Count: n, Owned: true})
		}
	}
	if len(q.Hosts) == 0 {
		return total(&q) == 0
	}
	res, err := packing.Plan(t.Context(), &q, packing.Options{})
	require.NoError(t, err)
	return len(res.Short) == 0 && len(res.Never) == 0
}

// Whichever hosts and domains fail, the others hold everything.
func TestProvideSurvives(t *testing.T) {
	t.Parallel()
	checked := 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(6, seed))
		n := packing.Need{Problem: *small(r), Spare: r.Int64N(3), Growth: []pool.Ratio{0, 500, 1300, 2000}[r.IntN(4)]}
		if r.IntN(2) == 0 {
			n.Domains = 1 + r.Int64N(3)
			n.SpareDomains = r.Int64N(n.Domains)
		}
		c, err := packing.Provide(t.Context(), &n, packing.Options{})
		require.NoError(t, err)
		require.NoError(t, packing.Verify(t.Context(), &c.Grown, c.Plan))
		cost, remain := int64(0), max(1, n.Domains)-n.SpareDomains
		left := make([]int64, len(n.Hosts))
		for i, k := range c.Kinds {
			require.Equal(t, k.PerDomain*max(1, n.Domains), k.Total)
			if h := n.Hosts[i]; !h.Owned {
				cost += k.Total * max(1, h.Cost)
			}
			if n.Hosts[i].Count > 0 || n.Hosts[i].Owned {
				require.LessOrEqual(t, k.Total, n.Hosts[i].Count, "seed %d", seed)
			}
			left[i] = k.PerDomain * remain
		}
		require.Equal(t, cost, c.Cost)
		if len(c.Plan.Short) > 0 || c.Missing > 0 {
			continue
		}
		require.LessOrEqual(t, c.Least, c.Cost, "seed %d", seed)
		var fail func(kind int, k int64)
		fail = func(kind int, k int64) {
			if kind == len(left) {
				require.True(t, holds(t, &c.Grown, left), "seed %d: %v do not hold it", seed, left)
				checked++
				return
			}
			for n := range min(k, left[kind]) + 1 {
				left[kind] -= n
				fail(kind+1, k-n)
				left[kind] += n
			}
		}
		fail(0, n.Spare)
	}
	t.Logf("%d failures survived", checked)
	require.Greater(t, checked, 1500)
}

// With one kind of host the answer is exact: no fewer would do.
func TestProvideIsExactForOneKind(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(7, seed))
		n := packing.Need{Problem: *small(r), Spare: r.Int64N(4)}
		n.Hosts = []packing.HostKind{{Capacity: n.Hosts[0].Capacity}}
		if r.IntN(2) == 0 {
			n.Domains, n.SpareDomains = 4, r.Int64N(3)
		}
		c, err := packing.Provide(t.Context(), &n, packing.Options{})
		require.NoError(t, err)
		if !c.Plan.Optimal || c.Plan.Hosts == 0 {
			continue
		}
		perDomain := c.Kinds[0].PerDomain
		require.Less(t, (perDomain-1)*(max(1, n.Domains)-n.SpareDomains), c.Plan.Least+n.Spare, "seed %d", seed)
		require.LessOrEqual(t, c.Cost-c.Least, max(1, n.Domains)-1, "seed %d: by rounding to domains", seed)
	}
}

func TestBadNeeds(t *testing.T) {
	t.Parallel()
	p := packing.Problem{Items: []packing.Item{{Count: packing.MaxCount}}, Hosts: []packing.HostKind{{Cost: packing.MaxCost}}}
	for field, n := range map[string]packing.Need{
		"growth":         {Growth: -1},
		"spare":          {Spare: -1},
		"domains":        {Domains: 1001},
		"spare_domains":  {Domains: 2, SpareDomains: 2},
		"items[0].count": {Growth: 1001},
	} {
		n.Problem = p
		_, err := packing.Provide(t.Context(), &n, packing.Options{})
		var e *pool.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, field, e.Field)
	}
	n := packing.Need{Problem: p, Spare: packing.MaxCount, Domains: 1000, SpareDomains: 999}
	_, err := packing.Provide(t.Context(), &n, packing.Options{})
	require.ErrorIs(t, err, pool.ErrOverflow)
}
