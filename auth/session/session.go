// Package session gives somebody who has signed in what they hold from then on: an access token that is good for minutes, a JWT that
// every daemon can verify, and a refresh token that is good once, for the next pair. It knows nobody's password: auth/login does.
//
// A session is known by a public id. It ends when it is ended, when it was not used for a while, after a longest time, when its principal is
// disabled, changes its password or signs out everywhere, and when a refresh token is used a second time, since then two hold it, of whom one
// has stolen it.
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// Config is what New needs. Issuer, Audience, Keys, State and Scratch are required.
type Config struct {
	Issuer   string // who says so: a URL or the identity of the ledger
	Audience string // whom it is for

	// Keys returns those that sign and verify now; an error lets nobody in.
	Keys func(ctx context.Context) (Keys, error)

	// State returns what is known now; an error lets nobody in.
	State func(ctx context.Context) (*auth.State, error)

	// Scratch keeps the sessions, without anything that could be used as a token. If it is lost everybody is signed out.
	Scratch pool.Scratch

	Access  time.Duration // how long an access token is good, at most MaxAccess; 0: 5 minutes
	Idle    time.Duration // after how long without a refresh a session ends; 0: 12 hours
	Longest time.Duration // after which it ends in any case; 0: 7 days
}

// Sessions begins, renews and ends sessions. It is an [auth.Authenticator] of access tokens. It is safe for concurrent use.
type Sessions struct{ c Config }

// New returns Sessions.
func New(c Config) (*Sessions, error) {
	for _, d := range []struct {
		name             string
		v                *time.Duration
		def, most, least time.Duration
	}{
		{"Access", &c.Access, 5 * time.Minute, MaxAccess, time.Second},
		{"Idle", &c.Idle, 12 * time.Hour, 90 * 24 * time.Hour, time.Minute},
		{"Longest", &c.Longest, 7 * 24 * time.Hour, 90 * 24 * time.Hour, time.Minute},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < d.least || *d.v > d.most {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: d.name, Value: d.v.String(), Want: d.least.String() + " to " + d.most.String()}
		}
	}
	for name, s := range map[string]string{"Issuer": c.Issuer, "Audience": c.Audience} {
		if s == "" || pool.ValidText(s, 255) != nil {
			return nil, invalid(name, "1 to 255 bytes of text")
		}
	}
	if c.Keys == nil || c.State == nil || c.Scratch == nil {
		return nil, invalid("config", "Keys, State and Scratch")
	}
	return &Sessions{c}, nil
}

// Pair is what somebody holds. Printed, it shows only when it ends.
type Pair struct {
	Session string // the public id
	Access  string // an access token
	Expires time.Time
	Refresh string // good once, until Ends at most
	Ends    time.Time
}

// String says only until when.
func (p Pair) String() string { return "[session until " + p.Ends.UTC().Format(time.RFC3339) + "]" }

// GoString is String.
func (p Pair) GoString() string { return p.String() }

// family is what Scratch has of a session, under the digest of what all its refresh tokens begin with.
type family struct {
	Principal  string        `json:"principal"`
	Groups     []string      `json:"groups,omitempty"`
	Generation pool.Revision `json:"generation"`
	Current    string        `json:"current"` // digest of the refresh token that is good
	Ends       time.Time     `json:"ends"`
}

// A refresh token is base64 of the session's 16 random bytes and of 32 of its own. Whoever shows the first has had a token of that session;
// whoever shows the first and not the latest second has had an old one.
const (
	refreshID     = 16
	refreshSecret = 32
)

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func isRandom(s string, n int) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == n && base64.RawURLEncoding.EncodeToString(b) == s
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// public returns the id of a session.
func public(id []byte) string {
	sum := sha256.Sum256(id)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

func sessionKey(sid string) string { return "auth/session/" + sid }
func revokedKey(id string) string  { return "auth/revoked/" + id }

func (s *Sessions) keys(ctx context.Context) (Keys, error) {
	keys, err := s.c.Keys(ctx)
	if err == nil {
		err = keys.Valid()
	}
	return keys, err
}

// Begin begins a session of somebody who has signed in with all their rights.
func (s *Sessions) Begin(ctx context.Context, who auth.Identity) (Pair, error) {
	if !who.Whole || who.Token != "" {
		return Pair{}, &auth.Refusal{Kind: auth.ErrForbidden, Reason: auth.NotByToken}
	}
	if len(who.Groups) > MaxGroups || slices.ContainsFunc(who.Groups, func(g string) bool { return g == "" || pool.ValidText(g, MaxGroupSize) != nil }) {
		return Pair{}, invalid("groups", "at most 32 of 1 to 255 bytes")
	}
	st, err := s.c.State(ctx)
	if err != nil {
		return Pair{}, err
	}
	now := time.Now()
	if err := st.Good(who, now); err != nil {
		return Pair{}, err
	}
	id := make([]byte, refreshID)
	rand.Read(id) // never fails
	f := family{Principal: who.Principal, Groups: who.Groups, Generation: who.Generation, Ends: now.Add(s.c.Longest).UTC()}
	return s.issue(ctx, id, f, 0, now)
}

// issue makes the next pair and notes that it is the one that is good now.
func (s *Sessions) issue(ctx context.Context, id []byte, f family, version int64, now time.Time) (Pair, error) {
	keys, err := s.keys(ctx)
	if err != nil {
		return Pair{}, err
	}
	secret := make([]byte, refreshSecret)
	rand.Read(secret) // never fails
	f.Current = digest(secret)
	sid := public(id)
	p := Pair{Session: sid, Refresh: base64.RawURLEncoding.EncodeToString(append(slices.Clone(id), secret...)), Ends: now.Add(s.c.Idle).UTC()}
	if f.Ends.Before(p.Ends) {
		p.Ends = f.Ends
	}
	if p.Access, p.Expires, err = s.c.sign(f, sid, now, keys); err != nil {
		return Pair{}, err
	}
	b, err := json.Marshal(f)
	if err != nil {
		return Pair{}, err
	}
	if _, err := s.c.Scratch.Put(ctx, sessionKey(sid), b, version, p.Ends.Sub(now)); err != nil {
		return Pair{}, err
	}
	return p, nil
}

// Refresh returns the next pair for a refresh token, which is then used up. One that was used up before ends the session, for whoever holds
// it: auth.Revoked says so. After an error of a store the token may be used up, too; to use it again can then end the session.
func (s *Sessions) Refresh(ctx context.Context, token string) (Pair, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(token) != (refreshID+refreshSecret)*4/3 || len(raw) != refreshID+refreshSecret {
		return Pair{}, auth.Unauthenticated(auth.BadCredentials, nil)
	}
	id, secret := raw[:refreshID], raw[refreshID:]
	sid := public(id)
	f, version, err := s.family(ctx, sid)
	if err != nil {
		return Pair{}, err
	}
	now := time.Now()
	if !now.Before(f.Ends) {
		return Pair{}, auth.Unauthenticated(auth.Expired, nil)
	}
	if subtle.ConstantTimeCompare([]byte(digest(secret)), []byte(f.Current)) != 1 {
		return Pair{}, s.stolen(ctx, sid)
	}
	st, err := s.c.State(ctx)
	if err != nil {
		return Pair{}, err
	}
	if err := st.Good(auth.Identity{Principal: f.Principal, Generation: f.Generation}, now); err != nil {
		return Pair{}, err
	}
	p, err := s.issue(ctx, id, f, version, now)
	if errors.Is(err, pool.ErrConflict) { // the same token, at the same time
		return Pair{}, s.stolen(ctx, sid)
	}
	return p, err
}

// stolen ends a session because an old refresh token was used.
func (s *Sessions) stolen(ctx context.Context, sid string) error {
	if err := s.End(ctx, sid); err != nil {
		return err
	}
	return auth.Unauthenticated(auth.Revoked, nil)
}

func (s *Sessions) family(ctx context.Context, sid string) (family, int64, error) {
	b, version, err := s.c.Scratch.Get(ctx, sessionKey(sid))
	if errors.Is(err, pool.ErrNotFound) {
		return family{}, 0, auth.Unauthenticated(auth.BadCredentials, nil)
	}
	if err != nil {
		return family{}, 0, err
	}
	var f family
	if err := json.Unmarshal(b, &f); err != nil || f.Principal == "" || len(f.Current) != 2*sha256.Size {
		return family{}, 0, &pool.Error{Op: "read a session", Kind: pool.ErrCorrupt}
	}
	return f, version, nil
}

// End ends a session: neither its access tokens nor its refresh token are good any more. One that has ended, or never was, is no error.
func (s *Sessions) End(ctx context.Context, sid string) error {
	if !isRandom(sid, 16) {
		return invalid("session", "the id of a session")
	}
	if err := s.revoke(ctx, sid); err != nil {
		return err
	}
	for {
		_, version, err := s.c.Scratch.Get(ctx, sessionKey(sid))
		if errors.Is(err, pool.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.c.Scratch.Delete(ctx, sessionKey(sid), version); !errors.Is(err, pool.ErrConflict) {
			return err
		}
	}
}

// Revoke makes one access token void and leaves its session as it is. It must be one of ours that is still good; others need no revoking.
func (s *Sessions) Revoke(ctx context.Context, access string) error {
	c, err := s.verify(ctx, access, time.Now())
	if err != nil {
		return err
	}
	return s.revoke(ctx, c.ID)
}

// revoke puts a token or a session on the list of what is void, for as long as anything of it could be good.
func (s *Sessions) revoke(ctx context.Context, id string) error {
	_, err := s.c.Scratch.Put(ctx, revokedKey(id), []byte("{}"), 0, MaxAccess+2*leeway)
	if errors.Is(err, pool.ErrConflict) { // it is there
		return nil
	}
	return err
}
