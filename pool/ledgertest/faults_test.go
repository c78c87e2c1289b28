package ledgertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
)

// alter makes the ledger store events changed by f.
func alter(f func(*pool.Event)) func(*broken) {
	return func(b *broken) {
		b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
			if _, err := pool.CheckBatch(prev, batch); err != nil {
				return 0, err
			}
			batch = slices.Clone(batch)
			for i := range batch {
				f(&batch[i])
			}
			return b.MemoryLedger.Append(ctx, prev, batch...)
		}
	}
}

// alterRead makes the ledger return events changed by f.
func alterRead(f func(*pool.Event)) func(*broken) {
	return func(b *broken) {
		b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
			for batch, err := range b.MemoryLedger.Read(ctx, after) {
				for i := range batch.Events {
					f(&batch.Events[i])
				}
				if !yield(batch, err) {
					return
				}
			}
		}
	}
}

var errBare = errors.New("write failed")

// fault is how a ledger is broken, and the case that must notice.
type fault struct {
	caught string
	by     func(*broken)
}

// faults has them by what is broken.
func faults() map[string]fault {
	return map[string]fault{
		"a store that was used before": {"empty", func(b *broken) {
			_, _ = b.MemoryLedger.Append(context.Background(), 0, pool.Event{ID: "x", Kind: "k", Version: 1})
		}},
		"a checkpoint out of nothing": {"empty", func(b *broken) {
			b.checkpoint = func(context.Context) (pool.Revision, []byte, error) { return 0, []byte{}, nil }
		}},
		"returns prev": {"dense revisions", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				_, err := b.MemoryLedger.Append(ctx, prev, batch...)
				return prev, err
			}
		}},
		"acknowledges without storing": {"dense revisions", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				if prev == 10 {
					return 11, nil
				}
				return b.MemoryLedger.Append(ctx, prev, batch...)
			}
		}},
		"numbers with gaps": {"dense revisions", alterRead(func(e *pool.Event) { e.Revision *= 2 })},
		"appends wherever the head is": {"conflict", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				_, err := b.MemoryLedger.Append(ctx, b.head(), batch...)
				return prev + 1, err
			}
		}},
		"a conflict of no kind": {"conflict", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				if errors.Is(err, pool.ErrConflict) {
					err = errBare
				}
				return rev, err
			}
		}},
		"a conflict of two kinds": {"conflict", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				if err != nil {
					err = errors.Join(err, pool.ErrUnavailable)
				}
				return rev, err
			}
		}},
		"the same batch again is a conflict": {"same batch again", again(func(*broken, pool.Revision) bool { return false })},
		"the same batch again replaces the data": {"same batch again", func(b *broken) {
			last := make(map[string]json.RawMessage)
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				for _, e := range batch {
					last[e.ID] = e.Data
				}
				return b.MemoryLedger.Append(ctx, prev, batch...)
			}
			alterRead(func(e *pool.Event) { e.Data = last[e.ID] })(b)
		}},
		"settles at the head only": {"same batch again, newer ones follow", again(func(b *broken, prev pool.Revision) bool { return prev+1 == b.head() })},
		"settles in the live part only": {"same batch again, archived", again(func(b *broken, prev pool.Revision) bool {
			at, _, _ := b.MemoryLedger.Checkpoint(context.Background())
			return prev >= at
		})},
		"compares the first id only": {"another batch won", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				for stored := range b.MemoryLedger.Read(ctx, prev) {
					if len(batch) > 0 && stored.Events[0].ID == batch[0].ID {
						return prev + 1, nil
					}
					break
				}
				return b.MemoryLedger.Append(ctx, prev, batch...)
			}
		}},
		"compares ids as a set": {"another batch won", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				for stored := range b.MemoryLedger.Read(ctx, prev) {
					if slices.Equal(sortedIDs(stored.Events), sortedIDs(batch)) {
						return prev + 1, nil
					}
					break
				}
				return b.MemoryLedger.Append(ctx, prev, batch...)
			}
		}},
		"takes any batch": {"bounds", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				if errors.Is(err, pool.ErrInvalid) {
					return prev + 1, nil
				}
				return rev, err
			}
		}},
		"takes at most 1,000 events": {"bounds", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				return b.MemoryLedger.Append(ctx, prev, batch[:min(len(batch), 1000)]...)
			}
		}},
		"compacts JSON": {"bytes", alter(func(e *pool.Event) {
			var out bytes.Buffer
			if json.Compact(&out, e.Data) == nil {
				e.Data = out.Bytes()
			}
		})},
		"pads and trims text":       {"bytes", alter(func(e *pool.Event) { e.Actor = strings.TrimRight(e.Actor, " ") })},
		"normalises text":           {"bytes", alter(func(e *pool.Event) { e.Cause = strings.ReplaceAll(e.Cause, "e\u0301", "é") })},
		"folds case":                {"bytes", alter(func(e *pool.Event) { e.Subject = strings.ToLower(e.Subject) })},
		"keeps milliseconds":        {"bytes", alter(func(e *pool.Event) { e.Time = e.Time.Truncate(time.Millisecond) })},
		"returns local time":        {"bytes", alterRead(func(e *pool.Event) { e.Time = e.Time.In(time.FixedZone("CET", 3600)) })},
		"keeps 32 bits of an epoch": {"bytes", alter(func(e *pool.Event) { e.Epoch = int64(int32(e.Epoch)) })},
		"keeps numbers as doubles":  {"bytes", alter(func(e *pool.Event) { e.Epoch = int64(float64(e.Epoch>>8)) << 8 })},
		"ends data at a NUL":        {"bytes", alter(func(e *pool.Event) { e.Data, _, _ = bytes.Cut(e.Data, []byte{0}) })},
		"loses the salt":            {"bytes", alterRead(func(e *pool.Event) { e.Salt = nil })},
		"loses an empty private part": {"bytes", alterRead(func(e *pool.Event) {
			if len(e.Private) == 0 {
				e.Private = nil
			}
		})},
		"loses a hash without its private part": {"bytes", alterRead(func(e *pool.Event) {
			if e.Private == nil {
				e.PrivateHash = nil
			}
		})},
		"keeps the caller's bytes": {"bytes are copied", func(b *broken) {
			given := make(map[string]json.RawMessage)
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				for _, e := range batch {
					given[e.ID] = e.Data
				}
				return b.MemoryLedger.Append(ctx, prev, batch...)
			}
			alterRead(func(e *pool.Event) { e.Data = bytes.Clone(given[e.ID]) })(b)
		}},
		"returns its own bytes": {"bytes are copied", func(b *broken) {
			cache := make(map[string]json.RawMessage)
			alterRead(func(e *pool.Event) {
				if cache[e.ID] == nil {
					cache[e.ID] = e.Data
				}
				e.Data = cache[e.ID]
			})(b)
		}},
		"returns its own snapshot": {"bytes are copied", func(b *broken) {
			var own []byte
			b.checkpoint = func(ctx context.Context) (pool.Revision, []byte, error) {
				at, snapshot, err := b.MemoryLedger.Checkpoint(ctx)
				if own == nil {
					own = snapshot
				}
				return at, own, err
			}
		}},
		"numbers the caller's events": {"bytes are copied", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				for i := range batch {
					batch[i].Revision = rev
				}
				return rev, err
			}
		}},
		"reads from after on": {"read from anywhere", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				b.MemoryLedger.Read(ctx, max(after-1, 0))(yield)
			}
		}},
		"reads one page": {"read from anywhere", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for batch, err := range b.MemoryLedger.Read(ctx, after) {
					if batch.Revision > after+256 || !yield(batch, err) {
						return
					}
				}
			}
		}},
		"loses a batch at a page's end": {"read from anywhere", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for batch, err := range b.MemoryLedger.Read(ctx, after) {
					if batch.Revision != after+256 && !yield(batch, err) {
						return
					}
				}
			}
		}},
		"holds a lock across a yield": {"append inside a read loop", func(b *broken) {
			var mu sync.Mutex
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				mu.Lock()
				defer mu.Unlock()
				return b.MemoryLedger.Append(ctx, prev, batch...)
			}
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				mu.Lock()
				defer mu.Unlock()
				b.MemoryLedger.Read(ctx, after)(yield)
			}
		}},
		"follows the head for ever": {"append inside a read loop", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for more := true; more; {
					more = false
					for batch, err := range b.MemoryLedger.Read(ctx, after) {
						if !yield(batch, err) {
							return
						}
						after, more = batch.Revision, true
					}
				}
			}
		}},
		"a reader that leaves keeps its connection": {"read left early", func(b *broken) {
			connections := make(chan struct{}, 8)
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				select {
				case connections <- struct{}{}:
				case <-ctx.Done():
					yield(pool.Batch{}, ctx.Err())
					return
				}
				for batch, err := range b.MemoryLedger.Read(ctx, after) {
					if !yield(batch, err) {
						return
					}
				}
				<-connections
			}
		}},
		"shows a batch in part": {"whole batches", func(b *broken) {
			var mu sync.Mutex
			var part pool.Batch // what a transaction that is open has written so far
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				stored, err := pool.CheckBatch(prev, batch)
				if err != nil {
					return 0, err
				}
				mu.Lock()
				part = pool.Batch{Revision: prev + 1, Events: stored[:1]}
				mu.Unlock()
				time.Sleep(time.Millisecond)
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				mu.Lock()
				part = pool.Batch{}
				mu.Unlock()
				return rev, err
			}
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				mu.Lock()
				dirty := part
				mu.Unlock()
				last := after
				for batch, err := range b.MemoryLedger.Read(ctx, after) {
					if last = batch.Revision; !yield(batch, err) {
						return
					}
				}
				if dirty.Revision == last+1 {
					yield(dirty, nil)
				}
			}
		}},
		"looks before it stores, without a lock": {"16 racing appenders", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				head := b.head()
				if prev != head {
					return b.MemoryLedger.Append(ctx, prev, batch...)
				}
				time.Sleep(time.Millisecond)
				for {
					rev, err := b.MemoryLedger.Append(ctx, b.head(), batch...)
					if !errors.Is(err, pool.ErrConflict) {
						return rev, err
					}
				}
			}
		}},
		"a lost update": {"64 racing appenders", func(b *broken) {
			var mu sync.Mutex
			head := pool.Revision(0)
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				mu.Lock()
				fits := prev == head
				mu.Unlock()
				time.Sleep(time.Millisecond)
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				if fits { // the winner of the race overwrites, as far as both can tell
					err = nil
					mu.Lock()
					head = prev + 1
					mu.Unlock()
					rev = prev + 1
				}
				return rev, err
			}
		}},
		"compacting deletes": {"compact", func(b *broken) {
			b.archive = func(context.Context, pool.Revision, func(pool.Batch, error) bool) {}
		}},
		"cuts a large snapshot": {"compact", func(b *broken) {
			b.compact = func(ctx context.Context, at pool.Revision, snapshot []byte) error {
				return b.MemoryLedger.Compact(ctx, at, snapshot[:min(len(snapshot), 1<<20)])
			}
		}},
		"the archive starts at its first batch always": {"compact", func(b *broken) {
			b.archive = func(ctx context.Context, _ pool.Revision, yield func(pool.Batch, error) bool) {
				b.MemoryLedger.Archive(ctx, 0)(yield)
			}
		}},
		"a checkpoint that goes back": {"checkpoint only advances", func(b *broken) {
			b.compact = func(ctx context.Context, at pool.Revision, snapshot []byte) error {
				err := b.MemoryLedger.Compact(ctx, at, snapshot)
				if head := b.head(); at > 0 && at <= head {
					return nil
				}
				return err
			}
		}},
		"compacts beyond the head": {"checkpoint only advances", func(b *broken) {
			b.compact = func(ctx context.Context, at pool.Revision, snapshot []byte) error {
				if at > b.head() {
					return nil
				}
				return b.MemoryLedger.Compact(ctx, at, snapshot)
			}
		}},
		"reads on from the checkpoint without a word": {"compacted", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				at, _, _ := b.MemoryLedger.Checkpoint(ctx)
				b.MemoryLedger.Read(ctx, max(after, at))(yield)
			}
		}},
		"reads the archive as if it were live": {"compacted", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for batch, err := range b.MemoryLedger.Archive(ctx, after) {
					if after = batch.Revision; !yield(batch, err) {
						return
					}
				}
				b.MemoryLedger.Read(ctx, after)(yield)
			}
		}},
		"a gap under a reader": {"compact under a reader", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for batch, err := range b.MemoryLedger.Read(ctx, after) {
					at, _, _ := b.MemoryLedger.Checkpoint(ctx)
					if at > after && batch.Revision <= at {
						continue
					}
					if !yield(batch, err) {
						return
					}
				}
			}
		}},
		"compacting drops what comes meanwhile": {"compact while appending", func(b *broken) {
			var mu sync.Mutex
			dropped := make(map[pool.Revision]bool)
			b.compact = func(ctx context.Context, at pool.Revision, snapshot []byte) error {
				head := b.head()
				err := b.MemoryLedger.Compact(ctx, at, snapshot)
				mu.Lock()
				defer mu.Unlock()
				for r := head; r > at; r-- {
					dropped[r] = true
				}
				return err
			}
			b.archive = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for batch, err := range b.MemoryLedger.Archive(ctx, after) {
					mu.Lock()
					skip := dropped[batch.Revision]
					mu.Unlock()
					if !skip && !yield(batch, err) {
						return
					}
				}
			}
		}},
		"forgets in the live part only": {"forget", func(b *broken) {
			kept := make(map[string]pool.Event)
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				for _, e := range batch {
					kept[e.ID] = e
				}
				return b.MemoryLedger.Append(ctx, prev, batch...)
			}
			b.archive = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for batch, err := range b.MemoryLedger.Archive(ctx, after) {
					for i := range batch.Events {
						batch.Events[i].Private, batch.Events[i].Salt = kept[batch.Events[i].ID].Private, kept[batch.Events[i].ID].Salt
					}
					if !yield(batch, err) {
						return
					}
				}
			}
		}},
		"forgets nothing": {"forget", func(b *broken) { b.forget = func(context.Context, string) error { return nil } }},
		"forgets subjects in any case": {"forget", func(b *broken) {
			b.forget = func(ctx context.Context, subject string) error {
				return errors.Join(b.MemoryLedger.Forget(ctx, subject), b.MemoryLedger.Forget(ctx, strings.ToUpper(subject[:min(1, len(subject))])+subject[min(1, len(subject)):]))
			}
		}},
		"forgets by pattern": {"forget", func(b *broken) {
			b.forget = func(ctx context.Context, subject string) error {
				if subject == "ad_" {
					subject = "ada"
				}
				return b.MemoryLedger.Forget(ctx, subject)
			}
		}},
		"an unknown subject is an error": {"forget", func(b *broken) {
			b.forget = func(ctx context.Context, subject string) error {
				if subject == "nobody" {
					return &pool.Error{Kind: pool.ErrNotFound}
				}
				return b.MemoryLedger.Forget(ctx, subject)
			}
		}},
		"forgets the hash too": {"forget", alterRead(func(e *pool.Event) {
			if e.Private == nil {
				e.PrivateHash = nil
			}
		})},
		"forgets the rest of the event": {"forget under a reader", alterRead(func(e *pool.Event) {
			if e.Subject != "" && e.Private == nil {
				e.Data = nil
			}
		})},
		"takes no notice of an ended context": {"context ended before", func(b *broken) {
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				return b.MemoryLedger.Append(context.WithoutCancel(ctx), prev, batch...)
			}
		}},
		"forgets with an ended context": {"context ended before", func(b *broken) {
			b.forget = func(ctx context.Context, subject string) error {
				return errors.Join(b.MemoryLedger.Forget(context.WithoutCancel(ctx), subject), ctx.Err())
			}
		}},
		"stores and says that it did not": {"context ends during an append", func(b *broken) {
			n := 0 // appends that were stored: one whose context ended first is refused, and truly so
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				if err != nil {
					return rev, err
				}
				if n++; n == 10 {
					return 0, &pool.Error{Kind: pool.ErrUnavailable, Cause: context.DeadlineExceeded}
				}
				return rev, nil
			}
		}},
		"an unknown outcome that looks like nothing sent": {"context ends during an append", func(b *broken) {
			n := 0
			b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
				rev, err := b.MemoryLedger.Append(ctx, prev, batch...)
				if n++; n == 20 {
					return 0, &pool.Error{Kind: pool.ErrUnknown, Cause: context.DeadlineExceeded}
				}
				return rev, err
			}
		}},
		"reads on after its context ended": {"context ends during a read", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				b.MemoryLedger.Read(context.WithoutCancel(ctx), after)(yield)
			}
		}},
		"goes on after an error": {"context ends during a read", func(b *broken) {
			b.read = func(ctx context.Context, after pool.Revision, yield func(pool.Batch, error) bool) {
				for batch, err := range b.MemoryLedger.Read(context.WithoutCancel(ctx), after) {
					if !yield(batch, errors.Join(err, ctx.Err())) {
						return
					}
				}
			}
		}},
		"never wakes": {"watch", func(b *broken) {
			b.watch = func(context.Context) (<-chan struct{}, error) { return make(chan struct{}), nil }
		}},
		"wakes once": {"watch", func(b *broken) {
			b.watch = func(context.Context) (<-chan struct{}, error) {
				c := make(chan struct{}, 1)
				c <- struct{}{}
				return c, nil
			}
		}},
		"never stops waking": {"watch", func(b *broken) {
			b.watch = func(ctx context.Context) (<-chan struct{}, error) {
				return b.MemoryLedger.Watch(context.WithoutCancel(ctx))
			}
		}},
		"a clock that stands": {"clock", func(b *broken) {
			at := time.Now().UTC()
			b.now = func(context.Context) (time.Time, error) { return at, nil }
		}},
		"a clock that runs back": {"clock", func(b *broken) {
			at := time.Now().UTC()
			b.now = func(context.Context) (time.Time, error) { at = at.Add(-time.Second); return at, nil }
		}},
		"a clock in local time": {"clock", func(b *broken) {
			b.now = func(context.Context) (time.Time, error) { return time.Now().In(time.FixedZone("CET", 3600)), nil }
		}},
	}
}

// again makes the ledger recognise a batch that it has only where at says so.
func again(at func(b *broken, prev pool.Revision) bool) func(*broken) {
	return func(b *broken) {
		b.append = func(ctx context.Context, prev pool.Revision, batch []pool.Event) (pool.Revision, error) {
			if prev < b.head() && !at(b, prev) {
				return 0, &pool.Error{Kind: pool.ErrConflict}
			}
			return b.MemoryLedger.Append(ctx, prev, batch...)
		}
	}
}

func sortedIDs(batch []pool.Event) []string {
	var ids []string
	for _, e := range batch {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	return ids
}
