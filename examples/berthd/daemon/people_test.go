package daemon_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/totp"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

const (
	usersPath = "/api/v1/users"
	loginPath = "/api/v1/login"
	mePath    = "/api/v1/me"
	secretOf  = "correct horse battery staple"
)

// user adds somebody with a password, who has a role in a project, or everywhere without one, or none at all.
func (r *rig) user(name, role, project string) (id string) {
	r.t.Helper()
	id, _ = r.post(usersPath, object{"name": name, "password": secretOf}).want(http.StatusCreated).at("id").(string)
	if role != "" {
		b := object{"principal": id, "role": role, "project": project}
		if project == "" {
			b = object{"principal": id, "role": role, "everything": true}
		}
		r.post("/api/v1/bindings", b).want(http.StatusCreated)
	}
	return id
}

// busy adds somebody with so many sessions, tokens and keys, and as many people with roles beside them.
func (r *rig) busy(n int) (id string) {
	r.t.Helper()
	id = r.user("busy", "viewer", "")
	for k := range n {
		r.user(fmt.Sprint("person-", k), "viewer", "")
		mine := r.logIn("busy")
		mine(http.MethodPost, usersPath+"/"+id+"/tokens", object{"limits": []object{{"role": "viewer", "everything": true}}, "days": 1}).want(http.StatusCreated)
		blob := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), bytes.Repeat([]byte{byte(k)}, 32)...)
		mine(http.MethodPost, usersPath+"/"+id+"/ssh-keys", object{"key": "ssh-ed25519 " + base64.StdEncoding.EncodeToString(blob)}).want(http.StatusCreated)
	}
	return id
}

// speaks makes calls with a token.
func (r *rig) speaks(token string) func(method, path string, body any) *answer {
	return func(method, path string, body any) *answer {
		r.t.Helper()
		return r.call(method, path, body, "Authorization", "Bearer "+token)
	}
}

// logIn signs somebody in as a program.
func (r *rig) logIn(name string) func(method, path string, body any) *answer {
	r.t.Helper()
	return r.speaks(r.open(loginPath, object{"name": name, "password": secretOf}).want(http.StatusOK).at("access").(string))
}

// open makes a call without credentials.
func (r *rig) open(path string, body any, headers ...string) *answer {
	r.t.Helper()
	req := r.request(http.MethodPost, path, body, headers...)
	req.Header.Del("Authorization")
	return r.do(req)
}

func TestLoggingIn(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	id := r.user("ada", "viewer", "")
	before := len(r.log.String())
	var wrong []string
	for _, typed := range []object{
		{"name": "ada", "password": "wrong"}, {"name": "nobody", "password": secretOf}, {"name": id, "password": "wrong"},
		{"name": "root", "password": secretOf},
	} {
		p := r.open(loginPath, typed).problem(401, "unauthorized")
		delete(p, "request_id")
		wrong = append(wrong, p["detail"].(string))
		require.Len(t, p, 4)
	}
	for _, detail := range wrong {
		require.Equal(t, wrong[0], detail, "nothing is to be learnt from it")
	}
	in := r.open(loginPath, object{"name": id, "password": secretOf}).want(http.StatusOK)
	require.Empty(t, in.header.Get("Set-Cookie"))
	first, _ := in.at("access").(string)
	refresh, _ := in.at("refresh").(string)
	me := r.speaks(first)(http.MethodGet, mePath, nil).want(http.StatusOK)
	require.Equal(t, id, me.at("id"))
	require.Equal(t, in.at("session"), me.at("session"))
	require.Contains(t, me.at("may", "instances"), "read")
	require.NotContains(t, me.at("may", "instances"), "create")
	require.Contains(t, me.at("own", "credentials"), "update")

	next := r.open(loginPath+"/refresh", object{"refresh": refresh}).want(http.StatusOK)
	second, _ := next.at("access").(string)
	sessions := r.speaks(second)(http.MethodGet, usersPath+"/"+id+"/sessions", nil).want(http.StatusOK).items()
	require.Len(t, sessions, 1)
	require.Equal(t, true, sessions[0]["current"])
	require.Equal(t, "program", sessions[0]["kind"])
	require.Equal(t, "127.0.0.1", sessions[0]["address"])
	r.open(loginPath+"/refresh", object{"refresh": refresh}).problem(401, "unauthorized")
	r.speaks(second)(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	r.open(loginPath+"/refresh", object{"refresh": next.at("refresh")}).problem(401, "unauthorized")

	ada := r.logIn("ada")
	ada(http.MethodPost, "/api/v1/logout", nil).want(http.StatusNoContent)
	ada(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	r.post("/api/v1/logout", nil).problem(409, "wrong-state")

	for _, secret := range []string{secretOf, first, second, refresh} {
		require.NotContains(t, r.log.String()[before:], secret)
	}
	for n := 0; ; n++ {
		require.Less(t, n, 10, "guessing is slowed down")
		if a := r.open(loginPath, object{"name": "ada", "password": "guess"}); a.status == http.StatusTooManyRequests {
			require.NotEmpty(t, a.header.Get("Retry-After"))
			a.problem(429, "throttled")
			break
		}
	}
}

func TestLoggingInWithABrowser(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	id := r.user("ada", "user", "default")
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &rig{t: t, d: r.d, router: r.router, client: &http.Client{Jar: jar}}
	visit := func(method, path string, body any) *answer {
		t.Helper()
		req := browser.request(method, path, body, "Sec-Fetch-Site", "same-origin", "User-Agent", "a <b>browser</b>")
		req.Header.Del("Authorization")
		return browser.do(req)
	}
	typed := object{"name": "ada", "password": secretOf, "browser": true}
	r.open(loginPath, typed, "Sec-Fetch-Site", "cross-site").problem(403, "cross-site")
	in := visit(http.MethodPost, loginPath, typed).want(http.StatusOK)
	require.NotContains(t, in.object(), "access")
	require.NotContains(t, in.object(), "refresh")
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="} {
		require.Contains(t, in.header.Get("Set-Cookie"), part)
	}
	require.Equal(t, in.at("session"), visit(http.MethodGet, mePath, nil).want(http.StatusOK).at("session"))
	list := visit(http.MethodGet, usersPath+"/"+id+"/sessions", nil).want(http.StatusOK).items()
	require.Equal(t, "browser", list[0]["kind"])
	require.Equal(t, "a <b>browser</b>", list[0]["agent"])

	// A password is changed with the present one. Other sessions end, and this browser goes on.
	other := r.logIn("ada")
	visit(http.MethodPut, usersPath+"/"+id+"/password", object{"password": "another horse, another battery"}).problem(422, "invalid-value")
	visit(http.MethodPut, usersPath+"/"+id+"/password", object{"current": "wrong", "password": "another horse, another battery"}).problem(422, "invalid-value")
	visit(http.MethodPut, usersPath+"/"+id+"/password", object{"current": secretOf, "password": "short"}).problem(422, "invalid-value")
	visit(http.MethodPut, usersPath+"/"+id+"/password", object{"current": secretOf, "password": "another horse, another battery"}).want(http.StatusNoContent)
	other(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	visit(http.MethodGet, mePath, nil).want(http.StatusOK)
	r.open(loginPath, object{"name": "ada", "password": secretOf}).problem(401, "unauthorized")
	require.Len(t, visit(http.MethodGet, usersPath+"/"+id+"/sessions", nil).items(), 1)

	// A second factor: its secret, a first code, recovery codes.
	second := usersPath + "/" + id + "/second-factor"
	current := object{"current": "another horse, another battery"}
	visit(http.MethodPut, second, object{"code": "123456"}).problem(409, "wrong-state")
	visit(http.MethodPost, second, object{}).problem(422, "invalid-value")
	begun := visit(http.MethodPost, second, current).want(http.StatusOK)
	require.Contains(t, begun.at("uri"), "otpauth://totp/berthd:ada?")
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(begun.at("secret").(string))
	require.NoError(t, err)
	visit(http.MethodPut, second, object{"code": "abcdef"}).problem(422, "invalid-value")
	now := time.Now()
	codes := visit(http.MethodPut, second, object{"code": totp.Params{}.Code(secret, now)}).want(http.StatusOK).at("codes").([]any)
	require.Len(t, codes, 10)
	require.Equal(t, true, visit(http.MethodGet, mePath, nil).want(http.StatusOK).at("second_factor"))
	typed["password"] = current["current"]
	r.open(loginPath, typed).problem(401, "unauthorized")
	typed["code"] = codes[3]
	r.open(loginPath, typed).want(http.StatusOK)
	r.open(loginPath, typed).problem(401, "unauthorized")
	typed["code"] = totp.Params{}.Code(secret, now.Add(30*time.Second))
	r.open(loginPath, typed).want(http.StatusOK)
	visit(http.MethodPost, second+"/remove", object{"current": "wrong"}).problem(422, "invalid-value")
	visit(http.MethodPost, second+"/remove", current).want(http.StatusNoContent)
	require.Equal(t, false, visit(http.MethodGet, mePath, nil).at("second_factor"))

	// A session is ended from elsewhere; signing out ends one's own.
	require.NotEmpty(t, visit(http.MethodGet, usersPath+"/"+id+"/sessions", nil).items())
	visit(http.MethodDelete, usersPath+"/"+id+"/sessions/none", nil).problem(404, "not-found")
	mine, _ := visit(http.MethodGet, mePath, nil).at("session").(string)
	r.call(http.MethodDelete, usersPath+"/"+id+"/sessions/"+mine, nil).want(http.StatusNoContent)
	visit(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	delete(typed, "code")
	visit(http.MethodPost, loginPath, typed).want(http.StatusOK)
	visit(http.MethodPost, "/api/v1/logout", nil).want(http.StatusNoContent)
	visit(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	require.Empty(t, r.get(usersPath+"/"+id+"/sessions").items())

	r.stop()
	for _, s := range []string{begun.at("secret").(string), codes[0].(string), secretOf, "another horse"} {
		require.NotContains(t, r.log.String(), s)
	}
}

// Who may see and change whom: oneself, and those whom one administers. Whoever one may not know of is not there.
func TestPeople(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	r.call(http.MethodPut, "/api/v1/projects/shop", object{"quota": object{}}).want(http.StatusOK)
	ada, bob := r.user("ada", "admin", "shop"), r.user("bob", "viewer", "shop")
	byAda, byBob := r.logIn("ada"), r.logIn("bob")
	require.Len(t, r.get(usersPath).items(), 3)
	require.Equal(t, []any{bob}, ids(byBob(http.MethodGet, usersPath, nil).want(http.StatusOK)))

	for _, path := range []string{"", "/tokens", "/ssh-keys", "/sessions"} {
		byBob(http.MethodGet, usersPath+"/"+bob+path, nil).want(http.StatusOK)
		there := byBob(http.MethodGet, usersPath+"/"+ada+path, nil).problem(404, "not-found")
		none := byBob(http.MethodGet, usersPath+"/unknown"+path, nil).problem(404, "not-found")
		require.Equal(t, strings.ReplaceAll(there["detail"].(string), ada, "unknown"), none["detail"], path)
	}
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"PUT", "", object{"name": "x"}}, {"DELETE", "", nil}, {"POST", "/disable", nil}, {"POST", "/enable", nil}, {"POST", "/sign-out", nil},
		{"PUT", "/password", object{"password": "another horse, another battery"}}, {"POST", "/second-factor", object{}},
		{"PUT", "/second-factor", object{"code": "123456"}}, {"POST", "/second-factor/remove", object{}},
		{"POST", "/tokens", object{"limits": []object{{"role": "viewer", "everything": true}}, "days": 1}}, {"DELETE", "/tokens/none", nil},
		{"POST", "/ssh-keys", object{"key": publicKey}}, {"PUT", "/ssh-keys/none", object{}}, {"DELETE", "/ssh-keys/none", nil}, {"DELETE", "/sessions/none", nil},
	} {
		there := byBob(c.method, usersPath+"/"+ada+c.path, c.body).problem(404, "not-found")
		none := byBob(c.method, usersPath+"/unknown"+c.path, c.body).problem(404, "not-found")
		require.Equal(t, strings.ReplaceAll(there["detail"].(string), ada, "unknown"), none["detail"], c.path)
	}
	byBob(http.MethodPost, usersPath, object{"name": "eve"}).want(http.StatusNotFound)
	byBob(http.MethodPost, "/api/v1/bindings", object{"principal": bob, "role": "admin", "everything": true}).want(http.StatusNotFound)

	// Oneself: mail and login, but not the name, by which others know one; nor may one disable oneself.
	byBob(http.MethodPut, usersPath+"/"+bob, object{"name": "bob", "email": "bob@people.example", "login": "bob"}).want(http.StatusOK)
	byBob(http.MethodPut, usersPath+"/"+bob, object{"name": "root"}).want(http.StatusForbidden)
	byBob(http.MethodPost, usersPath+"/"+bob+"/disable", nil).want(http.StatusForbidden)
	byBob(http.MethodPut, usersPath+"/"+bob, object{"name": "bob", "role": "admin"}).problem(422, "schema-violation")

	// A project's admin binds in the project, and makes service accounts of it.
	bound := byAda(http.MethodPost, "/api/v1/bindings", object{"principal": bob, "role": "user", "project": "shop"}).want(http.StatusCreated).at("id").(string)
	byAda(http.MethodPost, "/api/v1/bindings", object{"principal": bob, "role": "user", "everything": true}).want(http.StatusNotFound)
	byAda(http.MethodPost, "/api/v1/bindings", object{"principal": "unknown", "role": "user", "project": "shop"}).problem(422, "unknown-reference")
	require.Len(t, byAda(http.MethodGet, "/api/v1/bindings", nil).items(), 3)
	require.Len(t, byAda(http.MethodGet, "/api/v1/bindings?principal="+bob, nil).items(), 2)
	require.Len(t, byBob(http.MethodGet, "/api/v1/bindings", nil).want(http.StatusOK).items(), 2, "one's own")
	byBob(http.MethodGet, "/api/v1/bindings/"+bound, nil).want(http.StatusOK)
	byBob(http.MethodGet, "/api/v1/bindings/root", nil).problem(404, "not-found")
	byBob(http.MethodDelete, "/api/v1/bindings/root", nil).problem(404, "not-found")
	byBob(http.MethodDelete, "/api/v1/bindings/"+bound, nil).want(http.StatusForbidden)
	byAda(http.MethodGet, "/api/v1/bindings/"+bound, nil).want(http.StatusOK)
	byAda(http.MethodDelete, "/api/v1/bindings/"+bound, nil).want(http.StatusNoContent)
	byAda(http.MethodDelete, "/api/v1/bindings/"+bound, nil).problem(404, "not-found")
	robot := byAda(http.MethodPost, usersPath, object{"kind": "service", "project": "shop", "name": "robot"}).want(http.StatusCreated).at("id").(string)
	byAda(http.MethodPost, usersPath, object{"kind": "service", "project": "default", "name": "other"}).want(http.StatusNotFound)
	byAda(http.MethodPost, usersPath, object{"name": "eve"}).want(http.StatusNotFound)
	r.post(usersPath, object{"name": "ada"}).problem(409, "already-exists")
	r.post(usersPath, object{"kind": "service", "password": secretOf}).problem(422, "invalid-value")
	r.post(usersPath, object{"name": "eve", "password": "short"}).problem(422, "invalid-value")

	// A token: shown once, for no more than its limits, void once it is revoked.
	limits := []object{{"role": "viewer", "project": "shop"}}
	made := byAda(http.MethodPost, usersPath+"/"+robot+"/tokens", object{"label": "ci", "limits": limits, "days": 1}).want(http.StatusCreated)
	token, _ := made.at("secret").(string)
	require.True(t, strings.HasPrefix(token, "berthd_"))
	byRobot := r.speaks(token)
	require.Equal(t, made.at("id"), byRobot(http.MethodGet, mePath, nil).want(http.StatusOK).at("token"))
	byRobot(http.MethodPost, usersPath+"/"+robot+"/tokens", object{"limits": limits, "days": 1}).problem(403, "not-by-token")
	tokens := byAda(http.MethodGet, usersPath+"/"+robot+"/tokens", nil).want(http.StatusOK)
	require.Len(t, tokens.items(), 1)
	require.NotContains(t, string(tokens.body), token)
	byAda(http.MethodDelete, usersPath+"/"+ada+"/tokens/"+made.at("id").(string), nil).problem(404, "not-found")
	byAda(http.MethodDelete, usersPath+"/"+robot+"/tokens/"+made.at("id").(string), nil).want(http.StatusNoContent)
	byRobot(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	r.post(usersPath+"/"+bob+"/tokens", object{"limits": limits, "days": 1}).problem(403, "not-own")
	byBob(http.MethodPost, usersPath+"/"+bob+"/tokens", object{"limits": limits, "days": 367}).problem(422, "schema-violation")

	// SSH keys.
	byBob(http.MethodPost, usersPath+"/"+bob+"/ssh-keys", object{"key": "command=\"x\" " + publicKey}).problem(422, "invalid-value")
	k := byBob(http.MethodPost, usersPath+"/"+bob+"/ssh-keys", object{"key": publicKey}).want(http.StatusCreated)
	require.Equal(t, "someone@example", k.at("comment"))
	byBob(http.MethodPost, usersPath+"/"+bob+"/ssh-keys", object{"key": publicKey}).problem(409, "already-exists")
	key := usersPath + "/" + bob + "/ssh-keys/" + k.at("id").(string)
	require.Equal(t, false, byBob(http.MethodPut, key, object{"expires": "2020-01-01T00:00:00Z"}).want(http.StatusOK).at("good"))
	byBob(http.MethodDelete, key, nil).want(http.StatusNoContent)
	byBob(http.MethodDelete, key, nil).problem(404, "not-found")

	// Disabled, enabled, signed out, removed; and somebody stays who administers.
	r.post(usersPath+"/"+bob+"/disable", nil).want(http.StatusNoContent)
	byBob(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	r.open(loginPath, object{"name": "bob", "password": secretOf}).problem(401, "unauthorized")
	r.post(usersPath+"/"+bob+"/enable", nil).want(http.StatusNoContent)
	byBob = r.logIn("bob")
	byBob(http.MethodPost, usersPath+"/"+bob+"/sign-out", nil).want(http.StatusNoContent)
	byBob(http.MethodGet, mePath, nil).problem(401, "unauthorized")
	r.call(http.MethodDelete, usersPath+"/"+bob, nil).want(http.StatusNoContent)
	r.get(usersPath+"/"+bob).problem(404, "not-found")
	r.post(usersPath+"/"+access.Root+"/disable", nil).problem(403, "locks-out")
}

// A machine gets the keys that whoever launches it has registered, if they say so.
func TestRegisteredKeys(t *testing.T) {
	t.Parallel()
	r := start(t, 1, func(c *config.Config, _ *daemon.Options) { c.GuestUser = "ops" })
	body := vm("mine")
	body["spec"].(object)["guest"] = object{"registered_keys": true}
	require.Contains(t, r.post("/api/v1/instances", body).problem(422, "schema-violation")["detail"], "you have none")
	r.post(usersPath+"/"+access.Root+"/ssh-keys", object{"key": publicKey}).want(http.StatusCreated)
	r.post(usersPath+"/"+access.Root+"/ssh-keys", object{"key": strings.Replace(publicKey, "AgMEBQ", "AgMFBQ", 1), "expires": "2020-01-01T00:00:00Z"}).want(http.StatusCreated)
	got := r.get("/api/v1/instances/" + r.launch(body)).want(http.StatusOK)
	require.Equal(t, "ops", got.at("user"))
	require.Equal(t, "root", got.at("owner"))
	require.Len(t, got.at("ssh_keys"), 1)
	body["name"] = "bare"
	body["spec"].(object)["guest"] = object{"user": "me"}
	got = r.get("/api/v1/instances/" + r.launch(body)).want(http.StatusOK)
	require.Empty(t, got.at("ssh_keys"))
	r.call(http.MethodPut, usersPath+"/root", object{"login": "chosen"}).want(http.StatusOK)
	body["name"] = "both"
	body["spec"].(object)["guest"] = object{"registered_keys": true, "ssh_keys": []string{publicKey}}
	got = r.get("/api/v1/instances/" + r.launch(body)).want(http.StatusOK)
	require.Equal(t, "chosen", got.at("user"))
	require.Len(t, got.at("ssh_keys"), 1)
}

func ids(a *answer) (out []any) {
	for _, i := range a.items() {
		out = append(out, i["id"])
	}
	return out
}

func TestPeopleByCommand(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	require.Contains(t, r.out.String(), "berthd user add NAME --role admin")
	typed := ""
	user := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := daemon.User(t.Context(), append(args, "--data", r.config.Data), strings.NewReader(typed), &out)
		return out.String(), err
	}
	out, err := user("add", "ada", "--role", "admin")
	require.NoError(t, err)
	password := strings.TrimSpace(strings.Split(out, "\n")[2])
	in := r.open(loginPath, object{"name": "ada", "password": password}).want(http.StatusOK)
	require.Contains(t, r.speaks(in.at("access").(string))(http.MethodGet, mePath, nil).at("may", "users"), "create")
	_, err = user("add", "ada")
	require.ErrorContains(t, err, "Already exists")
	out, err = user("add", "bob", "--role", "viewer", "--project", "default")
	require.NoError(t, err)
	require.NotContains(t, out, password)
	out, err = user("list")
	require.NoError(t, err)
	require.Regexp(t, `ada +u\w+ +person +admin of everything`, out)
	require.Regexp(t, `bob +u\w+ +person +viewer of default`, out)
	out, err = user("password", "ada")
	require.NoError(t, err)
	r.open(loginPath, object{"name": "ada", "password": password}).problem(401, "unauthorized")
	r.open(loginPath, object{"name": "ada", "password": strings.TrimSpace(strings.Split(out, "\n")[2])}).want(http.StatusOK)
	_, err = user("second-factor", "ada")
	require.NoError(t, err)

	// A password can be given, which is not printed then.
	for _, c := range []struct{ typed, password, command, name string }{
		{secretOf + "\n", secretOf, "add", "kim"}, {secretOf + " two\r\nmore\n", secretOf + " two", "password", "kim"}, {secretOf + " three", secretOf + " three", "password", "ada"},
	} {
		typed = c.typed
		out, err = user(c.command, c.name, "--password-stdin")
		require.NoError(t, err)
		require.Empty(t, out)
		r.open(loginPath, object{"name": c.name, "password": c.password}).want(http.StatusOK)
	}
	for _, typed = range []string{"", "\nsecond line\n", "short\n"} {
		_, err = user("add", "lee", "--role", "viewer", "--password-stdin")
		require.Error(t, err, typed)
	}
	out, err = user("list")
	require.NoError(t, err)
	require.NotContains(t, out, "lee", "nobody is added without the password that was meant")
	_, err = user("list", "--password-stdin")
	require.ErrorContains(t, err, "--password-stdin")
	for _, wrong := range [][]string{{"nope"}, {"add"}, {"list", "ada"}, {"password", "eve"}, {"add", "eve", "--project", "default"}, {"add", "eve", "--role", "king"}, {"password", "ada", "--role", "user"}, {"add", "eve", "x"}} {
		_, err = user(wrong...)
		require.Error(t, err, wrong)
	}
	r.stop()
	_, err = user("list")
	require.ErrorContains(t, err, "no berthd runs")
	require.NotContains(t, r.log.String(), password)
}
