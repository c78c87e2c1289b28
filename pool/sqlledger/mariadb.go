package sqlledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/berthage/berthage/pool"
)

// MariaDB returns the dialect of MariaDB, version 10.6 or newer, for the driver go-sql-driver/mysql, whose
// errors begin with "Error" and the server's number. The tables are made in the connection's database, by
// InnoDB. A server that does not flush its log at every commit is refused.
//
// Text is stored as bytes, so that neither character sets nor collations nor sql_mode of server and
// connection matter, and times as numbers, so that no time zone does.
func MariaDB() Dialect {
	return Dialect{
		name: "MariaDB",
		// Strict, or the server would shorten what is too long for a column. READ COMMITTED locks no gaps. The
		// server itself ends a transaction whose program is paused or cut off, so that nobody waits for it longer
		// than that.
		begin: []string{
			"SET SESSION sql_mode = 'STRICT_ALL_TABLES', tx_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 10," +
				" idle_write_transaction_timeout = 30, default_storage_engine = InnoDB",
			"START TRANSACTION READ WRITE",
		},
		now:        "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))", // UNIX_TIMESTAMP would go by way of the session's time zone
		classify:   classifyMariaDB,
		prepare:    prepareMariaDB,
		migrations: []migration{mariaDBSchema1()},
		forget:     "DELETE FROM berthage_private WHERE subject = ?",
	}
}

// mariaDBSchema1 is the schema of the first release, with what SQLite's has in its second. MariaDB commits
// after each of these statements, so each can be run again. VARBINARY compares byte by byte and, unlike its
// binary collations of text, does not ignore spaces at the end.
func mariaDBSchema1() migration {
	return migration{
		`CREATE TABLE IF NOT EXISTS berthage_events (
	revision     BIGINT         NOT NULL CHECK (revision > 0),
	idx          BIGINT         NOT NULL CHECK (idx >= 0),
	id           VARBINARY(64)  NOT NULL,
	time         BIGINT         NOT NULL COMMENT 'microseconds since the Unix epoch',
	actor        VARBINARY(255) NOT NULL,
	cause        VARBINARY(255) NOT NULL,
	epoch        BIGINT         NOT NULL,
	kind         VARBINARY(64)  NOT NULL,
	version      BIGINT         NOT NULL,
	data         LONGBLOB       NOT NULL,
	subject      VARBINARY(255) NOT NULL,
	private_hash VARBINARY(32)  NOT NULL CHECK (LENGTH(private_hash) IN (0, 32)),
	leaf         VARBINARY(32)  NOT NULL COMMENT 'RFC 6962 leaf hash' CHECK (LENGTH(leaf) = 32),
	size         BIGINT         NOT NULL COMMENT 'events of the batch' CHECK (size > 0),
	PRIMARY KEY (revision, idx)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS berthage_private (
	revision  BIGINT         NOT NULL,
	idx       BIGINT         NOT NULL,
	subject   VARBINARY(255) NOT NULL,
	forgotten BIGINT         NOT NULL,
	private   LONGBLOB       NOT NULL,
	salt      VARBINARY(64)  NOT NULL,
	PRIMARY KEY (revision, idx),
	INDEX (subject)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS berthage_snapshot (
	revision BIGINT        NOT NULL,
	part     BIGINT        NOT NULL,
	data     LONGBLOB      NOT NULL,
	sum      VARBINARY(32) NOT NULL COMMENT 'of all parts together',
	PRIMARY KEY (revision, part)
) ENGINE=InnoDB COMMENT 'the checkpoint: the parts of the newest snapshot, joined in order'`,
		`CREATE TABLE IF NOT EXISTS berthage_scratch (
	name    VARBINARY(255) NOT NULL PRIMARY KEY,
	value   LONGBLOB       NOT NULL,
	version BIGINT         NOT NULL,
	expires BIGINT         NOT NULL COMMENT 'microseconds since the Unix epoch',
	INDEX (expires)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS berthage_sequence (
	one     BIGINT NOT NULL PRIMARY KEY CHECK (one = 1),
	version BIGINT NOT NULL COMMENT 'the last version given in scratch'
) ENGINE=InnoDB`,
		`INSERT IGNORE INTO berthage_sequence (one, version) VALUES (1, 0)`,
	}
}

func prepareMariaDB(ctx context.Context, db *sql.DB) error {
	var version, isolation string
	var autocommit, flush, packet int64
	err := db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version)
	if err != nil {
		return err
	}
	var major, minor int
	n, _ := fmt.Sscanf(version, "%d.%d", &major, &minor)
	if n != 2 || !strings.Contains(version, "MariaDB") || major < 10 || major == 10 && minor < 6 {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "MariaDB", Value: version, Want: "MariaDB 10.6 or newer"}
	}
	err = db.QueryRowContext(ctx, "SELECT @@tx_isolation, @@autocommit, @@innodb_flush_log_at_trx_commit, @@max_allowed_packet").
		Scan(&isolation, &autocommit, &flush, &packet)
	switch {
	case err != nil:
		return err
	case isolation == "READ-UNCOMMITTED":
		return &pool.Error{Kind: pool.ErrInvalid, Field: "tx_isolation", Value: isolation, Want: "READ-COMMITTED or stronger"}
	case autocommit != 1:
		return &pool.Error{Kind: pool.ErrInvalid, Field: "autocommit", Value: number(autocommit), Want: "1"}
	case flush != 1 && flush != 3:
		return &pool.Error{Kind: pool.ErrInvalid, Field: "innodb_flush_log_at_trx_commit", Value: number(flush), Want: "1"}
	case packet < 4<<20:
		return &pool.Error{Kind: pool.ErrInvalid, Field: "max_allowed_packet", Value: number(packet), Want: "at least 4194304"}
	}
	return nil
}

// classifyMariaDB goes by the server's numbers (https://mariadb.com/kb/en/mariadb-error-code-reference), which
// the driver gives at the beginning of its errors' text: "Error 1213 (40001): Deadlock found ...".
func classifyMariaDB(err error) class {
	code := 0
	for ; err != nil && code == 0; err = errors.Unwrap(err) {
		_, _ = fmt.Sscanf(err.Error(), "Error %d", &code)
	}
	switch code {
	case 1213, 1205, 1020, // deadlock, lock timeout, changed since it was read
		1062,       // unique: another has stored that revision
		1050, 1684: // table made, or being made, by another in the meantime
		return again
	case 1021, 1114, 1290, 1836, 4025: // disk full, table full, read-only, read-only, constraint
		return refused
	}
	return doubtful
}
