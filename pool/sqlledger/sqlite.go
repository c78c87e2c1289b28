package sqlledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/berthage/berthage/pool"
)

// SQLite returns the dialect of SQLite, version 3.42 or newer, for any driver of database/sql.
func SQLite() Dialect {
	return Dialect{
		name: "SQLite",
		// A transaction that starts as a reader and turns writer can fail in the middle; IMMEDIATE asks for the
		// right to write at once. FULL is what makes a commit last through a power cut. secure_delete overwrites
		// what is deleted. The timeout is short as it cannot be interrupted: waiting is done outside of SQLite,
		// where it ends with the context.
		begin:      []string{"PRAGMA busy_timeout = 20; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; BEGIN IMMEDIATE"},
		now:        "CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER) * 1000",
		classify:   classifySQLite,
		prepare:    prepareSQLite,
		migrations: []migration{sqliteSchema1(), sqliteSchema2()},
		flush:      "PRAGMA wal_checkpoint(TRUNCATE)",
		// Bytes of the same length are written in place. To delete the row instead would let SQLite move its
		// neighbours together, which leaves copies of them behind that no later deletion finds.
		forget: "UPDATE berthage_private SET forgotten = 1, private = zeroblob(LENGTH(private)), salt = zeroblob(LENGTH(salt))" +
			" WHERE subject = ? AND forgotten = 0",
	}
}

// sqliteSchema1 is the schema of the first release. Rows of berthage_private are only ever appended, by
// rowid, and never change their length, so that SQLite never moves one.
func sqliteSchema1() migration {
	return migration{
		`CREATE TABLE berthage_events (
	revision     INTEGER NOT NULL CHECK (revision > 0),
	idx          INTEGER NOT NULL CHECK (idx >= 0),
	id           TEXT    NOT NULL,
	time         INTEGER NOT NULL, -- microseconds since the Unix epoch
	actor        TEXT    NOT NULL,
	cause        TEXT    NOT NULL,
	epoch        INTEGER NOT NULL,
	kind         TEXT    NOT NULL,
	version      INTEGER NOT NULL,
	data         BLOB    NOT NULL,
	subject      TEXT    NOT NULL,
	private_hash BLOB    NOT NULL CHECK (LENGTH(private_hash) IN (0, 32)),
	leaf         BLOB    NOT NULL CHECK (LENGTH(leaf) = 32), -- RFC 6962 leaf hash
	PRIMARY KEY (revision, idx)
) STRICT`,
		`CREATE TABLE berthage_private (
	revision  INTEGER NOT NULL,
	idx       INTEGER NOT NULL,
	subject   TEXT    NOT NULL,
	forgotten INTEGER NOT NULL, -- 1: private and salt are zeros
	private   BLOB    NOT NULL,
	salt      BLOB    NOT NULL,
	PRIMARY KEY (revision, idx)
) STRICT`,
		`CREATE INDEX berthage_private_subject ON berthage_private (subject)`,
		`CREATE TABLE berthage_snapshot ( -- the checkpoint: the parts of the newest snapshot, joined in order
	revision INTEGER NOT NULL,
	part     INTEGER NOT NULL,
	data     BLOB    NOT NULL,
	PRIMARY KEY (revision, part)
) STRICT`,
		`CREATE TABLE berthage_scratch (
	name    TEXT    NOT NULL PRIMARY KEY,
	value   BLOB    NOT NULL,
	version INTEGER NOT NULL,
	expires INTEGER NOT NULL -- microseconds since the Unix epoch
) STRICT`,
		`CREATE INDEX berthage_scratch_expires ON berthage_scratch (expires)`,
		`CREATE TABLE berthage_sequence (version INTEGER NOT NULL) STRICT`, // the last version given in scratch
		`INSERT INTO berthage_sequence (version) VALUES (0)`,
	}
}

// sqliteSchema2 adds what tells that a batch or the snapshot is whole: how many events the batch has, and a
// hash of the snapshot. Batches that are there get their number, a snapshot that is there stays unproved until
// the next Compact.
func sqliteSchema2() migration {
	return migration{
		`ALTER TABLE berthage_events ADD COLUMN size INTEGER NOT NULL DEFAULT 0`, // events of the batch; 0: stored by a program of schema 1
		`UPDATE berthage_events SET size = (SELECT COUNT(*) FROM berthage_events b WHERE b.revision = berthage_events.revision)`,
		`ALTER TABLE berthage_snapshot ADD COLUMN sum BLOB NOT NULL DEFAULT x''`, // of all parts together; empty: as above
	}
}

// prepareSQLite switches the file to WAL, which lasts, and checks that it did.
func prepareSQLite(ctx context.Context, db *sql.DB) error {
	var version, encoding, journal string
	var major, minor int
	err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version)
	if err != nil {
		return err
	}
	if n, err := fmt.Sscanf(version, "%d.%d", &major, &minor); n != 2 || err != nil || major != 3 || minor < 42 {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "SQLite", Value: version, Want: "version 3.42 or newer"}
	}
	if err := db.QueryRowContext(ctx, "PRAGMA encoding").Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF-8" {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "encoding", Value: encoding, Want: "UTF-8"}
	}
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&journal); err != nil {
		return err
	}
	if journal != "wal" {
		return &pool.Error{Kind: pool.ErrInvalid, Field: "journal mode", Value: journal, Want: "wal, which only a file on a local disk can have"}
	}
	return nil
}

// classifySQLite goes by SQLite's result codes (https://sqlite.org/rescode.html), which the drivers give in
// a method Code, or else by the text that SQLite has for them.
func classifySQLite(err error) class {
	var coded interface{ Code() int }
	code := 0
	if errors.As(err, &coded) {
		code = coded.Code()
	}
	text := func(s string) bool { return code == 0 && strings.Contains(err.Error(), s) }
	switch {
	case code&0xff == 5, code&0xff == 6, text("database is locked"), text("table is locked"): // BUSY, LOCKED
		return again
	// A commit that runs out of room has not written its last frame, without which a WAL commit does not
	// exist; one that fails to flush (IOERR) may have.
	case code&0xff == 13, code&0xff == 8, code&0xff == 19, // FULL, READONLY, CONSTRAINT
		text("database or disk is full"), text("readonly database"), text("constraint failed"):
		return refused
	}
	return doubtful
}
