// Package peerbench compares what a placement costs here with what it costs other schedulers, on the same hosts, fill
// and requests. This package has what does not depend on them: the fleet, the requests, the check of every placement,
// our own side, and the rounds. The module in peers drives the others; it is one of its own because it requires a
// great deal, and `make bench-peers` runs it.
//
// What is measured is processor time per instance, of the whole process, from requests that stand ready to placements
// that are decided and recorded in memory.
package peerbench
