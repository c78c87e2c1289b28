package signin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/berthage/berthage/examples/berthd/private"
	"github.com/berthage/berthage/pool"
)

// Key seals the secrets of second factors, with AES-256-GCM, and hides in the counts of wrong attempts whose they are. Two keys are
// derived from the one in its file (HKDF, RFC 5869). It is safe for concurrent use.
type Key struct {
	throttle []byte
	aead     cipher.AEAD
}

const (
	keySize   = 32
	keyPrefix = "berthd-signin-" // by which scanners for leaked secrets know one
)

// LoadKey reads the file of the key, which is made if it is not there.
func LoadKey(name string) (*Key, error) {
	b, err := private.ReadOrMake(name, func() ([]byte, error) {
		secret := make([]byte, keySize)
		rand.Read(secret) // never fails
		return []byte(keyPrefix + base64.RawURLEncoding.EncodeToString(secret) + "\n"), nil
	})
	if err != nil {
		return nil, fmt.Errorf("the key of sign-ins: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(b)), keyPrefix)
	secret, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(secret) != keySize {
		return nil, fmt.Errorf("%s does not hold the key of sign-ins: bring it back, or remove it, after which nobody's second factor works and admins have to remove them", name)
	}
	return newKey(secret)
}

func newKey(secret []byte) (*Key, error) {
	throttle, err := hkdf.Key(sha256.New, secret, nil, "berthd throttle", keySize)
	if err != nil {
		return nil, err
	}
	seal, err := hkdf.Key(sha256.New, secret, nil, "berthd second factors", keySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Key{throttle, aead}, err
}

// String says nothing, so that what is printed by mistake is no loss.
func (*Key) String() string { return "[key]" }

// GoString is String.
func (*Key) GoString() string { return "[key]" }

// bound is what a sealed secret is bound to, so that nobody's becomes somebody else's.
func bound(principal string) []byte { return []byte("berthd second factor\x00" + principal) }

func (k *Key) seal(principal string, secret []byte) []byte {
	return k.aead.Seal(nil, nil, secret, bound(principal)) // #nosec G407 -- it makes a random nonce itself
}

func (k *Key) open(principal string, sealed []byte) ([]byte, error) {
	secret, err := k.aead.Open(nil, nil, sealed, bound(principal))
	if err != nil {
		return nil, &pool.Error{Op: "open a second factor", Kind: pool.ErrCorrupt, Want: "the key that it was sealed with"}
	}
	return secret, nil
}
