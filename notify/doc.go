// Package notify is how a person or another system is told of something: of alerts that fire or are over, and of what
// happens to instances and hosts.
//
// A [Message] is what one receiver is told of one group at one moment. A [Notifier] carries it there, once; it never
// tries again by itself. What it returns says what the caller had better do: [ErrTemporary], the same message again
// later, with the same Key; [ErrPermanent], never this message again; [ErrBroken], nothing more to this receiver until
// somebody has repaired it. Delivery is therefore at least once: a receiver that knows a Key or an Incident again shows a
// message once, and the packages of receivers say which do.
//
// The package is a leaf. It decides nothing: whom to tell of what, and when, is decided elsewhere and written down before
// anything is sent. Each receiver is a package below this one, and package notifytest judges them, and yours.
//
// Requests go through a [Client], which cannot be made to call into the network that it runs in: see [Guard].
// Addresses with a token in them, keys and passwords are a [Secret], which no log, error or JSON shows.
package notify
