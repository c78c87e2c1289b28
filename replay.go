package berthage

import (
	"context"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/whatif"
)

// Replay lets a stretch of the past happen again, from one moment to another, on the fleet as it was and on the one that
// a question makes of it, see whatif.Replay. A zero from is the beginning of the ledger, a zero until is now. The present
// books are not touched.
//
// The past is read from the ledger and its archive. Books as they were at from are folded from the checkpoint, if that is
// not later, else from the first event on, which takes as long as a start without a checkpoint would. Where the archive
// is no longer there, and from is before the checkpoint, the error is pool.ErrCompacted and says from when on it can be
// asked. What was refused, or was asked for by others than this ledger's Managers, was never in it.
//
// It ends with ctx's cause once ctx has ended; ReplayOptions.Told hears from it while the books are folded too. Other errors
// are those of whatif.Replay. The question may name hosts as they were at from, and those that are there now.
func (m *Manager) Replay(ctx context.Context, from, until time.Time, q whatif.Question, o whatif.ReplayOptions) (*whatif.Replayed, error) {
	const op = "replay the past"
	if !until.IsZero() && !until.After(from) {
		return nil, &pool.Error{Op: op, Kind: pool.ErrInvalid, Field: "until", Value: until.UTC().Format(time.RFC3339), Want: "a moment after from"}
	}
	if o.Scheduler != nil {
		o.Scheduler = m.ring.Completed(*o.Scheduler)
	}
	batches := 0
	books, err := m.ring.Past(ctx, from, func(b pool.Batch) {
		if batches++; o.Told != nil && batches%256 == 0 && len(b.Events) > 0 {
			o.Told(whatif.Progress{At: b.Events[0].Time, Revision: b.Revision})
		}
	})
	if err != nil {
		return nil, named(err, op)
	}
	p := whatif.Past{Books: books, Batches: m.ring.History(ctx, books.Head()), From: from, Until: until}
	m.View(func(st *pool.State) {
		if until.IsZero() { // by whichever clock is ahead: what is written has happened
			p.Until = time.Now()
			if last := st.Time(); !p.Until.After(last) {
				p.Until = last.Add(time.Microsecond)
			}
		}
		for h := range st.Hosts() {
			if _, ok := books.Host(h.ID); !ok {
				p.Later = append(p.Later, h.Host)
			}
		}
	})
	s := *m.ring.Scheduler()
	s.Loads = nil // they are those of now
	r, err := whatif.Replay(ctx, p, &s, q, o)
	return r, named(err, op)
}
