// Package password hashes passwords and verifies them: by argon2id, as PHC strings, and for what comes from elsewhere by bcrypt, which is
// then to be hashed anew. It knows nobody: package auth keeps the hashes, auth/login has somebody sign in.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/berthage/berthage/pool"
)

// Config says how passwords are hashed. Zero values are those of the comments.
type Config struct {
	Memory    int // KiB that one hash takes, 19456 (19 MiB) to 65536; 19456
	Time      int // passes over it, 2 to 10; 2
	MinLength int // characters of a new password, 8 to 64; 12
	AtOnce    int // hashes that are made at the same time, 1 to 64, which bounds memory; others wait; 4
}

// Bounds on what is hashed, and on what a stored hash may ask for: one that was tampered with takes no more time and memory than this.
const (
	MaxLength  = 1024  // bytes of a password
	MaxMemory  = 65536 // KiB
	MaxTime    = 10
	MaxThreads = 4
	MaxCost    = 14 // of bcrypt
	MaxHash    = 255

	minMemory = 19456
	bcryptMax = 72 // bytes of a password that bcrypt looks at
)

// Hasher hashes and verifies. It is safe for concurrent use.
type Hasher struct {
	c     Config
	slots chan struct{}
}

// New returns a Hasher.
func New(c Config) (*Hasher, error) {
	for _, f := range []struct {
		name             string
		v                *int
		def, least, most int
	}{
		{"Memory", &c.Memory, minMemory, minMemory, MaxMemory}, {"Time", &c.Time, 2, 2, MaxTime},
		{"MinLength", &c.MinLength, 12, 8, 64}, {"AtOnce", &c.AtOnce, 4, 1, 64},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < f.least || *f.v > f.most {
			return nil, invalid(f.name, strconv.Itoa(*f.v), strconv.Itoa(f.least)+" to "+strconv.Itoa(f.most))
		}
	}
	return &Hasher{c, make(chan struct{}, c.AtOnce)}, nil
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

// Hash returns the hash of a new password, or an error that says what is wrong with it and never repeats it. The error of a context that
// ends before it is this one's turn is returned as it is.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if utf8.RuneCountInString(password) < h.c.MinLength {
		return "", invalid("password", "", "at least "+strconv.Itoa(h.c.MinLength)+" characters")
	}
	return h.Rehash(ctx, password)
}

// Rehash is Hash for a password that was just verified, and may be shorter than a new one.
func (h *Hasher) Rehash(ctx context.Context, password string) (string, error) {
	switch {
	case len(password) > MaxLength:
		return "", invalid("password", "", "at most 1024 bytes")
	case !usable(password):
		return "", invalid("password", "", "UTF-8 without NUL")
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	p := phc{memory: h.c.Memory, time: h.c.Time, threads: 1, salt: salt, key: make([]byte, 32)}
	key, err := h.derive(ctx, p, password)
	if err != nil {
		return "", err
	}
	p.key = key
	return p.String(), nil
}

func usable(password string) bool {
	return utf8.ValidString(password) && !strings.ContainsRune(password, 0)
}

// Match is what Verify found.
type Match struct {
	OK       bool
	Outdated bool // it is right, but was hashed in another way than is done now: hash it anew
}

// Verify compares a password with a hash. Without a hash, for somebody who is not known or has no password, it takes the time that a hash of
// now does, and finds no match. One that is none, or that would take more than the bounds, is pool.ErrCorrupt; neither stands in the error.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (Match, error) {
	if len(password) > MaxLength || !usable(password) {
		password, hash = "", "" // no password that was ever hashed
	}
	if hash == "" {
		_, err := h.derive(ctx, phc{memory: h.c.Memory, time: h.c.Time, threads: 1, salt: make([]byte, 16), key: make([]byte, 32)}, password)
		return Match{}, err
	}
	if strings.HasPrefix(hash, "$2") {
		ok, err := h.bcrypt(ctx, hash, password)
		return Match{OK: ok, Outdated: ok}, err
	}
	p, ok := parse(hash)
	if !ok {
		return Match{}, corrupt()
	}
	key, err := h.derive(ctx, p, password)
	if err != nil {
		return Match{}, err
	}
	m := Match{OK: subtle.ConstantTimeCompare(key, p.key) == 1}
	m.Outdated = m.OK && (p.memory < h.c.Memory || p.time < h.c.Time || p.threads != 1 || len(p.salt) < 16 || len(p.key) < 32)
	return m, nil
}

func corrupt() error {
	return &pool.Error{Op: "read a password's hash", Kind: pool.ErrCorrupt, Want: "argon2id or bcrypt, within bounds"}
}

// slot waits for a turn.
func (h *Hasher) slot(ctx context.Context) (func(), error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (h *Hasher) derive(ctx context.Context, p phc, password string) ([]byte, error) {
	free, err := h.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer free()
	return argon2.IDKey([]byte(password), p.salt, uint32(p.time), uint32(p.memory), uint8(p.threads), uint32(len(p.key))), nil
}

// bcrypt looks at 72 bytes of a password and no further: one that is longer is right for no hash, since others that begin alike would be
// right too. It takes as long all the same.
func (h *Hasher) bcrypt(ctx context.Context, hash, password string) (bool, error) {
	free, err := h.slot(ctx)
	if err != nil {
		return false, err
	}
	defer free()
	if cost, err := bcrypt.Cost([]byte(hash)); err != nil || len(hash) != 60 || !strings.Contains("aby", hash[2:3]) || cost > MaxCost {
		return false, corrupt()
	}
	err = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password[:min(len(password), bcryptMax)]))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, corrupt()
	}
	return err == nil && len(password) <= bcryptMax, nil
}
