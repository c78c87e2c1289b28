package pool

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"
)

// MemoryLedger is a Ledger in memory, for tests and for fleets whose machines need not outlive the process.
// It implements Clock, by this computer's clock, and Watcher. The zero value is an empty ledger.
type MemoryLedger struct {
	mu         sync.Mutex
	batches    []Batch // all, by revision less one; what they point to is never changed
	checkpoint Revision
	snapshot   []byte
	watchers   map[chan struct{}]struct{}
}

// NewMemoryLedger returns an empty ledger.
func NewMemoryLedger() *MemoryLedger { return new(MemoryLedger) }

// Append implements Ledger.
func (l *MemoryLedger) Append(ctx context.Context, prev Revision, batch ...Event) (Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	events, err := CheckBatch(prev, batch)
	if err != nil {
		return 0, err
	}
	for i := range events {
		events[i] = events[i].clone()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	head := Revision(len(l.batches))
	if prev < head && sameIDs(l.batches[prev].Events, events) {
		return prev + 1, nil
	}
	if prev != head {
		return 0, &Error{Op: "append", Kind: ErrConflict, Field: "prev", Value: number(prev), Want: "the head, " + number(head)}
	}
	l.batches = append(l.batches, Batch{Revision: prev + 1, Events: events})
	for w := range l.watchers {
		select {
		case w <- struct{}{}:
		default: // it has not taken the last one yet, which will do
		}
	}
	return prev + 1, nil
}

// Read implements Ledger.
func (l *MemoryLedger) Read(ctx context.Context, after Revision) iter.Seq2[Batch, error] {
	return l.read(ctx, after, func() (Revision, error) {
		if after < l.checkpoint {
			return 0, &Error{Op: "read", Kind: ErrCompacted, Field: "after", Value: number(after),
				Want: "at least the checkpoint's revision, " + number(l.checkpoint)}
		}
		return Revision(len(l.batches)), nil
	})
}

// Archive implements Ledger.
func (l *MemoryLedger) Archive(ctx context.Context, after Revision) iter.Seq2[Batch, error] {
	return l.read(ctx, after, func() (Revision, error) { return l.checkpoint, nil })
}

// read yields the batches after the given revision up to the one that end, called under the lock, returns.
// The lock is not held while the caller's loop body runs.
func (l *MemoryLedger) read(ctx context.Context, after Revision, end func() (Revision, error)) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if after < 0 {
			yield(Batch{}, invalid("after", number(after), "a revision from 0"))
			return
		}
		l.mu.Lock()
		last, err := end()
		l.mu.Unlock()
		if err == nil {
			err = ctx.Err()
		}
		for r := after; err == nil && r < last; r++ {
			l.mu.Lock()
			b := l.batches[r]
			l.mu.Unlock()
			b.Events = slices.Clone(b.Events)
			for i := range b.Events {
				b.Events[i] = b.Events[i].clone()
			}
			if !yield(b, nil) {
				return
			}
			err = ctx.Err()
		}
		if err != nil {
			yield(Batch{}, err)
		}
	}
}

// Checkpoint implements Ledger.
func (l *MemoryLedger) Checkpoint(ctx context.Context) (Revision, []byte, error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checkpoint, bytes.Clone(l.snapshot), nil
}

// Compact implements Ledger. The archive stays in memory.
func (l *MemoryLedger) Compact(ctx context.Context, at Revision, snapshot []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	snapshot = append([]byte{}, snapshot...)
	l.mu.Lock()
	defer l.mu.Unlock()
	if head := Revision(len(l.batches)); at <= l.checkpoint || at > head {
		return &Error{Op: "compact", Kind: ErrInvalid, Field: "at", Value: number(at),
			Want: "after the checkpoint, " + number(l.checkpoint) + ", and up to the head, " + number(head)}
	}
	l.checkpoint, l.snapshot = at, snapshot
	return nil
}

// Forget implements Ledger.
func (l *MemoryLedger) Forget(ctx context.Context, subject string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, b := range l.batches {
		of := func(e Event) bool { return e.Subject == subject && e.Private != nil }
		if !slices.ContainsFunc(b.Events, of) {
			continue
		}
		b.Events = slices.Clone(b.Events) // a reader may be copying the old ones
		for j := range b.Events {
			if of(b.Events[j]) {
				b.Events[j].Private, b.Events[j].Salt = nil, nil
			}
		}
		l.batches[i] = b
	}
	return nil
}

// Now implements Clock.
func (l *MemoryLedger) Now(ctx context.Context) (time.Time, error) {
	return time.Now().UTC(), ctx.Err()
}

// Watch implements Watcher.
func (l *MemoryLedger) Watch(ctx context.Context) (<-chan struct{}, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers == nil {
		l.watchers = make(map[chan struct{}]struct{})
	}
	l.watchers[w] = struct{}{}
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, w)
		close(w)
	})
	return w, nil
}

// MemoryScratch is a Scratch in memory. Its time is this process's own. The zero value is an empty one.
type MemoryScratch struct {
	mu      sync.Mutex
	entries map[string]scratchEntry
	version int64 // the last one given, over all keys
	sweepAt int   // number of entries at which those that have expired are swept out
}

type scratchEntry struct {
	value   []byte
	version int64
	expires time.Time
}

// NewMemoryScratch returns an empty scratch.
func NewMemoryScratch() *MemoryScratch { return new(MemoryScratch) }

// Get implements Scratch.
func (s *MemoryScratch) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if err := CheckKey(key); err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.live(key)
	if !ok {
		return nil, 0, &Error{Op: "get", Kind: ErrNotFound, Field: "key", Value: key}
	}
	return bytes.Clone(e.value), e.version, nil
}

// Put implements Scratch.
func (s *MemoryScratch) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := CheckPut(key, value, ttl); err != nil {
		return 0, err
	}
	value = append([]byte{}, value...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, _ := s.live(key); e.version != prev {
		return 0, stale("put", prev, e.version)
	}
	s.sweep()
	s.version++
	if s.entries == nil {
		s.entries = make(map[string]scratchEntry)
	}
	s.entries[key] = scratchEntry{value: value, version: s.version, expires: time.Now().Add(ttl)}
	return s.version, nil
}

// Delete implements Scratch.
func (s *MemoryScratch) Delete(ctx context.Context, key string, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := CheckKey(key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.live(key); !ok || e.version != version {
		return stale("delete", version, e.version)
	}
	delete(s.entries, key)
	return nil
}

// live returns the entry under key; an expired one is as good as absent.
func (s *MemoryScratch) live(key string) (scratchEntry, bool) {
	e, ok := s.entries[key]
	if !ok || !time.Now().Before(e.expires) {
		return scratchEntry{}, false
	}
	return e, true
}

// sweep removes what has expired, whenever the number of entries has doubled since the last time.
func (s *MemoryScratch) sweep() {
	if len(s.entries) < s.sweepAt {
		return
	}
	now := time.Now()
	for k, e := range s.entries {
		if !now.Before(e.expires) {
			delete(s.entries, k)
		}
	}
	s.sweepAt = max(64, 2*len(s.entries))
}

func stale(op string, prev, version int64) error {
	return &Error{Op: op, Kind: ErrConflict, Field: "version", Value: strconv.FormatInt(prev, 10),
		Want: "the key's version, " + strconv.FormatInt(version, 10)}
}

// clone returns a copy that shares no bytes with e, as a store would return it.
func (e Event) clone() Event {
	e.Data, e.Private = bytes.Clone(e.Data), bytes.Clone(e.Private)
	e.Salt, e.PrivateHash = bytes.Clone(e.Salt), bytes.Clone(e.PrivateHash)
	e.payload = nil
	return e
}

func sameIDs(a, b []Event) bool {
	return slices.EqualFunc(a, b, func(x, y Event) bool { return x.ID == y.ID })
}

func number(r Revision) string { return strconv.FormatInt(int64(r), 10) }
