package ledgerfile

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"time"

	"github.com/berthage/berthage/pool"
)

// appendPause is between two tries to settle an append in doubt, appendTries how many there are.
const (
	appendPause = 200 * time.Millisecond
	appendTries = 50
)

// Import fills an empty ledger with the events of a file, byte by byte as they were, and appends the event that
// makes it a ledger of its own; actor stands in that event. It returns the new identity.
//
// The file is read twice, so open is called twice: nothing is written before it has proved to be whole. A ledger
// that is not empty is pool.ErrExists. After an error of the ledger itself it holds a beginning of the history and
// must not be used: remove it and begin again.
func Import(ctx context.Context, open func() (io.ReadCloser, error), to pool.Ledger, actor string, o Options) (identity string, s Summary, err error) {
	if err := empty(ctx, to); err != nil {
		return "", s, err
	}
	var h Header
	var last time.Time
	read := func(each func(pool.Batch) error) error {
		in, err := open()
		if err != nil {
			return err
		}
		defer func() { _ = in.Close() }() // it was only read
		f, err := Open(in)
		if err != nil {
			return err
		}
		h = f.Header()
		for b, err := range f.Batches(ctx) {
			if err != nil {
				return err
			}
			if err := each(b); err != nil {
				return err
			}
		}
		s, _ = f.Summary()
		return nil
	}
	if err := read(func(pool.Batch) error { return nil }); err != nil {
		return "", s, err
	}
	if h.Last == 0 {
		return "", s, &pool.Error{Kind: pool.ErrInvalid, Field: "file", Want: "the history of a ledger that is not empty"}
	}
	checked := s
	err = read(func(b pool.Batch) error {
		last = b.Events[len(b.Events)-1].Time
		if err := settled(ctx, to, b.Revision-1, b.Events); err != nil {
			return err
		}
		o.progress(b.Revision, h.Last)
		return nil
	})
	if err != nil {
		return "", s, err
	}
	if s != checked {
		return "", s, &pool.Error{Kind: ErrDamaged, Field: "file", Want: "the same file when it is read twice"}
	}
	identity = rand.Text()
	e, err := pool.NewEvent(pool.KindImported, &pool.Imported{Ledger: identity, From: h.Identity})
	if err != nil {
		return "", s, err
	}
	e.ID, e.Actor, e.Time = rand.Text(), actor, time.Now().UTC()
	if e.Time.Before(last) {
		e.Time = last // times never run back
	}
	return identity, s, settled(ctx, to, h.Last, []pool.Event{e})
}

func empty(ctx context.Context, l pool.Ledger) error {
	next, stop := iter.Pull2(l.Read(ctx, 0))
	defer stop()
	_, err, more := next()
	if more && (err == nil || errors.Is(err, pool.ErrCompacted)) {
		return &pool.Error{Kind: pool.ErrExists, Field: "ledger", Want: "an empty one: what it holds is not replaced"}
	}
	return err
}

// settled appends a batch, again as long as it is in doubt whether it was stored.
func settled(ctx context.Context, to pool.Ledger, prev pool.Revision, events []pool.Event) error {
	for try := 1; ; try++ {
		_, err := to.Append(ctx, prev, events...)
		if err == nil || !errors.Is(err, pool.ErrUnknown) || try == appendTries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(appendPause):
		}
	}
}
