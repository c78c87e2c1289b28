package packing

import (
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// Item is a size that is wanted a number of times: a flavor, or one instance. Two items of the same size are
// planned as one.
type Item struct {
	Name      string         `json:"name,omitempty"` // for people; the plan refers to items by their index
	Resources pool.Resources `json:"resources"`      // of each
	Count     int64          `json:"count"`          // how many; zero are none
}

// HostKind is a kind of host that a plan may use.
type HostKind struct {
	Name     string         `json:"name,omitempty"`  // for people
	Capacity pool.Resources `json:"capacity"`        // what allocations may take of one, see pool.Inventory.Capacity
	Count    int64          `json:"count,omitempty"` // how many there are; zero is without limit, but of owned hosts none

	// Units limit what one instance may take of a class there, if it takes any.
	Units map[pool.Class]Units `json:"units,omitempty"`

	// Cost of using one host, in a unit of the caller's choice; zero means 1, so that by default the fewest
	// hosts are sought. Owned hosts are there already: they cost nothing, and Count says how many.
	Cost  int64 `json:"cost,omitempty"`
	Owned bool  `json:"owned,omitempty"`
}

// Units are limits of one class, as pool.Inventory has them. The zero value is none.
type Units struct {
	Min  int64 `json:"min,omitempty"`  // no less
	Max  int64 `json:"max,omitempty"`  // no more
	Step int64 `json:"step,omitempty"` // a multiple
}

func (u Units) inventory() pool.Inventory {
	return pool.Inventory{MinUnit: u.Min, MaxUnit: u.Max, StepSize: u.Step}
}

// Problem is what is to be packed, and into what.
type Problem struct {
	Items []Item     `json:"items"`
	Hosts []HostKind `json:"hosts"`
}

// Limits of the input, which keep every sum within an int64.
const (
	MaxCost  int64 = 1e9 // of one host
	MaxCount int64 = 1e9 // of all items, and of the hosts of one kind
)

// cost returns the cost of one host of the kind.
func (h *HostKind) cost() int64 {
	switch {
	case h.Owned:
		return 0
	case h.Cost == 0:
		return 1
	}
	return h.Cost
}

// limit returns how many hosts of the kind there are at most.
func (h *HostKind) limit() int64 {
	if h.Count == 0 && !h.Owned {
		return unlimited
	}
	return h.Count
}

// Valid reports, as an error, what is malformed.
func (p *Problem) Valid() error {
	total := int64(0)
	for i := range p.Items {
		it, at := &p.Items[i], "items["+strconv.Itoa(i)+"]"
		if err := it.Resources.Valid(); err != nil {
			return pool.InField(at+".resources", err)
		}
		if it.Count < 0 {
			return &pool.Error{Kind: pool.ErrInvalid, Field: at + ".count", Value: strconv.FormatInt(it.Count, 10), Want: "zero or more"}
		}
		if it.Count > MaxCount-total {
			return &pool.Error{Kind: pool.ErrOverflow, Field: at + ".count", Want: "a sum of counts of at most " + strconv.FormatInt(MaxCount, 10)}
		}
		total += it.Count
	}
	if len(p.Hosts) == 0 {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "hosts", Want: "at least one kind of host"}
	}
	for i := range p.Hosts {
		h, at := &p.Hosts[i], "hosts["+strconv.Itoa(i)+"]"
		if err := h.Capacity.Valid(); err != nil {
			return pool.InField(at+".capacity", err)
		}
		for _, c := range slices.Sorted(maps.Keys(h.Units)) {
			err := c.Valid()
			if err == nil {
				err = h.Units[c].inventory().Valid()
			}
			if err != nil {
				return pool.InField(at+".units", err)
			}
		}
		switch {
		case h.Count < 0 || h.Count > MaxCount:
			return &pool.Error{Kind: pool.ErrInvalid, Field: at + ".count", Value: strconv.FormatInt(h.Count, 10), Want: "zero (no limit) to " + strconv.FormatInt(MaxCount, 10)}
		case h.Cost < 0 || h.Cost > MaxCost:
			return &pool.Error{Kind: pool.ErrInvalid, Field: at + ".cost", Value: strconv.FormatInt(h.Cost, 10), Want: "zero (meaning 1) to " + strconv.FormatInt(MaxCost, 10)}
		case h.Owned && h.Cost != 0:
			return &pool.Error{Kind: pool.ErrInvalid, Field: at + ".cost", Value: strconv.FormatInt(h.Cost, 10), Want: "no cost, since owned hosts have none"}
		}
	}
	return nil
}

// unlimited stands for the number of hosts of a kind without limit.
const unlimited = math.MaxInt64

// instance is a Problem in the form in which it is worked on: equal items are one flavor, amounts are vectors
// over those classes in which a host can run short, in units of the greatest common divisor of all demand.
type instance struct {
	classes []pool.Class
	flavors []flavor
	kinds   []kind
	never   []int // items that fit no kind of host
	penalty int64 // cost of leaving one out of an optional flavor; zero when there is none
}

// flavor is a size with its demand.
type flavor struct {
	need  []int64
	count int64
	items []int // of the Problem, in order

	// optional: it fits on no kind without limit, so that there may be too few hosts for all of it.
	optional bool
}

// kind is a kind of host on which something fits.
type kind struct {
	index    int // in Problem.Hosts
	capacity []int64
	cost     int64
	limit    int64
	barred   []bool // flavors that its limits of units do not allow; nil: none
}

// copies returns how many copies of a flavor fit into room on a host of a kind, at most most.
func (in *instance) copies(g int, k *kind, room []int64, most int64) int64 {
	if k.barred != nil && k.barred[g] {
		return 0
	}
	return fits(in.flavors[g].need, room, most)
}

// fits returns how many copies of need fit into room, at most most.
func fits(need, room []int64, most int64) int64 {
	for c, n := range need {
		if n > 0 {
			most = min(most, room[c]/n)
		}
	}
	return most
}

// reduce makes an instance of a valid Problem. The error is pool.ErrOverflow, when costs times counts are too
// large to be added up.
func reduce(p *Problem) (*instance, error) {
	in := &instance{}
	same, _ := equalItems(p)
	for _, items := range same {
		count := int64(0)
		for _, i := range items {
			count += p.Items[i].Count
		}
		switch {
		case count == 0:
		case fitsAny(p, p.Items[items[0]].Resources):
			in.flavors = append(in.flavors, flavor{count: count, items: items})
		default:
			for _, i := range items {
				if p.Items[i].Count > 0 {
					in.never = append(in.never, i)
				}
			}
		}
	}
	slices.Sort(in.never)
	unit := in.setClasses(p)
	for g := range in.flavors {
		f := &in.flavors[g]
		f.need = make([]int64, len(in.classes))
		for k, c := range in.classes {
			f.need[k] = p.Items[f.items[0]].Resources[c] / unit[k]
		}
	}
	for i := range p.Hosts {
		h := &p.Hosts[i]
		k := kind{index: i, cost: h.cost(), limit: h.limit(), capacity: make([]int64, len(in.classes))}
		useful := false
		for c, class := range in.classes {
			k.capacity[c] = h.Capacity[class] / unit[c]
		}
		for g := range in.flavors {
			r := p.Items[in.flavors[g].items[0]].Resources
			useful = useful || h.takes(r)
			if !h.allows(r) {
				if k.barred == nil {
					k.barred = make([]bool, len(in.flavors))
				}
				k.barred[g] = true
			}
		}
		if useful {
			in.kinds = append(in.kinds, k)
		}
	}
	return in, in.setPenalty()
}

// equalItems groups the items by size, in the order of their first, and returns the group of each.
func equalItems(p *Problem) (same [][]int, group []int) {
	group = make([]int, len(p.Items))
	groups := make(map[string]int) // by what an item needs, printed
	var key []byte
	for i := range p.Items {
		key = appendKey(key[:0], p.Items[i].Resources)
		g, ok := groups[string(key)]
		if !ok {
			g = len(same)
			groups[string(key)] = g
			same = append(same, nil)
		}
		same[g] = append(same[g], i)
		group[i] = g
	}
	return same, group
}

// appendKey prints amounts, each in its own way.
func appendKey(key []byte, r pool.Resources) []byte {
	for _, c := range r.Classes() {
		key = strconv.AppendInt(append(append(key, c...), ' '), r[c], 10)
		key = append(key, ' ')
	}
	return key
}

// takes reports whether there is a host of the kind and one such item fits on it.
func (h *HostKind) takes(r pool.Resources) bool {
	return h.limit() > 0 && r.Fits(h.Capacity) && h.allows(r)
}

// allows reports whether one such item may be on a host of the kind by its limits of units.
func (h *HostKind) allows(r pool.Resources) bool {
	for c, u := range h.Units {
		if n := r[c]; n > 0 && !u.inventory().Allows(n) {
			return false
		}
	}
	return true
}

// fitsAny reports whether one such item fits on an empty host of any kind.
func fitsAny(p *Problem, r pool.Resources) bool {
	for i := range p.Hosts {
		if p.Hosts[i].takes(r) {
			return true
		}
	}
	return false
}

// setClasses chooses the classes that matter and returns the unit of each. One matters if some kind of host
// could run short of it, were the whole demand on one host.
func (in *instance) setClasses(p *Problem) (unit []int64) {
	seen := make(pool.Resources)
	for g := range in.flavors {
		for c, n := range p.Items[in.flavors[g].items[0]].Resources {
			seen[c] |= n
		}
	}
	for _, c := range seen.Classes() {
		least := int64(math.MaxInt64)
		for i := range p.Hosts {
			least = min(least, p.Hosts[i].Capacity[c])
		}
		divisor, sum, short := int64(0), uint64(0), false
		for g := range in.flavors {
			n := p.Items[in.flavors[g].items[0]].Resources[c]
			divisor = gcd(divisor, n)
			hi, lo := bits.Mul64(uint64(n), uint64(in.flavors[g].count))
			more, carry := bits.Add64(sum, lo, 0)
			sum = more
			short = short || hi|carry != 0 || sum > uint64(least)
		}
		if short {
			in.classes = append(in.classes, c)
			unit = append(unit, divisor)
		}
	}
	return unit
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// setPenalty finds the optional flavors. Leaving one of them out is to cost more than anything that could be
// saved by it: more than all limited hosts together and a host without limit for every other item.
func (in *instance) setPenalty() error {
	const most = 1 << 50
	demand, dearest, sum := int64(0), int64(0), uint64(1)
	ok := true
	for _, k := range in.kinds {
		if k.limit == unlimited {
			dearest = max(dearest, k.cost)
			continue
		}
		hi, lo := bits.Mul64(uint64(k.limit), uint64(k.cost))
		sum += min(lo, most)
		ok = ok && hi == 0 && sum < most
	}
	optional := false
	for g := range in.flavors {
		f := &in.flavors[g]
		demand += f.count
		f.optional = true
		for _, k := range in.kinds {
			f.optional = f.optional && (k.limit < unlimited || in.copies(g, &k, k.capacity, 1) == 0)
		}
		optional = optional || f.optional
	}
	hi, lo := bits.Mul64(uint64(demand), uint64(dearest))
	if sum += min(lo, most); !optional {
		return nil
	}
	hi2, lo2 := bits.Mul64(sum, uint64(demand))
	if !ok || hi|hi2 != 0 || sum >= most || lo2 > 1<<61 {
		return &pool.Error{Kind: pool.ErrOverflow, Field: "hosts", Want: "smaller costs and counts where the hosts may not suffice: see the documentation"}
	}
	in.penalty = int64(sum)
	return nil
}
