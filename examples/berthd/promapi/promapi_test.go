package promapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/examples/berthd/promapi"
)

// serve serves a history with half an hour of two series, up to now, and returns its address and that moment.
func serve(t *testing.T, c history.Config) (*history.History, string, time.Time) {
	t.Helper()
	c.Dir = t.TempDir()
	h, err := history.Open(c)
	require.NoError(t, err)
	now := time.Now().Truncate(time.Second)
	for i := range 121 {
		at := now.Add(time.Duration(i-120) * 15 * time.Second).UnixMilli()
		require.NoError(t, h.Append(t.Context(), []history.Sample{
			{Labels: labels.FromStrings("__name__", "x_total", "vm", "a"), Time: at, Value: float64(15 * i)},
			{Labels: labels.FromStrings("__name__", "x_total", "vm", "b"), Time: at, Value: float64(30 * i)},
			{Labels: labels.FromStrings("__name__", "odd", "vm", "a"), Time: at, Value: []float64{math.Inf(1), math.NaN()}[i%2]},
		}))
	}
	h.Describe("x_total", history.Metadata{Type: "counter", Help: "An x."})
	mux := http.NewServeMux()
	promapi.Register(mux, promapi.Config{History: h, Version: "test", Complete: func(l labels.Labels) labels.Labels {
		return labels.NewBuilder(l).Set("pool", "p1").Labels()
	}})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20) // as the edge does
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.Close(); require.NoError(t, h.Close()) })
	return h, server.URL, now
}

// Prometheus's own client library asks all that Grafana asks, and gets it as from a Prometheus.
func TestPrometheusClient(t *testing.T) {
	t.Parallel()
	_, url, now := serve(t, history.Config{})
	client, err := api.NewClient(api.Config{Address: url})
	require.NoError(t, err)
	c, ctx := v1.NewAPI(client), t.Context()

	v, warnings, infos, err := c.Query(ctx, `sum by (vm) (rate(x_total[5m]))`, now)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Empty(t, infos)
	vector := v.(model.Vector)
	require.Len(t, vector, 2)
	require.InDelta(t, 1, float64(vector[0].Value), 1e-9)
	require.InDelta(t, 2, float64(vector[1].Value), 1e-9)
	require.Equal(t, model.Metric{"vm": "a"}, vector[0].Metric)
	require.Equal(t, model.TimeFromUnixNano(now.UnixNano()), vector[0].Timestamp)

	_, warnings, infos, err = c.Query(ctx, `rate(odd[5m])`, now)
	require.NoError(t, err)
	require.Len(t, append(warnings, infos...), 1, "that it may be no counter")
	v, _, _, err = c.Query(ctx, `odd`, now)
	require.NoError(t, err)
	require.True(t, math.IsInf(float64(v.(model.Vector)[0].Value), 1))
	v, _, _, err = c.Query(ctx, `1.5`, now)
	require.NoError(t, err)
	require.InDelta(t, 1.5, float64(v.(*model.Scalar).Value), 0)
	v, _, _, err = c.Query(ctx, `x_total{vm="a"}[1m]`, now)
	require.NoError(t, err)
	require.Len(t, v.(model.Matrix)[0].Values, 4)

	v, _, _, err = c.QueryRange(ctx, `x_total{vm="a"}`, v1.Range{Start: now.Add(-10 * time.Minute), End: now, Step: time.Minute})
	require.NoError(t, err)
	matrix := v.(model.Matrix)
	require.Len(t, matrix, 1)
	require.Len(t, matrix[0].Values, 11)
	require.InDelta(t, 15*120, float64(matrix[0].Values[10].Value), 0)
	v, warnings, _, err = c.QueryRange(ctx, `x_total`, v1.Range{Start: now, End: now, Step: time.Minute}, v1.WithLimit(1))
	require.NoError(t, err)
	require.Len(t, v.(model.Matrix), 1)
	require.Contains(t, strings.Join(warnings, ""), "truncated")

	sets, _, _, err := c.Series(ctx, []string{`x_total`, `{vm="a"}`}, now.Add(-time.Hour), now)
	require.NoError(t, err)
	require.ElementsMatch(t, []model.LabelSet{{"__name__": "x_total", "vm": "a"}, {"__name__": "x_total", "vm": "b"}, {"__name__": "odd", "vm": "a"}}, sets)
	sets, _, _, err = c.Series(ctx, []string{`x_total`}, now.Add(-20*time.Hour), now.Add(-10*time.Hour))
	require.NoError(t, err)
	require.Empty(t, sets, "there was nothing at that time")
	names, _, _, err := c.LabelNames(ctx, nil, time.Time{}, time.Time{})
	require.NoError(t, err)
	require.Equal(t, model.LabelNames{"__name__", "vm"}, names)
	list, _, _, err := c.LabelValues(ctx, "vm", []string{"x_total"}, now.Add(-time.Hour), now)
	require.NoError(t, err)
	require.Equal(t, model.LabelValues{"a", "b"}, list)
	list, _, _, err = c.LabelValues(ctx, "__name__", nil, now.Add(-time.Hour), now, v1.WithLimit(1))
	require.NoError(t, err)
	require.Equal(t, model.LabelValues{"odd"}, list)
	list, _, _, err = c.LabelValues(ctx, "none", nil, now.Add(-time.Hour), now)
	require.NoError(t, err)
	require.Empty(t, list)

	metadata, err := c.Metadata(ctx, "", "")
	require.NoError(t, err)
	require.Equal(t, map[string][]v1.Metadata{"x_total": {{Type: v1.MetricTypeCounter, Help: "An x."}}}, metadata)
	build, err := c.Buildinfo(ctx)
	require.NoError(t, err)
	require.Regexp(t, `^3\.\d+\.\d+$`, build.Version)

	for query, kind := range map[string]v1.ErrorType{`sum(`: v1.ErrBadData, `x_total + on() group_left x_total`: v1.ErrExec, ``: v1.ErrBadData} {
		_, _, _, err = c.Query(ctx, query, now)
		var e *v1.Error
		require.ErrorAs(t, err, &e, query)
		require.Equal(t, kind, e.Type, "%s: %s", query, e.Msg)
	}
}

// What is wrong is answered with Prometheus's status, and in its form.
func TestErrors(t *testing.T) {
	t.Parallel()
	_, base, now := serve(t, history.Config{Samples: 50, Timeout: 100 * time.Millisecond})
	stamp := func(t time.Time) string { return fmt.Sprint(t.Unix()) }
	for name, tc := range map[string]struct {
		path, form string
		status     int
		kind       string
	}{
		"no such syntax":        {"/query", "query=" + url.QueryEscape("a b"), 400, "bad_data"},
		"time":                  {"/query", "query=1&time=yesterday", 400, "bad_data"},
		"time that is no time":  {"/query", "query=1&time=NaN", 400, "bad_data"},
		"time beyond":           {"/query", "query=1&time=1e300", 400, "bad_data"},
		"timeout":               {"/query", "query=1&timeout=soon", 400, "bad_data"},
		"limit":                 {"/query", "query=1&limit=-1", 400, "bad_data"},
		"lookback":              {"/query", "query=1&lookback_delta=-1", 400, "bad_data"},
		"too many samples":      {"/query", "query=" + url.QueryEscape("count_over_time(x_total[30m])"), 422, "execution"},
		"too late":              {"/query", "timeout=0.000000001&query=" + url.QueryEscape("x_total"), 503, "timeout"},
		"no range":              {"/query_range", "query=1", 400, "bad_data"},
		"no step":               {"/query_range", "query=1&start=1&end=2", 400, "bad_data"},
		"step of nothing":       {"/query_range", "query=1&start=1&end=2&step=0", 400, "bad_data"},
		"step below":            {"/query_range", "query=1&start=1&end=2&step=-5", 400, "bad_data"},
		"step that is tiny":     {"/query_range", "query=1&start=1&end=2&step=0.0000001", 400, "bad_data"},
		"backwards":             {"/query_range", "query=1&step=1&start=2&end=1", 400, "bad_data"},
		"too many points":       {"/query_range", "query=1&step=1&start=1&end=20000", 400, "bad_data"},
		"a range of ranges":     {"/query_range", "query=" + url.QueryEscape("x_total[5m]") + "&step=1&start=1&end=2", 400, "bad_data"},
		"series of nothing":     {"/series", "start=1", 400, "bad_data"},
		"a selector of nothing": {"/series", "match[]=" + url.QueryEscape("{}"), 400, "bad_data"},
		"a bad selector":        {"/labels", "match[]=" + url.QueryEscape("{a"), 400, "bad_data"},
		"labels backwards":      {"/labels", "start=" + stamp(now) + "&end=1", 400, "bad_data"},
		"a body without end":    {"/query", "query=" + strings.Repeat("x", 2<<20), 413, "bad_data"},
		"a bad escape":          {"/query", "query=%zz", 400, "bad_data"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, err := http.Post(base+"/api/v1"+tc.path, "application/x-www-form-urlencoded", strings.NewReader(tc.form))
			require.NoError(t, err)
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Equal(t, tc.status, res.StatusCode, "%s", b)
			var out map[string]string
			require.NoError(t, json.Unmarshal(b, &out), "%s", b)
			require.Equal(t, "error", out["status"])
			require.Equal(t, tc.kind, out["errorType"], "%s", b)
			require.NotEmpty(t, out["error"])
		})
	}
}

// program returns a program of Debian's package prometheus.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("NOT RUN: %s against berthd: there is none (Debian's package prometheus has it)", name)
	}
	return path
}

// promtool asks as it would ask a Prometheus.
func TestPromtool(t *testing.T) {
	t.Parallel()
	promtool := program(t, "promtool")
	_, base, now := serve(t, history.Config{})
	for _, tc := range []struct{ args, says string }{
		{"instant " + base + " sum(x_total)", fmt.Sprintf("{} => %d @[", 45*120)},
		{"instant --time=" + now.Add(-time.Minute).Format(time.RFC3339) + " " + base + " x_total{vm=\"a\"}", fmt.Sprintf("x_total{vm=\"a\"} => %d @[", 15*116)},
		{"range --start=" + now.Add(-time.Minute).Format(time.RFC3339) + " --end=" + now.Format(time.RFC3339) + " --step=15s " + base + " x_total{vm=\"b\"}", fmt.Sprintf("%d @[", 30*116)},
		{"series --match=x_total " + base, `{__name__="x_total", vm="b"}`},
		{"labels " + base + " vm", "a\nb"},
	} {
		out, err := exec.Command(promtool, append([]string{"query"}, strings.Split(tc.args, " ")...)...).CombinedOutput()
		require.NoError(t, err, "%s: %s", tc.args, out)
		require.Contains(t, string(out), tc.says, tc.args)
	}
	out, err := exec.Command(promtool, "query", "instant", base, "sum(").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "parse error")
}

// write sends a request of remote write.
func write(t *testing.T, base string, body []byte, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, base+"/api/v1/write", bytes.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, res.Header.Get("X-Prometheus-Remote-Write-Samples-Written") + " " + string(b)
}

func series(at time.Time, v float64, kv ...string) prompb.TimeSeries {
	ts := prompb.TimeSeries{Samples: []prompb.Sample{{Value: v, Timestamp: at.UnixMilli()}}}
	for i := 0; i+1 < len(kv); i += 2 {
		ts.Labels = append(ts.Labels, prompb.Label{Name: kv[i], Value: kv[i+1]})
	}
	return ts
}

func pack(t *testing.T, list ...prompb.TimeSeries) []byte {
	t.Helper()
	b, err := (&prompb.WriteRequest{Timeseries: list}).Marshal()
	require.NoError(t, err)
	return snappy.Encode(nil, b)
}

// What remote writers send is kept with the pool's label; what cannot be is refused so that they do not send it again,
// and what came with it is kept.
func TestRemoteWrite(t *testing.T) {
	t.Parallel()
	h, base, now := serve(t, history.Config{})
	at := func(expr string) []history.Row {
		rows, err := h.Query(t.Context(), expr, time.Now())
		require.NoError(t, err)
		return rows
	}
	status, says := write(t, base, pack(t, series(now, 7, "vm", "a", "__name__", "guest")))
	require.Equal(t, http.StatusNoContent, status, says)
	require.Equal(t, "1 ", says)
	require.Equal(t, []history.Row{{Labels: map[string]string{"__name__": "guest", "vm": "a", "pool": "p1"}, Value: 7}}, at("guest"))

	good := func() prompb.TimeSeries { return series(time.Now(), 8, "__name__", "good") }
	bomb, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{series(now, 1, "__name__", strings.Repeat("x", 40<<20))}}).Marshal()
	require.NoError(t, err)
	bomb = snappy.Encode(nil, bomb)
	for name, tc := range map[string]struct {
		body    []byte
		headers []string
		status  int
		says    string
	}{
		"no name":           {body: pack(t, good(), series(now, 1, "vm", "a")), status: 400, says: "1 "},
		"a label twice":     {body: pack(t, good(), series(now, 1, "__name__", "x", "a", "1", "a", "2")), status: 400, says: "twice"},
		"not UTF-8":         {body: pack(t, good(), series(now, 1, "__name__", "x", "a", "\xff")), status: 400},
		"a value too long":  {body: pack(t, good(), series(now, 1, "__name__", "x", "a", strings.Repeat("y", 5<<10))), status: 400, says: "larger"},
		"too old":           {body: pack(t, good(), series(now.Add(-3*time.Hour), 1, "__name__", "guest", "vm", "a")), status: 400, says: "too old"},
		"another value":     {body: pack(t, good(), series(now, 9, "__name__", "guest", "vm", "a")), status: 400, says: "duplicate"},
		"native histograms": {body: pack(t, good(), prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "n"}}, Histograms: []prompb.Histogram{{}}}), status: 400, says: "histograms"},
		"not snappy":        {body: []byte("hello"), status: 400},
		"not protobuf":      {body: snappy.Encode(nil, []byte("hello")), status: 400},
		"a bomb":            {body: bomb, status: 413},
		"a claim of 4 GiB":  {body: []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, status: 413, says: "4294967295"}, // which is not even set aside
		"too large":         {body: make([]byte, 2<<20), status: 413},
		"another packing":   {body: pack(t, good()), headers: []string{"Content-Encoding", "gzip"}, status: 415},
		"another type":      {body: pack(t, good()), headers: []string{"Content-Type", "application/json"}, status: 415},
		"version 2":         {body: pack(t, good()), headers: []string{"Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, status: 415},
	} {
		status, says := write(t, base, tc.body, tc.headers...)
		require.Equal(t, tc.status, status, "%s: %s", name, says)
		require.Contains(t, says, tc.says, name)
	}
	require.Len(t, at("good"), 1, "it came with the bad")
	require.InDelta(t, 7, at("guest")[0].Value, 0)
	require.Empty(t, at("n"))
}

// Whatever is sent as remote write, the daemon answers, and its series stay what they can be.
func FuzzRemoteWrite(f *testing.F) {
	h, err := history.Open(history.Config{Dir: f.TempDir()})
	require.NoError(f, err)
	f.Cleanup(func() { _ = h.Close() })
	mux := http.NewServeMux()
	promapi.Register(mux, promapi.Config{History: h})
	b, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{series(time.Now(), 1, "__name__", "x", "a", "b")}}).Marshal()
	require.NoError(f, err)
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(snappy.Encode(nil, body)))
		r.Header.Set("Content-Type", "application/x-protobuf")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		require.Contains(t, []int{204, 400, 413}, w.Code, w.Body.String())
	})
}

// A real Prometheus writes to berthd what it has scraped of itself, and another one federates it.
func TestRealPrometheus(t *testing.T) {
	t.Parallel()
	prometheus := program(t, "prometheus")
	h, base, _ := serve(t, history.Config{})
	free := httptest.NewServer(nil)
	address := free.Listener.Addr().String()
	free.Close()
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `
global: {scrape_interval: 1s, external_labels: {site: here}}
remote_write: [{url: "%s/api/v1/write", queue_config: {batch_send_deadline: 1s}, metadata_config: {send_interval: 1s}}]
scrape_configs:
  - {job_name: itself, static_configs: [{targets: ["%s"]}]}
  - {job_name: berthd, metrics_path: /federate, honor_labels: true, params: {"match[]": ['x_total']}, static_configs: [{targets: ["%s"]}]}
`, base, address, strings.TrimPrefix(base, "http://")), 0o600))
	var log bytes.Buffer
	p := exec.Command(prometheus, "--config.file", file, "--storage.tsdb.path", t.TempDir(), "--web.listen-address", address)
	p.Stdout, p.Stderr = &log, &log
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })

	wait := func(what string, ok func() bool) {
		t.Helper()
		for began := time.Now(); !ok(); time.Sleep(100 * time.Millisecond) {
			if time.Since(began) > time.Minute {
				_ = p.Process.Kill()
				_ = p.Wait()
				t.Fatalf("it has not happened: %s\n%s", what, log.String())
			}
		}
	}
	wait("remote write", func() bool {
		rows, err := h.Query(t.Context(), `prometheus_build_info{site="here",pool="p1",job="itself"}`, time.Now())
		return err == nil && len(rows) == 1
	})
	wait("federation", func() bool {
		res, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(`x_total{vm="a",job="berthd"} or x_total{vm="a"}`))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return err == nil && strings.Contains(string(b), fmt.Sprintf(`"%d"`, 15*120))
	})
	wait("metadata", func() bool {
		return h.Metadata()["prometheus_build_info"].Type == "gauge" || h.Metadata()["go_goroutines"].Type == "gauge"
	})
}
