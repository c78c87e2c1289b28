// Package showback says what projects have used between two moments, and what that comes to: for how long how much of each class was
// held, by project, owner, driver and flavor, also by instances that are gone.
//
// A Meter folds a ledger's batches; nothing is sampled and nothing is kept beside the ledger. What it measures is what quotas
// count: the allocation that an instance holds, from the event that gives it a place to the one that takes it, at the size that is booked at
// each moment. So a stopped or reserved instance counts, one that waits, has failed or is shelved does not, a machine that is being moved
// counts once, on the host that it leaves, and while it is resized the larger of both sizes counts. What is held on a host because a
// machine might still appear there is nobody's.
//
// All sums are exact: what was used in an interval is the sum of what was used in its parts, to the last unit and microsecond. Only Prices.Bill
// rounds, line by line. Everything is pure and safe to be read concurrently.
//
// Booked are prices in the ledger: by them the books count what is held costs an hour (Prices.Rate), so that it can be limited beforehand.
//
// showback imports the standard library and pool only.
package showback
