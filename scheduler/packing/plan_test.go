package packing_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/packing"
)

// small makes a problem that brute force can solve: some sizes in several classes, few of each, one to three
// kinds of host, some with a limit, some owned, some items too large for any.
func small(r *rand.Rand) *packing.Problem {
	classes := []pool.Class{pool.CPU, pool.Memory, pool.GPU, "licence"}[:1+r.IntN(4)]
	amounts := func(most int64) pool.Resources {
		out := pool.Resources{}
		for _, c := range classes {
			out[c] = r.Int64N(most + 1)
		}
		return out
	}
	p := &packing.Problem{}
	for range 1 + r.IntN(4) {
		p.Items = append(p.Items, packing.Item{Resources: amounts(6), Count: r.Int64N(4)})
	}
	for i := range 1 + r.IntN(3) {
		h := packing.HostKind{Capacity: amounts(12), Cost: r.Int64N(4)}
		if i > 0 || r.IntN(3) == 0 {
			h.Count = r.Int64N(4)
		}
		if i > 0 && r.IntN(3) == 0 {
			h.Owned, h.Cost = true, 0 // also none of them
		}
		if r.IntN(3) == 0 {
			h.Units = map[pool.Class]packing.Units{classes[r.IntN(len(classes))]: {Min: r.Int64N(4), Max: 4 + r.Int64N(3), Step: 1 + r.Int64N(2)}}
		}
		p.Hosts = append(p.Hosts, h)
	}
	return p
}

// takes reports whether an empty host of the kind may take one such item.
func takes(h *packing.HostKind, r pool.Resources) bool {
	for c, n := range r {
		u := h.Units[c]
		if n > h.Capacity[c] || n > 0 && (n < u.Min || u.Max > 0 && n > u.Max || u.Step > 0 && n%u.Step != 0) {
			return false
		}
	}
	return h.Count > 0 || !h.Owned
}

// bruteForce returns the least number of items left out and, with that, the least cost, by trying everything.
func bruteForce(p *packing.Problem) (short, cost int64) {
	var items []pool.Resources
	for _, it := range p.Items {
		fits := false
		for _, h := range p.Hosts {
			fits = fits || takes(&h, it.Resources)
		}
		for range it.Count {
			if fits {
				items = append(items, it.Resources)
			}
		}
	}
	type host struct {
		kind int
		used pool.Resources
	}
	price := func(kind int) int64 {
		h := p.Hosts[kind]
		if h.Owned {
			return 0
		}
		return max(1, h.Cost)
	}
	short, cost = int64(len(items))+1, 0
	var hosts []host
	count := make([]int64, len(p.Hosts))
	var try func(i int, s, c int64)
	try = func(i int, s, c int64) {
		if s > short || s == short && c >= cost {
			return
		}
		if i == len(items) {
			short, cost = s, c
			return
		}
		for k := range hosts {
			sum, err := hosts[k].used.Add(items[i])
			if err != nil || !sum.Fits(p.Hosts[hosts[k].kind].Capacity) || !takes(&p.Hosts[hosts[k].kind], items[i]) {
				continue
			}
			old := hosts[k].used
			hosts[k].used = sum
			try(i+1, s, c)
			hosts[k].used = old
		}
		for kind, h := range p.Hosts {
			if !takes(&h, items[i]) || (h.Count > 0 || h.Owned) && count[kind] == h.Count {
				continue
			}
			count[kind]++
			hosts = append(hosts, host{kind, items[i]})
			try(i+1, s, c+price(kind))
			hosts = hosts[:len(hosts)-1]
			count[kind]--
		}
		try(i+1, s+1, c)
	}
	try(0, 0, 0)
	return short, cost
}

func TestPlanAgainstBruteForce(t *testing.T) {
	t.Parallel()
	optimal, known := 0, 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(1, seed))
		p := small(r)
		if n := total(p); n > 8 {
			continue
		}
		res, err := packing.Plan(t.Context(), p, packing.Options{})
		require.NoError(t, err, "seed %d", seed)
		require.NoError(t, packing.Verify(t.Context(), p, res), "seed %d: %+v %+v", seed, p, res)
		short, cost := bruteForce(p)
		left := int64(0)
		for _, s := range res.Short {
			left += s.Count
		}
		least := cost + short*res.Certificate.Penalty
		got := res.Cost + left*res.Certificate.Penalty
		require.LessOrEqual(t, res.Least, least, "seed %d: the bound is above the optimum: %+v", seed, p)
		require.GreaterOrEqual(t, got, least, "seed %d: better than the optimum: %+v", seed, p)
		if known++; got == least {
			optimal++
		} else {
			t.Logf("seed %d: cost %d short %d, optimum %d short %d, bound %v", seed, res.Cost, left, cost, short, res.Certificate.Value())
		}
	}
	t.Logf("%d of %d plans cost the least", optimal, known)
}

func total(p *packing.Problem) int64 {
	n := int64(0)
	for _, it := range p.Items {
		n += it.Count
	}
	return n
}
