package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Token is an API token as the ledger has it: enough to know it again, and not to make it. Its text is shown once, by NewToken.
type Token struct {
	ID        string    `json:"id"`
	Principal string    `json:"principal"`       // whose it is
	Label     string    `json:"label,omitempty"` // what it is for, for people to read; not personal
	Hash      string    `json:"hash"`            // SHA-256 of its text in hexadecimal: it is random enough not to need a slow one
	Limits    []Limit   `json:"limits"`          // what it is good for, of what its owner may
	Created   time.Time `json:"created,omitzero"`
	Expires   time.Time `json:"expires"`
}

// Bounds on tokens.
const (
	MaxTokenLife = 366 * 24 * time.Hour
	MaxLimits    = 16 // of a token
)

func (t Token) expired(now time.Time) bool { return !now.Before(t.Expires) }

// Valid reports, as an error, what is malformed.
func (t Token) Valid(now time.Time) error {
	if !isTokenID(t.ID) {
		return invalid("id", t.ID, "the id that NewToken gave")
	}
	if pool.ValidText(t.Label, 128) != nil {
		return invalid("label", t.Label, "printable text of at most 128 bytes")
	}
	if b, err := hex.DecodeString(t.Hash); err != nil || len(b) != sha256.Size || strings.ToLower(t.Hash) != t.Hash {
		return invalid("hash", "", "the hash that NewToken gave")
	}
	if len(t.Limits) == 0 || len(t.Limits) > MaxLimits {
		return invalid("limits", "", "1 to 16 limits: a token without is good for nothing")
	}
	for _, l := range t.Limits {
		if err := l.Valid(); err != nil {
			return pool.InField("limits", err)
		}
	}
	if !now.Before(t.Expires) || t.Expires.Sub(now) > MaxTokenLife {
		return invalid("expires", t.Expires.UTC().Format(time.RFC3339), "a moment to come, at most 366 days away")
	}
	return nil
}

// The text of a token is prefix_id_secret: the id 80 random bits, the secret 256 random bits and their checksum, both in base 32 in lower
// case. The prefix and the checksum are for those who search what was published by mistake.
const (
	tokenID       = 16 // characters
	tokenSecret   = 52
	tokenChecksum = 7
	maxPrefix     = 24
)

func base32s() *base32.Encoding {
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
}

// NewToken returns the text of a new token, and the Token to be completed with everything but ID and Hash. A prefix says to whoever finds
// the text whose it is: 2 to 24 lower-case letters and digits, beginning with a letter.
func NewToken(prefix string) (text string, t Token, err error) {
	if !isPrefix(prefix) {
		return "", Token{}, invalid("prefix", prefix, "2 to 24 lower-case letters and digits, a letter first")
	}
	var random [10 + 32]byte
	rand.Read(random[:]) // never fails
	id := base32s().EncodeToString(random[:10])
	text = prefix + "_" + id + "_" + base32s().EncodeToString(random[10:])
	text += checksum(text)
	return text, Token{ID: id, Hash: digest(text)}, nil
}

func isPrefix(s string) bool {
	return len(s) >= 2 && len(s) <= maxPrefix && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}

func isTokenID(s string) bool { return len(s) == tokenID && isBase32(s) }

func isBase32(s string) bool { return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") == "" }

// checksum is the CRC-32 (IEEE 802.3) of the text before it.
func checksum(s string) string {
	return base32s().EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(s))))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// ParseToken returns the prefix and the id in the text of a token, or false if it is none, its checksum included. That it is well-formed
// says nothing about whether it is good.
func ParseToken(text string) (prefix, id string, ok bool) {
	if len(text) > maxPrefix+tokenID+tokenSecret+tokenChecksum+2 {
		return "", "", false
	}
	prefix, rest, _ := strings.Cut(text, "_")
	id, secret, _ := strings.Cut(rest, "_")
	if !isPrefix(prefix) || !isTokenID(id) || len(secret) != tokenSecret+tokenChecksum || !isBase32(secret) {
		return "", "", false
	}
	cut := len(text) - tokenChecksum
	if checksum(text[:cut]) != text[cut:] {
		return "", "", false
	}
	return prefix, id, true
}

// is reports whether the text is the token's, in a time that does not depend on where they differ.
func (t Token) is(text string) bool {
	return subtle.ConstantTimeCompare([]byte(digest(text)), []byte(t.Hash)) == 1
}
