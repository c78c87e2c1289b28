// Package totp is the second factor: codes that an app shows, as RFC 6238 has them, none of which works twice, and recovery codes for who has
// lost it. It knows nobody: package auth keeps the secrets, auth/login has somebody sign in.
package totp

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" // #nosec G505 -- what RFC 6238 says and apps know; HMAC does not need it to be free of collisions
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Algorithm is the hash that codes are made with.
type Algorithm string

// The algorithms. Many apps know only the first, whatever they are told.
const (
	SHA1   Algorithm = "SHA1"
	SHA256 Algorithm = "SHA256"
	SHA512 Algorithm = "SHA512"
)

// Params says what codes look like. The zero value is what every app does: six digits that change every 30 seconds, by SHA-1.
type Params struct {
	Digits    int           // 6 to 8; 0: 6
	Period    time.Duration // whole seconds; 0: 30 s
	Algorithm Algorithm
}

// Window is how many codes before and after the present one are taken, for clocks that differ and people who type slowly.
const Window = 1

func (p Params) digits() int {
	if p.Digits == 0 {
		return 6
	}
	return min(max(p.Digits, 6), 8)
}

func (p Params) seconds() int64 {
	if p.Period < time.Second {
		return 30
	}
	return int64(p.Period / time.Second)
}

func (p Params) algorithm() (Algorithm, func() hash.Hash) {
	switch p.Algorithm {
	case SHA256:
		return SHA256, sha256.New
	case SHA512:
		return SHA512, sha512.New
	}
	return SHA1, sha1.New
}

// NewSecret returns a secret of 160 random bits.
func NewSecret() []byte {
	b := make([]byte, 20)
	rand.Read(b) // never fails
	return b
}

// URI returns what an app reads as a picture, in the form that apps have agreed on; it has the secret in it.
func (p Params) URI(issuer, account string, secret []byte) string {
	name, _ := p.algorithm()
	q := url.Values{
		"secret": {base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)}, "issuer": {issuer},
		"algorithm": {string(name)}, "digits": {strconv.Itoa(p.digits())}, "period": {strconv.FormatInt(p.seconds(), 10)},
	}
	return "otpauth://totp/" + url.PathEscape(issuer) + ":" + url.PathEscape(account) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// Code returns the code of a moment.
func (p Params) Code(secret []byte, at time.Time) string { return p.code(secret, p.step(at)) }

// step is the number of the period in which a moment lies.
func (p Params) step(at time.Time) int64 { return at.Unix() / p.seconds() }

// code is HOTP of RFC 4226, section 5.3, of the number of the period.
func (p Params) code(secret []byte, step int64) string {
	_, h := p.algorithm()
	mac := hmac.New(h, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	mod := uint32(1)
	for range p.digits() {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", p.digits(), n%mod)
}

// match returns the number of the latest period near a moment whose code this is.
func (p Params) match(secret []byte, code string, at time.Time) (step int64, ok bool) {
	for n := p.step(at) - Window; n <= p.step(at)+Window; n++ {
		if subtle.ConstantTimeCompare([]byte(p.code(secret, n)), []byte(code)) == 1 {
			step, ok = n, true
		}
	}
	return step, ok
}

// Checker verifies codes, of which none works twice, nor one before one that has worked.
type Checker struct {
	Params  Params
	Scratch pool.Scratch // remembers the last code of each principal for as long as it would work
}

// Check reports whether the code is right at that moment and has not been used, and uses it up. An error of the store, which is no answer,
// is to be taken for no. An empty secret has no right code, and takes as long as a wrong code.
func (c Checker) Check(ctx context.Context, principal string, secret []byte, code string, at time.Time) (bool, error) {
	key := "auth/totp/" + principal
	last, version, err := c.Scratch.Get(ctx, key)
	used := int64(-1)
	switch {
	case errors.Is(err, pool.ErrNotFound):
		version = 0
	case err != nil:
		return false, err
	default:
		if used, err = strconv.ParseInt(string(last), 10, 64); err != nil {
			return false, &pool.Error{Op: "read the last code used", Kind: pool.ErrCorrupt}
		}
	}
	step, ok := c.Params.match(secret, code, at)
	if len(secret) == 0 || !ok || step <= used {
		return false, nil
	}
	ttl := time.Duration(c.Params.seconds()) * time.Second * (2*Window + 2)
	_, err = c.Scratch.Put(ctx, key, strconv.AppendInt(nil, step, 10), version, ttl)
	if errors.Is(err, pool.ErrConflict) { // somebody has used one at the same time
		return false, nil
	}
	return err == nil, err
}

// NewRecovery returns so many new recovery codes of 80 random bits, to be shown once, and their digests, to be kept.
func NewRecovery(n int) (codes, digests []string) {
	enc := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567")
	for range n {
		b := make([]byte, 10)
		rand.Read(b) // never fails
		s := enc.EncodeToString(b)
		codes = append(codes, s[:4]+"-"+s[4:8]+"-"+s[8:12]+"-"+s[12:])
		digests = append(digests, digest(s))
	}
	return codes, digests
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// FindRecovery returns which of the digests is that of a code, however it is written: with or without hyphens and spaces, in any case. It
// compares with all of them.
func FindRecovery(digests []string, code string) (index int, ok bool) {
	if len(code) > 64 {
		return 0, false
	}
	s := digest(strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(code)))
	for n, d := range digests {
		if subtle.ConstantTimeCompare([]byte(s), []byte(d)) == 1 {
			index, ok = n, true
		}
	}
	return index, ok
}
