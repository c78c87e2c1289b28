package packing

import (
	"cmp"
	"context"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// Need is what hosts are to be provided for. Hosts that are there already are kinds that are Owned: what they
// can take costs nothing, so that others are asked for only where they do not suffice.
type Need struct {
	Problem

	// Growth multiplies the count of every item, rounded up. Zero is 1.0.
	Growth pool.Ratio `json:"growth,omitempty"`

	// Spare is how many hosts, whichever, may fail at once while the others still hold everything: N+k.
	Spare int64 `json:"spare,omitempty"`

	// Domains is over how many failure domains the hosts are spread, the same number of each kind in each. Of
	// these SpareDomains may fail at once, and of what remains Spare hosts besides. Hosts with a Count are taken
	// to be spread evenly too. Zero domains are one, which may not fail.
	Domains      int64 `json:"domains,omitempty"`
	SpareDomains int64 `json:"spare_domains,omitempty"`
}

// Capacity says how many hosts of which kind a Need takes.
type Capacity struct {
	Kinds []KindCount `json:"kinds"` // by kind of host; all zero for kinds that are not used
	Hosts int64       `json:"hosts"` // in all
	Cost  int64       `json:"cost"`

	// Least is certified like the plan's: no set of hosts that is spread evenly over the domains and holds
	// everything after such a failure costs less.
	Least int64 `json:"least"`

	// Missing is how many spare hosts would be needed besides and cannot be had, because kinds that could stand
	// in are limited. Like Plan.Short it means that the hosts do not suffice.
	Missing int64 `json:"missing,omitempty"`

	// Grown is the problem that Plan solves: the grown demand, on what may remain after a failure. It is what
	// Verify wants to see.
	Grown Problem `json:"-"`
	Plan  *Result `json:"plan"`
}

// KindCount is how many hosts of a kind are needed.
type KindCount struct {
	Busy      int64 `json:"busy"`       // carry the demand when all that may fail has failed
	Spare     int64 `json:"spare"`      // stand in for single hosts
	PerDomain int64 `json:"per_domain"` // in each domain
	Total     int64 `json:"total"`      // PerDomain in all domains
}

// valid checks what Problem.Valid does not.
func (n *Need) valid() error {
	bad := func(field string, v int64, want string) error {
		return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: strconv.FormatInt(v, 10), Want: want}
	}
	const mostDomains = 1000
	switch {
	case n.Growth < 0 || n.Growth > 1000_000:
		return bad("growth", int64(n.Growth), "0.001 to 1000")
	case n.Spare < 0 || n.Spare > MaxCount:
		return bad("spare", n.Spare, "zero to "+strconv.FormatInt(MaxCount, 10))
	case n.Domains < 0 || n.Domains > mostDomains:
		return bad("domains", n.Domains, "zero to "+strconv.Itoa(mostDomains))
	case n.SpareDomains < 0 || n.SpareDomains > 0 && n.SpareDomains >= n.Domains:
		return bad("spare_domains", n.SpareDomains, "zero, or less than the domains")
	}
	return n.Problem.Valid()
}

// Provide plans the hosts for a need. Errors are those of Plan; if ctx ends, what has been found is returned
// with the cause.
//
// The hosts that carry the demand are those of a Plan. Every kind among them gets as many spare hosts that can
// stand in for it, each class compared, as may fail at once; so whichever fail, each has one to take over its
// whole content. With domains all is rounded up to whole hosts in each of those that remain.
func Provide(ctx context.Context, n *Need, o Options) (*Capacity, error) {
	if err := n.valid(); err != nil {
		return nil, err
	}
	domains := max(1, n.Domains)
	remain := domains - n.SpareDomains
	grown, err := n.grown(domains, remain)
	if err != nil {
		return nil, err
	}
	plan, err := Plan(ctx, grown, o)
	if plan == nil {
		return nil, err
	}
	out := &Capacity{Kinds: make([]KindCount, len(n.Hosts)), Grown: *grown, Plan: plan}
	for _, g := range plan.Groups {
		out.Kinds[g.Kind].Busy += g.Hosts
	}
	out.spare(grown, n.Spare)
	for i := range out.Kinds {
		k := &out.Kinds[i]
		k.PerDomain = (k.Busy + k.Spare + remain - 1) / remain
		k.Total = k.PerDomain * domains
		out.Hosts += k.Total
		cost := n.Hosts[i].cost()
		if cost > 0 && k.Total > (math.MaxInt64-out.Cost)/cost {
			return nil, &pool.Error{Kind: pool.ErrOverflow, Field: "spare", Want: "fewer or cheaper hosts"}
		}
		out.Cost += k.Total * cost
	}
	out.setLeast(n, domains, remain)
	return out, err
}

// grown is the problem for what may remain: more demand, and of limited hosts only those in such domains.
func (n *Need) grown(domains, remain int64) (*Problem, error) {
	out := &Problem{Items: slices.Clone(n.Items), Hosts: slices.Clone(n.Hosts)}
	if n.Growth != 0 {
		for i := range out.Items {
			it := &out.Items[i] // the product is at most MaxCount times the largest ratio
			it.Count = (it.Count*int64(n.Growth) + 999) / 1000
		}
	}
	for i := range out.Hosts {
		h := &out.Hosts[i]
		if h.limit() == unlimited {
			continue
		}
		if h.Count = h.Count / domains * remain; h.Count == 0 {
			h.Owned, h.Cost = true, 0 // fewer than there are domains, so that none can be used
		}
	}
	return out, out.Valid()
}

// stands reports whether a host of kind g can take over whatever is on one of kind h.
func (p *Problem) stands(g, h int) bool {
	if !p.Hosts[h].Capacity.Fits(p.Hosts[g].Capacity) {
		return false
	}
	for i := range p.Items {
		if it := &p.Items[i]; it.Count > 0 && p.Hosts[h].takes(it.Resources) && !p.Hosts[g].allows(it.Resources) {
			return false
		}
	}
	return true
}

// spare adds, for every kind in use, hosts that can stand in for it, the cheapest first, until there are k.
// Large kinds come first, because their spares serve smaller ones too.
func (c *Capacity) spare(p *Problem, k int64) {
	var used, offered []int
	for h := range c.Kinds {
		offered = append(offered, h)
		if c.Kinds[h].Busy > 0 {
			used = append(used, h)
		}
	}
	wide := make([]int, len(p.Hosts)) // for how many kinds it can stand in
	for h := range p.Hosts {
		for g := range p.Hosts {
			if p.stands(h, g) {
				wide[h]++
			}
		}
	}
	slices.SortStableFunc(used, func(a, b int) int { return cmp.Compare(wide[b], wide[a]) })
	slices.SortStableFunc(offered, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.Hosts[a].cost(), p.Hosts[b].cost()), cmp.Compare(wide[b], wide[a]))
	})
	for _, h := range used {
		want := k
		for g := range c.Kinds {
			if p.stands(g, h) {
				want -= min(want, c.Kinds[g].Spare)
			}
		}
		for _, g := range offered {
			if !p.stands(g, h) {
				continue
			}
			add := want
			if limit := p.Hosts[g].limit(); limit != unlimited {
				add = min(add, limit-c.Kinds[g].Busy-c.Kinds[g].Spare)
			}
			c.Kinds[g].Spare += add
			want -= add
		}
		c.Missing = max(c.Missing, want)
	}
}

// setLeast finds the bound. Let all hosts cost T. Some choice of domains to fail leaves hosts that cost at most
// T * remain / domains, on average over all choices; if of these the dearest fail besides, what is left costs
// at least Spare times the cheapest kind less, and still holds everything, so that it costs at least Plan.Least.
func (c *Capacity) setLeast(n *Need, domains, remain int64) {
	if c.Plan.Least == 0 || len(c.Plan.Short) > 0 {
		return
	}
	cheapest := MaxCost
	for i := range n.Hosts {
		if n.Hosts[i].limit() > 0 {
			cheapest = min(cheapest, n.Hosts[i].cost())
		}
	}
	t := new(big.Int).Mul(big.NewInt(n.Spare), big.NewInt(cheapest))
	t.Add(t, big.NewInt(c.Plan.Least))
	t.Mul(t, big.NewInt(domains))
	t.Add(t, big.NewInt(remain-1))
	if t.Quo(t, big.NewInt(remain)); t.IsInt64() {
		c.Least = t.Int64()
	}
}
