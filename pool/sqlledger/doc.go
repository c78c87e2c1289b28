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
// # How it keeps its promises
//
// An append is one transaction: it looks at the head, inserts the events, commits. The primary key over
// revision and index is the compare-and-swap, so that the isolation level does not matter. One writer at a
// time is at work per Store; several Stores, in one or many processes, may share a database.
//
// An error before COMMIT was sent is pool.ErrUnavailable: the transaction is gone. An error from COMMIT
// itself is pool.ErrUnknown, unless it proves that nothing was stored (a full disk, a deadlock), and the
// connection is closed. Locks and deadlocks are waited out for some seconds.
//
// Read fetches a page at a time and holds no connection while the caller's loop body runs; a pool of one
// connection is enough. Every event is stored with its RFC 6962 leaf hash, and what is read must match it,
// or Read ends in pool.ErrCorrupt.
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
package sqlledger
