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

// insert writes the events and their private parts.
func (s *Store) insert(ctx context.Context, tx *sql.Conn, events []pool.Event) error {
	var rows, private [][]any
	for i := range events {
		e := &events[i]
		leaf := e.Leaf()
		rows = append(rows, []any{int64(e.Revision), int64(e.Index), e.ID, e.Time.UnixMicro(), e.Actor, e.Cause, e.Epoch, e.Kind, int64(e.Version),
			blob(e.Data), e.Subject, blob(e.PrivateHash), leaf[:], len(events)})
		if e.Private != nil {
			private = append(private, []any{int64(e.Revision), int64(e.Index), e.Subject, 0, blob(e.Private), blob(e.Salt)})
		}
	}
	err := s.insertRows(ctx, tx, "berthage_events", "revision, idx, id, time, actor, cause, epoch, kind, version, data, subject, private_hash, leaf, size", rows)
	if err != nil {
		return err
	}
	return s.insertRows(ctx, tx, "berthage_private", "revision, idx, subject, forgotten, private, salt", private)
}

// insertRows writes several rows with one statement, as a statement costs more than a row.
func (s *Store) insertRows(ctx context.Context, tx *sql.Conn, table, columns string, rows [][]any) error {
	const most = 32 // in one statement; with 14 columns well below any database's limit of values
	for part := range slices.Chunk(rows, most) {
		row := "(?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
		statement := "INSERT INTO " + table + " (" + columns + ") VALUES " + row + strings.Repeat(", "+row, len(part)-1)
		if _, err := tx.ExecContext(ctx, s.dialect.sql(statement), slices.Concat(part...)...); err != nil {
			return err
		}
	}
	return nil
}

// Forget implements pool.Ledger.
func (s *Store) Forget(ctx context.Context, subject string) error {
	err := s.write(ctx, "forget", func(tx *sql.Conn) error {
		_, err := tx.ExecContext(ctx, s.dialect.sql(s.dialect.forget), subject)
		return err
	})
	if err == nil {
		s.flush(ctx)
	}
	return err
}

// flush removes from a log what has been removed from the tables. A reader or another process may be in its
// way; then the log gives it up later.
func (s *Store) flush(ctx context.Context) {
	if s.dialect.flush != "" {
		_, _ = s.db.ExecContext(ctx, s.dialect.flush)
	}
}
