package scheduler

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// ErrExtension: a Filter or Score of the importer panicked or returned what cannot be compared. The
// decision it was asked for has failed; nothing else has.
var ErrExtension = errors.New("filter or score failed")

// Strategy is what the built-in score prefers.
type Strategy uint8

// The strategies.
const (
	// Default is BestFit refined by the pool's state: what would be left over on a host counts more in a class of which
	// the hosts in use have little left, and a host is preferred on which the placement brings what is free of memory and
	// of cores nearer to the relation in which they are used. Nothing in it is to be tuned.
	Default Strategy = iota
	// BestFit fills hosts up, so that others stay empty: the host whose capacity is used most after the
	// placement, in the mean of the classes asked for, wins, and an empty host is taken only when no other qualifies.
	BestFit
	// Spread is the reverse: empty hosts first, then the one that is used least.
	Spread
	// FGD is BestFit that also keeps GPUs usable: a placement counts less on a host, and on a device, where it makes
	// more of the free GPUs useless to what the pool's instances with GPUs are like, because cores, memory, or room on
	// one device run out. Without GPUs in the pool it is BestFit. What instances are like is read from the hosts' records.
	FGD
)

var strategyNames = [...]string{"default", "best-fit", "spread", "fgd"}

// String returns the name: "default", "best-fit", "spread" or "fgd".
func (s Strategy) String() string {
	if int(s) < len(strategyNames) {
		return strategyNames[s]
	}
	return "strategy " + strconv.Itoa(int(s))
}

// MarshalText writes the name.
func (s Strategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name; the empty one is Default.
func (s *Strategy) UnmarshalText(b []byte) error {
	for i, n := range strategyNames {
		if string(b) == n || len(b) == 0 {
			*s = Strategy(i)
			return nil
		}
	}
	return &pool.Error{Kind: pool.ErrInvalid, Field: "strategy", Value: string(b), Want: "default, best-fit, spread or fgd"}
}

// Filter is an importer's own condition on a host: nil lets it pass. It must be a pure function that keeps
// and changes neither argument. Reason.Detail is shown to people; the Constraint is set by the scheduler.
// A panic fails the decision with ErrExtension.
type Filter func(Request, *pool.HostRecord) *Reason

// Score is an importer's own preference, asked only for hosts that qualify; higher is better. It is added to
// the built-in score, which is between 0 and 2 and differs by up to 1 among hosts in use, less 2 for each soft
// constraint that the host does not meet, with a Worth less two thirds for each host's worth of room that is made useless, and, under
// FGD, less twice the square root of the number of instances with GPUs for each GPU that is made useless. It must be a pure
// function. A panic, a NaN or an infinity fails the decision with ErrExtension.
type Score func(Request, *pool.HostRecord) float64

// Scheduler places instances. The zero value packs by Default with the built-in filters. It has no state
// and is safe for concurrent use as long as nobody changes its fields.
type Scheduler struct {
	Strategy Strategy
	Groups   []HostGroup // hosts with a Strategy of their own; of several the first counts
	Filters  []Filter    // after the built-in filters, before resources
	Scores   []Score     // added to the built-in score

	// CostWeight is what a unit of currency per hour (see pool.Host) takes from a host's score, LoadWeight what a load of 1 in
	// Loads does. Among hosts in use the built-in score differs by up to 1; zero: no influence.
	CostWeight, LoadWeight float64
	Loads                  *Loads // nil: nothing is measured

	Ends  *Ends  // until when hosts are expected to be in use; nil: lifetimes are not looked at
	Worth *Worth // what free room is good for; nil: what a placement makes useless is not looked at
}

// Request is what is to be placed.
type Request struct {
	Spec    pool.Spec      // resolved: with the flavor's sizes
	Image   pool.Image     // with its sources
	Avoid   []pool.HostID  // hosts that are out of the question, such as those on which creation failed
	Project string         // whose other instances the spec's rules may select
	Cluster pool.ClusterID // that it is a member of
	Leaves  pool.HostID    // where it is now, if it is to be there no longer: the spec's rules do not count it there
	Now     time.Time      // of the decision; zero: that of the last event in the State, if there is one
	Lives   Lives          `json:"-"` // how long it is expected to, for a Scheduler with Ends; nil: that is not known

	named named // by the spec's rules, see In
}

// In returns the request as of a State: the moment, and where the instances are that the spec's rules name by id. Place
// and Explain do that themselves; a request for an Index knows the State by this alone.
func (r Request) In(st *pool.State) Request {
	if r.Now.IsZero() {
		r.Now = st.Time()
	}
	r.named = namedBy(st, &r)
	return r
}

// Decision is where an instance goes, and what it takes there.
type Decision struct {
	Host       pool.HostID     `json:"host"`
	Allocation pool.Allocation `json:"allocation"`
	Score      float64         `json:"score"`      // of the chosen host
	Considered int             `json:"considered"` // hosts looked at
	Qualified  int             `json:"qualified"`  // of those, hosts that could have taken it
}

// Place chooses a host. It changes nothing.
//
// When no host qualifies the error is a *Refusal, which unwraps to pool.ErrNoRoom. A request that is
// malformed whatever the hosts is pool.ErrInvalid or pool.ErrOverflow; a Filter or Score that misbehaves
// ErrExtension.
func (s *Scheduler) Place(st *pool.State, req Request) (Decision, error) {
	d, err := s.decide(req.In(st))
	if err != nil {
		return Decision{}, err
	}
	d.follow(totalsOf(st))
	d.census(st.Hosts())
	d.learn(func() *workload { return workloadOf(st.Hosts()) })
	var best *pool.HostRecord
	var out Decision
	for h := range st.Hosts() {
		out.Considered++
		f, err := d.check(h, asItIs)
		if err != nil {
			return Decision{}, err
		}
		if f.by != "" {
			continue
		}
		out.Qualified++
		score, err := d.score(h)
		if err != nil {
			return Decision{}, err
		}
		if best == nil || score > out.Score || score == out.Score && h.ID < best.ID {
			best, out.Score = h, score
		}
	}
	if best == nil {
		return Decision{}, d.refuse(st.Hosts(), st.HostCount())
	}
	out.Host, out.Allocation = best.ID, d.allocate(best)
	return out, nil
}

// refuse returns the error of a request that none of the hosts can take.
func (d *decision) refuse(hosts iter.Seq[*pool.HostRecord], n int) error {
	e, err := d.explain(hosts, n)
	if err != nil {
		return err
	}
	return &Refusal{e}
}

// totals returns what all hosts in use, but for aggregates, use and have of a class together.
type totals func(pool.Class) (used, capacity int64)

func totalsOf(st *pool.State) totals {
	known := make(map[pool.Class]usedOfPool)
	return func(c pool.Class) (used, capacity int64) {
		sum, ok := known[c]
		if !ok {
			for h := range st.Hosts() {
				if inUse(h) && !h.Aggregate() {
					sum.used, sum.capacity = sum.used+h.Used[c], sum.capacity+h.Capacity[c]
				}
			}
			known[c] = sum
		}
		return sum.used, sum.capacity
	}
}

// inUse reports whether anything is placed or held on a host.
func inUse(h *pool.HostRecord) bool { return h.Placed > 0 || len(h.Used) > 0 }

// follow prepares the policy for a pool with those totals.
func (d *decision) follow(total totals) {
	d.total = total
	d.loads = d.scheduler.Loads.now()
	d.worths = nil
	if d.scheduler.Worth != nil {
		d.worths = d.scheduler.Worth.now.Load()
	}
	d.shape = nil
	d.policy = d.policyFor(d.scheduler.Strategy, d.asked, &d.refining)
	if n := len(d.scheduler.Groups); n > 0 {
		if len(d.grouped.groups) != n {
			d.grouped.groups = make([]groupPolicy, n)
		}
		d.grouped.base = d.policy
		for i := range d.grouped.groups {
			g := &d.grouped.groups[i]
			g.policy = d.policyFor(d.scheduler.Groups[i].Strategy, d.asked, &g.refining)
		}
	}
}

// refining is the space of a policy that is made of several.
type refining struct {
	refined refined
	lasting lasting
	valued  valued
}

func (d *decision) policyFor(s Strategy, needs []need, space *refining) policy {
	switch s {
	case BestFit, FGD:
		return d.lives(s, bestFit{}, 1, &space.lasting)
	case Spread:
		return spread{}
	}
	b := &space.refined
	b.prepare(needs, d.total)
	if !d.priced() {
		return d.lives(s, b, b.sum/(b.sum+2), &space.lasting)
	}
	b.level()
	return d.values(d.lives(s, b, b.sum/(b.sum+2), &space.lasting), b, &space.valued)
}

// score returns the score of a host that has just been checked: the policy's, and those of the importer.
func (d *decision) score(h *pool.HostRecord) (float64, error) {
	p := d.policy
	group, strategy := d.scheduler.strategyOf(h)
	switch {
	case d.shape != nil:
		p = d.policyFor(strategy, d.needs, &d.ofShape)
	case group >= 0:
		p = d.grouped.groups[group].policy
	}
	d.host.marks[0] = traits{}
	if inUse(h) {
		d.host.marks[0].is = traitUsed
	}
	if d.scheduler.Ends != nil {
		d.until[0] = d.scheduler.Ends.at(h.ID)
		d.host.ends = d.until[:]
	}
	p.score(&d.host, d.first[:], d.built[:])
	score := d.built[0] - d.dues(h)
	if d.shape == nil && d.loses(h) {
		d.seeRecord(h)
		loss, _ := d.lossHere(score, math.Inf(-1))
		score = d.fgd.work.less(score, loss)
	}
	return d.own(h, score)
}

// own adds the importer's scores to one.
func (d *decision) own(h *pool.HostRecord, score float64) (float64, error) {
	for i, f := range d.scheduler.Scores {
		if d.now != nil && i < len(d.now.own) {
			score += d.now.own[i]
			continue
		}
		own, err := d.ask(f, i, h)
		if err != nil {
			return 0, err
		}
		if d.now != nil {
			d.now.own = append(d.now.own, own)
		}
		score += own
	}
	if math.IsInf(score, 0) {
		return 0, fmt.Errorf("%w: scores of host %s add up to infinity", ErrExtension, pool.Quote(string(h.ID)))
	}
	return score, nil
}

func (d *decision) ask(f Score, i int, h *pool.HostRecord) (score float64, err error) {
	defer recovered("score", i, h, &err)
	score = f(d.req, h)
	if math.IsNaN(score) || math.IsInf(score, 0) {
		err = fmt.Errorf("%w: score %d returned %v for host %s", ErrExtension, i, score, pool.Quote(string(h.ID)))
	}
	return score, err
}

func (d *decision) filter(f Filter, i int, h *pool.HostRecord) (r *Reason, err error) {
	defer recovered("filter", i, h, &err)
	return f(d.req, h), nil
}

// recovered turns a panic of an importer's function into an error. It must be deferred itself.
func recovered(what string, i int, h *pool.HostRecord, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %s %d panicked for host %s: %s", ErrExtension, what, i, pool.Quote(string(h.ID)), pool.Quote(fmt.Sprint(p)))
	}
}
