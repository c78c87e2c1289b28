package whatif

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// Past is a stretch of a ledger's history.
type Past struct {
	// Books are those at the beginning. Replay folds the batches into them, so they must be nobody else's.
	Books *pool.State
	// Batches are what was written after the books, in order. Those from Until on are not looked at.
	Batches iter.Seq2[pool.Batch, error]

	// Later are hosts that were not there at the beginning, and that the question may name all the same: those that it loses
	// never come, those like which it adds some are added at the beginning.
	Later []pool.Host

	From  time.Time // the beginning; zero, or before there was a ledger: with the first batch
	Until time.Time // the end; zero: with the last batch
}

// ReplayOptions say what else is different, and bound the work. The zero value suffices.
type ReplayOptions struct {
	// Scheduler places on the changed fleet; nil: the one that places on the unchanged fleet too.
	Scheduler *scheduler.Scheduler
	// Placements is how many may be tried on each fleet; zero is a million. When there is no work left the replay ends, and
	// Replayed.Cut says so.
	Placements int
	// Told is called now and then with how far the replay is, by the goroutine that replays; nil: nobody is told.
	Told func(Progress)
}

// Progress is how far a replay is.
type Progress struct {
	At       time.Time     `json:"at"` // in the past that is replayed
	Revision pool.Revision `json:"revision"`
	Batches  int           `json:"batches"` // so far
}

// Replayed is what a stretch of the past would have been.
type Replayed struct {
	From     time.Time     `json:"from"`
	Until    time.Time     `json:"until"`
	Revision pool.Revision `json:"revision"`      // of the last batch
	Cut      bool          `json:"cut,omitempty"` // it was to go on, but the work of ReplayOptions was done

	Came int `json:"came"` // instances that were given a place, as recorded
	Went int `json:"went"` // that gave theirs back

	Same    Run `json:"same"`    // on the fleet as it was
	Changed Run `json:"changed"` // on the fleet of the question, and by its scheduler
}

// Run is what it would have been on one fleet.
type Run struct {
	Displaced Outcome `json:"displaced"` // instances of hosts lost at the beginning, and of hosts that were removed on the way
	Launched  Outcome `json:"launched"`  // instances that were given a place
	Resized   Outcome `json:"resized"`   // that were given other sizes where they were; refused, they kept the old ones

	Peak  map[pool.Class]Peak `json:"peak"`
	Hosts float64             `json:"hosts"`      // servers in use on average, over the time
	Most  int                 `json:"most_hosts"` // and at most
}

// Refused returns how many instances found no place.
func (r *Run) Refused() int {
	return r.Displaced.Asked - r.Displaced.Placed + r.Launched.Asked - r.Launched.Placed
}

// Peak is the most that was used of a class on all hosts, and when first.
type Peak struct {
	Used     int64     `json:"used"`
	Capacity int64     `json:"capacity"` // at that moment
	At       time.Time `json:"at"`
}

// told is how many batches come between two calls of ReplayOptions.Told.
const told = 256

// Replay lets a stretch of the past happen again: on the fleet as it was, and on the one that a Question makes of it, of
// which only Lose, LoseZones, Add and Ratios may be set. On both, schedulers place anew what was given a place, at the
// moments when it was; s places on the unchanged fleet, where a nil one is the zero value. What was there at the beginning
// stays where it was.
//
// What was refused in the past left no trace, and is not asked for again; what waited is, when it was given its place.
// Moves and evacuations that were made are not made again: their instances stay where the replay has put them.
// Allocations held for machines that might still exist count as free.
//
// It takes memory for two more copies of the books. Errors are those of Ask, and of the batches.
func Replay(ctx context.Context, p Past, s *scheduler.Scheduler, q Question, o ReplayOptions) (*Replayed, error) {
	if err := q.validFleet(&p); err != nil {
		return nil, err
	}
	if s == nil {
		s = new(scheduler.Scheduler)
	}
	same, err := begin(ctx, &p, s, Question{}, o.Placements)
	if err != nil {
		return nil, err
	}
	changed, err := begin(ctx, &p, cmp.Or(o.Scheduler, s), q, o.Placements)
	if err != nil {
		return nil, err
	}
	r := &replay{Replayed: Replayed{From: p.From, Revision: p.Books.Head()}, books: p.Books, runs: []*run{same, changed}}
	if p.Books.Head() == 0 {
		r.From = time.Time{}
	}
	if err := r.all(ctx, &p, o.Told); err != nil {
		return nil, err
	}
	r.Same, r.Changed = same.done(r.Until), changed.done(r.Until)
	return &r.Replayed, nil
}

// validFleet is valid for a question that may only change the fleet.
func (q *Question) validFleet(p *Past) error {
	for field, set := range map[string]bool{
		"demand": len(q.Demand) > 0, "growth": q.Growth != 0, "spare": q.Spare != 0, "buy": len(q.Buy) > 0, "how_many": len(q.HowMany) > 0,
	} {
		if set {
			return bad(field, "", "nothing: a replay asks for what was asked for then")
		}
	}
	all := &fork{st: p.Books.Overlay()}
	for _, h := range p.Later {
		if err := all.apply(pool.KindHostPut, &pool.HostPut{Host: h}); err != nil {
			return err
		}
	}
	return q.valid(all.st)
}

// replay is a Replayed while it comes about.
type replay struct {
	Replayed
	books *pool.State
	runs  []*run
}

func (r *replay) all(ctx context.Context, p *Past, tell func(Progress)) error {
	var overlay pool.State
	batches := 0
	for b, err := range p.Batches {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case len(b.Events) == 0:
			continue
		}
		at := b.Events[0].Time
		if !p.Until.IsZero() && !at.Before(p.Until) {
			break
		}
		if r.From.IsZero() || at.Before(r.From) && batches == 0 {
			r.From = at
		}
		for _, run := range r.runs {
			run.until(at, r.From)
		}
		switch err := r.batch(&b, &overlay); {
		case errors.Is(err, errWork):
			r.Cut, r.Until = true, at
			return nil
		case err != nil:
			return err
		}
		if batches++; tell != nil && batches%told == 0 {
			tell(Progress{At: at, Revision: b.Revision, Batches: batches})
		}
		r.Until, r.Revision = at, b.Revision
	}
	if !p.Until.IsZero() {
		r.Until = p.Until
	}
	if r.Until.IsZero() {
		r.Until = r.From
	}
	if tell != nil {
		tell(Progress{At: r.Until, Revision: r.Revision, Batches: batches})
	}
	return nil
}

// change is an instance before and after a batch; either may be nil.
type change struct{ old, new *pool.Instance }

func (c change) left() bool {
	return c.old != nil && c.old.Placed() && (c.new == nil || !c.new.Placed())
}
func (c change) came() bool {
	return (c.old == nil || !c.old.Placed()) && c.new != nil && c.new.Placed()
}

// batch folds one batch and lets happen on each fleet what it says: what is given back first, and then what came, the
// members of a cluster by their numbers.
func (r *replay) batch(b *pool.Batch, o *pool.State) error {
	r.books.OverlayInto(o)
	for i := range b.Events {
		if err := o.Apply(&b.Events[i]); err != nil && !errors.Is(err, pool.ErrUnknownKind) {
			return err
		}
	}
	var changes []change
	for id, n := range o.ChangedInstances() {
		if old, _ := r.books.Instance(id); old != nil || n != nil {
			changes = append(changes, change{old, n})
		}
	}
	slices.SortFunc(changes, func(a, b change) int {
		if a.new == nil || b.new == nil {
			return cmp.Or(present(a.new)-present(b.new), cmp.Compare(a.id(), b.id()))
		}
		return cmp.Or(cmp.Compare(a.new.Launched, b.new.Launched), cmp.Compare(a.new.Cluster, b.new.Cluster), cmp.Compare(a.new.Index, b.new.Index), cmp.Compare(a.new.ID, b.new.ID))
	})
	var hosts []pool.HostID
	for id := range o.ChangedHosts() {
		hosts = append(hosts, id)
	}
	slices.Sort(hosts)
	for _, c := range changes {
		if c.left() {
			r.Went++
		} else if c.came() {
			r.Came++
		}
	}
	for _, run := range r.runs {
		run.now = b.Events[0].Time
		for _, id := range hosts {
			old, _ := r.books.Host(id)
			n, _ := o.Host(id)
			if err := run.host(id, old, n); err != nil {
				return err
			}
		}
		for _, step := range []func(*pool.State, change) error{run.leaves, run.comes} {
			for _, c := range changes {
				if err := step(o, c); err != nil {
					return err
				}
			}
		}
		run.measure()
	}
	r.books.Absorb(o)
	return nil
}

func (c change) id() pool.InstanceID {
	if c.new != nil {
		return c.new.ID
	}
	return c.old.ID
}

func present(i *pool.Instance) int {
	if i == nil {
		return 0
	}
	return 1
}
