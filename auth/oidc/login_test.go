package oidc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

// Nothing that a test has a provider do goes on when the test is over.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// login has somebody log in.
func login(ctx context.Context, i *issuer, p *oidc.Provider) (oidc.Claims, error) {
	to, pending, err := p.Begin(ctx)
	if err != nil {
		return oidc.Claims{}, err
	}
	return p.Finish(ctx, pending, i.authorize(to))
}

func TestLogin(t *testing.T) {
	t.Parallel()
	ada := oidc.Claims{Provider: "corp", Subject: "u-1", Name: "Ada Lovelace", Username: "ada", Email: "ada@example.com"}
	for _, c := range []struct {
		name   string
		issuer func(i *issuer)
		config func(c *oidc.Config)
		want   func(c *oidc.Claims)
	}{
		{name: "as it comes"},
		{name: "RS256", issuer: func(i *issuer) { i.keys = []signer{newSigner("a", "RS256")} }},
		{name: "PS256", issuer: func(i *issuer) { i.keys = []signer{newSigner("a", "PS256")} }},
		{name: "EdDSA", issuer: func(i *issuer) { i.keys = []signer{newSigner("a", "EdDSA")} }},
		{name: "one algorithm", config: func(c *oidc.Config) { c.Algorithms = []oidc.Algorithm{oidc.ES256} }},
		{name: "several keys", issuer: func(i *issuer) { i.keys = append(i.keys, newSigner("k2", "ES256"), newSigner("k3", "RS256")) }},
		{name: "keys that cannot be used beside", issuer: func(i *issuer) {
			i.jwks = func(set map[string]any) {
				set["keys"] = append(set["keys"].([]any), map[string]any{"kty": "oct", "k": "AAAA"}, map[string]any{"kty": "OKP", "crv": "X448", "x": "AAAA"},
					"no key", map[string]any{"kty": "RSA", "n": "AQAB", "e": "AQAB"})
			}
		}},
		{name: "no kid, and one key that fits", issuer: func(i *issuer) {
			i.keys = append(i.keys, newSigner("k3", "RS256"))
			i.header = func(h map[string]any) { delete(h, "kid") }
		}},
		{name: "no typ", issuer: func(i *issuer) { i.header = func(h map[string]any) { delete(h, "typ") } }},
		{name: "no at_hash", issuer: func(i *issuer) { i.claims = func(c map[string]any) { delete(c, "at_hash") } }},
		{name: "several audiences, and it was us who asked", issuer: func(i *issuer) {
			i.claims = func(c map[string]any) { c["aud"], c["azp"] = []string{"other", clientID}, clientID }
		}},
		{name: "clocks differ by less than a minute", issuer: func(i *issuer) { i.now = func() time.Time { return time.Now().Add(50 * time.Second) } }},
		{name: "clocks differ by less than a minute, the other way", issuer: func(i *issuer) { i.now = func() time.Time { return time.Now().Add(-50 * time.Second) } }},
		{name: "times in fractions", issuer: func(i *issuer) {
			i.claims = func(c map[string]any) { c["iat"] = float64(time.Now().UnixMilli()) / 1000 }
		}},
		{name: "no issuer in the callback, where none is promised", issuer: func(i *issuer) {
			i.document = func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") }
		}},
		{name: "says little of itself", issuer: func(i *issuer) {
			i.document = func(d map[string]any) {
				for name := range d {
					if strings.HasSuffix(name, "supported") {
						delete(d, name)
					}
				}
			}
		}},
		{name: "the secret in the body", issuer: func(i *issuer) {
			i.document = func(d map[string]any) { d["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"} }
		}},
		{name: "a client without a secret", config: func(c *oidc.Config) { c.ClientID, c.Secret = "public", notify.Secret{} }},

		{name: "groups", issuer: func(i *issuer) {
			i.user["groups"] = []string{"b", "a", "b", "evil:b", "", "new\nline", strings.Repeat("x", 251)}
		},
			want: func(c *oidc.Claims) { c.Groups = []string{"corp:a", "corp:b", "corp:evil:b"} }},
		{name: "one group", issuer: func(i *issuer) { i.user["groups"] = "admin" }, want: func(c *oidc.Claims) { c.Groups = []string{"corp:admin"} }},
		{name: "groups of another claim", issuer: func(i *issuer) {
			i.user["groups"], i.user["https://corp.example/teams"] = []string{"no"}, []string{"yes"}
		}, config: func(c *oidc.Config) { c.GroupsClaim = "https://corp.example/teams" }, want: func(c *oidc.Claims) { c.Groups = []string{"corp:yes"} }},
		{name: "groups that nobody asked for", issuer: func(i *issuer) { i.user["groups"] = []string{"no"} }, config: func(c *oidc.Config) { c.GroupsClaim = "" }},
		{name: "roles and groups where they count for nothing", issuer: func(i *issuer) {
			i.user["role"], i.user["roles"], i.user["Groups"], i.user["admin"] = "admin", []string{"admin"}, []string{"corp:admin"}, true
			i.user["berthage"], i.user["realm_access"] = map[string]any{"role": "admin"}, map[string]any{"roles": []string{"admin"}}
		}},
		{name: "groups that lie elsewhere", issuer: func(i *issuer) {
			i.user["_claim_names"] = map[string]any{"groups": "src1"}
			i.user["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": i.URL + "/elsewhere", "access_token": "x"}}
		}},

		{name: "an address that is not verified", issuer: func(i *issuer) { i.user["email_verified"] = false }, want: func(c *oidc.Claims) { c.Email = "" }},
		{name: "an address without a word on it", issuer: func(i *issuer) { delete(i.user, "email_verified") }, want: func(c *oidc.Claims) { c.Email = "" }},
		{name: "an address that is verified in a string", issuer: func(i *issuer) { i.user["email_verified"] = "true" }, want: func(c *oidc.Claims) { c.Email = "" }},
		{name: "an address that is none", issuer: func(i *issuer) { i.user["email"] = "ada" }, want: func(c *oidc.Claims) { c.Email = "" }},
		{name: "names that cannot be printed", issuer: func(i *issuer) {
			i.user["name"], i.user["preferred_username"], i.user["email"] = "Ada\x1b[31m", 7, strings.Repeat("a", 300)+"@example.com"
		}, want: func(c *oidc.Claims) { c.Name, c.Username, c.Email = "", "", "" }},
		{name: "known by another claim", issuer: func(i *issuer) { i.user["upn"] = "ada@corp" }, config: func(c *oidc.Config) { c.NameClaim = "upn" },
			want: func(c *oidc.Claims) { c.Username = "ada@corp" }},
		{name: "known by an address", config: func(c *oidc.Config) { c.NameClaim = "email" }, want: func(c *oidc.Claims) { c.Username = c.Email }},
		{name: "known by an address that is not verified", issuer: func(i *issuer) { i.user["email_verified"] = false },
			config: func(c *oidc.Config) { c.NameClaim = "email" }, want: func(c *oidc.Claims) { c.Username, c.Email = "", "" }},
		{name: "known by what is no name", issuer: func(i *issuer) { i.user["upn"] = []string{"ada"} }, config: func(c *oidc.Config) { c.NameClaim = "upn" },
			want: func(c *oidc.Claims) { c.Username = "" }},

		{name: "asks for the user", config: func(c *oidc.Config) { c.Userinfo = true }, issuer: func(i *issuer) {
			i.user["groups"] = []string{"a"}
			i.claims = func(c map[string]any) {
				for _, name := range []string{"name", "preferred_username", "email", "email_verified", "groups"} {
					delete(c, name)
				}
			}
		}, want: func(c *oidc.Claims) { c.Groups = []string{"corp:a"} }},
		{name: "what the token says counts", config: func(c *oidc.Config) { c.Userinfo = true }, issuer: func(i *issuer) {
			i.user["groups"] = []string{"a"}
			i.userinfo = func(u map[string]any) {
				u["name"], u["email"], u["groups"] = "Eve", "eve@example.com", []string{"admin"}
			}
		}, want: func(c *oidc.Claims) { c.Groups = []string{"corp:a"} }},
		{name: "an address here, and the word there", config: func(c *oidc.Config) { c.Userinfo = true }, issuer: func(i *issuer) {
			i.claims = func(c map[string]any) { c["email"] = "eve@example.com"; delete(c, "email_verified") }
			i.userinfo = func(u map[string]any) { delete(u, "email") }
		}, want: func(c *oidc.Claims) { c.Email = "" }},
		{name: "no groups in the token are no groups", config: func(c *oidc.Config) { c.Userinfo = true }, issuer: func(i *issuer) {
			i.user["groups"] = []string{}
			i.userinfo = func(u map[string]any) { u["groups"] = []string{"admin"} }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			if c.issuer != nil {
				c.issuer(i)
			}
			var change []func(*oidc.Config)
			if c.config != nil {
				change = append(change, c.config)
			}
			got, err := login(t.Context(), i, i.provider(change...))
			require.NoError(t, err, "%v", causes(err))
			want := ada
			want.Issuer = i.URL
			if c.want != nil {
				c.want(&want)
			}
			require.Equal(t, want, got)
			require.Zero(t, i.times("/elsewhere"))
		})
	}
}

// causes returns all that an error unwraps to, as text.
func causes(err error) (out []string) {
	if err == nil {
		return nil
	}
	out = append(out, fmt.Sprintf("%v %+v %#v", err, err, err))
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		for _, e := range many.Unwrap() {
			out = append(out, causes(e)...)
		}
		return out
	}
	return append(out, causes(errors.Unwrap(err))...)
}

// Callback parameters that are not known change nothing, and tokens in a callback are not looked at.
func TestOtherParameters(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	p := i.provider()
	to, pending, err := p.Begin(t.Context())
	require.NoError(t, err)
	back := i.authorize(to)
	q := back.Query()
	q.Set("session_state", "x")
	q.Set("id_token", i.keys[0].sign([]byte(`{"alg":"ES256","kid":"k1"}`), []byte(`{"sub":"eve"}`)))
	q.Set("access_token", "y")
	back.RawQuery = q.Encode()
	got, err := p.Finish(t.Context(), pending, back)
	require.NoError(t, err)
	require.Equal(t, "u-1", got.Subject)
}

// What goes wrong with a callback that does not belong to a log-in leaves the log-in as it is; what belongs to it uses it up.
func TestLoginIsFinishedOnce(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	p := i.provider()
	to, pending, err := p.Begin(t.Context())
	require.NoError(t, err)
	back := i.authorize(to)
	forged := *back
	forged.RawQuery = "code=x&state=y"
	_, err = p.Finish(t.Context(), pending, &forged)
	require.ErrorIs(t, err, oidc.WrongState)
	_, err = p.Finish(t.Context(), pending, back)
	require.NoError(t, err)
	_, err = p.Finish(t.Context(), pending, back)
	require.ErrorIs(t, err, oidc.NotBegun)
	require.Equal(t, 1, i.times("/token"))
}

// Of many who bring the same callback at the same time one is let in.
func TestConcurrentLogins(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	p := i.provider()
	const browsers, each = 8, 4
	var all sync.WaitGroup
	in := make(chan string, browsers*each)
	for n := range browsers {
		all.Go(func() {
			to, pending, err := p.Begin(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			i.with(func() { i.user = map[string]any{"sub": fmt.Sprint("u-", n)} })
			back := i.authorize(to)
			var same sync.WaitGroup
			for range each {
				same.Go(func() {
					c, err := p.Finish(t.Context(), pending, back)
					switch {
					case err == nil:
						in <- c.Subject
					case !errors.Is(err, oidc.NotBegun):
						t.Error(err)
					}
				})
			}
			same.Wait()
		})
	}
	all.Wait()
	require.Len(t, in, browsers)
	require.Equal(t, 1, i.times("/keys"), "keys are fetched by one, for all")
	require.Equal(t, 1, i.times("/.well-known/openid-configuration"))
}

// bubble runs a test in virtual time with an issuer outside of it, whose clock is that of the bubble.
func bubble(t *testing.T, test func(t *testing.T, i *issuer)) {
	t.Helper()
	i := newIssuer(t)
	var (
		mu sync.Mutex
		at time.Time
	)
	i.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return at }
	synctest.Test(t, func(t *testing.T) {
		i.t = t
		tick := func() { mu.Lock(); defer mu.Unlock(); at = time.Now() }
		tick()
		i.wait = func(d time.Duration) { time.Sleep(d); tick() }
		test(t, i)
	})
	i.t = t
}

func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer) {
		p, old, next := i.provider(), i.keys[0], newSigner("k2", "ES256")
		_, err := login(t.Context(), i, p)
		require.NoError(t, err)

		// The provider signs with another key, and shows both. Within a minute of the last look nobody looks again.
		i.with(func() { i.keys = []signer{next, old} })
		i.wait(time.Second)
		_, err = login(t.Context(), i, p)
		require.ErrorIs(t, err, oidc.UnknownKey)
		require.Equal(t, 1, i.times("/keys"))
		i.wait(time.Minute)
		_, err = login(t.Context(), i, p)
		require.NoError(t, err)
		require.Equal(t, 2, i.times("/keys"))

		// Keys that nobody has are looked for once a minute, whoever sends them.
		i.with(func() { i.header = func(h map[string]any) { h["kid"] = fmt.Sprint("none-", i.asked["/token"]) } })
		i.wait(time.Minute)
		for range 20 {
			_, err = login(t.Context(), i, p)
			require.ErrorIs(t, err, oidc.UnknownKey)
			i.wait(time.Second)
		}
		require.Equal(t, 3, i.times("/keys"))
		i.with(func() { i.header = nil })
		_, err = login(t.Context(), i, p)
		require.NoError(t, err)
		require.Equal(t, 3, i.times("/keys"))

		// A key that is no longer shown is good for nobody after an hour, and a provider that does not show its keys lets nobody in.
		i.with(func() { i.keys = []signer{next} })
		i.wait(time.Hour)
		i.with(func() { i.token = old.sign; i.header = func(h map[string]any) { h["kid"] = old.kid } })
		_, err = login(t.Context(), i, p)
		require.ErrorIs(t, err, oidc.UnknownKey)
		i.with(func() { i.token, i.header, i.keys = nil, nil, []signer{next} })
		i.wait(time.Hour)
		i.with(func() { i.jwks = func(set map[string]any) { set["keys"] = []any{} } })
		_, err = login(t.Context(), i, p)
		require.ErrorIs(t, err, pool.ErrUnavailable)
		asked := i.times("/keys")
		_, err = login(t.Context(), i, p)
		require.ErrorIs(t, err, pool.ErrUnavailable)
		require.Equal(t, asked, i.times("/keys"), "not again within seconds")
		i.with(func() { i.jwks = nil })
		i.wait(5 * time.Second)
		_, err = login(t.Context(), i, p)
		require.NoError(t, err)
	})
}

func TestWhatIsSaidOfItselfIsAskedAgain(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer) {
		const where = "/.well-known/openid-configuration"
		p := i.provider()
		i.with(func() { i.document = func(d map[string]any) { d["issuer"] = "https://other.example" } })
		for range 3 {
			_, _, err := p.Begin(t.Context())
			require.ErrorIs(t, err, pool.ErrUnavailable)
		}
		require.Equal(t, 1, i.times(where))
		i.with(func() { i.document = nil })
		i.wait(5 * time.Second)
		_, err := login(t.Context(), i, p)
		require.NoError(t, err)
		i.wait(time.Hour)
		_, err = login(t.Context(), i, p)
		require.NoError(t, err)
		require.Equal(t, 3, i.times(where))
	})
}

// Who goes away before the provider has answered spoils it for nobody.
func TestCancelled(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	p := i.provider()
	ctx, cancel := context.WithCancel(t.Context())
	i.serve["/.well-known/openid-configuration"] = func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() }
	_, _, err := p.Begin(ctx)
	require.ErrorIs(t, err, context.Canceled)
	i.with(func() { clear(i.serve) })
	_, err = login(t.Context(), i, p)
	require.NoError(t, err)
}

func TestLoginsGetOld(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, i *issuer) {
		p := i.provider()
		to, pending, err := p.Begin(t.Context())
		require.NoError(t, err)
		back := i.authorize(to)
		i.wait(oidc.Patience - time.Second)
		_, err = p.Finish(t.Context(), pending, back)
		require.NoError(t, err)

		to, pending, err = p.Begin(t.Context())
		require.NoError(t, err)
		back = i.authorize(to)
		i.wait(oidc.Patience)
		_, err = p.Finish(t.Context(), pending, back)
		require.ErrorIs(t, err, oidc.NotBegun)
	})
}

func TestLogout(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	p := i.provider()
	to, err := p.Logout(t.Context(), "https://berthage.example/bye?x=1")
	require.NoError(t, err)
	u, err := url.Parse(to)
	require.NoError(t, err)
	require.Equal(t, i.URL+"/logout", u.Scheme+"://"+u.Host+u.Path)
	require.Equal(t, url.Values{"from": {"here"}, "client_id": {clientID}, "post_logout_redirect_uri": {"https://berthage.example/bye?x=1"}}, u.Query())
	to, err = p.Logout(t.Context(), "")
	require.NoError(t, err)
	require.NotContains(t, to, "post_logout")
	for _, back := range []string{"javascript:alert(1)", "/bye", "http://evil.example/"} {
		_, err = p.Logout(t.Context(), back)
		require.ErrorIs(t, err, pool.ErrInvalid)
	}

	without := newIssuer(t)
	without.document = func(d map[string]any) { delete(d, "end_session_endpoint") }
	to, err = without.provider().Logout(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, to)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := func() oidc.Config {
		return oidc.Config{Name: "corp", Issuer: "https://id.example", ClientID: "x", Redirect: redirectURL, Scratch: pool.NewMemoryScratch()}
	}
	p, err := oidc.New(good())
	require.NoError(t, err)
	require.Equal(t, "corp", p.Name())
	for field, changes := range map[string][]func(*oidc.Config){
		"Name": {func(c *oidc.Config) { c.Name = "" }, func(c *oidc.Config) { c.Name = "a:b" }, func(c *oidc.Config) { c.Name = "1a" },
			func(c *oidc.Config) { c.Name = strings.Repeat("a", 33) }},
		"Issuer": {func(c *oidc.Config) { c.Issuer = "" }, func(c *oidc.Config) { c.Issuer = "http://id.example" }, func(c *oidc.Config) { c.Issuer = "https://id.example?x=1" },
			func(c *oidc.Config) { c.Issuer = "https://id.example#x" }, func(c *oidc.Config) { c.Issuer = "https://a:b@id.example" }, func(c *oidc.Config) { c.Issuer = "http://localhost" }, func(c *oidc.Config) { c.Issuer = "http://192.0.2.1" },
			func(c *oidc.Config) { c.Issuer = "file:///etc/passwd" }},
		"Redirect":    {func(c *oidc.Config) { c.Redirect = "/login" }, func(c *oidc.Config) { c.Redirect = "http://berthage.example/login" }},
		"ClientID":    {func(c *oidc.Config) { c.ClientID = "" }, func(c *oidc.Config) { c.ClientID = "a\nb" }},
		"Secret":      {func(c *oidc.Config) { c.Secret = notify.NewSecret(strings.Repeat("x", 1025)) }},
		"Scratch":     {func(c *oidc.Config) { c.Scratch = nil }},
		"GroupsClaim": {func(c *oidc.Config) { c.GroupsClaim = "sub" }, func(c *oidc.Config) { c.GroupsClaim = "email" }, func(c *oidc.Config) { c.GroupsClaim = "a\x00" }},
		"NameClaim":   {func(c *oidc.Config) { c.NameClaim = "a\x00" }, func(c *oidc.Config) { c.NameClaim = strings.Repeat("a", 256) }},
		"Timeout":     {func(c *oidc.Config) { c.Timeout = time.Hour }, func(c *oidc.Config) { c.Timeout = -1 }},
		"Leeway":      {func(c *oidc.Config) { c.Leeway = 6 * time.Minute }, func(c *oidc.Config) { c.Leeway = -1 }},
		"Algorithms": {func(c *oidc.Config) { c.Algorithms = []oidc.Algorithm{"none"} }, func(c *oidc.Config) { c.Algorithms = []oidc.Algorithm{oidc.RS256, "HS256"} },
			func(c *oidc.Config) { c.Algorithms = []oidc.Algorithm{} }},
		"Scopes": {func(c *oidc.Config) { c.Scopes = []string{"offline_access"} }, func(c *oidc.Config) { c.Scopes = []string{"a b"} }, func(c *oidc.Config) { c.Scopes = []string{""} },
			func(c *oidc.Config) { c.Scopes = make([]string, 33) }},
	} {
		for n, change := range changes {
			c := good()
			change(&c)
			_, err := oidc.New(c)
			var e *pool.Error
			require.ErrorAs(t, err, &e, "%s %d", field, n)
			require.ErrorIs(t, err, pool.ErrInvalid)
			require.Equal(t, field, e.Field)
		}
	}
	local := good()
	local.Issuer, local.Redirect = "http://127.0.0.1:8080", "http://[::1]:1/login"
	_, err = oidc.New(local)
	require.NoError(t, err)
}

// Nothing of a log-in under way is shown by printing it.
func TestPendingIsNotShown(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	_, pending, err := i.provider().Begin(t.Context())
	require.NoError(t, err)
	require.Len(t, string(pending), 43)
	require.NotContains(t, fmt.Sprintf("%v %s %+v %#v %q", pending, pending, pending, pending, pending), string(pending))
	c, err := login(t.Context(), i, i.provider())
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", c, c, c, c), "ada")
}

// A Scratch that fails lets nobody in, whichever of its calls it is.
func TestScratchFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, call := range []string{"Get", "Put", "Delete"} {
		i := newIssuer(t)
		s := &failing{Scratch: pool.NewMemoryScratch(), call: call, err: &pool.Error{Kind: pool.ErrUnavailable, Cause: broken}}
		_, err := login(t.Context(), i, i.provider(func(c *oidc.Config) { c.Scratch = s }))
		require.ErrorIs(t, err, broken, call)
		require.NotErrorIs(t, err, auth.ErrUnauthenticated)
	}
	i := newIssuer(t)
	meanwhile := &failing{Scratch: pool.NewMemoryScratch(), call: "Delete", err: pool.ErrConflict}
	_, err := login(t.Context(), i, i.provider(func(c *oidc.Config) { c.Scratch = meanwhile }))
	require.ErrorIs(t, err, oidc.NotBegun, "somebody has finished it")
	require.Zero(t, i.times("/token"))

	s := pool.NewMemoryScratch()
	for _, raw := range []string{"", "{", "{}", `{"state":"x"}`, "null"} {
		p := i.provider(func(c *oidc.Config) { c.Scratch = &spoilt{s, []byte(raw)} })
		_, err := login(t.Context(), i, p)
		require.ErrorIs(t, err, pool.ErrCorrupt, raw)
	}
}

type failing struct {
	pool.Scratch
	call string
	err  error
}

func (f *failing) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if f.call == "Get" {
		return nil, 0, f.err
	}
	return f.Scratch.Get(ctx, key)
}

func (f *failing) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	if f.call == "Put" {
		return 0, f.err
	}
	return f.Scratch.Put(ctx, key, value, prev, ttl)
}

func (f *failing) Delete(ctx context.Context, key string, version int64) error {
	if f.call == "Delete" {
		return f.err
	}
	return f.Scratch.Delete(ctx, key, version)
}

type spoilt struct {
	pool.Scratch
	value []byte
}

func (s *spoilt) Get(ctx context.Context, key string) ([]byte, int64, error) {
	_, version, err := s.Scratch.Get(ctx, key)
	return s.value, version, err
}
