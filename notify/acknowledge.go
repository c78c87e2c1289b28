package notify

import (
	"errors"

	"github.com/berthage/berthage/pool"
)

// Acknowledgement is what somebody says at a receiver of an incident: that they have taken it on, or no longer have. Packages of receivers read it from
// the requests that their services make, once these are known to be theirs. Saying it twice changes nothing.
type Acknowledgement struct {
	Incident  string // of the Message
	By        string // as the service knows them, one line: a name, and no account of anything else's
	Note      string // one line
	Withdrawn bool   // they no longer have
}

// What is wrong with a request that should have told of an acknowledgement, beside pool.ErrInvalid for one that cannot be read.
var (
	// ErrForged: the request is not the service's, or is too old. It is answered with 401.
	ErrForged = errors.New("the signature is not the service's")
	// ErrNoAcknowledgement: the request is the service's and tells of something else, which is answered as if it had been done.
	ErrNoAcknowledgement = errors.New("no acknowledgement")
)

// Check tells whether the incident can be one of a Message.
func (a Acknowledgement) Check() error {
	if !isKey(a.Incident) {
		return &pool.Error{Op: "acknowledge", Kind: pool.ErrInvalid, Field: "incident", Value: Cut(a.Incident, 100), Want: `1 to 64 letters, digits and "_:-"`}
	}
	return nil
}

// Unreadable is the error of a service's request that is not what it should be: pool.ErrInvalid with the field and what would be right.
func Unreadable(field, want string) error {
	return &pool.Error{Op: "read request", Kind: pool.ErrInvalid, Field: field, Want: want}
}
