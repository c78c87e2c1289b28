package daemon_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

const clientSecret = "of-berthd-at-corp-4711"

// corp is a provider of OpenID Connect, which does what is right unless it is told otherwise.
type corp struct {
	*httptest.Server
	t       *testing.T
	public  ed25519.PublicKey
	private ed25519.PrivateKey

	mu    sync.Mutex
	user  object              // claims of whoever logs in
	age   time.Duration       // of the tokens that it signs
	down  bool                // it answers nothing that can be used
	asked map[string]askedFor // by code
	said  []string            // what nobody may repeat
}

// askedFor is what somebody has logged in for.
type askedFor struct{ redirect, challenge, nonce string }

func newCorp(t *testing.T) *corp {
	t.Helper()
	c := &corp{t: t, asked: make(map[string]askedFor), user: object{"sub": "4711", "preferred_username": "ada", "groups": []string{"operators", "of-ada"}}}
	var err error
	c.public, c.private, err = ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	c.Server = httptest.NewTLSServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

// with changes it while requests may be under way.
func (c *corp) with(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// approve is what somebody does who logs in there: it returns where the browser is sent then.
func (c *corp) approve(to string) *url.URL {
	c.t.Helper()
	u, err := url.Parse(to)
	require.NoError(c.t, err)
	require.Equal(c.t, c.URL+"/authorize", u.Scheme+"://"+u.Host+u.Path)
	q := u.Query()
	require.Equal(c.t, "berthd", q.Get("client_id"))
	require.Equal(c.t, "S256", q.Get("code_challenge_method"))
	require.Equal(c.t, "openid profile email groups", q.Get("scope"))
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		require.Len(c.t, q.Get(name), 43, name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	code := fmt.Sprintf("code-%d-%s", len(c.asked), q.Get("state")[:8])
	c.asked[code] = askedFor{q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("nonce")}
	c.said = append(c.said, code, q.Get("state"), q.Get("nonce"))
	back, err := url.Parse(q.Get("redirect_uri"))
	require.NoError(c.t, err)
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	return back
}

func (c *corp) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out any
	switch {
	case c.down:
		http.Error(w, "down", http.StatusBadGateway)
		return
	case r.URL.Path == "/.well-known/openid-configuration":
		out = object{"issuer": c.URL, "authorization_endpoint": c.URL + "/authorize", "token_endpoint": c.URL + "/token", "jwks_uri": c.URL + "/keys"}
	case r.URL.Path == "/keys":
		out = object{"keys": []object{{"kid": "k", "alg": "EdDSA", "use": "sig", "kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(c.public)}}}
	case r.URL.Path == "/token":
		out = c.token(r)
	}
	w.Header().Set("Content-Type", "application/json")
	if out == nil {
		w.WriteHeader(http.StatusBadRequest)
		out = object{"error": "invalid_grant"}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// token changes a code into tokens, once, for who has begun and knows the secret.
func (c *corp) token(r *http.Request) any {
	id, secret, _ := r.BasicAuth()
	_ = r.ParseForm()
	a, ok := c.asked[r.Form.Get("code")]
	c.asked[r.Form.Get("code")] = askedFor{}
	challenge := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
	if id != "berthd" || secret != clientSecret || !ok || a.redirect != r.Form.Get("redirect_uri") || a.challenge != base64.RawURLEncoding.EncodeToString(challenge[:]) {
		return nil
	}
	now := time.Now().Add(-c.age)
	claims := object{"iss": c.URL, "aud": "berthd", "nonce": a.nonce, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(claims, c.user)
	body, _ := json.Marshal(claims)
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	signed := input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(c.private, []byte(input)))
	c.said = append(c.said, signed, "access-of-"+a.nonce)
	return object{"id_token": signed, "access_token": "access-of-" + a.nonce, "token_type": "Bearer"}
}

// outside is a daemon behind a proxy that speaks TLS, with a provider.
type outside struct {
	*rig
	corp  *corp
	front *httptest.Server
}

// atCorp serves one, whose configuration of the provider may be changed.
func atCorp(t *testing.T, change func(*config.OIDC), edits ...edit) *outside {
	t.Helper()
	x := &outside{corp: newCorp(t)}
	x.front = httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		to, _ := url.Parse(x.d.URL())
		p.SetURL(to)
		p.Out.Host = p.In.Host
	}})
	t.Cleanup(x.front.Close)
	dir := t.TempDir()
	o := config.OIDC{
		Name: "corp", Label: "The Corp", Issuer: x.corp.URL, ClientID: "berthd", SecretFile: filepath.Join(dir, "secret"), CAFile: filepath.Join(dir, "ca.pem"),
		Scopes: []string{"profile", "email", "groups"}, GroupsClaim: "groups", Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	if change != nil {
		change(&o)
	}
	require.NoError(t, os.WriteFile(o.SecretFile, []byte(clientSecret+"\n"), 0o600))
	require.NoError(t, os.WriteFile(o.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.corp.Certificate().Raw}), 0o600))
	x.rig = start(t, 1, append(edits, func(c *config.Config, _ *daemon.Options) { c.PublicURL, c.OIDC = x.front.URL, []config.OIDC{o} })...)
	return x
}

// visitor is a browser that comes by the public address.
type visitor struct {
	x    *outside
	http *http.Client
}

func (x *outside) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	require.NoError(x.t, err)
	return &visitor{x, &http.Client{Transport: x.front.Client().Transport, Jar: jar, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// call is a request as a page of the daemon's makes it, unless the headers say otherwise.
func (v *visitor) call(method, path string, headers ...string) *answer {
	v.x.t.Helper()
	r, err := http.NewRequest(method, v.x.front.URL+path, nil)
	require.NoError(v.x.t, err)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := v.http.Do(r)
	require.NoError(v.x.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(v.x.t, err)
	return &answer{t: v.x.t, status: res.StatusCode, header: res.Header, body: b}
}

// begin has the browser begin, and returns where it is sent.
func (v *visitor) begin() string {
	v.x.t.Helper()
	a := v.call(http.MethodPost, "/api/v1/login/providers/corp").want(http.StatusOK)
	v.x.corp.with(func() {
		v.x.corp.said = append(v.x.corp.said, strings.Split(strings.Split(a.header.Get("Set-Cookie"), "=")[1], ";")[0])
	})
	to, _ := a.at("to").(string)
	return to
}

// comeBack has the provider send the browser back, as from a page of its own.
func (v *visitor) comeBack(to *url.URL) *answer {
	v.x.t.Helper()
	return v.call(http.MethodGet, to.RequestURI(), "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate")
}

// logIn logs somebody in, who is let in.
func (v *visitor) logIn() {
	v.x.t.Helper()
	a := v.comeBack(v.x.corp.approve(v.begin())).want(http.StatusSeeOther)
	require.Equal(v.x.t, "/", a.header.Get("Location"), "%s", v.x.log)
}

func (v *visitor) me() *answer { v.x.t.Helper(); return v.call(http.MethodGet, mePath) }
