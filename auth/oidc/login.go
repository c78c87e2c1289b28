package oidc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/berthage/berthage/pool"
)

// Pending is a log-in that was begun, to be kept by the browser that began it and by nobody else: see the package's comment. It is 43
// letters, digits, hyphens and underscores; printed, it shows nothing.
type Pending string

// String says nothing, so that one that is printed by mistake is no loss.
func (Pending) String() string { return "[log-in under way]" }

// GoString is String.
func (p Pending) GoString() string { return p.String() }

// secrets are 256 bits each.
const secretSize = 32

func secret() string {
	b := make([]byte, secretSize)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func (p Pending) valid() bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(p))
	return err == nil && len(b) == secretSize
}

// key is where what belongs to a Pending lies. No other provider, and no other client, looks there.
func (p *Provider) key(pending Pending) string {
	h := sha256.New()
	for _, s := range []string{p.c.Issuer, p.c.ClientID, string(pending)} {
		h.Write([]byte(s))
		h.Write([]byte{0}) // which is in none of them
	}
	return "auth/oidc/" + hex.EncodeToString(h.Sum(nil))
}

// begun is what lies there.
type begun struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	At       time.Time `json:"at"`
}

// Begin begins a log-in. It returns where to send the browser, and what the browser is to bring back to Finish within [Patience]. An
// error is of the Scratch or of the provider, which then cannot be used now.
func (p *Provider) Begin(ctx context.Context) (to string, pending Pending, err error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return "", "", err
	}
	b := begun{State: secret(), Nonce: secret(), Verifier: oauth2.GenerateVerifier(), At: time.Now().UTC()}
	raw, err := json.Marshal(b)
	if err != nil {
		return "", "", err
	}
	pending = Pending(secret())
	if _, err := p.c.Scratch.Put(ctx, p.key(pending), raw, 0, Patience); err != nil {
		return "", "", err
	}
	c := p.client(m)
	return c.AuthCodeURL(b.State, coreos.Nonce(b.Nonce), oauth2.S256ChallengeOption(b.Verifier)), pending, nil
}

// Finish returns who has logged in, for the Pending of the browser and the URL that it came back with, of which the path and the query count. It
// works once: whatever comes of it, a callback that belongs to the log-in uses it up; others leave it as it is.
//
// What is wrong with the log-in is an *auth.Refusal, whose Cause is a [Fault]. Other errors are of the Scratch or of the provider, which cannot
// be used now; nobody is let in either. No error has anything secret in it.
func (p *Provider) Finish(ctx context.Context, pending Pending, callback *url.URL) (Claims, error) {
	answer, ok := p.readCallback(callback)
	if !ok {
		return Claims{}, refused(BadCallback)
	}
	b, version, err := p.begun(ctx, pending)
	if err != nil {
		return Claims{}, err
	}
	if subtle.ConstantTimeCompare([]byte(answer.state), []byte(b.State)) != 1 {
		return Claims{}, refused(WrongState)
	}
	err = p.c.Scratch.Delete(ctx, p.key(pending), version)
	if errors.Is(err, pool.ErrConflict) { // somebody has finished it meanwhile
		return Claims{}, refused(NotBegun)
	}
	if err != nil {
		return Claims{}, err
	}
	m, err := p.discovered(ctx)
	if err != nil {
		return Claims{}, err
	}
	if answer.issuer == "" && m.SendsIssuer || answer.issuer != "" && answer.issuer != p.c.Issuer {
		return Claims{}, refused(OtherIssuer)
	}
	if answer.code == "" {
		return Claims{}, denied(answer.fault)
	}
	t, err := p.exchange(ctx, m, answer.code, b.Verifier)
	if err != nil {
		return Claims{}, err
	}
	raw, ok := t.Extra("id_token").(string)
	if !ok || raw == "" {
		return Claims{}, refused(NoToken)
	}
	claims, err := p.verify(ctx, m, raw, b, t.AccessToken)
	if err != nil {
		return Claims{}, err
	}
	return p.claims(ctx, m, claims, t)
}

// answer is what a callback says: a code, or an error.
type answer struct{ state, code, fault, issuer string }

// readCallback reads a callback. What it says twice it does not say; what is not known is passed over, as RFC 6749, section 4.1.2, wants.
func (p *Provider) readCallback(callback *url.URL) (answer, bool) {
	if callback == nil || len(callback.RawQuery) > MaxCallback || callback.EscapedPath() != p.redirect.EscapedPath() {
		return answer{}, false
	}
	q, err := url.ParseQuery(callback.RawQuery)
	if err != nil {
		return answer{}, false
	}
	var a answer
	for name, to := range map[string]*string{"state": &a.state, "code": &a.code, "error": &a.fault, "iss": &a.issuer} {
		switch values := q[name]; {
		case len(values) > 1 || len(values) == 1 && values[0] == "":
			return answer{}, false
		case len(values) == 1:
			*to = values[0]
		}
	}
	return a, a.state != "" && (a.code == "") != (a.fault == "")
}

// begun returns what belongs to a Pending.
func (p *Provider) begun(ctx context.Context, pending Pending) (begun, int64, error) {
	if !pending.valid() {
		return begun{}, 0, refused(NotBegun)
	}
	raw, version, err := p.c.Scratch.Get(ctx, p.key(pending))
	if errors.Is(err, pool.ErrNotFound) {
		return begun{}, 0, refused(NotBegun)
	}
	if err != nil {
		return begun{}, 0, err
	}
	var b begun
	if json.Unmarshal(raw, &b) != nil || b.State == "" || b.Nonce == "" || b.Verifier == "" || b.At.IsZero() {
		return begun{}, 0, &pool.Error{Op: "read a log-in under way", Kind: pool.ErrCorrupt}
	}
	return b, version, nil
}

// exchange has a code changed into tokens.
func (p *Provider) exchange(ctx context.Context, m metadata, code, verifier string) (*oauth2.Token, error) {
	c := p.client(m)
	t, err := c.Exchange(coreos.ClientContext(ctx, p.http), code, oauth2.VerifierOption(verifier))
	if err == nil {
		return t, nil
	}
	const op = "change a code into tokens at"
	var answered *oauth2.RetrieveError
	switch {
	case !errors.As(err, &answered):
		return nil, p.unavailable(op, "", "", reason(err))
	case answered.ErrorCode == "invalid_grant":
		return nil, denied("invalid_grant")
	case answered.ErrorCode == "invalid_client" || answered.Response.StatusCode == http.StatusUnauthorized:
		return nil, p.unavailable(op, "Secret", "the id and the secret of a client of the provider", nil)
	}
	return nil, p.unavailable(op, "", "", errStatus)
}
