package sqlledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/berthage/berthage/pool"
)

// ErrNewerSchema: the tables were made or migrated by a newer program, which this one must not write to.
var ErrNewerSchema = errors.New("schema of a newer program")

// migration is a step of the schema: statements that are run in order. Once released it is never changed;
// its checksum in the database tells that it was not.
type migration []string

func (m migration) checksum() string {
	sum := sha256.Sum256([]byte(strings.Join(m, ";\n")))
	return hex.EncodeToString(sum[:])
}

// migrate brings the schema forward to this program's, in one transaction with the right to write, so that
// of several programs that open the database at once one does it.
func (s *Store) migrate(ctx context.Context) error {
	return s.write(ctx, "open ledger", func(tx *sql.Conn) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS berthage_schema"+
			" (version BIGINT NOT NULL PRIMARY KEY, checksum CHAR(64) NOT NULL, applied BIGINT NOT NULL)")
		if err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT version, checksum FROM berthage_schema ORDER BY version")
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		applied := 0
		for rows.Next() {
			var version int
			var checksum string
			if err := rows.Scan(&version, &checksum); err != nil {
				return err
			}
			switch {
			case version > len(s.dialect.migrations):
				return &pool.Error{Kind: ErrNewerSchema, Field: "schema version", Value: number(int64(version)),
					Want: "at most " + number(int64(len(s.dialect.migrations))) + "; use a newer program"}
			case version != applied+1 || checksum != s.dialect.migrations[version-1].checksum():
				return &pool.Error{Kind: pool.ErrCorrupt, Field: "schema version", Value: number(int64(version)),
					Want: "the versions from 1 on, unchanged since their release"}
			}
			applied = version
		}
		if err := rows.Err(); err != nil {
			return err
		}
		if err := rows.Close(); err != nil {
			return err
		}
		for i, m := range s.dialect.migrations[applied:] {
			for _, statement := range m {
				if _, err := tx.ExecContext(ctx, statement); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, s.dialect.sql("INSERT INTO berthage_schema (version, checksum, applied) VALUES (?, ?, {now})"), applied+i+1, m.checksum())
			if err != nil {
				return err
			}
		}
		return nil
	})
}
