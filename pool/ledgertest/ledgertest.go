// Package ledgertest judges implementations of pool.Ledger and pool.Scratch, and breaks them on purpose.
//
// Run puts a ledger through every rule of its contract and RunScratch a scratch; whoever writes a store
// needs about ten lines of test. Each case carries the rule that it checks, and says what happened instead.
// Ledger and Scratch return the same cases as values, for use outside a test.
//
// Faulty wraps a ledger or scratch and loses replies, delays commits, refuses calls: what a network and a
// database do to a program. It is for the tests of whatever is built upon a ledger.
//
// The package imports pool and the standard library only.
package ledgertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
)

// Store is an empty ledger to be judged, and what the suite may do to it.
type Store struct {
	Ledger pool.Ledger

	// Again opens one more handle on the same store, as another process would, while the first stays open.
	// Nil where the engine has no such thing; the cases that need it are then skipped, and say so.
	Again func(ctx context.Context) (pool.Ledger, error)

	// LoseReply makes the store lose the reply of the next Append on Ledger, which is carried out all the
	// same: at once, or about that much later. Nil: the suite loses it by a Faulty around the Ledger, which
	// judges how the store settles, but not whether it says ErrUnknown by itself.
	LoseReply func(later time.Duration)

	// Landing is how much later than its lost reply a late commit lands; 0 stands for 300 ms.
	Landing time.Duration

	// Outage makes the store unreachable for Ledger until end is called. Nil: the case is skipped.
	Outage func() (end func())
}

// landing returns Landing or what stands for it.
func (s Store) landing() time.Duration { return cmp.Or(s.Landing, 300*time.Millisecond) }

// handles returns the ledger and, where the store has such a thing, a second handle.
func (s Store) handles(ctx context.Context) ([]pool.Ledger, error) {
	if s.Again == nil {
		return []pool.Ledger{s.Ledger}, nil
	}
	l, err := s.Again(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a second handle: %w", err)
	}
	return []pool.Ledger{s.Ledger, l}, nil
}

// ScratchStore is an empty scratch to be judged. Again is as in Store.
type ScratchStore struct {
	Scratch pool.Scratch
	Again   func(ctx context.Context) (pool.Scratch, error)
}

// Case is one case of a suite over stores of type S.
type Case[S any] struct {
	Name string
	Rule string // what the contract demands, in one sentence
	run  func(ctx context.Context, store S) error
}

// patience is how long a call may take after its context has ended.
const patience = 5 * time.Second

// Check runs the case on an empty store and returns what broke the rule, if anything did. An error that is
// errors.ErrUnsupported means that the store does not offer what the case needs. A case that is not over
// some seconds after ctx has ended is abandoned and counts as broken.
func (c Case[S]) Check(ctx context.Context, store S) error {
	done := make(chan error, 1)
	go func() { done <- c.run(ctx, store) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(patience):
			err = fmt.Errorf("a call has not returned %v after its context ended; it may wait for something that the caller holds", patience)
		}
	}
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return fmt.Errorf("%s: %w\nrule: %s", c.Name, err, c.Rule)
}

// Ledger returns the cases that Run runs.
func Ledger() []Case[Store] {
	var all []Case[Store]
	for _, cases := range [][]Case[Store]{appendCases(), byteCases(), readCases(), raceCases(), compactCases(), forgetCases(), contextCases(), handleCases(), faultCases()} {
		all = append(all, cases...)
	}
	return all
}

// Run puts the ledgers that open returns, a new and empty one for each case, through the whole suite. What
// open needs to undo it does with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) Store) { run(t, Ledger(), open) }

// RunScratch does for a Scratch what Run does for a Ledger.
func RunScratch(t *testing.T, open func(t *testing.T) ScratchStore) { run(t, Scratch(), open) }

func run[S any](t *testing.T, cases []Case[S], open func(t *testing.T) S) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			err := c.Check(ctx, open(t))
			switch {
			case errors.Is(err, errors.ErrUnsupported):
				t.Skipf("NOT RUN: %v", err)
			case err != nil:
				t.Error(err)
			}
		})
	}
}

// unsupported says what the store lacks for a case to be run.
func unsupported(what string) error { return fmt.Errorf("%s: %w", what, errors.ErrUnsupported) }
