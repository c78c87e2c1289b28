package ring_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// counter is a part that counts up to a limit.
type counter struct {
	N     int
	Limit int
}

func (c counter) Name() string { return "counter" }

func (c counter) Fold(e *pool.Event) (pool.Part, error) {
	if e.Kind == "counter.up" {
		c.N++
	}
	return c, nil
}

func (c counter) Save() ([]byte, error) { return json.Marshal(c.N) }

func (c counter) Load(b []byte) (pool.Part, error) {
	err := json.Unmarshal(b, &c.N)
	return c, err
}

func (c counter) Decide(_ *pool.State, command json.RawMessage, _ time.Time) ([]pool.Event, error) {
	if string(command) != `"up"` {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "command"}
	}
	if c.N >= c.Limit {
		return nil, &pool.Error{Kind: pool.ErrWrongState, Want: "a counter below its limit"}
	}
	e, err := pool.PartEvent("counter.up", 1, struct{}{})
	return []pool.Event{e}, err
}

var _ ring.Decider = counter{}

// TestPartsAreDecidedInTheRing: commands to a part are decided on what was committed before them, whoever committed it, and
// what they gave is there after a restart, from a checkpoint too.
func TestPartsAreDecidedInTheRing(t *testing.T) {
	t.Parallel()
	ledger := pool.NewMemoryLedger()
	open := func() *ring.Ring {
		r, err := ring.Open(t.Context(), ring.Config{Ledger: ledger, Logger: slog.New(slog.DiscardHandler), Parts: []pool.Part{counter{Limit: 50}}})
		require.NoError(t, err)
		t.Cleanup(r.Close)
		return r
	}
	count := func(r *ring.Ring) (n int) {
		r.View(func(st *pool.State) {
			p, ok := st.Part("counter")
			require.True(t, ok)
			n = p.(counter).N
		})
		return n
	}
	up := ring.Command{ToPart: &ring.ToPart{Part: "counter", Command: json.RawMessage(`"up"`)}}
	a, b := open(), open()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var done, refused int
	for _, r := range []*ring.Ring{a, b} {
		for range 40 {
			wg.Go(func() {
				err := r.Do(context.Background(), up, ring.Caller{Actor: "test"})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					done++
					return
				}
				refused++
				require.ErrorIs(t, err, pool.ErrWrongState)
			})
		}
	}
	wg.Wait()
	require.Equal(t, 50, done, "never beyond the limit, whoever else counts")
	require.Equal(t, 30, refused)
	c := open()
	require.Equal(t, 50, count(c))

	_, err := c.Compact(t.Context())
	require.NoError(t, err)
	require.Equal(t, 50, count(open()))
	past, err := c.Past(t.Context(), time.Now().Add(time.Hour), nil)
	require.NoError(t, err)
	p, _ := past.Part("counter")
	require.Equal(t, 50, p.(counter).N)

	require.ErrorIs(t, a.Do(t.Context(), ring.Command{ToPart: &ring.ToPart{Part: "none"}}, ring.Caller{Actor: "test"}), pool.ErrInvalid)
	require.ErrorIs(t, a.Do(t.Context(), ring.Command{ToPart: &ring.ToPart{Part: "counter", Command: json.RawMessage(`1`)}}, ring.Caller{Actor: "test"}), pool.ErrInvalid)
}
