package rebalance

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// ErrRefused: the scheduler goes on refusing what the search has found. It is a mistake of ours, or of a filter that
// depends on more than its arguments.
var ErrRefused = errors.New("the scheduler refuses the moves that were found")

// maxDisagreed is how many refusals a plan puts up with.
const maxDisagreed = 64

// Plan works out moves for a goal. It reads the State and its scheduler and changes neither; the State may be an
// overlay, and must not change meanwhile. A nil scheduler is the zero value.
//
// A context that ends is the only error besides pool.ErrInvalid and pool.ErrNotFound for options that are wrong,
// scheduler.ErrExtension and ErrRefused. That nothing can be gained is no error: the plan has no moves, and reasons.
func Plan(ctx context.Context, st *pool.State, s *scheduler.Scheduler, o Options) (*Result, error) {
	if o.Goal == "" {
		o.Goal = Defragment
	}
	if s == nil {
		s = new(scheduler.Scheduler)
	}
	if o.Tolerance == 0 {
		o.Tolerance = 0.05
	}
	if err := o.valid(st); err != nil {
		return nil, err
	}
	p := &planner{ctx: ctx, scheduler: s, options: &o, banned: make(map[target]bool), looks: int64(max(1, o.Effort)) * maxLooks}
	p.result = &Result{Goal: o.Goal, Moves: []Move{}, Emptied: []pool.HostID{}, Skipped: []Skip{}, Load: o.Load}
	if err := p.plan(st); err != nil {
		return nil, err
	}
	return p.result, nil
}

// planner plans in rounds, each on the State in which those before it are folded, until one finds nothing. So a second
// plan on the State that comes out finds nothing either.
type planner struct {
	ctx       context.Context
	scheduler *scheduler.Scheduler
	options   *Options
	banned    map[target]bool
	looks     int64 // that the search for better plans may still cost
	result    *Result
}

func (p *planner) plan(st *pool.State) error {
	now, r := st, p.result
	budget := p.options.Budget.left()
	f, err := p.read(now, r.Load)
	if err != nil {
		return err
	}
	r.Before = f.measured
	for {
		s := newSearch(p.ctx, f, budget)
		if err := p.search(s); err != nil {
			return err
		}
		r.Looks += f.looks
		p.looks -= f.looks
		if len(s.bundles) == 0 {
			p.skipped(s)
			break
		}
		next, moves, err := p.carryOut(now, s)
		if err != nil {
			return err
		}
		if next == nil { // again without what was refused
			if f, err = p.read(now, r.Load); err != nil {
				return err
			}
			continue
		}
		load := f.load.after(f, r.Load)
		g, err := p.read(next, load)
		if err != nil {
			return err
		}
		if !better(p.options.Goal, g.measured, f.measured) {
			return fmt.Errorf("%w: they gain nothing", ErrRefused)
		}
		now, f, r.Load = next, g, load
		r.Moves = append(r.Moves, moves...)
		r.Waves = moves[len(moves)-1].Wave + 1
		for i := range moves {
			r.Bytes += min(moves[i].Bytes, math.MaxInt64-r.Bytes)
			budget.moves, budget.bytes = budget.moves-1, budget.bytes-moves[i].Bytes
		}
	}
	r.After = f.measured
	for _, h := range st.SortedHosts() {
		if then, ok := now.Host(h.ID); ok && inUse(h) && !inUse(then) {
			r.Emptied = append(r.Emptied, h.ID)
		}
	}
	return nil
}

// search looks for bundles.
func (p *planner) search(s *search) error {
	switch p.options.Goal {
	case Drain:
		s.drain()
	case Repair:
		if err := s.repair(); err != nil {
			return err
		}
	case Balance:
		s.balance()
	default:
		s.defragment(p.looks)
	}
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return s.broken
}

// read makes a fleet of a State, and measures it.
func (p *planner) read(st *pool.State, load Load) (*fleet, error) {
	f, err := newFleet(p.ctx, st, p.scheduler, p.options, p.banned)
	if err != nil {
		return nil, err
	}
	f.load = newLoads(f, load)
	f.measured, err = f.figures()
	return f, err
}

// better reports whether the measure of the goal is better.
func better(g Goal, is, was Figures) bool {
	switch g {
	case Drain:
		return is.On < was.On
	case Repair:
		return is.Violations <= was.Violations && is.Overloaded <= was.Overloaded &&
			(is.Violations < was.Violations || is.Overloaded < was.Overloaded || is.Excess < was.Excess)
	case Balance:
		return is.Unevenness < was.Unevenness
	}
	return is.Hosts < was.Hosts
}

// carryOut folds the bundles, wave by wave, into an overlay, each target being asked of the scheduler there. When it
// refuses one that is noted in banned, and no State is returned.
func (p *planner) carryOut(st *pool.State, s *search) (*pool.State, []Move, error) {
	var steps []step
	var why []string
	var about []int32
	for _, b := range s.bundles {
		for _, x := range b.steps {
			steps = append(steps, x)
			reason := b.why
			if x.from != b.host {
				reason = "makes room on " + string(s.hosts[x.from].ID) + ": " + reason
			}
			why, about = append(why, reason), append(about, b.host)
		}
	}
	next := st.Overlay()
	var moves []Move
	for n, wave := range s.waves(steps, max(1, p.options.Budget.PerHost)) {
		first := len(moves)
		for _, at := range wave {
			i := s.instances[steps[at].instance]
			m := Move{
				Instance: i.ID, Name: i.Name, Project: i.Project, Why: why[at], Bytes: s.copies[steps[at].instance], Wave: p.result.Waves + n,
				From: s.hosts[steps[at].from].ID, To: s.hosts[steps[at].to].ID, For: s.hosts[about[at]].ID,
			}
			d, err := p.ask(next, i, m.To)
			switch {
			case errors.Is(err, pool.ErrNoRoom):
				p.banned[target{i.ID, m.To}] = true
				p.result.Disagreed++
				if p.result.Disagreed > maxDisagreed {
					return nil, nil, fmt.Errorf("%w: %s to %s: %w", ErrRefused, i.ID, m.To, err)
				}
				return nil, nil, nil
			case err != nil:
				return nil, nil, err
			}
			m.Allocation = d.Allocation
			if err := begin(next, &m); err != nil {
				return nil, nil, err
			}
			moves = append(moves, m)
		}
		for at := range moves[first:] {
			if err := end(next, &moves[first+at]); err != nil {
				return nil, nil, err
			}
		}
	}
	return next, moves, nil
}

// ask asks the scheduler whether a host takes an instance, as the ring does when it moves one.
func (p *planner) ask(st *pool.State, i *pool.Instance, to pool.HostID) (scheduler.Decision, error) {
	h, ok := st.Host(to)
	if !ok {
		return scheduler.Decision{}, &pool.Error{Kind: pool.ErrNotFound, Field: "host", Value: string(to)}
	}
	return p.scheduler.PlaceAt(h, scheduler.Request{
		Spec: i.Spec, Image: i.Image, Avoid: []pool.HostID{i.Place.Host}, Project: i.Project, Cluster: i.Cluster, Now: st.Time(),
	}.In(st))
}

// begin and end fold what the ring writes when a move is ordered, and when it is done.
func begin(st *pool.State, m *Move) error {
	return apply(st, pool.KindMoving, &pool.Moving{Instance: m.Instance, Host: m.To, Allocation: m.Allocation})
}

func end(st *pool.State, m *Move) error {
	i, ok := st.Instance(m.Instance)
	if !ok {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "instance", Value: string(m.Instance)}
	}
	return apply(st, pool.KindMoved, &pool.Moved{Machine: i.Machine(), Host: m.To})
}

func apply(st *pool.State, kind string, payload any) error {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		return err
	}
	e.ID, e.Revision, e.Time = "plan", st.Head()+1, st.Time()
	return st.Apply(&e)
}

// Fold carries the moves out in a State, an overlay or a clone as a rule, wave by wave: what the books will be when
// everything has gone well. The moves must be planned on it as it is.
func Fold(st *pool.State, moves []Move) error {
	for len(moves) > 0 {
		n := wave(moves)
		for i := range moves[:n] {
			if err := begin(st, &moves[i]); err != nil {
				return err
			}
		}
		for i := range moves[:n] {
			if err := end(st, &moves[i]); err != nil {
				return err
			}
		}
		moves = moves[n:]
	}
	return nil
}

// wave returns how many moves, from the first on, are of its wave.
func wave(moves []Move) int {
	n := 1
	for n < len(moves) && moves[n].Wave == moves[0].Wave {
		n++
	}
	return n
}

// inUse reports whether anything is placed or held on a host.
func inUse(h *pool.HostRecord) bool { return h.Placed > 0 || h.Held > 0 }

// waves puts the steps, which are feasible one after another, into groups that may go side by side, at most perHost of
// them from or to one host. It takes the fleet back to what it was before, and leaves it as it is afterwards.
//
// A step joins a wave when it fits although nothing of the wave has left yet. It never overtakes another one to the same
// host, which would find its room taken; so the first step that is left always fits when all before it are done.
func (s *search) waves(steps []step, perHost int) [][]int {
	for _, x := range slices.Backward(steps) {
		s.back(x)
	}
	rest := make([]int, len(steps))
	for i := range rest {
		rest[i] = i
	}
	var out [][]int
	busy, blocked := make([]int, len(s.hosts)), make([]bool, len(s.hosts))
	for len(rest) > 0 {
		clear(busy)
		clear(blocked)
		var wave, later []int
		var devices [][]pool.Claim
		for _, at := range rest {
			x := &steps[at]
			if blocked[x.to] || busy[x.from] >= perHost || busy[x.to] >= perHost || !s.fits(&s.sizes[s.size[x.instance]], x.to) {
				blocked[x.to] = true
				later = append(later, at)
				continue
			}
			claims, ok := s.accepts(x.instance, x.to)
			if !ok {
				blocked[x.to] = true
				later = append(later, at)
				continue
			}
			wave, devices = append(wave, at), append(devices, claims)
			busy[x.from]++
			busy[x.to]++
			s.reserve(x, claims, 1)
		}
		if len(wave) == 0 { // a filter, or devices, ask for the very order: the fold will tell
			for _, at := range rest {
				s.move(steps[at].instance, steps[at].to, steps[at].claims)
				out = append(out, []int{at})
			}
			return out
		}
		for n, at := range wave {
			s.reserve(&steps[at], devices[n], -1)
			s.move(steps[at].instance, steps[at].to, devices[n])
		}
		out, rest = append(out, wave), later
	}
	return out
}

// reserve counts the second copy of a machine that is being moved in or out.
func (s *search) reserve(x *step, claims []pool.Claim, sign int64) {
	for c, n := range s.sizes[s.size[x.instance]].need {
		s.free[int(x.to)*s.n+c] -= sign * n
	}
	s.claim(x.to, claims, sign)
	s.fixed[x.to] += int(sign)
}
