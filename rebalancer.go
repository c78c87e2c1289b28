package berthage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// RebalanceMode is what is done about moves that would gain something.
type RebalanceMode string

// The modes. The empty one is RebalanceOff.
const (
	RebalanceOff       RebalanceMode = ""          // nothing
	RebalanceRecommend RebalanceMode = "recommend" // they are planned, for Rebalancing to show
	RebalanceAutomatic RebalanceMode = "automatic" // and carried out, by the Manager that leads
)

// Rebalance is how machines are moved by themselves. Every field but Mode has a useful zero value.
//
// Nothing of it is remembered beyond the process: whoever leads plans on the books, and what a former leader had begun is
// there in them. What is not known after a take-over is taken for the worst: that all instances have just been changed,
// and that the budget of the window has been spent.
type Rebalance struct {
	Mode RebalanceMode  `json:"mode"`
	Goal rebalance.Goal `json:"goal,omitempty"` // Defragment, Repair or Balance; empty: Defragment

	Every  time.Duration `json:"every,omitempty"`  // between two plans; 0: 5 min
	Settle time.Duration `json:"settle,omitempty"` // for which an instance has not been changed before it is moved; 0: 10 min

	AtATime int `json:"at_a_time,omitempty"` // moves side by side, those of others included; 0: 2
	PerHost int `json:"per_host,omitempty"`  // of these from or to one host; 0: 1

	// Moves and Bytes bound what is ordered in any Window of time; zero is no bound. A zero Window is an hour.
	Window time.Duration `json:"window,omitempty"`
	Moves  int           `json:"moves,omitempty"`
	Bytes  int64         `json:"bytes,omitempty"` // memory and disks

	// Moves begin from From to To only, as times of the day in UTC, past midnight if To is before From. Equal: always.
	From time.Duration `json:"from,omitempty"`
	To   time.Duration `json:"to,omitempty"`

	Cold   bool              `json:"cold,omitempty"`   // leave to stop instances for their move, where they cannot be moved running
	Pinned map[string]string `json:"pinned,omitempty"` // labels of instances that are not moved
}

func (r Rebalance) valid() error {
	bad := func(field, want string) error { return &pool.Error{Kind: pool.ErrInvalid, Field: field, Want: want} }
	const day = 24 * time.Hour
	switch {
	case r.Mode != RebalanceOff && r.Mode != RebalanceRecommend && r.Mode != RebalanceAutomatic:
		return bad("Mode", "off (empty), recommend or automatic")
	case r.Goal != "" && r.Goal != rebalance.Defragment && r.Goal != rebalance.Repair && r.Goal != rebalance.Balance:
		return bad("Goal", "defragment, repair or balance; a host is drained by Drain")
	case min(r.Every, r.Settle, r.Window) < 0 || min(r.AtATime, r.PerHost, r.Moves) < 0 || r.Bytes < 0:
		return bad("budget", "amounts and durations of zero or more")
	case min(r.From, r.To) < 0 || max(r.From, r.To) > day:
		return bad("From, To", "times of the day, from 0 to 24 h")
	}
	return nil
}

// filled returns r with its defaults.
func (r Rebalance) filled() Rebalance {
	r.Goal = or(r.Goal, rebalance.Defragment)
	r.Every, r.Settle, r.Window = or(r.Every, 5*time.Minute), or(r.Settle, 10*time.Minute), or(r.Window, time.Hour)
	r.AtATime, r.PerHost = or(r.AtATime, 2), or(r.PerHost, 1)
	r.Pinned = maps.Clone(r.Pinned)
	return r
}

// open reports whether moves may begin at a moment.
func (r *Rebalance) open(now time.Time) bool {
	const day = 24 * time.Hour
	at, from, to := now.UTC().Sub(now.UTC().Truncate(day)), r.From%day, r.To%day
	switch {
	case from == to:
		return true
	case from < to:
		return at >= from && at < to
	}
	return at >= from || at < to
}

// RebalanceStatus is what the Manager does about moves by itself.
type RebalanceStatus struct {
	Rebalance
	Planned *RebalancePlan `json:"planned,omitempty"` // the last plan; it has no moves where nothing is to be gained
	At      time.Time      `json:"at,omitzero"`       // when it was made
	Running bool           `json:"running,omitempty"` // it is being carried out
	Carried Carried        `json:"carried"`           // of it
	Ended   string         `json:"ended,omitempty"`   // why the last one was not carried out to the end
	Waiting string         `json:"waiting,omitempty"` // why nothing is moved now
}

// Rebalancing returns what this Manager does about moves by itself. Only the one that leads does anything.
func (m *Manager) Rebalancing() RebalanceStatus {
	m.auto.mu.Lock()
	defer m.auto.mu.Unlock()
	s := m.auto.status
	s.Rebalance = m.auto.c
	s.Pinned = maps.Clone(s.Pinned)
	return s
}

// rebalancer is what a Manager remembers about moves by itself. All but status belongs to one goroutine.
type rebalancer struct {
	c Rebalance

	mu     sync.Mutex
	status RebalanceStatus

	epoch  int64
	from   time.Time     // since when this Manager leads
	marks  []mark        // of moments since then, one each round
	spends []spend       // within the window
	same   pool.Revision // on which another plan would be as the last one, which is not carried out
}

// mark is where the ledger stood at a moment.
type mark struct {
	at   time.Time
	head pool.Revision
}

// spend is a move that was ordered.
type spend struct {
	at    time.Time
	bytes int64
}

func (a *rebalancer) tell(change func(*RebalanceStatus)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.status)
}

func (a *rebalancer) waiting(why string) {
	a.tell(func(s *RebalanceStatus) { s.Waiting = why })
}

// rebalance plans now and then while this Manager leads, and carries the plans out if it is to, until ctx ends.
func (m *Manager) rebalance(ctx context.Context) {
	timer := time.NewTicker(m.auto.c.Every)
	defer timer.Stop()
	for {
		m.rebalanceOnce(ctx)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

func (m *Manager) rebalanceOnce(ctx context.Context) {
	a, s := m.auto, m.Status()
	if !s.Leading || s.Unconfirmed || s.Stale != "" {
		a.epoch = 0
		a.waiting("another Manager leads, or none")
		return
	}
	now := time.Now()
	if s.Epoch != a.epoch {
		a.epoch, a.from, a.marks, a.spends, a.same = s.Epoch, now, nil, nil, 0
	}
	a.marks = append(a.marks, mark{now, s.Revision})
	settled, ok := a.settled(now)
	if !ok {
		a.waiting("nobody knows yet for how long instances have not been changed")
		return
	}
	if s.Revision == a.same {
		return
	}
	st := m.ring.Fork()
	atATime := a.c.AtATime
	for i := range st.Instances() {
		if i.Move != nil {
			atATime--
		}
	}
	spent, known := a.spent(now)
	if !known {
		a.waiting("nobody knows what was moved in the present window before this Manager led")
		return
	}
	latest := pool.Revision(0)
	p, err := m.planOn(ctx, st, rebalance.Options{
		Goal: a.c.Goal, Budget: rebalance.Budget{Moves: a.c.Moves, Bytes: a.c.Bytes, PerHost: a.c.PerHost, Spent: spent}, Pinned: a.c.Pinned,
		Stays: func(i *pool.Instance) string {
			latest = max(latest, i.Changed)
			if i.Changed > settled {
				return "it was changed not long ago"
			}
			return ""
		},
	}, a.c.Cold)
	if err != nil {
		a.waiting(err.Error())
		return
	}
	if latest <= settled && spent.Moves == 0 && (len(p.Moves) == 0 || a.c.Mode == RebalanceRecommend) {
		a.same = p.Revision
	}
	a.tell(func(s *RebalanceStatus) {
		s.Planned, s.At, s.Carried, s.Ended = p, now, Carried{Moves: len(p.Moves)}, ""
	})
	switch {
	case len(p.Moves) == 0:
		a.waiting("nothing is to be gained")
	case a.c.Mode == RebalanceRecommend:
		a.waiting("moves are recommended only")
	case atATime <= 0:
		a.waiting("enough is being moved already")
	default:
		m.carryOutByItself(ctx, p, atATime)
	}
}

// carryOutByItself carries a plan out, as far as hours and budget allow.
func (m *Manager) carryOutByItself(ctx context.Context, p *RebalancePlan, atATime int) {
	a := m.auto
	c := carrier{
		m: m.As("berthage", "rebalance"), plan: p, epoch: a.epoch, may: a.may, done: Carried{Moves: len(p.Moves)},
		told: func(c Carried) { a.tell(func(s *RebalanceStatus) { s.Carried = c }) },
	}
	a.tell(func(s *RebalanceStatus) { s.Running, s.Waiting = true, "" })
	err := c.run(ctx, inSteps(p.Moves, atATime))
	a.tell(func(s *RebalanceStatus) {
		s.Running = false
		if err != nil && !errors.Is(err, errPaused) {
			s.Ended = err.Error()
		}
	})
}

// settled returns the newest revision of which it is known that it is old enough, if there is one.
func (a *rebalancer) settled(now time.Time) (pool.Revision, bool) {
	found := -1
	for n, k := range a.marks {
		if now.Sub(k.at) >= a.c.Settle {
			found = n
		}
	}
	if found < 0 {
		return 0, false
	}
	a.marks = a.marks[found:]
	return a.marks[0].head, true
}

// spent returns what was ordered in the window that ends now; false where nobody knows.
func (a *rebalancer) spent(now time.Time) (rebalance.Spent, bool) {
	bounded := a.c.Mode == RebalanceAutomatic && (a.c.Moves > 0 || a.c.Bytes > 0)
	a.spends = slices.DeleteFunc(a.spends, func(s spend) bool { return now.Sub(s.at) >= a.c.Window })
	out := rebalance.Spent{Moves: len(a.spends)}
	for _, s := range a.spends {
		out.Bytes += s.bytes
	}
	return out, !bounded || now.Sub(a.from) >= a.c.Window
}

// may reports whether moves may be ordered now, and if so counts them. That the budget suffices the plan has seen to.
func (a *rebalancer) may(moves []rebalance.Move) bool {
	now := time.Now()
	if !a.c.open(now) {
		a.waiting("it is not the time of the day")
		return false
	}
	for _, m := range moves {
		a.spends = append(a.spends, spend{now, m.Bytes})
	}
	return true
}
