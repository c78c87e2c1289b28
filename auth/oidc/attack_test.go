package oidc_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// attack is something that is to be refused. What it leaves alone goes right, as in TestLogin.
type attack struct {
	name   string
	config func(c *oidc.Config)
	before func(i *issuer) // what the issuer does
	then   func(a *attempt)
	want   error
}

// attempt is a log-in after the browser has been sent back.
type attempt struct {
	*issuer
	p       *oidc.Provider
	pending oidc.Pending
	back    *url.URL
}

// query changes the callback.
func (a *attempt) query(f func(q url.Values)) {
	q := a.back.Query()
	f(q)
	a.back.RawQuery = q.Encode()
}

func run(t *testing.T, attacks []attack) {
	t.Helper()
	seen := make(map[string]bool)
	for _, a := range attacks {
		require.False(t, seen[a.name], a.name)
		seen[a.name] = true
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			if a.before != nil {
				a.before(i)
			}
			var change []func(*oidc.Config)
			if a.config != nil {
				change = append(change, a.config)
			}
			p := i.provider(change...)
			c, at, err := a.against(t.Context(), i, p)
			require.ErrorIs(t, err, a.want, "%v", causes(err))
			require.Zero(t, c)
			if _, fault := a.want.(oidc.Fault); fault { // of whoever logs in
				var r *auth.Refusal
				require.ErrorAs(t, err, &r)
				require.ErrorIs(t, err, auth.ErrUnauthenticated)
				require.NotErrorIs(t, err, pool.ErrUnavailable)
			} else { // of the provider
				require.NotErrorIs(t, err, auth.ErrUnauthenticated)
			}
			silent(t, err, append(i.secrets(), at.secrets()...))
		})
	}
}

func (a attack) against(ctx context.Context, i *issuer, p *oidc.Provider) (oidc.Claims, *attempt, error) {
	to, pending, err := p.Begin(ctx)
	if err != nil {
		return oidc.Claims{}, nil, err
	}
	at := &attempt{i, p, pending, i.authorize(to)}
	if a.then != nil {
		a.then(at)
	}
	c, err := p.Finish(ctx, at.pending, at.back)
	return c, at, err
}

// secrets are those of the browser.
func (a *attempt) secrets() []string {
	if a == nil {
		return nil
	}
	var out []string
	if len(a.pending) > 8 {
		out = append(out, string(a.pending))
	}
	if a.back != nil {
		for _, values := range a.back.Query() {
			for _, v := range values {
				if len(v) > 8 {
					out = append(out, v)
				}
			}
		}
	}
	return out
}

// silent requires that an error says nothing of what is secret, however it is printed.
func silent(t *testing.T, err error, secrets []string) {
	t.Helper()
	require.NotEmpty(t, secrets)
	said := strings.Join(causes(err), "\n")
	for _, s := range secrets {
		if strings.HasPrefix(s, "http") || s == "access_denied" {
			continue // the issuer's address, and a code that is known
		}
		require.NotContains(t, said, s)
	}
}

// set changes one claim; nil takes it away.
func set(name string, v any) func(i *issuer) {
	return func(i *issuer) { i.claims = one(name, v) }
}

func one(name string, v any) func(map[string]any) {
	return func(c map[string]any) {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
}

func head(name string, v any) func(i *issuer) {
	return func(i *issuer) { i.header = one(name, v) }
}

// signed has tokens written in another way.
func signed(f func(i *issuer, header, claims []byte) string) func(i *issuer) {
	return func(i *issuer) { i.token = func(h, c []byte) string { return f(i, h, c) } }
}

// also has a token say something more, at its end, where encoding/json looks last.
func also(text string) func(i *issuer) {
	return signed(func(i *issuer, h, c []byte) string {
		return i.keys[0].sign(h, []byte(string(c[:len(c)-1])+","+text+"}"))
	})
}

// in moves a time by seconds.
func in(name string, d time.Duration) func(i *issuer) {
	return func(i *issuer) {
		i.claims = func(c map[string]any) { c[name] = time.Now().Add(d).Unix() }
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	other := func(alg string) signer { return newSigner("k1", alg) }
	run(t, []attack{
		// Who says so, and for whom.
		{name: "another issuer", before: set("iss", "https://evil.example"), want: oidc.WrongIssuer},
		{name: "no issuer", before: set("iss", nil), want: oidc.WrongIssuer},
		{name: "the issuer with a slash", before: func(i *issuer) { i.claims = one("iss", i.URL+"/") }, want: oidc.WrongIssuer},
		{name: "the issuer in other letters", before: func(i *issuer) { i.claims = one("iss", strings.ToUpper(i.URL)) }, want: oidc.WrongIssuer},
		{name: "several issuers", before: func(i *issuer) { i.claims = one("iss", []string{i.URL}) }, want: oidc.WrongIssuer},
		{name: "the issuer under another name too", before: also(`"ISS":"https://evil.example"`), want: oidc.BadToken},
		{name: "another audience", before: set("aud", "other"), want: oidc.WrongAudience},
		{name: "no audience", before: set("aud", nil), want: oidc.WrongAudience},
		{name: "an empty audience", before: set("aud", []string{}), want: oidc.WrongAudience},
		{name: "an audience that begins like ours", before: set("aud", clientID+"2"), want: oidc.WrongAudience},
		{name: "an audience that is a number", before: set("aud", 7), want: oidc.WrongAudience},
		{name: "an audience of all sorts", before: set("aud", []any{clientID, 7}), want: oidc.WrongAudience},
		{name: "several audiences, and nobody has asked", before: set("aud", []string{clientID, "other"}), want: oidc.WrongAudience},
		{name: "several audiences, and another has asked", before: func(i *issuer) {
			i.claims = func(c map[string]any) { c["aud"], c["azp"] = []string{clientID, "other"}, "other" }
		}, want: oidc.WrongAudience},
		{name: "another has asked", before: set("azp", "other"), want: oidc.WrongAudience},
		{name: "nobody has asked", before: set("azp", ""), want: oidc.WrongAudience},
		{name: "who has asked is a number", before: set("azp", 7), want: oidc.WrongAudience},

		// Whom it is about.
		{name: "no subject", before: set("sub", nil), want: oidc.WrongSubject},
		{name: "an empty subject", before: set("sub", ""), want: oidc.WrongSubject},
		{name: "a long subject", before: set("sub", strings.Repeat("x", 256)), want: oidc.WrongSubject},
		{name: "a subject that is a number", before: set("sub", 7), want: oidc.WrongSubject},
		{name: "a subject with a line break", before: set("sub", "u-1\nroot"), want: oidc.WrongSubject},
		{name: "a subject with a zero byte", before: set("sub", "u-1\x00"), want: oidc.WrongSubject},
		{name: "a subject that looks like another", before: set("sub", "u-1\u200b"), want: oidc.WrongSubject},
		{name: "the subject under another name too", before: also(`"Sub":"root"`), want: oidc.BadToken},
		{name: "the subject twice", before: signed(func(i *issuer, h, c []byte) string {
			return i.keys[0].sign(h, append([]byte(`{"sub":"root",`), c[1:]...))
		}), want: oidc.BadToken},
		{name: "the subject twice, once escaped", before: signed(func(i *issuer, h, c []byte) string {
			return i.keys[0].sign(h, append([]byte(`{"s\u0075b":"root",`), c[1:]...))
		}), want: oidc.BadToken},

		// How it is signed.
		{name: "alg none", before: signed(func(_ *issuer, _, c []byte) string { return b64([]byte(`{"alg":"none"}`)) + "." + b64(c) + "." }), want: oidc.BadAlgorithm},
		{name: "alg nOnE", before: signed(func(_ *issuer, _, c []byte) string { return b64([]byte(`{"alg":"nOnE"}`)) + "." + b64(c) + "." }), want: oidc.BadAlgorithm},
		{name: "alg none with a signature", before: head("alg", "none"), want: oidc.BadAlgorithm},
		{name: "no alg", before: head("alg", nil), want: oidc.BadAlgorithm},
		{name: "alg in other letters", before: head("alg", "es256"), want: oidc.BadAlgorithm},
		{name: "HS256 with the public key in PEM", before: func(i *issuer) {
			i.keys = []signer{newSigner("k1", "RS256")}
			i.token = func(_, c []byte) string {
				der, err := x509.MarshalPKIXPublicKey(i.keys[0].private.Public())
				if err != nil {
					panic(err)
				}
				return hs256([]byte(`{"alg":"HS256","kid":"k1"}`), c, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
			}
		}, want: oidc.BadAlgorithm},
		{name: "HS256 with the published key", before: signed(func(i *issuer, _, c []byte) string {
			return hs256([]byte(`{"alg":"HS256","kid":"k1"}`), c, mustJSON(i.keys[0].jwk()))
		}), want: oidc.BadAlgorithm},
		{name: "HS256 with the client's secret", before: signed(func(_ *issuer, _, c []byte) string {
			return hs256([]byte(`{"alg":"HS256"}`), c, []byte(clientSecret))
		}), want: oidc.BadAlgorithm},
		{name: "HS256 with a secret that is published", before: func(i *issuer) {
			i.jwks = func(set map[string]any) {
				set["keys"] = append(set["keys"].([]any), map[string]any{"kty": "oct", "kid": "h", "alg": "HS256", "k": b64([]byte("x"))})
			}
			i.token = func(_, c []byte) string { return hs256([]byte(`{"alg":"HS256","kid":"h"}`), c, []byte("x")) }
		}, want: oidc.BadAlgorithm},
		{name: "an algorithm that is not configured", config: func(c *oidc.Config) { c.Algorithms = []oidc.Algorithm{oidc.RS256} }, want: oidc.BadAlgorithm},
		{name: "ES384", before: func(i *issuer) {
			i.keys = []signer{newSigner("k0", "ES256"), newSigner("k1", "ES384")}
			i.keys[0] = i.keys[1]
		},
			want: oidc.BadAlgorithm},
		{name: "a key that is for another algorithm", before: func(i *issuer) {
			i.keys = []signer{newSigner("k1", "RS256"), newSigner("k2", "ES256")}
			i.jwks = func(set map[string]any) { set["keys"].([]any)[0].(map[string]any)["alg"] = "PS256" }
		}, want: oidc.UnknownKey},
		{name: "a key of another kind", before: func(i *issuer) {
			i.header = one("alg", "RS256")
			i.keys = append(i.keys, newSigner("k2", "RS256"))
		}, want: oidc.UnknownKey},
		{name: "a key for encrypting", before: func(i *issuer) {
			i.keys = append(i.keys, newSigner("k2", "ES256"))
			i.jwks = func(set map[string]any) { set["keys"].([]any)[0].(map[string]any)["use"] = "enc" }
		}, want: oidc.UnknownKey},
		{name: "a weak key", before: func(i *issuer) {
			n := new(big.Int).SetBit(big.NewInt(1), 1023, 1)
			i.jwks = func(set map[string]any) {
				set["keys"] = append(set["keys"].([]any), map[string]any{"kty": "RSA", "kid": "weak", "n": b64(n.Bytes()), "e": "AQAB"})
			}
			i.header = func(h map[string]any) { h["alg"], h["kid"] = "RS256", "weak" }
		}, want: oidc.UnknownKey},
		{name: "a key on another curve", before: func(i *issuer) {
			wide := newSigner("wide", "ES384")
			i.jwks = func(set map[string]any) {
				k := wide.jwk()
				delete(k, "alg")
				set["keys"] = append(set["keys"].([]any), k)
			}
			i.header, i.token = one("kid", "wide"), wide.sign
		}, want: oidc.UnknownKey},
		{name: "another key", before: func(i *issuer) { i.token = other("ES256").sign }, want: oidc.BadSignature},
		{name: "another key, RSA", before: func(i *issuer) {
			k, err := rsa.GenerateKey(rand.Reader, 2048)
			require.NoError(i.t, err)
			i.keys, i.token = []signer{newSigner("k1", "RS256")}, signer{"k1", "RS256", k}.sign
		}, want: oidc.BadSignature},
		{name: "PKCS #1 v1.5 for PSS", before: func(i *issuer) {
			k := newSigner("k1", "PS256")
			i.keys, i.token = []signer{k}, signer{"k1", "RS256", k.private}.sign
		}, want: oidc.BadSignature},
		{name: "a key that nobody knows", before: head("kid", "k9"), want: oidc.UnknownKey},
		{name: "a key by a path", before: head("kid", "../../../../dev/null"), want: oidc.UnknownKey},
		{name: "a key by a query", before: head("kid", "' UNION SELECT 'x"), want: oidc.UnknownKey},
		{name: "a long key id", before: head("kid", strings.Repeat("k", 256)), want: oidc.BadToken},
		{name: "a key id that is a number", before: head("kid", 1), want: oidc.BadToken},
		{name: "no key id, and two keys that fit", before: func(i *issuer) {
			i.keys = append(i.keys, newSigner("k2", "ES256"))
			i.header = one("kid", nil)
		}, want: oidc.UnknownKey},
		{name: "a key of its own", before: func(i *issuer) {
			k := other("ES256")
			i.header, i.token = one("jwk", k.jwk()), k.sign
		}, want: oidc.BadToken},
		{name: "a key elsewhere", before: func(i *issuer) { i.header = one("jku", i.URL+"/elsewhere") }, want: oidc.BadToken},
		{name: "a certificate of its own", before: func(i *issuer) {
			i.header = one("x5c", []string{base64.StdEncoding.EncodeToString(i.Certificate().Raw)})
		}, want: oidc.BadToken},
		{name: "a certificate elsewhere", before: func(i *issuer) { i.header = one("x5u", i.URL+"/elsewhere") }, want: oidc.BadToken},
		{name: "what must be understood", before: func(i *issuer) {
			i.header = func(h map[string]any) { h["crit"], h["exp"] = []string{"exp"}, 1 }
		}, want: oidc.BadToken},
		{name: "a payload that is not encoded", before: func(i *issuer) {
			i.header = func(h map[string]any) { h["b64"], h["crit"] = false, []string{"b64"} }
		}, want: oidc.BadToken},
		{name: "the algorithm twice", before: signed(func(i *issuer, h, c []byte) string {
			return i.keys[0].sign(append([]byte(`{"alg":"none",`), h[1:]...), c)
		}), want: oidc.BadToken},

		// What it is signed over.
		{name: "changed after it was signed", before: signed(func(i *issuer, h, c []byte) string {
			parts := strings.Split(i.keys[0].sign(h, c), ".")
			parts[1] = b64([]byte(strings.Replace(string(c), "u-1", "u-2", 1)))
			return strings.Join(parts, ".")
		}), want: oidc.BadSignature},
		{name: "the signature of another", before: signed(func(i *issuer, h, c []byte) string {
			return b64(h) + "." + b64(c) + "." + b64(i.keys[0].signature("x.y"))
		}), want: oidc.BadSignature},
		{name: "no signature", before: signed(func(_ *issuer, h, c []byte) string { return b64(h) + "." + b64(c) + "." }), want: oidc.BadSignature},
		{name: "half a signature", before: signed(func(i *issuer, h, c []byte) string {
			s := i.keys[0].signature(b64(h) + "." + b64(c))
			return b64(h) + "." + b64(c) + "." + b64(s[:32])
		}), want: oidc.BadSignature},
		{name: "a signature of zeros", before: signed(func(_ *issuer, h, c []byte) string {
			return b64(h) + "." + b64(c) + "." + b64(make([]byte, 64))
		}), want: oidc.BadSignature},
		{name: "a signature in another form", before: signed(func(i *issuer, h, c []byte) string {
			sum := sha256.Sum256([]byte(b64(h) + "." + b64(c)))
			s, err := i.keys[0].private.Sign(rand.Reader, sum[:], crypto.SHA256)
			require.NoError(i.t, err)
			var rs struct{ R, S *big.Int }
			_, err = asn1.Unmarshal(s, &rs)
			require.NoError(i.t, err)
			require.True(i.t, ecdsa.VerifyASN1(i.keys[0].private.Public().(*ecdsa.PublicKey), sum[:], s))
			return b64(h) + "." + b64(c) + "." + b64(s)
		}), want: oidc.BadSignature},

		// When.
		{name: "expired", before: in("exp", -time.Hour), want: oidc.ExpiredToken},
		{name: "expired by more than clocks differ", before: in("exp", -62*time.Second), want: oidc.ExpiredToken},
		{name: "no expiry", before: set("exp", nil), want: oidc.BadToken},
		{name: "the expiry is a string", before: set("exp", "4102444800"), want: oidc.BadToken},
		{name: "the expiry is beyond all times", before: set("exp", json.RawMessage("1e300")), want: oidc.BadToken},
		{name: "the expiry is negative", before: set("exp", -1), want: oidc.BadToken},
		{name: "the expiry is null", before: set("exp", json.RawMessage("null")), want: oidc.BadToken},
		{name: "not yet good", before: in("nbf", 62*time.Second), want: oidc.NotYet},
		{name: "good from a string on", before: set("nbf", "1"), want: oidc.BadToken},
		{name: "issued in the future", before: in("iat", 62*time.Second), want: oidc.NotYet},
		{name: "issued at no time", before: set("iat", nil), want: oidc.BadToken},
		{name: "issued before the log-in began", before: in("iat", -63*time.Second), want: oidc.IssuedEarly},

		// For which log-in.
		{name: "no nonce", before: set("nonce", nil), want: oidc.WrongNonce},
		{name: "an empty nonce", before: set("nonce", ""), want: oidc.WrongNonce},
		{name: "another nonce", before: set("nonce", b64(make([]byte, 32))), want: oidc.WrongNonce},
		{name: "a nonce that is a list", before: func(i *issuer) {
			i.claims = func(c map[string]any) { c["nonce"] = []any{c["nonce"]} }
		}, want: oidc.WrongNonce},
		{name: "the token of an earlier log-in", then: func(a *attempt) {
			var earlier string
			a.answer = func(m map[string]any) { earlier = m["id_token"].(string) }
			_, err := login(a.t.Context(), a.issuer, a.p)
			require.NoError(a.t, err)
			a.answer = func(m map[string]any) { m["id_token"] = earlier }
		}, want: oidc.WrongNonce},
		{name: "another access token", before: func(i *issuer) { i.answer = func(m map[string]any) { m["access_token"] = "access-of-eve-1" } }, want: oidc.WrongHash},
		{name: "the whole hash of the access token", before: func(i *issuer) {
			i.claims = func(c map[string]any) {
				sum := sha256.Sum256([]byte("access-" + c["nonce"].(string)[:10]))
				c["at_hash"] = b64(sum[:])
			}
		}, want: oidc.WrongHash},
		{name: "an empty hash of the access token", before: set("at_hash", ""), want: oidc.WrongHash},
		{name: "a hash that is a number", before: set("at_hash", 7), want: oidc.BadToken},

		// Its form.
		{name: "no ID token", before: func(i *issuer) { i.answer = one("id_token", nil) }, want: oidc.NoToken},
		{name: "an ID token that is none", before: func(i *issuer) { i.answer = one("id_token", []string{"x"}) }, want: oidc.NoToken},
		{name: "an empty ID token", before: func(i *issuer) { i.answer = one("id_token", "") }, want: oidc.NoToken},
		{name: "one dot", before: signed(func(_ *issuer, h, c []byte) string { return b64(h) + "." + b64(c) }), want: oidc.BadToken},
		{name: "encrypted", before: signed(func(i *issuer, h, c []byte) string { return i.keys[0].sign(h, c) + ".AAAA.AAAA" }), want: oidc.BadToken},
		{name: "as JSON", before: signed(func(i *issuer, h, c []byte) string {
			p := strings.Split(i.keys[0].sign(h, c), ".")
			return string(mustJSON(map[string]any{"payload": p[1], "protected": p[0], "signature": p[2]}))
		}), want: oidc.BadToken},
		{name: "with padding", before: signed(func(i *issuer, h, c []byte) string {
			input := b64(h) + "." + base64.URLEncoding.EncodeToString(append(c, "  "[:1+len(c)%3%2]...))
			if !strings.Contains(input, "=") {
				input += "="
			}
			return input + "." + b64(i.keys[0].signature(input))
		}), want: oidc.BadToken},
		{name: "with line breaks", before: signed(func(i *issuer, h, c []byte) string { return strings.Replace(i.keys[0].sign(h, c), ".", ".\n", 1) }),
			want: oidc.BadToken},
		{name: "with bits to spare", before: signed(func(i *issuer, h, c []byte) string {
			s := i.keys[0].sign(h, c) // 64 bytes leave 4 bits
			last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", s[len(s)-1])
			return s[:len(s)-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last|1:][:1]
		}), want: oidc.BadToken},
		{name: "too long", before: set("x", strings.Repeat("x", oidc.MaxToken)), want: oidc.BadToken},
		{name: "too many claims", before: func(i *issuer) {
			i.claims = func(c map[string]any) {
				for n := range 1000 {
					c[fmt.Sprint("x", n)] = 1
				}
			}
		}, want: oidc.BadToken},
		{name: "claims that are a list", before: signed(func(i *issuer, h, c []byte) string {
			return i.keys[0].sign(h, []byte("["+string(c)+"]"))
		}), want: oidc.BadToken},
		{name: "claims with something behind", before: signed(func(i *issuer, h, c []byte) string {
			return i.keys[0].sign(h, append(c, `{"sub":"root"}`...))
		}), want: oidc.BadToken},
		{name: "claims without an end", before: signed(func(i *issuer, h, c []byte) string { return i.keys[0].sign(h, c[:len(c)-1]) }), want: oidc.BadToken},
		{name: "no claims", before: signed(func(i *issuer, h, _ []byte) string { return i.keys[0].sign(h, nil) }), want: oidc.BadToken},
		{name: "deep claims", before: also(`"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)), want: oidc.BadToken},
		{name: "an access token", before: head("typ", "at+jwt"), want: oidc.BadToken},
		{name: "a token to log out with", before: head("typ", "logout+jwt"), want: oidc.BadToken},
		{name: "a type that is a number", before: head("typ", 7), want: oidc.BadToken},

		// What it says of who it is.
		{name: "groups that are objects", before: set("groups", []any{map[string]any{"name": "a"}}), want: oidc.BadClaims},
		{name: "groups that are an object", before: set("groups", map[string]any{"a": true}), want: oidc.BadClaims},
		{name: "groups that are numbers", before: set("groups", []any{"a", 0}), want: oidc.BadClaims},
		{name: "groups that are null", before: set("groups", json.RawMessage("null")), want: oidc.BadClaims},
		{name: "too many groups", before: func(i *issuer) {
			var all []string
			for n := range oidc.MaxGroups + 1 {
				all = append(all, fmt.Sprint("g", n))
			}
			i.claims = one("groups", all)
		}, want: oidc.TooManyGroups},
		{name: "groups that lie nowhere", before: set("_claim_names", map[string]any{"groups": "src1"}), want: oidc.BadToken},
	})
}

func TestCallbacksThatAreRefused(t *testing.T) {
	t.Parallel()
	query := func(f func(q url.Values)) func(*attempt) { return func(a *attempt) { a.query(f) } }
	run(t, []attack{
		{name: "no state", then: query(func(q url.Values) { q.Del("state") }), want: oidc.BadCallback},
		{name: "an empty state", then: query(func(q url.Values) { q.Set("state", "") }), want: oidc.BadCallback},
		{name: "the state twice", then: query(func(q url.Values) { q.Add("state", q.Get("state")) }), want: oidc.BadCallback},
		{name: "another state", then: query(func(q url.Values) { q.Set("state", b64(make([]byte, 32))) }), want: oidc.WrongState},
		{name: "a part of the state", then: query(func(q url.Values) { q.Set("state", q.Get("state")[:42]) }), want: oidc.WrongState},
		{name: "no code", then: query(func(q url.Values) { q.Del("code") }), want: oidc.BadCallback},
		{name: "an empty code", then: query(func(q url.Values) { q.Set("code", "") }), want: oidc.BadCallback},
		{name: "two codes", then: query(func(q url.Values) { q.Add("code", "other-code") }), want: oidc.BadCallback},
		{name: "a code and an error", then: query(func(q url.Values) { q.Set("error", "access_denied") }), want: oidc.BadCallback},
		{name: "nothing", then: func(a *attempt) { a.back.RawQuery = "" }, want: oidc.BadCallback},
		{name: "no address", then: func(a *attempt) { a.back = nil }, want: oidc.BadCallback},
		{name: "what is no query", then: func(a *attempt) { a.back.RawQuery += "&x=%zz" }, want: oidc.BadCallback},
		{name: "semicolons", then: func(a *attempt) { a.back.RawQuery = strings.ReplaceAll(a.back.RawQuery, "&", ";") }, want: oidc.BadCallback},
		{name: "too long", then: query(func(q url.Values) { q.Set("x", strings.Repeat("x", oidc.MaxCallback)) }), want: oidc.BadCallback},
		{name: "the path of another provider", then: func(a *attempt) { a.back.Path = "/login/other" }, want: oidc.BadCallback},

		{name: "another issuer", then: query(func(q url.Values) { q.Set("iss", "https://evil.example") }), want: oidc.OtherIssuer},
		{name: "the issuer with a slash", then: query(func(q url.Values) { q.Set("iss", q.Get("iss")+"/") }), want: oidc.OtherIssuer},
		{name: "no issuer, though one is promised", then: query(func(q url.Values) { q.Del("iss") }), want: oidc.OtherIssuer},
		{name: "an empty issuer", then: query(func(q url.Values) { q.Set("iss", "") }), want: oidc.BadCallback},
		{name: "the issuer twice", then: query(func(q url.Values) { q.Add("iss", "https://evil.example") }), want: oidc.BadCallback},
		{name: "another issuer, though none is promised", before: func(i *issuer) {
			i.document = func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") }
		}, then: query(func(q url.Values) { q.Set("iss", "https://evil.example") }), want: oidc.OtherIssuer},

		{name: "no log-in was begun", then: func(a *attempt) { a.pending = "" }, want: oidc.NotBegun},
		{name: "a log-in that nobody began", then: func(a *attempt) { a.pending = oidc.Pending(b64(make([]byte, 32))) }, want: oidc.NotBegun},
		{name: "a log-in that is none", then: func(a *attempt) { a.pending += "/../x" }, want: oidc.NotBegun},
		{name: "a long log-in", then: func(a *attempt) { a.pending = oidc.Pending(strings.Repeat("A", 1<<20)) }, want: oidc.NotBegun},
		{name: "the callback of another browser", then: func(a *attempt) { // who is to be logged in as somebody else
			to, _, err := a.p.Begin(a.t.Context())
			require.NoError(a.t, err)
			a.back = a.authorize(to)
		}, want: oidc.WrongState},
		{name: "the log-in of another provider", then: func(a *attempt) { // of the same Scratch
			shared := pool.NewMemoryScratch()
			mine := a.provider(func(c *oidc.Config) { c.Scratch = shared })
			evil := newIssuer(a.t)
			theirs := evil.provider(func(c *oidc.Config) { c.Scratch, c.Name = shared, "evil" })
			to, pending, err := theirs.Begin(a.t.Context())
			require.NoError(a.t, err)
			a.back, a.pending = evil.authorize(to), pending
			_, err = mine.Finish(a.t.Context(), a.pending, a.back)
			require.ErrorIs(a.t, err, oidc.NotBegun)
		}, want: oidc.NotBegun},
		{name: "the log-in of another client", then: func(a *attempt) {
			shared := pool.NewMemoryScratch()
			other := a.provider(func(c *oidc.Config) { c.Scratch, c.ClientID, c.Secret = shared, "public", notify.Secret{} })
			to, pending, err := other.Begin(a.t.Context())
			require.NoError(a.t, err)
			_, err = a.provider(func(c *oidc.Config) { c.Scratch = shared }).Finish(a.t.Context(), pending, a.authorize(to))
			require.ErrorIs(a.t, err, oidc.NotBegun)
			a.pending = pending
		}, want: oidc.NotBegun},
		{name: "the callback a second time", then: func(a *attempt) {
			_, err := a.p.Finish(a.t.Context(), a.pending, a.back)
			require.NoError(a.t, err)
		}, want: oidc.NotBegun},

		{name: "a code of somebody else's log-in", then: func(a *attempt) { // whose verifier is another
			to, _, err := a.p.Begin(a.t.Context())
			require.NoError(a.t, err)
			stolen := a.authorize(to).Query().Get("code")
			a.query(func(q url.Values) { q.Set("code", stolen) })
		}, want: oidc.Denied},
		{name: "a code a second time", then: func(a *attempt) {
			used := a.back.Query().Get("code")
			_, err := a.p.Finish(a.t.Context(), a.pending, a.back)
			require.NoError(a.t, err)
			to, pending, err := a.p.Begin(a.t.Context())
			require.NoError(a.t, err)
			a.pending, a.back = pending, a.authorize(to)
			a.query(func(q url.Values) { q.Set("code", used) })
		}, want: oidc.Denied},
		{name: "a code that is none", then: query(func(q url.Values) { q.Set("code", "<script>alert(1)</script>\r\nX: y") }), want: oidc.Denied},

		{name: "the user has said no", then: query(func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }), want: oidc.Denied},
		{name: "an error that nobody knows", then: query(func(q url.Values) {
			q.Del("code")
			q.Set("error", "<b>call 555-1234 and say your password</b>")
			q.Set("error_description", "<b>likewise</b>")
		}), want: oidc.Denied},
		{name: "two errors", then: query(func(q url.Values) { q.Del("code"); q["error"] = []string{"access_denied", "server_error"} }), want: oidc.BadCallback},
		{name: "an error of another log-in", then: query(func(q url.Values) { q.Del("code"); q.Set("error", "access_denied"); q.Set("state", "x") }), want: oidc.WrongState},
	})
}

// at has the issuer do something else at a path.
func at(path string, f http.HandlerFunc) func(i *issuer) {
	return func(i *issuer) { i.serve[path] = f }
}

const document = "/.well-known/openid-configuration"

func says(name string, v any) func(i *issuer) {
	return func(i *issuer) { i.document = one(name, v) }
}

// endless answers for as long as somebody reads, which is not to be long.
func endless(path, begin string) func(i *issuer) {
	return func(i *issuer) {
		var sent atomic.Int64
		i.serve[path] = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for n, err := w.Write([]byte(begin)); err == nil; n, err = w.Write([]byte(strings.Repeat(" ", 64<<10))) {
				sent.Add(int64(n))
			}
		}
		i.t.Cleanup(func() { require.Less(i.t, sent.Load(), int64(16<<20), "bytes, with what lies in buffers") })
	}
}

// inner is a server within the operator's network, which nobody may be led to.
func inner(t testing.TB) (url string, asked func() int) {
	t.Helper()
	n := make(chan struct{}, 100)
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n <- struct{}{} }))
	t.Cleanup(s.Close)
	return s.URL, func() int { return len(n) }
}

func TestProvidersThatAreRefused(t *testing.T) {
	t.Parallel()
	moved := func(path string) func(i *issuer) {
		return func(i *issuer) {
			to, asked := inner(i.t)
			i.serve[path] = func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
			i.t.Cleanup(func() { require.Zero(i.t, asked()) })
		}
	}
	fails := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_ = r.ParseForm()
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(strings.ReplaceAll(body, "{form}", r.Form.Encode())))
		}
	}
	garbage := func(w http.ResponseWriter, r *http.Request) { // no HTTP, with what it was sent
		_ = r.ParseForm()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = conn.Write([]byte(r.Form.Encode() + r.Header.Get("Authorization") + "\r\n\r\n"))
			_ = conn.Close()
		}
	}
	userinfo := func(c *oidc.Config) { c.Userinfo = true }
	run(t, []attack{
		{name: "it is another", before: says("issuer", "https://evil.example"), want: pool.ErrUnavailable},
		{name: "it is nobody", before: says("issuer", nil), want: pool.ErrUnavailable},
		{name: "a document without end", before: endless(document, `{"x":"`), want: pool.ErrUnavailable},
		{name: "a document elsewhere", before: moved(document), want: pool.ErrUnavailable},
		{name: "a document that says it twice", before: func(i *issuer) {
			i.serve[document] = func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%[2]s/authorize","token_endpoint":"%[2]s/token","jwks_uri":"https://evil.example","jwks_uri":"%[2]s/keys"}`, i.URL, i.URL)
			}
		}, want: pool.ErrUnavailable},
		{name: "no document", before: at(document, fails(404, "{}")), want: pool.ErrUnavailable},
		{name: "a document that is none", before: at(document, fails(200, "<html>")), want: pool.ErrUnavailable},
		{name: "no answer in time", config: func(c *oidc.Config) { c.Timeout = 50 * time.Millisecond },
			before: at(document, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), want: context.DeadlineExceeded},
		{name: "no token endpoint", before: says("token_endpoint", nil), want: pool.ErrUnavailable},
		{name: "a token endpoint in the clear", before: says("token_endpoint", "http://id.example/token"), want: pool.ErrUnavailable},
		{name: "no keys", before: says("jwks_uri", nil), want: pool.ErrUnavailable},
		{name: "keys in the clear", before: says("jwks_uri", "http://id.example/keys"), want: pool.ErrUnavailable},
		{name: "keys in a file", before: says("jwks_uri", "file:///etc/passwd"), want: pool.ErrUnavailable},
		{name: "a page that is a program", before: says("authorization_endpoint", "javascript:alert(1)"), want: pool.ErrUnavailable},
		{name: "a page to sign out that is a program", before: says("end_session_endpoint", "javascript:alert(1)"), want: pool.ErrUnavailable},
		{name: "no userinfo endpoint, though it is to be asked", config: userinfo, before: says("userinfo_endpoint", nil), want: pool.ErrUnavailable},
		{name: "no codes", before: says("response_types_supported", []string{"id_token"}), want: pool.ErrUnavailable},
		{name: "no PKCE but the plain one", before: says("code_challenge_methods_supported", []string{"plain"}), want: pool.ErrUnavailable},
		{name: "no algorithm but none", before: says("id_token_signing_alg_values_supported", []string{"none", "HS256"}), want: pool.ErrUnavailable},
		{name: "no way to say who we are", before: says("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}), want: pool.ErrUnavailable},
		{name: "a secret is wanted", config: func(c *oidc.Config) { c.ClientID, c.Secret = "public", notify.Secret{} },
			before: says("token_endpoint_auth_methods_supported", []string{"client_secret_basic"}), want: pool.ErrUnavailable},
		{name: "a certificate that nobody has signed", config: func(c *oidc.Config) { c.RootCAs = x509.NewCertPool() }, want: pool.ErrUnavailable},
		{name: "within our network", config: func(c *oidc.Config) { c.Guard = notify.Guard{} }, want: notify.ErrForbidden},
		{name: "keys within our network", before: says("jwks_uri", "https://10.0.0.1/keys"), want: notify.ErrForbidden},
		{name: "keys at a service for machines", before: says("jwks_uri", "https://169.254.169.254/latest"), want: notify.ErrForbidden},
		{name: "tokens within our network", before: says("token_endpoint", "https://[fd00::1]/token"), want: notify.ErrForbidden},
		{name: "on a port that is not allowed", config: func(c *oidc.Config) { c.Guard.Ports = []uint16{1} }, want: notify.ErrForbidden},

		{name: "keys elsewhere", before: moved("/keys"), want: pool.ErrUnavailable},
		{name: "keys without end", before: endless("/keys", `{"keys":[`), want: pool.ErrUnavailable},
		{name: "keys that are none", before: at("/keys", fails(200, `{"keys":{}}`)), want: pool.ErrUnavailable},
		{name: "no keys in the set", before: at("/keys", fails(200, `{"keys":[]}`)), want: pool.ErrUnavailable},
		{name: "two sets of keys", before: at("/keys", fails(200, `{"keys":[],"keys":[]}`)), want: pool.ErrUnavailable},
		{name: "too many keys", before: func(i *issuer) {
			i.jwks = func(set map[string]any) {
				for range oidc.MaxKeys {
					set["keys"] = append(set["keys"].([]any), i.keys[0].jwk())
				}
			}
		}, want: pool.ErrUnavailable},
		{name: "a secret key", before: func(i *issuer) {
			i.jwks = func(set map[string]any) {
				d, err := i.keys[0].private.(*ecdsa.PrivateKey).Bytes()
				require.NoError(i.t, err)
				set["keys"].([]any)[0].(map[string]any)["d"] = b64(d)
			}
		}, want: pool.ErrUnavailable},

		{name: "tokens elsewhere", before: moved("/token"), want: pool.ErrUnavailable}, // which would send the code there
		{name: "tokens without end", before: endless("/token", `{"access_token":"`), want: pool.ErrUnavailable},
		{name: "an error that repeats the code", before: at("/token", fails(500, `{"error":"server_error","error_description":"{form}"}`)), want: pool.ErrUnavailable},
		{name: "an error without a form", before: at("/token", fails(502, `{form}`)), want: pool.ErrUnavailable},
		{name: "an error that is a code", before: at("/token", fails(400, `{"error":"{form}"}`)), want: pool.ErrUnavailable},
		{name: "tokens that are none", before: at("/token", fails(200, `["{form}"]`)), want: pool.ErrUnavailable},
		{name: "no HTTP", before: at("/token", garbage), want: pool.ErrUnavailable},
		{name: "no access token", before: func(i *issuer) { i.answer = one("access_token", nil) }, want: pool.ErrUnavailable},
		{name: "another secret", config: func(c *oidc.Config) { c.Secret = notify.NewSecret("another-secret") }, want: pool.ErrUnavailable},

		{name: "somebody else", config: userinfo, before: func(i *issuer) { i.userinfo = one("sub", "root") }, want: oidc.WrongSubject},
		{name: "somebody", config: userinfo, before: func(i *issuer) { i.userinfo = one("sub", nil) }, want: oidc.WrongSubject},
		{name: "what is said is none", config: userinfo, before: at("/userinfo", fails(200, "eyJ.eyJ.x")), want: oidc.BadUserinfo},
		{name: "who it is twice", config: userinfo, before: at("/userinfo", fails(200, `{"sub":"root","sub":"u-1"}`)), want: oidc.BadUserinfo},
		{name: "somebody and something behind", config: userinfo, before: at("/userinfo", fails(200, `{"sub":"u-1"}{"sub":"root"}`)), want: oidc.BadUserinfo},
		{name: "groups there that are none", config: userinfo, before: func(i *issuer) { i.userinfo = one("groups", 7) }, want: oidc.BadClaims},
		{name: "what is said elsewhere", config: userinfo, before: moved("/userinfo"), want: pool.ErrUnavailable},
		{name: "what is said without end", config: userinfo, before: endless("/userinfo", `{"x":"`), want: pool.ErrUnavailable},
		{name: "a token that is not for asking", config: userinfo, before: func(i *issuer) { i.answer = one("token_type", "DPoP") }, want: oidc.BadUserinfo},
	})
}

// A name that leads into our network is no better than an address there; what counts is where a connection is made to.
func TestNamesThatLeadInside(t *testing.T) {
	t.Parallel()
	addrs, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip", "localhost")
	require.NoError(t, err)
	require.NotEmpty(t, addrs)
	_, asked := inner(t)
	i := newIssuer(t)
	p := i.provider(func(c *oidc.Config) {
		c.Issuer = strings.Replace(c.Issuer, "127.0.0.1", "localhost", 1)
		c.Guard = notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	})
	_, _, err = p.Begin(t.Context())
	require.ErrorIs(t, err, notify.ErrForbidden)
	require.Zero(t, asked())
	require.Zero(t, i.times(document))
}
