// Package scheduler chooses the host for an instance, and says why.
//
// Place is a pure function of a pool.State, or an overlay of one, and a Request: no input or output, no
// clock, no randomness; the same books and the same request give the same answer on every machine. It
// decides nothing durable: its caller puts the Decision into an event, and the books change when that event
// is folded.
//
// A host qualifies when it passes all of these, which are asked in this order, so that the first that fails
// is the reason given:
//
//  1. avoid: the host is not in Request.Avoid
//  2. condition: it is ready, and neither cordoned, draining, unreachable nor fenced
//  3. host, zone, label: Spec.Constraints allow it
//  4. image: the image has a source for the host's driver
//  5. kind: the host runs instances of the spec's kind
//  6. ability, taint: the host has every ability that is asked for; the spec tolerates every taint of the host that lets nothing in
//  7. affinity, anti-affinity, spread: the rules about other instances are kept
//  8. filter: every Filter of the importer, in order
//  9. shape: on an aggregate, a shape covers the request
//  10. full: the aggregate has not just refused that shape for want of room (pool.Full)
//  11. unit, resource: each class, in alphabetical order, is given out in such amounts and has room; a class that the
//     host lacks has none
//  12. device: each disk, each GPU, and each share of a GPU finds one device with room for the whole of it
//
// Of the hosts that qualify the one with the highest score is chosen, on equal scores the one whose id comes
// first. A soft constraint, a prefer-no-schedule taint or a rule that is preferred only, refuses nothing: each that a host
// does not meet takes more from its score than all else can give. A refusal tells for every host what stood in the way, and the nearest change that would help.
//
// An Index gives the same answers without looking at all hosts. It follows the records of a State, or changes
// amounts without one, for simulations and plans. PlaceOn is Place on an Index; an Ask is a request prepared for many
// placements, which Index.Choose, Book and Free place and release without allocating anything.
//
// PlaceAll places a Gang on an Index: all of its members or none, or as many as there is room for, and so that whichever
// failure domains fail, as many as are reserved for, the others have room for what was on them.
//
// scheduler imports the standard library and pool only.
package scheduler
