// Package signin is the desk at which people show who they are: by name, password and second factor, within what package auth and its
// siblings say. It keeps the list of who is signed in where, and knows nothing of HTTP.
package signin

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"net/netip"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/login"
	"github.com/berthage/berthage/auth/password"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/auth/totp"
	"github.com/berthage/berthage/pool"
)

// Config is what New needs. All of it is required.
type Config struct {
	State    func(ctx context.Context) (*auth.State, error)  // what is known now; an error lets nobody in
	Commit   func(ctx context.Context, c auth.Command) error // a command of the program itself
	Scratch  pool.Scratch                                    // keeps the lists of sessions, counts, and what was used
	Key      *Key
	Sessions *session.Sessions                           // those of programs
	End      func(ctx context.Context, key string) error // ends a browser's session, by its key
}

// Desk signs people in and keeps the lists of their sessions. It is safe for concurrent use.
type Desk struct {
	c         Config
	login     login.Login
	passwords *password.Hasher
}

// issuer stands before names in the apps that show codes.
const issuer = "berthd"

// New returns a Desk.
func New(c Config) (*Desk, error) {
	passwords, err := password.New(password.Config{})
	if err != nil {
		return nil, err
	}
	return &Desk{c: c, passwords: passwords, login: login.Login{
		State: c.State, Commit: c.Commit, Passwords: passwords, Codes: totp.Checker{Scratch: c.Scratch},
		Throttle: auth.Throttle{Scratch: c.Scratch, Key: c.Key.throttle}, Open: c.Key.open,
	}}, nil
}

// LogIn returns who somebody is that typed it right, as login.Login does; the name may be their id, too.
func (d *Desk) LogIn(ctx context.Context, a login.Attempt) (auth.Identity, error) {
	st, err := d.c.State(ctx)
	if err != nil {
		return auth.Identity{}, err
	}
	if _, ok := st.Named(a.Name); !ok {
		if p, ok := st.Principal(a.Name); ok && p.Name != "" {
			a.Name = p.Name // so that an account has one count of wrong attempts
		}
	}
	return d.login.Do(ctx, a)
}

// Confirm reports whether this is the present password of somebody who is signed in already. It is throttled as a sign-in is.
func (d *Desk) Confirm(ctx context.Context, principal, text string, from netip.Addr) (bool, error) {
	st, err := d.c.State(ctx)
	if err != nil {
		return false, err
	}
	p, _ := st.Principal(principal)
	attempt, err := d.login.Throttle.Begin(ctx, p.Name, from)
	if err != nil {
		return false, err
	}
	kept, _ := st.Password(principal)
	match, err := d.passwords.Verify(ctx, kept.Hash, text)
	if err != nil || !match.OK {
		return false, err
	}
	return true, attempt.Right(ctx)
}

// Hash returns the hash of a new password, or an error that says what is wrong with it.
func (d *Desk) Hash(ctx context.Context, text string) (string, error) {
	return d.passwords.Hash(ctx, text)
}

// Begin begins a session of a program for somebody who has just signed in, with the tokens that it holds from then on.
func (d *Desk) Begin(ctx context.Context, who auth.Identity, from Origin) (session.Pair, error) {
	p, err := d.c.Sessions.Begin(ctx, who)
	if err != nil {
		return session.Pair{}, err
	}
	return p, d.Note(ctx, who.Principal, Session{ID: p.Session, Ends: p.Ends, Origin: from})
}

// Refresh returns the next tokens of a session.
func (d *Desk) Refresh(ctx context.Context, token string) (session.Pair, error) {
	p, err := d.c.Sessions.Refresh(ctx, token)
	if err != nil {
		return session.Pair{}, err
	}
	who, err := d.c.Sessions.Authenticate(ctx, auth.Credential{Bearer: p.Access})
	if err != nil {
		return session.Pair{}, err
	}
	return p, d.prolong(ctx, who.Principal, p.Session, p.Ends)
}

// Of returns the id of the session that an access token belongs to.
func (d *Desk) Of(ctx context.Context, access string) (string, error) {
	return d.c.Sessions.Session(ctx, access)
}

// pending is how long a second factor waits for its first code.
const pending = 10 * time.Minute

func pendingKey(principal string) string { return "berthd/second/" + principal }

// waiting is what Scratch has of a second factor that is being set up.
type waiting struct {
	Sealed []byte `json:"sealed"`
}

// Second is a second factor that is being set up: what an app reads, and the same to be typed.
type Second struct {
	URI    string
	Secret string
	Until  time.Time
}

// String says nothing, so that what is printed by mistake is no loss.
func (Second) String() string { return "[second factor]" }

// NewSecond makes the secret of a second factor, which waits for Complete. The one before, if there is one, stays until then.
func (d *Desk) NewSecond(ctx context.Context, p auth.Principal) (Second, error) {
	secret := totp.NewSecret()
	b, err := json.Marshal(waiting{d.c.Key.seal(p.ID, secret)})
	if err != nil {
		return Second{}, err
	}
	_, version, err := d.c.Scratch.Get(ctx, pendingKey(p.ID))
	if err != nil && !errors.Is(err, pool.ErrNotFound) {
		return Second{}, err
	}
	if _, err := d.c.Scratch.Put(ctx, pendingKey(p.ID), b, version, pending); err != nil {
		return Second{}, err
	}
	name := p.Name
	if name == "" {
		name = p.ID
	}
	return Second{
		URI:    d.login.Codes.Params.URI(issuer, name, secret),
		Secret: base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret),
		Until:  time.Now().Add(pending).UTC(),
	}, nil
}

// recoveryCodes is how many somebody gets.
const recoveryCodes = 10

// Complete returns the command that sets a second factor up, and its recovery codes, if the code is one of the secret that waits.
// Errors: pool.ErrNotFound, none waits; pool.ErrInvalid, the code is not right.
func (d *Desk) Complete(ctx context.Context, principal, code string) (auth.Command, []string, error) {
	b, version, err := d.c.Scratch.Get(ctx, pendingKey(principal))
	if errors.Is(err, pool.ErrNotFound) {
		return auth.Command{}, nil, &pool.Error{Kind: pool.ErrWrongState, Field: "code", Want: "a second factor that was begun within the last ten minutes"}
	}
	if err != nil {
		return auth.Command{}, nil, err
	}
	var w waiting
	if err := json.Unmarshal(b, &w); err != nil {
		return auth.Command{}, nil, &pool.Error{Op: "read a second factor", Kind: pool.ErrCorrupt}
	}
	secret, err := d.c.Key.open(principal, w.Sealed)
	if err != nil {
		return auth.Command{}, nil, err
	}
	ok, err := d.login.Codes.Check(ctx, principal, secret, code, time.Now())
	if err != nil {
		return auth.Command{}, nil, err
	}
	if !ok {
		return auth.Command{}, nil, &pool.Error{Kind: pool.ErrInvalid, Field: "code", Want: "the code that the app shows now"}
	}
	if err := d.c.Scratch.Delete(ctx, pendingKey(principal), version); err != nil {
		return auth.Command{}, nil, err
	}
	codes, digests := totp.NewRecovery(recoveryCodes)
	return auth.Command{Second: &auth.SetSecond{Principal: principal, Secret: w.Sealed, Recovery: digests}}, codes, nil
}
