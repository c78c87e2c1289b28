package daemon_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

// bind gives a group a role in everything.
func (r *rig) bind(group, role string) (id string) {
	r.t.Helper()
	id, _ = r.post("/api/v1/bindings", object{"group": group, "role": role, "everything": true}).want(http.StatusCreated).at("id").(string)
	return id
}

// quiet requires that neither the log nor the output has what nobody may repeat.
func (x *outside) quiet() {
	x.t.Helper()
	x.corp.mu.Lock()
	defer x.corp.mu.Unlock()
	for _, s := range append(x.corp.said, clientSecret) {
		require.NotContains(x.t, x.log.String()+x.out.String(), s)
	}
}

// Whoever has logged in at the provider has a session like any other, and the roles of their groups for as long as it lasts.
func TestLogInAtAProvider(t *testing.T) {
	t.Parallel()
	x := atCorp(t, nil)
	binding := x.bind("corp:operators", "operator")
	require.Equal(t, []map[string]any{{"name": "corp", "label": "The Corp"}}, x.get("/api/v1/login/providers").want(http.StatusOK).items())
	require.Equal(t, http.StatusOK, x.visitor().call(http.MethodGet, "/api/v1/login/providers").status, "without credentials")

	v := x.visitor()
	begun := v.call(http.MethodPost, "/api/v1/login/providers/corp").want(http.StatusOK)
	cookie, err := http.ParseSetCookie(begun.header.Get("Set-Cookie"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(cookie.Name, "__Host-berthd-login-"), cookie.Name)
	require.Equal(t, http.Cookie{Name: cookie.Name, Value: cookie.Value, Path: "/", MaxAge: 600, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode, Raw: cookie.Raw}, *cookie)
	to, _ := begun.at("to").(string)
	back := x.corp.approve(to)
	require.Equal(t, x.front.URL+"/login/corp", back.Scheme+"://"+back.Host+back.Path)

	in := v.comeBack(back).want(http.StatusSeeOther)
	require.Equal(t, "/", in.header.Get("Location"), "%s", x.log)
	require.Len(t, in.header.Values("Set-Cookie"), 2)
	session, err := http.ParseSetCookie(in.header.Values("Set-Cookie")[0])
	require.NoError(t, err)
	require.Equal(t, http.SameSiteStrictMode, session.SameSite)
	require.True(t, session.HttpOnly)
	gone, err := http.ParseSetCookie(in.header.Values("Set-Cookie")[1])
	require.NoError(t, err)
	require.Equal(t, cookie.Name, gone.Name)
	require.Negative(t, gone.MaxAge)

	me := v.me().want(http.StatusOK)
	id, _ := me.at("id").(string)
	require.True(t, strings.HasPrefix(id, "oidc-"), id)
	require.Equal(t, "corp:ada", me.at("name"))
	require.Equal(t, []any{"corp:of-ada", "corp:operators"}, me.at("groups"))
	require.Contains(t, me.at("may", "instances"), "create")
	require.Nil(t, me.at("may", "users"))
	sessions := v.call(http.MethodGet, usersPath+"/"+id+"/sessions").want(http.StatusOK).items()
	require.Len(t, sessions, 1)
	require.Equal(t, "browser", sessions[0]["kind"])
	require.Equal(t, true, sessions[0]["current"])
	require.Contains(t, x.log.String(), "actor="+id)

	// It is another session in another browser, with the groups of that log-in. The ledger has learnt nothing new.
	x.corp.with(func() { x.corp.user["groups"] = []string{"auditors"} })
	other, before := x.visitor(), x.head()
	other.logIn()
	require.Equal(t, before, x.head())
	require.Equal(t, []any{"corp:auditors"}, other.me().want(http.StatusOK).at("groups"))
	require.Empty(t, other.me().at("bindings"))
	require.Contains(t, v.me().want(http.StatusOK).at("may", "instances"), "create", "as at its own log-in")
	x.call(http.MethodDelete, "/api/v1/bindings/"+binding, nil).want(http.StatusNoContent)
	require.Empty(t, v.me().want(http.StatusOK).at("bindings"), "at once")
	require.Len(t, v.call(http.MethodGet, usersPath+"/"+id+"/sessions").items(), 2)

	v.call(http.MethodPost, "/api/v1/logout").want(http.StatusNoContent)
	v.me().problem(401, "unauthorized")
	other.me().want(http.StatusOK)
	x.post(usersPath+"/"+id+"/sign-out", nil).want(http.StatusNoContent)
	other.me().problem(401, "unauthorized")
	require.Empty(t, x.get(usersPath+"/"+id+"/sessions").items())
	x.quiet()
}

// Whatever a log-in is refused for, it looks the same, and the log says why.
func TestLogInsThatComeToNothing(t *testing.T) {
	t.Parallel()
	x := atCorp(t, nil)
	x.bind("corp:operators", "operator")
	x.visitor().logIn() // as the first of all
	edit := func(u *url.URL, name, value string) *url.URL {
		c, q := *u, u.Query()
		if q.Set(name, value); value == "" {
			q.Del(name)
		}
		c.RawQuery = q.Encode()
		return &c
	}
	right := func(v *visitor) *url.URL { return x.corp.approve(v.begin()) }
	var looks []string
	for name, tc := range map[string]struct {
		back func(v *visitor) *url.URL
		why  string
	}{
		"nothing was begun":                     {func(*visitor) *url.URL { return right(x.visitor()) }, "begun no log-in"},
		"somebody else's, while one's own runs": {func(v *visitor) *url.URL { v.begin(); return right(x.visitor()) }, "of another log-in"},
		"another state":                         {func(v *visitor) *url.URL { return edit(right(v), "state", strings.Repeat("A", 43)) }, "of another log-in"},
		"no state":                              {func(v *visitor) *url.URL { return edit(right(v), "state", "") }, "malformed"},
		"another code":                          {func(v *visitor) *url.URL { return edit(right(v), "code", "guessed") }, "has refused"},
		"somebody else's code":                  {func(v *visitor) *url.URL { return edit(right(v), "code", right(x.visitor()).Query().Get("code")) }, "has refused"},
		"the user says no":                      {func(v *visitor) *url.URL { return edit(edit(right(v), "code", ""), "error", "access_denied") }, "access_denied"},
		"another issuer":                        {func(v *visitor) *url.URL { return edit(right(v), "iss", "https://evil.example") }, "of another provider"},
		"a callback a second time": {func(v *visitor) *url.URL {
			back := right(v)
			cookies := v.http.Jar.Cookies(back)
			v.comeBack(back)
			v.call(http.MethodPost, "/api/v1/logout").want(http.StatusNoContent)
			v.http.Jar.SetCookies(back, cookies)
			return back
		}, "has finished it"},
		"a provider that there is not": {func(v *visitor) *url.URL { u := right(v); u.Path = "/login/other"; return u }, "not found"},
		"a token that has expired": {func(v *visitor) *url.URL {
			x.corp.with(func() { x.corp.age = time.Hour })
			return right(v)
		}, "has expired"},
		"a provider that is down": {func(v *visitor) *url.URL {
			back := right(v)
			x.corp.with(func() { x.corp.down = true })
			return back
		}, "unavailable"},
		"a newcomer without a role": {func(v *visitor) *url.URL {
			x.corp.with(func() { x.corp.user = object{"sub": "1", "preferred_username": "eve", "groups": []string{"visitors"}} })
			return right(v)
		}, "no such principal"},
		"a newcomer with a role by another name": {func(v *visitor) *url.URL {
			x.corp.with(func() {
				x.corp.user = object{"sub": "1", "roles": []string{"operators", "admin"}, "Groups": []string{"operators"}, "groups": []string{"corp:operators", "admin"}}
			})
			return right(v)
		}, "no such principal"},
	} {
		user := x.corp.user
		v := x.visitor()
		before, logged := x.head(), len(x.log.String())
		to := tc.back(v)
		if name == "a callback a second time" {
			before = x.head()
		}
		a := v.comeBack(to).want(http.StatusSeeOther)
		x.corp.with(func() { x.corp.user, x.corp.age, x.corp.down = user, 0, false })
		id := a.header.Get("X-Request-Id")
		require.Equal(t, "/#refused="+id, a.header.Get("Location"), name)
		require.Empty(t, a.header.Values("Set-Cookie"), name)
		require.Empty(t, a.body, name)
		v.me().problem(401, "unauthorized")
		require.Equal(t, before, x.head(), name)
		lines := slices.DeleteFunc(strings.Split(x.log.String()[logged:], "\n"), func(l string) bool {
			return !strings.Contains(l, "has come to nothing") || !strings.Contains(l, "request_id="+id)
		})
		require.Len(t, lines, 1, name)
		require.Contains(t, lines[0], tc.why, name)
		a.header.Del("X-Request-Id")
		a.header.Del("Date")
		a.header.Set("Location", strings.TrimSuffix(a.header.Get("Location"), id))
		var look strings.Builder
		require.NoError(t, a.header.Write(&look))
		looks = append(looks, look.String())
	}
	require.Len(t, slices.Compact(looks), 1, "nothing is to be learnt from it")

	// Somebody who is disabled is not let in, and what they hold is void.
	v := x.visitor()
	v.logIn()
	id, _ := v.me().want(http.StatusOK).at("id").(string)
	x.post(usersPath+"/"+id+"/disable", nil).want(http.StatusNoContent)
	v.me().problem(401, "unauthorized")
	a := v.comeBack(right(v)).want(http.StatusSeeOther)
	require.Equal(t, "/#refused="+a.header.Get("X-Request-Id"), a.header.Get("Location"))
	require.Contains(t, x.log.String(), "disabled")
	x.post(usersPath+"/"+id+"/enable", nil).want(http.StatusNoContent)
	v.logIn()
	x.quiet()
}

// No claim but the one with the groups gives anything, and a callback leads to the first page, whatever else it says.
func TestClaimsGiveNothing(t *testing.T) {
	t.Parallel()
	x := atCorp(t, func(o *config.OIDC) { o.New = "anybody" })
	x.bind("admin", "admin")
	x.bind("other:admin", "admin")
	x.corp.with(func() {
		x.corp.user = object{
			"sub": "root", "preferred_username": "root", "principal": "root", "id": "root", "role": "admin", "roles": []string{"admin"}, "admin": true, "project": "default",
			"projects": []string{"default"}, "scope": "everything", "everything": true, "limits": []object{{"role": "admin", "everything": true}}, "whole": true, "kind": "service",
			"generation": 0, "bindings": []object{{"role": "admin", "everything": true}}, "realm_access": object{"roles": []string{"admin"}}, "Groups": []string{"admin"},
			"groups": []string{"admin", "other:admin", "root"}, "berthd": object{"role": "admin"}, "disabled": false, "login": "root",
		}
	})
	v := x.visitor()
	back := x.corp.approve(v.begin())
	q := back.Query()
	for _, name := range []string{"redirect", "redirect_uri", "next", "return_to", "to", "role", "project", "session_state"} {
		q.Set(name, "//evil.example/admin")
	}
	back.RawQuery = q.Encode()
	require.Equal(t, "/", v.comeBack(back).want(http.StatusSeeOther).header.Get("Location"))
	me := v.me().want(http.StatusOK)
	require.NotEqual(t, "root", me.at("id"))
	require.Equal(t, "corp:root", me.at("name"))
	require.Equal(t, "person", me.at("kind"))
	require.Nil(t, me.at("login"))
	require.Nil(t, me.at("project"))
	require.Empty(t, me.at("bindings"))
	require.Equal(t, []any{"corp:admin", "corp:other:admin", "corp:root"}, me.at("groups"))
	require.NotContains(t, me.at("may"), "instances")
	require.Equal(t, []map[string]any{}, v.call(http.MethodGet, "/api/v1/projects").want(http.StatusOK).items())
	v.call(http.MethodGet, "/metrics").problem(404, "not-found")
}

// A log-in is begun by the daemon's own pages only, and by so many at a time.
func TestBeginningToLogInElsewhere(t *testing.T) {
	t.Parallel()
	x := atCorp(t, nil)
	v := x.visitor()
	const path = "/api/v1/login/providers/corp"
	for _, foreign := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "none"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		a := v.call(http.MethodPost, path, foreign...)
		a.problem(403, "cross-site")
		require.Empty(t, a.header.Values("Set-Cookie"))
	}
	v.call(http.MethodGet, path).problem(401, "unauthorized") // by no link
	v.call(http.MethodPost, "/api/v1/login/providers/other").problem(404, "not-found")
	v.call(http.MethodPost, "/api/v1/login/providers/corp/x").problem(401, "unauthorized")
	v.call(http.MethodHead, "/login/corp").want(401)
	v.call(http.MethodPost, "/login/corp").problem(401, "unauthorized")
	v.call(http.MethodGet, "/login/").problem(401, "unauthorized")
	x.open(path, nil).want(http.StatusOK) // by the description

	x.corp.with(func() { x.corp.down = true })
	y := atCorp(t, func(o *config.OIDC) { o.Issuer = x.corp.URL })
	p := y.visitor().call(http.MethodPost, path).problem(503, "unavailable")
	require.Equal(t, "nobody can log in there now", p["detail"])
	require.Len(t, p, 5)
	require.Contains(t, y.log.String(), "discover the provider corp: unavailable")
	x.corp.with(func() { x.corp.down = false })

	back := x.corp.approve(v.begin())
	var last *answer
	x.eventually(func() bool {
		last = v.call(http.MethodPost, path)
		return last.status == http.StatusTooManyRequests
	})
	last.problem(429, "throttled")
	require.NotEmpty(t, last.header.Get("Retry-After"))
	last = v.comeBack(back).want(http.StatusSeeOther)
	require.Equal(t, "/#refused="+last.header.Get("X-Request-Id"), last.header.Get("Location"))
	x.get("/api/v1/pool").want(http.StatusOK) // with a token
}

// Groups are held for no longer than the session is good.
func TestGroupsEndWithTheSession(t *testing.T) {
	t.Parallel()
	x := atCorp(t, nil, func(c *config.Config, _ *daemon.Options) { c.Session = time.Second })
	x.bind("corp:operators", "operator")
	v := x.visitor()
	v.logIn()
	x.eventually(func() bool { return v.me().status == http.StatusUnauthorized })
	for b, err := range x.d.Manager().Events(t.Context(), 0) {
		require.NoError(t, err)
		for _, e := range b.Events {
			require.NotContains(t, string(e.Data), "of-ada", "the ledger has none but those that are bound")
		}
		if b.Revision >= x.head() {
			break
		}
	}
}

// What cannot work is said at the start, by the name that the file has for it, and shows no secret.
func TestProvidersThatCannotWork(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte(clientSecret+"\nand more\n"), 0o600))
	for want, edit := range map[string]func(*config.Config){
		"oidc[0].name: \"Corp\":":               func(c *config.Config) { c.OIDC[0].Name = "Corp" },
		"oidc[0].issuer: ":                      func(c *config.Config) { c.OIDC[0].Issuer = "http://id.example" },
		"oidc[0].client_id: ":                   func(c *config.Config) { c.OIDC[0].ClientID = "a\nb" },
		"oidc[0].groups_claim: \"sub\":":        func(c *config.Config) { c.OIDC[0].GroupsClaim = "sub" },
		"oidc[0].name_claim: ":                  func(c *config.Config) { c.OIDC[0].NameClaim = "a\x00" },
		"oidc[0].scopes: \"offline_access\":":   func(c *config.Config) { c.OIDC[0].Scopes = []string{"offline_access"} },
		"oidc[0].client_secret_file: ":          func(c *config.Config) { c.OIDC[0].SecretFile = secret },
		"oidc[0].ca_file: " + secret + ": a ce": func(c *config.Config) { c.OIDC[0].CAFile = secret },
		"public-url: ":                          func(c *config.Config) { c.PublicURL = "http://berthd.example" },
	} {
		c := config.Default()
		c.Data, c.Simulate, c.PublicURL = t.TempDir(), 1, "https://berthd.example"
		c.OIDC = []config.OIDC{{Name: "corp", Issuer: "https://id.example", ClientID: "berthd"}}
		edit(&c)
		var log buffer
		_, err := daemon.Open(context.Background(), c, daemon.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error()+log.String(), clientSecret)
	}
}
