package trail_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/pool"
)

// signer is a key that is always the same.
func signer(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) audit.Key {
	return audit.Key{Ledger: "FIRST", Public: k.Public().(ed25519.PublicKey)}
}

// opened is a ledger with an identity.
func opened(t *testing.T) *pool.MemoryLedger {
	t.Helper()
	l := pool.NewMemoryLedger()
	e, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "FIRST"})
	require.NoError(t, err)
	e.ID, e.Actor, e.Time = "opened", "ada", began
	_, err = l.Append(t.Context(), 0, e)
	require.NoError(t, err)
	return l
}

// grow appends events of an actor up to a revision.
func grow(t *testing.T, l pool.Ledger, from, to pool.Revision, actor string) {
	t.Helper()
	for at := from; at < to; at++ {
		_, err := l.Append(t.Context(), at, pool.Event{ID: fmt.Sprint("e", at), Kind: "host.put", Version: 1, Time: began, Actor: actor, Data: []byte("{}")})
		require.NoError(t, err)
	}
}

// signing is Heads that run, and what they have said.
type signing struct {
	*trail.Heads
	stop func()

	mu     sync.Mutex
	signed []audit.Head
	failed []error
	deaf   bool // nobody can be told of failures
}

func (s *signing) told() (signed []audit.Head, failed []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signed, s.failed
}

// idle is Heads that do not run yet.
func idle(t *testing.T, l pool.Ledger, file string, key ...ed25519.PrivateKey) *signing {
	t.Helper()
	h, err := trail.NewHeads(trail.NewReader(l, key...), file, 5*time.Minute, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	s := &signing{Heads: h}
	h.Signed = func(h audit.Head, _ []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.signed = append(s.signed, h)
		s.Status() // may be asked from here
	}
	h.Failed = func(_ context.Context, err error) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failed = append(s.failed, err)
		if s.deaf {
			return errors.New("nobody")
		}
		return nil
	}
	return s
}

func (s *signing) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	s.stop = func() { cancel(); <-done }
}

func run(t *testing.T, l pool.Ledger, file string, key ...ed25519.PrivateKey) *signing {
	t.Helper()
	s := idle(t, l, file, key...)
	s.start(t)
	return s
}

// pass lets a time pass, and what is due at its end happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func heads(t *testing.T, file string, keys ...audit.Key) (all []audit.Head) {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, note := range audit.Notes(b) {
		h, err := audit.Open(note, keys...)
		require.NoError(t, err)
		all = append(all, h)
	}
	return all
}

// Heads are signed at once and then every so often, when there is something new; and after a restart they go on from the last one.
func TestHeadsAreSignedByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, file := opened(t), filepath.Join(t.TempDir(), "audit-heads")
		s := run(t, l, file, signer(1))
		synctest.Wait()
		require.Len(t, heads(t, file, public(signer(1))), 1)
		require.EqualValues(t, 1, s.Status().Last.Revision)
		pass(time.Hour)
		require.Len(t, heads(t, file, public(signer(1))), 1, "the ledger has not grown")
		for n := range pool.Revision(600) { // more than two tiles of the tree
			grow(t, l, n+1, n+2, "ada")
			if n%10 == 9 {
				pass(6 * time.Minute)
				require.EqualValues(t, n+2, s.Status().Last.Revision)
			}
		}
		s.stop()
		all := heads(t, file, public(signer(1)))
		require.Len(t, all, 61)
		signed, failed := s.told()
		require.Equal(t, all, signed)
		require.Empty(t, failed)
		_, err := audit.Verify(t.Context(), audit.Of(l), all...)
		require.NoError(t, err)

		// The last one is said again, since nobody knows whether it was heard; the file is as it was.
		grow(t, l, 601, 602, "ada")
		s = run(t, l, file, signer(1), signer(2))
		synctest.Wait()
		again, _ := s.told()
		require.Equal(t, all[60], again[0])
		require.Len(t, again, 2)
		require.Equal(t, append(all, again[1]), heads(t, file, public(signer(1))))
		require.Equal(t, again, heads(t, file, public(signer(1)))[60:])
		s.stop()

		// Both keys have signed by now, so that the old one can go.
		s = run(t, l, file, signer(2))
		synctest.Wait()
		grow(t, l, 602, 603, "ada")
		pass(5 * time.Minute)
		require.EqualValues(t, 603, s.Status().Last.Revision)
		require.Zero(t, s.Status().Failures)
		s.stop()
		_, err = trail.NewHeads(trail.NewReader(l, signer(1)), file, time.Minute, nil)
		require.ErrorIs(t, err, audit.ErrSignature)
	})
}

// A history that contradicts a head is not signed, whether it was rewritten, cut off, or is another ledger's; and that is said.
func TestNoHeadOfAnotherHistory(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]func(*testing.T, *pool.MemoryLedger){
		"rewritten":                func(t *testing.T, l *pool.MemoryLedger) { grow(t, l, 1, 4, "eve"); grow(t, l, 4, 900, "ada") },
		"rewritten, no longer":     func(t *testing.T, l *pool.MemoryLedger) { grow(t, l, 1, 699, "ada"); grow(t, l, 699, 700, "eve") },
		"cut off":                  func(t *testing.T, l *pool.MemoryLedger) { grow(t, l, 1, 699, "ada") },
		"cut off and others since": func(t *testing.T, l *pool.MemoryLedger) { grow(t, l, 1, 699, "ada"); grow(t, l, 699, 701, "eve") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, file := opened(t), filepath.Join(t.TempDir(), "audit-heads")
				grow(t, l, 1, 700, "ada")
				s := run(t, l, file, signer(1))
				synctest.Wait()
				s.stop()
				before, err := os.ReadFile(file)
				require.NoError(t, err)

				bad := opened(t)
				other(t, bad)
				s = idle(t, bad, file, signer(1))
				s.deaf = true
				s.start(t)
				synctest.Wait()
				require.True(t, s.Status().Contradicted)
				_, failed := s.told()
				require.Len(t, failed, 1)
				require.True(t, trail.Contradicts(failed[0]), failed[0])
				pass(5*time.Minute + time.Second)
				_, failed = s.told()
				require.Len(t, failed, 2, "nobody was told the first time")
				s.mu.Lock()
				s.deaf = false
				s.mu.Unlock()
				pass(time.Hour)
				signed, failed := s.told()
				require.Len(t, failed, 3)
				require.Len(t, signed, 1, "the one that was there")
				require.EqualValues(t, 14, s.Status().Failures)
				s.stop()
				after, err := os.ReadFile(file)
				require.NoError(t, err)
				require.Equal(t, before, after)
			})
		})
	}

	// Who asks for a head gets none either.
	l := opened(t)
	grow(t, l, 1, 10, "ada")
	r := trail.NewReader(l, signer(1))
	h, _, err := r.Head(t.Context(), 0)
	require.NoError(t, err)
	other := opened(t)
	grow(t, other, 1, 20, "eve")
	r = trail.NewReader(other, signer(1))
	r.Continue(h.Head)
	_, _, err = r.Head(t.Context(), 0)
	require.ErrorIs(t, err, audit.ErrProof)
	_, err = r.Evidence(t.Context(), audit.Position{Revision: 1})
	require.ErrorIs(t, err, audit.ErrProof)
}

// What cannot be written is tried again; and what was half written when the program was killed is never part of the file.
func TestHeadsThatCannotBeKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, file := opened(t), filepath.Join(t.TempDir(), "audit-heads")
		require.NoError(t, os.Mkdir(file+".new", 0o700)) // stands in the way
		s := run(t, l, file, signer(1))
		pass(11 * time.Minute)
		_, failed := s.told()
		require.Len(t, failed, 1)
		require.False(t, trail.Contradicts(failed[0]))
		require.EqualValues(t, 3, s.Status().Failures)
		require.Zero(t, s.Status().Last)
		require.NoFileExists(t, file)
		require.NoError(t, os.Remove(file+".new"))
		pass(5 * time.Minute)
		require.Len(t, heads(t, file, public(signer(1))), 1)
		s.stop()

		require.NoError(t, os.WriteFile(file+".new", []byte("berthage/ledger/FIRST\n1"), 0o600)) // killed while it was written
		grow(t, l, 1, 2, "ada")
		s = run(t, l, file, signer(1))
		synctest.Wait()
		require.Len(t, heads(t, file, public(signer(1))), 2)
		require.NoFileExists(t, file+".new")
		s.stop()
	})

	// A file that is no file of heads is not written over.
	file := filepath.Join(t.TempDir(), "audit-heads")
	for text, want := range map[string]error{"my notes\n": pool.ErrInvalid, "berthage/ledger/FIRST\n1": pool.ErrInvalid} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := trail.NewHeads(trail.NewReader(opened(t), signer(1)), file, time.Minute, nil)
		require.ErrorIs(t, err, want)
	}
	_, err := trail.NewHeads(trail.NewReader(opened(t), signer(1)), filepath.Join(file, "below", "a file"), time.Minute, nil)
	require.Error(t, err)
	_, err = trail.NewHeads(trail.NewReader(opened(t), signer(1)), filepath.Join(t.TempDir(), "nowhere", "heads"), time.Minute, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// The file has an end: the newest thousand, and of each day before these the last.
func TestHeadsAreThinned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, file := opened(t), filepath.Join(t.TempDir(), "audit-heads")
		const n = 1600 // heads, 288 of them a day
		var signed []audit.Head
		var notes []byte
		began := time.Now().Add(-n * 5 * time.Minute)
		for i := range n {
			h := audit.Head{Ledger: "FIRST", Revision: 1, Size: 1, Time: began.Add(time.Duration(i) * 5 * time.Minute).UTC()}
			if i == n-1 {
				grow(t, l, 1, 2, "ada")
				last, err := audit.Verify(t.Context(), audit.Of(l))
				require.NoError(t, err)
				last.Time, h = h.Time, last
			}
			note, err := audit.Sign(h, signer(1))
			require.NoError(t, err)
			signed, notes = append(signed, h), append(notes, note...)
		}
		require.NoError(t, os.WriteFile(file, notes, 0o600))
		grow(t, l, 2, 3, "ada")
		s := run(t, l, file, signer(1))
		synctest.Wait()
		grow(t, l, 3, 4, "ada")
		pass(5 * time.Minute)
		s.stop()
		news, _ := s.told()
		require.Len(t, news, 3)
		signed = append(signed, news[1:]...)
		var want []audit.Head
		for i, h := range signed {
			if i >= n+2-1000 || h.Time.YearDay() != signed[i+1].Time.YearDay() {
				want = append(want, h)
			}
		}
		require.Equal(t, 1002, len(want), "of two days and a bit") //nolint:testifylint // which would print them all
		require.True(t, slices.Equal(want, heads(t, file, public(signer(1)))))
	})
}
