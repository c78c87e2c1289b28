package rebalance

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/berthage/berthage/pool"
)

// loads is how hosts are used, column by column: of each class as it is booked, or the one that is measured.
type loads struct {
	n         int
	classes   []int     // of booked columns; nil: measured
	home      []int32   // where instances were to begin with
	base      []float64 // amount, to begin with
	amount    []float64 // by host and column
	capacity  []float64 // by host and column, 0 where the host takes no part
	measured  []float64 // by instance
	mean      []float64 // by column: of the hosts that take part
	tolerance float64
}

// newLoads reads how hosts are used now.
func newLoads(f *fleet, l Load) *loads {
	u := &loads{tolerance: f.options.Tolerance, home: slices.Clone(f.where)}
	if len(l.Hosts) > 0 {
		u.measure(f, l)
	} else {
		u.book(f)
	}
	u.base, u.mean = slices.Clone(u.amount), make([]float64, u.n)
	for c := range u.mean {
		sum, all := 0.0, 0.0
		for h := range f.hosts {
			if x := u.capacity[h*u.n+c]; x > 0 {
				sum, all = sum+u.amount[h*u.n+c], all+x
			}
		}
		if all > 0 {
			u.mean[c] = sum / all
		}
	}
	return u
}

// shares reports whether a host takes part.
func (f *fleet) shares(h int) bool { return f.noTarget[h] == "" && f.noSource[h] == "" }

func (u *loads) book(f *fleet) {
	for c := range f.classes {
		hosts, used := 0, false
		for h, rec := range f.hosts {
			if n := rec.Capacity[f.classes[c]]; n > 0 && f.shares(h) {
				hosts++
				used = used || f.free[h*f.n+c] < n
			}
		}
		if hosts > 1 && used {
			u.classes = append(u.classes, c)
		}
	}
	u.n = len(u.classes)
	u.amount, u.capacity = make([]float64, len(f.hosts)*u.n), make([]float64, len(f.hosts)*u.n)
	for h, rec := range f.hosts {
		for k, c := range u.classes {
			n := rec.Capacity[f.classes[c]]
			u.amount[h*u.n+k] = float64(n - f.free[h*f.n+c])
			if f.shares(h) {
				u.capacity[h*u.n+k] = float64(n)
			}
		}
	}
}

// measure makes one column of the measured loads. A host counts by its cores, where it has any.
func (u *loads) measure(f *fleet, l Load) {
	u.n = 1
	u.amount, u.capacity, u.measured = make([]float64, len(f.hosts)), make([]float64, len(f.hosts)), make([]float64, len(f.instances))
	for h, rec := range f.hosts {
		size, booked := u.size(f, h), 0.0
		for c, class := range f.classes {
			if n := rec.Capacity[class]; n > 0 {
				booked = max(booked, float64(n-f.free[h*f.n+c])/float64(n))
			}
		}
		load, ok := l.Hosts[rec.ID]
		if !ok {
			load = booked
		}
		u.amount[h] = float64(load * size)
		if f.shares(h) {
			u.capacity[h] = size
		}
		all := 0.0
		for _, i := range f.on[h] {
			all += f.weight(i, f.weights)
		}
		for _, i := range f.on[h] {
			if x, ok := l.Instances[f.instances[i].ID]; ok {
				u.measured[i] = float64(x * size)
			} else if all > 0 {
				u.measured[i] = float64(u.amount[h] * (f.weight(i, f.weights) / all))
			}
		}
	}
}

func (u *loads) size(f *fleet, h int) float64 {
	if n := f.hosts[h].Capacity[pool.CPU]; n > 0 {
		return float64(n)
	}
	return 1
}

// after returns the measured loads as they are to be expected when instances are where they are now.
func (u *loads) after(f *fleet, l Load) Load {
	if u.measured == nil {
		return l
	}
	amount := slices.Clone(u.base)
	out := Load{Hosts: maps.Clone(l.Hosts), Instances: maps.Clone(l.Instances)}
	if out.Instances == nil {
		out.Instances = make(map[pool.InstanceID]float64)
	}
	touched := make([]bool, len(f.hosts))
	for i, h := range u.home {
		if to := f.where[i]; to != h {
			amount[h], amount[to] = amount[h]-u.measured[i], amount[to]+u.measured[i]
			out.Instances[f.instances[i].ID] = u.measured[i] / u.size(f, int(to))
			touched[h], touched[to] = true, true
		}
	}
	for h := range touched {
		if touched[h] {
			out.Hosts[f.hosts[h].ID] = max(0, amount[h]/u.size(f, h))
		}
	}
	return out
}

// of returns how much an instance takes of a column.
func (u *loads) of(f *fleet, i int32, c int) float64 {
	if u.measured != nil {
		return u.measured[i]
	}
	return float64(f.amounts[f.holds[i]][u.classes[c]])
}

// beyond returns how far a host is beyond the tolerance, squared and summed, if an instance came or left: sign is 1 or -1.
func (u *loads) beyond(f *fleet, h, i int32, sign float64) float64 {
	sum := 0.0
	for c := range u.n {
		all := u.capacity[int(h)*u.n+c]
		if all == 0 {
			continue
		}
		amount := u.amount[int(h)*u.n+c]
		if i >= 0 {
			amount += float64(sign * u.of(f, i, c))
		}
		if d := math.Abs(amount/all-u.mean[c]) - u.tolerance; d > 1e-9 {
			sum += float64(d * d)
		}
	}
	return sum
}

// use returns how much of a host is used, of the class that is used most compared with the mean, and that difference.
func (u *loads) use(h int) (part, above float64, ok bool) {
	above = math.Inf(-1)
	for c := range u.n {
		all := u.capacity[h*u.n+c]
		if all == 0 {
			continue
		}
		if p := u.amount[h*u.n+c] / all; p-u.mean[c] > above {
			part, above, ok = p, p-u.mean[c], true
		}
	}
	return part, above, ok
}

// pair is an instance that could go to a host, and by how much that makes the use more even.
type pair struct {
	instance, to int32
	gain         float64
}

// balance moves instances one by one, each time the one that makes the use most even, from the host that is used most;
// or, if none is beyond the tolerance, to one that is used too little.
func (s *search) balance() {
	u := s.load
	enough := float64(u.tolerance*u.tolerance) / 400
	for s.ctx.Err() == nil && s.moves < s.budget.moves {
		var hosts []int32
		beyond := make(map[int32]float64)
		for h := range s.hosts {
			if _, above, ok := u.use(h); ok {
				hosts = append(hosts, int32(h))
				beyond[int32(h)] = above
			}
		}
		slices.SortFunc(hosts, func(a, b int32) int { return cmp.Or(cmp.Compare(beyond[b], beyond[a]), cmp.Compare(a, b)) })
		done := false
		for _, h := range hosts {
			if beyond[h] <= u.tolerance {
				break
			}
			if done = s.even(s.pairs(nil, h, hosts), enough); done {
				break
			}
		}
		for at := len(hosts) - 1; at >= 0 && !done; at-- {
			if u.beyond(s.fleet, hosts[at], -1, 0) == 0 {
				continue
			}
			var all []pair
			for _, from := range hosts[:min(at, 16)] {
				all = s.pairs(all, from, hosts[at:at+1])
			}
			done = s.even(all, enough)
		}
		if !done {
			return
		}
	}
}

// pairs adds which instances of a host could go where.
func (s *search) pairs(all []pair, from int32, hosts []int32) []pair {
	u := s.load
	now := u.beyond(s.fleet, from, -1, 0)
	var seen []sort
	for _, i := range s.on[from] {
		k := s.size[i]
		alike := sort{size: k, holds: s.holds[i]}
		if s.moved[i] || s.stays[i] != "" || u.measured == nil && slices.Contains(seen, alike) {
			continue
		}
		seen = append(seen, alike)
		gone := now - u.beyond(s.fleet, from, i, -1)
		for _, to := range hosts {
			if to == from || !s.open[to] || s.drivers[to] != s.drivers[from] || !s.fits(&s.sizes[k], to) {
				continue
			}
			if gain := gone + u.beyond(s.fleet, to, -1, 0) - u.beyond(s.fleet, to, i, 1); gain > 0 && s.may(k, to) {
				all = append(all, pair{i, to, gain})
			}
		}
		s.looks += int64(len(hosts))
	}
	return all
}

// even carries the best of the pairs out that everybody accepts.
func (s *search) even(all []pair, enough float64) bool {
	slices.SortFunc(all, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.gain, a.gain), cmp.Compare(a.instance, b.instance), cmp.Compare(a.to, b.to))
	})
	for n, x := range all {
		if x.gain < enough || n == 256 {
			return false
		}
		if !s.budget.covers(s.moves+1, s.bytes+s.copies[x.instance]) {
			continue
		}
		claims, ok := s.accepts(x.instance, x.to)
		if !ok {
			continue
		}
		from := s.where[x.instance]
		u := s.load
		for c := range u.n {
			n := u.of(s.fleet, x.instance, c)
			u.now(from, c, -n)
			u.now(x.to, c, n)
		}
		b := bundle{host: from, why: "host " + string(s.hosts[from].ID) + " is used more than host " + string(s.hosts[x.to].ID)}
		s.take(&b, x.instance, x.to, claims)
		s.keep(b)
		return true
	}
	return false
}

func (u *loads) now(h int32, c int, n float64) { u.amount[int(h)*u.n+c] += n }
