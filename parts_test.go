package berthage_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// tally is a part that counts what it is told to.
type tally struct{ n int }

func (tally) Name() string { return "tally" }

func (c tally) Fold(e *pool.Event) (pool.Part, error) {
	switch e.Kind {
	case pool.KindForgotten:
		return c, nil
	case "tally.added":
		c.n++
		return c, nil
	}
	return nil, &pool.Error{Kind: pool.ErrUnknownKind, Value: e.Kind}
}

func (c tally) Save() ([]byte, error) {
	if c.n == 0 {
		return nil, nil
	}
	return json.Marshal(c.n)
}

func (tally) Load(b []byte) (pool.Part, error) {
	var c tally
	return c, json.Unmarshal(b, &c.n)
}

func (c tally) Decide(_ *pool.State, command json.RawMessage, _ time.Time) ([]pool.Event, error) {
	var most int
	if err := json.Unmarshal(command, &most); err != nil {
		return nil, err
	}
	if c.n >= most {
		return nil, &pool.Error{Kind: pool.ErrInUse, Field: "tally"}
	}
	e, err := pool.PartEvent("tally.added", 1, struct{}{})
	return []pool.Event{e}, err
}

// What an importer keeps in the same ledger is decided, folded, checkpointed and read again with everything else.
func TestPartsOfYourOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		with := func(c *berthage.Config) { c.Parts = []pool.Part{tally{}} }
		b := start(t, fake.Config{Hosts: hosts(1)}, with)
		defer func() { b.stop() }()
		count := func() (n int) {
			b.m.View(func(st *pool.State) {
				p, ok := st.Part("tally")
				require.True(t, ok)
				n = p.(tally).n
			})
			return n
		}
		require.NoError(t, b.m.Decide(ctx, "tally", 2))
		require.NoError(t, b.m.Decide(ctx, "tally", 2))
		require.ErrorIs(t, b.m.Decide(ctx, "tally", 2), pool.ErrInUse)
		require.ErrorIs(t, b.m.Decide(ctx, "alert", 2), pool.ErrNotFound, "what the Manager keeps is changed by its own methods")
		require.ErrorIs(t, b.m.Decide(ctx, "tally", make(chan int)), pool.ErrInvalid)
		require.Equal(t, 2, count())
		_, err := b.m.Compact(ctx)
		require.NoError(t, err)
		b.stop()
		b.m = open(t, b.fleet, b.ledger, with)
		b.stop = run(t, b.m)
		require.Equal(t, 2, count())
		b.stop()
		stale := open(t, b.fleet, b.ledger) // one that does not know the part
		require.NotEmpty(t, stale.Status().Stale)
	})
	for name, parts := range map[string][]pool.Part{"none": {nil}, "twice": {tally{}, tally{}}} {
		_, err := berthage.Open(context.Background(), berthage.Config{
			Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: pool.NewMemoryLedger(), Parts: parts,
		})
		require.ErrorIs(t, err, pool.ErrInvalid, name)
	}
}
