package pool_test

import (
	"context"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// compacting compacts once more each time that it is read from.
type compacting struct {
	*pool.MemoryLedger
	next pool.Revision
}

func (c *compacting) Checkpoint(ctx context.Context) (pool.Revision, []byte, error) {
	c.next += 2
	return c.next, nil, c.Compact(ctx, c.next, nil)
}

// History goes on in the archive wherever a compaction has moved what it was about to read.
func TestHistory(t *testing.T) {
	t.Parallel()
	l := &compacting{MemoryLedger: pool.NewMemoryLedger()}
	for n := range pool.Revision(10) {
		_, err := l.Append(t.Context(), n, pool.Event{ID: "e", Kind: "k", Version: 1})
		require.NoError(t, err)
	}
	for after := range pool.Revision(11) {
		want := after + 1
		for b, err := range pool.History(t.Context(), l, after) {
			require.NoError(t, err)
			require.Equal(t, want, b.Revision)
			want++
			if l.next < 10 {
				_, _, err = l.Checkpoint(t.Context())
				require.NoError(t, err)
			}
		}
		require.EqualValues(t, 11, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range pool.History(ctx, l, 0) {
		require.ErrorIs(t, err, context.Canceled)
	}
	for b, err := range pool.History(t.Context(), l, 3) {
		require.NoError(t, err)
		require.EqualValues(t, 4, b.Revision)
		break
	}
}

// plundered is a ledger whose archive has been lost.
type plundered struct{ *pool.MemoryLedger }

func (plundered) Archive(context.Context, pool.Revision) iter.Seq2[pool.Batch, error] {
	return func(func(pool.Batch, error) bool) {}
}

// History ends, and says why, where the archive lacks what was moved there.
func TestHistoryWithoutArchive(t *testing.T) {
	t.Parallel()
	l := pool.NewMemoryLedger()
	for n := range pool.Revision(3) {
		_, err := l.Append(t.Context(), n, pool.Event{ID: "e", Kind: "k", Version: 1})
		require.NoError(t, err)
	}
	require.NoError(t, l.Compact(t.Context(), 2, nil))
	n := 0
	for _, err := range pool.History(t.Context(), plundered{l}, 0) {
		require.ErrorIs(t, err, pool.ErrCorrupt)
		n++
	}
	require.Equal(t, 1, n)
}

// TestSnapshotForm: a record that has changed has another version of the snapshot, so that none is read by a
// program that would take what it lacks for nothing. A change of what the fold makes of an event, which this test
