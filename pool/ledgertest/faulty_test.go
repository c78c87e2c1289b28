package ledgertest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
	"github.com/stretchr/testify/require"
)

// A lost reply, as whoever appends must settle it.
func ExampleFaulty() {
	ctx := context.Background()
	ledger := ledgertest.NewFaulty(pool.NewMemoryLedger(), 1, ledgertest.Faults{})
	ledger.Next(ledgertest.LostReply)

	e := pool.Event{ID: "e1", Kind: "demo", Version: 1, Time: time.Unix(0, 0)}
	_, err := ledger.Append(ctx, 0, e)
	fmt.Println(errors.Is(err, pool.ErrUnknown))
	rev, err := ledger.Append(ctx, 0, e) // the same batch at the same revision
	fmt.Println(rev, err)
	// Output:
	// true
	// 1 <nil>
}

func TestFaultyWithoutFaultsIsSound(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, func(*testing.T) ledgertest.Store {
		f := ledgertest.NewFaulty(pool.NewMemoryLedger(), 1, ledgertest.Faults{})
		return ledgertest.Store{
			Ledger: f,
			Again:  func(context.Context) (pool.Ledger, error) { return f, nil },
			LoseReply: func(later time.Duration) {
				f.Set(ledgertest.Faults{LateBy: later})
				if later > 0 {
					f.Next(ledgertest.Late)
				} else {
					f.Next(ledgertest.LostReply)
				}
			},
			Outage: func() func() { f.SetDown(true); return func() { f.SetDown(false) } },
		}
	})
	ledgertest.RunScratch(t, func(*testing.T) ledgertest.ScratchStore {
		return ledgertest.ScratchStore{Scratch: ledgertest.NewFaulty(nil, 1, ledgertest.Faults{}).Scratch(pool.NewMemoryScratch())}
	})
}

func plain(id string) pool.Event {
	return pool.Event{ID: id, Kind: "k", Version: 1, Time: time.Unix(0, 0)}
}

func idsOf(t *testing.T, l pool.Ledger) (ids []string) {
	t.Helper()
	for b, err := range l.Read(t.Context(), 0) {
		require.NoError(t, err)
		ids = append(ids, b.Events[0].ID)
	}
	return ids
}

// TestFaultyKinds goes through each fault once, in virtual time.
func TestFaultyKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault ledgertest.Fault
		kind  error
		now   int // batches stored when the call returns
		later int // batches stored in the end
	}{
		{ledgertest.None, nil, 1, 1},
		{ledgertest.Refused, pool.ErrUnavailable, 0, 0},
		{ledgertest.LostRequest, pool.ErrUnknown, 0, 0},
		{ledgertest.LostReply, pool.ErrUnknown, 1, 1},
		{ledgertest.Late, pool.ErrUnknown, 0, 1},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				inner := pool.NewMemoryLedger()
				f := ledgertest.NewFaulty(inner, 1, ledgertest.Faults{LateBy: 10 * time.Second})
				f.Next(c.fault)
				start := time.Now()
				e := plain("a")
				e.Data = []byte("1")
				_, err := f.Append(t.Context(), 0, e)
				e.Data[0] = 'x' // as the caller may
				if c.kind == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, c.kind)
				}
				require.Equal(t, start, time.Now())
				require.Len(t, idsOf(t, inner), c.now)
				f.Settle()
				require.Len(t, idsOf(t, inner), c.later)
				if c.fault == ledgertest.Late {
					passed := time.Since(start)
					require.GreaterOrEqual(t, passed, 5*time.Second)
					require.LessOrEqual(t, passed, 10*time.Second)
				}
				for b, err := range inner.Read(t.Context(), 0) {
					require.NoError(t, err)
					require.Equal(t, "1", string(b.Events[0].Data))
				}
				require.Equal(t, map[ledgertest.Fault]int{c.fault: 1}, f.Counts())
			})
		})
	}
}

// TestFaultyLateNeverOverwrites: what lands late meets the compare-and-swap of the ledger like any other.
func TestFaultyLateNeverOverwrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := ledgertest.NewFaulty(pool.NewMemoryLedger(), 1, ledgertest.Faults{})
		f.Next(ledgertest.Late, ledgertest.None, ledgertest.None)
		_, err := f.Append(t.Context(), 0, plain("late"))
		require.ErrorIs(t, err, pool.ErrUnknown)
		_, err = f.Append(t.Context(), 0, plain("first"))
		require.NoError(t, err)
		f.Settle()
		require.Equal(t, []string{"first"}, idsOf(t, f))
		_, err = f.Append(t.Context(), 0, plain("late"))
		require.ErrorIs(t, err, pool.ErrConflict)
	})
}

// TestFaultyOutage: nothing gets through, whatever the call, and all of it does afterwards.
func TestFaultyOutage(t *testing.T) {
	t.Parallel()
	f := ledgertest.NewFaulty(pool.NewMemoryLedger(), 1, ledgertest.Faults{})
	s := f.Scratch(pool.NewMemoryScratch())
	calls := func() map[string]error {
		_, appendErr := f.Append(t.Context(), 0, plain("a"))
		_, _, checkpointErr := f.Checkpoint(t.Context())
		var readErr, archiveErr error
		for _, err := range f.Read(t.Context(), 0) {
			readErr = err
		}
		for _, err := range f.Archive(t.Context(), 0) {
			archiveErr = err
		}
		_, nowErr := f.Now(t.Context())
		_, watchErr := f.Watch(t.Context())
		version, putErr := s.Put(t.Context(), "k", nil, 0, time.Hour)
		_, _, getErr := s.Get(t.Context(), "k")
		return map[string]error{
			"Append": appendErr, "Checkpoint": checkpointErr, "Read": readErr, "Archive": archiveErr, "Now": nowErr, "Watch": watchErr,
			"Put": putErr, "Get": getErr, "Delete": s.Delete(t.Context(), "k", version), "Forget": f.Forget(t.Context(), "s"),
			"Compact": f.Compact(t.Context(), 1, nil),
		}
	}
	f.SetDown(true)
	for name, err := range calls() {
		require.ErrorIs(t, err, pool.ErrUnavailable, name)
	}
	require.Equal(t, map[ledgertest.Fault]int{ledgertest.Refused: 11}, f.Counts())
	f.SetDown(false)
	for name, err := range calls() {
		require.NoError(t, err, name)
	}
}

// TestFaultyScratch: lost replies of Put and Delete.
func TestFaultyScratch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := ledgertest.NewFaulty(nil, 1, ledgertest.Faults{LateBy: time.Second})
		s := f.Scratch(pool.NewMemoryScratch())
		f.Next(ledgertest.LostReply)
		_, err := s.Put(t.Context(), "k", []byte("mine"), 0, time.Hour)
		require.ErrorIs(t, err, pool.ErrUnknown)
		_, err = s.Put(t.Context(), "k", []byte("mine"), 0, time.Hour)
		require.ErrorIs(t, err, pool.ErrConflict)
		value, version, err := s.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "mine", string(value))

		f.Next(ledgertest.Late)
		require.ErrorIs(t, s.Delete(t.Context(), "k", version), pool.ErrUnknown)
		_, _, err = s.Get(t.Context(), "k")
		require.NoError(t, err)
		f.Settle()
		_, _, err = s.Get(t.Context(), "k")
		require.ErrorIs(t, err, pool.ErrNotFound)
	})
}

// TestFaultyLatency: a call takes its time, but no longer than its context, and then nothing was sent.
func TestFaultyLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := ledgertest.NewFaulty(pool.NewMemoryLedger(), 7, ledgertest.Faults{Latency: time.Second})
		var longest time.Duration
		for i := range 50 {
			start := time.Now()
			_, err := f.Append(t.Context(), pool.Revision(i), plain(fmt.Sprint(i)))
			require.NoError(t, err)
			longest = max(longest, time.Since(start))
		}
		require.Greater(t, longest, 900*time.Millisecond)
		require.LessOrEqual(t, longest, time.Second)

		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
			_, err := f.Append(ctx, 50, plain("x"))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, pool.ErrUnknown)
			cancel()
		}
		require.Len(t, idsOf(t, f), 50)
	})
}

// TestFaultySeed: one seed gives one run; another gives another.
func TestFaultySeed(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (outcomes []string) {
		synctest.Test(t, func(t *testing.T) {
			f := ledgertest.NewFaulty(pool.NewMemoryLedger(), seed, ledgertest.Faults{Refused: 0.2, LostRequest: 0.2, LostReply: 0.2, Late: 0.2, Latency: time.Second})
			start := time.Now()
			for i, prev := 0, pool.Revision(0); i < 100; i++ {
				rev, err := f.Append(t.Context(), prev, plain(fmt.Sprint("e", prev)))
				outcomes = append(outcomes, fmt.Sprint(rev, err, time.Since(start)))
				if err == nil {
					prev = rev
				}
			}
			f.Settle()
			for _, fault := range []ledgertest.Fault{ledgertest.None, ledgertest.Refused, ledgertest.LostRequest, ledgertest.LostReply, ledgertest.Late} {
				require.Greater(t, f.Counts()[fault], 5, fault)
			}
			for i, id := range idsPatiently(t, f) {
				require.Equal(t, fmt.Sprint("e", i), id)
			}
		})
		return outcomes
	}
	require.Equal(t, run(3), run(3))
	require.NotEqual(t, run(3), run(4))
}

// idsPatiently reads on from where a refused read broke off.
func idsPatiently(t *testing.T, l pool.Ledger) (ids []string) {
	t.Helper()
	for {
		var failed error
		for b, err := range l.Read(t.Context(), pool.Revision(len(ids))) {
			if failed = err; err == nil {
				ids = append(ids, b.Events[0].ID)
			}
		}
		if failed == nil {
			return ids
		}
		require.ErrorIs(t, failed, pool.ErrUnavailable)
	}
}

// TestRaceUnderFaults puts racing appenders on a ledger that loses and delays replies.
func TestRaceUnderFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		f := ledgertest.NewFaulty(pool.NewMemoryLedger(), seed, ledgertest.Faults{Refused: 0.05, LostRequest: 0.05, LostReply: 0.1, Late: 0.05, LateBy: 20 * time.Millisecond})
		quiet := &reads{f}
		require.NoError(t, check(t, ledgertest.Ledger(), "16 racing appenders", ledgertest.Store{Ledger: quiet}, time.Minute))
		require.Greater(t, f.Counts()[ledgertest.LostReply], 5)
	}
}

// reads retries refused reads, which the suite takes for a broken store.
type reads struct{ *ledgertest.Faulty }

func (r *reads) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		for again := true; again; {
			again = false
			for b, err := range r.Faulty.Read(ctx, after) {
				if again = errors.Is(err, pool.ErrUnavailable); again {
					break
				}
				if !yield(b, err) {
					return
				}
				after = b.Revision
			}
		}
	}
}
