package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/api"
	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
)

const bearer = "a-token-that-is-long-enough-to-be-one"

// open returns an API over a Manager in memory, with one host, an image, a flavor and a project.
func open(t testing.TB) (http.Handler, *berthage.Manager) {
	t.Helper()
	ctx := context.Background()
	fleet := fake.New(fake.Config{Name: "sim", Hosts: fake.Fleet("sim", 1, 7)})
	keys, err := receivers.ParseKeys([]byte(receivers.NewKey()))
	require.NoError(t, err)
	maker := new(receivers.Maker)
	ledger := pool.NewMemoryLedger()
	m, err := berthage.Open(ctx, berthage.Config{
		Ledger: ledger, Parts: []pool.Part{access.Part()}, Drivers: map[string]hypervisor.Driver{"sim": fleet},
		Messaging: berthage.Messaging{Make: func(r berthage.Receiver) (notify.Notifier, error) {
			secrets, err := keys.Open(r.Name, r.Type, r.Sealed)
			if err != nil {
				return nil, err
			}
			return maker.Make(receivers.Receiver{Name: r.Name, Type: r.Type, Settings: r.Settings, Secrets: secrets})
		}},
	})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	require.NoError(t, m.PutProject(ctx, pool.Project{Name: "default", Quota: pool.Resources{pool.Instances: 3}}))
	require.NoError(t, m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "x"}}))
	require.NoError(t, m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: 1000, pool.Memory: pool.GiB, pool.StorageSSD: pool.GiB}}))
	for _, c := range []auth.Command{
		{Program: true, Put: &auth.Principal{ID: access.Root, Kind: auth.Service}},
		{Program: true, Bind: &auth.Binding{ID: access.Root, Principal: access.Root, Role: auth.Admin, Scope: auth.Scope{Everything: true}}},
	} {
		require.NoError(t, m.Decide(ctx, auth.Name, c))
	}
	_, err = m.AddHost(ctx, "sim/node-0001")
	require.NoError(t, err)
	log := operation.NewLog(100)
	follow, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	go func() {
		for b, err := range m.Events(follow, 0) {
			if err != nil {
				return
			}
			log.Apply(b)
		}
	}()
	books := access.NewBooks(m.View, func(context.Context) error { return nil })
	guard, err := access.New(access.Config{Books: books, Token: bearer, Scratch: pool.NewMemoryScratch(), Session: time.Hour})
	require.NoError(t, err)
	mux := http.NewServeMux()
	api.Register(mux, api.Config{
		Manager: m, Operations: log, Logger: slog.New(slog.DiscardHandler), Version: "test", Drivers: map[string]string{"sim": "simulated"},
		Guard: guard, URL: func() string { return "" }, Keys: keys, Maker: maker, Trail: trail.NewReader(ledger),
	})
	guarded := guard.Require(edge.Route(mux), func(*http.Request) bool { return false })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+bearer)
		guarded.ServeHTTP(w, r)
	}), m
}

func post(a http.Handler, path string, body []byte) *httptest.ResponseRecorder {
	return send(a, http.MethodPost, path, body)
}

func send(a http.Handler, method, path string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// Whatever is sent as a launch is either recorded as asked, or refused with a problem and without a trace.
func FuzzLaunch(f *testing.F) {
	for _, s := range []string{
		`{"project":"default","name":"web-1","spec":{"image":"debian-12","flavor":"small"}}`,
		`{"project":"default","name":"a","want":"stopped","spec":{"image":"debian-12","resources":{"cpu":1000,"memory":1073741824},"disks":[{"size":1073741824,"storage":"ssd"},{"size":5368709120,"storage":"ssd","mount":"/data","iops":10}],"labels":{"a":"b"},"constraints":{"zones":["a"],"hosts":["sim/node-0001"],"labels":{"model":"general"}},"guest":{"user":"u","ssh_keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f c"],"user_data":"#cloud-config"}}}`,
		`{"project":"default","name":"a","spec":{"image":"debian-12","resources":{"cpu":9223372036854775808}}}`,
		`{"project":null,"name":["x"],"spec":{"image":{},"disks":[null]}}`,
		`{"name":"\u0000","NAME":"x","spec":{"constraints":null,"guest":null}}`,
		`[`, `{}`, `null`, `1e999`, `"x"`, ` `, "\xff", `{"spec":{"resources":{"\u0000":1}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, m := open(t)
		for _, path := range []string{"/api/v1/explain", "/api/v1/instances"} {
			before := m.Status().Revision
			w := post(a, path, body)
			var answer map[string]any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer), "%d %s", w.Code, w.Body)
			switch w.Code {
			case http.StatusOK, http.StatusAccepted:
				if w.Code == http.StatusAccepted {
					var asked, got struct{ Name string }
					require.NoError(t, json.Unmarshal(body, &asked))
					b, err := json.Marshal(answer["instance"])
					require.NoError(t, err)
					require.NoError(t, json.Unmarshal(b, &got))
					require.Equal(t, asked.Name, got.Name)
					require.Equal(t, before+1, m.Status().Revision)
				}
			case 400, 403, 409, 413, 415, 422:
				require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
				require.Contains(t, answer["type"], "/problems/")
				require.Equal(t, before, m.Status().Revision)
			default:
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

// Whatever is sent as a receiver or as who is told is taken and shown as it was sent, secrets aside, or refused with a problem and without a trace.
func FuzzWhoIsTold(f *testing.F) {
	for _, s := range []string{
		`{"type":"webhook","secrets":{"url":"https://receiver.example/canary-4711","signing":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],"headers":"A: canary-4711"}}`,
		`{"type":"jira","settings":{"url":"https://j.example","cloud":true,"user":"u","project":"P","labels":["a"],"reopen":"x","reopen_within":"24h"},"secrets":{"token":"canary-4711"}}`,
		`{"type":"email","settings":{"server":"m.example:25","from":"a@b.example","to":["c@d.example"],"text":"{{range .Firing}}{{.Summary}}{{end}}","ca":null}}`,
		`{"root":{"receivers":[],"group_by":["..."],"wait":"0s","routes":[{"match":[{"name":"a","op":"=~","value":"(b|c)+"}],"continue":true,"mute":["n"],"escalation":[]}]},"times":[{"name":"n","time_intervals":[{"weekdays":["monday:friday"],"times":[{"start_time":"09:00","end_time":"24:00"}],"location":"Europe/Berlin"}]}]}`,
		`{"root":{"routes":[{"routes":[{"routes":[null]}]}]},"times":null}`, `{"root":null}`, `{"labels":{"a":"b"},"routing":{"root":{}}}`, `{"type":"x","settings":{"a":{"b":1e999}}}`, `{}`, `[`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, m := open(t)
		for _, path := range []string{"/api/v1/receivers/ops", "/api/v1/routes"} {
			before := m.Status().Revision
			w := send(a, http.MethodPut, path, body)
			switch w.Code {
			case http.StatusOK:
				require.NotContains(t, w.Body.String(), "canary-4711")
				shown := send(a, http.MethodGet, path, nil)
				require.Equal(t, w.Body.String(), shown.Body.String())
				require.Equal(t, w.Body.String(), send(a, http.MethodPut, path, body).Body.String())
				require.LessOrEqual(t, m.Status().Revision, before+1, "the same again is nothing")
			case 400, 409, 413, 422:
				require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
				require.Equal(t, before, m.Status().Revision)
			default:
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		w := post(a, "/api/v1/routes/preview", body)
		require.Less(t, w.Code, 500, w.Body)
	})
}

// Nothing that stands in a path brings the API down, or is taken for what it is not.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"x", "a/b", "..", "%2e%2e", "sim%2Fnode-0001", "sim/node-0001", "\x00", "a\nb", "{id}", "é", "//", "?", "#"} {
		f.Add(s)
	}
	a, m := open(f)
	f.Fuzz(func(t *testing.T, s string) {
		before := m.Status().Revision
		for _, prefix := range []string{"/api/v1/hosts/", "/api/v1/instances/", "/api/v1/images/", "/api/v1/operations/", "/api/v1/held/", "/api/v1/receivers/", "/api/v1/messages/"} {
			for _, method := range []string{http.MethodGet, http.MethodDelete} {
				if method == http.MethodDelete && (s == "sim/node-0001" || s == "debian-12") {
					continue // that is there
				}
				r := httptest.NewRequest(method, "/", nil)
				r.URL.Path, r.URL.RawPath = prefix+s, ""
				w := httptest.NewRecorder()
				a.ServeHTTP(w, r)
				require.Less(t, w.Code, 500, "%s %q: %s", method, prefix+s, w.Body)
			}
		}
		require.Equal(t, before, m.Status().Revision)
	})
}
