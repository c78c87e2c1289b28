// Package whatif answers what would be: hosts lost, hosts added, other ratios of over-commit, more demand, growth,
// hosts that may fail. It tells what would fit, what would not and why, how full the hosts would be, and how many hosts
// are missing, with a certified bound.
//
// Ask decides on a fork of a pool.State, by the scheduler that places for real and by the events that would be written,
// and throws the fork away. It changes nothing, reads no clock and has no randomness: the same books and the same
// Question give the same Answer on every machine.
//
// # In which order
//
// Hosts that are lost take nothing any more; hosts that are added stand empty; ratios hold for all servers, old and new.
// Then are placed: the instances of the lost hosts, large ones first; the demand, in the order of the question; the
// growth, as copies of instances that are there, chosen evenly by their ids, which is by chance. What is refused is left
// out, and so is all that asks for just the same after it, since nothing is given back on the way. In the end hosts fail,
// one after another, each time on the fork as it then is.
//
// Quotas are not asked: the question is about hosts. Where the placing of an instance follows what was placed before it,
// as with all schedulers, the answer is that of this order; Missing.Least is certain whatever the order.
//
// # A day again
//
// Replay lets a stretch of a ledger's history happen again, on the fleet as it was and on another: what was given a place
// in it is placed anew.
//
// whatif imports the standard library, pool, scheduler and scheduler/packing only.
package whatif
