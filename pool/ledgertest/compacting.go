package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/berthage/berthage/pool"
)

func compactCases() []Case[Store] {
	return []Case[Store]{
		{"compact", "Compact stores the snapshot and moves the batches up to its revision to the archive, byte for byte; it deletes nothing.", compact},
		{"checkpoint only advances", "A Compact at a revision beyond the head or not after the present checkpoint is ErrInvalid and changes nothing.", advances},
		{"compacted", "A Read after a revision before the checkpoint's is ErrCompacted.", compacted},
		{"compact under a reader", "A Read that is under way during a Compact has no gap: it goes on, or ends as ErrCompacted.", compactUnderReader},
		{"compact while appending", "Appends and reads go on during Compact, and nothing is lost between ledger and archive.", compactWhileAppending},
	}
}

func compact(ctx context.Context, s Store) error {
	want, err := write(ctx, s.Ledger, 0, "b", 8)
	if err != nil {
		return err
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, c := range []struct {
		at       pool.Revision
		snapshot []byte
	}{
		{3, []byte("snapshot of 3")}, {4, nil}, {5, bytes.Repeat(all, 5<<20/256)}, {8, all},
	} {
		if err := s.Ledger.Compact(ctx, c.at, c.snapshot); err != nil {
			return fmt.Errorf("compact at %d: %w", c.at, err)
		}
		at, snapshot, err := s.Ledger.Checkpoint(ctx)
		if err != nil || at != c.at || !bytes.Equal(snapshot, c.snapshot) {
			return fmt.Errorf("the checkpoint is %d with %d bytes and not %d with the %d bytes stored, error %w", at, len(snapshot), c.at, len(c.snapshot), orNone(err))
		}
		if err := holds(ctx, s.Ledger, c.at, want[c.at:]); err != nil {
			return err
		}
		for after := range c.at + 2 {
			got, err := collect(s.Ledger.Archive(ctx, after), after)
			if err != nil {
				return fmt.Errorf("archive after %d: %w", after, err)
			}
			if err := same(want[min(after, c.at):c.at], got); err != nil {
				return fmt.Errorf("archive after %d, compacted at %d: %w", after, c.at, err)
			}
		}
	}
	more, err := write(ctx, s.Ledger, 8, "c", 2)
	if err != nil {
		return fmt.Errorf("after all has been compacted: %w", err)
	}
	return holds(ctx, s.Ledger, 8, more)
}

func advances(ctx context.Context, s Store) error {
	refused := func(ats ...pool.Revision) error {
		for _, at := range ats {
			if err := is(s.Ledger.Compact(ctx, at, []byte("refused")), pool.ErrInvalid); err != nil {
				return fmt.Errorf("compact at %d: %w", at, err)
			}
		}
		return nil
	}
	if err := refused(-1, 0, 1, math.MaxInt64); err != nil {
		return fmt.Errorf("on an empty ledger: %w", err)
	}
	want, err := write(ctx, s.Ledger, 0, "b", 5)
	if err != nil {
		return err
	}
	if err := refused(-1, 0, 6); err != nil {
		return fmt.Errorf("with the head at 5: %w", err)
	}
	if err := s.Ledger.Compact(ctx, 3, []byte("kept")); err != nil {
		return err
	}
	if err := refused(0, 1, 2, 3, 6); err != nil {
		return fmt.Errorf("with the head at 5 and the checkpoint at 3: %w", err)
	}
	if at, snapshot, err := s.Ledger.Checkpoint(ctx); err != nil || at != 3 || string(snapshot) != "kept" {
		return fmt.Errorf("after refusals the checkpoint is %d, %q, error %w", at, snapshot, orNone(err))
	}
	return holds(ctx, s.Ledger, 3, want[3:])
}

func compacted(ctx context.Context, s Store) error {
	want, err := write(ctx, s.Ledger, 0, "b", 5)
	if err != nil {
		return err
	}
	if err := s.Ledger.Compact(ctx, 3, nil); err != nil {
		return err
	}
	for after := range pool.Revision(3) {
		got, err := collect(s.Ledger.Read(ctx, after), after)
		if err := is(err, pool.ErrCompacted); err != nil || len(got) > 0 {
			return fmt.Errorf("read after %d with the checkpoint at 3 yields %d batches first: %w", after, len(got), err)
		}
	}
	return holds(ctx, s.Ledger, 3, want[3:])
}

func compactUnderReader(ctx context.Context, s Store) error {
	want, err := write(ctx, s.Ledger, 0, "b", 600)
	if err != nil {
		return err
	}
	var got []pool.Batch
	for b, err := range s.Ledger.Read(ctx, 0) {
		if errors.Is(err, pool.ErrCompacted) && len(got) > 0 {
			return same(want[:len(got)], got)
		}
		if err != nil {
			return err
		}
		if got = append(got, b); len(got) == 1 {
			if err := s.Ledger.Compact(ctx, 599, nil); err != nil {
				return fmt.Errorf("compact inside a read loop: %w", err)
			}
		}
	}
	return same(want, got)
}

func compactWhileAppending(ctx context.Context, s Store) error {
	handles, err := s.handles(ctx)
	if err != nil {
		return err
	}
	const writers, each = 4, 40
	g := newGroup(ctx)
	var running atomic.Int64
	running.Store(writers)
	for i := range writers {
		g.Go(func() error {
			defer running.Add(-1)
			l := handles[i%len(handles)]
			for n := range each { // at the head, wherever that is, as one who follows checkpoints
				if err := appendAtHead(g, l, events("w"+strconv.Itoa(i)+"-"+strconv.Itoa(n), 2)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for running.Load() > 0 && g.Err() == nil {
			_, head, err := tail(g, s.Ledger)
			if err != nil {
				return err
			}
			at, _, err := s.Ledger.Checkpoint(g)
			if err != nil {
				return err
			}
			if head-2 > at {
				if err := s.Ledger.Compact(g, head-2, []byte("snapshot "+strconv.Itoa(int(head-2)))); err != nil {
					return fmt.Errorf("compact at %d: %w", head-2, err)
				}
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	at, snapshot, err := s.Ledger.Checkpoint(ctx)
	if err != nil {
		return err
	}
	if at > 0 && string(snapshot) != "snapshot "+strconv.Itoa(int(at)) {
		return fmt.Errorf("the checkpoint at %d holds the snapshot %q", at, snapshot)
	}
	archived, err := collect(s.Ledger.Archive(ctx, 0), 0)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	if len(archived) != int(at) {
		return fmt.Errorf("the archive has %d batches, the checkpoint is at %d", len(archived), at)
	}
	live, err := collect(s.Ledger.Read(ctx, at), at)
	if err != nil {
		return err
	}
	var want []string
	for i := range writers {
		for n := range each {
			want = append(want, ids([]pool.Batch{{Events: events("w"+strconv.Itoa(i)+"-"+strconv.Itoa(n), 2)}})...)
		}
	}
	return once(append(archived, live...), want)
}

// tail returns what stands after the checkpoint, and the head.
func tail(ctx context.Context, l pool.Ledger) ([]pool.Batch, pool.Revision, error) {
	for {
		at, _, err := l.Checkpoint(ctx)
		if err != nil {
			return nil, 0, err
		}
		batches, err := collect(l.Read(ctx, at), at)
		if errors.Is(err, pool.ErrCompacted) {
			continue // a newer checkpoint came in between
		}
		return batches, at + pool.Revision(len(batches)), err
	}
}

// appendAtHead appends the batch after whatever the others have stored.
func appendAtHead(ctx context.Context, l pool.Ledger, batch []pool.Event) error {
	for {
		_, head, err := tail(ctx, l)
		if err != nil {
			return err
		}
		if _, err = l.Append(ctx, head, batch...); !errors.Is(err, pool.ErrConflict) {
			return err
		}
	}
}

func forgetCases() []Case[Store] {
	return []Case[Store]{
		{"forget", "Forget removes Private and Salt of every event of that subject, in the archive too, and nothing else.", forget},
		{"forget under a reader", "Forget goes on under a reader, who sees the rest of the events as they are.", forgetUnderReader},
	}
}

func forget(ctx context.Context, s Store) error {
	subjects := []string{"ada", "bob", "Ada", "ada ", "adа", "a%", "eve"}
	var want []pool.Batch
	for i := range 12 {
		var b []pool.Event
		for _, name := range subjects {
			id := strconv.Itoa(i) + "." + strconv.Itoa(len(b))
			b = append(b, secret(id, name, strings.Repeat("private part of "+name, i+1)), event(id+"."))
		}
		if err := appended(ctx, s.Ledger, pool.Revision(i), b); err != nil {
			return err
		}
		want = append(want, expected(pool.Revision(i), b))
	}
	var leaves [][32]byte
	for _, b := range want {
		for _, e := range b.Events {
			leaves = append(leaves, e.Leaf())
		}
	}
	if err := s.Ledger.Compact(ctx, 5, nil); err != nil {
		return err
	}
	check := func(what string) error {
		archived, err := collect(s.Ledger.Archive(ctx, 0), 0)
		if err != nil {
			return err
		}
		live, err := collect(s.Ledger.Read(ctx, 5), 5)
		if err != nil {
			return err
		}
		got := append(archived, live...)
		if err := same(want, got); err != nil {
			return fmt.Errorf("after forgetting %s: %w", what, err)
		}
		n := 0
		for _, b := range got {
			for _, e := range b.Events {
				if leaf := e.Leaf(); n < len(leaves) && leaf != leaves[n] {
					return fmt.Errorf("after forgetting %s the leaf hash of event %d of revision %d is another", what, e.Index, b.Revision)
				}
				n++
			}
		}
		return nil
	}
	for _, subject := range []string{"nobody", "", "ad_", "a%", "ada", "ada", "bob"} {
		if err := s.Ledger.Forget(ctx, subject); err != nil {
			return fmt.Errorf("forget %q: %w", subject, err)
		}
		for i := range want {
			want[i].Events = slices.Clone(want[i].Events)
			for j := range want[i].Events {
				if e := &want[i].Events[j]; e.Subject == subject {
					e.Private, e.Salt = nil, nil
				}
			}
		}
		if err := check(strconv.Quote(subject)); err != nil {
			return err
		}
	}
	later := []pool.Event{secret("later", "ada", "said after the forgetting")}
	if err := appended(ctx, s.Ledger, 12, later); err != nil {
		return err
	}
	want = append(want, expected(12, later))
	if err := appended(ctx, s.Ledger, 6, want[6].Events); err != nil {
		return fmt.Errorf("a stored batch again, without what has been forgotten: %w", err)
	}
	return check("ada, who has had a new event since")
}

func forgetUnderReader(ctx context.Context, s Store) error {
	var want []pool.Batch
	for i := range 600 {
		b := []pool.Event{secret(strconv.Itoa(i), "ada", "private")}
		if err := appended(ctx, s.Ledger, pool.Revision(i), b); err != nil {
			return err
		}
		want = append(want, expected(pool.Revision(i), b))
	}
	seen := pool.Revision(0)
	for b, err := range s.Ledger.Read(ctx, 0) {
		if err != nil {
			return err
		}
		seen++
		if err := whole(b, seen); err != nil {
			return err
		}
		e := want[seen-1].Events[0]
		if b.Events[0].Private == nil {
			e.Private, e.Salt = nil, nil
		}
		if err := differ(e, b.Events[0]); err != nil {
			return err
		}
		if seen == 1 {
			if err := s.Ledger.Forget(ctx, "ada"); err != nil {
				return fmt.Errorf("forget inside a read loop: %w", err)
			}
		}
	}
	if seen != 600 {
		return fmt.Errorf("read %d of 600 batches", seen)
	}
	return nil
}
