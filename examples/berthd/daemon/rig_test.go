package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// rig is a daemon that serves on loopback, on SQLite and a simulated fleet, and a client that checks every
// answer against the daemon's own description.
type rig struct {
	t      *testing.T
	d      *daemon.Daemon
	config config.Config
	log    *buffer
	out    *buffer
	stop   func()
	doc    *openapi3.T
	router routers.Router
	client *http.Client
}

// buffer is a bytes.Buffer that several goroutines may use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type edit func(*config.Config, *daemon.Options)

func shape(f func(*fake.Config)) edit {
	return func(_ *config.Config, o *daemon.Options) { o.Fleet = f }
}

// alike makes the hosts of a fleet the same, so that each can take what is on another.
func alike(c *fake.Config) {
	for n, h := range c.Hosts {
		c.Hosts[n] = hostOf(h.ID, 16, 64, 2000)
		c.Hosts[n].Inventory[pool.StorageSSD] = pool.Inventory{Total: 2000 * pool.GiB}
	}
}

// start serves a daemon with n simulated hosts, all of which have joined when it returns.
func start(t *testing.T, n int, edits ...edit) *rig {
	t.Helper()
	c := config.Default()
	c.Listen, c.Data, c.Simulate = "127.0.0.1:0", t.TempDir(), n
	c.SimBuild, c.SimBoot, c.Poll = 20*time.Millisecond, 20*time.Millisecond, time.Second
	return serve(t, c, edits...)
}

// serve serves a daemon with a configuration.
func serve(t *testing.T, c config.Config, edits ...edit) *rig {
	t.Helper()
	r := &rig{t: t, log: &buffer{}, out: &buffer{}, client: &http.Client{Timeout: time.Minute}}
	o := daemon.Options{Version: "test", Out: r.out, Logger: slog.New(slog.NewTextHandler(io.MultiWriter(r.log), nil))}
	for _, e := range edits {
		e(&c, &o)
	}
	r.config = c
	d, err := daemon.Open(context.Background(), c, o)
	require.NoError(t, err)
	r.d = d
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(r.stop)
	r.eventually(func() bool { return d.URL() != "" })
	r.eventually(func() bool {
		hosts := 0
		d.Manager().View(func(st *pool.State) { hosts = st.HostCount() })
		return hosts >= c.Simulate
	})
	r.describe()
	return r
}

// eventually waits until something is so. It is asked in the test's own goroutine, so that it may require.
func (r *rig) eventually(ok func() bool) {
	r.t.Helper()
	for began := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		require.Less(r.t, time.Since(began), time.Minute, "it has not happened")
	}
}

// in is the same rig in a subtest.
func (r *rig) in(t *testing.T) *rig {
	c := *r
	c.t = t
	return &c
}

// describe loads the daemon's description, which must be right.
func (r *rig) describe() {
	r.t.Helper()
	res, err := r.client.Do(r.request(http.MethodGet, "/openapi.json", nil))
	require.NoError(r.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	doc, err := openapi3.NewLoader().LoadFromData(b)
	require.NoError(r.t, err)
	require.NoError(r.t, doc.Validate(context.Background()))
	r.doc = doc
	r.router, err = legacy.NewRouter(doc)
	require.NoError(r.t, err)
}

// request makes a request in the name of the token's bearer. A body that is no reader is sent as JSON.
func (r *rig) request(method, path string, body any, headers ...string) *http.Request {
	r.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		in = b
	case string:
		in = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		require.NoError(r.t, err)
		in = bytes.NewReader(j)
	}
	req, err := http.NewRequest(method, r.d.URL()+path, in)
	require.NoError(r.t, err)
	req.Header.Set("Authorization", "Bearer "+r.d.Token())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// do sends a request and checks the answer against the description.
func (r *rig) do(req *http.Request) *answer {
	r.t.Helper()
	res, err := r.client.Do(req)
	require.NoError(r.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	a := &answer{t: r.t, status: res.StatusCode, header: res.Header, body: b}
	require.NotEmpty(r.t, res.Header.Get("X-Request-Id"))
	if res.StatusCode >= 400 && req.URL.Path != "/health" {
		require.Equal(r.t, "application/problem+json", res.Header.Get("Content-Type"), "%s %s: %s", req.Method, req.URL, b)
	}
	route, params, err := r.router.FindRoute(req)
	if err != nil {
		return a // the description does not know this path
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, MultiError: true},
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: res.StatusCode, Header: res.Header, Options: in.Options}
	out.SetBodyBytes(b)
	require.NoError(r.t, openapi3filter.ValidateResponse(context.Background(), out), "%s %s: %d %s", req.Method, req.URL, res.StatusCode, b)
	return a
}

func (r *rig) call(method, path string, body any, headers ...string) *answer {
	r.t.Helper()
	return r.do(r.request(method, path, body, headers...))
}

func (r *rig) get(path string) *answer { r.t.Helper(); return r.call(http.MethodGet, path, nil) }
func (r *rig) post(path string, body any, headers ...string) *answer {
	r.t.Helper()
	return r.call(http.MethodPost, path, body, headers...)
}

// want requires a status.
func (a *answer) want(status int) *answer {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	return a
}

// problem requires a problem of a kind and returns it.
func (a *answer) problem(status int, kind string) map[string]any {
	a.t.Helper()
	a.want(status)
	p := a.object()
	require.Equal(a.t, "/problems/"+kind, p["type"], "%s", a.body)
	require.NotEmpty(a.t, p["title"])
	return p
}

func (a *answer) object() map[string]any {
	a.t.Helper()
	var out map[string]any
	require.NoError(a.t, json.Unmarshal(a.body, &out), "%s", a.body)
	return out
}

// at reads a value by the names on its way: "operation", "id".
func (a *answer) at(names ...string) any {
	a.t.Helper()
	var v any = a.object()
	for _, n := range names {
		m, ok := v.(map[string]any)
		require.True(a.t, ok, "no %s in %s", n, a.body)
		v = m[n]
	}
	return v
}

func (a *answer) items() []map[string]any {
	a.t.Helper()
	list, ok := a.at("items").([]any)
	require.True(a.t, ok, "%s", a.body)
	out := make([]map[string]any, len(list))
	for i, v := range list {
		out[i], _ = v.(map[string]any)
	}
	return out
}

type object = map[string]any

// vm is a launch of one core and a GiB.
func vm(name string) object {
	return object{"project": "default", "name": name, "spec": object{
		"image": "debian-12", "resources": object{"cpu": 1000, "memory": pool.GiB}, "disks": []object{{"size": pool.GiB, "storage": "standard"}},
	}}
}

// launch launches an instance and returns its id once it runs.
func (r *rig) launch(body object) string {
	r.t.Helper()
	a := r.post("/api/v1/instances", body).want(http.StatusAccepted)
	id, _ := a.at("instance", "id").(string)
	r.status(id, "running")
	return id
}

// status waits until an instance has a status.
func (r *rig) status(id, want string) object {
	r.t.Helper()
	var last *answer
	r.eventually(func() bool {
		last = r.get("/api/v1/instances/" + id).want(http.StatusOK)
		return last.at("status") == want
	})
	return last.object()
}

// settled waits until nothing is under way with an instance or a cluster, and returns it.
func (r *rig) settled(path string) object {
	r.t.Helper()
	var last *answer
	r.eventually(func() bool {
		last = r.get(path).want(http.StatusOK)
		return last.at("settled") == true
	})
	return last.object()
}

// clusterOf is a cluster of instances of one core and a GiB.
func clusterOf(name string, size int) object {
	return object{"project": "default", "name": name, "size": size, "spec": vm(name)["spec"]}
}

// cluster creates a cluster and returns its path once its members run.
func (r *rig) cluster(name string, size int) string {
	r.t.Helper()
	a := r.post("/api/v1/clusters", clusterOf(name, size)).want(http.StatusAccepted)
	path := a.header.Get("Location")
	require.InDelta(r.t, size, r.settled(path)["done"], 0)
	return path
}

// finished waits until an operation has ended and returns it.
func (r *rig) finished(a *answer) object {
	r.t.Helper()
	path := a.header.Get("Location")
	require.Contains(r.t, path, "/api/v1/operations/")
	var last *answer
	r.eventually(func() bool {
		last = r.get(path).want(http.StatusOK)
		return last.at("status") != "running"
	})
	return last.object()
}

// lists returns the paths that the description calls lists, each with what tells its items apart.
func (r *rig) lists() map[string]string {
	out := make(map[string]string)
	for path, item := range r.doc.Paths.Map() {
		if item.Get != nil && strings.HasPrefix(item.Get.OperationID, "list-") {
			schema := item.Get.Responses.Value("200").Value.Content["application/json"].Schema.Value.Properties["items"].Value.Items.Value
			for _, key := range []string{"key", "machine", "name", "id"} {
				if schema.Properties[key] != nil && !(key == "machine" && schema.Properties["native"] != nil) {
					out[path] = key // the last, which is the one that is unique
				}
			}
		}
	}
	return out
}

// head is the revision of the ledger.
func (r *rig) head() pool.Revision { return r.d.Manager().Status().Revision }

// commanded counts the events that callers of the API have caused. What is observed meanwhile does not count.
func (r *rig) commanded() int {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	head, n := r.head(), 0
	for b, err := range r.d.Manager().Events(ctx, 0) {
		require.NoError(r.t, err)
		for _, e := range b.Events {
			if e.Actor == access.Root {
				n++
			}
		}
		if b.Revision >= head {
			break
		}
	}
	return n
}

// path returns the path of a host.
func path(host any) string {
	s, _ := host.(string)
	return "/api/v1/hosts/" + s
}
