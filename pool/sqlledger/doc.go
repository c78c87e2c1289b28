// Package sqlledger keeps a pool.Ledger and a pool.Scratch in a SQL database.
//
// It speaks database/sql and links no driver: the caller opens a *sql.DB with the driver of his choice and
// names the Dialect. With SQLite (3.42 or newer):
//
//	db, err := sql.Open("sqlite", "berthage.db")
//	...
//	store, err := sqlledger.Open(ctx, db, sqlledger.SQLite())
//	...
//	config := berthage.Config{Ledger: store, Scratch: store}
//
// SQLite, PostgreSQL and MariaDB put its tables where the connections look first, so that a ledger shares
// nothing but the server with others in schemas or databases of their own.
//
// # How it keeps its promises
//
// An append is one transaction: it looks at the head, inserts the events, commits. The primary key over
// revision and index is the compare-and-swap, so that the isolation level does not matter. One writer at a
// time is at work per Store; several Stores, in one or many processes, may share a database.
//
// An error before COMMIT was sent is pool.ErrUnavailable: the transaction is gone. An error from COMMIT
// itself is pool.ErrUnknown, unless the database proves by it that nothing was stored (a full disk, a
// deadlock), and the connection is closed. Locks, deadlocks, serialization failures and revisions that another
// has taken in the meantime are met by running the transaction again, for some seconds.
//
// Read fetches a page at a time, with one statement, and holds no connection while the caller's loop body
// runs; a pool of one connection is enough. Every event is stored with its RFC 6962 leaf hash and the number of
// events in its batch, and a snapshot with its hash. What is read must match them, or Read ends in
// pool.ErrCorrupt; Verify says what that detects, and what it does not.
//
// The archive is the part of the one table of events up to the checkpoint: compaction moves a border and
// no rows, so that appends do not wait for it and no crash finds it half done.
//
// # SQLite
//
// Open switches the file to WAL and refuses what has none (":memory:"); every transaction that writes sets
// synchronous=FULL first, whatever the connection's string says. The file must be on a local disk. Private
// parts that are forgotten are overwritten in the file and cut off from the WAL; copies in backups are
// their keeper's to remove.
//
// # PostgreSQL and MariaDB
//
// Open refuses a server that does not flush commits to its disk, and what else cannot keep the promises. The
// settings of the connections do not matter: every transaction sets what it needs. Connections must lead to the
// one server that takes writes, not to a replica. The tests run on PostgreSQL 15 with pgx and on MariaDB 10.11
// with go-sql-driver/mysql.
//
// Private parts that are forgotten are deleted. Their bytes stay in the server's files, as those of every
// deleted row, until it has cleaned up (autovacuum, purge) and its logs (WAL, redo log, binary log) have moved
// on.
package sqlledger
