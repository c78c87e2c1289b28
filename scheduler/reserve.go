package scheduler

import (
	"cmp"
	"maps"
	"slices"

	"github.com/berthage/berthage/pool"
)

// domainOf returns a host's failure domain.
func (g *Gang) domainOf(h *pool.HostRecord) string {
	if g.Domain == "" {
		return string(h.ID)
	}
	if g.Domain == pool.ZoneKey {
		return h.Zone
	}
	return h.Labels[g.Domain]
}

// hostsOf returns the hosts of a domain that are in the index, by id.
func (t *trial) hostsOf(domain string) []*pool.HostRecord {
	if t.gang.Domain == "" {
		if slot, ok := t.ix.ids[pool.HostID(domain)]; ok {
			return []*pool.HostRecord{t.ix.record(slot)}
		}
		return nil
	}
	var out []*pool.HostRecord
	for h := range t.ix.records() {
		if t.gang.domainOf(h) == domain {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b *pool.HostRecord) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// reserve looks for domains that may not fail together, those with members of the gang first. Domains that the gang does
// without are a reserve all the same, and may fail too.
func (t *trial) reserve() (*GangRefusal, error) {
	if t.gang.Reserve == 0 || len(t.order) == 0 {
		return nil, nil
	}
	on := make(map[string][]int) // the places in the order, by domain
	for at := range t.placed {
		h := t.ix.entries[t.ix.ids[t.placed[at].Host]].rec
		on[t.gang.domainOf(h)] = append(on[t.gang.domainOf(h)], at)
	}
	banned := slices.Clone(t.gone)
	t.restore()
	defer func() { // the gang does without them again
		for _, h := range banned {
			t.ix.Remove(h.ID)
		}
		t.gone = banned
	}()
	if t.alike() {
		return t.reserveOfOne(on)
	}
	return t.reserveOfMany(on)
}

// reserveOfOne judges members that are alike by counting: a domain that fails takes its members with it, and the room
// for more of them that it still has. The domains that take most are the worst to lose.
func (t *trial) reserveOfOne(on map[string][]int) (*GangRefusal, error) {
	n := len(t.placed)
	// More room than for the whole gang in one domain is as good as that for the gang, see below. So no set that fails takes
	// more than enough.
	room, counted, enough := make(map[string]int), 0, n+n*min(t.gang.Reserve, t.ix.Len())
	for h := range t.ix.records() {
		if counted >= enough {
			return nil, nil
		}
		d := t.gang.domainOf(h)
		c, err := t.kinds[0].copies(h, n-room[d])
		if err != nil {
			return nil, err
		}
		room[d] += c
		counted += c
	}
	// The members of a set of domains, at most n, must find room in the others. Whether they do is the same with all
	// rooms cut to n. So it must hold that members(set) <= counted - room(set), for the set with most members and room.
	domains := slices.SortedFunc(maps.Keys(room), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(on[b])+room[b], len(on[a])+room[a]), cmp.Compare(a, b))
	})
	// At least one of them has members: the first in the order that does.
	set := []string{}
	for _, d := range domains {
		if len(on[d]) > 0 {
			set = append(set, d)
			break
		}
	}
	for _, d := range domains {
		if len(set) < t.gang.Reserve && d != set[0] {
			set = append(set, d)
		}
	}
	lost, takes := 0, 0
	for _, d := range set {
		lost += len(on[d])
		takes += len(on[d]) + room[d]
	}
	if takes <= counted {
		return nil, nil
	}
	member := t.order[on[set[0]][max(0, len(on[set[0]])-(takes-counted))]]
	return &GangRefusal{Member: member, Placed: n - lost, Domains: set, Certain: true, Cause: pool.ErrNoRoom}, nil
}

// copies returns how many of the request a host takes besides what it has, most at most.
func (a *Ask) copies(h *pool.HostRecord, most int) (int, error) {
	a.now = nil
	a.policy = bestFit{} // which nobody asks
	for n := 0; ; n++ {
		if n >= most {
			return most, nil
		}
		f, err := a.check(h, asItIs)
		if err != nil || f.by != "" {
			return n, err
		}
		if h, err = h.With(a.allocate(h)); err != nil {
			return n, err
		}
	}
}

// reserveOfMany lets every set of domains fail, of which one at least has members, and places anew what was there. One
// that takes no set because there are too many says so.
func (t *trial) reserveOfMany(on map[string][]int) (*GangRefusal, error) {
	used := slices.Sorted(maps.Keys(on))
	slices.SortStableFunc(used, func(a, b string) int { return cmp.Compare(len(on[b]), len(on[a])) })
	others := make(map[string]bool)
	if t.gang.Reserve > 1 {
		for h := range t.ix.records() {
			if d := t.gang.domainOf(h); on[d] == nil {
				others[d] = true
			}
		}
	}
	domains := append(used, slices.Sorted(maps.Keys(others))...)
	k := min(t.gang.Reserve, len(domains))
	sets := 0
	set := make([]int, 0, k)
	var try func(from int) (*GangRefusal, error)
	try = func(from int) (*GangRefusal, error) {
		if len(set) == k || len(set) > 0 && from == len(domains) {
			if sets++; sets > mostSets {
				return &GangRefusal{Member: t.order[0], Placed: 0, Domains: t.names(domains, set), Cause: &pool.Error{
					Kind: pool.ErrNoRoom, Field: "reserve", Want: "members of one spec, or fewer domains: too many can fail together to look at all",
				}}, nil
			}
			return t.lose(t.names(domains, set), on)
		}
		last := len(domains) - (k - len(set))
		if len(set) == 0 {
			last = min(last, len(used)-1)
		}
		for i := from; i <= last; i++ {
			set = append(set, i)
			bad, err := try(i + 1)
			set = set[:len(set)-1]
			if bad != nil || err != nil {
				return bad, err
			}
		}
		return nil, nil
	}
	return try(0)
}

func (t *trial) names(domains []string, set []int) []string {
	out := make([]string, len(set))
	for i, d := range set {
		out[i] = domains[d]
	}
	return out
}

// lose places the members on the given domains anew, on all others. What it does it takes back.
func (t *trial) lose(set []string, on map[string][]int) (*GangRefusal, error) {
	sub := &trial{ix: t.ix, gang: t.gang, kinds: t.kinds, kindOf: t.kindOf}
	var ats []int
	for _, d := range set {
		ats = append(ats, on[d]...)
		sub.without(d)
	}
	defer sub.restore()
	slices.Sort(ats) // the largest first
	order := make([]int, len(ats))
	for i, at := range ats {
		order[i] = t.order[at]
	}
	ok, _, err := sub.fit(order, 0, nil)
	if err != nil {
		return nil, err
	}
	if !ok {
		bad := *sub.stuck
		bad.Domains, bad.Placed = set, len(t.placed)-len(ats)
		return &bad, nil
	}
	return nil, sub.free()
}
