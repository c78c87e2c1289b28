package access

import (
	"context"
	"sync"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// How long the books are relied on after the ledger was last read to its end.
const (
	MostStale = 5 * time.Minute // for reading; after that everything is refused

	current  = 15 * time.Second // for commands
	lookEach = 2 * time.Second
	lookFor  = 2 * time.Second // at most
)

// Part returns what the daemon's ledger has of principals and what they may do, knowing nobody yet.
func Part() pool.Part {
	return auth.New(Projects)
}

// Projects returns how projects lie in one another in the books. It is good for as long as the books are not changed.
func Projects(st *pool.State) auth.Lineage {
	return func(project string) []string {
		var path []string
		for p := range st.Above(project) {
			path = append(path, p.Name)
			if len(path) > auth.MaxDepth { // which is refused
				break
			}
		}
		return path
	}
}

// Books are what the daemon has folded of its ledger, and how far that can be relied on: a right that was taken away in a ledger that
// cannot be read is one that the books still have. It is safe for concurrent use.
type Books struct {
	view func(func(*pool.State))
	look func(context.Context) error

	mu   sync.Mutex
	last time.Time // when the ledger was last known to have nothing more
	err  error     // of the last look
}

// NewBooks returns Books that have just been read to the ledger's end. View calls back with them, as Manager.View does. Look reports,
// as an error, why the ledger cannot be read, or is not followed.
func NewBooks(view func(func(*pool.State)), look func(context.Context) error) *Books {
	return &Books{view: view, look: look, last: time.Now()}
}

// Run looks at the ledger every few seconds until ctx ends.
func (b *Books) Run(ctx context.Context) {
	tick := time.NewTicker(lookEach)
	defer tick.Stop()
	for ctx.Err() == nil {
		b.glance(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (b *Books) glance(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	began := time.Now()
	err := b.look(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err = err; err == nil {
		b.last = began
	}
}

// Readable returns nil for as long as the books can be relied on for reading.
func (b *Books) Readable() error { return b.within(MostStale) }

// Current returns nil for as long as they can be relied on for commands. A ledger that was lost only just now refuses them itself.
func (b *Books) Current() error { return b.within(current) }

func (b *Books) within(most time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.last) <= most {
		return nil
	}
	return &pool.Error{Op: "see who may do what", Kind: pool.ErrUnavailable, Cause: b.err}
}

// State returns who there is and what they may do. An error lets nobody in.
func (b *Books) State(context.Context) (s *auth.State, err error) {
	err = b.Read(func(st *pool.State) { s = auth.Of(st) })
	return s, err
}

// Read calls back with the books, unless they cannot be relied on. What is said of Manager.View holds here.
func (b *Books) Read(read func(*pool.State)) error {
	if err := b.Readable(); err != nil {
		return err
	}
	b.view(read)
	return nil
}
