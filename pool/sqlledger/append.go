package sqlledger

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Append implements pool.Ledger.
func (s *Store) Append(ctx context.Context, prev pool.Revision, batch ...pool.Event) (pool.Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	events, err := pool.CheckBatch(prev, batch)
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, "append", func(tx *sql.Conn) error {
		var head pool.Revision
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(revision), 0) FROM berthage_events").Scan(&head); err != nil {
			return err
		}
		if prev == head {
			return s.insert(ctx, tx, events)
		}
		if stored, err := s.stored(ctx, tx, events); stored || err != nil {
			return err
		}
		return &pool.Error{Kind: pool.ErrConflict, Field: "prev", Value: number(prev), Want: "the head, " + number(head)}
	})
	if err != nil {
		return 0, err
	}
	return prev + 1, nil
}

// stored reports whether this very batch stands at its revision already.
func (s *Store) stored(ctx context.Context, tx *sql.Conn, batch []pool.Event) (bool, error) {
	rows, err := tx.QueryContext(ctx, s.dialect.sql("SELECT id FROM berthage_events WHERE revision = ? ORDER BY idx"), int64(batch[0].Revision))
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return false, err
		}
		ids = append(ids, id)
	}
	same := slices.EqualFunc(ids, batch, func(id string, e pool.Event) bool { return id == e.ID })
	return same, rows.Err()
}

const eventColumns = "revision, idx, id, time, actor, cause, epoch, kind, version, data, subject, private_hash, leaf"

// insert writes the events, several with one statement, and their private parts.
func (s *Store) insert(ctx context.Context, tx *sql.Conn, events []pool.Event) error {
	const most = 32 // events in one statement: 416 values, well below any database's limit
	row := "(?" + strings.Repeat(", ?", strings.Count(eventColumns, ",")) + ")"
	for part := range slices.Chunk(events, most) {
		statement := "INSERT INTO berthage_events (" + eventColumns + ") VALUES " + row + strings.Repeat(", "+row, len(part)-1)
		values := make([]any, 0, 13*len(part))
		for i := range part {
			e := &part[i]
			leaf := e.Leaf()
			values = append(values, int64(e.Revision), int64(e.Index), e.ID, e.Time.UnixMicro(), e.Actor, e.Cause, e.Epoch, e.Kind, int64(e.Version),
				blob(e.Data), e.Subject, blob(e.PrivateHash), leaf[:])
		}
		if _, err := tx.ExecContext(ctx, s.dialect.sql(statement), values...); err != nil {
			return err
		}
	}
	for i := range events {
		if e := &events[i]; e.Private != nil {
			_, err := tx.ExecContext(ctx, s.dialect.sql("INSERT INTO berthage_private (revision, idx, subject, private, salt) VALUES (?, ?, ?, ?, ?)"),
				int64(e.Revision), int64(e.Index), e.Subject, blob(e.Private), blob(e.Salt))
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Forget implements pool.Ledger.
func (s *Store) Forget(ctx context.Context, subject string) error {
	forgotten := false
	err := s.write(ctx, "forget", func(tx *sql.Conn) error {
		if s.dialect.erase != "" {
			if _, err := tx.ExecContext(ctx, s.dialect.erase); err != nil {
				return err
			}
		}
		result, err := tx.ExecContext(ctx, s.dialect.sql("DELETE FROM berthage_private WHERE subject = ?"), subject)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		forgotten = n > 0
		return err
	})
	if err == nil && forgotten && s.dialect.flush != "" {
		// The events are without their private parts already; what stops this is a reader, or another
		// process, and the next checkpoint of the WAL does it then.
		_, _ = s.db.ExecContext(ctx, s.dialect.flush)
	}
	return err
}
