package pool_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	_, s, _ := setUp(t)
	good, err := s.Snapshot()
	require.NoError(t, err)
	require.Contains(t, string(good), `"version":1`, "another number when a record or the fold changes")
	for text, kind := range map[string]error{
		"":                                  pool.ErrInvalid,
		"golden snapshot":                   pool.ErrInvalid,
		`{}`:                                pool.ErrUnknownKind,
		`{"version":2,"instances":"newer"}`: pool.ErrUnknownKind,
		`{"version":1,"newer":1}`:           pool.ErrInvalid,
		`{"version":1,"hosts":[null]}`:      pool.ErrInvalid,
		`{"version":1,"images":[{"name":"a"},{"name":"a"}]}`: pool.ErrInvalid,
		string(good) + "{}": pool.ErrInvalid,
	} {
		_, err := pool.Restore([]byte(text))
		require.ErrorIs(t, err, kind, text)
		harmless(t, err)
	}
}

func FuzzRestore(f *testing.F) {
	_, s, _ := setUp(f)
	b, err := s.Snapshot()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte(`{"version":1,"former":[{"ledger":"a","last":1,"placed":null}],"held":[{"machine":""}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := pool.Restore(b)
		if err != nil {
			require.True(t, errors.Is(err, pool.ErrInvalid) || errors.Is(err, pool.ErrUnknownKind), "%v", err)
			return
		}
		_, err = s.Snapshot()
		require.NoError(t, err)
	})
}

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

// TestSnapshotForm: a record that has changed has another version of the snapshot, so that none is read by a
// program that would take what it lacks for nothing. A change of what the fold makes of an event, which this test
// cannot see, needs another version too.
func TestSnapshotForm(t *testing.T) {
	t.Parallel()
	form, version := pool.SnapshotForm()
	require.Contains(t, form, "pool.Instance.Phase pool.Phase")
	sum := sha256.Sum256([]byte(form))
	require.Equal(t, "1 04fe8999013bb98c", fmt.Sprintf("%d %x", version, sum[:8]),
		"the form has changed: raise snapshotVersion, once it has been released, and put both here")
}
