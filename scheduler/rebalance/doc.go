// Package rebalance plans moves: an ordered list of instances and the hosts they go to, so that hosts become empty,
// named hosts are drained, broken rules are kept again, or the use of hosts becomes even.
//
// Plan is a pure function of a pool.State, a scheduler.Scheduler and Options: no input or output, no clock, no
// randomness beyond a fixed seed; the same books give the same plan on every machine. It moves nothing. Its caller
// carries the moves out, one wave after another, and may stop after any of them: each step stands by itself.
//
// # What is promised
//
//   - Every step is feasible when its turn comes, with both copies counted: a machine's old place is taken until its
//     move has ended, and so are the places of all others that move in the same wave. Every rule of the scheduler is
//     kept, the importer's filters included.
//   - Nothing is modelled twice. The search works on columns of its own, but the list is what it is because the
//     scheduler has accepted each target on an overlay of the State in which all steps before it are folded, by the
//     events that the ring would write (pool.Moving, pool.Moved).
//   - No move without net gain: the measure of the goal is better after the moves than before, by the State as it is
//     then. What cannot be completed is left out as a whole: a host that does not become empty is not touched.
//   - It converges: when the moves have been carried out and nothing else has happened, planning again with what they
//     have cost as Budget.Spent gives no moves.
//   - Every host and every instance that was passed by has a reason that people can read.
//
// # How hosts are emptied
//
// Hosts with the fewest instances come first, each tried as a whole, its instances by decreasing size onto the hosts in
// use where least is left over, each class weighted by how scarce it is. Where an instance fits nowhere, up to four
// smaller ones of another host may make room by moving on (ejection chains of one step). That is a start. A
// large-neighbourhood search goes on from there: it takes back some of the hosts, related ones first, and fills up again
// in another order and with other targets; what is not worse is kept, if all steps are still feasible in their order. The
// work is bounded by counting looks at hosts, not by time, which keeps plans the same on every machine; Options.Effort
// multiplies it.
//
// rebalance imports the standard library, pool and scheduler only.
package rebalance
