// Package ledgerfile is the portable form of a ledger: a file to which any pool.Ledger is written and from which
// any other, of whatever engine, is filled again, event by event and byte by byte.
//
// # The form
//
// Lines of text: a header, one line for each batch, and a closing record. Each line is
//
//	sum SPACE json LF
//
// where sum is SHA-256, in hexadecimal, of the sum before it (of nothing, in the header) and the JSON. So a line
// that was changed, left out, put elsewhere or added is found where it stands, and so is a file that ends early. Every
// event has its leaf hash with it, so that the one that was changed is named by revision, index and kind.
// The closing record counts batches, events and private parts, and has the root of the Merkle tree of RFC 6962,
// section 2.1 over all events (pool.Tree), which is that of the ledger it was written from, on any engine.
//
// None of this is a signature: who can write the file can write another one that is whole. Against that, keep the
// root elsewhere and compare, and encrypt the file, which holds keys and user-data unless they are left out.
//
// A file holds the whole history, the archive included, and no snapshot: a snapshot saves folding and is made anew.
//
// # Import
//
// Import fills an empty ledger and appends one event (pool.KindImported), by which the copy becomes a ledger of its
// own: it has another identity from there on, and no driver is called until somebody has confirmed it. Two ledgers
// of one identity would take each other's machines for their own.
package ledgerfile
