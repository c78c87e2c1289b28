// Package lifetime learns from the instances of a pool how long instances live, and says of hosts until when they are
// expected to be in use: what scheduler.Ends wants to know.
//
// A Book is told when instances are born, moved and gone, each with its Class: what is known of it when it is placed. From
// that it knows, for each class, which part of those that reached an age went on to reach the next one (a life table, Cutler
// and Ederer, J. Chronic Dis. 1958; ages grow by a factor of the square root of two). Those that still live count as far as
// they have come, so that what lives long is not overlooked because it has not ended yet. What is expected of an instance is the median of what
// remains to those of its class that have reached its age; so an expectation changes as the instance grows older, and one that
// was wrong is mended.
//
// A class of which little is known is taken for like its parent: a batch size for like its flavor, that for like its
// project, that for like the pool; what is known of the parent counts as one instance at each age. Of the pool it is assumed that
// half of those of any age live to twice that age, which also counts as one.
//
// A Book has no clock and uses no randomness: the same calls in the same order give the same answers. It keeps a record of each
// instance that lives, and of at most 4,096 classes 400 bytes each. It imports the standard library, pool and scheduler.
package lifetime
