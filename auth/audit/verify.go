package audit

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Verify reads a history to its end and checks that it is the one of which the heads are, each of which must have been opened.
// It returns what the head at its end is, unsigned. ErrProof says which head it is not the history of, and up to
// which one it is: what differs is between the two. Other errors are those of the history.
func Verify(ctx context.Context, history History, heads ...Head) (Head, error) {
	heads = slices.SortedStableFunc(slices.Values(heads), func(a, b Head) int { return cmp.Compare(a.Size, b.Size) })
	var tip Tip
	good := "the beginning"
	for b, err := range history(ctx, 0) {
		if err != nil {
			return Head{}, err
		}
		if err := tip.Add(b); err != nil {
			return Head{}, err
		}
		for ; len(heads) > 0 && heads[0].Size <= tip.tree.Size(); heads = heads[1:] {
			want, got := heads[0], tip.Head()
			if got.Time = want.Time; got != want {
				return Head{}, &pool.Error{Kind: ErrProof, Field: "history up to revision " + number(want.Revision), Want: "the one of the head of ledger " + pool.Quote(want.Ledger) +
					" that was signed at " + want.Time.Format(time.RFC3339) + "; what is another one stands after " + good}
			}
			good = "revision " + number(want.Revision)
		}
	}
	if len(heads) > 0 {
		return Head{}, &pool.Error{Kind: ErrProof, Field: "history", Want: "one that goes on up to revision " + number(heads[0].Revision) + ", of which a head was signed; it ends at revision " + number(tip.revision)}
	}
	return tip.Head(), nil
}

// Differ returns where two histories begin to differ, and false if one is the beginning of the other. Errors are those of the histories.
func Differ(ctx context.Context, a, b History) (Position, bool, error) {
	nextA, stopA := iter.Pull2(a(ctx, 0))
	defer stopA()
	nextB, stopB := iter.Pull2(b(ctx, 0))
	defer stopB()
	for {
		x, errX, okX := nextA()
		y, errY, okY := nextB()
		switch {
		case errX != nil:
			return Position{}, false, errX
		case errY != nil:
			return Position{}, false, errY
		case !okX || !okY:
			return Position{}, false, nil
		}
		for i := range max(len(x.Events), len(y.Events)) {
			if i >= len(x.Events) || i >= len(y.Events) || x.Events[i].Leaf() != y.Events[i].Leaf() {
				return Position{x.Revision, i}, true, nil
			}
		}
	}
}
