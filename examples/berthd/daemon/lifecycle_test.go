package daemon_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func TestMoving(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(func(c *fake.Config) {
		alike(c)
		c.Migrate = time.Second
	}))
	id := r.launch(vm("nomad"))
	from := r.get("/api/v1/instances/" + id).at("host")
	a := r.post("/api/v1/instances/"+id+"/move", object{}).want(http.StatusAccepted)
	require.Equal(t, "move", a.at("operation", "kind"))
	to := a.at("instance", "moving", "host")
	require.NotEqual(t, from, to)
	again := r.post("/api/v1/instances/"+id+"/move", object{}).want(http.StatusAccepted)
	if r.get(a.header.Get("Location")).at("status") == "running" { // else this may be another move
		require.Equal(t, a.at("operation", "id"), again.at("operation", "id"))
	}
	op := r.finished(a)
	require.Equal(t, "done", op["status"])
	r.settled("/api/v1/instances/" + id)
	now := r.get("/api/v1/instances/" + id)
	require.Equal(t, "running", now.at("status"))
	require.Nil(t, now.at("moving"))

	// To where it is: nothing is left to be done.
	before := r.commanded()
	there := r.post("/api/v1/instances/"+id+"/move", object{"host": now.at("host")}).want(http.StatusAccepted)
	require.Equal(t, "done", there.at("operation", "status"))
	require.Equal(t, before, r.commanded())
	r.post("/api/v1/instances/"+id+"/move", object{"host": "sim/none"}).problem(422, "unknown-reference")
	r.post("/api/v1/instances/i0000000000000000000000000/move", object{}).problem(404, "not-found")
	r.post("/api/v1/instances/"+id+"/move", object{"hots": "x"}).problem(422, "schema-violation")
	r.post("/api/v1/instances/"+id+"/move", nil).want(http.StatusBadRequest)
	require.Equal(t, before, r.commanded())
	for _, other := range r.all("/api/v1/hosts") {
		if other["id"] != now.at("host") {
			r.post(path(other["id"])+"/cordon", object{}).want(http.StatusOK)
		}
	}
	require.NotEmpty(t, r.post("/api/v1/instances/"+id+"/move", object{}).problem(409, "no-room")["placement"])
}

// Where nothing can be moved or resized as it runs, leave to stop it is needed.
func TestMovingAndResizingCold(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(func(c *fake.Config) {
		alike(c)
		c.Without = []hypervisor.Ability{hypervisor.CanMigrateLive, hypervisor.CanResizeHot}
	}))
	id := r.launch(vm("fixed"))
	for verb, body := range map[string]object{"move": {}, "resize": {"resources": object{"cpu": 2000}}} {
		p := r.post("/api/v1/instances/"+id+"/"+verb, body).problem(409, "wrong-state")
		require.Contains(t, p["want"], "leave to stop it")
		body["cold"] = true
		op := r.finished(r.post("/api/v1/instances/"+id+"/"+verb, body).want(http.StatusAccepted))
		require.Equal(t, "done", op["status"])
		r.settled("/api/v1/instances/" + id)
		r.status(id, "running")
	}
}

// A move that comes to nothing is told as failed, and the machine stays.
func TestAMoveThatFails(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(func(c *fake.Config) {
		alike(c)
		c.Settles = time.Millisecond
		c.Hook = func(c fake.Call) fake.Fault {
			if c.Op == fake.OpMigrate || c.Op == fake.OpResize || c.Op == fake.OpShelve {
				return fake.Fault{Kind: fake.Refuse}
			}
			return fake.Fault{}
		}
	}))
	id := r.launch(vm("stuck"))
	from := r.get("/api/v1/instances/" + id).at("host")
	for _, s := range []struct {
		verb string
		body any
	}{{"move", object{}}, {"resize", object{"resources": object{"cpu": 2000}}}, {"shelve", nil}} {
		op := r.finished(r.post("/api/v1/instances/"+id+"/"+s.verb, s.body).want(http.StatusAccepted))
		require.Equal(t, "failed", op["status"], s.verb)
		require.NotEmpty(t, op["reason"])
		i := r.settled("/api/v1/instances/" + id)
		require.Equal(t, from, i["host"])
		require.NotEmpty(t, i["reason"])
	}
	require.Equal(t, "running", r.settled("/api/v1/instances/" + id)["status"], "it was stopped to be shelved, and is as it was before")
}

func TestResizing(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	id := r.launch(vm("grows"))
	url := "/api/v1/instances/" + id + "/resize"
	op := r.finished(r.post(url, object{"resources": object{"cpu": 2000}, "disks": []int64{2 * pool.GiB}}).want(http.StatusAccepted))
	require.Equal(t, "done", op["status"])
	i := r.settled("/api/v1/instances/" + id)
	require.InDelta(t, 2000, i["resources"].(object)["cpu"], 0)
	require.InDelta(t, pool.GiB, i["resources"].(object)["memory"], 0)
	require.InDelta(t, 2*pool.GiB, i["disks"].([]any)[0].(object)["size"], 0)

	before := r.commanded()
	same := r.post(url, object{"resources": object{"cpu": 2000}}).want(http.StatusAccepted)
	require.Equal(t, op["id"], same.at("operation", "id"), "it has those sizes")
	for name, tc := range map[string]struct {
		body   object
		status int
		kind   string
	}{
		"a disk that shrinks":    {object{"disks": []int64{pool.GiB}}, 422, "invalid-value"},
		"more disks than it has": {object{"disks": []int64{0, pool.GiB}}, 422, "invalid-value"},
		"an unknown flavor":      {object{"flavor": "none"}, 422, "unknown-reference"},
		"both":                   {object{"flavor": "small", "resources": object{"cpu": 1000}}, 422, "invalid-value"},
		"another class":          {object{"resources": object{"gpu": 1}}, 422, "invalid-value"},
		"nothing of cpu":         {object{"resources": object{"cpu": -1}}, 422, "invalid-value"},
		"beyond the limits":      {object{"resources": object{"cpu": 1 << 60}}, 422, "invalid-value"},
		"an unknown field":       {object{"size": 1}, 422, "schema-violation"},
	} {
		t.Run(name, func(t *testing.T) { r.in(t).post(url, tc.body).problem(tc.status, tc.kind) })
	}
	r.post("/api/v1/instances/i0000000000000000000000000/resize", object{}).problem(404, "not-found")
	require.Equal(t, before, r.commanded())
	r.call(http.MethodPut, "/api/v1/projects/default", object{"quota": object{"cpu": 3000}}).want(http.StatusOK)
	r.post(url, object{"resources": object{"cpu": 4000}}).problem(403, "over-quota")
}

func TestShelving(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	id := r.launch(vm("rests"))
	url := "/api/v1/instances/" + id
	a := r.post(url+"/shelve", nil).want(http.StatusAccepted)
	require.Equal(t, "shelve", a.at("operation", "kind"))
	require.Equal(t, "done", r.finished(a)["status"])
	i := r.status(id, "shelved")
	require.NotEmpty(t, i["shelved_on"])
	require.Nil(t, i["host"])
	require.Empty(t, i["resources"])
	require.Equal(t, a.at("operation", "id"), r.post(url+"/shelve", nil).want(http.StatusAccepted).at("operation", "id"))
	require.Len(t, r.get("/api/v1/instances?status=shelved").items(), 1)
	require.InDelta(t, 1, r.get("/api/v1/pool").at("instances", "shelved"), 0)
	r.post(url+"/reboot", nil).want(http.StatusConflict)
	r.get(url+"/console").problem(409, "wrong-state")
	r.post(url+"/move", object{}).problem(409, "wrong-state")
	r.post(url+"/resize", object{"resources": object{"cpu": 2000}}).problem(409, "wrong-state")

	r.call(http.MethodPut, "/api/v1/projects/default", object{"quota": object{"instances": 0}}).want(http.StatusOK)
	r.post(url+"/unshelve", nil).problem(403, "over-quota")
	r.call(http.MethodPut, "/api/v1/projects/default", object{"quota": object{}}).want(http.StatusOK)
	a = r.post(url+"/unshelve", nil).want(http.StatusAccepted)
	require.Equal(t, "unshelve", a.at("operation", "kind"))
	require.Equal(t, "done", r.finished(a)["status"])
	r.status(id, "running")
	r.settled(url)
	require.Equal(t, a.at("operation", "id"), r.post(url+"/unshelve", nil).want(http.StatusAccepted).at("operation", "id"))
}

func TestDraining(t *testing.T) {
	t.Parallel()
	r := start(t, 3, shape(alike))
	for _, name := range []string{"a", "b", "c"} {
		r.launch(vm(name))
	}
	pinned := vm("pinned")
	pinned["spec"].(object)["constraints"] = object{"hosts": []string{"sim/node-0001"}}
	id := r.launch(pinned)
	host := path("sim/node-0001")
	a := r.post(host+"/drain", object{"reason": "new memory"}).want(http.StatusOK)
	require.Equal(t, false, a.at("schedulable"))
	require.Contains(t, a.at("conditions"), "draining")
	require.Equal(t, "new memory", a.at("reason"))
	r.post(host+"/drain", object{"reason": "new memory"}).want(http.StatusOK)
	r.eventually(func() bool { return len(r.get(host+"/leaving").want(http.StatusOK).items()) == 1 })
	l := r.get(host + "/leaving").items()[0]
	require.Equal(t, id, l["instance"])
	require.NotEmpty(t, l["reason"], "why it cannot go")
	require.Len(t, r.get("/api/v1/hosts?condition=draining").items(), 1)
	require.Equal(t, true, r.post(host+"/undrain", nil).want(http.StatusOK).at("schedulable"))
	r.post(path("sim/none")+"/drain", object{}).problem(404, "not-found")
	r.post(path("sim/none")+"/undrain", nil).problem(404, "not-found")
	r.get(path("sim/none")+"/leaving").problem(404, "not-found")
	r.post(host+"/drain", object{"reason": "a\nb"}).problem(422, "invalid-value")
	for _, op := range r.get("/api/v1/operations?limit=1000").items() {
		if op["kind"] == "move" {
			require.Equal(t, "berthage", op["actor"])
		}
	}
}

// lost makes a fleet of which nobody can switch a host off, and daemons that soon take one for lost.
func lost(policy berthage.Evacuation, without ...hypervisor.Ability) edit {
	return func(c *config.Config, o *daemon.Options) {
		c.Grace, c.Poll, c.FenceAfter, c.Evacuation = time.Second, 200*time.Millisecond, time.Second, policy
		o.Fleet = func(c *fake.Config) {
			alike(c)
			c.Without, c.Settles = without, time.Millisecond
		}
	}
}

func TestALostHost(t *testing.T) {
	t.Parallel()
	r := start(t, 4, lost(berthage.EvacuateFenced, hypervisor.CanFence))
	id := r.launch(vm("survivor"))
	before := r.get("/api/v1/instances/" + id)
	from := before.at("host").(string)
	off := object{"proof": "the plug is in my hand"}
	r.post(path(from)+"/confirm-off", off).problem(409, "wrong-state")
	r.post(path(from)+"/confirm-off", object{"proof": ""}).problem(422, "schema-violation")
	r.post(path(from)+"/confirm-off", object{"proof": "a\nb"}).problem(422, "invalid-value")
	r.post(path("sim/none")+"/confirm-off", off).problem(404, "not-found")
	r.post("/api/v1/instances/"+id+"/rebuild", object{"machine": before.at("machine")}).problem(409, "wrong-state")

	require.NoError(t, r.d.Fleet().SetHostState(pool.HostID(from), fake.Dead))
	r.eventually(func() bool { return len(r.get("/api/v1/hosts?condition=unreachable").items()) == 1 })
	require.Equal(t, from, r.get("/api/v1/instances/"+id).at("host"), "that it does not answer is no proof")
	h := r.post(path(from)+"/confirm-off", off).want(http.StatusOK)
	require.Equal(t, "the plug is in my hand", h.at("proof"))
	require.Contains(t, h.at("conditions"), "fenced")
	at := r.commanded()
	r.post(path(from)+"/confirm-off", off).want(http.StatusOK)
	require.Equal(t, at, r.commanded())
	r.eventually(func() bool { return r.get("/api/v1/instances/"+id).at("host") != from })
	i := r.status(id, "running")
	require.NotEqual(t, before.at("machine"), i["machine"])
	require.Equal(t, []any{before.at("machine"), from}, []any{i["made_anew"].(object)["machine"], i["made_anew"].(object)["host"]}, "its disks are new")
	op := r.get("/api/v1/operations?instance=" + id).items()[0]
	require.Equal(t, "rebuild", op["kind"])
	require.Equal(t, "berthage", op["actor"])
	require.Len(t, r.get("/api/v1/held").items(), 1, "its old place, until the machine is known to be gone")

	require.NoError(t, r.d.Fleet().SetHostState(pool.HostID(from), fake.Up))
	r.eventually(func() bool {
		return r.get(path(from)).at("schedulable") == true && len(r.get("/api/v1/held").items()) == 0
	})
	require.Nil(t, r.get(path(from)).at("proof"))
	require.Empty(t, r.get("/api/v1/unknown-machines").items())
}

// With a driver that can switch hosts off nobody need say a word; and with the policy never nothing moves by itself.
func TestEvacuationPolicies(t *testing.T) {
	t.Parallel()
	t.Run("fenced", func(t *testing.T) {
		t.Parallel()
		r := start(t, 4, lost(berthage.EvacuateFenced))
		id := r.launch(vm("one"))
		from := r.get("/api/v1/instances/" + id).at("host").(string)
		require.NoError(t, r.d.Fleet().SetHostState(pool.HostID(from), fake.CutOff))
		r.eventually(func() bool { return r.get("/api/v1/instances/"+id).at("host") != from })
		require.NotEmpty(t, r.get(path(from)).at("proof"))
		r.status(id, "running")
	})
	t.Run("never", func(t *testing.T) {
		t.Parallel()
		r := start(t, 4, lost(berthage.EvacuateNever, hypervisor.CanFence))
		id := r.launch(vm("one"))
		url := "/api/v1/instances/" + id
		i := r.get(url)
		from := i.at("host").(string)
		require.NoError(t, r.d.Fleet().SetHostState(pool.HostID(from), fake.Dead))
		r.eventually(func() bool { return len(r.get("/api/v1/hosts?condition=unreachable").items()) == 1 })
		r.post(path(from)+"/confirm-off", object{"proof": "it is off"}).want(http.StatusOK)
		time.Sleep(3 * time.Second)
		require.Equal(t, from, r.get(url).at("host"))

		// One by one, by hand.
		r.post(url+"/rebuild", object{"machine": id + "-7"}).problem(422, "invalid-value")
		r.post("/api/v1/instances/i0000000000000000000000000/rebuild", object{"machine": "x"}).problem(404, "not-found")
		a := r.post(url+"/rebuild", object{"machine": i.at("machine")}).want(http.StatusAccepted)
		require.Equal(t, "rebuild", a.at("operation", "kind"))
		require.Equal(t, "done", r.finished(a)["status"])
		again := r.post(url+"/rebuild", object{"machine": i.at("machine")}).want(http.StatusAccepted)
		require.Equal(t, a.at("operation", "id"), again.at("operation", "id"))
		require.NotEqual(t, from, r.get(url).at("host"))
	})
}
