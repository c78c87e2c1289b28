package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// Whatever a tenant reads, there is no word of the others in it, and nothing is counted that it cannot see.
func TestTenantsSeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	x := newTenants(t)
	foreign := []string{"rival", "i-other", "c-other", "r-other", "w-other", "i-parent", "c-parent", "sim/node-0003"}
	for _, name := range []string{"other", "parent"} {
		th := x.things[name]
		foreign = append(foreign, th.instance, th.reservation, th.waiting, th.silence)
	}
	for _, role := range roles() {
		who := role + "-shop"
		texts := map[string]string{"the stream": x.follow(who)}
		for path, methods := range x.doc.Paths {
			if op, ok := methods["get"]; ok && op.ID != "stream-events" && !strings.Contains(path, "{") {
				w := x.ask(who, http.MethodGet, path+"", nil)
				texts[path] = w.Body.String()
				var page struct {
					Total *int
					Items []any
				}
				if _ = json.Unmarshal(w.Body.Bytes(), &page); page.Total != nil && op.ID != "get-usage" && op.ID != "get-project-usage" {
					require.Len(t, page.Items, *page.Total, path)
				}
			}
		}
		for path, text := range texts {
			for _, word := range foreign {
				if word == "sim/node-0003" && path != "/api/v1/hosts" && path != "/api/v1/pool" {
					continue // where one's own instance is one may know
				}
				require.NotContains(t, text, word, "%s: %s", who, path)
			}
		}
		var p struct{ Instances map[string]int }
		require.NoError(t, json.Unmarshal([]byte(texts["/api/v1/pool"]), &p))
		want := 0
		if role != "nobody" {
			want = 4 * (len(roles()) + 1) // launched, of a cluster, reserved, waiting; one's own and somebody else's
		}
		require.Equal(t, want, p.Instances["all"], who)
	}
	// Why something waits tells how full the hosts are, to whoever may know.
	for who, told := range map[string]bool{"admin-shop": false, "viewer-all": true} {
		waiting := x.things["theirs"].waiting
		for _, path := range []string{"/api/v1/queue", "/api/v1/instances", "/api/v1/instances/" + waiting, "/api/v1/instances/" + waiting + "/queue"} {
			w := x.ask(who, http.MethodGet, path, nil)
			require.Contains(t, w.Body.String(), waiting)
			require.Equal(t, told, strings.Contains(w.Body.String(), "no host fits"), "%s %s: %s", who, path, w.Body)
		}
		require.Equal(t, told, strings.Contains(x.follow(who), "no host fits"), who)
	}
	// The test would see it.
	require.Contains(t, x.follow("viewer-all"), x.things["other"].instance)
}

// What must not be seen and what there is not are answered alike.
func TestHiddenIsAsIfItWereNot(t *testing.T) {
	t.Parallel()
	x := newTenants(t)
	other := x.things["other"]
	for path, methods := range x.doc.Paths {
		if !strings.Contains(path, "/instances/{id}") && !strings.Contains(path, "/reservations/{id}") && !strings.Contains(path, "/clusters/{project}") {
			continue
		}
		for method, op := range methods {
			var body []byte
			if op.Body != nil {
				b, err := json.Marshal(op.Body.Content["application/json"].Example)
				require.NoError(t, err)
				body = b
			}
			there := other.path(op.ID, path)
			not := strings.NewReplacer(other.instance, "nothing", other.reservation, "nothing", other.waiting, "nothing", other.cluster, "nowhere/nothing").Replace(there)
			require.NotEqual(t, there, not)
			clean := func(p string) string {
				w := x.ask("admin-shop", strings.ToUpper(method), p, body)
				require.Equal(t, http.StatusNotFound, w.Code, "%s %s", method, p)
				var m map[string]any
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &m))
				delete(m, "request_id")
				delete(m, "value")
				b, err := json.Marshal(m)
				require.NoError(t, err)
				return string(b)
			}
			require.Equal(t, clean(not), clean(there), op.ID)
		}
	}
}

// Who asks is who has signed in, whatever else the request says.
func TestNothingCanBeSmuggledIn(t *testing.T) {
	t.Parallel()
	x := newTenants(t)
	for _, h := range []pool.HostID{"sim/node-0001", "sim/node-0002", "sim/node-0003"} {
		_, err := x.m.Uncordon(t.Context(), h)
		require.NoError(t, err)
	}
	launch := func(who, key string, change func(map[string]any)) (int, pool.Instance) {
		body := map[string]any{"project": "shop", "name": "web", "spec": map[string]any{"image": "debian-12", "flavor": "small"}}
		if change != nil {
			change(body)
		}
		b, err := json.Marshal(body)
		require.NoError(t, err)
		r := x.as(who, http.MethodPost, "/api/v1/instances", b)
		r.Header.Set("Idempotency-Key", key)
		for _, h := range []string{"X-Actor", "X-Forwarded-User", "X-Role", "Actor", "Owner"} {
			r.Header.Set(h, "admin-all")
		}
		w := answer(x, r)
		var out struct{ Instance struct{ ID string } }
		_ = json.Unmarshal(w.Body.Bytes(), &out)
		i, _ := x.m.Instance(pool.InstanceID(out.Instance.ID))
		return w.Code, i
	}
	code, mine := launch("user-shop", "k1", nil)
	require.Equal(t, http.StatusAccepted, code)
	require.Equal(t, "user-shop", mine.Owner)
	code, again := launch("user-shop", "k1", nil)
	require.Equal(t, http.StatusAccepted, code)
	require.Equal(t, mine.ID, again.ID, "the same key is the same launch")
	code, other := launch("operator-shop", "k1", nil)
	require.Equal(t, http.StatusAccepted, code)
	require.NotEqual(t, mine.ID, other.ID, "somebody else's key is another one")

	for field, value := range map[string]any{"owner": "admin-all", "role": "admin", "actor": "root", "by": map[string]any{"principal": "root"}, "Owner": "x"} {
		code, _ = launch("user-shop", "s-"+field, func(b map[string]any) { b[field] = value })
		require.Equal(t, http.StatusUnprocessableEntity, code, field)
		code, _ = launch("user-shop", "t-"+field, func(b map[string]any) { b["spec"].(map[string]any)[field] = value })
		require.Equal(t, http.StatusUnprocessableEntity, code, field)
	}
	for _, project := range []string{"rival", "acme", "nowhere", "shop/../rival"} {
		code, _ = launch("admin-shop", "p-"+project, func(b map[string]any) { b["project"] = project })
		require.Equal(t, http.StatusNotFound, code, project)
	}
	require.Equal(t, http.StatusUnprocessableEntity, x.ask("user-shop", http.MethodGet, "/api/v1/instances?owner=somebody", nil).Code)

	// A project lies where it lies, whoever changes its quota.
	w := x.ask("admin-all", http.MethodPut, "/api/v1/projects/shop", []byte(`{"quota":{"instances":100}}`))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	x.m.View(func(st *pool.State) {
		p, ok := st.Project("shop")
		require.True(t, ok)
		require.Equal(t, "acme", p.Parent)
	})
	for who, want := range map[string]int{"admin-shop": http.StatusForbidden, "user-all": http.StatusForbidden, "nobody-shop": http.StatusNotFound} {
		require.Equal(t, want, x.ask(who, http.MethodPut, "/api/v1/projects/shop", []byte(`{"quota":{},"parent":"rival"}`)).Code, who)
	}
}

// A right that is taken away is gone with the next request.
func TestRightsAreThoseOfTheMoment(t *testing.T) {
	t.Parallel()
	x := newTenants(t)
	path := "/api/v1/instances/" + x.things["theirs"].instance
	require.Equal(t, http.StatusOK, x.ask("viewer-shop", http.MethodGet, path, nil).Code)
	r := x.as("viewer-shop", http.MethodGet, path, nil)
	require.NoError(t, x.m.Decide(t.Context(), auth.Name, auth.Command{Program: true, Unbind: "viewer-shop"}))
	require.Equal(t, http.StatusNotFound, answer(x, r).Code)
	r = x.as("viewer-shop", http.MethodGet, "/api/v1/session", nil)
	require.NoError(t, x.m.Decide(t.Context(), auth.Name, auth.Command{Program: true, Disable: "viewer-shop"}))
	require.Equal(t, http.StatusUnauthorized, answer(x, r).Code)
}

// A quota of the project above is one that a tenant may not know of: only that it holds.
func TestTheQuotaAboveIsNotShown(t *testing.T) {
	t.Parallel()
	x := newTenants(t)
	require.NoError(t, x.m.PutProject(t.Context(), pool.Project{Name: "acme", Quota: pool.Resources{pool.Instances: 3}}))
	body := []byte(`{"project":"shop","name":"web","spec":{"image":"debian-12","flavor":"small"}}`)
	w := x.ask("user-shop", http.MethodPost, "/api/v1/instances", body)
	require.Equal(t, http.StatusForbidden, w.Code, w.Body)
	require.Contains(t, w.Body.String(), "/problems/over-quota")
	require.NotContains(t, w.Body.String(), "acme")
	require.NotContains(t, w.Body.String(), `"limit":3`)
	w = x.ask("user-all", http.MethodPost, "/api/v1/instances", body)
	require.Equal(t, http.StatusForbidden, w.Code, w.Body)
	require.Contains(t, w.Body.String(), `"limit":3`)
	require.Contains(t, w.Body.String(), "acme")
}
