package rebalance

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// figures measures the fleet as it is.
func (f *fleet) figures() (Figures, error) {
	g := Figures{Pool: len(f.hosts), Instances: len(f.instances)}
	for h := range f.hosts {
		if !f.empty(int32(h)) {
			g.Hosts++
		}
	}
	switch f.options.Goal {
	case Drain:
		for n, id := range f.options.Hosts {
			if at, ok := f.index(id); ok && !slices.Contains(f.options.Hosts[:n], id) {
				g.On += len(f.on[at])
			}
		}
	case Repair:
		for i := range f.instances {
			r, err := f.violated(int32(i))
			if err != nil {
				return g, err
			}
			if r != nil {
				g.Violations++
			}
		}
		for h := range f.hosts {
			if excess, _ := f.over(int32(h)); excess > 0 {
				g.Overloaded++
				g.Excess += excess
			}
		}
	case Balance:
		f.evenness(&g)
	}
	return g, nil
}

func (f *fleet) evenness(g *Figures) {
	g.LeastUse = math.Inf(1)
	for h := range f.hosts {
		if part, _, ok := f.load.use(h); ok {
			g.LeastUse, g.MostUse = min(g.LeastUse, part), max(g.MostUse, part)
		}
		if beyond := f.load.beyond(f, int32(h), -1, 0); beyond > 0 {
			g.Uneven++
			g.Unevenness += beyond
		}
	}
	if math.IsInf(g.LeastUse, 1) {
		g.LeastUse = 0
	}
}

// index returns the number of a host.
func (f *fleet) index(id pool.HostID) (int32, bool) {
	at, ok := slices.BinarySearchFunc(f.hosts, id, func(h *pool.HostRecord, id pool.HostID) int { return cmp.Compare(h.ID, id) })
	return int32(at), ok
}

// skipped says of the last search, which has found nothing, why not.
func (p *planner) skipped(s *search) {
	skip := func(h int32, i int32, reason string) {
		x := Skip{Host: s.hosts[h].ID, Reason: reason}
		if i >= 0 {
			x.Instance = s.instances[i].ID
		}
		p.result.Skipped = append(p.result.Skipped, x)
	}
	switch p.options.Goal {
	case Defragment:
		for h := range s.hosts {
			h := int32(h)
			if why := s.remains(h); why != "" {
				skip(h, -1, why)
			}
		}
		for i, why := range s.stays {
			if why != "" && s.noSource[s.where[i]] == "" {
				skip(s.where[i], int32(i), why)
			}
		}
	case Drain:
		for h, rec := range s.hosts {
			if slices.Contains(p.options.Hosts, rec.ID) {
				p.left(s, int32(h), skip)
			}
		}
	case Repair:
		for i := range s.instances {
			i := int32(i)
			if r, err := s.violated(i); err == nil && r != nil {
				skip(s.where[i], i, "it must not be on its host ("+r.String()+"), but "+s.nowhere(i))
			}
		}
		for h := range s.hosts {
			if excess, what := s.over(int32(h)); excess > 0 {
				why := s.noSource[h]
				if why == "" {
					why = "nothing that would help can be moved"
					if i := s.failed[h]; i >= 0 {
						why = "instance " + string(s.instances[i].ID) + ": " + s.nowhere(i)
					}
				}
				skip(int32(h), -1, "it is over its capacity of "+what+", but "+why)
			}
		}
	case Balance:
		for h := range s.hosts {
			switch h := int32(h); {
			case !s.shares(int(h)):
				skip(h, -1, cmp.Or(s.noSource[h], s.noTarget[h]))
			case s.load.beyond(s.fleet, h, -1, 0) > 0 && s.budget.moves == 0:
				skip(h, -1, "it is outside the tolerance, but nothing is left of the budget")
			case s.load.beyond(s.fleet, h, -1, 0) > 0:
				skip(h, -1, "it is outside the tolerance, but no single move that the rules and the budget allow makes the use more even")
			}
		}
	}
	slices.SortStableFunc(p.result.Skipped, func(a, b Skip) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Instance, b.Instance))
	})
}

// remains says why a host in use has not been emptied.
func (s *search) remains(h int32) string {
	if s.empty(h) {
		return ""
	}
	if why := cmp.Or(s.noSource[h], s.stuck(h)); why != "" {
		return why
	}
	bytes := int64(0)
	for _, i := range s.on[h] {
		bytes += s.copies[i]
	}
	switch {
	case len(s.on[h]) > s.budget.moves:
		return "its " + plural(len(s.on[h]), "instance") + " are more than the " + plural(s.budget.moves, "move") + " left of the budget"
	case bytes > s.budget.bytes:
		return "its instances have " + pool.FormatBytes(bytes) + ", more than the " + pool.FormatBytes(s.budget.bytes) + " left of the budget"
	case s.failed[h] >= 0:
		i := s.failed[h]
		return "instance " + string(s.instances[i].ID) + " would have nowhere to go: " + s.nowhere(i)
	}
	return "making room for its instances would cost more than what is left of the budget"
}

// left says why instances are left on a host that is to be drained.
func (p *planner) left(s *search, h int32, skip func(h, i int32, reason string)) {
	if why := s.noSource[h]; why != "" {
		skip(h, -1, why)
		return
	}
	if s.fixed[h] > 0 {
		skip(h, -1, s.stuck(h))
	}
	for _, i := range s.on[h] {
		switch why := s.stays[i]; {
		case why != "":
			skip(h, i, why)
		case s.budget.moves == 0 || s.copies[i] > s.budget.bytes:
			skip(h, i, "it is more than what is left of the budget")
		default:
			skip(h, i, s.nowhere(i))
		}
	}
}

// nowhere says what stands in the way of an instance on the other hosts, one reason for each.
func (f *fleet) nowhere(i int32) string {
	closed, rules, room, others, own := 0, 0, 0, 0, f.where[i]
	s := &f.sizes[f.size[i]]
	for h := range f.hosts {
		switch h := int32(h); {
		case h == own:
			continue
		case !f.open[h]:
			closed++
		case f.drivers[h] != f.drivers[own] || !f.may(f.size[i], h):
			rules++
		case !f.fits(s, h):
			room++
		default:
			others++
		}
	}
	why := "of " + plural(closed+rules+room+others, "other host") + " "
	parts := 0
	add := func(n int, what string) {
		if n == 0 {
			return
		}
		if parts > 0 {
			why += ", "
		}
		why += strconv.Itoa(n) + " " + what
		parts++
	}
	add(room, "have too little room for "+f.asks(s))
	add(rules, "may not take it by its rules or their sizes")
	add(closed, "take nothing or are empty")
	add(others, "are refused by devices, filters, the caller or the budget")
	if parts == 0 {
		return "there is no other host"
	}
	return why
}

func (f *fleet) asks(s *size) string {
	r := make(pool.Resources)
	for c, n := range s.need {
		if n > 0 {
			r[f.classes[c]] = n
		}
	}
	return r.String()
}
