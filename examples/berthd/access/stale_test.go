package access_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// turn is that somebody may see something from a moment on, or may not.
type turn struct {
	at   time.Time
	sees bool
}

// saw reports whether somebody saw, or did not, at any moment since.
func saw(turns []turn, sees bool, since time.Time) bool {
	for n, is := range turns {
		if is.sees == sees && (n+1 == len(turns) || turns[n+1].at.After(since)) {
			return true
		}
	}
	return false
}

// A daemon that is cut off from the store again and again, for a moment or for long, while rights are given and taken away through
// another one: what it shows was so at most five minutes before, and when it cannot know that it shows nothing. Once it reaches the store
// again it shows what is so.
func TestAReaderThatIsCutOff(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { cutOff(t, rand.New(rand.NewPCG(seed, 5))) })
		})
	}
}

func cutOff(t *testing.T, r *rand.Rand) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	store, scratch := pool.NewMemoryLedger(), pool.NewMemoryScratch()
	run := func(l pool.Ledger) *berthage.Manager {
		m, err := berthage.Open(ctx, berthage.Config{
			Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: l, Scratch: scratch, Parts: []pool.Part{access.Part()},
		})
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		t.Cleanup(func() {
			stop()
			require.NoError(t, <-done)
			m.Close()
		})
		for m.Status().Holder == "" { // until one leads
			time.Sleep(time.Second)
		}
		return m
	}
	writer, faulty := run(store), ledgertest.NewFaulty(store, 1, ledgertest.Faults{})
	require.NoError(t, writer.PutProject(ctx, pool.Project{Name: "shop"}))
	for _, id := range []string{"root", "ada"} {
		decide(t, writer, auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id}})
	}
	decide(t, writer, auth.Command{Bind: &auth.Binding{ID: "root", Principal: "root", Role: auth.Admin, Scope: auth.Scope{Everything: true}}})
	reader := run(faulty)
	books := access.NewBooks(reader.View, func(ctx context.Context) error { return follows(ctx, reader, faulty) })
	go books.Run(ctx)
	time.Sleep(time.Minute)

	turns := []turn{{time.Now(), false}}
	var cut time.Time // since when; zero: it is not
	ends := time.Now().Add(5 * time.Minute)
	reached, stale, refused := time.Now(), 0, 0
	for n := range 1000 {
		time.Sleep(time.Duration(1+r.IntN(10)) * time.Second)
		if now := time.Now(); now.After(ends) {
			down := cut.IsZero()
			faulty.SetDown(down)
			if cut, reached = (time.Time{}), now; down {
				cut = now
			}
			ends = now.Add(time.Duration(r.ExpFloat64() * float64(4*time.Minute)))
		}
		if r.IntN(20) == 0 {
			now := turns[len(turns)-1].sees
			c := auth.Command{Bind: &auth.Binding{ID: fmt.Sprint("b-", n), Principal: "ada", Role: auth.Viewer, Scope: auth.Scope{Project: "shop"}}}
			if now {
				writer.View(func(st *pool.State) {
					for b := range auth.Of(st).Bindings() {
						if b.Principal == "ada" {
							c = auth.Command{Unbind: b.ID}
						}
					}
				})
			}
			decide(t, writer, c)
			turns = append(turns, turn{time.Now(), !now})
		}
		now, sees := time.Now(), false
		err := books.Read(func(st *pool.State) {
			p, _ := auth.Of(st).Principal("ada")
			by := auth.Identity{Principal: "ada", Whole: true, Generation: p.Generation}
			sees = auth.Of(st).View(access.Projects(st), by, auth.Instances, now).Shows("shop", "")
		})
		if err == nil {
			require.True(t, saw(turns, sees, now.Add(-access.MostStale)), "it shows %v, at %v, and not since %v", sees, now, turns)
			if sees != turns[len(turns)-1].sees {
				stale++
			}
		}
		switch {
		case cut.IsZero() && now.Sub(reached) > time.Minute:
			require.NoError(t, err)
			require.NoError(t, books.Current())
			require.True(t, saw(turns, sees, now.Add(-30*time.Second)), "it reaches the store")
		case !cut.IsZero() && now.Sub(cut) > access.MostStale:
			require.ErrorIs(t, err, pool.ErrUnavailable)
			refused++
		case !cut.IsZero() && now.Sub(cut) > 20*time.Second:
			require.ErrorIs(t, books.Current(), pool.ErrUnavailable)
		}
	}
	require.Positive(t, stale, "it has shown what is so no more")
	require.Positive(t, refused)
	faulty.SetDown(false)
}

// follows reports, as an error, why a ledger cannot be read, or is not followed.
func follows(ctx context.Context, m *berthage.Manager, l pool.Ledger) error {
	for b, err := range l.Read(ctx, m.Status().Revision) {
		if err != nil {
			return err
		}
		for m.Status().Revision < b.Revision {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}
