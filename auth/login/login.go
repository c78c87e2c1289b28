// Package login has somebody sign in by name, password and, where there is one, a second factor. It brings together what package auth knows of
// people, auth/password, auth/totp and the throttle; auth/session makes of the result what a browser or a program holds after that.
package login

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/password"
	"github.com/berthage/berthage/auth/totp"
)

// Login signs people in. It is safe for concurrent use. All fields but Open are needed.
type Login struct {
	// State returns what is known now; an error lets nobody in.
	State func(ctx context.Context) (*auth.State, error)

	// Commit appends what follows from a command of the program itself. An error lets nobody in.
	Commit func(ctx context.Context, c auth.Command) error

	Passwords *password.Hasher
	Codes     totp.Checker
	Throttle  auth.Throttle

	// Open returns the secret of a second factor from what is kept of it, for embedders that encrypt it; nil: it is kept as it is.
	Open func(principal string, kept []byte) ([]byte, error)
}

// Attempt is what somebody has typed.
type Attempt struct {
	Name     string
	Password string
	Code     string     // of the second factor or a recovery code; empty without
	From     netip.Addr // that it came from
}

// String says nothing, so that an attempt that is printed by mistake is no loss.
func (Attempt) String() string { return "[log-in]" }

// GoString is String.
func (Attempt) GoString() string { return "[log-in]" }

// MarshalText is String.
func (a Attempt) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

const (
	maxName = 128
	maxCode = 64
	nobody  = "-" // which is nobody's id
)

// Do returns who somebody is that typed all of it right. Whatever of it is wrong, the name, the password, the code, that it was used before,
// that the account is disabled or is a service account's, the error is the same *auth.Refusal for auth.BadCredentials after the same work,
// so that nothing is to be learnt from it: a password is hashed whether there is such a name or not, and a code is looked up whether there
// is a second factor or not. ErrThrottled comes before anything is looked at. All other errors are of stores.
//
// A hash that is outdated (bcrypt, or less work than now) is made anew.
func (l *Login) Do(ctx context.Context, a Attempt) (auth.Identity, error) {
	if len(a.Name) > maxName || len(a.Code) > maxCode {
		a = Attempt{From: a.From} // nobody's, and as slow
	}
	pass, err := l.Throttle.Begin(ctx, a.Name, a.From)
	if err != nil {
		return auth.Identity{}, err
	}
	s, err := l.State(ctx)
	if err != nil {
		return auth.Identity{}, err
	}
	p, known := s.Named(a.Name)
	kept, _ := s.Password(p.ID)
	usable := known && p.Kind == auth.Person && !p.Disabled
	if !usable {
		kept.Hash = ""
	}
	match, err := l.Passwords.Verify(ctx, kept.Hash, a.Password)
	if err != nil {
		return auth.Identity{}, err
	}
	wrong := auth.Unauthenticated(auth.BadCredentials, nil)
	if !match.OK || !usable {
		if _, err := l.Codes.Check(ctx, nobody, nil, "", time.Now()); err != nil {
			return auth.Identity{}, err
		}
		return auth.Identity{}, wrong
	}
	second, err := l.second(ctx, s, p.ID, a.Code)
	if err != nil {
		return auth.Identity{}, err
	}
	if !second {
		return auth.Identity{}, wrong
	}
	if match.Outdated {
		if err := l.rehash(ctx, p.ID, a.Password, kept); err != nil {
			return auth.Identity{}, err
		}
	}
	if err := pass.Right(ctx); err != nil {
		return auth.Identity{}, err
	}
	return auth.Identity{Principal: p.ID, Whole: true, Generation: p.Generation}, nil
}

// second reports whether the code is that of the principal's second factor, if it has one, and uses it up.
func (l *Login) second(ctx context.Context, s *auth.State, principal, code string) (bool, error) {
	f, has := s.Second(principal)
	if !has {
		return true, nil
	}
	secret := f.Secret
	if l.Open != nil && len(secret) > 0 {
		var err error
		if secret, err = l.Open(principal, secret); err != nil {
			return false, err
		}
	}
	ok, err := l.Codes.Check(ctx, principal, secret, code, time.Now())
	if ok || err != nil {
		return ok, err
	}
	n, ok := totp.FindRecovery(f.Recovery, code)
	if !ok || slices.Contains(f.Used, n) {
		return false, nil
	}
	err = l.Commit(ctx, auth.Command{Program: true, Recover: &auth.UseRecovery{Principal: principal, Code: n, If: f.Changed}})
	return err == nil, err
}

// rehash keeps the password in the way in which it would be hashed now.
func (l *Login) rehash(ctx context.Context, principal, text string, kept auth.Password) error {
	hash, err := l.Passwords.Rehash(ctx, text)
	if err != nil {
		return err
	}
	return l.Commit(ctx, auth.Command{Program: true, Set: &auth.SetPassword{Principal: principal, Hash: hash, Same: true, If: kept.Changed}})
}
