package pool_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/stretchr/testify/require"
)

func ExampleNewMemoryLedger() {
	ctx := context.Background()
	ledger := pool.NewMemoryLedger()
	e, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "L1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	e.ID, e.Actor, e.Time = "e1", "berthage", time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

	head, err := ledger.Append(ctx, 0, e)
	fmt.Println(head, err)
	head, err = ledger.Append(ctx, 0, e) // the same batch again: its reply may have been lost
	fmt.Println(head, err)
	for b, err := range ledger.Read(ctx, 0) {
		fmt.Println(b.Revision, b.Events[0].Kind, string(b.Events[0].Data), err)
	}
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 1 ledger.opened {"ledger":"L1"} <nil>
}

func ExampleNewMemoryScratch() {
	ctx := context.Background()
	scratch := pool.NewMemoryScratch()
	v, err := scratch.Put(ctx, "lease", []byte("daemon-a"), 0, 3*time.Second)
	fmt.Println(v, err)
	_, err = scratch.Put(ctx, "lease", []byte("daemon-b"), 0, 3*time.Second)
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// put: version "0" revision conflict: the key's version, 1
}

func TestMemoryZeroValues(t *testing.T) {
	t.Parallel()
	var l pool.MemoryLedger
	var s pool.MemoryScratch
	rev, err := l.Append(t.Context(), 0, pool.Event{ID: "a", Kind: "k", Version: 1, Time: time.Now()})
	require.NoError(t, err)
	require.Equal(t, pool.Revision(1), rev)
	_, err = s.Put(t.Context(), "k", nil, 0, time.Hour)
	require.NoError(t, err)
}

// TestMemoryInBubble shows that the memory stores live in the virtual time of a synctest bubble.
func TestMemoryInBubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, s := pool.NewMemoryLedger(), pool.NewMemoryScratch()
		t0, err := l.Now(ctx)
		require.NoError(t, err)
		w, err := l.Watch(ctx)
		require.NoError(t, err)
		version, err := s.Put(ctx, "k", []byte("v"), 0, time.Hour)
		require.NoError(t, err)

		time.Sleep(time.Hour - time.Microsecond)
		_, _, err = s.Get(ctx, "k")
		require.NoError(t, err)
		time.Sleep(time.Microsecond)
		_, _, err = s.Get(ctx, "k")
		require.ErrorIs(t, err, pool.ErrNotFound)
		require.ErrorIs(t, s.Delete(ctx, "k", version), pool.ErrConflict)

		t1, err := l.Now(ctx)
		require.NoError(t, err)
		require.Equal(t, time.Hour, t1.Sub(t0))

		_, err = l.Append(ctx, 0, pool.Event{ID: "a", Kind: "k", Version: 1, Time: t1})
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, w, 1)
		cancel()
		synctest.Wait()
		<-w
		_, open := <-w
		require.False(t, open)
	})
}

// TestMemoryScratchSweeps: what has expired does not stay in memory for ever.
func TestMemoryScratchSweeps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := pool.NewMemoryScratch()
		for i := range 10_000 {
			_, err := s.Put(t.Context(), fmt.Sprint(i), nil, 0, time.Second)
			require.NoError(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		require.LessOrEqual(t, s.Len(), 64)
	})
}
