// Package pool holds the nouns of Berthage and the books that are kept of them.
//
// The nouns are Resources by class, Host with its inventory, Flavor, Image, Spec, Instance, Project.
// The books are Event, an immutable fact; State, the fold of all events; and Ledger, the contract of the
// store that keeps them in order. Scratch is the smaller store beside it, for keys that expire.
//
// pool is the leaf of the module: it imports the standard library only, every other package imports it.
// It performs no input or output, and only the memory Ledger and Scratch read a clock; they are its
// implementations of the two contracts, pool/sqlledger has durable ones and pool/ledgertest judges all.
//
// Sizes are int64 throughout: CPU in thousandths of a core (millicores), memory and storage in bytes,
// IOPS in operations per second, devices and instances as counts. Every sum is checked; an overflow or a
// negative amount is an error and never wraps.
package pool
