package daemon_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f someone@example"

// An instance goes through all that can be asked of it, and every operation tells how it went.
func TestTheLifeOfAnInstance(t *testing.T) {
	t.Parallel()
	r := start(t, 3)

	body := vm("web-1")
	body["spec"].(object)["disks"] = []object{{"size": 20 * pool.GiB, "storage": "standard"}, {"size": 5 * pool.GiB, "storage": "standard", "mount": "/data"}}
	body["spec"].(object)["labels"] = object{"team": "shop"}
	body["spec"].(object)["guest"] = object{"user": "ops", "ssh_keys": []string{publicKey}, "user_data": "#cloud-config\nsecret: canary-4711\n"}
	a := r.post("/api/v1/instances", body, "Idempotency-Key", "order-1").want(http.StatusAccepted)
	id, _ := a.at("instance", "id").(string)
	require.Equal(t, "/api/v1/operations/launch-"+id, a.header.Get("Location"))
	require.Equal(t, "launch", a.at("operation", "kind"))
	require.Equal(t, "root", a.at("operation", "actor"))
	op := r.finished(a)
	require.Equal(t, "done", op["status"])
	require.InDelta(t, 100, op["progress"], 0)

	i := r.get("/api/v1/instances/" + id).want(http.StatusOK)
	require.Equal(t, "running", i.at("status"))
	require.Equal(t, "/data", i.at("disks").([]any)[1].(object)["mount"])
	require.NotEmpty(t, i.at("disks").([]any)[1].(object)["device"])
	require.Equal(t, "ops", i.at("user"))
	require.Equal(t, true, i.at("user_data"))
	require.Equal(t, "someone@example", i.at("ssh_keys").([]any)[0].(object)["comment"])
	require.NotContains(t, string(i.body), "canary-4711", "user-data is never shown again")
	require.NotContains(t, string(i.body), "AAAAC3Nza", "nor is the key")

	r.eventually(func() bool { // it boots for a moment after it runs
		return strings.Contains(string(r.get("/api/v1/instances/"+id+"/console").want(http.StatusOK).body), "web-1 login:")
	})
	require.Contains(t, r.get("/api/v1/instances/"+id+"/display").want(http.StatusOK).at("url"), "vnc://")

	for _, s := range []struct{ verb, status string }{{"suspend", "suspended"}, {"resume", "running"}, {"stop", "stopped"}, {"start", "running"}} {
		a := r.post("/api/v1/instances/"+id+"/"+s.verb, nil).want(http.StatusAccepted)
		require.Equal(t, s.verb, a.at("operation", "kind"))
		require.Equal(t, "done", r.finished(a)["status"])
		require.Equal(t, s.status, r.status(id, s.status)["status"])
		again := r.post("/api/v1/instances/"+id+"/"+s.verb, nil).want(http.StatusAccepted)
		require.Equal(t, a.at("operation", "id"), again.at("operation", "id"), "what is done already is the same operation")
	}
	first := r.post("/api/v1/instances/"+id+"/reboot", nil, "Idempotency-Key", "r1").want(http.StatusAccepted)
	require.Equal(t, "done", r.finished(first)["status"])
	again := r.post("/api/v1/instances/"+id+"/reboot", nil, "Idempotency-Key", "r1").want(http.StatusAccepted)
	require.Equal(t, first.at("operation", "id"), again.at("operation", "id"))
	other := r.post("/api/v1/instances/"+id+"/reboot", nil).want(http.StatusAccepted)
	require.NotEqual(t, first.at("operation", "id"), other.at("operation", "id"))
	r.finished(other)

	a = r.call(http.MethodDelete, "/api/v1/instances/"+id, nil).want(http.StatusAccepted)
	require.Equal(t, "done", r.finished(a)["status"])
	require.Equal(t, "deleted", r.get("/api/v1/instances/"+id).want(http.StatusOK).at("status"))
	r.call(http.MethodDelete, "/api/v1/instances/"+id, nil).want(http.StatusAccepted)
	r.post("/api/v1/instances/"+id+"/start", nil).problem(404, "not-found")
	require.Equal(t, "deleted", r.post("/api/v1/instances", body, "Idempotency-Key", "order-1").want(http.StatusAccepted).at("instance", "status"), "a key brings nothing back")
	require.Empty(t, r.get("/api/v1/instances").items())
	require.GreaterOrEqual(t, len(r.get("/api/v1/operations?instance="+id).items()), 7)
	require.NotContains(t, r.log.String(), "canary-4711")
}

func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	a := r.post("/api/v1/instances", vm("one"), "Idempotency-Key", "k").want(http.StatusAccepted)
	same := r.post("/api/v1/instances", vm("one"), "Idempotency-Key", `"k"`).want(http.StatusAccepted)
	require.Equal(t, a.at("instance", "id"), same.at("instance", "id"), "as a structured field, too")
	r.post("/api/v1/instances", vm("two"), "Idempotency-Key", "k").problem(422, "idempotency-key-reused")
	require.NotEqual(t, a.at("instance", "id"), r.post("/api/v1/instances", vm("one")).want(http.StatusAccepted).at("instance", "id"), "without a key every launch is its own")
	require.Len(t, r.get("/api/v1/instances").items(), 2)
	r.post("/api/v1/instances", vm("three"), "Idempotency-Key", strings.Repeat("x", 256)).problem(422, "schema-violation")
}

func TestHosts(t *testing.T) {
	t.Parallel()
	r := start(t, 5)
	list := r.get("/api/v1/hosts").want(http.StatusOK)
	require.Len(t, list.items(), 5)
	id := list.items()[0]["id"]
	require.Equal(t, "sim/node-0001", id)

	h := r.get(path(id)).want(http.StatusOK)
	require.NotEmpty(t, h.at("devices"))
	require.Contains(t, h.at("capabilities", "abilities"), "reboot")
	require.NotEmpty(t, r.get(path(id)+"/samples").want(http.StatusOK).items())
	require.Empty(t, r.get(path(id)+"/images").want(http.StatusOK).items(), "the simulated fleet takes every source")

	since := r.head()
	c := r.post(path(id)+"/cordon", object{"reason": "new memory"}).want(http.StatusOK)
	require.Len(t, r.get(fmt.Sprintf("/api/v1/hosts?changed_after=%d", since)).items(), 1)
	require.Empty(t, r.get(fmt.Sprintf("/api/v1/hosts?changed_after=%d", r.head())).items())
	require.Equal(t, false, c.at("schedulable"))
	require.Equal(t, "new memory", c.at("reason"))
	require.Len(t, r.get("/api/v1/hosts?condition=cordoned").items(), 1)
	require.Len(t, r.get("/api/v1/hosts?condition=schedulable").items(), 4)
	require.Equal(t, true, r.post(path(id)+"/uncordon", nil).want(http.StatusOK).at("schedulable"))

	r.call(http.MethodDelete, path(id), nil).want(http.StatusNoContent)
	r.get(path(id)).problem(404, "not-found")
	require.InDelta(t, 4, r.get("/api/v1/pool").at("hosts", "all"), 0)
	r.post("/api/v1/hosts", object{"id": id}).want(http.StatusCreated)
	require.InDelta(t, 5, r.get("/api/v1/pool").at("hosts", "all"), 0)
	r.post("/api/v1/hosts", object{"id": "sim/none"}).problem(422, "unknown-reference")
	r.post("/api/v1/hosts", object{"id": "nope/none"}).problem(422, "unknown-reference")

	require.Len(t, r.get("/api/v1/hosts?zone=a").items(), 2)
	require.Len(t, r.get("/api/v1/hosts?name=node-0003").items(), 1)
	require.Empty(t, r.get("/api/v1/hosts?driver=kvm").items())

	vmID := r.launch(vm("busy"))
	busy := r.get("/api/v1/instances/" + vmID).at("host")
	r.call(http.MethodDelete, path(busy), nil).problem(409, "in-use")
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	images := r.get("/api/v1/images").want(http.StatusOK).items()
	require.Len(t, images, len(pool.Catalogue()))
	for _, i := range images {
		require.Equal(t, true, i["usable"], i["name"])
	}
	r.call(http.MethodPut, "/api/v1/images/mine", object{"user": "me", "sources": object{"kvm": "/images/mine.qcow2"}}).want(http.StatusOK)
	require.Equal(t, false, r.get("/api/v1/images/mine").want(http.StatusOK).at("usable"), "no driver of this daemon has it")
	r.call(http.MethodDelete, "/api/v1/images/mine", nil).want(http.StatusNoContent)
	r.get("/api/v1/images/mine").problem(404, "not-found")
	r.call(http.MethodDelete, "/api/v1/images/mine", nil).problem(404, "not-found")

	require.NotEmpty(t, r.get("/api/v1/flavors").items())
	r.call(http.MethodPut, "/api/v1/flavors/huge", object{"resources": object{"cpu": 16000}}).want(http.StatusOK)
	require.InDelta(t, 16000, r.get("/api/v1/flavors/huge").at("resources", "cpu"), 0)
	r.call(http.MethodDelete, "/api/v1/flavors/huge", nil).want(http.StatusNoContent)
	r.get("/api/v1/flavors/huge").problem(404, "not-found")
}

func TestProjectsAndQuotas(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	p := r.call(http.MethodPut, "/api/v1/projects/shop", object{"quota": object{"cpu": 2000, "instances": 5}}).want(http.StatusOK)
	require.Len(t, p.at("quota"), 2)
	body := vm("a")
	body["project"] = "shop"
	r.launch(body)
	line := r.get("/api/v1/projects/shop").want(http.StatusOK).at("quota").([]any)[0].(object)
	require.Equal(t, object{"class": "cpu", "limited": true, "limit": 2000.0, "used": 1000.0, "free": 1000.0}, line)

	body["name"] = "b"
	body["spec"].(object)["resources"] = object{"cpu": 4000, "memory": pool.GiB}
	before := r.commanded()
	over := r.post("/api/v1/instances", body).problem(403, "over-quota")
	require.Equal(t, object{"class": "cpu", "limited": true, "limit": 2000.0, "used": 1000.0, "free": 1000.0, "asked": 4000.0}, over["quota"].([]any)[0])
	e := r.post("/api/v1/explain", body).want(http.StatusOK)
	require.Equal(t, false, e.at("fits"))
	require.Len(t, e.at("quota"), 1)
	require.Equal(t, before, r.commanded())

	r.call(http.MethodDelete, "/api/v1/projects/shop", nil).problem(409, "in-use")
	r.call(http.MethodPut, "/api/v1/projects/empty", object{"quota": object{}}).want(http.StatusOK)
	r.call(http.MethodDelete, "/api/v1/projects/empty", nil).want(http.StatusNoContent)
	require.Len(t, r.get("/api/v1/projects").items(), 2)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	r := start(t, 4)
	before := r.head()
	e := r.post("/api/v1/explain", vm("x")).want(http.StatusOK)
	require.Equal(t, true, e.at("fits"))
	require.Contains(t, e.at("host"), "sim/")
	body := vm("x")
	body["spec"].(object)["constraints"] = object{"zones": []string{"nowhere"}}
	e = r.post("/api/v1/explain", body).want(http.StatusOK)
	require.Equal(t, false, e.at("fits"))
	require.Len(t, e.at("placement", "hosts"), 4)
	require.Equal(t, before, r.head())
}

func TestPages(t *testing.T) {
	t.Parallel()
	r := start(t, 23)
	var ids []any
	next := "/api/v1/hosts?limit=5"
	for pages := 1; ; pages++ {
		a := r.get(next).want(http.StatusOK)
		require.InDelta(t, 23, a.at("total"), 0)
		for _, h := range a.items() {
			ids = append(ids, h["id"])
		}
		cursor, more := a.object()["next"].(string)
		if !more {
			require.Equal(t, 5, pages)
			require.Empty(t, a.header.Get("Link"))
			break
		}
		next = strings.TrimPrefix(strings.SplitN(a.header.Get("Link"), ">", 2)[0], "<")
		require.Contains(t, next, cursor)
		require.Contains(t, a.header.Get("Link"), `rel="next"`)
	}
	require.Len(t, ids, 23)
	for n, id := range ids {
		require.Equal(t, fmt.Sprintf("sim/node-%04d", n+1), id)
	}
	r.get("/api/v1/hosts?cursor=!").problem(422, "invalid-value")
	r.get("/api/v1/hosts?limit=0").problem(422, "schema-violation")
	r.get("/api/v1/hosts?limits=3").problem(422, "schema-violation")
}

// Every list is given by pages: with the smallest pages one gets the same as with the largest, each item once.
func TestEveryListIsPaged(t *testing.T) {
	t.Parallel()
	r := start(t, 3, watchful)
	for n := range 3 {
		r.call(http.MethodPut, fmt.Sprintf("/api/v1/projects/p%d", n), object{"quota": object{}}).want(http.StatusOK)
		body := vm(fmt.Sprintf("paged-%d", n))
		body["spec"].(object)["constraints"] = object{"hosts": []string{"sim/node-0001"}}
		id := r.launch(body)
		r.cluster(fmt.Sprintf("c%d", n), 3)
		r.post("/api/v1/instances/"+id+"/stop", nil).want(http.StatusAccepted)
		_, err := r.d.Fleet().AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: "sim/node-0001"}, Name: fmt.Sprintf("theirs-%d", n), Power: pool.Running})
		require.NoError(t, err)
		r.status(id, "stopped")
		r.post("/api/v1/reservations", object{"instance": object{"project": "default", "name": fmt.Sprint("held-", n), "spec": object{
			"image": "debian-12", "resources": object{"cpu": 1000, "memory": pool.GiB},
		}}}, "Idempotency-Key", fmt.Sprint("held-", n)).want(http.StatusCreated)
	}
	r.eventually(func() bool { return len(r.get("/api/v1/unknown-machines").items()) == 3 })
	r.call(http.MethodPut, "/api/v1/projects/queue", object{"quota": object{"cpu": 1000}}).want(http.StatusOK)
	for n := range 4 {
		r.post("/api/v1/instances", object{"project": "queue", "name": fmt.Sprint("waits-", n), "wait": true, "spec": object{
			"image": "debian-12", "resources": object{"cpu": 1000, "memory": pool.GiB},
		}}).want(http.StatusAccepted)
	}
	for n := range 3 {
		r.post("/api/v1/projects/queue/quota-requests", object{"id": fmt.Sprint("more-", n), "quota": object{"cpu": 2000}, "reason": "it is not enough"}).want(http.StatusCreated)
		r.post("/api/v1/rebalance-plans", object{}).want(http.StatusCreated)
		r.firing(fmt.Sprint("Paged", n))
		r.silence()
		r.call(http.MethodPut, fmt.Sprint(receiversPath, "/r", n), object{"type": "discord", "secrets": object{"url": "http://127.0.0.1:1/refused"}}).want(http.StatusOK)
	}
	r.call(http.MethodPut, routesPath, object{"root": object{"receivers": []any{"r0", "r1", "r2"}, "wait": "0s"}}).want(http.StatusOK)
	r.eventually(func() bool {
		return len(r.get(messagesPath).items()) > 2 && len(r.get(messagesPath+"/attempts").items()) > 2
	})
	somebody := r.busy(3)
	lists := 0
	fill := strings.NewReplacer("{driver}", "sim", "{host}", "node-0001", "{project}", "default", "{name}", "c0", "{id}", somebody)
	for path, item := range r.lists() {
		lists++
		path = fill.Replace(path)
		whole := r.get(path + "?limit=1000").want(http.StatusOK)
		require.Empty(t, whole.header.Get("Link"), path)
		var parts []map[string]any
		for next := path + "?limit=1"; next != ""; {
			page := r.get(next).want(http.StatusOK)
			require.InDelta(t, len(whole.items()), page.at("total"), 0, path)
			parts = append(parts, page.items()...)
			link, _, _ := strings.Cut(strings.TrimPrefix(page.header.Get("Link"), "<"), ">")
			next = link
		}
		require.Equal(t, len(whole.items()), len(parts), path)
		for n, want := range whole.items() {
			require.Equal(t, want[item], parts[n][item], path)
		}
		if path != "/api/v1/held" {
			require.Greater(t, len(parts), 2, path)
		}
		r.get(path+"?limit=1001").problem(422, "schema-violation")
		r.get(path+"?cursor=!").problem(422, "invalid-value")
	}
	require.Equal(t, 28, lists)
}

func TestFilters(t *testing.T) {
	t.Parallel()
	r := start(t, 3)
	since := r.head()
	body := vm("labelled")
	body["spec"].(object)["labels"] = object{"team": "a=b"}
	one := r.launch(body)
	stopped := vm("resting")
	stopped["want"] = "stopped"
	r.post("/api/v1/instances", stopped).want(http.StatusAccepted)
	host, _ := r.get("/api/v1/instances/" + one).at("host").(string)
	r.eventually(func() bool { return len(r.get("/api/v1/instances?status=stopped").items()) == 1 })
	for query, want := range map[string]int{
		"": 2, "?status=running": 1, "?status=failed": 0, "?project=default": 2, "?project=other": 0, "?image=debian-12": 2, "?image=rocky-9": 0,
		"?name=label": 1, "?label=team": 1, "?label=team%3Da%3Db": 1, "?label=team%3Dx": 0, "?host=sim/none": 0, "?limit=1": 1,
		fmt.Sprintf("?changed_after=%d", since): 2, fmt.Sprintf("?changed_after=%d", r.head()+1000): 0, // observations may follow at any time
	} {
		require.Len(t, r.get("/api/v1/instances"+query).want(http.StatusOK).items(), want, query)
	}
	require.NotEmpty(t, r.get("/api/v1/instances?host="+host).items())
	r.get("/api/v1/instances?status=dancing").problem(422, "schema-violation")
}

func TestConditionalRequests(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	for _, p := range []string{"/api/v1/pool", "/api/v1/hosts", "/api/v1/instances"} {
		a := r.get(p).want(http.StatusOK)
		tag := a.header.Get("ETag")
		require.NotEmpty(t, tag)
		b := r.call(http.MethodGet, p, nil, "If-None-Match", tag)
		require.Equal(t, http.StatusNotModified, b.want(http.StatusNotModified).status)
		require.Equal(t, tag, b.header.Get("ETag"))
		require.Empty(t, b.body)
		r.call(http.MethodPut, "/api/v1/projects/p"+strings.ReplaceAll(p, "/", "-"), object{"quota": object{}}).want(http.StatusOK)
		r.call(http.MethodGet, p, nil, "If-None-Match", tag).want(http.StatusOK)
	}
}

// What is on the hosts beside the books, and what a creation without an answer leaves in doubt.
func TestUnknownMachinesAndHeldAllocations(t *testing.T) {
	t.Parallel()
	r := start(t, 1, shape(func(c *fake.Config) {
		c.Copies, c.Settles = true, -1 // a second create makes a second machine, and nobody knows when one is over
		c.Hook = func(c fake.Call) fake.Fault {
			if c.Op == fake.OpCreate {
				return fake.Fault{Kind: fake.Drop}
			}
			return fake.Fault{}
		}
	}))
	require.Empty(t, r.get("/api/v1/unknown-machines").want(http.StatusOK).items())
	_, err := r.d.Fleet().AddForeign(hypervisor.Machine{
		Ref: hypervisor.Ref{Host: "sim/node-0001"}, Name: "<b>theirs</b>", Power: pool.Running, Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB},
	})
	require.NoError(t, err)
	r.eventually(func() bool { return len(r.get("/api/v1/unknown-machines").items()) == 1 })
	u := r.get("/api/v1/unknown-machines").items()[0]
	require.Equal(t, "sim/node-0001", u["host"])
	require.Equal(t, "<b>theirs</b>", u["name"])
	require.Contains(t, u["why"], "no tag")

	require.Empty(t, r.get("/api/v1/held").want(http.StatusOK).items())
	a := r.post("/api/v1/instances", vm("doubtful")).want(http.StatusAccepted)
	op := r.finished(a)
	require.Equal(t, "failed", op["status"])
	require.NotEmpty(t, op["reason"])
	held := r.get("/api/v1/held").want(http.StatusOK).items()
	require.Len(t, held, 1)
	require.InDelta(t, 1000, r.get("/api/v1/pool").at("resources", "cpu", "used"), 0, "its place is kept")
	r.call(http.MethodDelete, "/api/v1/held/"+held[0]["machine"].(string), nil).want(http.StatusNoContent)
	require.InDelta(t, 0, r.get("/api/v1/pool").at("resources", "cpu", "used"), 0)
	r.call(http.MethodDelete, "/api/v1/held/"+held[0]["machine"].(string), nil).problem(404, "not-found")
	id, _ := a.at("instance", "id").(string)
	r.post("/api/v1/instances/"+id+"/start", nil).problem(409, "wrong-state")
	r.get("/api/v1/instances/"+id+"/console").problem(409, "wrong-state")
}

func TestWhatAHostDoesNotOffer(t *testing.T) {
	t.Parallel()
	r := start(t, 1, shape(func(c *fake.Config) {
		c.Without = []hypervisor.Ability{hypervisor.CanSuspend, hypervisor.CanReboot, hypervisor.CanConsole, hypervisor.CanMeter}
	}))
	id := r.launch(vm("plain"))
	for _, verb := range []string{"suspend", "reboot"} {
		r.post("/api/v1/instances/"+id+"/"+verb, nil).problem(501, "unsupported")
	}
	r.get("/api/v1/instances/"+id+"/console").problem(501, "unsupported")
	r.get("/api/v1/instances/"+id+"/display").problem(501, "unsupported")
	r.get("/api/v1/hosts/sim/node-0001/samples").problem(501, "unsupported")
}

func TestStatusHealthAndMetrics(t *testing.T) {
	t.Parallel()
	r := start(t, 2)
	s := r.get("/api/v1/status").want(http.StatusOK)
	require.Equal(t, true, s.at("leading"))
	require.Equal(t, []any{object{"name": "sim", "kind": "simulated"}}, s.at("drivers"))

	h := r.get("/health").want(http.StatusOK)
	require.Equal(t, true, h.at("ready"))
	require.Equal(t, true, r.get("/health/live").want(http.StatusOK).at("live"))

	r.launch(vm("one"))
	r.cluster("web", 2)
	m := string(r.get("/metrics").want(http.StatusOK).body)
	for _, line := range []string{
		"berthage_hosts 2", "berthage_schedulable_hosts 2", `berthage_host_conditions{condition="ready"} 2`, `berthage_host_conditions{condition="fenced"} 0`,
		`berthage_instances{status="running"} 3`, `berthage_instances{status="missing"} 0`, `berthage_instances{status="shelved"} 0`, `berthage_instances{status="broken"} 0`,
		`berthage_clusters 1`, `berthage_cluster_members{project="default",cluster="web",outcome="done"} 2`, `berthage_cluster_members{project="default",cluster="web",outcome="failed"} 0`,
		`berthage_pool_used{class="cpu",unit="core"} 3`,
		fmt.Sprintf(`berthage_pool_used{class="memory",unit="byte"} %s`, strconv.FormatFloat(3*float64(pool.GiB), 'g', -1, 64)), `berthage_leader 1`, `berthage_stale 0`,
		`berthd_http_requests_total{method="POST",route="/api/v1/instances",code="202"} 1`,
		`berthd_http_request_duration_seconds_count{route="/api/v1/instances"} 1`, fmt.Sprintf("berthage_ledger_revision %d", r.head()),
	} {
		require.Contains(t, m, line+"\n")
	}
	kinds := make(map[string]string)
	for _, k := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(m, -1) {
		require.Empty(t, kinds[k[1]], "%s stands twice", k[1])
		kinds[k[1]] = k[2]
		require.Equal(t, k[2] == "counter", strings.HasSuffix(k[1], "_total"), k[1])
	}
	for _, line := range strings.Split(strings.TrimSpace(m), "\n") {
		require.Regexp(t, `^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+0-9.e]+(Inf)?)$`, line)
	}
}

func TestTheCauseOfEveryEventIsItsRequest(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	a := r.post("/api/v1/instances", vm("traced"), "X-Request-Id", "order-17").want(http.StatusAccepted)
	require.Equal(t, "order-17", a.header.Get("X-Request-Id"))
	require.Equal(t, "order-17", a.at("operation", "request_id"))
	r.eventually(func() bool { return strings.Contains(r.log.String(), "request_id=order-17") })
	p := r.post("/api/v1/instances", "{", "X-Request-Id", "bad-1").problem(400, "malformed")
	require.Equal(t, "bad-1", p["request_id"])
}
