package scheduler

import "github.com/berthage/berthage/pool"

// HostGroup is hosts on which another Strategy places: those with all of these labels. What FGD adds to BestFit goes by the
// Strategy of the Scheduler alone, for all hosts.
type HostGroup struct {
	Labels   map[string]string
	Strategy Strategy
}

func (g *HostGroup) has(h *pool.HostRecord) bool {
	for k, v := range g.Labels {
		if have, ok := h.Labels[k]; !ok || have != v {
			return false
		}
	}
	return true
}

// strategyOf returns the number of the first group that a host is in, -1 if it is in none, and the strategy there.
func (s *Scheduler) strategyOf(h *pool.HostRecord) (int, Strategy) {
	for i := range s.Groups {
		if s.Groups[i].has(h) {
			return i, s.Groups[i].Strategy
		}
	}
	return -1, s.Strategy
}

// grouped is the policy of a pool in which not all hosts have the same.
type grouped struct {
	base   policy
	groups []groupPolicy
	split  [blockSize]uint8
	where  [blockSize]uint8
	scores [blockSize]float64
}

// groupPolicy is the policy of one group, and in an index the bits of its labels.
type groupPolicy struct {
	policy   policy
	refining refining
	labels   traits
	there    bool // hosts may have them
}

// find looks the labels of the groups up. It is false if a bit does not tell who has a label.
func (g *grouped) find(s *Scheduler, book *traitBook) bool {
	for i := range g.groups {
		p := &g.groups[i]
		p.labels, p.there = traits{}, true
		for k, v := range s.Groups[i].Labels {
			m, exact, ok := book.find(trait{what: 'l', key: k, value: v})
			if !exact {
				return false
			}
			p.labels, p.there = p.labels.with(m), p.there && ok
		}
	}
	return true
}

// of returns the number of the group that a host with those traits is in, -1 for none.
func (g *grouped) of(t traits) int {
	for i := range g.groups {
		if p := &g.groups[i]; p.there && t.has(p.labels) {
			return i
		}
	}
	return -1
}

func (g *grouped) score(c *columns, hosts []uint8, out []float64) {
	for at := -1; at < len(g.groups); at++ {
		p, n := g.base, 0
		if at >= 0 {
			p = g.groups[at].policy
		}
		for j, i := range hosts {
			if g.of(c.marks[i]) == at {
				g.split[n], g.where[n] = i, uint8(j)
				n++
			}
		}
		if n == 0 {
			continue
		}
		p.score(c, g.split[:n], g.scores[:n])
		for k := range n {
			out[g.where[k]] = g.scores[k]
		}
	}
}

func (g *grouped) bound(r *ranges, enough float64) float64 {
	most := g.base.bound(r, enough)
	for i := range g.groups {
		if p := &g.groups[i]; p.there && r.traits.has(p.labels) {
			most = max(most, p.policy.bound(r, enough))
		}
	}
	return most
}

func (g *grouped) reach(r *ranges, enough float64) bounds {
	b := g.base.reach(r, enough)
	for i := range g.groups {
		if p := &g.groups[i]; p.there && r.traits.has(p.labels) {
			b.joinAll(p.policy.reach(r, enough))
		}
	}
	return b
}

// scale is that of a policy that does not weigh; those that do allow for it.
func (g *grouped) scale() []float64 { return nil }
