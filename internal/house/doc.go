// Package house holds the rules of the house as tests: who may import whom and what from outside, what an
// exported name owes its reader, that everything builds for every system, and that the documents are true.
//
// It has no code of its own and is imported by nothing. A rule that needs an exception names it in a table
// beside the test, with the reason; an exception that is no longer needed fails as well.
package house
