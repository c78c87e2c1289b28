package berthage

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/rebalance"
	"github.com/berthage/berthage/scheduler/whatif"
)

// RebalancePlan is a plan of moves and the books on which it rests.
type RebalancePlan struct {
	rebalance.Result
	Revision pool.Revision `json:"revision"`
	Hosts    []pool.HostID `json:"hosts,omitempty"` // that were to be drained
	Cold     bool          `json:"cold,omitempty"`  // instances may be stopped for their move
}

// PlanRebalance plans moves on the present books, which it does not change. Besides what the options leave alone, so are
// instances that are not yet what they are wanted to be, hosts that take part in a move already, and what drivers cannot
// move: running, unless cold is leave to stop an instance for it.
//
// Errors are those of rebalance.Plan. It works on a copy of the books, whose cost grows with the number of records; the
// search is bounded by Options.Effort.
func (m *Manager) PlanRebalance(ctx context.Context, o rebalance.Options, cold bool) (*RebalancePlan, error) {
	p, err := m.planOn(ctx, m.ring.Fork(), o, cold)
	return p, named(err, "plan a rebalance")
}

func (m *Manager) planOn(ctx context.Context, st *pool.State, o rebalance.Options, cold bool) (*RebalancePlan, error) {
	o.Leave = slices.Clone(o.Leave)
	for i := range st.Instances() {
		if i.Move != nil {
			o.Leave = append(o.Leave, i.Place.Host, i.Move.Host)
		}
	}
	stays, unreachable := o.Stays, o.Unreachable
	o.Stays = func(i *pool.Instance) string {
		if !i.Settled() {
			return "it is not yet what it is wanted to be"
		}
		if stays == nil {
			return ""
		}
		return stays(i)
	}
	o.Unreachable = func(i *pool.Instance, from, to *pool.Host) string {
		if o.Goal != rebalance.Drain && ring.Overflown(to, i.Spec) && !ring.Overflown(from, i.Spec) { // from where it would be brought back
			return "host " + pool.Quote(string(to.ID)) + " is taken only for want of room elsewhere"
		}
		if why := m.ring.Unreachable(i, from.ID, to.ID, cold); why != "" || unreachable == nil {
			return why
		}
		return unreachable(i, from, to)
	}
	r, err := rebalance.Plan(ctx, st, m.ring.Scheduler(), o)
	if err != nil {
		return nil, err
	}
	return &RebalancePlan{Result: *r, Revision: st.Head(), Hosts: slices.Clone(o.Hosts), Cold: cold}, nil
}

// Carried is how far a plan has been carried out.
type Carried struct {
	Moves  int   `json:"moves"`  // of the plan
	Moving int   `json:"moving"` // under way
	Moved  int   `json:"moved"`  // have ended where they were to
	Stayed int   `json:"stayed"` // were ordered and came to nothing
	Bytes  int64 `json:"bytes"`  // of what was ordered
}

// CarryOut carries a plan out, a wave at a time and of a wave at most atATime moves side by side (zero is all), and calls
// told, which may be nil, after each step, from its own goroutine. It returns when all has been moved, or when it has to
// stop: with ctx's error once ctx has ended, or with the reason for which what is left of the plan no longer stands.
// Moves that have been ordered are finished all the same, and what is then done is as good as it is: a new plan begins
// from there.
//
// Each wave is one commit, all or nothing, in which every move is checked anew, with the rest of the plan, on the books
// as they are then: an instance that somebody has changed since the plan was made, a place that is no longer free, a
// gain that is no longer there are pool.ErrWrongState or a *scheduler.Refusal.
func (m *Manager) CarryOut(ctx context.Context, p *RebalancePlan, atATime int, told func(Carried)) (Carried, error) {
	c := carrier{m: m, plan: p, told: told, done: Carried{Moves: len(p.Moves)}}
	err := c.run(ctx, inSteps(p.Moves, atATime))
	return c.done, named(err, "rebalance")
}

// carrier carries a plan out.
type carrier struct {
	m       *Manager
	plan    *RebalancePlan
	epoch   int64                       // of the leader that carries it out by itself
	told    func(Carried)               //
	may     func([]rebalance.Move) bool // asked before each wave; nil: yes
	changed map[pool.InstanceID]pool.Revision
	done    Carried
}

// inSteps returns moves with waves of at most n. That each of a wave is feasible while all others of it are under way
// makes it feasible too once some of them are done.
func inSteps(moves []rebalance.Move, n int) []rebalance.Move {
	out := slices.Clone(moves)
	number, size := 0, 0
	for at := range out {
		if at > 0 && (moves[at].Wave != moves[at-1].Wave || n > 0 && size == n) {
			number, size = number+1, 0
		}
		out[at].Wave = number
		size++
	}
	return out
}

// errPaused: no more may be moved now.
var errPaused = errors.New("not now")

func (c *carrier) run(ctx context.Context, rest []rebalance.Move) error {
	c.changed = make(map[pool.InstanceID]pool.Revision)
	var err error
	c.m.View(func(st *pool.State) {
		for _, m := range rest {
			i, ok := st.Instance(m.Instance)
			if !ok || i.Changed > c.plan.Revision {
				err = &pool.Error{Kind: pool.ErrWrongState, Field: "instance", Value: string(m.Instance), Want: "an instance that nobody has changed since the plan was made"}
				return
			}
			c.changed[m.Instance] = i.Changed
		}
	})
	for err == nil && len(rest) > 0 {
		n := slices.IndexFunc(rest, func(m rebalance.Move) bool { return m.Wave != rest[0].Wave })
		if n < 0 {
			n = len(rest)
		}
		if c.may != nil && !c.may(rest[:n]) {
			return errPaused
		}
		if err = c.order(ctx, rest, n); err == nil {
			err = c.wait(ctx, rest[:n])
		}
		rest = rest[n:]
	}
	return err
}

// order gives the command for the first n of the moves that are left.
func (c *carrier) order(ctx context.Context, rest []rebalance.Move, n int) error {
	goal := or(c.plan.Goal, rebalance.Defragment)
	command := &ring.Rebalance{Goal: goal, Hosts: c.plan.Hosts, Moves: rest, Cold: c.plan.Cold, Changed: make(map[pool.InstanceID]pool.Revision), Epoch: c.epoch}
	for _, m := range rest[:n] {
		command.Changed[m.Instance] = c.changed[m.Instance]
	}
	if err := c.m.do(ctx, ring.Command{Rebalance: command}); err != nil {
		return err
	}
	c.done.Moving = n
	for _, m := range rest[:n] {
		c.done.Bytes += m.Bytes
	}
	c.tell()
	return nil
}

func (c *carrier) tell() {
	if c.told != nil {
		c.told(c.done)
	}
}

// wait returns when none of the moves is under way any more.
func (c *carrier) wait(ctx context.Context, moves []rebalance.Move) error {
	for {
		changed, epoch := c.m.ring.Changed(), int64(0)
		moving, moved := 0, 0
		c.m.View(func(st *pool.State) {
			epoch = st.Epoch()
			for _, m := range moves {
				switch i, ok := st.Instance(m.Instance); {
				case ok && i.Move != nil && i.Move.Host == m.To:
					moving++
				case ok && i.Place.Host == m.To && i.Move == nil:
					moved++
					c.changed[m.Instance] = i.Changed
				}
			}
		})
		if moving != c.done.Moving || moving == 0 {
			c.done.Moving = moving
			if moving == 0 {
				c.done.Moved, c.done.Stayed = c.done.Moved+moved, c.done.Stayed+len(moves)-moved
			}
			c.tell()
		}
		switch {
		case moving == 0:
			return nil
		case c.epoch != 0 && epoch != c.epoch:
			return &pool.Error{Kind: pool.ErrNotLeader, Field: "epoch"}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WhatIfDemand is a number of instances of one spec, as they would be launched.
type WhatIfDemand struct {
	Name    string    `json:"name,omitempty"` // for people
	Spec    pool.Spec `json:"spec"`
	Project string    `json:"project"`
	Count   int       `json:"count"`

	// Fits asks only how many more would fit, before and after (whatif.Answer.HowMany); Count does not matter.
	Fits bool `json:"fits,omitempty"`
}

// WhatIf answers a question about a copy of the present books, which it does not change. Demand is added to that of the
// question, with flavors and images looked up as for a launch.
//
// Errors are those of whatif.Ask, and of a launch for a demand that is malformed.
func (m *Manager) WhatIf(ctx context.Context, q whatif.Question, demand []WhatIfDemand, o whatif.Options) (*whatif.Answer, error) {
	const op = "ask what if"
	st := m.ring.Fork()
	q.Demand, q.HowMany = slices.Clone(q.Demand), slices.Clone(q.HowMany)
	for n, d := range demand {
		req, err := m.ring.Resolve(st, Launch{Token: "what-if", Project: d.Project, Name: "what-if", Spec: d.Spec})
		if err != nil {
			return nil, named(pool.InField("demand["+strconv.Itoa(n)+"]", err), op)
		}
		asked := whatif.Demand{Name: d.Name, Spec: req.Spec, Image: req.Image, Project: d.Project, Count: d.Count}
		if d.Fits {
			q.HowMany = append(q.HowMany, asked)
		} else {
			q.Demand = append(q.Demand, asked)
		}
	}
	a, err := whatif.Ask(ctx, st, m.ring.Scheduler(), q, o)
	return a, named(err, op)
}
