package daemon_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

func often(c *config.Config, _ *daemon.Options) { c.History, c.Pool = time.Second, "lab" }

// What is measured of hosts and instances can be asked for, over any time, and survives a restart.
func TestHistoryOverREST(t *testing.T) {
	t.Parallel()
	r := start(t, 2, often, shape(alike))
	id := r.launch(vm("web"))
	host, _ := r.get("/api/v1/instances/" + id).at("host").(string)

	figures := func(path string) map[string]map[string]int {
		out := make(map[string]map[string]int)
		list, ok := r.get(path).want(http.StatusOK).at("figures").([]any)
		require.True(t, ok)
		for _, f := range list {
			f := f.(object)
			curves := make(map[string]int)
			for _, c := range f["curves"].([]any) {
				curves[c.(object)["name"].(string)] = len(c.(object)["points"].([]any))
			}
			out[f["figure"].(string)] = curves
		}
		return out
	}
	all := map[string][]string{"cpu": {"used"}, "memory": {"used"}, "disk": {"used"}, "disk_io": {"read", "written"}, "network": {"received", "transmitted"}, "load": {"load"}}
	for _, p := range []string{path(host) + "/history?step=1", "/api/v1/instances/" + id + "/history?step=1"} {
		r.eventually(func() bool {
			got := figures(p + "&from=" + url.QueryEscape(time.Now().Add(-time.Minute).Format(time.RFC3339)))
			require.Len(t, got, len(all))
			for f, curves := range all {
				require.Len(t, got[f], len(curves))
				for _, c := range curves {
					if got[f][c] < 3 && !(f == "disk" && strings.Contains(p, "/hosts/")) { // these hosts have no devices
						return false
					}
				}
			}
			return true
		})
	}
	h := r.get("/api/v1/instances/" + id + "/history").want(http.StatusOK)
	require.InDelta(t, 15, h.at("step"), 0, "an hour in 240 moments")
	h = r.get("/api/v1/instances/" + id + "/history?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z").want(http.StatusOK)
	require.Zero(t, figures("/api/v1/instances/" + id + "/history?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z")["cpu"]["used"])
	from, err := time.Parse(time.RFC3339, h.at("from").(string))
	require.NoError(t, err)
	step := int64(h.at("step").(float64))
	require.Zero(t, from.Unix()%step)
	require.Less(t, from.Sub(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)), time.Duration(step)*time.Second)
	require.LessOrEqual(t, 365*86400/step, int64(241))

	require.Len(t, figures("/api/v1/instances/"+id+"/history?step=3600&from="+url.QueryEscape(time.Now().Add(-time.Second).Format(time.RFC3339))), len(all), "a range shorter than a step")

	top := r.get("/api/v1/usage?of=instances").want(http.StatusOK)
	require.Equal(t, id, top.items()[0]["id"])
	require.Equal(t, "web", top.items()[0]["name"])
	require.Greater(t, top.items()[0]["memory"], 10.0)
	require.Empty(t, r.get("/api/v1/usage?of=instances&project=other").items())
	require.Len(t, r.get("/api/v1/usage?by=memory&limit=1").items(), 1)
	require.Equal(t, host, r.get("/api/v1/usage?by=received").items()[0]["id"], "there the traffic is")
	r.get("/api/v1/usage?by=network").problem(422, "schema-violation")

	for path, field := range map[string]string{
		"/history?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z":        "from",
		"/history?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z&step=1": "step",
		"/history?from=1900-01-01T00:00:00Z":                                "from",
	} {
		require.Equal(t, field, r.get("/api/v1/instances/"+id+path).problem(422, "invalid-value")["field"], path)
	}
	r.get("/api/v1/instances/"+id+"/history?from=yesterday").problem(422, "schema-violation")
	r.get("/api/v1/instances/nope/history").problem(404, "not-found")
	r.get("/api/v1/hosts/sim/nope/history").problem(404, "not-found")

	// The daemon's own metrics are in it too, and it survives.
	count := func(r *rig) string {
		return string(r.get("/api/v1/query?query=" + url.QueryEscape(`count_over_time(berthage_hosts{job="berthd",pool="lab"}[10m])`)).want(http.StatusOK).body)
	}
	require.Contains(t, count(r), `"value"`)
	require.Contains(t, string(r.get("/metrics").body), `berthd_history_samples_total{outcome="refused"} 0`)
	r.stop()
	again := serve(t, r.config)
	require.NotZero(t, len(again.get("/api/v1/instances/"+id+"/history").want(http.StatusOK).body))
	require.Contains(t, count(again), `"value"`)

	c := r.config
	c.Data, c.History = t.TempDir(), 0
	none := serve(t, c)
	none.get("/api/v1/usage").problem(503, "unavailable")
	none.get("/api/v1/query?query=1").problem(404, "no-such-path")
	_, err = os.Stat(filepath.Join(c.Data, daemon.HistoryDir))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// What Prometheus's clients ask needs credentials like everything else, and promtool, which has them, is answered.
func TestPrometheusPathsNeedCredentials(t *testing.T) {
	t.Parallel()
	r := start(t, 1, often)
	for _, route := range [][2]string{
		{"GET", "/api/v1/query?query=1"}, {"POST", "/api/v1/query"}, {"GET", "/api/v1/query_range"}, {"POST", "/api/v1/query_range"}, {"GET", "/api/v1/series"},
		{"GET", "/api/v1/labels"}, {"GET", "/api/v1/label/vm/values"}, {"GET", "/api/v1/metadata"}, {"GET", "/api/v1/status/buildinfo"}, {"POST", "/api/v1/write"}, {"GET", "/federate"},
	} {
		req := r.request(route[0], route[1], nil)
		req.Header.Del("Authorization")
		res, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusUnauthorized, res.StatusCode, "%v", route)
	}
	require.Contains(t, string(r.get("/api/v1/query?query=1").want(http.StatusOK).body), `"resultType":"scalar"`)

	c := r.config
	c.Data, c.Scrape = t.TempDir(), []config.Scrape{{URL: "gopher://x/"}}
	_, err := daemon.Open(t.Context(), c, daemon.Options{})
	require.ErrorContains(t, err, "gopher")

	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NOT RUN: promtool against a running berthd: there is none (Debian's package prometheus has it)")
	}
	r.eventually(func() bool {
		return strings.Contains(string(r.get("/api/v1/query?query=berthage_meter_up").body), `"value"`)
	})
	to, err := url.Parse(r.d.URL())
	require.NoError(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { // Debian 12's cannot send a token
		p.SetURL(to)
		p.Out.Header.Set("Authorization", "Bearer "+r.d.Token())
	}})
	t.Cleanup(proxy.Close)
	for args, says := range map[string]string{
		"instant": `berthage_meter_up{host="sim/node-0001", hypervisor="simulated", pool="lab"} => 1`,
		"range":   `1 @[`,
	} {
		out, err := exec.Command(promtool, "query", args, proxy.URL, "berthage_meter_up").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), says)
	}
}
