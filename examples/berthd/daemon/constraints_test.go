package daemon_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// Rules about other instances, taints and abilities over the API: they are kept, and said where they are in the way.
func TestConstraintsOverTheAPI(t *testing.T) {
	t.Parallel()
	r := start(t, 4, shape(alike), shape(func(c *fake.Config) {
		alike(c)
		for n := range c.Hosts {
			c.Hosts[n].Labels = map[string]string{"rack": fmt.Sprintf("r%d", n/2)}
			c.Hosts[n].Cost = 250_000
		}
		c.Hosts[3].Taints = []pool.Taint{{Key: "gpu", Value: "a100", Effect: pool.NoSchedule}}
	}))
	tainted := r.get(path(string("sim/node-0004"))).want(http.StatusOK)
	require.Equal(t, []any{object{"key": "gpu", "value": "a100", "effect": "no-schedule"}}, tainted.at("taints"))
	require.InDelta(t, 0.25, tainted.at("cost"), 0)

	with := func(size int, c object) object {
		body := clusterOf("web", size)
		body["spec"].(object)["constraints"] = c
		return body
	}
	p := r.post("/api/v1/clusters", with(4, object{"anti_affinity": []object{{}}})).problem(409, "no-room")
	hosts := p["placement"].(object)["hosts"].([]any)
	reason := hosts[0].(object)["reason"].(object)
	require.Equal(t, "anti-affinity", reason["constraint"])
	require.Equal(t, "1 instance on the host to stay apart from: members of the same cluster", reason["message"])
	require.InDelta(t, 1, reason["rule"].(object)["count"], 0)
	require.Equal(t, "gpu=a100:no-schedule", hosts[3].(object)["reason"].(object)["taint"])
	require.Equal(t, true, hosts[3].(object)["reason"].(object)["never"])

	tolerated := object{"anti_affinity": []object{{}}, "tolerations": []object{{"key": "gpu"}}}
	a := r.post("/api/v1/clusters", with(4, tolerated)).want(http.StatusAccepted)
	require.InDelta(t, 4, r.settled(a.header.Get("Location"))["done"], 0)
	on := map[any]int{}
	for _, i := range r.get("/api/v1/instances").items() {
		on[i["host"]]++
	}
	require.Equal(t, map[any]int{"sim/node-0001": 1, "sim/node-0002": 1, "sim/node-0003": 1, "sim/node-0004": 1}, on)

	ask := func(c object) object {
		body := vm("x")
		body["spec"].(object)["constraints"] = c
		return body
	}
	e := r.post("/api/v1/explain", ask(object{"affinity": []object{{"cluster": "db", "within": "rack"}}})).want(http.StatusOK)
	require.Equal(t, false, e.at("fits"))
	require.Equal(t, "do without affinity 0: none is placed yet of those to be near: members of cluster \"db\"",
		e.at("placement", "nearest", "steps").([]any)[0].(object)["message"])
	e = r.post("/api/v1/explain", ask(object{"anti_affinity": []object{{"cluster": "web", "soft": true}}})).want(http.StatusOK)
	require.Equal(t, true, e.at("fits"))
	require.NotEmpty(t, e.at("placement", "hosts").([]any)[0].(object)["unmet"])
	e = r.post("/api/v1/explain", ask(object{"abilities": []string{"fly"}})).want(http.StatusOK)
	require.Equal(t, false, e.at("fits"))
	require.Equal(t, true, r.post("/api/v1/explain", ask(object{"abilities": []string{"suspend", "migrate-live"}})).want(http.StatusOK).at("fits"))
	r.post("/api/v1/instances", ask(object{"anti_affinity": []object{{}}})).problem(422, "invalid-value")
	r.post("/api/v1/instances", ask(object{"spread": []object{{"within": "rack", "max_skew": 0}}})).problem(422, "schema-violation")

	apart := vm("x")
	apart["spec"].(object)["labels"] = object{"app": "db"}
	apart["spec"].(object)["constraints"] = object{"anti_affinity": []object{{"labels": object{"app": "db"}, "within": "rack"}}}
	room := r.post("/api/v1/how-many", apart).want(http.StatusOK)
	require.InDelta(t, 2, room.at("room", "fit"), 0, "one per rack")
	require.Len(t, room.at("room", "hosts"), 4)
	none := vm("x")
	none["spec"] = object{"image": "debian-12"}
	flavors := r.post("/api/v1/how-many", none).want(http.StatusOK).at("flavors").([]any)
	require.NotEmpty(t, flavors)
	for _, f := range flavors {
		require.True(t, f.(object)["room"] != nil || f.(object)["refused"] != nil, "%v", f)
	}
}
