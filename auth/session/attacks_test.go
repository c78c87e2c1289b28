package session_test

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/pool"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

// forge signs whatever is given, without the library that verifies it.
func forge(header, payload string, sign func([]byte) []byte) string {
	text := b64([]byte(header)) + "." + b64([]byte(payload))
	return text + "." + b64(sign([]byte(text)))
}

func edSign(seed []byte) func([]byte) []byte {
	return func(b []byte) []byte { return ed25519.Sign(ed25519.NewKeyFromSeed(seed), b) }
}

func hmacSign(key []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(b)
		return h.Sum(nil)
	}
}

// object is a good header or payload, with changes; nil takes a member away.
func object(t testing.TB, of, changes map[string]any) string {
	t.Helper()
	of = maps.Clone(of)
	for k, v := range changes {
		if v == nil {
			delete(of, k)
		} else {
			of[k] = v
		}
	}
	b, err := json.Marshal(of)
	require.NoError(t, err)
	return string(b)
}

type m = map[string]any

// TestAttacksOnTokens has tokens that are wrong in one way each; but for that, and where it says so, they are signed by the right key.
func TestAttacksOnTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, pool.NewMemoryScratch())
		hs := session.NewKey(session.HS256, time.Now().Add(-2*time.Hour))
		ed := h.keys[0]
		h.keys = session.Keys{ed, hs} // the second retired long ago; that of HS256 is tried below as one that is not
		public := ed25519.NewKeyFromSeed(ed.Secret).Public().(ed25519.PublicKey)
		der, err := x509.MarshalPKIXPublicKey(public)
		require.NoError(t, err)
		publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		_, stranger, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)

		p := h.begin(t, "uma")
		parts := strings.Split(p.Access, ".")
		var head, body m
		require.NoError(t, json.Unmarshal(unb64(t, parts[0]), &head))
		dec := json.NewDecoder(bytes.NewReader(unb64(t, parts[1])))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&body))
		now := time.Now().Unix()
		right := edSign(ed.Secret)
		hd, bd := func(c m) string { return object(t, head, c) }, func(c m) string { return object(t, body, c) }
		signed := func(header, payload string) string { return forge(header, payload, right) }
		raw := func(header, payload, signature string) string {
			return b64([]byte(header)) + "." + b64([]byte(payload)) + "." + signature
		}

		_, err = h.in(signed(hd(nil), bd(nil)))
		require.NoError(t, err, "what is forged with the right key and nothing wrong is good: the table tests what it says")

		var packed bytes.Buffer
		w, err := flate.NewWriter(&packed, 9)
		require.NoError(t, err)
		_, _ = w.Write([]byte(bd(nil)))
		require.NoError(t, w.Close())
		r, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		rs, err := jwt.SigningMethodRS256.Sign(b64([]byte(hd(m{"alg": "RS256"})))+"."+b64([]byte(bd(nil))), r)
		require.NoError(t, err)
		ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		es, err := jwt.SigningMethodES256.Sign(b64([]byte(hd(m{"alg": "ES256"})))+"."+b64([]byte(bd(nil))), ec)
		require.NoError(t, err)
		twice := func(of, name, value string) string {
			return strings.Replace(of, "{", fmt.Sprintf("{%q:%s,", name, value), 1)
		}
		sig := parts[2]
		last := sig[len(sig)-1]
		slack := sig[:len(sig)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", last)^1])

		attacks := map[string]string{
			// The algorithm.
			"alg none":                                raw(hd(m{"alg": "none"}), bd(nil), ""),
			"alg None":                                raw(hd(m{"alg": "None"}), bd(nil), ""),
			"alg nOnE, with a signature":              raw(hd(m{"alg": "nOnE"}), bd(nil), sig),
			"alg none, signed":                        signed(hd(m{"alg": "none"}), bd(nil)),
			"alg empty":                               signed(hd(m{"alg": ""}), bd(nil)),
			"no alg":                                  signed(hd(m{"alg": nil}), bd(nil)),
			"alg a list":                              signed(hd(m{"alg": []string{"EdDSA"}}), bd(nil)),
			"alg null":                                signed(strings.Replace(hd(nil), `"EdDSA"`, "null", 1), bd(nil)),
			"alg in another case":                     signed(hd(m{"alg": "eddsa"}), bd(nil)),
			"HMAC by the public key":                  forge(hd(m{"alg": "HS256"}), bd(nil), hmacSign(public)),
			"HMAC by the public key in PEM":           forge(hd(m{"alg": "HS256"}), bd(nil), hmacSign(publicPEM)),
			"HMAC by the public key in DER":           forge(hd(m{"alg": "HS256"}), bd(nil), hmacSign(der)),
			"HMAC by the seed, under the key of it":   forge(hd(m{"alg": "HS256"}), bd(nil), hmacSign(ed.Secret)),
			"HMAC by nothing":                         forge(hd(m{"alg": "HS256"}), bd(nil), hmacSign(nil)),
			"HMAC under EdDSA":                        forge(hd(nil), bd(nil), hmacSign(ed.Secret)),
			"HS512":                                   forge(hd(m{"alg": "HS512"}), bd(nil), hmacSign(ed.Secret)),
			"RSA by a stranger":                       raw(hd(m{"alg": "RS256"}), bd(nil), b64(rs)),
			"ECDSA by a stranger":                     raw(hd(m{"alg": "ES256"}), bd(nil), b64(es)),
			"ECDSA with zeros":                        raw(hd(m{"alg": "ES256"}), bd(nil), b64(make([]byte, 64))),
			"EdDSA under the key of an HMAC, retired": forge(hd(m{"kid": hs.ID}), bd(nil), edSign(hs.Secret)),
			"an HMAC key that is retired":             forge(hd(m{"alg": "HS256", "kid": hs.ID}), bd(nil), hmacSign(hs.Secret)),

			// The key.
			"a stranger's key":                forge(hd(nil), bd(nil), edSign(stranger.Seed())),
			"a key of zeros":                  forge(hd(nil), bd(nil), edSign(make([]byte, 32))),
			"no kid":                          signed(hd(m{"kid": nil}), bd(nil)),
			"kid empty":                       signed(hd(m{"kid": ""}), bd(nil)),
			"kid a path":                      forge(hd(m{"kid": "../../../../dev/null"}), bd(nil), edSign(make([]byte, 32))),
			"kid a path that is absolute":     forge(hd(m{"alg": "HS256", "kid": "/proc/sys/kernel/randomize_va_space"}), bd(nil), hmacSign([]byte("2\n"))),
			"kid SQL":                         signed(hd(m{"kid": "x' UNION SELECT 'key"}), bd(nil)),
			"kid a command":                   signed(hd(m{"kid": "x|id"}), bd(nil)),
			"kid a URL":                       signed(hd(m{"kid": "https://evil.example/key"}), bd(nil)),
			"kid with NUL":                    signed(hd(m{"kid": ed.ID + "\x00"}), bd(nil)),
			"kid a number":                    signed(hd(m{"kid": 0}), bd(nil)),
			"kid a list":                      signed(hd(m{"kid": []string{ed.ID}}), bd(nil)),
			"kid unknown":                     signed(hd(m{"kid": "0123456789abcdef"}), bd(nil)),
			"kid in upper case":               signed(hd(m{"kid": strings.ToUpper("a" + ed.ID)}), bd(nil)),
			"a key of its own (jwk)":          forge(hd(m{"jwk": m{"kty": "OKP", "crv": "Ed25519", "x": b64(stranger.Public().(ed25519.PublicKey))}}), bd(nil), edSign(stranger.Seed())),
			"a key from elsewhere (jku)":      forge(hd(m{"jku": "https://evil.example/jwks"}), bd(nil), edSign(stranger.Seed())),
			"a certificate (x5c)":             forge(hd(m{"x5c": []string{b64(der)}}), bd(nil), edSign(stranger.Seed())),
			"a certificate from elsewhere":    signed(hd(m{"x5u": "https://evil.example/cert"}), bd(nil)),
			"a header that must be known":     signed(hd(m{"crit": []string{"exp"}}), bd(nil)),
			"a header that must be known, b":  signed(hd(m{"crit": []string{"b64"}, "b64": false}), bd(nil)),
			"payload not encoded (b64 false)": signed(hd(m{"b64": false}), bd(nil)),
			"a packed payload (zip)":          signed(hd(m{"zip": "DEF"}), packed.String()),
			"an inner type (cty)":             signed(hd(m{"cty": "JWT"}), bd(nil)),
			"another type":                    signed(hd(m{"typ": "JWT"}), bd(nil)),
			"a type in another case":          signed(hd(m{"typ": "AT+JWT"}), bd(nil)),
			"no type":                         signed(hd(m{"typ": nil}), bd(nil)),
			"type of an ID token":             signed(hd(m{"typ": "id+jwt"}), bd(nil)),

			// The signature.
			"no signature":              raw(hd(nil), bd(nil), ""),
			"a signature of zeros":      raw(hd(nil), bd(nil), b64(make([]byte, 64))),
			"a short signature":         raw(hd(nil), bd(nil), sig[:40]),
			"a long signature":          raw(hd(nil), bd(nil), sig+"AAAA"),
			"a signature of another":    raw(hd(nil), bd(m{"sub": "root"}), sig),
			"slack bits":                parts[0] + "." + parts[1] + "." + slack,
			"padding":                   p.Access + "==",
			"plain base64":              parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(sig) + "=",
			"a line break inside":       parts[0] + "." + parts[1] + "." + sig[:10] + "\n" + sig[10:],
			"a line break in a part":    parts[0][:10] + "\n" + parts[0][10:] + "." + parts[1] + "." + sig,
			"a space before":            " " + p.Access,
			"two tokens":                p.Access + "." + p.Access,
			"four parts":                p.Access + ".AAAA",
			"two parts":                 parts[0] + "." + parts[1],
			"five parts (JWE)":          parts[0] + ".." + parts[1] + "." + sig + ".AAAA",
			"empty parts":               "..",
			"a JSON serialisation":      `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + sig + `"}`,
			"the header changed":        b64([]byte(hd(m{"typ": "at+jwt "}))) + "." + parts[1] + "." + sig,
			"the payload re-encoded":    parts[0] + "." + b64([]byte(" "+string(unb64(t, parts[1])))) + "." + sig,
			"the signature in the kid":  raw(hd(m{"kid": sig}), bd(nil), ""),
			"a header that is no JSON":  forge("alg=EdDSA", bd(nil), right),
			"a header that is a list":   forge("["+hd(nil)+"]", bd(nil), right),
			"a header with a tail":      forge(hd(nil)+"{}", bd(nil), right),
			"a payload with a tail":     signed(hd(nil), bd(nil)+" x"),
			"a payload that is a list":  signed(hd(nil), "["+bd(nil)+"]"),
			"a payload that is null":    signed(hd(nil), "null"),
			"a payload that is no JSON": signed(hd(nil), "sub=root"),
			"an empty payload":          signed(hd(nil), "{}"),
			"a nested token":            signed(hd(nil), p.Access),

			// What it says.
			"another issuer":             signed(hd(nil), bd(m{"iss": "https://evil.example"})),
			"an issuer that begins so":   signed(hd(nil), bd(m{"iss": "https://berthd.example/"})),
			"no issuer":                  signed(hd(nil), bd(m{"iss": nil})),
			"a list of issuers":          signed(hd(nil), bd(m{"iss": []string{"https://berthd.example"}})),
			"another audience":           signed(hd(nil), bd(m{"aud": "other"})),
			"no audience":                signed(hd(nil), bd(m{"aud": nil})),
			"several audiences":          signed(hd(nil), bd(m{"aud": []string{"other", "berthd"}})),
			"a list of one audience":     signed(hd(nil), bd(m{"aud": []string{"berthd"}})),
			"expired":                    signed(hd(nil), bd(m{"exp": now, "iat": now - 60, "nbf": now - 60})),
			"no end":                     signed(hd(nil), bd(m{"exp": nil})),
			"an end that is null":        signed(hd(nil), strings.Replace(bd(nil), fmt.Sprintf(`"exp":%v`, body["exp"]), `"exp":null`, 1)),
			"an end as text":             signed(hd(nil), bd(m{"exp": "9999999999"})),
			"an end as a fraction":       signed(hd(nil), bd(m{"exp": json.Number("9999999999.5")})),
			"an end beyond counting":     signed(hd(nil), bd(m{"exp": json.Number("1e300")})),
			"an end beyond int64":        signed(hd(nil), bd(m{"exp": json.Number("99999999999999999999")})),
			"a negative end":             signed(hd(nil), bd(m{"exp": -1})),
			"too long a life":            signed(hd(nil), bd(m{"exp": now + 901})),
			"a life of a hundred years":  signed(hd(nil), bd(m{"exp": now + 3_000_000_000})),
			"of the future":              signed(hd(nil), bd(m{"nbf": now + 6, "iat": now + 6, "exp": now + 60})),
			"made in the future":         signed(hd(nil), bd(m{"iat": now + 60, "nbf": now + 60, "exp": now + 120})),
			"not yet":                    signed(hd(nil), bd(m{"nbf": now + 60})),
			"no beginning":               signed(hd(nil), bd(m{"nbf": nil})),
			"not said when made":         signed(hd(nil), bd(m{"iat": nil})),
			"made after it begins":       signed(hd(nil), bd(m{"nbf": now - 60})),
			"ends before it begins":      signed(hd(nil), bd(m{"nbf": now + 4, "exp": now + 3})),
			"no subject":                 signed(hd(nil), bd(m{"sub": nil})),
			"an empty subject":           signed(hd(nil), bd(m{"sub": ""})),
			"a list of subjects":         signed(hd(nil), bd(m{"sub": []string{"root"}})),
			"a subject that is a path":   signed(hd(nil), bd(m{"sub": "../root"})),
			"a subject that is nobody":   signed(hd(nil), bd(m{"sub": "ghost"})),
			"no id":                      signed(hd(nil), bd(m{"jti": nil})),
			"an id that is a key":        signed(hd(nil), bd(m{"jti": "x/../../session"})),
			"a long id":                  signed(hd(nil), bd(m{"jti": strings.Repeat("A", 300)})),
			"no session":                 signed(hd(nil), bd(m{"sid": nil})),
			"a session that is a key":    signed(hd(nil), bd(m{"sid": "AAAA/AAAA"})),
			"no generation":              signed(hd(nil), bd(m{"gen": nil})),
			"an old generation":          signed(hd(nil), bd(m{"gen": 0})),
			"a generation to come":       signed(hd(nil), bd(m{"gen": 999})),
			"another's generation":       signed(hd(nil), bd(m{"sub": "root"})),
			"a claim that is not known":  signed(hd(nil), bd(m{"admin": true})),
			"a role smuggled in":         signed(hd(nil), bd(m{"role": "admin"})),
			"a claim in another case":    signed(hd(nil), bd(m{"SUB": "root"})),
			"groups as text":             signed(hd(nil), bd(m{"grp": "admins"})),
			"groups of numbers":          signed(hd(nil), bd(m{"grp": []int{1}})),
			"many groups":                signed(hd(nil), bd(m{"grp": make([]string, 33)})),
			"a subject twice":            signed(hd(nil), twice(bd(nil), "sub", `"root"`)),
			"a subject twice, escaped":   signed(hd(nil), strings.Replace(bd(nil), "{", `{"\u0073ub":"root",`, 1)),
			"an end twice":               signed(hd(nil), twice(bd(nil), "exp", "9999999999")),
			"an algorithm twice":         signed(twice(hd(nil), "alg", `"none"`), bd(nil)),
			"a kid twice":                signed(twice(hd(nil), "kid", `"x"`), bd(nil)),
			"huge":                       signed(hd(nil), bd(m{"grp": []string{strings.Repeat("g", 1<<20)}})),
			"a huge header":              signed(hd(m{"kid": strings.Repeat("k", 1<<20)}), bd(nil)),
			"many dots":                  strings.Repeat(".", 1<<20),
			"deeply nested":              signed(hd(nil), strings.Replace(bd(nil), "{", `{"grp":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+",", 1)),
			"a byte order mark":          signed("\ufeff"+hd(nil), bd(nil)),
			"not UTF-8":                  signed(hd(nil), strings.Replace(bd(nil), `"uma"`, "\"uma\xff\"", 1)),
			"a Cyrillic letter":          signed(hd(nil), bd(m{"sub": "um\u0430"})),
			"a refresh token":            p.Refresh,
			"a refresh token with dots":  p.Refresh[:20] + "." + p.Refresh[20:40] + "." + p.Refresh[40:],
			"the access token, reversed": reversed(p.Access),
		}
		require.GreaterOrEqual(t, len(attacks), 40)
		for name, token := range attacks {
			who, err := h.in(token)
			require.ErrorIs(t, err, auth.ErrUnauthenticated, name)
			require.Empty(t, who, name)
			require.Less(t, len(err.Error()), 200, name)
		}
		_, err = h.in(attacks["expired"])
		require.Equal(t, auth.Expired, reasonOf(t, err))
		_, err = h.in(forge(hd(nil), bd(m{"exp": now - 6, "iat": now - 60, "nbf": now - 60}), edSign(stranger.Seed())))
		require.Equal(t, auth.BadCredentials, reasonOf(t, err), "of what is not signed nothing is said")
		_, err = h.in(p.Access)
		require.NoError(t, err, "none of it has ended anything")

		// The other way round: a key of HMAC, and what is signed for another algorithm under it.
		h.keys = session.Keys{session.NewKey(session.HS256, time.Now().Add(-time.Hour))}
		hs = h.keys[0]
		p = h.begin(t, "uma")
		_, err = h.in(p.Access)
		require.NoError(t, err)
		kid := m{"kid": hs.ID}
		for name, token := range map[string]string{
			"EdDSA by the secret":   forge(hd(kid), bd(nil), edSign(hs.Secret)),
			"none":                  raw(hd(m{"kid": hs.ID, "alg": "none"}), bd(nil), ""),
			"HS256 by another":      forge(hd(m{"kid": hs.ID, "alg": "HS256"}), bd(nil), hmacSign([]byte("secret"))),
			"HS384 of the same key": forge(hd(m{"kid": hs.ID, "alg": "HS384"}), bd(nil), hmacSign(hs.Secret)),
		} {
			_, err = h.in(token)
			require.ErrorIs(t, err, auth.ErrUnauthenticated, name)
		}
		_, err = h.in(forge(hd(m{"kid": hs.ID, "alg": "HS256"}), bd(nil), hmacSign(hs.Secret)))
		require.NoError(t, err)
	})
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// TestNoCharacterMayDiffer: a token that differs in one character is not good.
func TestNoCharacterMayDiffer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, pool.NewMemoryScratch())
	access := h.begin(t, "uma").Access
	for n := range access {
		for _, c := range []byte("Aa0-.") {
			b := []byte(access)
			if b[n] == c {
				continue
			}
			b[n] = c
			_, err := h.in(string(b))
			require.ErrorIs(t, err, auth.ErrUnauthenticated, "%d %c", n, c)
		}
	}
}

// FuzzAuthenticate: whatever is shown, only what was issued is good.
func FuzzAuthenticate(f *testing.F) {
	h := newHouse(f, pool.NewMemoryScratch())
	good := h.begin(f, "uma")
	f.Add(good.Access)
	f.Add(good.Refresh)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := h.in(token)
		if err == nil {
			require.Equal(t, good.Access, token)
			return
		}
		require.ErrorIs(t, err, auth.ErrUnauthenticated)
		if token != good.Refresh {
			_, err = h.Refresh(t.Context(), token)
			require.ErrorIs(t, err, auth.ErrUnauthenticated)
		}
	})
}
