// Package audit proves what stands in a ledger, and tells others of it.
//
// The events of a ledger are the leaves of a Merkle tree, by revision and index, as RFC 6962 (RFC 9162) defines it:
// pool.Event.Leaf is the hash of one. A Log follows a ledger and gives the tree's root and its proofs for every size.
// A Head is root and size, signed with Ed25519; Evidence is an event with the proof that leads to a head. Whoever has the
// public key checks either alone. Private parts are in the leaves as salted hashes only, so that forgetting them changes no
// proof.
//
// What a head promises, it promises to whoever keeps it: who holds the ledger and the private key can write
// another history and sign it. A head that somebody else has kept shows that, for one of the two histories has no proof that it goes on
// from there (Head.Follows). So heads are worth as much as their distance from the ledger.
//
// Entry is one line of an audit log: who, from where, what, decided how, with what result. EntryOf makes one of an event; a
// Forwarder sends entries to a collector as JSON lines or as syslog (RFC 5424). Counter counts what was refused, so that who
// knocks all day fills no ledger.
//
// Command and Refusals are the data of events of its own, of a part that keeps nothing: Part.
//
// The package does not decide who may do what. Time comes in as an argument, but for the Forwarder's waiting.
package audit
