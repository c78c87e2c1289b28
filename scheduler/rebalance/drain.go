package rebalance

import (
	"cmp"
	"slices"
)

// drain moves the instances of the hosts to be drained elsewhere, those with the fewest first, so that a budget
// finishes as many of them as it can.
func (s *search) drain() {
	var hosts []int32
	for _, id := range s.options.Hosts {
		at, ok := s.index(id)
		if ok && s.noSource[at] == "" && !slices.Contains(hosts, at) {
			hosts = append(hosts, at)
		}
	}
	slices.SortFunc(hosts, func(a, b int32) int { return cmp.Or(len(s.on[a])-len(s.on[b]), cmp.Compare(a, b)) })
	for _, h := range hosts {
		here := slices.Clone(s.on[h])
		slices.SortFunc(here, s.larger(s.policy))
		for _, i := range here {
			if s.ctx.Err() != nil {
				return
			}
			s.single(i, "host "+string(s.hosts[h].ID)+" is to be drained")
		}
	}
}
