package ring

import (
	"cmp"
	"slices"

	"github.com/berthage/berthage/pool"
)

// mostCombinations bounds the sets of victims that are tried for one instance over all hosts. Beyond it a host's largest are taken
// until it fits, and then those left out that are not needed.
const mostCombinations = 20_000

// victims looks for the fewest instances that have to give way.
type victims struct {
	rules     *rules
	st        *pool.State
	priority  int
	fits      func(*pool.HostRecord) bool
	demand    pool.Resources
	unwilling map[pool.InstanceID]bool
	steps     int // left
}

// on looks on one host, from which those that leave anyhow have left, and sets c's victims if going without some of the others makes
// room. Sets that are larger than best's are not looked for.
func (v *victims) on(c *candidate, after *pool.HostRecord, others []*pool.Instance, best *candidate) {
	if best != nil && best.short == 0 {
		return
	}
	others = slices.DeleteFunc(others, func(i *pool.Instance) bool {
		return v.unwilling[i.ID] || !v.rules.givesWay(i, v.priority)
	})
	slices.SortFunc(others, func(a, b *pool.Instance) int {
		return cmp.Or(cmp.Compare(a.Spec.Priority, b.Spec.Priority), cmp.Compare(b.Launched, a.Launched), cmp.Compare(a.ID, b.ID))
	})
	most := len(others)
	if best != nil && len(best.victims) > 0 {
		most = min(most, len(best.victims))
	}
	if !v.enough(after, others, len(others)) {
		return
	}
	for n := 1; n <= most; n++ {
		if !v.enough(after, others, n) {
			continue
		}
		v.choose(c, after, others, nil, n)
		if len(c.victims) > 0 {
			return
		}
		if v.steps <= 0 {
			v.largest(c, after, others)
			if len(c.victims) > most {
				c.victims = nil
			}
			return
		}
	}
}

// enough reports whether going without n of them could make room, as far as sums tell.
func (v *victims) enough(h *pool.HostRecord, of []*pool.Instance, n int) bool {
	for _, class := range v.demand.Classes() {
		lack := v.demand[class] - (h.Capacity[class] - h.Used[class])
		if lack <= 0 {
			continue
		}
		amounts := make([]int64, len(of))
		for k, i := range of {
			amounts[k] = i.Place.Allocation.Resources[class]
		}
		slices.Sort(amounts)
		for k := len(amounts) - 1; k >= max(0, len(amounts)-n); k-- {
			lack -= amounts[k]
		}
		if lack > 0 {
			return false
		}
	}
	return true
}

// choose tries all sets of n more and keeps the best that makes room.
func (v *victims) choose(c *candidate, h *pool.HostRecord, of, taken []*pool.Instance, n int) {
	if v.steps--; v.steps <= 0 {
		return
	}
	if n == 0 {
		if v.fits(h) && (len(c.victims) == 0 || v.compare(taken, c.victims) < 0) {
			c.victims = slices.Clone(taken)
		}
		return
	}
	for k := 0; k+n <= len(of); k++ {
		if !v.enough(h, of[k:], n) {
			return // nor without the next
		}
		if less, err := h.Without(of[k].Place.Allocation); err == nil {
			v.choose(c, less, of[k+1:], append(slices.Clip(taken), of[k]), n-1)
		}
	}
}

// largest takes the largest until there is room, and then spares whom it can.
func (v *victims) largest(c *candidate, h *pool.HostRecord, of []*pool.Instance) {
	rest := slices.Clone(of)
	slices.SortStableFunc(rest, func(a, b *pool.Instance) int { return cmp.Compare(size(v.st, b), size(v.st, a)) })
	without := func(list []*pool.Instance) *pool.HostRecord {
		left := h
		for _, i := range list {
			if less, err := left.Without(i.Place.Allocation); err == nil {
				left = less
			}
		}
		return left
	}
	for n := range rest {
		if !v.fits(without(rest[:n+1])) {
			continue
		}
		rest = rest[:n+1]
		for k := 0; k < len(rest); k++ {
			if spared := slices.Delete(slices.Clone(rest), k, k+1); v.fits(without(spared)) {
				rest = spared
				k--
			}
		}
		c.victims = rest
		return
	}
}

// compare orders sets of victims: the smaller one first, then that whose highest priority is lower, then that which has less of
// the pool, then that of which even the oldest is younger.
func (v *victims) compare(a, b []*pool.Instance) int {
	of := func(list []*pool.Instance) (priority int, sum float64, oldest pool.Revision) {
		for n, i := range list {
			if n == 0 || i.Spec.Priority > priority {
				priority = i.Spec.Priority
			}
			if n == 0 || i.Launched < oldest {
				oldest = i.Launched
			}
			sum += size(v.st, i)
		}
		return priority, sum, oldest
	}
	p, x, m := of(a)
	q, y, n := of(b)
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(p, q), cmp.Compare(x, y), cmp.Compare(n, m))
}

// size is how much of the pool an instance has, all classes added up.
func size(st *pool.State, i *pool.Instance) float64 {
	sum := 0.0
	for _, class := range i.Place.Allocation.Resources.Classes() {
		if total := st.Total(class); total.Capacity > 0 {
			sum += float64(i.Place.Allocation.Resources[class]) / float64(total.Capacity)
		}
	}
	return sum
}
