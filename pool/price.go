package pool

import "slices"

// Pricer is a Part that knows what things cost. What the place of an instance costs counts in the sums of its project, of those that it
// lies in and of its owner as an amount of Cost, so that it can be limited as any other class. After an event of
// the part's own all is counted anew; at most one of a State's parts is one.
type Pricer interface {
	Part
	// Rate returns what it costs an hour, in millionths of the currency, to hold resources on a host of a driver for an instance of a
	// flavor, which may be none. For an empty driver it is the least that it costs with any. It is zero or more, and the same
	// for the same until an event of the part's own has been folded. It must not keep or change r, and be quick.
	Rate(driver, flavor string, r Resources) int64
}

// Cost returns what it costs an hour, in millionths of the currency, to hold an allocation on a host for an instance of a flavor, by the
// prices that the books have, or of several flavors the dearest: zero where there is no price. Without a host it is the least that it
// costs anywhere.
func (s *State) Cost(host HostID, a Allocation, flavors ...string) (cost int64) {
	if s.pricer == 0 {
		return 0
	}
	by, driver := s.parts[s.pricer-1].(Pricer), host.Driver()
	for k, f := range flavors {
		if k == 0 || f != flavors[k-1] {
			cost = max(cost, by.Rate(driver, f, a.Resources))
		}
	}
	return cost
}

// CostOf returns what an instance costs an hour, as Cost: while it is resized, as the dearer of what it was and what it is to be, and nothing
// while it holds no place.
func (s *State) CostOf(i *Instance) int64 {
	if s.pricer == 0 || !i.Placed() {
		return 0
	}
	f := i.flavors()
	return s.Cost(i.Place.Host, i.Place.Allocation, f[:]...)
}

// Repriced returns the revision of the last change of prices that was applied to the State, or to what it is an overlay of; zero where
// there was none since it was made.
func (s *State) Repriced() Revision { return s.repriced }

// flavors are those that an instance has and is to have, which differ while it is resized.
type flavors [2]string

func (i *Instance) flavors() flavors {
	if i.Resize != nil {
		return flavors{i.Spec.Flavor, i.Resize.Sizes.Flavor}
	}
	return flavors{i.Spec.Flavor, i.Spec.Flavor}
}

// pricerOf returns where among the parts, counted from 1, the Pricer stands; 0 if there is none.
func pricerOf(parts []Part) int {
	return 1 + slices.IndexFunc(parts, func(p Part) bool { _, is := p.(Pricer); return is })
}

// reprice counts anew what everything costs, by prices that have changed, or changes nothing. Its own cost grows with the number of
// instances.
func (s *State) reprice(at Revision) error {
	own, total, owners := make(map[string]int64), make(map[string]int64), make(map[owned]int64)
	for i := range s.Instances() {
		if !i.Placed() {
			continue
		}
		cost, ok := addInt64(i.Place.Allocation.Resources[Cost], s.CostOf(i)) // older ledgers may have an operator's own class of that name
		if !ok {
			return errSum(Cost)
		}
		for p := range s.Above(i.Project) {
			sum, ok := addInt64(total[p.Name], cost)
			if !ok {
				return errSum(Cost)
			}
			total[p.Name] = sum
		}
		own[i.Project] += cost // which is part of a total
		if i.Owner != "" {
			owners[owned{i.Project, i.Owner}] += cost
		}
	}
	var changed []string
	for name, p := range s.projects.all() {
		if p.Used[Cost] != own[name] || p.Total()[Cost] != total[name] {
			changed = append(changed, name)
		}
	}
	for _, name := range changed {
		p := s.editProject(name)
		p.Used.put(Cost, own[name])
		if p.Children > 0 {
			p.Subtree.put(Cost, total[name])
		}
		p.Changed = at
	}
	others := make(map[owned]Resources)
	for of, used := range s.owners.all() {
		if used[Cost] != owners[of] {
			others[of] = used.copy()
		}
	}
	for of, used := range others {
		used.put(Cost, owners[of])
		s.owners.set(of, used)
	}
	s.repriced = at
	return nil
}

// priced adds what places cost to what the records of instances say of projects and owners: prices stand after them.
func (l *loading) priced() error {
	for i := range l.s.Instances() {
		cost := l.s.CostOf(i)
		if cost == 0 {
			continue
		}
		if err := l.projects[i.Project].used.raise(Cost, cost); err != nil {
			return err
		}
		if i.Owner != "" { // whose sum is no more
			used, _ := l.s.owners.get(owned{i.Project, i.Owner})
			used.put(Cost, used[Cost]+cost)
		}
	}
	return nil
}
