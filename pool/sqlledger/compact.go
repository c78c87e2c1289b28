package sqlledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
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
		rows, err := s.db.QueryContext(ctx, "SELECT revision, part, data, sum FROM berthage_snapshot"+
			" WHERE revision = (SELECT MAX(revision) FROM berthage_snapshot) ORDER BY part")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		var sum []byte
		for next := 0; rows.Next(); next++ {
			var part int
			var data sql.RawBytes
			if err := rows.Scan(&at, &part, &data, &sum); err != nil {
				return err
			}
			if part != next {
				return corrupt(at, "the snapshot lacks part "+number(int64(next)))
			}
			snapshot = append(blob(snapshot), data...)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if len(sum) > 0 && !bytes.Equal(sum, snapshotSum(at, snapshot)) {
			return corrupt(at, "the snapshot does not match its hash")
		}
		return nil
	})
	if err != nil {
		return 0, nil, s.failed(ctx, "checkpoint", err)
	}
	return at, snapshot, nil
}

// Compact implements pool.Ledger. Its cost is that of writing the snapshot, whatever the number of batches.
func (s *Store) Compact(ctx context.Context, at pool.Revision, snapshot []byte) error {
	err := s.write(ctx, "compact", func(tx *sql.Conn) error {
		if _, err := tx.ExecContext(ctx, lock); err != nil { // or of two at once the older one's snapshot would stay behind
			return err
		}
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
		sum := snapshotSum(at, snapshot)
		for i, part := range parts {
			_, err := tx.ExecContext(ctx, s.dialect.sql("INSERT INTO berthage_snapshot (revision, part, data, sum) VALUES (?, ?, ?, ?)"), int64(at), i, part, sum)
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

// snapshotSum is SHA-256 over the revision, as 8 bytes, and the snapshot. Every part of it is stored with it.
func snapshotSum(at pool.Revision, snapshot []byte) []byte {
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(at)))
	h.Write(snapshot)
	return h.Sum(nil)
}
