package daemon_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// Places are held over the API, shown, committed, released, and gone when the time is up.
func TestReservations(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	const all = "/api/v1/reservations"
	spec := object{"image": "debian-12", "resources": object{"cpu": 2000, "memory": 1 << 30}}
	body := object{"instance": object{"project": "default", "name": "held", "spec": spec}, "for_seconds": 600}
	a := r.post(all, body, "Idempotency-Key", "k").want(http.StatusCreated)
	id, _ := a.at("id").(string)
	path := all + "/" + id
	require.Equal(t, path, a.header.Get("Location"))
	require.Equal(t, "held", a.at("status"))
	require.Len(t, r.get(all).want(http.StatusOK).items(), 1)
	i := r.get("/api/v1/instances/" + id).want(http.StatusOK)
	require.Equal(t, "reserved", i.at("status"))
	require.NotEmpty(t, i.at("until"))
	require.Len(t, r.get("/api/v1/instances?status=reserved").want(http.StatusOK).items(), 1)
	require.Equal(t, id, r.post(all, body, "Idempotency-Key", "k").want(http.StatusCreated).at("id"))
	r.post("/api/v1/instances", body["instance"].(object), "Idempotency-Key", "k").problem(422, "idempotency-key-reused")

	r.post(path+"/commit", nil).want(http.StatusAccepted)
	require.Equal(t, "committed", r.post(path+"/commit", nil).want(http.StatusAccepted).at("status"))
	r.eventually(func() bool { return r.get("/api/v1/operations/launch-"+id).want(http.StatusOK).at("status") == "done" })
	require.Equal(t, "running", r.get("/api/v1/instances/"+id).want(http.StatusOK).at("status"))
	r.call(http.MethodDelete, path, nil).problem(409, "committed")
	require.Empty(t, r.get(all).want(http.StatusOK).items())

	cluster := r.post(all, object{"cluster": object{"project": "default", "name": "web", "size": 2, "spec": spec}}, "Idempotency-Key", "c").want(http.StatusCreated)
	require.Equal(t, "default/web", cluster.at("cluster"))
	path = all + "/" + cluster.at("id").(string)
	r.post("/api/v1/clusters/default/web/scale", object{"size": 1}).problem(409, "wrong-state")
	for range 2 {
		require.Equal(t, "released", r.call(http.MethodDelete, path, nil).want(http.StatusOK).at("status"))
	}
	require.Equal(t, "released", r.get(path).want(http.StatusOK).at("status"))
	r.post(path+"/commit", nil).problem(410, "released")
	r.get("/api/v1/clusters/default/web").problem(404, "not-found")

	spared := object{"project": "default", "name": "spared", "size": 1, "spec": spec, "spare": 2}
	no := r.post("/api/v1/clusters", spared).problem(409, "no-room")
	require.Contains(t, no["detail"], "has no place left when", "both hosts fail")
	spared["spare"], spared["domain"] = 1, "zone"
	spared["wait"] = true
	r.post("/api/v1/clusters", spared).problem(422, "invalid-value")

	body = object{"instance": object{"project": "default", "name": "short", "spec": spec}, "for_seconds": 1}
	short := r.post(all, body, "Idempotency-Key", "s").want(http.StatusCreated)
	path = all + "/" + short.at("id").(string)
	r.eventually(func() bool { return r.get(path).want(http.StatusOK).at("status") == "expired" })
	r.post(path+"/commit", nil).problem(410, "expired")
	r.post(all, body, "Idempotency-Key", "s").problem(410, "expired")

	r.post(all, object{}).problem(422, "invalid-value")
	r.post(all, object{"instance": body["instance"], "for_seconds": 31622400}).problem(422, "invalid-value")
	r.post(all+"/i0123456789abcdefghjkmnpq/commit", nil).problem(404, "not-found")
	r.post(all, object{"instance": object{"project": "default", "name": "huge", "spec": object{"image": "debian-12", "resources": object{"cpu": 64000000, "memory": 1 << 30}}}}).problem(422, "invalid-value")
}
