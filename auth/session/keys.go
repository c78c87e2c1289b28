package session

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berthage/berthage/pool"
)

// Algorithm is how access tokens are signed. There are no others, whatever a token says.
type Algorithm string

// The algorithms.
const (
	EdDSA Algorithm = "EdDSA" // Ed25519
	HS256 Algorithm = "HS256" // for whoever has to share a secret with something that knows no other
)

// Key signs access tokens. It is as secret as what it can open; printed, it shows only its id.
type Key struct {
	ID        string    `json:"id"` // the kid of tokens
	Algorithm Algorithm `json:"algorithm"`
	Secret    []byte    `json:"secret"` // 32 bytes: the seed of Ed25519, or the key of the HMAC
	From      time.Time `json:"from"`   // when it begins to sign
}

// NewKey returns a new random key.
func NewKey(a Algorithm, from time.Time) Key {
	var random [8 + 32]byte
	rand.Read(random[:]) // never fails
	return Key{ID: hex.EncodeToString(random[:8]), Algorithm: a, Secret: random[8:], From: from.UTC()}
}

// String returns the key's id.
func (k Key) String() string { return "[key " + pool.Quote(k.ID) + "]" }

// GoString is String.
func (k Key) GoString() string { return k.String() }

func (k Key) valid() error {
	switch {
	case pool.ValidName(k.ID) != nil:
		return invalid("id", "letters, digits, '.', '-', '_', at most 63 bytes")
	case k.Algorithm != EdDSA && k.Algorithm != HS256:
		return invalid("algorithm", "EdDSA or HS256")
	case len(k.Secret) != 32:
		return invalid("secret", "32 random bytes")
	}
	return nil
}

func invalid(field, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Want: want}
}

func (k Key) method() jwt.SigningMethod {
	if k.Algorithm == HS256 {
		return jwt.SigningMethodHS256
	}
	return jwt.SigningMethodEdDSA
}

func (k Key) signing() any {
	if k.Algorithm == HS256 {
		return k.Secret
	}
	return ed25519.NewKeyFromSeed(k.Secret)
}

func (k Key) verifying() any {
	if k.Algorithm == HS256 {
		return k.Secret
	}
	return ed25519.NewKeyFromSeed(k.Secret).Public()
}

// Keys are those that sign, one after another, and verify for as long as what they have signed can be good. All daemons that share sessions
// share them; keep them where secrets are kept, as JSON.
type Keys []Key

// MaxKeys bounds how many there are at a time.
const MaxKeys = 16

// Valid reports, as an error, what is malformed.
func (ks Keys) Valid() error {
	if len(ks) == 0 || len(ks) > MaxKeys {
		return invalid("keys", "1 to 16 keys")
	}
	seen := make(map[string]bool)
	for _, k := range ks {
		if err := k.valid(); err != nil {
			return pool.InField("keys", err)
		}
		if seen[k.ID] {
			return invalid("keys", "every id once")
		}
		seen[k.ID] = true
	}
	return nil
}

// Rotate returns the keys with a new one that follows when the last is older than every, and without those that can have signed nothing that
// is still good; false if there is nothing to do. The new one signs only after announce, by when all daemons must have it. Call it now and
// then, and keep what it returns before it is used.
func (ks Keys) Rotate(a Algorithm, every, announce time.Duration, now time.Time) (Keys, bool) {
	var last time.Time
	for _, k := range ks {
		if k.From.After(last) {
			last = k.From
		}
	}
	out := slices.DeleteFunc(slices.Clone(ks), func(k Key) bool { return ks.retired(k, now) })
	switch {
	case len(ks) == 0:
		out = append(out, NewKey(a, now))
	case now.Sub(last) >= every:
		out = append(out, NewKey(a, now.Add(announce)))
	}
	return out, !slices.EqualFunc(ks, out, func(x, y Key) bool { return x.ID == y.ID })
}

// next returns when another key took over from one, or zero.
func (ks Keys) next(k Key) time.Time {
	var next time.Time
	for _, o := range ks {
		if o.From.After(k.From) && (next.IsZero() || o.From.Before(next)) {
			next = o.From
		}
	}
	return next
}

func (ks Keys) retired(k Key, now time.Time) bool {
	next := ks.next(k)
	return !next.IsZero() && now.Sub(next) > MaxAccess+2*leeway
}

// signer returns the key that signs now.
func (ks Keys) signer(now time.Time) (Key, bool) {
	var best Key
	for _, k := range ks {
		if !k.From.After(now) && (best.ID == "" || k.From.After(best.From)) {
			best = k
		}
	}
	return best, best.ID != ""
}

// verifier returns the key of that id, if it may still verify.
func (ks Keys) verifier(id string, now time.Time) (Key, bool) {
	n := slices.IndexFunc(ks, func(k Key) bool { return k.ID == id })
	if n < 0 || ks.retired(ks[n], now) {
		return Key{}, false
	}
	return ks[n], true
}
