package packing

import (
	"cmp"
	"slices"
)

// load is a number of copies of a flavor on a host.
type load struct {
	flavor int
	copies int64
}

// pattern is a way to fill a host: a column of the linear program.
type pattern struct {
	kind  int
	loads []load // by flavor, ascending
}

// group is a number of hosts of one kind that carry the same.
type group struct {
	kind  int
	hosts int64
	loads []load  // in the order of placing
	room  []int64 // by class
}

// layout is a plan in the making: hosts, and what is still to be placed.
type layout struct {
	in     *instance
	groups []group
	demand []int64 // by flavor: not placed yet
	avail  []int64 // by kind: hosts not used yet
}

func newLayout(in *instance) *layout {
	l := &layout{in: in, demand: make([]int64, len(in.flavors)), avail: make([]int64, len(in.kinds))}
	for g := range in.flavors {
		l.demand[g] = in.flavors[g].count
	}
	for h := range in.kinds {
		l.avail[h] = in.kinds[h].limit
	}
	return l
}

func (l *layout) clone() *layout {
	c := *l
	c.groups = make([]group, len(l.groups), len(l.groups)+8)
	for i := range l.groups {
		c.groups[i] = l.groups[i].clone()
	}
	c.demand, c.avail = slices.Clone(l.demand), slices.Clone(l.avail)
	return &c
}

func (g *group) clone() group {
	c := *g
	c.loads, c.room = slices.Clone(g.loads), slices.Clone(g.room)
	return c
}

// placed is the cost of the hosts in use.
func (l *layout) placed() int64 {
	sum := int64(0)
	for i := range l.groups {
		sum += l.groups[i].hosts * l.in.kinds[l.groups[i].kind].cost
	}
	return sum
}

// cost is the same, and the penalty for what is not placed.
func (l *layout) cost() int64 {
	sum := l.placed()
	for _, n := range l.demand {
		sum += n * l.in.penalty
	}
	return sum
}

func (l *layout) left() bool {
	return slices.ContainsFunc(l.demand, func(n int64) bool { return n > 0 })
}

// open takes hosts into use, as many as there are of that many, and returns the group, or nil.
func (l *layout) open(kind int, hosts int64) *group {
	hosts = min(hosts, l.avail[kind])
	if hosts <= 0 {
		return nil
	}
	if l.avail[kind] != unlimited {
		l.avail[kind] -= hosts
	}
	l.groups = append(l.groups, group{
		kind: kind, hosts: hosts,
		room: slices.Clone(l.in.kinds[kind].capacity),
	})
	return &l.groups[len(l.groups)-1]
}

// put places copies of a flavor on each host of a group that has the room.
func (l *layout) put(g *group, flavor int, copies int64) {
	i := slices.IndexFunc(g.loads, func(w load) bool { return w.flavor == flavor })
	if i < 0 {
		i = len(g.loads)
		g.loads = append(g.loads, load{flavor: flavor})
	}
	g.loads[i].copies += copies
	for c, n := range l.in.flavors[flavor].need {
		g.room[c] -= copies * n
	}
	l.demand[flavor] -= copies * g.hosts
}

// split makes of a group's first hosts a group of their own, which it returns; the rest stays at i.
func (l *layout) split(i int, hosts int64) *group {
	c := l.groups[i].clone()
	l.groups[i].hosts -= hosts
	c.hosts = hosts
	l.groups = append(l.groups, c)
	return &l.groups[len(l.groups)-1]
}

// use fills hosts by a pattern, up to n of them, each with no more than is still wanted.
func (l *layout) use(p *pattern, n int64) {
	for n > 0 {
		hosts := n
		var now []load
		for _, w := range p.loads {
			if c := min(w.copies, l.demand[w.flavor]); c > 0 {
				now = append(now, load{w.flavor, c})
				hosts = min(hosts, l.demand[w.flavor]/c)
			}
		}
		if len(now) == 0 {
			return
		}
		g := l.open(p.kind, hosts)
		if g == nil {
			return
		}
		n -= g.hosts
		for _, w := range now {
			l.put(g, w.flavor, w.copies)
		}
	}
}

// fullest returns the groups with room for a flavor, those with the least free first; -1 asks for all.
func (l *layout) fullest(f int) []int {
	var order []int
	free := make([]float64, len(l.groups))
	for i := range l.groups {
		g := &l.groups[i]
		if f >= 0 && l.in.copies(f, &l.in.kinds[g.kind], g.room, 1) == 0 {
			continue
		}
		order = append(order, i)
		for c, n := range l.in.kinds[g.kind].capacity {
			if n > 0 {
				free[i] += float64(g.room[c]) / float64(n)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(free[a], free[b]) })
	return order
}

// absorb places what it can on hosts in use, large flavors first, each on the fullest host that has room.
func (l *layout) absorb(order []int) {
	for _, f := range order {
		l.absorbOne(f)
	}
}

func (l *layout) absorbOne(f int) {
	if l.demand[f] == 0 {
		return
	}
	need := l.in.flavors[f].need
	for _, i := range l.fullest(f) {
		copies := fits(need, l.groups[i].room, l.demand[f])
		if copies == 0 {
			continue
		}
		g, hosts := &l.groups[i], l.demand[f]/copies
		if hosts < g.hosts {
			rest := l.demand[f] % copies
			if hosts > 0 {
				l.put(l.split(i, hosts), f, copies)
			}
			if rest > 0 {
				if l.groups[i].hosts > 1 {
					l.put(l.split(i, 1), f, rest)
				} else {
					l.put(&l.groups[i], f, rest)
				}
			}
			return
		}
		l.put(g, f, copies)
		if l.demand[f] == 0 {
			return
		}
	}
}

// fill places all that is left by best-fit decreasing: flavors in the given order, on hosts in use, then on
// new ones of the kind that is cheapest for that flavor. What finds no host stays in demand.
func (l *layout) fill(order []int) {
	for _, f := range order {
		l.absorbOne(f)
		for l.demand[f] > 0 {
			h, copies := l.cheapest(f)
			if h < 0 {
				break
			}
			hosts := max(1, l.demand[f]/copies)
			g := l.open(h, hosts)
			l.put(g, f, min(copies, l.demand[f]))
		}
	}
}

// cheapest returns the kind of host on which a flavor costs least, and how many copies go on one.
func (l *layout) cheapest(f int) (kind int, copies int64) {
	kind = -1
	best := 0.0
	for h := range l.in.kinds {
		k := &l.in.kinds[h]
		n := l.in.copies(f, k, k.capacity, l.demand[f])
		if n == 0 || l.avail[h] == 0 {
			continue
		}
		if price := float64(k.cost) / float64(n); kind < 0 || price < best {
			kind, copies, best = h, n, price
		}
	}
	return kind, copies
}

// downsize moves what is on a host to one of a cheaper kind where that suffices.
func (l *layout) downsize() {
	for i := 0; i < len(l.groups); i++ {
		g := &l.groups[i]
		for h := range l.in.kinds {
			k, old := &l.in.kinds[h], &l.in.kinds[g.kind]
			room := slices.Clone(k.capacity)
			fits := k.cost < old.cost && l.avail[h] > 0
			for c := range room {
				room[c] -= old.capacity[c] - g.room[c]
				fits = fits && room[c] >= 0
			}
			for _, w := range g.loads {
				fits = fits && (k.barred == nil || !k.barred[w.flavor])
			}
			if !fits {
				continue
			}
			if n := l.avail[h]; n < g.hosts {
				g = l.split(i, n)
			}
			if l.avail[g.kind] != unlimited {
				l.avail[g.kind] += g.hosts
			}
			if l.avail[h] != unlimited {
				l.avail[h] -= g.hosts
			}
			g.kind, g.room = h, room
			i-- // once more: there may be a still cheaper one, or a rest
			break
		}
	}
}

// bySize returns the flavors in decreasing order of the sum over classes of their part of the largest
// capacity, or with one class only, of their part of that.
func (in *instance) bySize(only int) []int {
	order, size := make([]int, len(in.flavors)), make([]float64, len(in.flavors))
	for g := range in.flavors {
		order[g] = g
		for c, n := range in.flavors[g].need {
			largest := int64(1)
			for h := range in.kinds {
				largest = max(largest, in.kinds[h].capacity[c])
			}
			if only < 0 || only == c {
				size[g] += float64(n) / float64(largest)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(size[b], size[a]) })
	return order
}
