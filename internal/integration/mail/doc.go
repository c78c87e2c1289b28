// Package mail judges package notify/email on servers that other people wrote: emersion/go-smtp in this process, and Debian's Postfix, from whose
// mailbox the mails are read back (make test-mail).
package mail
