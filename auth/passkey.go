package auth

import (
	"bytes"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Passkey is a public key by which somebody signs in, as WebAuthn says. Whoever checks a log-in has to have the authenticator make sure of who uses
// it, by a finger or a PIN: it is both factors then. Nothing in it is secret; all but ids and when it was registered is personal, and can be forgotten.
type Passkey struct {
	ID        string    `json:"id,omitempty"` // as pool.ValidName; it stands in events for good: let it be random
	Principal string    `json:"principal,omitempty"`
	Created   time.Time `json:"created,omitzero"` // when it was registered, as the event says

	Credential []byte   `json:"credential,omitempty"` // what its authenticator calls it: no two principals have the same; empty once it is forgotten
	PublicKey  []byte   `json:"public_key,omitempty"` // COSE; make sure that it is one, which is not checked here
	Name       string   `json:"name,omitempty"`       // that its owner has given it
	Count      uint32   `json:"count,omitempty"`      // of its uses when it was registered; 0: it does not count
	Backup     bool     `json:"backup,omitempty"`     // it can be on several devices; that does not change
	Transports []string `json:"transports,omitempty"` // how its authenticator is reached, for the browser
}

// Bounds on a Passkey, in bytes but for the number of transports.
const (
	maxCredential  = 1023 // as WebAuthn has it
	maxPublicKey   = 4096
	maxPasskeyName = 64
	maxTransport   = 32
	mostTransports = 8
)

// Valid reports, as an error, what is malformed.
func (k Passkey) Valid() error {
	if err := validID(k.ID); err != nil {
		return err
	}
	switch {
	case len(k.Credential) == 0 || len(k.Credential) > maxCredential:
		return invalid("credential", "", "1 to 1023 bytes")
	case len(k.PublicKey) == 0 || len(k.PublicKey) > maxPublicKey:
		return invalid("public_key", "", "1 to 4096 bytes")
	case k.Name == "" || pool.ValidText(k.Name, maxPasskeyName) != nil:
		return invalid("name", "", "printable text of 1 to 64 bytes")
	case len(k.Transports) > mostTransports:
		return invalid("transports", "", "at most 8")
	}
	for _, t := range k.Transports {
		if t == "" || pool.ValidText(t, maxTransport) != nil {
			return invalid("transports", "", "printable text of 1 to 32 bytes each")
		}
	}
	return nil
}

func (k Passkey) forgotten() bool { return len(k.Credential) == 0 }

// forget returns what is left of it: that there was one, with which nobody signs in.
func (k Passkey) forget() Passkey {
	return Passkey{ID: k.ID, Principal: k.Principal, Created: k.Created}
}

// bare returns what of it is personal.
func (k Passkey) bare() Passkey {
	k.ID, k.Principal, k.Created = "", "", time.Time{}
	return k
}

func (k Passkey) clone() Passkey {
	k.Credential, k.PublicKey, k.Transports = bytes.Clone(k.Credential), bytes.Clone(k.PublicKey), slices.Clone(k.Transports)
	return k
}

// same reports whether they are the same but for their names and when they were registered.
func (k Passkey) same(o Passkey) bool {
	return k.ID == o.ID && bytes.Equal(k.Credential, o.Credential) && bytes.Equal(k.PublicKey, o.PublicKey) && k.Count == o.Count && k.Backup == o.Backup &&
		slices.Equal(k.Transports, o.Transports)
}

func (d *decision) passkey(k Passkey) error {
	p, err := d.of(Update, Credentials, k.Principal)
	switch {
	case err != nil:
		return err
	case d.by != nil && d.by.Principal != p.ID:
		return &Refusal{Kind: ErrForbidden, Reason: NotOwn, Verb: Update, On: Credentials} // whoever has it would be somebody else
	case p.Kind != Person:
		return invalid("principal", k.Principal, "a person: service accounts have tokens")
	}
	if err := k.Valid(); err != nil {
		return err
	}
	old, known := find(p.Passkeys, func(o Passkey) bool { return o.ID == k.ID })
	_, taken := d.s.passkeys.get(string(k.Credential))
	switch {
	case known && old.same(k) && old.Name == k.Name:
		return nil
	case known && !old.same(k), !known && taken:
		return &pool.Error{Kind: pool.ErrExists, Field: "passkey", Want: "one that nobody has, under an id of its own"}
	case !known && len(p.Passkeys) >= MaxPasskeys:
		return invalid("passkeys", "", "at most 20 of a principal")
	}
	bare := k.bare()
	return d.add(PasskeyPut, fact{ID: k.ID, Principal: p.ID}, private{Passkey: &bare})
}

func (d *decision) discard(c PrincipalsKey) error {
	p, err := d.of(Update, Credentials, c.Principal)
	if err != nil {
		return err
	}
	if _, ok := find(p.Passkeys, func(o Passkey) bool { return o.ID == c.ID }); !ok {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "passkey", Value: c.ID}
	}
	return d.add(PasskeyRemoved, fact{ID: c.ID, Principal: p.ID}, private{})
}
