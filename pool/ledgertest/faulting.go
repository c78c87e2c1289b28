package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berthage/berthage/pool"
)

func faultCases() []Case[Store] {
	const settled = "An Append whose reply was lost is ErrUnknown; the same batch at the same prev settles it, whenever the first one lands: it is stored once."
	const raced = "Where a lost Append and another batch race for a revision exactly one stands, and both callers learn which."
	return []Case[Store]{
		{"lost reply, landed at once", settled, func(ctx context.Context, s Store) error { return settle(ctx, s, 0) }},
		{"lost reply, landing later", settled, func(ctx context.Context, s Store) error { return settle(ctx, s, s.landing()) }},
		{"lost reply, another batch follows at once", raced, func(ctx context.Context, s Store) error { return overtaken(ctx, s, 0) }},
		{"lost reply, another batch comes first", raced, func(ctx context.Context, s Store) error { return overtaken(ctx, s, s.landing()) }},
		{"outage", "While the store cannot be reached calls are ErrUnavailable, or ErrUnknown for an Append that was sent; afterwards all goes on without a restart.", outage},
	}
}

// lose makes the next Append on the returned ledger lose its reply.
func lose(s Store, later time.Duration) pool.Ledger {
	if s.LoseReply != nil {
		s.LoseReply(later)
		return s.Ledger
	}
	f := NewFaulty(s.Ledger, 1, Faults{LateBy: later})
	if later > 0 {
		f.Next(Late)
	} else {
		f.Next(LostReply)
	}
	return f
}

func settle(ctx context.Context, s Store, later time.Duration) error {
	want, err := write(ctx, s.Ledger, 0, "b", 3)
	if err != nil {
		return err
	}
	lost := events("lost", 5)
	l := lose(s, later)
	if _, err := l.Append(ctx, 3, lost...); is(err, pool.ErrUnknown) != nil {
		return fmt.Errorf("the append whose reply is lost: %w", is(err, pool.ErrUnknown))
	}
	for range 2 {
		if err := retried(ctx, l, 3, lost); err != nil {
			return fmt.Errorf("settling: %w", err)
		}
	}
	more, err := write(ctx, s.Ledger, 4, "after", 2)
	if err != nil {
		return err
	}
	want = append(append(want, expected(3, lost)), more...)
	if err := holds(ctx, s.Ledger, 0, want); err != nil {
		return err
	}
	time.Sleep(2 * later)
	if err := holds(ctx, s.Ledger, 0, want); err != nil {
		return fmt.Errorf("once the late one has landed: %w", err)
	}
	return appended(ctx, s.Ledger, 3, lost)
}

// retried appends until the store answers; what it says must be success.
func retried(ctx context.Context, l pool.Ledger, prev pool.Revision, batch []pool.Event) error {
	for {
		err := appended(ctx, l, prev, batch)
		if !errors.Is(err, pool.ErrUnavailable) && !errors.Is(err, pool.ErrUnknown) || ctx.Err() != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func overtaken(ctx context.Context, s Store, later time.Duration) error {
	want, err := write(ctx, s.Ledger, 0, "b", 3)
	if err != nil {
		return err
	}
	handles, err := s.handles(ctx)
	if err != nil {
		return err
	}
	lost, other := events("lost", 3), events("other", 2)
	l := lose(s, later)
	if _, err := l.Append(ctx, 3, lost...); is(err, pool.ErrUnknown) != nil {
		return fmt.Errorf("the append whose reply is lost: %w", is(err, pool.ErrUnknown))
	}
	otherErr := retried(ctx, handles[len(handles)-1], 3, other)
	time.Sleep(2 * later)
	lostErr := retried(ctx, l, 3, lost)
	switch {
	case otherErr == nil && errors.Is(lostErr, pool.ErrConflict):
		want = append(want, expected(3, other))
	case lostErr == nil && errors.Is(otherErr, pool.ErrConflict):
		want = append(want, expected(3, lost))
	default:
		return fmt.Errorf("of the lost batch and the other one exactly one must succeed and one be a conflict; the lost one: %w; the other one: %w", orNone(lostErr), orNone(otherErr))
	}
	return holds(ctx, s.Ledger, 0, want)
}

func outage(ctx context.Context, s Store) error {
	if s.Outage == nil {
		return unsupported("the store has no way to be made unreachable")
	}
	want, err := write(ctx, s.Ledger, 0, "b", 3)
	if err != nil {
		return err
	}
	end := s.Outage()
	batch := events("during", 2)
	unknown := false
	for range 3 {
		short, cancel := context.WithTimeout(ctx, patience)
		_, appendErr := s.Ledger.Append(short, 3, batch...)
		_, readErr := collect(s.Ledger.Read(short, 0), 0)
		_, _, checkpointErr := s.Ledger.Checkpoint(short)
		cancel()
		if errors.Is(appendErr, pool.ErrUnknown) {
			unknown, appendErr = true, nil
		}
		for name, err := range map[string]error{"Append": appendErr, "Read": readErr, "Checkpoint": checkpointErr} {
			if unknown && name == "Append" {
				continue
			}
			if err := is(err, pool.ErrUnavailable); err != nil {
				end()
				return fmt.Errorf("%s during an outage: %w", name, err)
			}
		}
	}
	end()
	if unknown {
		if err := retried(ctx, s.Ledger, 3, batch); err != nil {
			return err
		}
		want = append(want, expected(3, batch))
	}
	for { // a store may need a moment to find its way back
		err := holds(ctx, s.Ledger, 0, want)
		if !errors.Is(err, pool.ErrUnavailable) || ctx.Err() != nil {
			if err != nil {
				return fmt.Errorf("after the outage: %w", err)
			}
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return retried(ctx, s.Ledger, pool.Revision(len(want)), events("after", 1))
}
