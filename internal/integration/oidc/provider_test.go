package oidc_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/oidc"
	judge "github.com/berthage/berthage/internal/integration/oidc"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// relay stands before a real provider.
type relay struct {
	*httptest.Server

	mu     sync.Mutex
	tokens func(answer map[string]any) // changes what the token endpoint has answered
	said   []string
}

// start starts the provider and the relay before it. Where it cannot be run the test is skipped.
func start(t *testing.T, env ...string) *relay {
	t.Helper()
	dir, err := judge.Install(t.Context())
	if err != nil {
		t.Skipf("no real provider of OpenID Connect: %v", err)
	}
	r := new(relay)
	var inner *judge.Provider
	r.Server = httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { inner.Rewrite(p) }, ModifyResponse: r.change})
	t.Cleanup(r.Close)
	inner, err = judge.Start(t.Context(), dir, r.URL, env...)
	require.NoError(t, err)
	t.Cleanup(func() {
		if said := inner.Stop(); t.Failed() {
			t.Log(said)
		}
	})
	return r
}

// change is what the relay does to answers.
func (r *relay) change(resp *http.Response) error {
	if resp.Request.URL.Path != "/token" || resp.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tokens != nil {
		r.tokens(answer)
	}
	for _, name := range []string{"id_token", "access_token"} {
		if s, ok := answer[name].(string); ok {
			r.said = append(r.said, s)
		}
	}
	if body, err = json.Marshal(answer); err != nil {
		return err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func (r *relay) with(tokens func(map[string]any)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = tokens
}

// provider returns a client of the provider.
func (r *relay) provider(t *testing.T, client string, change ...func(*oidc.Config)) *oidc.Provider {
	t.Helper()
	c := oidc.Config{
		Name: "corp", Issuer: r.URL, ClientID: client, Secret: notify.NewSecret("secret-of-" + client), Redirect: "https://berthage.example/login/corp",
		Scratch: pool.NewMemoryScratch(), Scopes: []string{"profile", "email", "groups"}, GroupsClaim: "groups", Userinfo: true, Timeout: time.Minute,
		Guard: notify.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
	if client == "public" {
		c.Secret = notify.Secret{}
	}
	for _, f := range change {
		f(&c)
	}
	p, err := oidc.New(c)
	require.NoError(t, err)
	return p
}

// browser is one that follows redirects until it is sent back to Berthage.
type browser struct {
	t    *testing.T
	http *http.Client
	page string
	at   *url.URL
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t: t, http: &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Host == "berthage.example" || len(via) > 10 {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// open goes somewhere, with a form if there is one.
func (b *browser) open(to string, form url.Values) {
	b.t.Helper()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, to, strings.NewReader(body))
	require.NoError(b.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.http.Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	b.page, b.at = string(page), resp.Request.URL
	if location, err := resp.Location(); err == nil {
		b.at = location
	}
}

// submit sends the form of the page.
func (b *browser) submit(form url.Values) {
	b.t.Helper()
	m := regexp.MustCompile(`<form[^>]* action="([^"]+)"`).FindStringSubmatch(b.page)
	require.NotNil(b.t, m, "no form on %s: %s", b.at, b.page)
	to, err := b.at.Parse(m[1])
	require.NoError(b.t, err)
	b.open(to.String(), form)
}

// login goes where Begin says, logs in, agrees, and returns what it is sent back with.
func (b *browser) login(to, name string) *url.URL {
	b.t.Helper()
	b.open(to, nil)
	if strings.Contains(b.page, `name="login"`) {
		b.submit(url.Values{"prompt": {"login"}, "login": {name}, "password": {"any"}})
	}
	if b.at.Host != "berthage.example" {
		b.submit(url.Values{"prompt": {"consent"}})
	}
	require.Equal(b.t, "berthage.example", b.at.Host, "%s: %s", b.at, b.page)
	return b.at
}
