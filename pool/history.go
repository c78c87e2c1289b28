package pool

import (
	"context"
	"errors"
	"iter"
	"strconv"
)

// History yields the batches of a ledger after the given revision in order, wherever they are: those that
// compaction has moved to the archive, and then the others up to the head. Its errors are those of Read and
// Archive, but never ErrCompacted: an archive that lacks what was moved there is ErrCorrupt.
func History(ctx context.Context, l Ledger, after Revision) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for {
			moved := false
			for b, err := range l.Read(ctx, after) {
				if moved = errors.Is(err, ErrCompacted); moved {
					break
				}
				if !yield(b, err) || err != nil {
					return
				}
				after = b.Revision
			}
			if !moved {
				return
			}
			from := after
			for b, err := range l.Archive(ctx, after) {
				if !yield(b, err) || err != nil {
					return
				}
				after = b.Revision
			}
			if after == from {
				yield(Batch{}, &Error{Kind: ErrCorrupt, Field: "archive", Value: strconv.FormatInt(int64(after), 10), Want: "the batches after this revision, which compaction has moved there"})
				return
			}
		}
	}
}
