package rebalance

import "github.com/berthage/berthage/pool"

const (
	maxEjected = 4  // instances of a host that may move on to make room for one
	maxTried   = 12 // hosts on which room is tried to be made for one
)

// chance is a host on which room may be made: what of it would have to go.
type chance struct {
	host int32
	n    int
	out  [maxEjected]sort
	size float64 // of what has to go
}

// makeRoom moves up to n instances of another host on, so that one more can come there, and lets it come. Or it
// changes nothing.
func (s *search) makeRoom(b *bundle, i int32, n int) bool {
	clear(s.noWhere)
	for range 2 { // again without what has turned out to have nowhere to go
		again := false
		for _, c := range s.chances(i, min(n, maxEjected)) {
			ok, stuck := s.swap(b, i, &c)
			if ok {
				return true
			}
			again = again || stuck
		}
		if !again {
			break
		}
	}
	return false
}

// chances returns the hosts on which room for an instance could be made if at most n others left, the fewest and
// smallest first, no more than maxTried.
func (s *search) chances(i int32, n int) []chance {
	k, own := s.size[i], s.where[i]
	s.rooms = s.rooms[:0]
	for h := range s.open {
		h := int32(h)
		if !s.open[h] || h == own || s.drivers[h] != s.drivers[own] {
			continue
		}
		s.looks += int64(len(s.sorts[h]))
		c, ok := s.chance(k, h, n)
		if !ok || len(s.rooms) == maxTried && !c.before(&s.rooms[maxTried-1]) || !s.may(k, h) {
			continue
		}
		if len(s.rooms) < maxTried {
			s.rooms = append(s.rooms, chance{})
		}
		at := len(s.rooms) - 1
		for ; at > 0 && c.before(&s.rooms[at-1]); at-- {
			s.rooms[at] = s.rooms[at-1]
		}
		s.rooms[at] = c
	}
	return s.rooms
}

// before reports whether a chance is tried before another one that has a lower host.
func (c *chance) before(o *chance) bool {
	return c.n < o.n || c.n == o.n && c.size < o.size
}

// chance chooses what would leave a host for one of size k: the smallest that suffices, else what helps most, and so on.
func (s *search) chance(k, h int32, n int) (chance, bool) {
	c := chance{host: h}
	row := s.free[int(h)*s.n:]
	need := &s.sizes[k]
	s.lack = s.lack[:0]
	for _, class := range need.classes {
		s.lack = append(s.lack, need.need[class]-row[class])
	}
	for c.n < n {
		at, weight, suffices := s.helpful(need, k, &c)
		if at < 0 {
			return c, false
		}
		o := s.sorts[h][at]
		c.out[c.n] = o
		c.n++
		c.size += weight
		if suffices {
			return c, true
		}
		for x, class := range need.classes {
			s.lack[x] -= s.amounts[o.holds][class]
		}
	}
	return c, false
}

// helpful returns which sort on the host of a chance is to leave next, or -1; whether that suffices; and its weight.
func (s *search) helpful(need *size, k int32, c *chance) (found int, least float64, suffices bool) {
	found = -1
	part, most := s.part[int(c.host)*s.n:], 0.0
	for at, o := range s.sorts[c.host] {
		if o.size == k || s.noWhere[o.size] || c.taken(o) >= o.n {
			continue
		}
		holds, helps, enough := s.amounts[o.holds], 0.0, true
		for x, class := range need.classes {
			if s.lack[x] > 0 {
				helps += float64(float64(min(s.lack[x], holds[class])) * part[class])
				enough = enough && holds[class] >= s.lack[x]
			}
		}
		if helps == 0 || suffices && !enough {
			continue
		}
		w := s.heavy(o.holds, c.host, s.policy)
		better := found < 0 || enough && !suffices || helps > most || helps == most && w < least
		if enough && suffices {
			better = w < least
		}
		if better {
			found, suffices, most, least = at, enough, helps, w
		}
	}
	return found, least, suffices
}

// taken returns how many of a sort are among those that would go.
func (c *chance) taken(o sort) int {
	n := 0
	for _, x := range c.out[:c.n] {
		if x.size == o.size && x.holds == o.holds {
			n++
		}
	}
	return n
}

// swap carries a chance out, or nothing; stuck is whether one had nowhere to go.
func (s *search) swap(b *bundle, i int32, c *chance) (ok, stuck bool) {
	first := len(b.steps)
	for _, o := range c.out[:c.n] {
		j, to := s.one(c.host, o), int32(-1)
		stuck = s.noWhere[o.size]
		if j >= 0 && !stuck {
			var claims []pool.Claim
			if to, claims = s.best(j, s.where[i], s.policy); to >= 0 {
				s.take(b, j, to, claims)
				continue
			}
			stuck = true
			s.noWhere[o.size] = len(b.steps) == first
		}
		s.drop(b, first)
		return false, stuck
	}
	if s.fits(&s.sizes[s.size[i]], c.host) && s.budget.covers(0, s.bytes+b.bytes+s.copies[i]) {
		if claims, ok := s.accepts(i, c.host); ok {
			s.take(b, i, c.host, claims)
			b.sticky = b.sticky || len(s.hosts[c.host].Devices) > 0
			return true, false
		}
	}
	s.drop(b, first)
	return false, false
}

// one returns the first instance of a sort on a host that may be moved, or -1.
func (s *search) one(h int32, o sort) int32 {
	for _, j := range s.on[h] {
		if s.size[j] == o.size && s.holds[j] == o.holds && !s.moved[j] && s.stays[j] == "" {
			return j
		}
	}
	return -1
}
