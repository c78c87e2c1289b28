package scheduler

import (
	"iter"
	"slices"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// rule is one of a spec's rules about other instances, with how many of those that it selects are where.
type rule struct {
	by     Constraint // ByAffinity, ByAntiAffinity or BySpread
	index  int        // in the list of its kind
	of     *pool.Selector
	within string
	soft   bool
	skew   int    // of a spread
	mine   bool   // the instance is itself one of those selected
	key    string // under which an index finds those that it may select

	count map[string]int // of those selected, by domain
	total int            // of them, those in no domain too
	open  map[string]int // of a spread: domains in which it could be placed
	least int            // of a spread: in the open domain that has fewest
	floor int            // of a spread: in the domain that has fewest of all
}

// rulesOf returns the rules of a request, nothing counted.
func rulesOf(req *Request) []rule {
	c := &req.Spec.Constraints
	n := len(c.Affinity) + len(c.AntiAffinity) + len(c.Spread)
	if n == 0 {
		return nil
	}
	self := pool.NewPeer(req.Project, req.Cluster, req.Spec.Labels)
	rules := make([]rule, 0, n)
	add := func(r rule) {
		r.mine = r.of.Selects(&self, req.Project, req.Cluster)
		r.key = keyOfSelector(r.of, req)
		r.count = make(map[string]int)
		rules = append(rules, r)
	}
	for i := range c.Affinity {
		a := &c.Affinity[i]
		add(rule{by: ByAffinity, index: i, of: &a.Selector, within: a.Within, soft: a.Soft})
	}
	for i := range c.AntiAffinity {
		a := &c.AntiAffinity[i]
		add(rule{by: ByAntiAffinity, index: i, of: &a.Selector, within: a.Within, soft: a.Soft})
	}
	for i := range c.Spread {
		a := &c.Spread[i]
		add(rule{by: BySpread, index: i, of: &a.Selector, within: a.Within, soft: a.Soft, skew: max(1, a.MaxSkew), open: make(map[string]int)})
	}
	return rules
}

// named is where the instances are that rules name by id; an instance that is being moved is on two hosts.
type named map[pool.InstanceID][]pool.HostID

// namedBy looks up the instances of the project that a spec's rules name.
func namedBy(st *pool.State, req *Request) named {
	var out named
	look := func(s *pool.Selector) {
		for _, id := range s.Instances {
			i, ok := st.Instance(id)
			if !ok || i.Project != req.Project || !i.Placed() {
				continue
			}
			if out == nil {
				out = make(named)
			}
			out[id] = []pool.HostID{i.Place.Host}
			if i.Move != nil {
				out[id] = append(out[id], i.Move.Host)
			}
		}
	}
	c := &req.Spec.Constraints
	for _, list := range [][]pool.Affinity{c.Affinity, c.AntiAffinity} {
		for i := range list {
			look(&list[i].Selector)
		}
	}
	for i := range c.Spread {
		look(&c.Spread[i].Selector)
	}
	return out
}

// begin forgets what was counted.
func (r *rule) begin() {
	clear(r.count)
	clear(r.open)
	r.total = 0
}

// add counts n instances on a host.
func (r *rule) add(h *pool.HostRecord, n int) {
	r.total += n
	if v, ok := h.Domain(r.within); ok {
		r.count[v] += n
	}
}

// end finds the least of a spread, where domains are all that there are.
func end[V any](r *rule, domains map[string]V) {
	r.floor, r.least = fewest(r.count, domains), fewest(r.count, r.open)
}

func fewest[V any](count map[string]int, domains map[string]V) int {
	least := -1
	for v := range domains {
		if n := count[v]; least < 0 || n < least {
			least = n
		}
	}
	return max(0, least)
}

// census counts for all rules what is on the hosts.
func (d *decision) census(hosts iter.Seq[*pool.HostRecord]) {
	if len(d.rules) == 0 {
		return
	}
	for i := range d.rules {
		d.rules[i].begin()
	}
	domains := make([]map[string]struct{}, len(d.rules))
	for h := range hosts {
		may := false
		for i := range d.rules {
			r := &d.rules[i]
			if n := d.selected(r, h); n != 0 {
				r.add(h, n)
			}
			if r.by != BySpread {
				continue
			}
			v, ok := h.Domain(r.within)
			if !ok {
				continue
			}
			if domains[i] == nil {
				domains[i] = make(map[string]struct{})
			}
			domains[i][v] = struct{}{}
			if may = may || d.admits(h, asItIs).by == ""; may {
				r.open[v]++
			}
		}
	}
	for i := range d.rules {
		if r := &d.rules[i]; r.by == BySpread {
			end(r, domains[i])
		}
	}
}

// selected returns how many instances on a host a rule selects, the one that is to be placed left out.
func (d *decision) selected(r *rule, h *pool.HostRecord) int {
	n := 0
	for _, p := range h.Peers {
		if v := p.Peer.Value(); r.of.Selects(&v, d.req.Project, d.req.Cluster) {
			n += p.Count
		}
	}
	for _, id := range r.of.Instances {
		for _, at := range d.req.named[id] {
			if at == h.ID {
				n++
			}
		}
	}
	if r.mine && n > 0 && h.ID == d.req.Leaves {
		n--
	}
	return n
}

// breaks returns by how much a host breaks a rule: zero if it keeps it.
func (r *rule) breaks(h *pool.HostRecord, v view) int {
	domain, in := h.Domain(r.within)
	switch {
	case !in && r.by == ByAntiAffinity:
		return 0
	case !in:
		return 1
	case v == asEmpty: // and so are all others
		return 0
	}
	n := r.count[domain]
	switch r.by {
	case ByAntiAffinity:
		return n
	case BySpread:
		return r.excess(n, r.least)
	}
	if n > 0 || r.total == 0 && r.mine {
		return 0
	}
	return 1
}

// excess is how many too many there are with the instance in a domain that has n.
func (r *rule) excess(n, least int) int {
	if r.mine {
		n++
	}
	return max(0, n-least-r.skew)
}

// keeps asks the rules about other instances.
func (d *decision) keeps(h *pool.HostRecord, v view) failure {
	for i := range d.rules {
		if r := &d.rules[i]; !r.soft && r.breaks(h, v) > 0 {
			return failure{by: r.by, index: i}
		}
	}
	return failure{}
}

// ruleSteps adds the rules that must go for a host to take the request, after the other steps that have nothing to do
// with room. What these change may open further domains, in which there may be fewer.
func (d *decision) ruleSteps(h *pool.HostRecord, c *Change) {
	opens := len(c.Steps) > 0
	for i := range d.rules {
		r := &d.rules[i]
		broken := r.breaks(h, asItIs) > 0
		if v, in := h.Domain(r.within); r.by == BySpread && in && opens {
			broken = r.excess(r.count[v], r.floor) > 0
		}
		if broken && !r.soft {
			c.add(1, Step{Do: DropRule, Constraint: r.by, Rule: r.told(h)})
		}
	}
}

// Rule is a rule about other instances as a host meets it.
type Rule struct {
	Index    int    `json:"index"`            // in Constraints.Affinity, AntiAffinity or Spread
	Selects  string `json:"selects"`          // whom, for people
	Within   string `json:"within,omitempty"` // key of the domain; empty: the host
	Domain   string `json:"domain,omitempty"` // of the host; empty: it is in none
	Count    int    `json:"count,omitempty"`  // how many of those selected are there
	Least    int    `json:"least,omitempty"`  // of a spread: in the domain that has fewest
	MaxSkew  int    `json:"max_skew,omitempty"`
	Anywhere int    `json:"anywhere,omitempty"` // how many of those selected are placed at all
}

func (r *rule) told(h *pool.HostRecord) *Rule {
	v, _ := h.Domain(r.within)
	return &Rule{
		Index: r.index, Selects: r.of.String(), Within: r.within, Domain: v, Count: r.count[v], Least: r.least, MaxSkew: r.skew, Anywhere: r.total,
	}
}

// where says for people in which domain.
func (r *Rule) where() string {
	if r.Within == "" {
		return "on the host"
	}
	return "in " + pool.Quote(r.Within) + " " + pool.Quote(r.Domain)
}

// broken says for people how a rule is broken.
func (r *Rule) broken(by Constraint) string {
	switch {
	case r.Domain == "":
		return "is in no " + pool.Quote(r.Within) + ", by which the " + string(by) + " goes"
	case by == ByAntiAffinity:
		return plural(r.Count, "instance") + " " + r.where() + " to stay apart from: " + r.Selects
	case by == BySpread:
		return plural(r.Count, "instance") + " " + r.where() + " already, " + plural(r.Least, "instance") + " where there are fewest, at most " +
			strconv.Itoa(r.MaxSkew) + " more allowed: " + r.Selects
	case r.Anywhere == 0:
		return "none is placed yet of those to be near: " + r.Selects
	}
	return "none " + r.where() + " of those to be near: " + r.Selects
}

// nearHosts returns the hosts of a required affinity that may be looked at instead of all; ok is false if there is none.
func (d *decision) nearHosts() (hosts map[string]int, ok bool) {
	i := slices.IndexFunc(d.rules, func(r rule) bool { return r.by == ByAffinity && !r.soft && r.within == "" && r.total > 0 })
	if i < 0 {
		return nil, false
	}
	return d.rules[i].count, true
}
