package sqlledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/berthage/berthage/pool"
)

// lock makes the transaction wait until no other one is past it, on any database: the one row of the sequence
// is the lock.
const lock = "UPDATE berthage_sequence SET version = version"

// Get implements pool.Scratch.
func (s *Store) Get(ctx context.Context, key string) (value []byte, version int64, err error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if err := pool.CheckKey(key); err != nil {
		return nil, 0, err
	}
	err = s.retry(ctx, func() error {
		return s.db.QueryRowContext(ctx, s.dialect.sql("SELECT value, version FROM berthage_scratch WHERE name = ? AND expires > {now}"), key).Scan(&value, &version)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, &pool.Error{Op: "get", Kind: pool.ErrNotFound, Field: "key", Value: key}
	}
	if err != nil {
		return nil, 0, s.failed(ctx, "get", err)
	}
	return blob(value), version, nil
}

// Put implements pool.Scratch. It also sweeps out what has expired.
func (s *Store) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (version int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := pool.CheckPut(key, value, ttl); err != nil {
		return 0, err
	}
	err = s.write(ctx, "put", func(tx *sql.Conn) error {
		// As lock does, and takes a version.
		if _, err := tx.ExecContext(ctx, "UPDATE berthage_sequence SET version = version + 1"); err != nil {
			return err
		}
		var now int64
		var present, expires sql.NullInt64
		err := tx.QueryRowContext(ctx, s.dialect.sql("SELECT q.version, {now}, s.version, s.expires"+
			" FROM berthage_sequence q LEFT JOIN berthage_scratch s ON s.name = ?"), key).Scan(&version, &now, &present, &expires)
		if err != nil {
			return err
		}
		if expires.Int64 <= now {
			present.Int64 = 0
		}
		if prev != present.Int64 {
			return &pool.Error{Kind: pool.ErrConflict, Field: "version", Value: number(prev), Want: "the key's version, " + number(present.Int64)}
		}
		if _, err := tx.ExecContext(ctx, s.dialect.sql("DELETE FROM berthage_scratch WHERE name = ? OR expires <= ?"), key, now); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.dialect.sql("INSERT INTO berthage_scratch (name, value, version, expires) VALUES (?, ?, ?, ?)"),
			key, blob(value), version, now+max(ttl.Microseconds(), 1))
		return err
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// Delete implements pool.Scratch.
func (s *Store) Delete(ctx context.Context, key string, version int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := pool.CheckKey(key); err != nil {
		return err
	}
	return s.write(ctx, "delete", func(tx *sql.Conn) error {
		if _, err := tx.ExecContext(ctx, lock); err != nil { // or a Put that has found this version would not see it go
			return err
		}
		result, err := tx.ExecContext(ctx, s.dialect.sql("DELETE FROM berthage_scratch WHERE name = ? AND version = ? AND expires > {now}"), key, version)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err == nil && n == 0 {
			err = &pool.Error{Kind: pool.ErrConflict, Field: "version", Value: number(version), Want: "the version of a present key"}
		}
		return err
	})
}
