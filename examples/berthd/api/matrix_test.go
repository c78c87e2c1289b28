package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/api"
	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// frozen is a ledger that takes nothing any more once it is told so, so that what is allowed can be asked for again and again.
type frozen struct {
	*pool.MemoryLedger
	is atomic.Bool
}

func (f *frozen) Append(ctx context.Context, prev pool.Revision, batch ...pool.Event) (pool.Revision, error) {
	if f.is.Load() {
		return 0, &pool.Error{Kind: pool.ErrUnavailable}
	}
	return f.MemoryLedger.Append(ctx, prev, batch...)
}

// roles are the columns of letters: a principal of each is bound to the project shop, and one to everything; nobody to nothing.
func roles() []string { return []string{"admin", "operator", "user", "viewer", "nobody"} }

// columns are where things lie, and who they are that ask.
func columns() []string { return []string{"own", "theirs", "parent", "other", "all"} }

// thing is one of each kind, all with the same place and owner.
type thing struct{ project, instance, waiting, cluster, reservation, silence, user, binding, request, owner string }

// tenants is an API over books with three tenants: shop, acme above it, and rival.
type tenants struct {
	t      *testing.T
	h      http.Handler
	m      *berthage.Manager
	view   func(func(*pool.State)) // of the Guard; that of m
	guard  *access.Guard
	ledger *frozen
	things map[string]thing // by "own-" and the role, "theirs", "parent" and "other"
	doc    description
}

type description struct {
	Paths map[string]map[string]struct {
		ID   string         `json:"operationId"`
		Auth map[string]any `json:"x-authorization"`
		Body *struct {
			Content map[string]struct{ Example any }
		} `json:"requestBody"`
	}
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	ctx := t.Context()
	x := &tenants{t: t, ledger: &frozen{MemoryLedger: pool.NewMemoryLedger()}, things: make(map[string]thing)}
	fleet := fake.New(fake.Config{Name: "sim", Hosts: fake.Fleet("sim", 4, 7)})
	m, err := berthage.Open(ctx, berthage.Config{Ledger: x.ledger, Parts: trail.Parts(), Messaging: berthage.Messaging{Make: func(berthage.Receiver) (notify.Notifier, error) { return notify.All(), nil }}, Drivers: map[string]hypervisor.Driver{"sim": fleet}})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	x.m = m
	for _, p := range []pool.Project{{Name: "acme"}, {Name: "shop", Parent: "acme"}, {Name: "rival"}} {
		p.Quota = pool.Resources{"gpu": 1}
		require.NoError(t, m.PutProject(ctx, p))
	}
	require.NoError(t, m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "x"}}))
	require.NoError(t, m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB, pool.StorageSSD: pool.GiB}}))
	hosts := []pool.HostID{"sim/node-0001", "sim/node-0002", "sim/node-0003", "sim/node-0004"}
	for _, h := range hosts {
		_, err = m.AddHost(ctx, h)
		require.NoError(t, err)
	}
	require.NoError(t, m.Alerts().SetRule(ctx, alert.Rule{
		Name: "MarkedRule", Measure: alert.Measure{Metric: "cpu_percent"}, Test: alert.Test{Is: ">", Value: 80},
	}))
	require.NoError(t, m.Messages().SetReceiver(ctx, berthage.Receiver{Name: "marked-receiver", Type: "webhook"}))
	x.people()
	x.robots()
	places := map[string][2]string{"theirs": {"shop", "somebody"}, "parent": {"acme", "somebody"}, "other": {"rival", "somebody"}}
	for _, r := range roles() {
		places["own-"+r] = [2]string{"shop", r + "-shop"}
	}
	made := make(map[string]thing)
	for name, p := range places {
		made[name] = x.make(name, p[0], p[1])
	}
	for _, h := range hosts {
		_, err = m.Cordon(ctx, h, "")
		require.NoError(t, err)
	}
	for name, p := range places {
		i, err := m.For(p[1]).Launch(ctx, berthage.Launch{Token: "w-" + name, Project: p[0], Name: "w-" + name, Spec: small(), Wait: true})
		require.NoError(t, err)
		th := made[name]
		th.waiting = string(i.ID)
		th.user, th.binding = "robot-"+name, "robot-"+name
		if p[1] != "somebody" { // oneself
			th.user, th.binding = p[1], p[1]
		}
		th.request, th.owner = "of-"+name, p[1]
		_, err = m.As(p[1], "").AskQuota(ctx, quota.Ask{Project: p[0], ID: th.request, Quota: pool.Resources{"gpu": 2}, Reason: "marked request"})
		require.NoError(t, err)
		x.things[name] = th
	}

	x.serve()
	require.Equal(t, 201, x.ask("admin-all", http.MethodPost, "/api/v1/rebalance-plans", []byte(`{"goal":"defragment"}`)).Code)
	return x
}

// serve makes the API over the books.
func (x *tenants) serve() {
	t, m, ctx := x.t, x.m, x.t.Context()
	t.Helper()
	x.view = m.View
	log := operation.NewLog(1000)
	go func() {
		for b, err := range m.Events(ctx, 0) {
			if err != nil {
				return
			}
			log.Apply(b)
		}
	}()
	require.NoError(t, log.Await(ctx, m.Status().Revision))
	scratch := pool.NewMemoryScratch()
	books := access.NewBooks(func(f func(*pool.State)) { x.view(f) }, func(context.Context) error { return nil })
	go books.Run(ctx) // or they are too old for commands, where all of this takes its time
	tokens := auth.APITokens{Prefix: access.TokenPrefix, State: books.State}
	var err error
	x.guard, err = access.New(access.Config{Books: books, Token: bearer, Others: []auth.Authenticator{tokens}, Scratch: scratch, Session: time.Hour})
	require.NoError(t, err)
	keys, err := receivers.LoadKeys(t.TempDir()+"/keys", true)
	require.NoError(t, err)
	sessions, err := session.New(session.Config{Issuer: "l", Audience: "l", Scratch: scratch, State: x.guard.Books().State, Keys: func(context.Context) (session.Keys, error) {
		return session.Keys{session.NewKey(session.EdDSA, time.Now().Add(-time.Hour))}, nil
	}})
	require.NoError(t, err)
	key, err := signin.LoadKey(t.TempDir() + "/key")
	require.NoError(t, err)
	desk, err := signin.New(signin.Config{State: x.guard.Books().State, Scratch: scratch, Key: key, Sessions: sessions, End: x.guard.End})
	require.NoError(t, err)
	mux := http.NewServeMux()
	api.Register(mux, api.Config{
		Manager: m, Operations: log, Logger: slog.New(slog.DiscardHandler), Version: "test", Drivers: map[string]string{"sim": "simulated"},
		Guard: x.guard, URL: func() string { return "http://127.0.0.1" }, Keys: keys, Maker: &receivers.Maker{}, Drain: make(chan struct{}), Desk: desk, Scratch: scratch, Trail: trail.NewReader(x.ledger),
	})
	x.h = x.guard.Require(edge.Route(mux), api.Public)
	w := x.ask("admin-all", http.MethodGet, "/openapi.json", nil)
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &x.doc))
}

func small() pool.Spec { return pool.Spec{Image: "debian-12", Flavor: "small"} }

func (x *tenants) make(name, project, owner string) thing {
	x.t.Helper()
	ctx, m := x.t.Context(), x.m.For(owner)
	i, err := m.Launch(ctx, berthage.Launch{Token: "i-" + name, Project: project, Name: "i-" + name, Spec: small()})
	require.NoError(x.t, err)
	c, err := m.CreateCluster(ctx, berthage.CreateCluster{Token: "c-" + name, Project: project, Name: "c-" + name, Spec: small(), Size: 1})
	require.NoError(x.t, err)
	l := berthage.Launch{Token: "r-" + name, Project: project, Name: "r-" + name, Spec: small()}
	r, err := m.Reserve(ctx, berthage.Reserve{Launch: &l, For: time.Hour})
	require.NoError(x.t, err)
	match, err := alert.NewMatcher("project", alert.Equal, project)
	require.NoError(x.t, err)
	s, err := m.Alerts().Silence(ctx, alert.Silence{Matchers: alert.Matchers{match}, Ends: time.Now().Add(time.Hour), By: owner})
	require.NoError(x.t, err)
	return thing{project: project, instance: string(i.ID), cluster: string(c.ID), reservation: string(r.ID), silence: s.ID}
}

// people makes a principal of each role in shop, and one with everything.
func (x *tenants) people() {
	x.t.Helper()
	do := func(c auth.Command) {
		c.Program = true
		require.NoError(x.t, x.m.Decide(x.t.Context(), auth.Name, c))
	}
	for _, r := range roles() {
		for of, scope := range map[string]auth.Scope{"shop": {Project: "shop"}, "all": {Everything: true}} {
			id := r + "-" + of
			do(auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id}})
			if r != "nobody" {
				do(auth.Command{Bind: &auth.Binding{ID: id, Principal: id, Role: auth.Role(r), Scope: scope}})
			}
		}
	}
}

// robots makes a service account in each project, with a role in it.
func (x *tenants) robots() {
	x.t.Helper()
	for name, project := range map[string]string{"theirs": "shop", "parent": "acme", "other": "rival"} {
		id := "robot-" + name
		for _, c := range []auth.Command{
			{Put: &auth.Principal{ID: id, Kind: auth.Service, Project: project}},
			{Bind: &auth.Binding{ID: id, Principal: id, Role: auth.Viewer, Scope: auth.Scope{Project: project}}},
		} {
			c.Program = true
			require.NoError(x.t, x.m.Decide(x.t.Context(), auth.Name, c))
		}
	}
}

// as is a request in somebody's name.
func (x *tenants) as(who, method, path string, body []byte) *http.Request {
	x.t.Helper()
	r := httptest.NewRequestWithContext(x.t.Context(), method, "http://127.0.0.1"+path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	known, err := x.guard.Books().State(x.t.Context())
	require.NoError(x.t, err)
	p, ok := known.Principal(who)
	require.True(x.t, ok, who)
	c, err := x.guard.Begin(x.t.Context(), auth.Identity{Principal: who, Whole: true, Generation: p.Generation})
	require.NoError(x.t, err)
	r.AddCookie(c)
	return r
}

func (x *tenants) ask(who, method, path string, body []byte) *httptest.ResponseRecorder {
	x.t.Helper()
	return answer(x, x.as(who, method, path, body))
}

// answer returns the answer to a request.
func answer(x *tenants, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	x.h.ServeHTTP(w, r)
	return w
}

// path fills a path of the description in.
func (th thing) path(id, path string) string {
	project, name, _ := strings.Cut(th.cluster, "/")
	instance := th.instance
	switch {
	case strings.Contains(path, "/reservations/"):
		instance = th.reservation
	case strings.Contains(path, "/operations/"):
		instance = "launch-" + th.instance
	case strings.Contains(path, "/users/"):
		instance = th.user
	case strings.Contains(path, "/bindings/"):
		instance = th.binding
	case strings.Contains(path, "/quota-requests/"):
		instance = th.request
	case strings.Contains(path, "/silences/"):
		instance = th.silence
	case strings.Contains(path, "/alerts/"):
		instance = strings.Repeat("0", 32)
	case id == "get-queue-position":
		instance = th.waiting
	}
	switch {
	case strings.Contains(path, "/projects/"):
		name = th.project
	case strings.Contains(path, "/images/"):
		name = "debian-12"
	case strings.Contains(path, "/flavors/"):
		name = "small"
	}
	return strings.NewReplacer("{id}", instance, "{project}", project, "{name}", name, "{driver}", "sim", "{host}", "node-0001", "{machine}", instance+"-9", "{key}", "x", "{event}", "1.0").Replace(path)
}

// body is the example of the description, in the project of the thing.
func (th thing) body(example any) any {
	switch v := example.(type) {
	case map[string]any:
		out := make(map[string]any)
		for k, e := range v {
			switch k {
			case "project":
				e = th.project
			case "matchers":
				e = []any{map[string]any{"name": "project", "op": "=", "value": th.project}}
			}
			out[k] = th.body(e)
		}
		return out
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, th.body(e))
		}
		return out
	}
	return example
}

// marker is what stands in a list that shows the thing.
func (th thing) marker(id string) string {
	switch id {
	case "list-clusters":
		return `"` + th.cluster + `"`
	case "list-reservations":
		return th.reservation
	case "list-queue":
		return th.waiting
	case "list-users":
		return `"id":"` + th.user + `"`
	case "list-bindings":
		return `"id":"` + th.binding + `"`
	case "list-silences":
		return th.silence
	case "list-projects":
		return `"name":"` + th.project + `"`
	case "get-pool":
		return `"hosts":{"all":4,`
	case "list-hosts":
		return "sim/node-0001"
	case "list-images":
		return "debian-12"
	case "list-flavors":
		return `"small"`
	case "list-rules":
		return "MarkedRule"
	case "get-project-usage":
		return `"project":"` + th.project + `","owner":"` + th.owner + `"`
	case "export-project-usage":
		return th.project + "," + th.owner + ","
	case "list-receivers":
		return "marked-receiver"
	case "list-quota-requests":
		return `"` + th.request + `"`
	case "list-receiver-types":
		return `"webhook"`
	case "list-rebalance-plans":
		return "defragment"
	}
	return th.instance
}

// reader is a client of the stream.
type reader struct {
	mu sync.Mutex
	*httptest.ResponseRecorder
}

func (r *reader) SetWriteDeadline(time.Time) error { return nil }

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ResponseRecorder.Write(b)
}

func (r *reader) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Body.String()
}

// follow reads the stream from the beginning for a while.
func (x *tenants) follow(who string) string {
	ctx, cancel := context.WithTimeout(x.t.Context(), 3*time.Second)
	defer cancel()
	r := x.as(who, http.MethodGet, "/api/v1/events?after=0", nil)
	w := &reader{ResponseRecorder: httptest.NewRecorder()}
	x.h.ServeHTTP(w, r.WithContext(ctx))
	return w.text()
}

// hidden are the words in which what must not be seen is denied.
const hidden = "there is nothing of this kind that you may see"

// letter asks and says what came of it.
func (x *tenants) letter(who, id, method, path string, example any, listed bool, th thing) (string, string) {
	var body []byte
	if example != nil {
		b, err := json.Marshal(th.body(example))
		require.NoError(x.t, err)
		body = b
	}
	w := x.ask(who, method, th.path(id, path), body)
	var p struct{ Type, Detail string }
	_ = json.Unmarshal(w.Body.Bytes(), &p) // some are no objects
	said := w.Body.String()
	refused := []string{"/problems/not-by-role", "/problems/not-own", "/problems/out-of-scope", "/problems/forbidden", "/problems/out-of-limits"}
	switch {
	case listed && strings.Contains(said, th.marker(id)):
		return "+", said
	case listed, w.Code == http.StatusNotFound && p.Detail == hidden:
		return ".", said
	case w.Code == http.StatusForbidden && slices.Contains(refused, p.Type):
		return "-", said
	case w.Code == http.StatusUnprocessableEntity && p.Type == "/problems/schema-violation", w.Code == http.StatusBadRequest:
		return "?", said // it was not asked rightly, and nothing was decided
	}
	return "+", said
}

// expected reads the table.
func expected(t *testing.T) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/matrix.txt")
	require.NoError(t, err)
	out := make(map[string][]string)
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		require.Len(t, f, 1+len(columns()), line)
		require.NotContains(t, out, f[0], "twice")
		out[f[0]] = f[1:]
	}
	return out
}

// Every operation of the description, asked for by every role, of what is their own, somebody else's, of the project above, of another tenant.
func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	x, want := newTenants(t), expected(t)
	x.ledger.is.Store(true)
	streams := make(map[string]string)
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, r := range roles() {
		for _, of := range []string{"shop", "all"} {
			all.Go(func() {
				text := x.follow(r + "-" + of)
				mu.Lock()
				defer mu.Unlock()
				streams[r+"-"+of] = text
			})
		}
	}
	all.Wait()
	seen := make(map[string]bool)
	for path, methods := range x.doc.Paths {
		for method, op := range methods {
			seen[op.ID] = true
			require.NotEmpty(t, op.Auth, "%s does not say what it takes", op.ID)
			require.Contains(t, want, op.ID, "an operation without a row in testdata/matrix.txt")
			var example any
			if op.Body != nil {
				example = op.Body.Content["application/json"].Example
				if example == nil {
					example = map[string]any{}
				}
			}
			for n, column := range columns() {
				got, why := "", ""
				for _, role := range roles() {
					who, th := role+"-shop", x.things[column]
					switch column {
					case "own":
						th = x.things["own-"+role]
					case "all":
						who, th = role+"-all", x.things["other"]
					}
					var one, said string
					if op.ID == "stream-events" {
						one = "."
						if strings.Contains(streams[who], th.instance) {
							one = "+"
						}
					} else {
						one, said = x.letter(who, op.ID, strings.ToUpper(method), path, example, op.Auth["about"] == "each", th)
					}
					got += one
					if len(got) <= len(want[op.ID][n]) && one != want[op.ID][n][len(got)-1:] {
						why += "\n" + who + ": " + said
					}
				}
				if got != want[op.ID][n] {
					t.Errorf("%s %s: %s, and not %s%.1500s", op.ID, column, got, want[op.ID][n], why)
				}
			}
		}
	}
	for id := range want {
		require.True(t, seen[id], "%s is no operation", id)
	}
}
