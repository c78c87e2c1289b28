package oidc_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

const (
	clientID     = "berthage"
	clientSecret = "client-secret-4711/+ü"
	redirectURL  = "https://berthage.example/login/corp"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// signer is a key of an issuer. It writes tokens by hand, right ones and wrong ones.
type signer struct {
	kid, alg string
	private  crypto.Signer
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newSigner(kid, alg string) signer {
	var err error
	s := signer{kid: kid, alg: alg}
	switch alg {
	case "RS256", "PS256":
		s.private = rsaKey()
	case "ES256":
		s.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		s.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, s.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		panic(alg)
	}
	if err != nil {
		panic(err)
	}
	return s
}

// jwk is the public key as it is published.
func (s signer) jwk() map[string]any {
	out := map[string]any{"kid": s.kid, "alg": s.alg, "use": "sig"}
	switch k := s.private.Public().(type) {
	case *rsa.PublicKey:
		maps.Copy(out, map[string]any{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())})
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		size := (len(point) - 1) / 2
		maps.Copy(out, map[string]any{"kty": "EC", "crv": k.Params().Name, "x": b64(point[1 : 1+size]), "y": b64(point[1+size:])})
	case ed25519.PublicKey:
		maps.Copy(out, map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(k)})
	}
	return out
}

// signature signs what stands before the second dot, by the key's algorithm whatever that says.
func (s signer) signature(input string) []byte {
	digest := sha256.Sum256([]byte(input))
	var (
		sig []byte
		err error
	)
	switch k := s.private.(type) {
	case *rsa.PrivateKey:
		if s.alg == "PS256" {
			sig, err = rsa.SignPSS(rand.Reader, k, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, digest[:])
		}
	case *ecdsa.PrivateKey:
		sum := digest[:]
		if s.alg == "ES384" {
			wide := sha512.Sum384([]byte(input))
			sum = wide[:]
		}
		r, v, e := ecdsa.Sign(rand.Reader, k, sum)
		size := (k.Params().BitSize + 7) / 8
		sig, err = make([]byte, 2*size), e
		r.FillBytes(sig[:size])
		v.FillBytes(sig[size:])
	case ed25519.PrivateKey:
		sig = ed25519.Sign(k, []byte(input))
	}
	if err != nil {
		panic(err)
	}
	return sig
}

// sign returns a token of a header and claims in JSON.
func (s signer) sign(header, claims []byte) string {
	input := b64(header) + "." + b64(claims)
	return input + "." + b64(s.signature(input))
}

func hs256(header, claims, secret []byte) string {
	input := b64(header) + "." + b64(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + b64(mac.Sum(nil))
}

// grant is what an issuer keeps of a code.
type grant struct {
	client, redirect, challenge, nonce string
	subject                            map[string]any
}

// issuer is a provider of OpenID Connect, in this process. Without its hooks it does all right.
type issuer struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	keys   []signer // published; the first signs
	grants map[string]grant
	asked  map[string]int // requests, by path
	said   []string       // what nobody may repeat
	now    func() time.Time
	user   map[string]any // claims of whoever logs in

	// The hooks change what it would do.
	document func(map[string]any)
	jwks     func(map[string]any)
	header   func(map[string]any)
	claims   func(map[string]any)
	token    func(header, claims []byte) string // signs in another way
	answer   func(map[string]any)               // of the token endpoint
	userinfo func(map[string]any)
	serve    map[string]http.HandlerFunc // instead, by path

	wait func(time.Duration) // in a bubble
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	return startIssuer(t, httptest.NewTLSServer)
}

// startIssuer starts one, which may be a plain one on loopback.
func startIssuer(t testing.TB, start func(http.Handler) *httptest.Server) *issuer {
	t.Helper()
	i := &issuer{
		t: t, keys: []signer{newSigner("k1", "ES256")}, grants: map[string]grant{}, asked: map[string]int{}, now: time.Now, serve: map[string]http.HandlerFunc{},
		user: map[string]any{"sub": "u-1", "name": "Ada Lovelace", "preferred_username": "ada", "email": "ada@example.com", "email_verified": true},
	}
	i.Server = start(http.HandlerFunc(i.handle))
	t.Cleanup(i.Close)
	return i
}

// roots returns who signs its certificate.
func (i *issuer) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	if c := i.Certificate(); c != nil {
		pool.AddCert(c)
	}
	return pool
}

// config is that of a provider that works.
func (i *issuer) config() oidc.Config {
	return oidc.Config{
		Name: "corp", Issuer: i.URL, ClientID: clientID, Secret: notify.NewSecret(clientSecret), Redirect: redirectURL, Scratch: pool.NewMemoryScratch(),
		GroupsClaim: "groups", RootCAs: i.roots(), Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
}

func (i *issuer) provider(change ...func(*oidc.Config)) *oidc.Provider {
	i.t.Helper()
	c := i.config()
	for _, f := range change {
		f(&c)
	}
	p, err := oidc.New(c)
	require.NoError(i.t, err)
	return p
}

// with changes the issuer while requests may be under way.
func (i *issuer) with(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) times(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// secrets returns what it has said that nobody may repeat.
func (i *issuer) secrets() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string{clientSecret, url.QueryEscape(clientSecret)}, i.said...)
}

// authorize is the browser at the provider: it logs in and is sent back.
func (i *issuer) authorize(to string) *url.URL {
	i.t.Helper()
	u, err := url.Parse(to)
	require.NoError(i.t, err)
	require.Equal(i.t, i.URL+"/authorize", u.Scheme+"://"+u.Host+u.Path)
	q := u.Query()
	require.Equal(i.t, "code", q.Get("response_type"))
	require.Equal(i.t, "S256", q.Get("code_challenge_method"))
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		require.Len(i.t, q.Get(name), 43, name)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	code := "code-" + b64([]byte(fmt.Sprint(len(i.grants), q.Get("state")[:8])))
	i.grants[code] = grant{q.Get("client_id"), q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("nonce"), i.user}
	i.said = append(i.said, code, q.Get("state"), q.Get("nonce"))
	back, err := url.Parse(q.Get("redirect_uri"))
	require.NoError(i.t, err)
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {i.URL}}.Encode()
	return back
}

func (i *issuer) handle(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked[r.URL.Path]++
	instead := i.serve[r.URL.Path]
	i.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	status, out := http.StatusOK, map[string]any{}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		out = map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"userinfo_endpoint": i.URL + "/userinfo", "end_session_endpoint": i.URL + "/logout?from=here",
			"id_token_signing_alg_values_supported": []string{"none", "HS256", "RS256", "PS256", "ES256", "EdDSA"}, "response_types_supported": []string{"code"},
			"code_challenge_methods_supported": []string{"S256", "plain"}, "authorization_response_iss_parameter_supported": true,
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic", "none"},
		}
		call(i.document, out)
	case "/keys":
		var all []any
		for _, k := range i.keys {
			all = append(all, k.jwk())
		}
		out = map[string]any{"keys": all}
		call(i.jwks, out)
	case "/token":
		status, out = i.change(r)
	case "/userinfo":
		maps.Copy(out, i.user)
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer access-") {
			status, out = http.StatusUnauthorized, map[string]any{"error": "invalid_token"}
		}
		call(i.userinfo, out)
	default:
		status = http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(mustJSON(out))
}

func call(f func(map[string]any), v map[string]any) {
	if f != nil {
		f(v)
	}
}

// change is the token endpoint, which is strict, so that tests of what it is sent can fail.
func (i *issuer) change(r *http.Request) (int, map[string]any) {
	no := func(code string) (int, map[string]any) {
		return http.StatusBadRequest, map[string]any{"error": code, "error_description": "repeats " + r.Form.Encode()}
	}
	if r.Method != http.MethodPost || r.ParseForm() != nil || r.URL.RawQuery != "" || r.Form.Get("grant_type") != "authorization_code" {
		return no("invalid_request")
	}
	id, secret, basic := r.BasicAuth()
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if !basic {
		id, secret = r.Form.Get("client_id"), r.Form.Get("client_secret")
	}
	if id == clientID && secret != clientSecret || id != clientID && id != "public" {
		return no("invalid_client")
	}
	g, ok := i.grants[r.Form.Get("code")]
	delete(i.grants, r.Form.Get("code"))
	i.said = append(i.said, r.Form.Get("code_verifier"))
	challenge := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
	if !ok || g.client != id || g.redirect != r.Form.Get("redirect_uri") || g.challenge != b64(challenge[:]) {
		return no("invalid_grant")
	}
	key, now := i.keys[0], i.now()
	access := "access-" + g.nonce[:10]
	claims := map[string]any{
		"iss": i.URL, "aud": id, "exp": now.Add(5 * time.Minute).Unix(), "iat": now.Unix(), "nonce": g.nonce, "at_hash": hashOf(key.alg, access),
	}
	maps.Copy(claims, g.subject)
	header := map[string]any{"alg": key.alg, "kid": key.kid, "typ": "JWT"}
	call(i.claims, claims)
	call(i.header, header)
	sign := key.sign
	if i.token != nil {
		sign = i.token
	}
	token := sign(mustJSON(header), mustJSON(claims))
	i.said = append(i.said, access)
	for _, part := range append(strings.Split(token, "."), token) {
		if len(part) > 10 {
			i.said = append(i.said, part)
		}
	}
	out := map[string]any{"id_token": token, "access_token": access, "token_type": "Bearer", "expires_in": 300, "refresh_token": "refresh-never-kept"}
	i.said = append(i.said, "refresh-never-kept")
	call(i.answer, out)
	return http.StatusOK, out
}

// hashOf is at_hash of OpenID Connect Core 1.0, section 3.1.3.6.
func hashOf(alg, access string) string {
	if alg == "EdDSA" {
		sum := sha512.Sum512([]byte(access))
		return b64(sum[:32])
	}
	sum := sha256.Sum256([]byte(access))
	return b64(sum[:16])
}
