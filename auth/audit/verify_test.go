package audit_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// changed is a history in which one event has another actor.
func changed(h audit.History, at audit.Position) audit.History {
	return func(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
		return func(yield func(pool.Batch, error) bool) {
			for b, err := range h(ctx, after) {
				if b.Revision == at.Revision {
					b.Events = append([]pool.Event(nil), b.Events...)
					b.Events[at.Index].Actor += "x"
				}
				if !yield(b, err) {
					return
				}
			}
		}
	}
}

// A history is held against heads of it: whichever event is changed, the first head that covers it does not fit, and those before do;
// and two copies side by side differ there.
func TestVerify(t *testing.T) {
	t.Parallel()
	l := filled(t, 1500)
	_, at, sizes := leavesOf(t, l)
	var heads []audit.Head
	log := &audit.Log{}
	for b, err := range pool.History(t.Context(), l, 0) {
		require.NoError(t, err)
		require.NoError(t, log.Add(b))
		if b.Revision%5 == 0 {
			h, err := log.Head()
			require.NoError(t, err)
			h.Time = time.Date(2026, 11, 29, 8, int(b.Revision), 0, 0, time.UTC)
			heads = append([]audit.Head{h}, heads...) // the newest first
		}
	}
	require.Greater(t, len(heads), 2)
	end, err := audit.Verify(t.Context(), audit.Of(l), heads...)
	require.NoError(t, err)
	last, err := log.Head()
	require.NoError(t, err)
	require.Equal(t, last, end)
	require.Equal(t, last.Root, mustRoot(t, log))

	for i := 0; i < len(at); i += 11 {
		p := at[i]
		bad := changed(audit.Of(l), p)
		where, differ, err := audit.Differ(t.Context(), audit.Of(l), bad)
		require.NoError(t, err)
		require.True(t, differ)
		require.Equal(t, p, where)
		covering := (p.Revision + 4) / 5 * 5
		_, err = audit.Verify(t.Context(), bad, heads...)
		if covering > heads[0].Revision { // nobody has signed it
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, audit.ErrProof)
		require.ErrorContains(t, err, fmt.Sprint("history up to revision ", covering, " "))
		if covering > 5 {
			require.ErrorContains(t, err, "stands after revision ")
		} else {
			require.ErrorContains(t, err, "stands after the beginning")
		}
	}

	for name, change := range map[string]func(*audit.Head){
		"ledger":   func(h *audit.Head) { h.Ledger = "SECOND" },
		"revision": func(h *audit.Head) { h.Revision++ },
		"root":     func(h *audit.Head) { h.Root[0]++ },
		"size":     func(h *audit.Head) { h.Size-- },
		"end":      func(h *audit.Head) { h.Size = sizes[len(sizes)-1] + 1 },
	} {
		h := heads[1]
		change(&h)
		_, err := audit.Verify(t.Context(), audit.Of(l), h)
		require.ErrorIs(t, err, audit.ErrProof, name)
	}

	shorter := func(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
		return func(yield func(pool.Batch, error) bool) {
			for b, err := range audit.Of(l)(ctx, after) {
				if b.Revision > 3 || !yield(b, err) {
					return
				}
			}
		}
	}
	_, differ, err := audit.Differ(t.Context(), shorter, audit.Of(l))
	require.NoError(t, err)
	require.False(t, differ, "one is the beginning of the other")
	broken := errors.New("broken")
	bad := func(context.Context, pool.Revision) iter.Seq2[pool.Batch, error] {
		return func(yield func(pool.Batch, error) bool) { yield(pool.Batch{}, broken) }
	}
	_, err = audit.Verify(t.Context(), bad)
	require.ErrorIs(t, err, broken)
	_, _, err = audit.Differ(t.Context(), bad, audit.Of(l))
	require.ErrorIs(t, err, broken)
	_, _, err = audit.Differ(t.Context(), audit.Of(l), bad)
	require.ErrorIs(t, err, broken)
	log = &audit.Log{History: bad}
	require.ErrorIs(t, log.Follow(t.Context()), broken)
}

func mustRoot(t *testing.T, log *audit.Log) [32]byte {
	t.Helper()
	root, err := log.Root(t.Context(), log.Size())
	require.NoError(t, err)
	return root
}
