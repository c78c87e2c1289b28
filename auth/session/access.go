package session

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// Bounds on access tokens.
const (
	MaxAccess    = 15 * time.Minute // how long one can be good
	MaxToken     = 4096             // bytes of one
	MaxGroups    = 32               // in one
	MaxGroupSize = 255

	leeway = 5 * time.Second // by which the clocks of daemons may differ
	typ    = "at+jwt"        // RFC 9068, section 2.1
)

// claims are all that an access token has; one with others is none of ours.
type claims struct {
	jwt.RegisteredClaims
	Session    string        `json:"sid"`
	Generation pool.Revision `json:"gen"`
	Groups     []string      `json:"grp,omitempty"`
}

func (c Config) sign(s family, sid string, now time.Time, keys Keys) (token string, expires time.Time, err error) {
	k, ok := keys.signer(now)
	if !ok {
		return "", time.Time{}, &pool.Error{Op: "sign a token", Kind: pool.ErrWrongState, Field: "keys", Want: "one that signs now"}
	}
	now = now.Truncate(time.Second)
	expires = now.Add(c.Access)
	if s.Ends.Before(expires) {
		expires = s.Ends.Truncate(time.Second)
	}
	at := jwt.NewNumericDate(now)
	t := jwt.NewWithClaims(k.method(), single{claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: c.Issuer, Subject: s.Principal, IssuedAt: at, NotBefore: at, ExpiresAt: jwt.NewNumericDate(expires), ID: random(16),
		},
		Session: sid, Generation: s.Generation, Groups: s.Groups,
	}, c.Audience})
	t.Header["typ"], t.Header["kid"] = typ, k.ID
	token, err = t.SignedString(k.signing())
	if err == nil && len(token) > MaxToken {
		err = invalid("groups", "fewer and shorter ones: a token has at most 4096 bytes")
	}
	return token, expires, err
}

// single writes the audience as one string, so that there is one form to read.
type single struct {
	claims
	Audience string `json:"aud"`
}

// errShape is the cause of a refusal of what is not even in the form of a token.
var errShape = errors.New("not in the form of an access token")

// Authenticate implements auth.Authenticator. What is not in the form of a JWT is auth.NotMine.
func (s *Sessions) Authenticate(ctx context.Context, in auth.Credential) (auth.Identity, error) {
	if strings.Count(in.Bearer, ".") != 2 {
		return auth.Identity{}, auth.NotMine()
	}
	now := time.Now()
	c, err := s.verify(ctx, in.Bearer, now)
	if err != nil {
		return auth.Identity{}, err
	}
	st, err := s.c.State(ctx)
	if err != nil {
		return auth.Identity{}, err
	}
	who := auth.Identity{Principal: c.Subject, Groups: c.Groups, Whole: true, Generation: c.Generation, Expires: c.ExpiresAt.UTC()}
	if err := st.Good(who, now); err != nil {
		return auth.Identity{}, err
	}
	for _, id := range []string{c.ID, c.Session} {
		switch _, _, err := s.c.Scratch.Get(ctx, revokedKey(id)); {
		case err == nil:
			return auth.Identity{}, auth.Unauthenticated(auth.Revoked, nil)
		case !errors.Is(err, pool.ErrNotFound):
			return auth.Identity{}, err
		}
	}
	return who, nil
}

// Session returns the public id of the session that an access token belongs to. Whether its holder may still be heard is for Authenticate
// to say.
func (s *Sessions) Session(ctx context.Context, access string) (string, error) {
	c, err := s.verify(ctx, access, time.Now())
	return c.Session, err
}

// verify returns what a token says that one of the keys has signed and that is good now, but for what was revoked. The library looks at the
// signature and at the claims; before that the form is looked at, more strictly than the library does: no name twice, no header and no
// claim that is not known, no other way to write a number.
func (s *Sessions) verify(ctx context.Context, token string, now time.Time) (claims, error) {
	bad := func(err error) (claims, error) {
		why := auth.BadCredentials
		if errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid) {
			why = auth.Expired
		}
		return claims{}, auth.Unauthenticated(why, err)
	}
	k, alg, err := shape(token)
	if err != nil {
		return bad(err)
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return claims{}, err
	}
	key, ok := keys.verifier(k, now)
	if !ok || string(key.Algorithm) != alg {
		return bad(errShape)
	}
	var c claims
	p := jwt.NewParser(
		jwt.WithValidMethods([]string{string(key.Algorithm)}), jwt.WithIssuer(s.c.Issuer), jwt.WithAudience(s.c.Audience),
		jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
		jwt.WithLeeway(leeway), jwt.WithTimeFunc(func() time.Time { return now }),
	)
	if _, err := p.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return key.verifying(), nil }); err != nil {
		return bad(err)
	}
	if c.IssuedAt == nil || c.ExpiresAt.Sub(c.IssuedAt.Time) > MaxAccess || c.NotBefore.Before(c.IssuedAt.Time) || !c.NotBefore.Before(c.ExpiresAt.Time) ||
		pool.ValidName(c.Subject) != nil || !isRandom(c.ID, 16) || !isRandom(c.Session, 16) || len(c.Groups) > MaxGroups {
		return bad(errShape)
	}
	return c, nil
}

// shape returns which key and algorithm a token names, if it has the form of one.
func shape(token string) (kid, alg string, err error) {
	parts := strings.Split(token, ".")
	const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	if len(token) > MaxToken || len(parts) != 3 || strings.Trim(token, base64url+".") != "" {
		return "", "", errShape
	}
	header, ok := object(parts[0], []string{"alg", "kid", "typ"}, nil)
	if !ok || text(header["typ"]) != typ || pool.ValidName(text(header["kid"])) != nil {
		return "", "", errShape
	}
	body, ok := object(parts[1], []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "gen"}, []string{"grp"})
	if !ok {
		return "", "", errShape
	}
	for _, name := range []string{"iss", "sub", "aud", "jti", "sid"} {
		if text(body[name]) == "" {
			return "", "", errShape
		}
	}
	for _, name := range []string{"exp", "nbf", "iat", "gen"} {
		if len(body[name]) > 15 || strings.Trim(string(body[name]), "0123456789") != "" {
			return "", "", errShape
		}
	}
	return text(header["kid"]), text(header["alg"]), nil
}

// object reads an object of JSON in base64 that has each of some names once, perhaps one of others, and nothing else.
func object(part string, must, may []string) (map[string]json.RawMessage, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	out := make(map[string]json.RawMessage)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if _, twice := out[name]; err != nil || !ok || twice || !slices.Contains(must, name) && !slices.Contains(may, name) {
			return nil, false
		}
		var v json.RawMessage
		if dec.Decode(&v) != nil {
			return nil, false
		}
		out[name] = v
	}
	if _, err := dec.Token(); err != nil || dec.InputOffset() != int64(len(raw)) {
		return nil, false
	}
	for _, name := range must {
		if _, ok := out[name]; !ok {
			return nil, false
		}
	}
	return out, true
}

// text returns a string of JSON; empty if it is none.
func text(raw json.RawMessage) string {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
