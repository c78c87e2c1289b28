package packing

import (
	"iter"
	"math/big"

	"github.com/berthage/berthage/pool"
)

// Result is a plan and what is proved about it. Its indexes are those of the Problem's Items and Hosts.
type Result struct {
	// Groups are the hosts in use: those of one group carry the same sizes.
	Groups []Group `json:"groups"`
	Hosts  int64   `json:"hosts"` // in use
	Cost   int64   `json:"cost"`  // of these; their number unless costs were given

	// Never are the items that fit on no kind of host, even an empty one. The rest of the plan, and the bound,
	// are as if they had not been asked for.
	Never []Never `json:"never,omitempty"`

	// Short is what could not be placed because hosts with a limited count were used up. Every such instance
	// counts as Certificate.Penalty in what the bound is compared with.
	Short []Amount `json:"short,omitempty"`

	// Least is the certified bound as a whole number: no plan costs less than that (what it leaves out counted
	// with the penalty). Optimal says that this plan costs just that.
	Least   int64 `json:"least"`
	Optimal bool  `json:"optimal"`

	Certificate Certificate `json:"certificate"`
}

// Group is a number of hosts that carry the same.
type Group struct {
	Kind  int      `json:"kind"`  // index in Problem.Hosts
	Hosts int64    `json:"hosts"` // how many
	Loads []Amount `json:"loads"` // on each; the first item of a size stands for all of that size, see Result.Assignment
}

// Amount is a number of instances of an item.
type Amount struct {
	Item  int   `json:"item"` // index in Problem.Items
	Count int64 `json:"count"`
}

// Never is an item that fits on no kind of host, with the kind that comes nearest and what is missing there
// most.
type Never struct {
	Item  int        `json:"item"`
	Count int64      `json:"count"`
	Kind  int        `json:"kind"`  // the kind of host that comes nearest
	Class pool.Class `json:"class"` // of which that kind has too little, by the largest part
	Short int64      `json:"short"` // how much, in the unit of the class

	// Unit: there is room, but the kind's limits of units do not allow the amount; Short is how far it is above the
	// next smaller one that they do.
	Unit bool `json:"unit,omitempty"`
}

// Certificate proves the bound, by duality: let every instance of item i be worth Prices[i]/Scale. If nothing
// that fits on a host of kind k together is worth more than the kind's cost plus Excess[k]/Scale, then no plan
// costs less than
//
//	( sum over items of Count * Prices  -  sum over kinds of Count * Excess ) / Scale
//
// since the hosts of a plan cost at least what lies on them, but for the excess. Kinds without limit must have
// none. An instance that is left out costs the Penalty, and must not be worth more. Verify checks all that; how
// the prices were found does not matter.
type Certificate struct {
	Scale   int64    `json:"scale"`
	Prices  []int64  `json:"prices"` // by item; zero for those that never fit
	Excess  []int64  `json:"excess"` // by kind of host
	Penalty int64    `json:"penalty,omitempty"`
	Bound   *big.Rat `json:"bound"` // the value above
}

// Value returns the bound as a floating-point number, for people.
func (c *Certificate) Value() float64 {
	if c.Bound == nil {
		return 0
	}
	v, _ := c.Bound.Float64()
	return v
}

// Host is one host of a plan with what it carries.
type Host struct {
	Kind  int
	Loads []Amount
}

// Assignment yields every host of the plan with the items that it carries. Where items have the same size, the
// first hosts get the first of them.
func (r *Result) Assignment(p *Problem) iter.Seq[Host] {
	return func(yield func(Host) bool) {
		same, size := equalItems(p)
		left := make([]int64, len(p.Items)) // of each item
		next := make([]int, len(same))      // item of a size that is given out
		for i := range p.Items {
			left[i] = p.Items[i].Count
		}
		for _, g := range r.Groups {
			for range g.Hosts {
				h := Host{Kind: g.Kind}
				for _, l := range g.Loads {
					s := size[l.Item]
					for n := l.Count; n > 0 && next[s] < len(same[s]); {
						i := same[s][next[s]]
						take := min(n, left[i])
						if left[i], n = left[i]-take, n-take; take > 0 {
							h.Loads = append(h.Loads, Amount{i, take})
						}
						if left[i] == 0 {
							next[s]++
						}
					}
				}
				if !yield(h) {
					return
				}
			}
		}
	}
}
