package ledgertest_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
	"github.com/stretchr/testify/require"
)

// broken is a ledger with one fault: the functions that are set replace those of the sound one.
type broken struct {
	*pool.MemoryLedger
	append     func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error)
	read       func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool)
	archive    func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool)
	checkpoint func(ctx context.Context) (pool.Revision, []byte, error)
	compact    func(ctx context.Context, at pool.Revision, snapshot []byte) error
	forget     func(ctx context.Context, subject string) error
	watch      func(ctx context.Context) (<-chan struct{}, error)
	now        func(ctx context.Context) (time.Time, error)
}

func (b *broken) Append(ctx context.Context, prev pool.Revision, batch ...pool.Event) (pool.Revision, error) {
	if b.append != nil {
		return b.append(ctx, prev, batch)
	}
	return b.MemoryLedger.Append(ctx, prev, batch...)
}

func (b *broken) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	if b.read != nil {
		return func(yield func(pool.Batch, error) bool) { b.read(ctx, after, yield) }
	}
	return b.MemoryLedger.Read(ctx, after)
}

func (b *broken) Archive(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	if b.archive != nil {
		return func(yield func(pool.Batch, error) bool) { b.archive(ctx, after, yield) }
	}
	return b.MemoryLedger.Archive(ctx, after)
}

func (b *broken) Checkpoint(ctx context.Context) (pool.Revision, []byte, error) {
	if b.checkpoint != nil {
		return b.checkpoint(ctx)
	}
	return b.MemoryLedger.Checkpoint(ctx)
}

func (b *broken) Compact(ctx context.Context, at pool.Revision, snapshot []byte) error {
	if b.compact != nil {
		return b.compact(ctx, at, snapshot)
	}
	return b.MemoryLedger.Compact(ctx, at, snapshot)
}

func (b *broken) Forget(ctx context.Context, subject string) error {
	if b.forget != nil {
		return b.forget(ctx, subject)
	}
	return b.MemoryLedger.Forget(ctx, subject)
}

func (b *broken) Watch(ctx context.Context) (<-chan struct{}, error) {
	if b.watch != nil {
		return b.watch(ctx)
	}
	return b.MemoryLedger.Watch(ctx)
}

func (b *broken) Now(ctx context.Context) (time.Time, error) {
	if b.now != nil {
		return b.now(ctx)
	}
	return b.MemoryLedger.Now(ctx)
}

func (b *broken) head() pool.Revision {
	archived, _, _ := b.MemoryLedger.Checkpoint(context.Background())
	for batch := range b.MemoryLedger.Read(context.Background(), archived) {
		archived = batch.Revision
	}
	return archived
}

// check runs one case by its name.
func check[S any](t *testing.T, cases []ledgertest.Case[S], name string, store S, patience time.Duration) error {
	t.Helper()
	for _, c := range cases {
		if c.Name == name {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			return c.Check(ctx, store)
		}
	}
	t.Fatalf("there is no case %q", name)
	return nil
}

// TestBrokenLedgersAreCaught: a suite that cannot fail proves nothing.
func TestBrokenLedgersAreCaught(t *testing.T) {
	t.Parallel()
	caught := make(map[string]bool)
	for name, f := range faults() {
		caught[f.caught] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &broken{MemoryLedger: pool.NewMemoryLedger()}
			f.by(b)
			patience := time.Minute // a case that is merely too slow for its time has noticed nothing
			hangs := name == "holds a lock across a yield" || name == "a reader that leaves keeps its connection"
			if hangs {
				patience = time.Second
			}
			err := check(t, ledgertest.Ledger(), f.caught, ledgertest.Store{Ledger: b}, patience)
			require.Error(t, err, "case %q has not noticed", f.caught)
			require.NotErrorIs(t, err, errors.ErrUnsupported)
			if !hangs {
				require.NotErrorIs(t, err, context.DeadlineExceeded, "case %q has only run out of time", f.caught)
			}
			require.ErrorContains(t, err, "rule: ")
			t.Log(err)
		})
	}
	for name, s := range map[string]struct {
		caught string
		store  ledgertest.Store
	}{
		"two handles that share nothing": {"second handle", ledgertest.Store{Ledger: pool.NewMemoryLedger(), Again: func(context.Context) (pool.Ledger, error) { return pool.NewMemoryLedger(), nil }}},
	} {
		caught[s.caught] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, check(t, ledgertest.Ledger(), s.caught, s.store, time.Minute), "rule: ")
		})
	}
	for name, lossy := range lossyStores() {
		caught[lossy.caught] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, check(t, ledgertest.Ledger(), lossy.caught, lossy.store(), time.Minute), "rule: ")
		})
	}
	for _, c := range ledgertest.Ledger() {
		require.True(t, caught[c.Name], "no broken ledger shows that case %q can fail", c.Name)
	}
}

// lossyStores have faults of their own making, which they handle wrongly.
func lossyStores() map[string]struct {
	caught string
	store  func() ledgertest.Store
} {
	type lossy = struct {
		caught string
		store  func() ledgertest.Store
	}
	// mistaken returns a store that says kind where the outcome is unknown, and does with a late commit what land does.
	mistaken := func(kind error, land func(b *broken, prev pool.Revision, batch []pool.Event)) func() ledgertest.Store {
		return func() ledgertest.Store {
			b := &broken{MemoryLedger: pool.NewMemoryLedger()}
			lose, by := false, time.Duration(0)
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				if !lose {
					return b.MemoryLedger.Append(ctx, prev, batch...)
				}
				lose = false
				if by == 0 {
					land(b, prev, batch)
				} else {
					time.AfterFunc(by, func() { land(b, prev, batch) })
				}
				return 0, &pool.Error{Kind: kind}
			}
			return ledgertest.Store{Ledger: b, LoseReply: func(later time.Duration) { lose, by = true, later }}
		}
	}
	honest := func(b *broken, prev pool.Revision, batch []pool.Event) {
		_, _ = b.MemoryLedger.Append(context.Background(), prev, batch...)
	}
	blind := func(b *broken, _ pool.Revision, batch []pool.Event) {
		_, _ = b.MemoryLedger.Append(context.Background(), b.head(), batch...)
	}
	down := func(kind error) func() ledgertest.Store {
		return func() ledgertest.Store {
			b := &broken{MemoryLedger: pool.NewMemoryLedger()}
			return ledgertest.Store{Ledger: b, Outage: func() func() {
				b.read = func(_ context.Context, _ pool.Revision, yield func(pool.Batch, error) bool) {
					yield(pool.Batch{}, &pool.Error{Kind: kind})
				}
				return func() { b.read = nil }
			}}
		}
	}
	return map[string]lossy{
		"a lost reply is called unavailable":       {"lost reply, landed at once", mistaken(pool.ErrUnavailable, honest)},
		"a lost reply is called a conflict":        {"lost reply, landed at once", mistaken(pool.ErrConflict, honest)},
		"a late commit lands wherever the head is": {"lost reply, landing later", mistaken(pool.ErrUnknown, blind)},
		"a lost commit lands twice": {"lost reply, another batch follows at once", mistaken(pool.ErrUnknown, func(b *broken, prev pool.Revision, batch []pool.Event) {
			honest(b, prev, batch)
			honest(b, prev+1, batch)
		})},
		"a late commit lands over another":     {"lost reply, another batch comes first", mistaken(pool.ErrUnknown, blind)},
		"an outage looks like an empty ledger": {"outage", down(nil)},
		"an outage looks like a compaction":    {"outage", down(pool.ErrCompacted)},
		"an outage that nobody notices": {"outage", func() ledgertest.Store {
			return ledgertest.Store{Ledger: pool.NewMemoryLedger(), Outage: func() func() { return func() {} }}
		}},
	}
}
