package simulation_test

import (
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
