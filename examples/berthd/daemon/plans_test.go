package daemon_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatIf(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(alike))
	id := r.launch(vm("one"))
	host := r.get("/api/v1/instances/" + id).at("host")
	spec := vm("x")["spec"]
	a := r.post("/api/v1/what-if", object{
		"lose": []any{host}, "spare": 1, "add": []object{{"like": "sim/node-0001", "count": 1, "zone": "z"}}, "ratios": object{"cpu": 2.5},
		"demand": []object{{"name": "more", "project": "default", "spec": spec, "count": 2}},
	}).want(http.StatusOK)
	require.Equal(t, true, a.at("fits"))
	require.InDelta(t, 1, a.at("displaced", "placed"), 0)
	require.InDelta(t, 2, a.at("demand").([]any)[0].(object)["placed"], 0)
	require.Len(t, a.at("hosts"), 4)
	require.InDelta(t, 3, a.at("spare", "survived"), 0)
	require.Nil(t, a.at("missing"))

	a = r.post("/api/v1/what-if", object{"demand": []object{{"project": "default", "spec": spec, "count": 20000}}}).want(http.StatusOK)
	require.Equal(t, false, a.at("fits"))
	refused := a.at("demand").([]any)[0].(object)["refused"].([]any)[0].(object)
	require.NotEmpty(t, refused["reason"].(object)["counts"])
	require.NotEmpty(t, refused["reason"].(object)["nearest"])
	require.Greater(t, a.at("missing", "least"), 1.0)
	require.GreaterOrEqual(t, a.at("missing", "hosts"), a.at("missing", "least"))
	require.Len(t, r.get("/api/v1/instances").items(), 1, "the books are as they were")

	require.Equal(t, "lose[0]", r.post("/api/v1/what-if", object{"lose": []any{"sim/none"}}).problem(422, "unknown-reference")["field"])
	r.post("/api/v1/what-if", object{"ratios": object{"cpu": -1}}).problem(422, "invalid-value")
	r.post("/api/v1/what-if", object{"growth": 0.5}).problem(422, "schema-violation")
	r.post("/api/v1/what-if", object{"demand": []object{{"project": "none", "spec": spec, "count": 1}}}).problem(422, "unknown-reference")
}

func TestPlanCapacity(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	a := r.post("/api/v1/capacity", object{
		"items": []object{{"resources": object{"cpu": 2000}, "count": 100}, {"name": "odd", "resources": object{"cpu": 3000}, "count": 1}},
		"hosts": []object{{"name": "new", "capacity": object{"cpu": 16000}, "units": object{"cpu": object{"step": 2000}}}, {"name": "old", "capacity": object{"cpu": 16000}, "units": object{"cpu": object{"max": 2000}}, "count": 2, "owned": true}},
		"spare": 1,
	}).want(http.StatusOK)
	require.Equal(t, "odd", a.at("never").([]any)[0].(object)["name"])
	require.InDelta(t, 12, a.at("cost"), 0, "100 of which 8 fill one: 13 hosts, and a spare one; two of them are there")
	require.LessOrEqual(t, a.at("least"), a.at("cost"))
	require.InDelta(t, 11, a.at("least"), 0)
	require.Equal(t, "items[0].resources.cpu", r.post("/api/v1/capacity", object{"items": []object{{"resources": object{"cpu": -1}, "count": 1}}, "hosts": []object{{"capacity": object{"cpu": 1}}}}).problem(422, "invalid-value")["field"])
}

func TestRebalance(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(alike))
	for n := range 2 { // one instance on each of two hosts
		body := vm(fmt.Sprint("vm-", n))
		body["spec"].(object)["constraints"] = object{"hosts": []string{fmt.Sprintf("sim/node-000%d", n+1)}}
		r.launch(body)
	}
	body := vm("free") // and one that may go to another
	body["spec"].(object)["constraints"] = object{"hosts": []string{"sim/node-0003", "sim/node-0002"}}
	free := r.launch(body)
	r.finished(r.post("/api/v1/instances/"+free+"/move", object{"host": "sim/node-0003"}).want(http.StatusAccepted))

	require.Equal(t, "off", r.get("/api/v1/rebalancing").want(http.StatusOK).at("mode"))
	a := r.post("/api/v1/rebalance-plans", object{"goal": "defragment", "moves": 5}).want(http.StatusCreated)
	require.Equal(t, "planned", a.at("state"))
	require.Len(t, a.at("moves"), 1)
	require.InDelta(t, 3, a.at("before", "hosts"), 0)
	require.InDelta(t, 2, a.at("after", "hosts"), 0)
	require.Equal(t, []any{"sim/node-0003"}, a.at("emptied"))
	require.NotEmpty(t, a.at("skipped"))
	at := a.header.Get("Location")
	require.Len(t, r.get("/api/v1/rebalance-plans").items(), 1)
	r.eventually(func() bool { // until the last observation of the instance is in the books, which counts as a change
		r.post(at+"/start", nil).want(http.StatusAccepted)
		r.eventually(func() bool { return r.get(at).at("state") != "running" })
		if r.get(at).at("state") == "done" {
			return true
		}
		at = r.post("/api/v1/rebalance-plans", object{"goal": "defragment"}).want(http.StatusCreated).header.Get("Location")
		return false
	})
	require.InDelta(t, 1, r.get(at).at("carried", "moved"), 0)
	require.Equal(t, "sim/node-0002", r.get("/api/v1/instances/"+free).at("host"))
	r.post(at+"/start", nil).want(http.StatusAccepted)
	r.post(at+"/stop", nil).want(http.StatusAccepted)
	require.Equal(t, "done", r.get(at).at("state"), "it is not begun again")

	again := r.post("/api/v1/rebalance-plans", object{}).want(http.StatusCreated)
	require.Empty(t, again.at("moves"))

	// A plan on books that have changed since moves nothing.
	drain := r.post("/api/v1/rebalance-plans", object{"goal": "drain", "hosts": []string{"sim/node-0002"}}).want(http.StatusCreated)
	require.Len(t, drain.at("moves"), 1)
	r.finished(r.post("/api/v1/instances/"+free+"/stop", nil).want(http.StatusAccepted))
	at = drain.header.Get("Location")
	r.post(at+"/start", nil).want(http.StatusAccepted)
	r.eventually(func() bool { return r.get(at).at("state") == "ended" })
	require.Contains(t, r.get(at).at("reason"), "changed since")
	require.Equal(t, "sim/node-0002", r.get("/api/v1/instances/"+free).at("host"))

	r.get("/api/v1/rebalance-plans/none").problem(404, "not-found")
	r.post("/api/v1/rebalance-plans", object{"goal": "drain"}).problem(422, "invalid-value")
	r.post("/api/v1/rebalance-plans", object{"goal": "drain", "hosts": []string{"sim/none"}}).problem(422, "unknown-reference")
}
