package daemon_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/problem"
)

// routes returns every method and path of the description, with values in the place of parameters.
func (r *rig) routes() [][2]string {
	r.t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(r.get("/openapi.json").body)
	require.NoError(r.t, err)
	fill := strings.NewReplacer("{driver}", "sim", "{host}", "node-0001", "{id}", "i0000000000000000000000000", "{name}", "x", "{project}", "default", "{machine}", "m", "{event}", "1.0", "{provider}", "corp")
	var out [][2]string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			out = append(out, [2]string{method, fill.Replace(path)})
		}
	}
	slices.SortFunc(out, func(a, b [2]string) int { return strings.Compare(a[1]+a[0], b[1]+b[0]) })
	require.Greater(r.t, len(out), 60)
	return out
}

func TestEveryRouteNeedsCredentials(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	before := r.head()
	routes := append(r.routes(), [2]string{"GET", "/openapi.json"}, [2]string{"GET", "/openapi-3.0.json"}, [2]string{"GET", "/openapi.yaml"}, [2]string{"GET", "/metrics"},
		[2]string{"GET", "/nope"}, [2]string{"GET", "/assets/../metrics"}, [2]string{"POST", "/"}, [2]string{"CONNECT", "/metrics"}, [2]string{"OPTIONS", "/api/v1/pool"})
	for _, route := range routes {
		if slices.Contains([]string{"POST /api/v1/session", "POST /api/v1/login", "POST /api/v1/login/refresh", "GET /api/v1/login/providers", "POST /api/v1/login/providers/corp"}, route[0]+" "+route[1]) {
			continue // gives them
		}
		if route[1] == "/api/v1/login/passkey" {
			continue // likewise
		}
		for _, authorization := range []string{"", "Bearer", "Bearer wrong", "Basic " + r.d.Token()} {
			req := r.request(route[0], route[1], nil)
			req.Header.Del("Authorization")
			if authorization != "" {
				req.Header.Set("Authorization", authorization)
				req.Header.Set("X-Forwarded-For", "192.0.2.1")
			}
			res, err := http.DefaultTransport.RoundTrip(req)
			require.NoError(t, err)
			b, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusTooManyRequests}, res.StatusCode, "%v with %q: %s", route, authorization, b)
			require.NotContains(t, string(b), r.d.Token())
		}
	}
	require.Equal(t, before, r.head())
}

func TestPublicPages(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	for _, path := range []string{"/", "/docs", "/plan", "/alerts", "/messages", "/charts", "/users", "/account", "/audit", "/usage", "/health", "/health/live", "/favicon.ico", "/assets/base.css", "/assets/js/main.js", "/problems/no-room"} {
		res, err := http.Get(r.d.URL() + path)
		require.NoError(t, err)
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		csp := res.Header.Get("Content-Security-Policy")
		require.Contains(t, csp, "default-src 'none'")
		require.NotContains(t, csp, "unsafe")
		require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
		require.NotContains(t, string(b), "sim/node", "pages hold no data")
		for _, foreign := range []string{"http://", "https://", "//cdn"} {
			if path != "/favicon.ico" { // the name space of SVG
				require.NotContains(t, strings.ReplaceAll(string(b), "http://www.w3.org/2000/svg", ""), foreign, "%s loads nothing from elsewhere", path)
			}
		}
		for _, inline := range []string{"<script>", "<style", " style=", "onclick=", "javascript:"} {
			require.NotContains(t, string(b), inline, path)
		}
		if tag := res.Header.Get("ETag"); tag != "" {
			again := r.call(http.MethodGet, path, nil, "If-None-Match", tag)
			require.Equal(t, http.StatusNotModified, again.status)
		}
	}
	for _, k := range problem.Kinds() {
		require.Contains(t, string(r.get("/problems/"+string(k.Kind)).want(http.StatusOK).body), k.Title)
	}
	r.get("/problems/nope").problem(404, "no-such-path")
}

func TestSigningIn(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &rig{t: t, d: r.d, router: r.router, client: &http.Client{Jar: jar}}
	visit := func(method, path string, body any, headers ...string) *answer {
		req := browser.request(method, path, body, headers...)
		req.Header.Del("Authorization")
		return browser.do(req)
	}
	link := r.post("/api/v1/links", nil).want(http.StatusCreated).at("url").(string)
	base, code, ok := strings.Cut(link, "/#code=")
	require.True(t, ok)
	require.Equal(t, r.d.URL(), base)

	visit(http.MethodPost, "/api/v1/session", object{"code": "wrong"}).problem(401, "unauthorized")
	visit(http.MethodPost, "/api/v1/session", object{"code": code}, "Sec-Fetch-Site", "cross-site").problem(403, "cross-site")
	in := visit(http.MethodPost, "/api/v1/session", object{"code": code}, "Sec-Fetch-Site", "same-origin").want(http.StatusNoContent)
	cookie := in.header.Get("Set-Cookie")
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="} {
		require.Contains(t, cookie, part)
	}
	require.Equal(t, "root", visit(http.MethodGet, "/api/v1/session", nil).want(http.StatusOK).at("actor"))
	visit(http.MethodPost, "/api/v1/session", object{"code": code}).problem(401, "unauthorized")

	visit(http.MethodPost, "/api/v1/instances", vm("csrf")).problem(403, "cross-site")
	visit(http.MethodPost, "/api/v1/instances", vm("csrf"), "Origin", "http://evil.example").problem(403, "cross-site")
	require.Equal(t, "root", visit(http.MethodPost, "/api/v1/instances", vm("mine"), "Origin", r.d.URL()).want(http.StatusAccepted).at("operation", "actor"))
	visit(http.MethodPost, "/api/v1/links", nil, "Origin", r.d.URL()).problem(401, "unauthorized")

	visit(http.MethodDelete, "/api/v1/session", nil, "Origin", r.d.URL()).want(http.StatusNoContent)
	visit(http.MethodGet, "/api/v1/session", nil).problem(401, "unauthorized")
	require.Equal(t, "root", r.get("/api/v1/session").want(http.StatusOK).at("actor"))
}

// A session that a link has begun is root's, and ended like any other.
func TestSessionsByALink(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	const sessions = usersPath + "/" + access.Root + "/sessions"
	browser := func() func(method, path string) *answer {
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		b := &rig{t: t, d: r.d, router: r.router, client: &http.Client{Jar: jar}}
		visit := func(method, path string, body any) *answer {
			req := b.request(method, path, body, "Origin", r.d.URL(), "User-Agent", "a browser")
			req.Header.Del("Authorization")
			return b.do(req)
		}
		_, code, _ := strings.Cut(r.d.SignInLink(), "/#code=")
		visit(http.MethodPost, "/api/v1/session", object{"code": code}).want(http.StatusNoContent)
		return func(method, path string) *answer { return visit(method, path, nil) }
	}
	first := browser()
	mine := first(http.MethodGet, sessions).want(http.StatusOK).items()
	require.Len(t, mine, 1)
	require.Equal(t, true, mine[0]["link"])
	require.Equal(t, true, mine[0]["current"])
	require.Equal(t, "browser", mine[0]["kind"])
	require.Equal(t, "127.0.0.1", mine[0]["address"])
	require.Equal(t, "a browser", mine[0]["agent"])
	require.Equal(t, mine[0]["id"], first(http.MethodGet, mePath).at("session"))

	second := browser()
	both := second(http.MethodGet, sessions).want(http.StatusOK).items()
	require.Len(t, both, 2)
	seen := r.get(sessions).want(http.StatusOK).items()
	require.Len(t, seen, 2)
	require.Equal(t, []any{false, false}, []any{seen[0]["current"], seen[1]["current"]}, "the token is none of them")
	r.user("ada", "user", "default")
	in := r.open(loginPath, object{"name": "ada", "password": secretOf}).want(http.StatusOK)
	r.speaks(in.at("access").(string))(http.MethodGet, sessions, nil).problem(404, "not-found")

	second(http.MethodDelete, sessions+"/"+mine[0]["id"].(string)).want(http.StatusNoContent)
	first(http.MethodGet, mePath).problem(401, "unauthorized")
	second(http.MethodGet, mePath).want(http.StatusOK)
	second(http.MethodDelete, "/api/v1/session").want(http.StatusNoContent)
	require.Empty(t, r.get(sessions).items())

	third := browser()
	r.post(usersPath+"/"+access.Root+"/sign-out", nil).want(http.StatusNoContent)
	third(http.MethodGet, mePath).problem(401, "unauthorized")
	require.Empty(t, r.get(sessions).items())
}

// The token and the codes are in their file and in what is printed for their owner, and nowhere else.
func TestNoSecretsInTheLog(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	code := r.d.SignInLink()[len(r.d.URL()+"/#code="):]
	r.post("/api/v1/session", object{"code": code}).want(http.StatusNoContent)
	r.get("/api/v1/pool?token="+r.d.Token()).problem(422, "schema-violation")
	body := vm("secretive")
	body["spec"].(object)["guest"] = object{"ssh_keys": []string{publicKey}, "user_data": "canary-4711"}
	r.launch(body)
	r.stop()
	require.NotContains(t, r.out.String(), r.d.Token())
	require.Contains(t, r.out.String(), r.d.TokenFile())
	for _, secret := range []string{r.d.Token(), code, "canary-4711", "AAAAC3Nza"} {
		require.NotContains(t, r.log.String(), secret)
	}
	if runtime.GOOS != "windows" {
		for _, name := range []string{"token", "secrets-key", "signin-key", "ledger.db", "simulated-fleet.jsonl"} {
			info, err := os.Stat(r.config.Data + "/" + name)
			require.NoError(t, err)
			require.Zero(t, info.Mode().Perm()&0o077, "%s can be read by others", name)
		}
	}
}

// The examples of the description can be sent as they are, to what is there.
func TestDocumentedExamplesWork(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(alike), watchful)
	doc, err := openapi3.NewLoader().LoadFromData(r.get("/openapi.json").body)
	require.NoError(t, err)
	id := r.launch(vm("example"))
	r.cluster("x1", 1)
	fill := strings.NewReplacer("{driver}", "sim", "{host}", "node-0001", "{project}", "default", "{name}", "x1", "{id}", id)
	r.call(http.MethodPut, receiversPath+"/ops", object{"type": "discord", "secrets": object{"url": "https://127.0.0.1:1/none"}}).want(http.StatusOK)
	r.call(http.MethodPut, "/api/v1/projects/default", object{"quota": object{"cpu": 64000}}).want(http.StatusOK)
	for _, id := range []string{"granted", "refused"} {
		r.post("/api/v1/projects/default/quota-requests", object{"id": id, "quota": object{"cpu": 96000}, "reason": "an example"}).want(http.StatusCreated)
	}
	of := map[string]string{
		"/alerts/{id}": r.firing("Example"), "/silences/{id}": r.silence(), "/users/{id}": r.user("somebody", "", ""), "/bindings/{id}": "root",
		"/quota-requests/{id}/grant": "granted", "/quota-requests/{id}/refuse": "refused",
	}
	path := func(path string) string {
		for part, id := range of {
			path = strings.Replace(path, part, strings.Replace(part, "{id}", id, 1), 1)
		}
		return fill.Replace(path)
	}
	refused := map[string]string{ // what they are for is not so here
		"/api/v1/hosts/{driver}/{host}/confirm-off": "wrong-state", "/api/v1/instances/{id}/rebuild": "invalid-value",
		"/api/v1/login": "unauthorized", "/api/v1/login/refresh": "unauthorized", "/api/v1/users/{id}/second-factor": "not-own",
		"/api/v1/login/passkey": "unauthorized", "/api/v1/users/{id}/passkeys": "not-own", "/api/v1/users/{id}/passkeys/{passkey}": "not-found", "/api/v1/users/{id}/passkeys/{passkey}/remove": "not-found",
		"/api/v1/users/{id}/tokens": "not-own", "/api/v1/users/{id}/ssh-keys/{key}": "not-found",
	}
	sent := 0
	for template, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			require.NotEmpty(t, op.Summary, "%s %s", method, template)
			require.NotEmpty(t, op.Description, "%s %s", method, template)
			require.NotEmpty(t, op.Tags, "%s %s", method, template)
			if op.RequestBody == nil || template == "/api/v1/session" {
				continue
			}
			example := op.RequestBody.Value.Content["application/json"].Example
			require.NotNil(t, example, "%s %s", method, template)
			r.settled("/api/v1/instances/" + id)       // from the one before
			if strings.HasSuffix(template, "/scale") { // which a suspended one cannot be
				r.post("/api/v1/clusters/default/x1/start", nil).want(http.StatusAccepted)
			}
			r.settled("/api/v1/clusters/default/x1")
			a := r.call(method, path(template), example)
			sent++
			if strings.HasSuffix(template, "/drain") || strings.HasSuffix(template, "/cordon") {
				r.post(path(strings.Replace(template, "{host}/", "{host}/un", 1)), nil).want(http.StatusOK)
			}
			if kind := refused[template]; kind != "" {
				require.Contains(t, string(a.body), "/problems/"+kind)
				continue
			}
			require.Less(t, a.status, 300, "%s %s: %s", method, template, a.body)
		}
	}
	require.GreaterOrEqual(t, sent, 14)
}
