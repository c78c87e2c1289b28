package ring

import (
	"errors"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// Rebalance wants the first wave of what is left of a plan moved, all of it or nothing, if the whole of it stands on the
// books as they are: every move of it is feasible, one after another with both copies counted, and together they are a
// gain.
type Rebalance struct {
	Goal  rebalance.Goal   `json:"goal"`
	Hosts []pool.HostID    `json:"hosts,omitempty"` // to be drained
	Moves []rebalance.Move `json:"moves"`
	Cold  bool             `json:"cold,omitempty"` // instances may be stopped for it, where they cannot be moved running

	// Changed is by instance of the first wave the revision of its record on which the plan rests: what somebody has
	// changed since is left alone.
	Changed map[pool.InstanceID]pool.Revision `json:"changed"`

	Epoch int64 `json:"epoch,omitempty"` // of the leader that wants it by itself; zero: a caller
}

func (c *Rebalance) decide(r *rules, st *pool.State) ([]pool.Event, error) {
	if c.Epoch != 0 && c.Epoch != st.Epoch() {
		return nil, &pool.Error{Kind: pool.ErrNotLeader, Field: "epoch"}
	}
	switch c.Goal {
	case rebalance.Defragment, rebalance.Drain, rebalance.Repair, rebalance.Balance:
	default:
		return nil, invalid("goal", string(c.Goal), "defragment, drain, repair or balance")
	}
	first := 0
	for first < len(c.Moves) && c.Moves[first].Wave == c.Moves[0].Wave {
		first++
	}
	if first == 0 {
		return nil, invalid("moves", "", "at least one move")
	}
	if c.made(st, c.Moves[:first]) {
		return nil, nil
	}
	for _, m := range c.Moves[:first] {
		i, err := unbusy(st, m.Instance)
		if err != nil {
			return nil, err
		}
		if i.Changed != c.Changed[m.Instance] || !i.Settled() {
			return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(m.Instance), Want: "an instance that nobody has changed since the plan was made"}
		}
	}
	err := rebalance.Verify(st, r.scheduler, rebalance.Options{Goal: c.Goal, Hosts: c.Hosts}, c.Moves)
	if errors.Is(err, rebalance.ErrNoGain) {
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "moves", Want: "moves that bring a gain on the books as they are", Cause: err}
	}
	if err != nil {
		return nil, err
	}
	d := r.draft(st)
	for _, m := range c.Moves[:first] {
		i, err := unbusy(d.st, m.Instance)
		if err != nil {
			return nil, err
		}
		events, err := r.moving(d.st, i, m.To, c.Cold, nil, nil)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if err := d.take(e); err != nil {
				return nil, err
			}
		}
	}
	return d.done(), nil
}

// made reports whether the moves are under way or done already: the command is repeated.
func (c *Rebalance) made(st *pool.State, moves []rebalance.Move) bool {
	for _, m := range moves {
		i, ok := st.Instance(m.Instance)
		if !ok || i.Place.Host != m.To && (i.Move == nil || i.Move.Host != m.To) {
			return false
		}
	}
	return true
}

// Fork returns a copy of the committed State, which is the caller's own. Its cost grows with the number of records.
func (r *Ring) Fork() *pool.State {
	var st *pool.State
	r.View(func(now *pool.State) { st = now.Clone() })
	return st
}

// Scheduler returns what places here, with the filter for what drivers can do.
func (r *Ring) Scheduler() *scheduler.Scheduler { return r.rules.scheduler }

// Resolve returns what the scheduler is asked for a launch, by the books of st.
func (r *Ring) Resolve(st *pool.State, c Launch) (scheduler.Request, error) {
	req, _, err := c.resolve(r.rules.at(st.Time()), st)
	return req, err
}

// Unreachable says why a machine cannot be moved from one host to another by what their drivers can do; empty: it can.
// Cold is leave to stop it.
func (r *Ring) Unreachable(i *pool.Instance, from, to pool.HostID, cold bool) string {
	for _, h := range []pool.HostID{from, to} {
		switch can := r.Capabilities(h).Abilities; {
		case !has(can, string(hypervisor.CanMigrate)):
			return "the driver of host " + pool.Quote(string(h)) + " cannot move machines"
		case !inMemory(i) && !cold:
			return "a hibernated instance cannot be moved without losing its memory"
		case !stopped(i) && !cold && !has(can, string(hypervisor.CanMigrateLive)):
			return "host " + pool.Quote(string(h)) + " cannot move running machines"
		}
	}
	return ""
}
