package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage/pool"
)

func readCases() []Case[Store] {
	return []Case[Store]{
		{"read from anywhere", "Read yields the batches after the given revision in order and without a gap; after the head it yields nothing.", readAnywhere},
		{"append inside a read loop", "Read holds neither a lock nor an only connection while the caller's loop body runs, and ends at the head of some moment.", appendInLoop},
		{"read left early", "A reader that leaves its loop early leaves nothing behind that hinders others.", readLeft},
		{"whole batches", "A reader sees all of a batch or nothing of it.", wholeBatches},
	}
}

func readAnywhere(ctx context.Context, s Store) error {
	const n = 600 // more than a store is likely to fetch at once
	want, err := write(ctx, s.Ledger, 0, "b", n)
	if err != nil {
		return err
	}
	for _, after := range []pool.Revision{0, 1, 255, 256, 257, n - 1, n} {
		if err := holds(ctx, s.Ledger, after, want[after:]); err != nil {
			return err
		}
	}
	if err := holds(ctx, s.Ledger, n+10, nil); err != nil {
		return fmt.Errorf("after a revision beyond the head: %w", err)
	}
	return nil
}

func appendInLoop(ctx context.Context, s Store) error {
	head := pool.Revision(300)
	want, err := write(ctx, s.Ledger, 0, "b", int(head))
	if err != nil {
		return err
	}
	first, seen := head, pool.Revision(0)
	for b, err := range s.Ledger.Read(ctx, 0) {
		if err != nil {
			return err
		}
		seen++
		if err := whole(b, seen); err != nil {
			return err
		}
		if seen > 4*first {
			return errors.New("Read follows the appends of its own loop and never ends")
		}
		next := events("inside"+strconv.Itoa(int(head)), 1)
		if err := appended(ctx, s.Ledger, head, next); err != nil {
			return err
		}
		want = append(want, expected(head, next))
		head++
	}
	if seen < first {
		return fmt.Errorf("Read ended at revision %d, the head at its start was %d", seen, first)
	}
	return holds(ctx, s.Ledger, 0, want)
}

func readLeft(ctx context.Context, s Store) error {
	want, err := write(ctx, s.Ledger, 0, "b", 50)
	if err != nil {
		return err
	}
	if err := s.Ledger.Compact(ctx, 10, nil); err != nil {
		return err
	}
	for range 100 {
		for _, err := range s.Ledger.Read(ctx, 10) {
			if err != nil {
				return err
			}
			break
		}
		for _, err := range s.Ledger.Archive(ctx, 0) {
			if err != nil {
				return err
			}
			break
		}
	}
	more, err := write(ctx, s.Ledger, 50, "c", 1)
	if err != nil {
		return err
	}
	return holds(ctx, s.Ledger, 10, append(want, more...)[10:])
}

func wholeBatches(ctx context.Context, s Store) error {
	const size, n = 30, 60
	g := newGroup(ctx)
	var written atomic.Bool
	for range 4 {
		g.Go(func() error {
			for after := pool.Revision(0); after < n && g.Err() == nil; {
				done := written.Load()
				got, err := collect(s.Ledger.Read(g, after), after)
				if err != nil {
					return err
				}
				if done && len(got) == 0 {
					return fmt.Errorf("Read after %d yields nothing, the head is %d", after, n)
				}
				for _, b := range got {
					if len(b.Events) != size {
						return fmt.Errorf("revision %d was read with %d of its %d events", b.Revision, len(b.Events), size)
					}
				}
				after += pool.Revision(len(got))
			}
			return nil
		})
	}
	g.Go(func() error {
		defer written.Store(true)
		for i := range n {
			if err := appended(g, s.Ledger, pool.Revision(i), events("b"+strconv.Itoa(i), size)); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

func raceCases() []Case[Store] {
	const rule = "Of appends that race for a revision exactly one is stored; none is lost, none is stored twice, and readers see the same dense order."
	return []Case[Store]{
		{"16 racing appenders", rule, func(ctx context.Context, s Store) error { return race(ctx, s, 16, 12) }},
		{"64 racing appenders", rule, func(ctx context.Context, s Store) error { return race(ctx, s, 64, 4) }},
	}
}

// race lets n appenders write each their own batches, on two handles where the store has them, while two
// readers follow.
func race(ctx context.Context, s Store, n, each int) error {
	handles, err := s.handles(ctx)
	if err != nil {
		return err
	}
	g := newGroup(ctx)
	start := make(chan struct{})
	acked := make([][]pool.Batch, n)
	var writing atomic.Int64
	writing.Store(int64(n))
	for i := range n {
		g.Go(func() (err error) {
			defer writing.Add(-1)
			<-start
			acked[i], err = contend(g, handles[i%len(handles)], "a"+strconv.Itoa(i)+"-", each)
			return err
		})
	}
	seen := make([][]pool.Batch, 2)
	for i := range seen {
		g.Go(func() error {
			<-start
			for g.Err() == nil {
				done, after, start := writing.Load() == 0, pool.Revision(len(seen[i])), time.Now()
				got, err := collect(handles[i%len(handles)].Read(g, after), after)
				if err != nil {
					return fmt.Errorf("a reader: %w", err)
				}
				if seen[i] = append(seen[i], got...); done && len(got) == 0 {
					break
				}
				time.Sleep(4*time.Since(start) + time.Millisecond) // leave most of the store to the appenders
			}
			return nil
		})
	}
	close(start)
	if err := g.Wait(); err != nil {
		return err
	}
	stored, err := collect(s.Ledger.Read(ctx, 0), 0)
	if err != nil {
		return err
	}
	var want []string
	for _, batches := range acked {
		want = append(want, ids(batches)...)
	}
	if err := once(stored, want); err != nil {
		return err
	}
	for _, batches := range acked {
		for _, b := range batches {
			if err := same([]pool.Batch{b}, stored[b.Revision-1:b.Revision]); err != nil {
				return fmt.Errorf("an appender was told revision %d: %w", b.Revision, err)
			}
		}
	}
	for _, got := range seen {
		if err := same(stored, got); err != nil {
			return fmt.Errorf("a reader saw another order: %w", err)
		}
	}
	return nil
}

// contend appends n batches against others who do the same: after a conflict it reads and tries again, an
// unknown outcome it settles. It returns what it was told is stored.
func contend(ctx context.Context, l pool.Ledger, name string, n int) ([]pool.Batch, error) {
	var acked []pool.Batch
	head, unknown := pool.Revision(0), false
	for tries := 0; len(acked) < n; {
		batch := events(name+strconv.Itoa(len(acked)), 2)
		start := time.Now()
		rev, err := l.Append(ctx, head, batch...)
		took := time.Since(start)
		switch {
		case err == nil && rev != head+1:
			return acked, fmt.Errorf("append at prev %d returned revision %d", head, rev)
		case err == nil:
			acked = append(acked, expected(head, batch))
			head, tries, unknown = rev, 0, false
		case errors.Is(err, pool.ErrConflict):
			unknown = false
			tries++
			select { // or all would come back in step, and a slow store be asked in vain most of the time
			case <-time.After(rand.N(took<<min(tries, 5) + 1)):
			case <-ctx.Done():
				return acked, ctx.Err()
			}
			got, err := collect(l.Read(ctx, head), head)
			if err != nil {
				return acked, fmt.Errorf("read after a conflict at prev %d: %w", head, err)
			}
			if len(got) == 0 {
				return acked, fmt.Errorf("append at prev %d is a conflict, yet nothing is stored after it", head)
			}
			head += pool.Revision(len(got))
		case errors.Is(err, pool.ErrUnknown):
			unknown = true
			fallthrough
		case errors.Is(err, pool.ErrUnavailable) && (unknown || tries < 1000):
			tries++
			select {
			case <-time.After(time.Millisecond):
			case <-ctx.Done():
				return acked, ctx.Err()
			}
		default:
			return acked, fmt.Errorf("append at prev %d: %w", head, err)
		}
	}
	return acked, nil
}
