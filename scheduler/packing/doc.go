// Package packing plans: the fewest hosts, or the cheapest, for a given demand, with a bound that proves how
// near to the best the plan is; and how many hosts of which kind are to be provided.
//
// Plan does not look at a pool and moves nothing. It answers what could be, for capacity planning and to
// judge placements by: scheduler decides one instance after another and cannot know what comes, Plan knows
// all. Its demand is sizes with counts, in any classes of resource; its hosts are kinds with a capacity, a cost
// and, where they are limited, a count.
//
// # How it works
//
// A pattern is a set of instances that fits on one host. The linear program that covers the demand with
// patterns at the least cost, hosts used in fractions allowed, has far too many columns to write down. So
// they are generated (Gilmore and Gomory 1961): the program is solved for the patterns known, its dual values
// are prices of the sizes, and a knapsack in several dimensions finds the most valuable filling of each kind
// of host. If that is worth more than the host costs it is a new pattern, else the program is solved. On the
// way prices are smoothed towards the best known (Wentges 1997), which saves most of the rounds.
//
// The plan then takes whole hosts from the program's solution, solves it again for what is left, and so on
// (diving), with best-fit decreasing for comparison at every step. In the end it packs the emptiest hosts anew
// while that saves any.
//
// # What is proved
//
// Prices of the sizes are a certificate: if no filling of a host is worth more than the host costs, the demand
// cannot be had for less than it is worth. If the most valuable filling is worth z times its host's cost, the
// prices divided by z are one (Farley 1990), so that there is a bound at every moment, whether the program has
// been solved or not. Certificate holds prices as integers over one scale, and Verify proves them by solving the
// knapsacks again, in integers, without believing anything of the solver, whose floating-point numbers serve as
// suggestions only. What a bound does not prove is said to be open: Result.Optimal is true only if the plan costs
// what the bound says.
//
// A plan costs at most the rounded-up bound plus one host in nearly all cases, and mostly just the bound; there
// is no guarantee, since packing in several dimensions can be further from its linear program.
//
// # Limits
//
// Sizes are planned by their resources and the limits of units alone: no devices, zones or affinities; split the
// demand by those.
// With more than about 800 different sizes the program is left out: the plan comes from best-fit decreasing and
// repairs, the bound from prices of the classes. Where items fit on limited kinds of host only, the penalty for
// leaving one out times the number of items must stay below 2^61: lower costs or counts if Plan says
// pool.ErrOverflow.
//
// packing imports the standard library and pool only.
package packing
