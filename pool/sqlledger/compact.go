package sqlledger

import (
	"context"
	"database/sql"
	"slices"

	"github.com/berthage/berthage/pool"
)

// partSize is the size in bytes of the parts in which a snapshot is stored: databases bound a single value
// and a single statement.
const partSize = 1 << 20

// Checkpoint implements pool.Ledger.
func (s *Store) Checkpoint(ctx context.Context) (at pool.Revision, snapshot []byte, err error) {
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	err = s.retry(ctx, func() error {
		at, snapshot = 0, nil
		rows, err := s.db.QueryContext(ctx, "SELECT revision, part, data FROM berthage_snapshot"+
			" WHERE revision = (SELECT MAX(revision) FROM berthage_snapshot) ORDER BY part")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for next := 0; rows.Next(); next++ {
			var part int
			var data sql.RawBytes
			if err := rows.Scan(&at, &part, &data); err != nil {
				return err
			}
			if part != next {
				return corrupt(at, "the snapshot lacks part "+number(int64(next)))
			}
			snapshot = append(blob(snapshot), data...)
		}
		return rows.Err()
	})
	if err != nil {
		return 0, nil, s.failed(ctx, "checkpoint", err)
	}
	return at, snapshot, nil
}

// Compact implements pool.Ledger. Its cost is that of writing the snapshot, whatever the number of batches.
func (s *Store) Compact(ctx context.Context, at pool.Revision, snapshot []byte) error {
	err := s.write(ctx, "compact", func(tx *sql.Conn) error {
		var checkpoint, head pool.Revision
		err := tx.QueryRowContext(ctx, borders).Scan(&checkpoint, &head)
		if err != nil {
			return err
		}
		if at <= checkpoint || at > head {
			return &pool.Error{Kind: pool.ErrInvalid, Field: "at", Value: number(at),
				Want: "after the checkpoint, " + number(checkpoint) + ", and up to the head, " + number(head)}
		}
		parts := slices.Collect(slices.Chunk(snapshot, partSize))
		if len(parts) == 0 {
			parts = [][]byte{{}}
		}
		for i, part := range parts {
			_, err := tx.ExecContext(ctx, s.dialect.sql("INSERT INTO berthage_snapshot (revision, part, data) VALUES (?, ?, ?)"), int64(at), i, part)
			if err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, s.dialect.sql("DELETE FROM berthage_snapshot WHERE revision < ?"), int64(at))
		return err
	})
	if err == nil {
		s.flush(ctx) // the snapshot before may hold what has been forgotten since
	}
	return err
}
