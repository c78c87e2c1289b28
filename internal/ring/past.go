package ring

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// History yields the batches after the given revision up to the head that readers see now, from the archive too. Its
// errors are those of Events.
func (r *Ring) History(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		head := r.Head()
		if after >= head {
			return
		}
		for b, err := range r.Events(ctx, after) {
			if !yield(b, err) || err != nil || b.Revision >= head {
				return
			}
		}
	}
}

// Past returns the books as they were at a moment, the caller's own. They are folded from the checkpoint, if that is not
// later, else from the beginning of the archive; told, which may be nil, hears of every batch.
func (r *Ring) Past(ctx context.Context, at time.Time, told func(pool.Batch)) (*pool.State, error) {
	st, later := r.checkpoint(ctx, at)
	for b, err := range r.History(ctx, st.Head()) {
		if errors.Is(err, pool.ErrCompacted) && !later.IsZero() {
			return nil, &pool.Error{
				Kind: pool.ErrCompacted, Field: "from", Value: at.UTC().Format(time.RFC3339), Cause: err,
				Want: "a moment from " + later.UTC().Format(time.RFC3339) + " on: the archive does not have what was before",
			}
		}
		if err != nil {
			return nil, err
		}
		if len(b.Events) > 0 && !b.Events[0].Time.Before(at) {
			break
		}
		for i := range b.Events {
			if err := st.Apply(&b.Events[i]); err != nil && !errors.Is(err, pool.ErrUnknownKind) {
				return nil, err
			}
		}
		if told != nil {
			told(b)
		}
	}
	return st, nil
}

// checkpoint returns the State of the checkpoint, or an empty one if that is later than a moment, or cannot be used; and
// in the first case when it is.
func (r *Ring) checkpoint(ctx context.Context, at time.Time) (*pool.State, time.Time) {
	_, snapshot, err := r.cfg.Ledger.Checkpoint(ctx)
	if err != nil || len(snapshot) == 0 {
		return pool.NewState(r.cfg.Parts...), time.Time{}
	}
	st, err := pool.ReadSnapshot(bytes.NewReader(snapshot), r.cfg.Parts...)
	switch {
	case err != nil:
		return pool.NewState(r.cfg.Parts...), time.Time{}
	case !st.Time().Before(at):
		return pool.NewState(r.cfg.Parts...), st.Time()
	}
	return st, time.Time{}
}

// Completed returns a scheduler that places here as another one would: with the filter for what drivers can do.
func (r *Ring) Completed(s scheduler.Scheduler) *scheduler.Scheduler {
	s.Filters = append(s.Filters[:len(s.Filters):len(s.Filters)], r.rules.offered)
	return &s
}
