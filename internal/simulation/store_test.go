package simulation_test

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/berthage/berthage/pool"
)

// clock is the wall clock of the store's computer, which people set. Daemons read it when they open (as
// pool.Clock); their own wall clocks cannot be set apart from the virtual time that their timers run on, which
// is as it is in the real world: Go measures by the monotonic clock.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset).UTC()
}

func (c *clock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += by
}

// clocked is a memory ledger with the store's clock.
type clocked struct {
	*pool.MemoryLedger
	clock *clock
}

func (l *clocked) Now(ctx context.Context) (time.Time, error) { return l.clock.now(), ctx.Err() }

// leaseStore is a scratch whose times are the store's wall clock, as those of SQL servers are: where that is set
// forward a lease ends while its holder believes in it, where it is set back an old one lasts.
type leaseStore struct {
	clock *clock

	mu      sync.Mutex
	version int64
	entries map[string]leaseEntry
}

type leaseEntry struct {
	value   []byte
	version int64
	expires time.Time
}

// live returns the entry of a key that has not expired; the zero entry stands for none.
func (s *leaseStore) live(key string) leaseEntry {
	if e := s.entries[key]; s.clock.now().Before(e.expires) {
		return e
	}
	return leaseEntry{}
}

func (s *leaseStore) Get(_ context.Context, key string) ([]byte, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.live(key)
	if e.version == 0 {
		return nil, 0, &pool.Error{Op: "get", Kind: pool.ErrNotFound, Field: "key", Value: key}
	}
	return bytes.Clone(e.value), e.version, nil
}

func (s *leaseStore) Put(_ context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live(key).version != prev {
		return 0, &pool.Error{Op: "put", Kind: pool.ErrConflict}
	}
	if s.entries == nil {
		s.entries = make(map[string]leaseEntry)
	}
	s.version++
	s.entries[key] = leaseEntry{bytes.Clone(value), s.version, s.clock.now().Add(ttl)}
	return s.version, nil
}

func (s *leaseStore) Delete(_ context.Context, key string, version int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.live(key); e.version == 0 || e.version != version {
		return &pool.Error{Op: "delete", Kind: pool.ErrConflict}
	}
	delete(s.entries, key)
	return nil
}
