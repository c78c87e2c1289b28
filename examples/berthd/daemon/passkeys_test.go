package daemon_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/passkey/passkeytest"
	"github.com/berthage/berthage/pool"
)

const passkeyLogin = loginPath + "/passkey"

// visitor is a browser on the daemon's pages at localhost: it keeps cookies, and says from where it asks.
func (r *rig) visitor() func(method, path string, body any, headers ...string) *answer {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(r.t, err)
	with := *r
	with.client = &http.Client{Jar: jar, Timeout: r.client.Timeout}
	return func(method, path string, body any, headers ...string) *answer {
		r.t.Helper()
		req := with.request(method, path, body, append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...)
		req.Header.Del("Authorization")
		return with.do(req)
	}
}

// pages returns the origin of the pages on which passkeys work.
func (r *rig) pages() string {
	r.t.Helper()
	u, err := url.Parse(r.d.URL())
	require.NoError(r.t, err)
	return "http://localhost:" + u.Port()
}

// asked returns what a browser is to ask its authenticator.
func asked(a *answer) []byte {
	a.t.Helper()
	raw, err := json.Marshal(a.want(http.StatusOK).at("options"))
	require.NoError(a.t, err)
	return raw
}

func said(b []byte) json.RawMessage { return b }

// register gives somebody, who is signed in there, a passkey, and returns its authenticator.
func (r *rig) register(id, name string, visit func(string, string, any, ...string) *answer) *passkeytest.Authenticator {
	r.t.Helper()
	a, mine := passkeytest.New(r.t, r.pages()), usersPath+"/"+id+"/passkeys"
	visit(http.MethodPut, mine, object{"name": name, "answer": said(a.Create(asked(visit(http.MethodPost, mine, object{"current": secretOf}))))}).want(http.StatusCreated)
	return a
}

// use logs in with a passkey.
func (r *rig) use(a *passkeytest.Authenticator, visit func(string, string, any, ...string) *answer) *answer {
	r.t.Helper()
	return visit(http.MethodPut, passkeyLogin, object{"answer": said(a.Get(asked(visit(http.MethodPost, passkeyLogin, nil))))})
}

func TestPasskeys(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	id, other := r.user("ada", "viewer", ""), r.user("eve", "viewer", "")
	require.Equal(t, r.pages(), r.visitor()(http.MethodGet, passkeyLogin, nil).want(http.StatusOK).at("origin"))
	mine := usersPath + "/" + id + "/passkeys"
	visit := r.visitor()
	visit(http.MethodPost, loginPath, object{"name": "ada", "password": secretOf, "browser": true}).want(http.StatusOK)
	require.Empty(t, visit(http.MethodGet, mine, nil).want(http.StatusOK).items())

	// A registration needs the present password, an answer to what was begun, in this browser, once, and a name.
	visit(http.MethodPost, mine, object{}).problem(422, "invalid-value")
	visit(http.MethodPost, mine, object{"current": "wrong"}).problem(422, "invalid-value")
	current := object{"current": secretOf}
	begun := visit(http.MethodPost, mine, current)
	for _, part := range []string{"berthd-passkey-", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=300"} {
		require.Contains(t, begun.header.Get("Set-Cookie"), part)
	}
	laptop := passkeytest.New(t, r.pages())
	finish := object{"name": "<b>laptop</b>", "answer": said(laptop.Create(asked(begun)))}
	require.Equal(t, "localhost", laptop.Read(asked(begun)).PublicKey.RP.ID)
	require.Equal(t, id, string(laptop.Handle))
	elsewhere := r.visitor()
	elsewhere(http.MethodPost, loginPath, object{"name": "ada", "password": secretOf, "browser": true}).want(http.StatusOK)
	elsewhere(http.MethodPut, mine, finish).problem(422, "invalid-value")
	visit(http.MethodPut, mine, object{"name": "", "answer": finish["answer"]}).problem(422, "schema-violation")
	visit(http.MethodPut, mine, finish, "Sec-Fetch-Site", "cross-site").problem(403, "cross-site")
	made := visit(http.MethodPut, mine, finish).want(http.StatusCreated)
	require.Equal(t, finish["name"], made.at("name"))
	visit(http.MethodPut, mine, finish).problem(422, "invalid-value")
	visit(http.MethodGet, mePath, nil).want(http.StatusOK)
	listed := visit(http.MethodGet, mine, nil).want(http.StatusOK)
	require.Equal(t, []any{made.at("id")}, ids(listed))
	require.Equal(t, made.object()["created"], listed.items()[0]["created"])
	require.NotContains(t, string(listed.body), passkeytest.Base64(laptop.ID))
	require.InDelta(t, 1, r.get(usersPath+"/"+id).at("passkeys"), 0)

	// Another is told that the authenticator has one, and the same one is not registered again, by whomever.
	again := asked(visit(http.MethodPost, mine, current))
	require.Equal(t, passkeytest.Base64(laptop.ID), laptop.Read(again).PublicKey.ExcludeCredentials[0].ID)
	visit(http.MethodPut, mine, object{"name": "x", "answer": said(laptop.Create(again))}).problem(409, "already-exists")
	byEve := r.visitor()
	byEve(http.MethodPost, loginPath, object{"name": "eve", "password": secretOf, "browser": true}).want(http.StatusOK)
	hers := usersPath + "/" + other + "/passkeys"
	stolen := *laptop
	byEve(http.MethodPut, hers, object{"name": "x", "answer": said(stolen.Create(asked(byEve(http.MethodPost, hers, current))))}).problem(409, "already-exists")
	one := mine + "/" + made.at("id").(string)
	byEve(http.MethodPost, one+"/remove", current).problem(404, "not-found")
	r.post(mine, object{}).problem(403, "not-own")
	r.call(http.MethodPut, one, object{"name": "root's"}).problem(403, "not-own")
	require.Equal(t, "laptop", visit(http.MethodPut, one, object{"name": "laptop"}).want(http.StatusOK).at("name"))

	// With it, and neither name nor password nor code, one is signed in, and that is listed.
	in := r.visitor()
	got := r.use(laptop, in).want(http.StatusOK)
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="} {
		require.Contains(t, got.header.Get("Set-Cookie"), part)
	}
	require.NotContains(t, got.object(), "access")
	me := in(http.MethodGet, mePath, nil).want(http.StatusOK)
	require.Equal(t, id, me.at("id"))
	require.Equal(t, got.at("session"), me.at("session"))
	require.Contains(t, ids(in(http.MethodGet, usersPath+"/"+id+"/sessions", nil).want(http.StatusOK)), got.at("session"))

	// Who is disabled, or answers wrongly, or from elsewhere, is not; and is told the same.
	refused := func(a *answer) {
		t.Helper()
		require.Equal(t, "nobody signs in with this passkey", a.problem(401, "unauthorized")["detail"])
		require.Empty(t, a.header.Get("Set-Cookie"))
	}
	out := r.visitor()
	out(http.MethodPost, passkeyLogin, nil, "Sec-Fetch-Site", "cross-site").problem(403, "cross-site")
	begun = out(http.MethodPost, passkeyLogin, nil)
	answered := object{"answer": said(laptop.Get(asked(begun)))}
	out(http.MethodPut, passkeyLogin, answered, "Sec-Fetch-Site", "cross-site").problem(403, "cross-site")
	refused(r.visitor()(http.MethodPut, passkeyLogin, answered))
	out(http.MethodPut, passkeyLogin, answered).want(http.StatusOK)
	refused(out(http.MethodPut, passkeyLogin, answered))
	phished := *laptop
	phished.Origin = "https://berthd.example.evil.example"
	refused(r.use(&phished, out))
	r.post(usersPath+"/"+id+"/disable", nil).want(http.StatusNoContent)
	in(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	laptop.Count += 10
	refused(r.use(laptop, out))
	r.post(usersPath+"/"+id+"/enable", nil).want(http.StatusNoContent)
	r.use(laptop, in).want(http.StatusOK)

	// It is taken away with the present password. Other sessions end, this browser goes on, and it signs nobody in.
	r.use(laptop, elsewhere).want(http.StatusOK)
	in(http.MethodPost, one+"/remove", object{}).problem(422, "invalid-value")
	in(http.MethodPost, one+"/remove", current).want(http.StatusNoContent)
	in(http.MethodGet, mePath, nil).want(http.StatusOK)
	elsewhere(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	require.Empty(t, in(http.MethodGet, mine, nil).items())
	in(http.MethodPost, one+"/remove", current).problem(404, "not-found")

	r.stop()
	require.Contains(t, r.log.String(), "the answer is malformed, too long or not right")
	for _, s := range []string{passkeytest.Base64(laptop.ID), laptop.Read(again).PublicKey.Challenge, "<b>laptop"} {
		require.NotContains(t, r.log.String(), s)
	}
}

// What a passkey log-in costs the daemon is bounded: who begins too many has to wait.
func TestPasskeyLogInsAreThrottled(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	visit := r.visitor()
	for n := 0; ; n++ {
		require.Less(t, n, 60, "an address begins as many as it likes")
		if a := visit(http.MethodPost, passkeyLogin, nil); a.status != http.StatusOK {
			require.NotEmpty(t, a.header.Get("Retry-After"))
			a.problem(429, "throttled")
			break
		}
	}
	for n := 0; ; n++ {
		require.Less(t, n, 60, "wrong answers are for nothing")
		if a := visit(http.MethodPut, passkeyLogin, object{"answer": object{}}); a.status != http.StatusUnauthorized {
			a.problem(429, "throttled")
			break
		}
	}
}

// Where passkeys cannot work it is said why, and none is begun.
func TestWherePasskeysWork(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]object{
		"https://berthd.example/x": {"origin": "https://berthd.example"},
		"https://192.0.2.7:8443":   {"why": "a dashboard at a name such as berthd.example: browsers have no passkeys for an IP address"},
		"http://berthd.example":    {"why": "a dashboard at https://: browsers have no passkeys for pages that were not encrypted, but those at http://localhost"},
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			r := start(t, 1, func(c *config.Config, _ *daemon.Options) { c.PublicURL = url })
			got := r.visitor()(http.MethodGet, passkeyLogin, nil).want(http.StatusOK).object()
			delete(got, "$schema")
			require.Equal(t, want, got)
			begun := r.visitor()(http.MethodPost, passkeyLogin, nil)
			id := r.user("ada", "", "")
			mine := r.logIn("ada")(http.MethodPost, usersPath+"/"+id+"/passkeys", object{"current": secretOf})
			if want["why"] == nil {
				begun.want(http.StatusOK)
				require.True(t, strings.HasPrefix(begun.header.Get("Set-Cookie"), "__Host-berthd-passkey-"))
				require.Contains(t, begun.header.Get("Set-Cookie"), "; Secure")
				mine.want(http.StatusOK)
				return
			}
			require.Equal(t, want["why"], begun.problem(409, "wrong-state")["want"])
			mine.problem(409, "wrong-state")
			r.visitor()(http.MethodPut, passkeyLogin, object{"answer": object{}}).problem(409, "wrong-state")
			r.stop()
			require.Contains(t, r.log.String(), "nobody can use a passkey")
		})
	}
}

// Admins see and remove what others sign in with, on the page and by command; of who is removed nothing is left.
func TestPasskeysOfOthers(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	id := r.user("ada", "viewer", "")
	mine := usersPath + "/" + id + "/passkeys"
	visit := r.visitor()
	visit(http.MethodPost, loginPath, object{"name": "ada", "password": secretOf, "browser": true}).want(http.StatusOK)
	for _, name := range []string{"laptop", "phone", "old phone"} {
		r.register(id, name, visit)
	}
	user := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := daemon.User(t.Context(), append(args, "--data", r.config.Data), nil, &out)
		return out.String(), err
	}
	out, err := user("passkeys", "ada")
	require.NoError(t, err)
	all := r.get(mine).want(http.StatusOK).items()
	require.Len(t, all, 3)
	for _, k := range all {
		require.Contains(t, out, k["id"])
		require.Contains(t, out, k["name"])
	}
	first, _ := all[0]["id"].(string)
	r.post(mine+"/"+first+"/remove", object{}).want(http.StatusNoContent)
	visit(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	second, _ := all[1]["id"].(string)
	_, err = user("passkeys", "ada", "--remove", second)
	require.NoError(t, err)
	require.Equal(t, []any{all[2]["id"]}, ids(r.get(mine)))
	for _, wrong := range [][]string{{"passkeys"}, {"passkeys", "eve"}, {"passkeys", "ada", "--remove", second}, {"list", "--remove", second}} {
		_, err = user(wrong...)
		require.Error(t, err, wrong)
	}

	var key auth.Passkey
	r.d.Manager().View(func(st *pool.State) { key = auth.Of(st).Passkeys(id)[0] })
	r.call(http.MethodDelete, usersPath+"/"+id, nil).want(http.StatusNoContent)
	for b, err := range r.d.Manager().Events(t.Context(), 0) {
		require.NoError(t, err)
		raw, err := json.Marshal(b)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "old phone")
		for _, e := range b.Events {
			require.NotContains(t, string(e.Private), "old phone")
			require.NotContains(t, string(e.Private), string(key.Credential))
		}
		if b.Revision >= r.head() {
			break
		}
	}
}
