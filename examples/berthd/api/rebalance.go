package api

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// keptPlans is how many plans of moves are kept in memory; those that are being carried out stay.
const keptPlans = 32

// RebalanceBody asks for a plan of moves.
type RebalanceBody struct {
	Goal      string            `json:"goal,omitempty" enum:"defragment,drain,repair,balance" doc:"defragment: hosts become empty; drain: the named hosts; repair: what is where it must not be, and hosts over their capacity; balance: hosts are used alike" default:"defragment"`
	Hosts     []string          `json:"hosts,omitempty" maxItems:"1000" doc:"To be drained"`
	Moves     int               `json:"moves,omitempty" minimum:"0" maximum:"100000" doc:"At most so many moves; 0: no bound"`
	Bytes     int64             `json:"bytes,omitempty" minimum:"0" doc:"At most so many bytes of memory and disks; 0: no bound"`
	PerHost   int               `json:"per_host,omitempty" minimum:"0" maximum:"100" doc:"Moves side by side from or to one host; 0: 1"`
	AtATime   int               `json:"at_a_time,omitempty" minimum:"0" maximum:"1000" doc:"Moves side by side in the pool, when the plan is carried out; 0: 4"`
	Cold      bool              `json:"cold,omitempty" doc:"Leave to stop instances for their move, where they cannot be moved running"`
	Pinned    map[string]string `json:"pinned,omitempty" doc:"Instances with one of these labels are not moved"`
	Tolerance float64           `json:"tolerance,omitempty" minimum:"0" maximum:"1" doc:"Of balance: how far from the mean the use of a host may be, as a part of its capacity; 0: 0.05"`
}

// RebalancePlan is a plan of moves, and how far it has been carried out.
type RebalancePlan struct {
	ID       string           `json:"id"`
	Goal     string           `json:"goal" enum:"defragment,drain,repair,balance"`
	State    string           `json:"state" enum:"planned,running,done,stopped,ended" doc:"stopped: by somebody; ended: what was left of it no longer stood"`
	Reason   string           `json:"reason,omitempty" doc:"Why it ended"`
	Revision int64            `json:"revision" doc:"Of the books on which it rests"`
	Made     time.Time        `json:"made"`
	Summary  string           `json:"summary" doc:"What is gained by how many moves" example:"6 moves in 3 waves, 72 GiB: 4 hosts in use, then 2"`
	Bytes    int64            `json:"bytes" doc:"Moved in all"`
	Before   RebalanceFigures `json:"before"`
	After    RebalanceFigures `json:"after"`
	Emptied  []string         `json:"emptied" nullable:"false" doc:"Hosts in use before and not after"`
	Moves    []PlannedMove    `json:"moves" nullable:"false" doc:"In the order in which they are to be made"`
	Skipped  []SkippedMove    `json:"skipped" nullable:"false" doc:"What is left alone, and why; at most 500"`
	Carried  Carried          `json:"carried"`
}

// RebalanceFigures describe the pool before or after.
type RebalanceFigures struct {
	Hosts      int     `json:"hosts" doc:"In use"`
	On         int     `json:"on" doc:"Instances on the hosts to be drained"`
	Violations int     `json:"violations" doc:"Instances where they must not be"`
	Overloaded int     `json:"overloaded" doc:"Hosts over their capacity"`
	Uneven     int     `json:"uneven" doc:"Hosts outside the tolerance"`
	LeastUse   float64 `json:"least_use" doc:"Of any host, as a part of its capacity"`
	MostUse    float64 `json:"most_use"`
}

// PlannedMove is one step.
type PlannedMove struct {
	Instance string `json:"instance"`
	Name     string `json:"name"`
	Project  string `json:"project"`
	From     string `json:"from"`
	To       string `json:"to"`
	Bytes    int64  `json:"bytes"`
	Wave     int    `json:"wave" doc:"Moves of one wave may go side by side"`
	Why      string `json:"why"`
}

// SkippedMove is what is left alone.
type SkippedMove struct {
	Host     string `json:"host"`
	Instance string `json:"instance,omitempty"`
	Reason   string `json:"reason"`
}

// Carried is how far a plan has been carried out.
type Carried struct {
	Moves  int   `json:"moves" doc:"Of the plan"`
	Moving int   `json:"moving" doc:"Under way"`
	Moved  int   `json:"moved" doc:"Have ended where they were to"`
	Stayed int   `json:"stayed" doc:"Were ordered and came to nothing"`
	Bytes  int64 `json:"bytes" doc:"Of what was ordered"`
}

// Rebalancing is what the daemon does about moves by itself.
type Rebalancing struct {
	Mode    string         `json:"mode" enum:"off,recommend,automatic"`
	Goal    string         `json:"goal" enum:"defragment,repair,balance"`
	Running bool           `json:"running" doc:"A plan is being carried out by itself"`
	Waiting string         `json:"waiting,omitempty" doc:"Why nothing is moved now"`
	Ended   string         `json:"ended,omitempty" doc:"Why the last plan was not carried out to the end"`
	Planned *RebalancePlan `json:"planned,omitempty" doc:"The last plan that was made by itself"`
}

// plans are those that people have asked for, in memory: nothing of them is in the books.
type plans struct {
	mu   sync.Mutex
	list []*kept // the oldest first
	last int64   // number that was given
}

// shown is a plan as a list shows it.
type shown struct {
	number int64 // in the order in which they were made
	plan   RebalancePlan
}

func (p *plans) shown() []shown {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]shown, 0, len(p.list))
	for _, k := range p.list {
		out = append(out, shown{k.number, k.show})
	}
	return out
}

// kept is one of them. All but plan and body is guarded by plans.mu.
type kept struct {
	plan    *berthage.RebalancePlan
	number  int64
	show    RebalancePlan
	atATime int
	stop    context.CancelFunc // while it is being carried out
}

func (p *plans) add(k *kept) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	k.number = p.last
	p.list = append(p.list, k)
	for n := 0; len(p.list) > keptPlans && n < len(p.list); n++ {
		if p.list[n].stop == nil {
			p.list = slices.Delete(p.list, n, n+1)
			n--
		}
	}
}

// find calls use with a plan, under the lock.
func (p *plans) find(id string, use func(*kept) error) (*planOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.list {
		if k.show.ID == id {
			if err := use(k); err != nil {
				return nil, err
			}
			return &planOutput{Body: k.show}, nil
		}
	}
	n := problem.NotFound.New("there is no such plan, or it is no longer kept")
	n.Field, n.Want = "id", "a plan that this daemon has made since its start"
	return nil, n
}

type planOutput struct {
	Location string `header:"Location" doc:"Path of the plan"`
	Body     RebalancePlan
}

type planPath struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the plan"`
}

// mostSkipped bounds what is shown of what is left alone.
const mostSkipped = 500

func rebalancePlan(p *berthage.RebalancePlan, made time.Time) RebalancePlan {
	figures := func(f rebalance.Figures) RebalanceFigures {
		return RebalanceFigures{Hosts: f.Hosts, On: f.On, Violations: f.Violations, Overloaded: f.Overloaded, Uneven: f.Uneven, LeastUse: f.LeastUse, MostUse: f.MostUse}
	}
	out := RebalancePlan{
		Goal: string(p.Goal), State: "planned", Revision: int64(p.Revision), Made: made.UTC(), Summary: p.String(), Bytes: p.Bytes,
		Before: figures(p.Before), After: figures(p.After), Emptied: names(p.Emptied), Moves: []PlannedMove{}, Skipped: []SkippedMove{},
		Carried: Carried{Moves: len(p.Moves)},
	}
	for _, m := range p.Moves {
		out.Moves = append(out.Moves, PlannedMove{
			Instance: string(m.Instance), Name: m.Name, Project: m.Project, From: string(m.From), To: string(m.To), Bytes: m.Bytes, Wave: m.Wave, Why: m.Why,
		})
	}
	for _, s := range p.Skipped[:min(len(p.Skipped), mostSkipped)] {
		out.Skipped = append(out.Skipped, SkippedMove{Host: string(s.Host), Instance: string(s.Instance), Reason: s.Reason})
	}
	return out
}

func (b *RebalanceBody) options() rebalance.Options {
	return rebalance.Options{
		Goal: rebalance.Goal(b.Goal), Hosts: hostIDs(b.Hosts), Budget: rebalance.Budget{Moves: b.Moves, Bytes: b.Bytes, PerHost: b.PerHost},
		Pinned: b.Pinned, Tolerance: b.Tolerance,
	}
}

func (a *api) registerRebalance() {
	op := describe("plan-rebalance", http.MethodPost, "/rebalance-plans", "Plans", "Plan moves",
		"An ordered list of moves towards a goal, on the present books, with what is gained, what it costs, and why the rest is left alone. It moves nothing until it is started. The daemon keeps its last plans in memory.", 404)
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Plans, auth.Create), nowhere, withExample(op, RebalanceBody{Goal: "defragment", Moves: 20}), func(ctx context.Context, in *struct{ Body RebalanceBody }) (*planOutput, error) {
		return planned(ctx, a, func(ctx context.Context) (*planOutput, error) {
			p, err := a.c.Manager.PlanRebalance(ctx, in.Body.options(), in.Body.Cold)
			if err != nil {
				return nil, err
			}
			k := &kept{plan: p, show: rebalancePlan(p, time.Now()), atATime: in.Body.AtATime}
			if k.atATime == 0 {
				k.atATime = 4
			}
			k.show.ID = rand.Text()
			a.plans.add(k)
			return &planOutput{Location: prefix + "/rebalance-plans/" + k.show.ID, Body: k.show}, nil
		})
	})
	register(a, shows(auth.Plans), nowhere, describe("list-rebalance-plans", http.MethodGet, "/rebalance-plans", "Plans", "List plans of moves",
		"The plans that this daemon keeps, the newest first."),
		func(ctx context.Context, in *Paging) (*pageOutput[RebalancePlan], error) {
			all := a.plans.shown()
			return list(ctx, a, in, auth.Plans, inNone, func(*pool.State) iter.Seq[shown] { return slices.Values(all) },
				func(p shown) string { return fmt.Sprintf("%019d", math.MaxInt64-p.number) }, func(p shown) RebalancePlan { return p.plan })
		})
	register(a, reads(auth.Plans), nowhere, describe("get-rebalance-plan", http.MethodGet, "/rebalance-plans/{id}", "Plans", "Get a plan of moves",
		"The plan, and how far it has been carried out.", 404),
		func(_ context.Context, in *planPath) (*planOutput, error) {
			return a.plans.find(in.ID, func(*kept) error { return nil })
		})
	op = describe("start-rebalance-plan", http.MethodPost, "/rebalance-plans/{id}/start", "Plans", "Carry a plan out",
		"Wave by wave, each checked anew, with all that is left of the plan, on the books as they are then: what has changed since, no longer fits or no longer gains anything ends it. A plan that is being carried out, or was, is left as it is.", 404)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Plans, auth.Operate), nowhere, op, func(ctx context.Context, in *planPath) (*planOutput, error) {
		return a.plans.find(in.ID, func(k *kept) error {
			if k.show.State == "planned" {
				a.carryOut(ctx, k)
			}
			return nil
		})
	})
	op = describe("stop-rebalance-plan", http.MethodPost, "/rebalance-plans/{id}/stop", "Plans", "Stop a plan",
		"No further move of it is begun; those under way end by themselves. It can be stopped at any moment, and a new plan goes on from there.", 404)
	op.DefaultStatus = http.StatusAccepted
	register(a, may(auth.Plans, auth.Operate), nowhere, op, func(_ context.Context, in *planPath) (*planOutput, error) {
		return a.plans.find(in.ID, func(k *kept) error {
			if k.stop != nil {
				k.stop()
			}
			return nil
		})
	})
	register(a, reads(auth.Rebalancing), nowhere, describe("get-rebalancing", http.MethodGet, "/rebalancing", "Plans", "What is moved by itself",
		"The mode of the daemon, the last plan that it has made by itself, how far that has been carried out, and why nothing is moved now. Only the daemon that leads plans."),
		func(context.Context, *struct{}) (*struct{ Body Rebalancing }, error) {
			s := a.c.Manager.Rebalancing()
			out := &struct{ Body Rebalancing }{Rebalancing{Mode: string(s.Mode), Goal: string(s.Goal), Running: s.Running, Waiting: s.Waiting, Ended: s.Ended}}
			if s.Mode == berthage.RebalanceOff {
				out.Body.Mode = "off"
			}
			if s.Planned != nil {
				p := rebalancePlan(s.Planned, s.At)
				p.ID, p.Carried = "by-itself", Carried(s.Carried)
				out.Body.Planned = &p
			}
			return out, nil
		})
}

// carryOut begins to carry a plan out; it is called with plans.mu held.
func (a *api) carryOut(ctx context.Context, k *kept) {
	m := a.lasting(ctx)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	k.stop, k.show.State = cancel, "running"
	go func() {
		select {
		case <-a.c.Drain:
			cancel()
		case <-ctx.Done():
		}
	}()
	go func() {
		defer cancel()
		_, err := m.CarryOut(ctx, k.plan, k.atATime, func(c berthage.Carried) {
			a.plans.mu.Lock()
			defer a.plans.mu.Unlock()
			k.show.Carried = Carried(c)
		})
		a.plans.mu.Lock()
		defer a.plans.mu.Unlock()
		k.stop, k.show.State = nil, "done"
		switch {
		case err == nil:
		case ctx.Err() != nil:
			k.show.State = "stopped"
		default:
			k.show.State, k.show.Reason = "ended", problem.From(err).Detail
		}
	}()
}
