package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Key is a public key that signs the heads of one ledger. Its text is the verifier key of signed notes: name, id and key,
// joined by plus signs. A ledger may have several: those before the present one, which signed the older heads, as long as they are
// trusted.
type Key struct {
	Ledger string // identity of the ledger
	Public ed25519.PublicKey
}

// algorithm is Ed25519's number in signed notes.
const algorithm = 1

// id tells keys of one name apart, in signatures: the beginning of SHA-256 over name, a line's end, algorithm and key.
func (k Key) id() (id [4]byte) {
	sum := sha256.Sum256([]byte(Origin(k.Ledger) + "\n" + string(k.coded())))
	copy(id[:], sum[:])
	return id
}

func (k Key) coded() []byte { return append([]byte{algorithm}, k.Public...) }

// String returns the key's text.
func (k Key) String() string {
	id := k.id()
	return Origin(k.Ledger) + "+" + hex.EncodeToString(id[:]) + "+" + base64.StdEncoding.EncodeToString(k.coded())
}

// ParseKey reads a key's text. Anything else is pool.ErrInvalid.
func ParseKey(text string) (Key, error) {
	wrong := &pool.Error{Kind: pool.ErrInvalid, Field: "key", Value: text, Want: "the text of a public key: " + originPrefix + "..., an id and an Ed25519 key, joined by plus signs"}
	name, rest, _ := strings.Cut(text, "+")
	_, coded, _ := strings.Cut(rest, "+")
	ledger, ok := ledgerOf(name)
	raw, err := base64.StdEncoding.Strict().DecodeString(coded)
	if !ok || err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algorithm {
		return Key{}, wrong
	}
	k := Key{Ledger: ledger, Public: raw[1:]}
	if k.String() != text { // the id, and the one form of base64
		return Key{}, wrong
	}
	return k, nil
}

// maxKeys bounds a list of keys.
const maxKeys = 1000

// ParseKeys reads keys, one a line. Empty lines and those that begin with # are passed over.
func ParseKeys(text string) ([]Key, error) {
	var keys []Key
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := ParseKey(line)
		if err != nil {
			return nil, err
		}
		if keys = append(keys, k); len(keys) > maxKeys {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "keys", Want: "at most " + number(maxKeys)}
		}
	}
	if len(keys) == 0 {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "keys", Want: "at least one key"}
	}
	return keys, nil
}
