package rebalance

import (
	"errors"
	"fmt"
	"slices"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// ErrNoGain: the moves would bring nothing, by the State as it is.
var ErrNoGain = errors.New("the moves bring no gain")

// Verify checks moves that were planned for a goal against a State that may have changed since: that each is feasible
// when its turn comes, wave by wave with both copies counted, that the scheduler accepts its target, and that there is
// still a gain. It believes nothing of the plan, and looks at the hosts of the moves only, so that it costs the same in
// the largest pool:
//
//   - Defragment: fewer of these hosts are in use when all moves are done.
//   - Drain: something leaves Options.Hosts, and nothing comes to them.
//   - Repair: every instance is where it must not be, or its host is over its capacity of what it takes; or its move makes
//     room on a host for a later one that does.
//   - Balance: of both hosts of a move, the fuller one is less full than the fuller one was, each counted by the class of
//     which it has least left. So that no sequence of moves leads back to where it began.
//
// The error is ErrNoGain, a *scheduler.Refusal of a target, or pool.ErrNotFound or pool.ErrWrongState for an instance or
// a host that is not as planned. The rest of a plan is verified in the same way as the whole.
func Verify(st *pool.State, s *scheduler.Scheduler, o Options, moves []Move) error {
	if s == nil {
		s = new(scheduler.Scheduler)
	}
	p := &planner{scheduler: s, options: &o}
	next := st.Overlay()
	for rest := moves; len(rest) > 0; {
		n := wave(rest)
		for at := range rest[:n] {
			m := rest[at] // a copy: what it takes there is worked out anew
			room := m.For != m.From && slices.ContainsFunc(rest[at+1:], func(x Move) bool { return x.To == m.From && x.For == m.For })
			if err := p.check(next, &m, room); err != nil {
				return err
			}
		}
		for at := range rest[:n] {
			if err := end(next, &rest[at]); err != nil {
				return err
			}
		}
		rest = rest[n:]
	}
	switch o.Goal {
	case Repair, Balance:
		return nil
	case Drain:
		if !slices.ContainsFunc(moves, func(m Move) bool { return slices.Contains(o.Hosts, m.From) }) {
			return fmt.Errorf("%w: nothing leaves the hosts that are to be drained", ErrNoGain)
		}
		return nil
	}
	fewer := 0
	for id, h := range next.ChangedHosts() {
		old, ok := st.Host(id)
		if ok && inUse(old) {
			fewer++
		}
		if h != nil && inUse(h) {
			fewer--
		}
	}
	if fewer <= 0 {
		return fmt.Errorf("%w: no fewer hosts would be in use", ErrNoGain)
	}
	return nil
}

// check begins a move, if it may be made. One that makes room for another gains nothing by itself.
func (p *planner) check(st *pool.State, m *Move, room bool) error {
	wrong := func(want string) error {
		return &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(m.Instance), Want: want}
	}
	i, ok := st.Instance(m.Instance)
	switch {
	case !ok:
		return &pool.Error{Kind: pool.ErrNotFound, Field: "instance", Value: string(m.Instance)}
	case i.Place.Host != m.From || i.Phase != pool.Active:
		return wrong("an active instance on host " + pool.Quote(string(m.From)))
	case i.Move != nil || i.Resize != nil:
		return wrong("an instance that is neither being moved nor resized")
	}
	if err := p.gains(st, i, m); err != nil && !(room && errors.Is(err, ErrNoGain) && p.options.Goal == Repair) {
		return err
	}
	d, err := p.ask(st, i, m.To)
	if err != nil {
		return err
	}
	m.Allocation = d.Allocation
	return begin(st, m)
}

// gains reports, as an error, that a single move brings nothing towards the goal. What it is about several of them only
// is not asked here.
func (p *planner) gains(st *pool.State, i *pool.Instance, m *Move) error {
	from, ok := st.Host(m.From)
	to, there := st.Host(m.To)
	if !ok || !there {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(m.From) + ", " + string(m.To)}
	}
	no := func(why string) error { return fmt.Errorf("%w: instance %s: %s", ErrNoGain, i.ID, why) }
	switch p.options.Goal {
	case Drain:
		if slices.Contains(p.options.Hosts, m.To) {
			return no("it would come to a host that is to be drained")
		}
	case Repair:
		for c, n := range i.Place.Allocation.Resources {
			if n > 0 && from.Used[c] > from.Capacity[c] {
				return nil
			}
		}
		for _, c := range i.Place.Allocation.Claims {
			if d := from.Device(c.Device); d == nil || from.DeviceUsed[c.Device] > d.Capacity() {
				return nil
			}
		}
		rec, err := without(from, i)
		if err != nil {
			return err
		}
		_, err = p.scheduler.PlaceAt(rec, scheduler.Request{Spec: i.Spec, Image: i.Image, Project: i.Project, Cluster: i.Cluster, Leaves: from.ID, Now: st.Time()}.In(st))
		if err == nil {
			return no("it may stay where it is")
		}
		if !errors.Is(err, pool.ErrNoRoom) {
			return err
		}
	case Balance:
		arrived := *to
		var err error
		if arrived.Used, err = to.Used.Add(i.Place.Allocation.Resources); err != nil {
			return err
		}
		rec, err := without(from, i)
		if err != nil {
			return err
		}
		if max(fullness(rec), fullness(&arrived)) >= max(fullness(from), fullness(to)) {
			return no("the hosts would be no more evenly used")
		}
	}
	return nil
}

// without returns a host's record as if an instance were not on it, and as if it accepted others.
func without(h *pool.HostRecord, i *pool.Instance) (*pool.HostRecord, error) {
	rec := *h
	var err error
	if rec.Used, err = h.Used.Sub(i.Place.Allocation.Resources); err != nil {
		return nil, err
	}
	rec.DeviceUsed = make(map[string]int64, len(h.DeviceUsed))
	for d, n := range h.DeviceUsed {
		rec.DeviceUsed[d] = n
	}
	for _, c := range i.Place.Allocation.Claims {
		rec.DeviceUsed[c.Device] -= c.Amount
	}
	rec.Placed--
	rec.Conditions = pool.Ready
	return &rec, nil
}

// fullness is the part of a host that is used of the class of which it has least left.
func fullness(h *pool.HostRecord) float64 {
	most := 0.0
	for c, n := range h.Capacity {
		if n > 0 {
			most = max(most, float64(h.Used[c])/float64(n))
		}
	}
	return most
}
