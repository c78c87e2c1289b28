// Package notifytest judges notifiers: those of this module, and yours. A test of a receiver is a fake of its service and
//
//	notifytest.Run(t, notifytest.Setup{...})
//
// The suite stands between the notifier and the fake and plays what services and networks do: it refuses, is busy, hangs,
// breaks off, redirects to where nobody should go, and loses the answer of a request that was carried out. The fake is right
// as far as the service's documents say; what the service really does is not proved by it.
package notifytest
