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

	// How many more fit: of each flavor that may be launched, or of one.
	r.call(http.MethodPut, "/api/v1/flavors/vast", object{"resources": object{"cpu": 1e15, "memory": 1 << 30}}).want(http.StatusOK)
	a = r.post("/api/v1/what-if", object{"lose": []any{host}, "fits": object{"project": "default", "spec": object{"image": "debian-12"}}}).want(http.StatusOK)
	rooms := a.at("how_many").([]any)
	require.Len(t, rooms, len(r.get("/api/v1/flavors").items())-1, "no instance may be that large")
	for _, x := range rooms {
		require.Greater(t, x.(object)["before"], x.(object)["after"])
	}
	a = r.post("/api/v1/what-if", object{"fits": object{"project": "default", "spec": object{"image": "debian-12", "flavor": "small"}}}).want(http.StatusOK)
	require.Len(t, a.at("how_many"), 1)
	require.Equal(t, a.at("how_many").([]any)[0].(object)["before"], a.at("how_many").([]any)[0].(object)["after"])
	r.post("/api/v1/what-if", object{"fits": object{"project": "none", "spec": object{"image": "debian-12"}}}).problem(422, "unknown-reference")

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

// The present demand and hosts are a question that can be asked as it is, and with the hosts to be had anew.
func TestPresentCapacity(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(alike))
	require.Empty(t, r.get("/api/v1/capacity").want(http.StatusOK).at("items"))
	r.launch(vm("one"))
	r.launch(vm("two"))
	q := r.get("/api/v1/capacity").want(http.StatusOK).object()
	require.Len(t, q["items"], 1)
	require.InDelta(t, 2, q["items"].([]any)[0].(map[string]any)["count"], 0)
	host := q["hosts"].([]any)[0].(map[string]any)
	require.InDelta(t, 3, host["count"], 0)
	a := r.post("/api/v1/capacity", q).want(http.StatusOK)
	require.InDelta(t, 0, a.at("cost"), 0, "what is there suffices")
	delete(host, "owned")
	a = r.post("/api/v1/capacity", q).want(http.StatusOK)
	require.InDelta(t, 1, a.at("least"), 0, "one would do")
	require.Equal(t, true, a.at("optimal"))
}

// What has happened happens again, on fewer hosts, by another policy; it runs by itself and can be called off.
func TestReplays(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(alike))
	r.launch(vm("one"))
	gone := r.launch(vm("two"))
	from := r.get("/api/v1/instances/" + gone).at("launched_at") // by the store's clock, which is not this one
	require.NotEmpty(t, from)
	r.finished(r.call(http.MethodDelete, "/api/v1/instances/"+gone, nil).want(http.StatusAccepted))
	ended := func(body object) *answer {
		t.Helper()
		at := ""
		r.eventually(func() bool { // until no other one runs
			a := r.post("/api/v1/replays", body)
			at = a.header.Get("Location")
			return a.status == http.StatusAccepted
		})
		r.eventually(func() bool { return r.get(at).at("state") != "running" })
		return r.get(at)
	}
	a := ended(object{"from": from, "policy": "spread"})
	require.Equal(t, "done", a.at("state"), "%s", a.body)
	require.InDelta(t, 1, a.at("result", "came"), 0, "%s", a.body)
	require.InDelta(t, 1, a.at("result", "went"), 0)
	require.InDelta(t, 0, a.at("result", "same", "refused"), 0)
	require.InDelta(t, 1, a.at("result", "same", "launched", "placed"), 0)
	require.InDelta(t, 2, a.at("result", "changed", "most_hosts"), 0, "spread")
	require.Greater(t, a.at("result", "same", "peak", "cpu", "used"), 0.0)
	require.NotZero(t, a.at("progress", "revision"))

	a = ended(object{"from": from, "lose": []any{"sim/node-0001", "sim/node-0002", "sim/node-0003"}})
	require.InDelta(t, 2, a.at("result", "changed", "refused"), 0)
	refused := a.at("result", "changed", "launched", "refused").([]any)[0].(map[string]any)
	require.Equal(t, "two", refused["name"])
	require.NotEmpty(t, refused["reason"].(map[string]any)["demand"])

	a = ended(object{"from": from, "lose": []any{"sim/none"}})
	require.Equal(t, "failed", a.at("state"))
	require.Contains(t, a.at("reason"), "sim/none")
	at := "/api/v1/replays/" + a.at("id").(string)
	r.call(http.MethodDelete, at, nil).want(http.StatusNoContent)
	r.get(at).problem(404, "not-found")
	r.call(http.MethodDelete, at, nil).problem(404, "not-found")
	r.post("/api/v1/replays", object{"from": from, "until": from}).problem(422, "invalid-value")
	r.post("/api/v1/replays", object{"from": from, "policy": "luck"}).problem(422, "schema-violation")
	r.post("/api/v1/replays", object{"ratios": object{"cpu": -1}}).problem(422, "invalid-value")
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
