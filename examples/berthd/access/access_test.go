package access_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

const token = "berthd_right-and-long-enough-to-be-one"

// known is a ledger that knows Root.
func known(t *testing.T) *berthage.Manager {
	t.Helper()
	m, err := berthage.Open(t.Context(), berthage.Config{Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{})}, Ledger: pool.NewMemoryLedger(), Parts: []pool.Part{access.Part()}})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	decide(t, m, auth.Command{Put: &auth.Principal{ID: access.Root, Kind: auth.Service}})
	decide(t, m, auth.Command{Bind: &auth.Binding{ID: access.Root, Principal: access.Root, Role: auth.Admin, Scope: auth.Scope{Everything: true}}})
	return m
}

func decide(t *testing.T, m *berthage.Manager, c auth.Command) {
	t.Helper()
	c.Program = true
	require.NoError(t, m.Decide(t.Context(), auth.Name, c))
}

func nothingMore(context.Context) error { return nil }

func guarded(t *testing.T, c access.Config) *access.Guard {
	t.Helper()
	if c.Books == nil {
		c.Books = access.NewBooks(known(t).View, nothingMore)
		go c.Books.Run(t.Context())
	}
	c.Token, c.Session = token, time.Hour
	g, err := access.New(c)
	require.NoError(t, err)
	return g
}

func guard(t *testing.T, scratch pool.Scratch) *access.Guard {
	t.Helper()
	return guarded(t, access.Config{Scratch: scratch, Realm: "ledger"})
}

// handler answers with the actor, behind the guard; /open is public.
func handler(g *access.Guard) http.Handler {
	return g.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := access.From(r.Context())
		_, _ = w.Write([]byte(who.Actor))
	}), func(r *http.Request) bool { return r.URL.Path == "/open" })
}

type edit func(*http.Request)

func header(k, v string) edit { return func(r *http.Request) { r.Header.Add(k, v) } }

func ask(h http.Handler, method, path string, edits ...edit) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, nil)
	for _, e := range edits {
		e(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func signIn(t *testing.T, g *access.Guard) *http.Cookie {
	t.Helper()
	code, _ := g.NewCode()
	c, err := g.SignIn(httptest.NewRequest(http.MethodPost, "/", nil), code)
	require.NoError(t, err)
	return c
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		edits []edit
		want  int
	}{
		"right":          {[]edit{header("Authorization", "Bearer "+token)}, 200},
		"any case":       {[]edit{header("Authorization", "bearer "+token)}, 200},
		"none":           {nil, 401},
		"empty":          {[]edit{header("Authorization", "")}, 401},
		"wrong":          {[]edit{header("Authorization", "Bearer berthd_wrong-and-long-enough-to-be-one")}, 401},
		"prefix":         {[]edit{header("Authorization", "Bearer "+token[:len(token)-1])}, 401},
		"longer":         {[]edit{header("Authorization", "Bearer "+token+"x")}, 401},
		"basic":          {[]edit{header("Authorization", "Basic "+token)}, 401},
		"bare":           {[]edit{header("Authorization", token)}, 401},
		"two headers":    {[]edit{header("Authorization", "Bearer "+token), header("Authorization", "Bearer x")}, 401},
		"in the query":   {[]edit{func(r *http.Request) { r.URL.RawQuery = "access_token=" + token }}, 401},
		"foreign cookie": {[]edit{func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "berthd", Value: "x"}) }}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := ask(handler(guard(t, pool.NewMemoryScratch())), http.MethodPost, "/closed", tc.edits...)
			require.Equal(t, tc.want, w.Code)
			if tc.want == 200 {
				require.Equal(t, access.Root, w.Body.String())
			} else {
				require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
				require.Contains(t, w.Header().Get("WWW-Authenticate"), "Bearer")
				require.NotContains(t, w.Body.String(), token)
			}
		})
	}
	require.Equal(t, 200, ask(handler(guard(t, pool.NewMemoryScratch())), http.MethodGet, "/open").Code)
}

func TestSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, pool.NewMemoryScratch())
		h := handler(g)
		c := signIn(t, g)
		require.True(t, c.HttpOnly)
		require.Equal(t, http.SameSiteStrictMode, c.SameSite)
		require.Equal(t, "/", c.Path)
		require.Empty(t, c.Domain)
		with := func(r *http.Request) { r.AddCookie(c) }

		require.Equal(t, access.Root, ask(h, http.MethodGet, "/x", with).Body.String())

		time.Sleep(time.Hour - time.Second)
		require.Equal(t, 200, ask(h, http.MethodGet, "/x", with).Code)
		time.Sleep(2 * time.Second)
		require.Equal(t, 401, ask(h, http.MethodGet, "/x", with).Code, "it has ended")

		other := guarded(t, access.Config{Scratch: pool.NewMemoryScratch(), Realm: "other"})
		require.NotEqual(t, c.Name, signIn(t, other).Name, "two daemons on one machine do not share a cookie")
		secure := guarded(t, access.Config{Scratch: pool.NewMemoryScratch(), Realm: "ledger", Secure: true})
		c = signIn(t, secure)
		require.True(t, c.Secure)
		require.Regexp(t, "^__Host-", c.Name)
	})
}

func TestSignOutEndsTheSession(t *testing.T) {
	t.Parallel()
	g := guard(t, pool.NewMemoryScratch())
	c := signIn(t, g)
	var who access.Who
	h := g.Require(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { who, _ = access.From(r.Context()) }),
		func(*http.Request) bool { return false })
	with := func(r *http.Request) { r.AddCookie(c) }
	require.Equal(t, 200, ask(h, http.MethodGet, "/", with).Code)
	gone, err := g.SignOut(t.Context(), who)
	require.NoError(t, err)
	require.Negative(t, gone.MaxAge)
	require.Equal(t, 401, ask(h, http.MethodGet, "/", with).Code)
	_, err = g.SignOut(t.Context(), who)
	require.NoError(t, err, "again is no error")
}

func TestCrossSite(t *testing.T) {
	t.Parallel()
	g := guard(t, pool.NewMemoryScratch())
	h, c := handler(g), signIn(t, g)
	with := func(r *http.Request) { r.AddCookie(c) }
	for name, tc := range map[string]struct {
		method string
		edits  []edit
		want   int
	}{
		"own page":            {http.MethodPost, []edit{header("Sec-Fetch-Site", "same-origin")}, 200},
		"own page, by origin": {http.MethodDelete, []edit{header("Origin", "http://127.0.0.1:8080")}, 200},
		"other site":          {http.MethodPost, []edit{header("Sec-Fetch-Site", "cross-site")}, 403},
		"other port":          {http.MethodPost, []edit{header("Sec-Fetch-Site", "same-site"), header("Origin", "http://127.0.0.1:9000")}, 403},
		"typed address":       {http.MethodPost, []edit{header("Sec-Fetch-Site", "none")}, 403},
		"other origin":        {http.MethodPut, []edit{header("Origin", "http://evil.example")}, 403},
		"null origin":         {http.MethodPost, []edit{header("Origin", "null")}, 403},
		"no word of it":       {http.MethodPost, nil, 403},
		"header beats origin": {http.MethodPost, []edit{header("Sec-Fetch-Site", "cross-site"), header("Origin", "http://127.0.0.1:8080")}, 403},
		"reading":             {http.MethodGet, nil, 200},
		"unknown method":      {"PROPFIND", nil, 403},
		"token needs no such": {http.MethodPost, []edit{header("Authorization", "Bearer "+token), header("Sec-Fetch-Site", "cross-site")}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, ask(h, tc.method, "/x", append(tc.edits, with)...).Code)
		})
	}
}

func TestCodesWorkOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, pool.NewMemoryScratch())
		r := httptest.NewRequest(http.MethodPost, "/", nil)

		code, expires := g.NewCode()
		require.Equal(t, access.Code, time.Until(expires))
		var ok int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := g.SignIn(r, code); err == nil {
					mu.Lock()
					ok++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, ok)

		time.Sleep(time.Hour)
		code, _ = g.NewCode()
		time.Sleep(access.Code)
		_, err := g.SignIn(r, code)
		require.ErrorContains(t, err, "too old")

		time.Sleep(time.Hour)
		first, _ := g.NewCode()
		for range 16 {
			g.NewCode()
		}
		_, err = g.SignIn(r, first)
		require.Error(t, err, "only so many wait")

		code, _ = g.NewCode()
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		_, err = g.SignIn(r, code)
		require.ErrorContains(t, err, "Cross-site")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		_, err = g.SignIn(r, code)
		require.NoError(t, err, "the refused attempt did not use it up")
	})
}

func TestWrongCredentialsAreThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, pool.NewMemoryScratch())
		h, c := handler(g), signIn(t, g)
		from := func(addr string) edit { return func(r *http.Request) { r.RemoteAddr = addr } }
		right, wrong := header("Authorization", "Bearer "+token), header("Authorization", "Bearer x")

		for range 10 {
			require.Equal(t, 401, ask(h, http.MethodGet, "/", wrong, from("192.0.2.1:1000")).Code)
		}
		w := ask(h, http.MethodGet, "/", right, from("192.0.2.1:1001"))
		require.Equal(t, 429, w.Code)
		require.Equal(t, "7", w.Header().Get("Retry-After"))
		require.Equal(t, 200, ask(h, http.MethodGet, "/", right, from("192.0.2.2:1000")).Code, "others are not concerned")
		require.Equal(t, 200, ask(h, http.MethodGet, "/", func(r *http.Request) { r.AddCookie(c) }, from("192.0.2.1:1000")).Code, "nor are sessions")

		time.Sleep(7 * time.Second)
		require.Equal(t, 401, ask(h, http.MethodGet, "/", wrong, from("192.0.2.1:1000")).Code)
		require.Equal(t, 429, ask(h, http.MethodGet, "/", right, from("192.0.2.1:1000")).Code, "one more each six seconds")
		time.Sleep(time.Minute)
		require.Equal(t, 200, ask(h, http.MethodGet, "/", right, from("192.0.2.1:1000")).Code)

		for n := range 10 {
			ask(h, http.MethodGet, "/", wrong, from("[2001:db8::"+string(rune('1'+n%9))+"]:1"))
		}
		require.Equal(t, 429, ask(h, http.MethodGet, "/", right, from("[2001:db8::ffff]:1")).Code, "a network of 64 bits is one customer")
	})
}

// broken is a Scratch that is out of order.
type broken struct{ pool.Scratch }

func (broken) Get(context.Context, string) ([]byte, int64, error) {
	return nil, 0, &pool.Error{Kind: pool.ErrUnavailable}
}

func (broken) Put(context.Context, string, []byte, int64, time.Duration) (int64, error) {
	return 0, &pool.Error{Kind: pool.ErrUnavailable}
}

func TestAStoreThatFailsLetsNobodyIn(t *testing.T) {
	t.Parallel()
	good := guard(t, pool.NewMemoryScratch())
	c := signIn(t, good)
	g := guard(t, broken{})
	require.Equal(t, 503, ask(handler(g), http.MethodGet, "/", func(r *http.Request) { r.AddCookie(c) }).Code)
	code, _ := g.NewCode()
	_, err := g.SignIn(httptest.NewRequest(http.MethodPost, "/", nil), code)
	require.ErrorIs(t, err, pool.ErrUnavailable)
}

// lasting is a Scratch that forgets to forget.
type lasting struct{ pool.Scratch }

func (l lasting) Put(ctx context.Context, key string, value []byte, prev int64, _ time.Duration) (int64, error) {
	return l.Scratch.Put(ctx, key, value, prev, 1000*time.Hour)
}

func TestASessionEndsWhateverTheStoreSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := guard(t, lasting{pool.NewMemoryScratch()})
		c := signIn(t, g)
		time.Sleep(time.Hour)
		require.Equal(t, 401, ask(handler(g), http.MethodGet, "/", func(r *http.Request) { r.AddCookie(c) }).Code)
	})
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "token")
	made, err := access.LoadToken(name)
	require.NoError(t, err)
	require.Regexp(t, `^berthd_[A-Za-z0-9_-]{43}$`, made)
	if runtime.GOOS != "windows" {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

		require.NoError(t, os.Chmod(name, 0o644))
		_, err = access.ReadToken(name)
		require.NoError(t, err)
		info, err = os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "made private again")
	}
	again, err := access.LoadToken(name)
	require.NoError(t, err)
	require.Equal(t, made, again)

	require.NoError(t, os.WriteFile(name, []byte("berthd_short\n"), 0o600))
	_, err = access.LoadToken(name)
	require.ErrorContains(t, err, "does not hold a token")
	require.NotContains(t, err.Error(), "berthd_short")
}
