// Package ring is the heart of Berthage: what the root package's Manager does, it does here.
//
// Data flows one way. Inputs (commands of callers, observations of hosts, results of driver calls) are
// decided on the books: decide is pure and gives events. The committer appends them to the ledger with one
// compare-and-swap, and only then are they folded into the State that readers and plan see. plan is pure
// too: it compares what is wanted with what is and gives the next driver call for an instance; the
// leader's loop makes the call and brings its result back as an input.
//
//	command.go, catalog.go, launch.go   inputs of callers, and their decisions
//	queue.go, keep.go, preempt.go       those who wait for a place: their order, what is kept for the first, who gives way
//	observe.go, result.go               inputs of the leader, and their decisions
//	placing.go                          the scheduler's index of the hosts, and what a batch does to it
//	commit.go                           queue, batch, append, settle, publish
//	lease.go                            who leads; taking over
//	plan.go                             the next action for an instance or a held allocation
//	lead.go, poll.go, act.go            the leader's loop: when to look, when to call
//	sweep.go                            strays and unknown machines
//	forward.go                          commands handed to the leader of another process
//
// The package imports the standard library and the module's own core packages only.
package ring
