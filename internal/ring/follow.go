package ring

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strconv"

	"github.com/berthage/berthage/pool"
)

// read folds what the ledger holds beyond our head. Where that has been compacted, which is so at every start
// on a compacted ledger, it goes on from the checkpoint.
func (r *Ring) read(ctx context.Context) error {
	if err := r.staleErr(); err != nil {
		return err
	}
	for {
		err := r.foldAll(r.cfg.Ledger.Read(ctx, r.st.Head()))
		if !errors.Is(err, pool.ErrCompacted) {
			return err
		}
		before := r.st.Head()
		if err := r.resume(ctx); err != nil {
			return err
		}
		if r.st.Head() <= before {
			return &pool.Error{Kind: pool.ErrUnavailable, Field: "ledger", Want: "a checkpoint beyond revision " + number(before), Cause: err}
		}
	}
}

// foldAll folds batches up to the first error. What cannot be folded makes the ring stale.
func (r *Ring) foldAll(batches iter.Seq2[pool.Batch, error]) error {
	for b, err := range batches {
		if err != nil {
			return &pool.Error{Kind: pool.ErrUnavailable, Field: "ledger", Cause: err}
		}
		if err := r.fold(b); err != nil {
			r.setStale(err)
			return r.staleErr()
		}
	}
	return nil
}

// resume replaces the State by the ledger's checkpoint. A checkpoint that cannot be used, because it is damaged
// or written by another version, costs time and nothing else: what it stands for is read from the archive.
func (r *Ring) resume(ctx context.Context) error {
	at, snapshot, err := r.cfg.Ledger.Checkpoint(ctx)
	if err != nil && !errors.Is(err, pool.ErrCorrupt) {
		return &pool.Error{Kind: pool.ErrUnavailable, Field: "ledger", Cause: err}
	}
	var st *pool.State
	if err == nil {
		st, err = pool.ReadSnapshot(bytes.NewReader(snapshot), r.cfg.Parts...)
	}
	if err == nil && st.Head() != at {
		err = &pool.Error{Kind: pool.ErrCorrupt, Field: "checkpoint of revision " + number(at), Want: "a snapshot of that revision, not of " + number(st.Head())}
	}
	if err == nil && r.st.Identity() != "" && st.Identity() != r.st.Identity() {
		err = &pool.Error{Kind: pool.ErrCorrupt, Field: "checkpoint", Value: st.Identity(), Want: "a snapshot of this ledger"}
	}
	if err != nil {
		r.log.Error("the checkpoint cannot be used; reading the archive instead", "error", err)
		return r.readArchive(ctx, err)
	}
	if at <= r.st.Head() {
		return nil // the caller finds out that this was no help
	}
	r.index = placing{} // to be made anew
	r.mu.Lock()
	r.st = st
	r.rules.lives.begin(st)
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	if l := r.lead.Load(); l != nil {
		// A leader lives on every event, and some it has not seen. It steps down and begins anew.
		r.log.Warn("others have gone on, and compacted, beyond what this leader knew; leading anew")
		l.stop()
	}
	return nil
}

// readArchive folds the archive; because says why the checkpoint will not do.
func (r *Ring) readArchive(ctx context.Context, because error) error {
	before := r.st.Head()
	err := r.foldAll(r.cfg.Ledger.Archive(ctx, before))
	switch {
	case r.staleErr() != nil:
		return err
	case err != nil && !errors.Is(err, pool.ErrCorrupt) && !errors.Is(err, pool.ErrCompacted):
		return err // for now
	case err != nil || r.st.Head() == before:
		r.setStale(&pool.Error{Kind: pool.ErrStale, Field: "checkpoint", Want: "a program that can read it, or the archive from revision " + number(before+1),
			Cause: errors.Join(because, err)})
		return r.staleErr()
	}
	return nil
}

// Events yields the batches after the given revision and goes on with new ones until ctx ends, which is its
// last error. What has been compacted is read from the archive, so that there is no gap; where the archive does not
// have it, the error is pool.ErrCompacted.
func (r *Ring) Events(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		for {
			changed, head := r.Changed(), r.Head()
			for after < head {
				from := after
				err := pass(r.cfg.Ledger.Read(ctx, after), &after, head, yield)
				if errors.Is(err, pool.ErrCompacted) {
					compacted := err
					if err = pass(r.cfg.Ledger.Archive(ctx, after), &after, head, yield); err == nil && after == from {
						err = compacted
					}
				}
				if errors.Is(err, errEnough) {
					return
				}
				if err == nil && after == from { // nothing, where the State says that there is something
					err = &pool.Error{Op: "read", Kind: pool.ErrCorrupt, Field: "revision " + number(after+1), Want: "no gap"}
				}
				if err != nil {
					yield(pool.Batch{}, err)
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(pool.Batch{}, ctx.Err())
				return
			}
		}
	}
}

// errEnough is that whoever goes through the events has broken off.
var errEnough = errors.New("enough")

// pass yields batches that follow on after, up to head: what is not published yet is not shown, since it may belong
// to an append still in doubt. It keeps after at the last one. A gap ends it, as the end of the batches does.
func pass(batches iter.Seq2[pool.Batch, error], after *pool.Revision, head pool.Revision, yield func(pool.Batch, error) bool) error {
	for b, err := range batches {
		switch {
		case err != nil:
			return err
		case b.Revision != *after+1 || b.Revision > head:
			return nil
		case !yield(b, nil):
			return errEnough
		}
		*after = b.Revision
	}
	return nil
}

func number(r pool.Revision) string { return strconv.FormatInt(int64(r), 10) }
