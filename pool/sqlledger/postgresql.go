package sqlledger

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// PostgreSQL returns the dialect of PostgreSQL, version 14 or newer, for any driver of database/sql whose
// errors have a method SQLState, as those of pgx and pq do. The tables are made in the first schema of the
// connection's search_path. A database whose encoding is not UTF8, or a server without fsync, is refused.
func PostgreSQL() Dialect {
	return Dialect{
		name: "PostgreSQL",
		// READ COMMITTED, so that a statement that has waited for a lock sees what its holder has committed. The
		// server itself ends a transaction whose program is paused or cut off, so that nobody waits for it longer
		// than that. synchronous_commit may be stronger than on, but not off.
		begin: []string{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '30s';" +
			" SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"},
		now:         "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)", // not now(), which is when the transaction began
		placeholder: func(n int) string { return "$" + strconv.Itoa(n) },
		classify:    classifyPostgreSQL,
		prepare:     preparePostgreSQL,
		migrations:  []migration{postgreSQLSchema1()},
		forget:      "DELETE FROM berthage_private WHERE subject = ?",
	}
}

// postgreSQLSchema1 is the schema of the first release, with what SQLite's has in its second. Bytes are
// BYTEA, never JSONB, which would not return them as they were. Text that is indexed has the collation C,
// whose order does not change with the operating system.
func postgreSQLSchema1() migration {
	return migration{
		`CREATE TABLE berthage_events (
	revision     BIGINT NOT NULL CHECK (revision > 0),
	idx          BIGINT NOT NULL CHECK (idx >= 0),
	id           TEXT   NOT NULL,
	time         BIGINT NOT NULL, -- microseconds since the Unix epoch
	actor        TEXT   NOT NULL,
	cause        TEXT   NOT NULL,
	epoch        BIGINT NOT NULL,
	kind         TEXT   NOT NULL,
	version      BIGINT NOT NULL,
	data         BYTEA  NOT NULL,
	subject      TEXT   NOT NULL,
	private_hash BYTEA  NOT NULL CHECK (OCTET_LENGTH(private_hash) IN (0, 32)),
	leaf         BYTEA  NOT NULL CHECK (OCTET_LENGTH(leaf) = 32), -- RFC 6962 leaf hash
	size         BIGINT NOT NULL CHECK (size > 0), -- events of the batch
	PRIMARY KEY (revision, idx)
)`,
		`CREATE TABLE berthage_private (
	revision  BIGINT NOT NULL,
	idx       BIGINT NOT NULL,
	subject   TEXT   COLLATE "C" NOT NULL,
	forgotten BIGINT NOT NULL,
	private   BYTEA  NOT NULL,
	salt      BYTEA  NOT NULL,
	PRIMARY KEY (revision, idx)
)`,
		`CREATE INDEX berthage_private_subject ON berthage_private (subject)`,
		`CREATE TABLE berthage_snapshot ( -- the checkpoint: the parts of the newest snapshot, joined in order
	revision BIGINT NOT NULL,
	part     BIGINT NOT NULL,
	data     BYTEA  NOT NULL,
	sum      BYTEA  NOT NULL, -- of all parts together
	PRIMARY KEY (revision, part)
)`,
		`CREATE TABLE berthage_scratch (
	name    TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
	value   BYTEA  NOT NULL,
	version BIGINT NOT NULL,
	expires BIGINT NOT NULL -- microseconds since the Unix epoch
)`,
		`CREATE INDEX berthage_scratch_expires ON berthage_scratch (expires)`,
		`CREATE TABLE berthage_sequence (version BIGINT NOT NULL)`, // the last version given in scratch
		`INSERT INTO berthage_sequence (version) VALUES (0)`,
	}
}

func preparePostgreSQL(ctx context.Context, db *sql.DB) error {
	var version int
	var encoding, fsync string
	err := db.QueryRowContext(ctx, "SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('server_encoding'), current_setting('fsync')").
		Scan(&version, &encoding, &fsync)
	switch {
	case err != nil:
		return err
	case version < 140000:
		return &pool.Error{Kind: pool.ErrInvalid, Field: "PostgreSQL", Value: strconv.Itoa(version), Want: "version 140000 or newer"}
	case encoding != "UTF8":
		return &pool.Error{Kind: pool.ErrInvalid, Field: "encoding", Value: encoding, Want: "UTF8"}
	case fsync != "on":
		return &pool.Error{Kind: pool.ErrInvalid, Field: "fsync", Value: fsync, Want: "on"}
	}
	return nil
}

// classifyPostgreSQL goes by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html). An
// error that the server itself reports for COMMIT with one of these has ended the transaction without it.
func classifyPostgreSQL(err error) class {
	var stated interface{ SQLState() string }
	if !errors.As(err, &stated) {
		return doubtful
	}
	state := stated.SQLState()
	switch {
	case state == "40001", state == "40P01", state == "55P03", // serialization failure, deadlock, lock timeout
		state == "23505",                   // unique: another has stored that revision
		state == "42P07", state == "42710": // table or index made by another in the meantime
		return again
	case state == "40003": // statement completion unknown
		return doubtful
	case strings.HasPrefix(state, "40"), strings.HasPrefix(state, "23"), // rolled back, constraint
		strings.HasPrefix(state, "53"), strings.HasPrefix(state, "25"): // resources such as a full disk, read-only or failed transaction
		return refused
	}
	return doubtful
}
