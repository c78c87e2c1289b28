// Package delivery sees to it that messages arrive: it says which of those that wait is to be sent now, which later, and
// which never again.
//
// What waits is not kept here. Whoever decides that a receiver is to be told of something writes it down first; what has
// been written down and has neither arrived nor been given up is the outbox. A [Source] lists it, gives the message when it is
// about to be sent, and writes down what has become of it. So nothing is lost with a process, and a message whose
// outcome was not written down is sent again, by whichever process comes next, with the same Key.
//
// A [Queue] decides, without a clock and without sending anything: given what waits and what became of each attempt, it says
// what to send and when to ask again. The same calls have the same results. A [Sender] is the loop around it that asks a Source and calls
// the notifiers.
//
// The rules, of which [Policy] has the figures:
//
//   - Of items with the same Receiver and Order one is sent after another, in the order in which they are listed. The next one
//     goes when the one before is listed no more: it has arrived or is dead, and that is written down.
//   - What fails for now is tried again after a pause that doubles each time, shortened by chance. The chance is a hash of key
//     and attempt, so that it is the same for everybody who asks.
//   - A receiver that asks to be left alone is, with all its items.
//   - A receiver that fails several times in a row is left alone, too, for a pause of the same kind, and gets one item at a time then
//     until it takes one. One that is broken gets one item every five minutes.
//   - Whatever has been ready for longest goes first, so that an item that always fails keeps no other one from its turn.
//   - An item is dead when its receiver refuses it for good, or when it has waited for a day. Nothing else loses it.
//
// The package is beside the receivers: it knows package notify and none of them.
package delivery
