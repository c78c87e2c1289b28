package sqlledger

import (
	"bytes"
	"context"
	"database/sql"
	"iter"
	"time"

	"github.com/berthage/berthage/pool"
)

// A page is what Read fetches at a time: at most pageRevisions batches, or fewer once it has more than
// pageBytes of data.
const (
	pageRevisions = 128
	pageBytes     = 4 << 20
)

// borders selects the checkpoint and the head.
const borders = "SELECT COALESCE((SELECT MAX(revision) FROM berthage_snapshot), 0)," +
	" COALESCE((SELECT MAX(revision) FROM berthage_events), 0)"

// Read implements pool.Ledger. The error of a batch that is not what was appended is pool.ErrCorrupt.
func (s *Store) Read(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return s.batches(ctx, "read", after, func(checkpoint, head pool.Revision) (pool.Revision, error) {
		if after < checkpoint {
			return 0, &pool.Error{Kind: pool.ErrCompacted, Field: "after", Value: number(after),
				Want: "at least the checkpoint's revision, " + number(checkpoint)}
		}
		return head, nil
	})
}

// Archive implements pool.Ledger.
func (s *Store) Archive(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
	return s.batches(ctx, "archive", after, func(checkpoint, _ pool.Revision) (pool.Revision, error) { return checkpoint, nil })
}

// batches yields the batches after the given revision up to the one that end chooses.
func (s *Store) batches(ctx context.Context, op string, after pool.Revision, end func(checkpoint, head pool.Revision) (pool.Revision, error)) iter.Seq2[pool.Batch, error] {
	return func(yield func(pool.Batch, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(pool.Batch{}, err)
			return
		}
		if after < 0 {
			yield(pool.Batch{}, &pool.Error{Op: op, Kind: pool.ErrInvalid, Field: "after", Value: number(after), Want: "a revision from 0"})
			return
		}
		var last pool.Revision
		err := s.retry(ctx, func() error {
			var checkpoint, head pool.Revision
			err := s.db.QueryRowContext(ctx, borders).Scan(&checkpoint, &head)
			if err != nil {
				return err
			}
			if checkpoint > head {
				return corrupt(head+1, "no such revision, though the checkpoint is "+number(checkpoint))
			}
			last, err = end(checkpoint, head)
			return err
		})
		window := pool.Revision(pageRevisions)
		for at := after; err == nil && at < last; {
			var page []pool.Batch
			want := min(window, last-at)
			err = s.retry(ctx, func() (err error) {
				page, err = s.page(ctx, at, at+want)
				return err
			})
			if window = min(2*window, pageRevisions); len(page) < int(want) {
				window = max(1, pool.Revision(len(page))) // databases send all that is asked for: ask for what fits
			}
			for _, b := range page {
				if err != nil {
					break
				}
				if !yield(b, nil) {
					return
				}
				at = b.Revision
				err = ctx.Err()
			}
		}
		if err != nil {
			yield(pool.Batch{}, s.failed(ctx, op, err))
		}
	}
}

// page returns the batches after at and up to end, or as many of them as fit a page, and at least one.
func (s *Store) page(ctx context.Context, at, end pool.Revision) ([]pool.Batch, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.sql("SELECT e.revision, e.idx, e.id, e.time, e.actor, e.cause, e.epoch, e.kind, e.version,"+
		" e.data, e.subject, e.private_hash, e.leaf, e.size, p.revision, p.private, p.salt"+
		" FROM berthage_events e LEFT JOIN berthage_private p ON p.revision = e.revision AND p.idx = e.idx AND p.forgotten = 0"+
		" WHERE e.revision > ? AND e.revision <= ? ORDER BY e.revision, e.idx"), int64(at), int64(end))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	page := make([]pool.Batch, 0, end-at)
	size, events := 0, 0 // bytes in the page; events that the present batch must have, or 0 if that is not known
	whole := func() error {
		if events != 0 && len(page[len(page)-1].Events) != events {
			return corrupt(at, "it has "+number(int64(len(page[len(page)-1].Events)))+" events of "+number(int64(events)))
		}
		return nil
	}
	for rows.Next() {
		e, of, err := scan(rows)
		if err != nil {
			return nil, err
		}
		if e.Index == 0 {
			if err := whole(); err != nil {
				return nil, err
			}
			if size > pageBytes {
				return page, nil
			}
			at++
			page = append(page, pool.Batch{Revision: at})
			events = of
		}
		if len(page) == 0 {
			return nil, corrupt(at+1, "its first event is missing")
		}
		b := &page[len(page)-1]
		if e.Revision != at || e.Index != len(b.Events) {
			return nil, corrupt(at, "a gap before revision "+number(e.Revision)+", event "+number(int64(e.Index)))
		}
		b.Events = append(b.Events, e)
		size += len(e.Data) + len(e.Private)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if err := whole(); err != nil {
		return nil, err
	}
	if at != end {
		return nil, corrupt(at+1, "no such revision")
	}
	return page, nil
}

// scan returns the event of the current row, once it has proved to be the one that was stored, and how many
// its batch has.
func scan(rows *sql.Rows) (e pool.Event, of int, err error) {
	var revision, index, micro, version int64
	var leaf, private, salt sql.RawBytes
	var data []byte
	var kept sql.NullInt64
	err = rows.Scan(&revision, &index, &e.ID, &micro, &e.Actor, &e.Cause, &e.Epoch, &e.Kind, &version, &data, &e.Subject, &e.PrivateHash, &leaf, &of,
		&kept, &private, &salt)
	if err != nil {
		return e, of, err
	}
	e.Revision, e.Index, e.Version, e.Data = pool.Revision(revision), int(index), int(version), data
	e.Time = time.UnixMicro(micro).UTC()
	if len(e.PrivateHash) == 0 {
		e.PrivateHash = nil // drivers differ in what they make of no bytes
	}
	if hash := e.Leaf(); string(leaf) != string(hash[:]) {
		return e, of, corrupt(e.Revision, "event "+number(index)+" ("+pool.Quote(e.Kind)+") does not match its leaf hash")
	}
	if kept.Valid {
		stored := e.PrivateHash
		e.Private, e.Salt = append([]byte{}, private...), append([]byte{}, salt...)
		if e.Seal(); !bytes.Equal(stored, e.PrivateHash) {
			return e, of, corrupt(e.Revision, "the private part of event "+number(index)+" ("+pool.Quote(e.Kind)+") does not match its hash")
		}
	}
	return e, of, nil
}

func corrupt(at pool.Revision, what string) error {
	return &pool.Error{Kind: pool.ErrCorrupt, Field: "revision " + number(at), Want: what}
}
