// Package passkey has people register passkeys and log in with them, as WebAuthn says (W3C, Level 3), by the library go-webauthn. A log-in needs
// no name: the passkey says whose it is. The authenticator has to make sure of who uses it, by a finger or a PIN, so that a passkey is both factors.
//
// Passkeys are kept in the ledger, as package auth says. How often one was used, by its own count, is kept in the Scratch.
//
// A ceremony, a registration or a log-in, is known by a text that the browser holds, best in a cookie with Secure, HttpOnly, SameSite=Strict and a
// name that begins with __Host-. What it is compared with lies in the Scratch for [Patience], and is taken away at the first answer, right or wrong.
package passkey

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// Bounds.
const (
	Patience  = 5 * time.Minute // from a ceremony's begin to its end
	MaxAnswer = 32 << 10        // bytes that a browser sends

	// countFor is how long it is known how often a passkey was used.
	countFor = 400 * 24 * time.Hour
)

// Fault is what is wrong with an answer: the cause of the *auth.Refusal, for the log. It has nothing in it that the browser has sent.
type Fault string

// Error implements error.
func (f Fault) Error() string { return "passkey: " + string(f) }

// The faults.
const (
	NotBegun Fault = "this browser has begun no such ceremony, or too long ago, or has answered it"
	Wrong    Fault = "the answer is malformed, too long or not right"
	Unknown  Fault = "there is no such passkey, or its principal cannot log in with one"
	Cloned   Fault = "the passkey's count does not go on: there may be a copy of it"
)

func refused(f Fault) error { return auth.Unauthenticated(auth.BadCredentials, f) }

// Config is what New needs. All of it is required.
type Config struct {
	Site  Site
	Title string // for people

	// State returns what is known now; an error lets nobody in.
	State func(ctx context.Context) (*auth.State, error)

	Scratch pool.Scratch
}

// Passkeys holds ceremonies. It is safe for concurrent use.
type Passkeys struct {
	c Config
	w *webauthn.WebAuthn
}

// New returns Passkeys.
func New(c Config) (*Passkeys, error) {
	bad := func(field, want string) (*Passkeys, error) {
		return nil, &pool.Error{Op: "configure passkeys", Kind: pool.ErrInvalid, Field: field, Want: want}
	}
	if c.State == nil || c.Scratch == nil {
		return bad("config", "State and Scratch")
	}
	if c.Site.Domain == "" || c.Site.Origin == "" || c.Title == "" {
		return bad("site", "a domain, the origin of its pages, and a title")
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID: c.Site.Domain, RPDisplayName: c.Title, RPOrigins: []string{c.Site.Origin}, AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, RequireResidentKey: protocol.ResidentKeyRequired(), UserVerification: protocol.VerificationRequired,
		},
	})
	if err != nil {
		return bad("site", "a host name, and the origin of pages there")
	}
	return &Passkeys{c: c, w: w}, nil
}

// Site returns where they work.
func (p *Passkeys) Site() Site { return p.c.Site }

// user is a principal as the library wants it. The handle is the principal's id, which is no name.
type user struct {
	auth.Principal
	keys []webauthn.Credential
}

func (u user) WebAuthnID() []byte                         { return []byte(u.ID) }
func (u user) WebAuthnName() string                       { return u.Name }
func (u user) WebAuthnDisplayName() string                { return u.Name }
func (u user) WebAuthnCredentials() []webauthn.Credential { return u.keys }

// user returns a person who can log in, with their passkeys.
func (p *Passkeys) user(s *auth.State, principal string) (user, error) {
	who, ok := s.Principal(principal)
	if !ok || who.Kind != auth.Person || who.Disabled || who.Name == "" {
		return user{}, refused(Unknown)
	}
	u := user{Principal: who}
	for _, k := range s.Passkeys(principal) {
		c := webauthn.Credential{
			ID: k.Credential, PublicKey: k.PublicKey, Flags: webauthn.CredentialFlags{UserPresent: true, UserVerified: true, BackupEligible: k.Backup},
			Authenticator: webauthn.Authenticator{SignCount: k.Count},
		}
		for _, t := range k.Transports {
			c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
		}
		u.keys = append(u.keys, c)
	}
	return u, nil
}

// may returns the principal of somebody who has just logged in with all their rights: a token registers no passkey.
func (p *Passkeys) may(ctx context.Context, who auth.Identity) (user, error) {
	if !who.Whole || who.Token != "" {
		return user{}, &auth.Refusal{Kind: auth.ErrForbidden, Reason: auth.NotByToken}
	}
	s, err := p.c.State(ctx)
	if err != nil {
		return user{}, err
	}
	if err := s.Good(who, time.Now()); err != nil {
		return user{}, err
	}
	return p.user(s, who.Principal)
}

// BeginRegistration returns the options for the browser's navigator.credentials.create, in JSON, and the ceremony. Have it asked of those only who
// have shown a moment ago who they are.
func (p *Passkeys) BeginRegistration(ctx context.Context, who auth.Identity) (options []byte, ceremony string, err error) {
	u, err := p.may(ctx, who)
	if err != nil {
		return nil, "", err
	}
	if len(u.keys) >= auth.MaxPasskeys {
		return nil, "", &pool.Error{Op: "register a passkey", Kind: pool.ErrInvalid, Field: "passkeys", Want: "at most 20 of a principal"}
	}
	o, session, err := p.w.BeginRegistration(u, webauthn.WithExclusions(webauthn.Credentials(u.keys).CredentialDescriptors()))
	if err != nil {
		return nil, "", &pool.Error{Op: "register a passkey", Kind: pool.ErrInvalid}
	}
	return p.begin(ctx, registering(who.Principal), o, session)
}

// FinishRegistration returns the passkey that the browser has answered with, in JSON, for an auth.Command of theirs; it is kept by that. The name is for
// its owner.
func (p *Passkeys) FinishRegistration(ctx context.Context, who auth.Identity, ceremony, name string, answer []byte) (auth.Passkey, error) {
	if name == "" || pool.ValidText(name, 64) != nil {
		return auth.Passkey{}, &pool.Error{Op: "register a passkey", Kind: pool.ErrInvalid, Field: "name", Want: "1 to 64 bytes of text"}
	}
	u, err := p.may(ctx, who)
	if err != nil {
		return auth.Passkey{}, err
	}
	session, err := p.take(ctx, registering(who.Principal), ceremony)
	if err != nil {
		return auth.Passkey{}, err
	}
	if len(answer) > MaxAnswer {
		return auth.Passkey{}, refused(Wrong)
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return auth.Passkey{}, refused(Wrong)
	}
	c, err := p.w.CreateCredential(u, session, parsed)
	if err != nil || !c.Flags.UserVerified {
		return auth.Passkey{}, refused(Wrong)
	}
	k := auth.Passkey{
		ID: "p" + strings.ToLower(rand.Text()), Principal: who.Principal, Credential: c.ID, PublicKey: c.PublicKey, Name: name,
		Count: c.Authenticator.SignCount, Backup: c.Flags.BackupEligible,
	}
	for _, t := range c.Transport {
		if len(t) > 0 && pool.ValidText(string(t), 32) == nil && len(k.Transports) < 8 {
			k.Transports = append(k.Transports, string(t))
		}
	}
	return k, k.Valid()
}

// BeginLogin returns the options for the browser's navigator.credentials.get, in JSON, and the ceremony. They are the same for everybody, so
// that nothing is to be learnt from them. Everybody may ask, and each takes room in the Scratch for [Patience]: it is for the caller to bound how many an address begins.
func (p *Passkeys) BeginLogin(ctx context.Context) (options []byte, ceremony string, err error) {
	o, session, err := p.w.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, "", &pool.Error{Op: "log in with a passkey", Kind: pool.ErrInvalid}
	}
	return p.begin(ctx, loggingIn, o, session)
}

// FinishLogin returns who has logged in, by what the browser has answered, in JSON. What is wrong is an *auth.Refusal whose Cause is a [Fault];
// other errors are of stores.
func (p *Passkeys) FinishLogin(ctx context.Context, ceremony string, answer []byte) (auth.Identity, error) {
	session, err := p.take(ctx, loggingIn, ceremony)
	if err != nil {
		return auth.Identity{}, err
	}
	if len(answer) > MaxAnswer {
		return auth.Identity{}, refused(Wrong)
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return auth.Identity{}, refused(Wrong)
	}
	s, err := p.c.State(ctx)
	if err != nil {
		return auth.Identity{}, err
	}
	var (
		u       user
		version int64
		failed  error // which the library makes a text of
	)
	_, used, err := p.w.ValidatePasskeyLogin(func(id, handle []byte) (webauthn.User, error) {
		if u, failed = p.user(s, string(handle)); failed == nil {
			version, failed = p.counted(ctx, u, id)
		}
		return u, failed
	}, session, parsed)
	switch {
	case failed != nil:
		return auth.Identity{}, failed
	case err != nil:
		return auth.Identity{}, refused(Wrong)
	case used.Authenticator.CloneWarning:
		return auth.Identity{}, refused(Cloned)
	}
	if used.Authenticator.SignCount > 0 {
		n := strconv.FormatUint(uint64(used.Authenticator.SignCount), 10)
		_, err := p.c.Scratch.Put(ctx, countKey(used.ID), []byte(n), version, countFor)
		if errors.Is(err, pool.ErrConflict) { // two at once, of which one may be a copy
			return auth.Identity{}, refused(Cloned)
		}
		if err != nil {
			return auth.Identity{}, err
		}
	}
	who := auth.Identity{Principal: u.ID, Whole: true, Generation: u.Generation}
	if err := s.Good(who, time.Now()); err != nil {
		return auth.Identity{}, err
	}
	return who, nil
}

// counted brings the count of a passkey up to its last use. If that is lost, it is that of the registration.
func (p *Passkeys) counted(ctx context.Context, u user, id []byte) (version int64, err error) {
	n := slices.IndexFunc(u.keys, func(c webauthn.Credential) bool { return slices.Equal(c.ID, id) })
	if n < 0 {
		return 0, refused(Unknown)
	}
	raw, version, err := p.c.Scratch.Get(ctx, countKey(id))
	if errors.Is(err, pool.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	count, err := strconv.ParseUint(string(raw), 10, 32)
	if err != nil {
		return 0, &pool.Error{Op: "read how often a passkey was used", Kind: pool.ErrCorrupt}
	}
	u.keys[n].Authenticator.SignCount = max(u.keys[n].Authenticator.SignCount, uint32(count))
	return version, nil
}

func countKey(id []byte) string {
	sum := sha256.Sum256(id)
	return "auth/passkey/count/" + hex.EncodeToString(sum[:])
}

// What a ceremony is for: to log in, or to register a passkey of one principal.
const loggingIn = "login"

func registering(principal string) string { return "register/" + principal }

// ceremonyKey is where what belongs to a ceremony lies: found only by whoever holds it, and only for what it is for.
func ceremonyKey(purpose, ceremony string) string {
	sum := sha256.Sum256([]byte(purpose + "\x00" + ceremony))
	return "auth/passkey/" + hex.EncodeToString(sum[:])
}

func (p *Passkeys) begin(ctx context.Context, purpose string, options any, session *webauthn.SessionData) ([]byte, string, error) {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	ceremony := base64.RawURLEncoding.EncodeToString(random)
	kept, err := json.Marshal(session)
	if err != nil {
		return nil, "", err
	}
	out, err := json.Marshal(options)
	if err != nil {
		return nil, "", err
	}
	if _, err := p.c.Scratch.Put(ctx, ceremonyKey(purpose, ceremony), kept, 0, Patience); err != nil {
		return nil, "", err
	}
	return out, ceremony, nil
}

// take takes away what belongs to a ceremony.
func (p *Passkeys) take(ctx context.Context, purpose, ceremony string) (webauthn.SessionData, error) {
	var s webauthn.SessionData
	key := ceremonyKey(purpose, ceremony)
	raw, version, err := p.c.Scratch.Get(ctx, key)
	if err == nil {
		err = p.c.Scratch.Delete(ctx, key, version)
	}
	if errors.Is(err, pool.ErrNotFound) || errors.Is(err, pool.ErrConflict) { // it is not there, or somebody has answered it meanwhile
		return s, refused(NotBegun)
	}
	if err != nil {
		return s, err
	}
	if json.Unmarshal(raw, &s) != nil || s.Challenge == "" || s.UserVerification != protocol.VerificationRequired {
		return s, &pool.Error{Op: "read a ceremony", Kind: pool.ErrCorrupt}
	}
	return s, nil
}
