package daemon_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// What finds no quota waits in the queue, which says why, and gets its place when the quota allows it.
func TestQueue(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	r.call(http.MethodPut, "/api/v1/projects/lab", object{"quota": object{"cpu": 2000}, "weight": 2}).want(http.StatusOK)
	require.InDelta(t, 2, r.get("/api/v1/projects/lab").want(http.StatusOK).at("weight"), 0)
	launch := func(name string, wait bool) *answer {
		return r.post("/api/v1/instances", object{"project": "lab", "name": name, "wait": wait, "spec": object{
			"image": "debian-12", "resources": object{"cpu": 2000, "memory": 1 << 30}, "priority": 3, "preemptible": "shelve", "lifetime": 3600,
		}})
	}
	first := launch("first", true).want(http.StatusAccepted)
	require.Equal(t, "done", r.finished(first)["status"])
	launch("second", false).problem(403, "over-quota")
	second := launch("second", true).want(http.StatusAccepted)
	require.Equal(t, "waiting", second.at("instance", "status"))
	require.Equal(t, "shelve", second.at("instance", "preemptible"))
	require.InDelta(t, 3600, second.at("instance", "lifetime"), 0)
	require.Equal(t, "waits for a place", second.at("operation", "step"))
	id, _ := second.at("instance", "id").(string)

	queue := r.get("/api/v1/queue").want(http.StatusOK).items()
	require.Len(t, queue, 1)
	require.Len(t, r.get("/api/v1/instances?status=waiting").want(http.StatusOK).items(), 1)
	w := r.get("/api/v1/instances/" + id + "/queue").want(http.StatusOK)
	require.InDelta(t, 1, w.at("position"), 0)
	require.InDelta(t, 3, w.at("priority"), 0)
	require.Contains(t, w.at("reason"), "over quota")

	r.call(http.MethodPut, "/api/v1/projects/lab", object{"quota": object{"cpu": 4000}}).want(http.StatusOK)
	require.Equal(t, "done", r.finished(second)["status"])
	require.Equal(t, "running", r.get("/api/v1/instances/"+id).want(http.StatusOK).at("status"))
	r.get("/api/v1/instances/"+id+"/queue").problem(404, "not-found")
	require.Empty(t, r.get("/api/v1/queue").want(http.StatusOK).items())
}
