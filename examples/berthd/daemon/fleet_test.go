package daemon_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/pool"
)

// launchAll launches n instances of several sizes by the API, some at a time.
func (r *rig) launchAll(n int) {
	r.t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var refused []string
	turn := make(chan struct{}, 8)
	flavors := []string{"tiny", "small", "medium", "large", "ssd-small", "ssd-medium"}
	for k := range n {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			body := object{"project": "default", "name": fmt.Sprintf("vm-%d", k), "spec": object{"image": "debian-12", "flavor": flavors[k%len(flavors)]}}
			send := func() (*http.Response, error) {
				return r.client.Do(r.request(http.MethodPost, "/api/v1/instances", body, "Idempotency-Key", fmt.Sprint("fleet-", k)))
			}
			res, err := send()
			if err != nil { // no answer: ask again with the same key, as every caller must
				res, err = send()
			}
			if err == nil {
				res.Body.Close()
			}
			if err != nil || res.StatusCode != http.StatusAccepted {
				mu.Lock()
				refused = append(refused, fmt.Sprint(k, err, res))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Empty(r.t, refused)
}

// all returns every item of a list.
func (r *rig) all(path string) []map[string]any {
	r.t.Helper()
	a := r.get(path + "?limit=1000").want(http.StatusOK)
	require.Empty(r.t, a.object()["next"])
	return a.items()
}

// sums recomputes the pool from the lists of hosts and instances.
func (r *rig) sums() {
	r.t.Helper()
	hosts, instances := r.all("/api/v1/hosts"), r.all("/api/v1/instances")
	want := make(map[string]map[string]float64)
	onHost := make(map[any]map[string]float64)
	placed := make(map[any]float64)
	status := map[string]float64{"all": float64(len(instances))}
	for _, i := range instances {
		status[i["status"].(string)]++
		placed[i["host"]]++
		if onHost[i["host"]] == nil {
			onHost[i["host"]] = make(map[string]float64)
		}
		for c, n := range i["resources"].(object) {
			onHost[i["host"]][c] += n.(float64)
		}
	}
	for _, h := range hosts {
		require.InDelta(r.t, placed[h["id"]], h["instances"], 0)
		for c, v := range h["resources"].(object) {
			u := v.(object)
			n := func(k string) float64 { return u[k].(float64) }
			require.InDelta(r.t, onHost[h["id"]][c], n("used"), 0, "%v %s", h["id"], c)
			require.InDelta(r.t, n("capacity")-n("used"), n("free"), 0)
			if want[c] == nil {
				want[c] = make(map[string]float64)
			}
			for _, k := range []string{"total", "reserved", "capacity", "used"} {
				want[c][k] += n(k)
			}
			want[c]["free"] += max(0, n("free"))
			if h["schedulable"] == true {
				want[c]["available"] += max(0, n("free"))
			}
			want[c]["overcommitted"] += max(0, n("used")-(n("total")-n("reserved")))
		}
	}
	p := r.get("/api/v1/pool").want(http.StatusOK)
	require.InDelta(r.t, len(hosts), p.at("hosts", "all"), 0)
	got, _ := p.at("resources").(object)
	require.Len(r.t, got, len(want))
	for c, sums := range want {
		for k, n := range sums {
			require.InDelta(r.t, n, got[c].(object)[k], 0, "%s %s", c, k)
		}
		require.Len(r.t, got[c], 7)
	}
	for s, n := range status {
		require.InDelta(r.t, n, p.at("instances", s), 0, s)
	}
	require.Len(r.t, p.at("instances"), len(status))
}

// Three hundred instances on two hundred hosts, launched through the API, all run, and every number of the
// pool is the sum of what the lists show; a restart keeps everything, and so does the fleet.
func TestThreeHundredInstancesOnTwoHundredHosts(t *testing.T) {
	t.Parallel()
	r := start(t, 200)
	require.Len(t, r.all("/api/v1/hosts"), 200)
	began := time.Now()
	r.launchAll(300)
	t.Logf("300 launches were accepted after %s", time.Since(began).Round(time.Millisecond))
	r.eventually(func() bool {
		return r.get("/api/v1/pool").at("instances", "running") == 300.0
	})
	t.Logf("300 instances run after %s", time.Since(began).Round(time.Millisecond))
	r.sums()
	for _, op := range r.get("/api/v1/operations?limit=1000").items() {
		require.Equal(t, "done", op["status"])
	}
	host, _ := r.all("/api/v1/instances")[0]["host"].(string)
	r.post(path(host)+"/cordon", object{}).want(http.StatusOK)
	r.sums()

	r.eventually(func() bool { // the guests' addresses are seen when they have booted
		for _, i := range r.all("/api/v1/instances") {
			if len(i["addresses"].([]any)) == 0 {
				return false
			}
		}
		return true
	})
	instances, revision := r.all("/api/v1/instances"), r.head()
	r.stop()
	again := serve(t, r.config)
	require.Equal(t, instances, again.all("/api/v1/instances"), "nothing has changed by the restart")
	time.Sleep(2 * r.config.Poll) // observed at least once
	require.Equal(t, instances, again.all("/api/v1/instances"), "nor by looking at the hosts")
	require.LessOrEqual(t, again.head(), revision+1, "one event: that the lead was taken anew")
	require.Empty(t, again.get("/api/v1/unknown-machines").items())
	again.sums()
	for _, h := range again.d.Fleet().Inspect() {
		require.Empty(t, h.Over)
	}
}

// The simulated hypervisor is no part of the books: with a new ledger its machines are strangers.
func TestTheFleetIsNotFilledFromTheLedger(t *testing.T) {
	t.Parallel()
	r := start(t, 3)
	for n := range 5 {
		r.launch(vm(fmt.Sprintf("vm-%d", n)))
	}
	r.stop()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(r.config.Data, "ledger.db"+suffix)) // not all are there
	}
	again := serve(t, r.config)
	again.eventually(func() bool { return len(again.get("/api/v1/unknown-machines").items()) == 5 })
	require.Empty(t, again.all("/api/v1/instances"))
	for _, m := range again.get("/api/v1/unknown-machines").items() {
		require.Contains(t, m["why"], "another ledger")
		require.Equal(t, "running", m["power"])
	}
}

func TestASimulatedFleetGrows(t *testing.T) {
	t.Parallel()
	r := start(t, 3)
	r.launch(vm("old"))
	r.stop()
	r.config.Simulate = 6
	again := serve(t, r.config)
	require.Len(t, again.all("/api/v1/hosts"), 6)
	require.Len(t, again.get("/api/v1/instances?status=running").items(), 1)
	again.stop()
	again.config.Simulate = 2
	less := serve(t, again.config)
	require.Len(t, less.all("/api/v1/hosts"), 6)
	require.Contains(t, less.log.String(), "more hosts than asked for")
}

func TestASecondStartSaysWhoHasTheData(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	_, err := daemon.Open(t.Context(), r.config, daemon.Options{})
	var used *datadir.InUse
	require.ErrorAs(t, err, &used)
	require.Equal(t, os.Getpid(), used.By.PID)
	require.Equal(t, r.d.URL(), used.By.URL)
	require.ErrorContains(t, err, r.d.URL())
	require.ErrorContains(t, err, fmt.Sprint(os.Getpid()))
	r.get("/api/v1/pool").want(http.StatusOK)
	r.stop()
	serve(t, r.config)
}

func TestAPortInUseIsReplaced(t *testing.T) {
	t.Parallel()
	first := start(t, 1)
	c := first.config
	c.Data, c.Listen = t.TempDir(), first.d.URL()[len("http://"):]
	second := serve(t, c)
	require.NotEqual(t, first.d.URL(), second.d.URL())
	require.Contains(t, second.out.String(), "is in use; listening on "+second.d.URL()+" instead")
	second.get("/api/v1/pool").want(http.StatusOK)
}

// A first start that was cut short is made up for by the next one.
func TestTheCatalogueIsCompleted(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	ctx := t.Context()
	m := r.d.Manager()
	require.NoError(t, m.RemoveProject(ctx, "default"))
	require.NoError(t, m.RemoveFlavor(ctx, "tiny"))
	require.NoError(t, m.PutImage(ctx, pool.Image{Name: "debian-12", User: "me", Sources: map[string]string{"sim": "mine"}}))
	r.stop()
	again := serve(t, r.config)
	again.get("/api/v1/projects/default").want(http.StatusOK)
	again.get("/api/v1/flavors/tiny").want(http.StatusOK)
	require.Equal(t, "me", again.get("/api/v1/images/debian-12").at("user"), "what was changed stays")
}
