package daemon_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// counts requires a cluster's counts.
func (r *rig) counts(c object, members, done, failed, skipped int) {
	r.t.Helper()
	for k, n := range map[string]int{"members": members, "done": done, "failed": failed, "skipped": skipped, "pending": 0} {
		require.InDelta(r.t, n, c[k], 0, "%s of %v", k, c)
	}
}

// A cluster goes through all that can be asked of it, each with one request that can be repeated.
func TestTheLifeOfACluster(t *testing.T) {
	t.Parallel()
	r := start(t, 3)
	const path = "/api/v1/clusters/default/web"
	body := clusterOf("web", 4)
	a := r.post("/api/v1/clusters", body, "Idempotency-Key", "k").want(http.StatusAccepted)
	require.Equal(t, path, a.header.Get("Location"))
	require.Equal(t, "create", a.at("last", "verb"))
	c := r.settled(path)
	r.counts(c, 4, 4, 0, 0)
	require.Equal(t, "running", c["want"])
	at := r.commanded()
	r.post("/api/v1/clusters", body, "Idempotency-Key", "k").want(http.StatusAccepted)
	r.post("/api/v1/clusters", body).problem(409, "already-exists")
	require.Equal(t, at, r.commanded(), "a repetition writes nothing")
	members := r.get(path + "/members").want(http.StatusOK).items()
	require.Len(t, members, 4)
	require.Equal(t, "web-3", members[3]["name"])
	first, _ := members[0]["instance"].(string)
	i := r.get("/api/v1/instances/" + first).want(http.StatusOK)
	require.Equal(t, "default/web", i.at("cluster"))
	require.InDelta(t, 0, i.at("index"), 0)
	require.Equal(t, "default", r.get("/api/v1/operations/launch-"+first).want(http.StatusOK).at("project"))

	// One member is stopped before: it is skipped by suspend, and not resumed.
	r.post("/api/v1/instances/"+first+"/stop", nil).want(http.StatusAccepted)
	r.status(first, "stopped")
	steer := func(verb string, body any) object {
		t.Helper()
		a := r.post(path+"/"+verb, body).want(http.StatusAccepted)
		require.Equal(t, verb, a.at("last", "verb"))
		c := r.settled(path)
		at := r.commanded()
		r.post(path+"/"+verb, body).want(http.StatusAccepted)
		require.Equal(t, at, r.commanded(), "%s again writes nothing", verb)
		return c
	}
	r.counts(steer("suspend", object{}), 4, 3, 0, 1)
	skipped := r.get(path + "/members?outcome=skipped").want(http.StatusOK).items()
	require.Len(t, skipped, 1)
	require.Equal(t, first, skipped[0]["instance"])
	require.Contains(t, skipped[0]["reason"], "stopped")
	require.Len(t, r.get("/api/v1/instances?cluster=default/web&status=suspended").items(), 3)
	require.Empty(t, r.get("/api/v1/instances?cluster=default/db").items())
	r.post(path+"/scale", object{"size": 5}).problem(409, "wrong-state")
	r.counts(steer("resume", nil), 4, 3, 0, 1)
	r.counts(steer("start", nil), 4, 4, 0, 0)
	r.counts(steer("stop", nil), 4, 4, 0, 0)
	r.counts(steer("resume", nil), 4, 4, 0, 0)

	// Released, it takes nothing, and is placed anew.
	c = steer("suspend", object{"release": true})
	r.counts(c, 4, 4, 0, 0)
	require.Equal(t, "shelved", c["want"])
	require.Len(t, r.get("/api/v1/instances?status=shelved").items(), 4)
	require.InDelta(t, 0, r.get("/api/v1/pool").at("resources", "cpu", "used"), 0)
	r.counts(steer("resume", nil), 4, 4, 0, 0)

	// More, and fewer: the newest go.
	r.post(path+"/scale", object{"size": 6}).want(http.StatusAccepted)
	r.counts(r.settled(path), 6, 6, 0, 0)
	r.post(path+"/scale", object{"size": 2}).want(http.StatusAccepted)
	r.eventually(func() bool { return len(r.get(path+"/members").items()) == 2 })
	at = r.commanded()
	r.post(path+"/scale", object{"size": 2}).want(http.StatusAccepted)
	require.Equal(t, at, r.commanded())
	require.InDelta(t, 2, r.get("/api/v1/clusters?name=we&project=default").items()[0]["members"], 0)
	require.Empty(t, r.get("/api/v1/clusters?project=other").items())
	require.InDelta(t, 1, r.get("/api/v1/pool").at("clusters"), 0)

	require.Equal(t, "absent", r.call(http.MethodDelete, path, nil).want(http.StatusAccepted).at("want"))
	r.eventually(func() bool { return r.get(path).status == http.StatusNotFound })
	r.call(http.MethodDelete, path, nil).problem(404, "not-found")
	require.Empty(t, r.get("/api/v1/instances").items())
	require.Equal(t, "absent", r.post("/api/v1/clusters", body, "Idempotency-Key", "k").want(http.StatusAccepted).at("want"), "a key brings nothing back")
}

// What cannot be had in full is refused in full, or given in part on demand, and nothing is half done.
func TestClustersWithoutRoom(t *testing.T) {
	t.Parallel()
	r := start(t, 1, shape(func(c *fake.Config) { c.Hosts = []pool.Host{hostOf("sim/a", 3, 8, 100)} }))
	body := clusterOf("big", 5)
	before := r.commanded()
	p := r.post("/api/v1/clusters", body).problem(409, "no-room")
	require.Contains(t, p["detail"], "member 4 of 5")
	require.NotEmpty(t, p["placement"])
	r.get("/api/v1/clusters/default/big").problem(404, "not-found")
	require.Equal(t, before, r.commanded())

	body["best_effort"] = true
	r.post("/api/v1/clusters", body, "Idempotency-Key", "b").want(http.StatusAccepted)
	c := r.settled("/api/v1/clusters/default/big")
	r.counts(c, 3, 3, 2, 0)
	require.Contains(t, c["last"].(object)["reason"], "no host fits")
	require.InDelta(t, 2, c["last"].(object)["refused"], 0)

	before = r.commanded()
	r.post("/api/v1/clusters/default/big/scale", object{"size": 4}).problem(409, "no-room")
	r.post("/api/v1/clusters/default/big/scale", object{"size": 4, "best_effort": true}).problem(409, "no-room")
	require.Equal(t, before, r.commanded())
	r.call(http.MethodPut, "/api/v1/projects/small", object{"quota": object{"instances": 1}}).want(http.StatusOK)
	r.post("/api/v1/clusters/default/big/scale", object{"size": 1}).want(http.StatusAccepted)
	r.eventually(func() bool { return len(r.get("/api/v1/clusters/default/big/members").items()) == 1 })
	small := clusterOf("small", 2)
	small["project"] = "small"
	require.NotEmpty(t, r.post("/api/v1/clusters", small).problem(403, "over-quota")["quota"])
}

func TestBadClusterInput(t *testing.T) {
	t.Parallel()
	r := start(t, 2, shape(func(c *fake.Config) { c.Without = []hypervisor.Ability{hypervisor.CanSuspend, hypervisor.CanShelve} }))
	path := r.cluster("web", 2)
	of := func(k string, v any) object {
		b := clusterOf("bad", 2)
		b[k] = v
		return b
	}
	for name, tc := range map[string]struct {
		path   string
		body   any
		status int
		kind   string
	}{
		"no members":          {"/api/v1/clusters", of("size", 0), 422, "schema-violation"},
		"too many members":    {"/api/v1/clusters", of("size", 1001), 422, "schema-violation"},
		"half a member":       {"/api/v1/clusters", of("size", 1.5), 422, "schema-violation"},
		"negative stagger":    {"/api/v1/clusters", of("stagger", -1), 422, "schema-violation"},
		"name with a slash":   {"/api/v1/clusters", of("name", "a/b"), 422, "invalid-value"},
		"name too long":       {"/api/v1/clusters", of("name", fmt.Sprintf("%053d", 1)), 422, "schema-violation"},
		"unknown project":     {"/api/v1/clusters", of("project", "nope"), 422, "unknown-reference"},
		"unknown image":       {"/api/v1/clusters", of("spec", object{"image": "nope", "flavor": "small"}), 422, "unknown-reference"},
		"unknown field":       {"/api/v1/clusters", of("sizes", 3), 422, "schema-violation"},
		"name taken":          {"/api/v1/clusters", clusterOf("web", 2), 409, "already-exists"},
		"scale nothing":       {"/api/v1/clusters/default/none/scale", object{"size": 2}, 404, "not-found"},
		"scale below zero":    {path + "/scale", object{"size": -1}, 422, "schema-violation"},
		"scale without size":  {path + "/scale", object{}, 422, "schema-violation"},
		"scale beyond":        {path + "/scale", object{"size": 1001}, 422, "schema-violation"},
		"stop nothing":        {"/api/v1/clusters/default/none/stop", nil, 404, "not-found"},
		"stop another's":      {"/api/v1/clusters/other/web/stop", nil, 404, "not-found"},
		"an unknown verb":     {path + "/explode", nil, 404, "no-such-path"},
		"suspend with a list": {path + "/suspend", []int{1}, 422, "schema-violation"},
	} {
		t.Run(name, func(t *testing.T) {
			before := r.commanded()
			r.in(t).post(tc.path, tc.body).problem(tc.status, tc.kind)
			require.Equal(t, before, r.commanded(), "nothing was done")
		})
	}
	r.get("/api/v1/clusters/default/none/members").problem(404, "not-found")
	r.get(path+"/members?outcome=maybe").problem(422, "schema-violation")

	// What the hosts do not offer is skipped, member by member, with the reason.
	for _, release := range []bool{false, true} {
		r.post(path+"/suspend", object{"release": release}).want(http.StatusAccepted)
		r.counts(r.settled(path), 2, 0, 0, 2)
		require.Contains(t, r.get(path + "/members").items()[0]["reason"], "a host that can")
	}
	require.Len(t, r.get("/api/v1/instances?status=running").items(), 2)
}

// A staggered cluster is acted on a few members at a time.
func TestStaggeredCluster(t *testing.T) {
	t.Parallel()
	r := start(t, 3)
	body := clusterOf("slow", 5)
	body["stagger"] = 1
	r.post("/api/v1/clusters", body).want(http.StatusAccepted)
	most := 0
	r.eventually(func() bool {
		building := 0
		for _, i := range r.get("/api/v1/instances").items() {
			if i["status"] == "building" && r.get("/api/v1/operations/launch-"+i["id"].(string)).at("step") == "creating its machine" {
				building++
			}
		}
		most = max(most, building)
		return r.get("/api/v1/clusters/default/slow").at("settled") == true
	})
	require.LessOrEqual(t, most, 2, "one at a time, as seen by two requests")
	c := r.get("/api/v1/clusters/default/slow").object()
	r.counts(c, 5, 5, 0, 0)
	require.InDelta(t, 1, c["stagger"], 0)
}
