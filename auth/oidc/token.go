package oidc

import (
	"context"
	"crypto/subtle"
	"slices"
	"strings"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"
)

// header is what a token says of itself.
type header struct {
	alg Algorithm
	kid string
}

// parse returns the header and the claims of what has the form of an ID token, which says nothing about who has written it. It looks more
// strictly than the libraries do.
func parse(token string) (header, object, bool) {
	parts := strings.Split(token, ".")
	if len(token) > MaxToken || len(parts) != 3 {
		return header{}, nil, false
	}
	head, ok1 := decode(parts[0])
	body, ok2 := decode(parts[1])
	_, ok3 := decode(parts[2])
	if !ok1 || !ok2 || !ok3 {
		return header{}, nil, false
	}
	h, ok := readObject(head)
	if !ok {
		return header{}, nil, false
	}
	for _, name := range []string{"crit", "b64", "jwk", "jku", "x5c", "x5u", "zip", "enc"} { // what must be understood, and keys of its own
		if h[name] != nil {
			return header{}, nil, false
		}
	}
	alg, ok1 := h.text("alg", 16)
	kid, ok2 := h.text("kid", 255)
	typ, ok3 := h.text("typ", 64)
	// Tokens for something else have a type of their own, such as at+jwt and logout+jwt (RFC 8725, section 3.11).
	if !ok1 || !ok2 || !ok3 || typ != "" && !strings.EqualFold(typ, "JWT") {
		return header{}, nil, false
	}
	claims, ok := readObject(body)
	return header{Algorithm(alg), kid}, claims, ok
}

// verify returns the claims of an ID token that the provider has issued for this log-in. What go-oidc looks at, the signature, the issuer, the
// audience and the expiry, is looked at again together with the rest.
func (p *Provider) verify(ctx context.Context, m metadata, token string, b begun, access string) (object, error) {
	h, claims, ok := parse(token)
	if !ok {
		return nil, refused(BadToken)
	}
	if !slices.Contains(p.c.Algorithms, h.alg) {
		return nil, refused(BadAlgorithm)
	}
	now := time.Now()
	sig := &signature{p: p, keys: m.Keys, alg: h.alg, kid: h.kid}
	verified, err := coreos.NewVerifier(p.c.Issuer, sig, &coreos.Config{
		ClientID: p.c.ClientID, SupportedSigningAlgs: []string{string(h.alg)}, Now: func() time.Time { return now.Add(-p.c.Leeway) },
	}).Verify(ctx, token)
	if sig.err != nil {
		return nil, sig.err
	}
	if fault := p.check(claims, b, now); fault != "" {
		return nil, refused(fault)
	}
	// encoding/json, with which go-oidc reads, takes names in any case of letters.
	if sub, _ := claims.text("sub", maxSubject); err != nil || verified.Subject != sub {
		return nil, refused(BadToken)
	}
	if claims["at_hash"] != nil && verified.VerifyAccessToken(access) != nil {
		return nil, refused(WrongHash)
	}
	return claims, nil
}

// check returns what is wrong with the claims of a token whose signature is right; empty: nothing.
func (p *Provider) check(claims object, b begun, now time.Time) Fault {
	if iss, ok := claims.text("iss", 2048); !ok || iss != p.c.Issuer {
		return WrongIssuer
	}
	if sub, ok := claims.text("sub", maxSubject); !ok || !isSubject(sub) {
		return WrongSubject
	}
	if !p.isFor(claims) {
		return WrongAudience
	}
	exp, has, ok := claims.seconds("exp")
	iat, hasIAT, ok2 := claims.seconds("iat")
	nbf, hasNBF, ok3 := claims.seconds("nbf")
	if !has || !ok || !hasIAT || !ok2 || !ok3 {
		return BadToken
	}
	at := func(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
	switch {
	case exp <= at(now.Add(-p.c.Leeway)):
		return ExpiredToken
	case iat > at(now.Add(p.c.Leeway)), hasNBF && nbf > at(now.Add(p.c.Leeway)):
		return NotYet
	case iat < at(b.At.Add(-p.c.Leeway))-1: // which may be cut to whole seconds
		return IssuedEarly
	}
	nonce, ok := claims.text("nonce", 255)
	if !ok || subtle.ConstantTimeCompare([]byte(nonce), []byte(b.Nonce)) != 1 {
		return WrongNonce
	}
	return ""
}

// isFor reports whether a token is for us: we are in the audience, and if others are too, or it says so at all, it was us who asked.
func (p *Provider) isFor(claims object) bool {
	aud, ok := claims.texts("aud")
	azp, ok2 := claims.text("azp", 255)
	if !ok || !ok2 || !slices.Contains(aud, p.c.ClientID) {
		return false
	}
	if claims["azp"] == nil {
		return len(aud) == 1
	}
	return azp == p.c.ClientID
}

// maxSubject is that of OpenID Connect Core 1.0, section 2.
const maxSubject = 255

// isSubject reports whether s can be a subject: ASCII, and here without control characters.
func isSubject(s string) bool {
	return s != "" && len(s) <= maxSubject && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// reservedClaims are those that mean something else than groups.
func reservedClaims() []string {
	return []string{
		"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "c_hash", "auth_time", "acr", "amr", "sid", "name", "preferred_username", "email",
		"email_verified",
	}
}
