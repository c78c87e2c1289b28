// Package quota says whether a project may take more, and how much it has left.
//
// A project's limits and what it uses stand in the books (pool.ProjectRecord). Check is a pure function of
// them, so that quota and placement are decided on the same revision; it is its caller's part to put both
// into one event. A class without a limit is not limited, a limit of zero allows nothing, and the number of
// instances is a class like the others, pool.Instances; and so is pool.Cost, what all that is held costs an hour.
//
// A limit may be set below what is used. Nothing is taken away then: Free is negative, and the project can
// take no more of that class until it has given back enough.
//
// quota imports the standard library and pool only.
package quota
