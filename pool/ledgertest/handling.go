package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

func contextCases() []Case[Store] {
	return []Case[Store]{
		{"context ended before", "A call whose context has ended does nothing and returns the context's error.", endedBefore},
		{"context ends during an append", "An Append whose context ends returns soon, and its error says truly whether the batch may have been stored.", endsDuringAppend},
		{"context ends during a read", "A Read whose context ends yields an error and is over.", endsDuringRead},
	}
}

func endedBefore(ctx context.Context, s Store) error {
	want, err := write(ctx, s.Ledger, 0, "b", 3)
	if err != nil {
		return err
	}
	private := []pool.Event{secret("p", "ada", "private")}
	if err := appended(ctx, s.Ledger, 3, private); err != nil {
		return err
	}
	want = append(want, expected(3, private))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, readErr := collect(s.Ledger.Read(ended, 0), 0)
	_, archiveErr := collect(s.Ledger.Archive(ended, 0), 0)
	_, appendErr := s.Ledger.Append(ended, 4, event("never"))
	_, _, checkpointErr := s.Ledger.Checkpoint(ended)
	for name, err := range map[string]error{
		"Append":     appendErr,
		"Checkpoint": checkpointErr,
		"Compact":    s.Ledger.Compact(ended, 2, []byte("never")),
		"Forget":     s.Ledger.Forget(ended, "ada"),
		"Read":       readErr,
		"Archive":    archiveErr,
	} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, pool.ErrUnknown) {
			return fmt.Errorf("%s with an ended context: the error must be the context's, but is: %w", name, orNone(err))
		}
	}
	if at, _, err := s.Ledger.Checkpoint(ctx); err != nil || at != 0 {
		return fmt.Errorf("Compact with an ended context moved the checkpoint to %d, error %w", at, orNone(err))
	}
	return holds(ctx, s.Ledger, 0, want)
}

func endsDuringAppend(ctx context.Context, s Store) error {
	var took time.Duration
	prev := pool.Revision(0)
	for i := range 5 {
		start := time.Now()
		if err := appended(ctx, s.Ledger, prev, events("warm"+strconv.Itoa(i), 10)); err != nil {
			return err
		}
		took, prev = max(took, time.Since(start)), prev+1
	}
	var stored, refused []string
	for i := range 150 {
		b := events("b"+strconv.Itoa(i), 10)
		short, cancel := context.WithTimeout(ctx, rand.N(took*5/4+1))
		start := time.Now()
		rev, err := s.Ledger.Append(short, prev, b...)
		cancel()
		if late := time.Since(start); late > took+patience {
			return fmt.Errorf("Append returned %v after its context had ended", late)
		}
		if errors.Is(err, pool.ErrUnknown) {
			if err := is(err, pool.ErrUnknown); err != nil {
				return err
			}
			if errors.Is(err, context.DeadlineExceeded) {
				return errors.New("an unknown outcome looks like a context's error too, which says that nothing was sent")
			}
			if rev, err = s.Ledger.Append(ctx, prev, b...); err != nil {
				return fmt.Errorf("settling an unknown outcome with nobody else appending: %w", err)
			}
		}
		switch {
		case err == nil && rev == prev+1:
			prev++
			stored = append(stored, ids([]pool.Batch{{Events: b}})...)
		case err == nil:
			return fmt.Errorf("append at prev %d returned revision %d", prev, rev)
		case errors.Is(err, pool.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, pool.ErrConflict):
			refused = append(refused, b[0].ID)
		default:
			return fmt.Errorf("append with nobody else appending: %w", err)
		}
	}
	got, err := collect(s.Ledger.Read(ctx, 5), 5)
	if err != nil {
		return err
	}
	if err := once(got, stored); err != nil {
		return fmt.Errorf("of %d appends cut off %d were refused: %w", 150, len(refused), err)
	}
	return nil
}

func endsDuringRead(ctx context.Context, s Store) error {
	if _, err := write(ctx, s.Ledger, 0, "b", 600); err != nil {
		return err
	}
	short, cancel := context.WithCancel(ctx)
	defer cancel()
	seen, ended := 0, false
	for _, err := range s.Ledger.Read(short, 0) {
		if ended {
			return errors.New("Read goes on after it has yielded an error")
		}
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				return fmt.Errorf("the error must be the context's, but is: %w", err)
			}
			ended = true
			continue
		}
		if seen++; seen == 1 {
			cancel()
		}
	}
	if !ended {
		return fmt.Errorf("Read yielded all of %d batches after its context had ended, and no error", seen)
	}
	return nil
}

func handleCases() []Case[Store] {
	return []Case[Store]{
		{"second handle", "All handles on a store are one ledger: what one has stored the others hold, and they race for the same revisions.", secondHandle},
		{"watch", "A Watcher wakes soon after each append, by any handle, and ends with its context.", watch},
		{"clock", "A Clock gives the store's time in UTC; it advances and does not run back.", clock},
	}
}

func secondHandle(ctx context.Context, s Store) error {
	if s.Again == nil {
		return unsupported("the store has no second handle")
	}
	want, err := write(ctx, s.Ledger, 0, "b", 6)
	if err != nil {
		return err
	}
	if err := s.Ledger.Compact(ctx, 2, []byte("snapshot")); err != nil {
		return err
	}
	other, err := s.Again(ctx)
	if err != nil {
		return err
	}
	at, snapshot, err := other.Checkpoint(ctx)
	if err != nil || at != 2 || string(snapshot) != "snapshot" {
		return fmt.Errorf("the second handle's checkpoint is %d, %q, error %w", at, snapshot, orNone(err))
	}
	archived, err := collect(other.Archive(ctx, 0), 0)
	if err != nil {
		return err
	}
	if err := same(want[:2], archived); err != nil {
		return fmt.Errorf("the second handle's archive: %w", err)
	}
	if err := holds(ctx, other, 2, want[2:]); err != nil {
		return fmt.Errorf("by the second handle: %w", err)
	}
	if _, err := other.Append(ctx, 5, event("x")); is(err, pool.ErrConflict) != nil {
		return fmt.Errorf("by the second handle at an old revision: %w", is(err, pool.ErrConflict))
	}
	if err := appended(ctx, other, 4, want[4].Events); err != nil {
		return fmt.Errorf("a stored batch again, by the second handle: %w", err)
	}
	more, err := write(ctx, other, 6, "c", 3)
	if err != nil {
		return fmt.Errorf("by the second handle: %w", err)
	}
	if _, err := s.Ledger.Append(ctx, 6, event("x")); is(err, pool.ErrConflict) != nil {
		return fmt.Errorf("by the first handle where the second has appended: %w", is(err, pool.ErrConflict))
	}
	return holds(ctx, s.Ledger, 2, append(want, more...)[2:])
}

func watch(ctx context.Context, s Store) error {
	w, ok := s.Ledger.(pool.Watcher)
	if !ok {
		return unsupported("the ledger is no Watcher")
	}
	handles, err := s.handles(ctx)
	if err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	wakes, err := w.Watch(watching)
	if errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err != nil {
		return err
	}
	const soon = patience
	for i := range 10 {
		if err := appended(ctx, handles[i%len(handles)], pool.Revision(i), events("b"+strconv.Itoa(i), 1)); err != nil {
			return err
		}
		select {
		case _, open := <-wakes:
			if !open {
				return errors.New("the channel was closed although its context has not ended")
			}
		case <-time.After(soon):
			return fmt.Errorf("nothing came within %v of the append of revision %d", soon, i+1)
		}
		for drained := false; !drained; { // what may still come of this append
			select {
			case <-wakes:
			case <-time.After(50 * time.Millisecond):
				drained = true
			}
		}
	}
	if _, err := write(ctx, s.Ledger, 10, "slow", 50); err != nil {
		return fmt.Errorf("with a watcher that does not take what it is sent: %w", err)
	}
	cancel()
	end := time.After(soon)
	for {
		select {
		case _, open := <-wakes:
			if !open {
				return nil
			}
		case <-end:
			return fmt.Errorf("the channel was not closed within %v of the end of its context", soon)
		}
	}
}

func clock(ctx context.Context, s Store) error {
	c, ok := s.Ledger.(pool.Clock)
	if !ok {
		return unsupported("the ledger is no Clock")
	}
	first, err := c.Now(ctx)
	if err != nil {
		return err
	}
	if first.Location() != time.UTC {
		return fmt.Errorf("the time %v is not in UTC", first)
	}
	last := first
	for range 20 {
		time.Sleep(5 * time.Millisecond)
		now, err := c.Now(ctx)
		if err != nil {
			return err
		}
		if now.Before(last) {
			return fmt.Errorf("the clock ran back from %v to %v", last, now)
		}
		last = now
	}
	if passed := last.Sub(first); passed < 50*time.Millisecond {
		return fmt.Errorf("the clock advanced by %v in at least 100 ms", passed)
	}
	return nil
}
