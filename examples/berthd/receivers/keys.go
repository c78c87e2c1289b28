package receivers

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/berthage/berthage/examples/berthd/private"
	"github.com/berthage/berthage/pool"
)

// Keys seal the secrets of receivers with AES-256-GCM (NIST SP 800-38D). The first key seals, each opens, so that keys can be
// changed: a new one goes before the old, which goes when nothing is sealed with it any more. A seal is bound to the name and type of
// its receiver and cannot be moved to another. It is safe for concurrent use.
type Keys struct{ all []key }

type key struct {
	id   [idSize]byte
	aead cipher.AEAD
}

const (
	keySize   = 32
	idSize    = 8
	version   = 1
	keyPrefix = "berthd-key-" // by which scanners for leaked secrets know one
)

// LoadKeys reads a file of keys, one in each line, the one that seals first; lines that begin with # are for people. With create a
// file that is not there is made, with one key.
func LoadKeys(name string, create bool) (*Keys, error) {
	b, err := private.Read(name)
	if create && errors.Is(err, fs.ErrNotExist) {
		b, err = private.ReadOrMake(name, func() ([]byte, error) {
			return []byte("# seals the secrets of receivers: without it they have to be given anew\n" + NewKey() + "\n"), nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("keys of secrets: %w", err)
	}
	k, err := ParseKeys(b)
	if err != nil {
		return nil, fmt.Errorf("keys of secrets in %s: %w", name, err)
	}
	return k, nil
}

// ParseKeys reads what a file of keys holds. No error shows a key.
func ParseKeys(text []byte) (*Keys, error) {
	if len(text) > private.MostBytes {
		return nil, fmt.Errorf("more than %d bytes", private.MostBytes)
	}
	k := new(Keys)
	for n, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		raw, ok := strings.CutPrefix(line, keyPrefix)
		b, err := base64.RawURLEncoding.DecodeString(raw)
		if !ok || err != nil || len(b) != keySize {
			return nil, fmt.Errorf("line %d is no key: %s and %d bytes in base64url are wanted", n+1, keyPrefix, keySize)
		}
		one, err := newKey(b)
		if err != nil {
			return nil, err
		}
		k.all = append(k.all, one)
	}
	if len(k.all) == 0 {
		return nil, errors.New("there is no key")
	}
	return k, nil
}

// NewKey returns a line for a file of keys, of 256 random bits.
func NewKey() string {
	b := make([]byte, keySize)
	rand.Read(b) // never fails
	return keyPrefix + base64.RawURLEncoding.EncodeToString(b)
}

func newKey(b []byte) (key, error) {
	block, err := aes.NewCipher(b)
	if err != nil {
		return key{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	sum := sha256.Sum256(append([]byte("berthd key of secrets\x00"), b...))
	return key{[idSize]byte(sum[:]), aead}, err
}

// Seal seals the secrets of a receiver: a version, the key's id, and what AES-256-GCM makes of them with a random nonce.
func (k *Keys) Seal(name, typ string, s Secrets) ([]byte, error) {
	clear, err := s.reveal()
	if err != nil {
		return nil, err
	}
	first := k.all[0]
	return first.aead.Seal(append([]byte{version}, first.id[:]...), nil, clear, bound(name, typ)), nil // #nosec G407 -- it makes a random nonce itself
}

// bound is what a seal is bound to.
func bound(name, typ string) []byte {
	b, _ := json.Marshal([]string{"berthd receiver", name, typ}) // texts can always be written
	return b
}

// Open opens what Seal has sealed for the receiver of that name and type; nothing sealed is no secrets. Errors: pool.ErrWrongState,
// its key is not among these; pool.ErrCorrupt, it is not what was sealed for that receiver.
func (k *Keys) Open(name, typ string, sealed []byte) (Secrets, error) {
	if len(sealed) == 0 {
		return Secrets{}, nil
	}
	op := "open the secrets of receiver " + pool.Quote(name)
	id := KeyOf(sealed)
	if id == "" {
		return nil, &pool.Error{Op: op, Kind: pool.ErrCorrupt, Want: "what this version of berthd has sealed"}
	}
	for _, each := range k.all {
		if hex.EncodeToString(each.id[:]) != id {
			continue
		}
		clear, err := each.aead.Open(nil, nil, sealed[1+idSize:], bound(name, typ))
		out := make(Secrets)
		if err == nil {
			var texts map[string][]string
			if err = json.Unmarshal(clear, &texts); err == nil {
				for name, values := range texts {
					out.set(name, values)
				}
				return out, nil
			}
		}
		return nil, &pool.Error{Op: op, Kind: pool.ErrCorrupt, Want: "what was sealed for this receiver and is unchanged"}
	}
	return nil, &pool.Error{Op: op, Kind: pool.ErrWrongState, Field: "key", Value: id, Want: "the key that they were sealed with, in the file of keys, or all secrets anew"}
}

// KeyOf returns the id of the key that secrets were sealed with; empty if nothing is sealed. It tells nothing of the key.
func KeyOf(sealed []byte) string {
	if len(sealed) <= 1+idSize || sealed[0] != version {
		return ""
	}
	return hex.EncodeToString(sealed[1 : 1+idSize])
}

// Seals returns the id of the key that seals.
func (k *Keys) Seals() string { return hex.EncodeToString(k.all[0].id[:]) }

// Reseal is Seal for a receiver of which old stands sealed: what is the same, and sealed with the key that seals, stays as it is, so that
// saving a receiver twice changes nothing.
func (k *Keys) Reseal(r Receiver, old []byte) ([]byte, error) {
	want, err := r.Secrets.reveal()
	if err != nil {
		return nil, err
	}
	if KeyOf(old) == k.Seals() {
		if s, err := k.Open(r.Name, r.Type, old); err == nil {
			if is, err := s.reveal(); err == nil && bytes.Equal(is, want) {
				return old, nil
			}
		}
	}
	return k.Seal(r.Name, r.Type, r.Secrets)
}
