package history_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// stuck is a driver whose Meter hangs on one host, whatever its context says, and is out of order on another.
type stuck struct {
	*fake.Driver
	hangs, fails pool.HostID
	asked        atomic.Int64 // for any host
	hung         atomic.Int64 // for the one that hangs
	ends         chan struct{}
}

func (s *stuck) Sample(ctx context.Context, id pool.HostID) ([]hypervisor.Sample, error) {
	s.asked.Add(1)
	switch id {
	case s.hangs:
		s.hung.Add(1)
		<-s.ends
		return nil, context.DeadlineExceeded
	case s.fails:
		return nil, pool.ErrUnavailable
	}
	return s.Driver.Sample(ctx, id)
}

// manage returns a Manager of three simulated hosts, with an instance on each.
func manage(t *testing.T, run bool) (*berthage.Manager, *stuck) {
	t.Helper()
	hosts := fake.Fleet("sim", 3, 7)
	for i := range hosts {
		hosts[i].Labels = map[string]string{"env": "test"}
	}
	d := &stuck{Driver: fake.New(fake.Config{Name: "sim", Hosts: hosts}), ends: make(chan struct{})}
	m, err := berthage.Open(t.Context(), berthage.Config{Ledger: pool.NewMemoryLedger(), Drivers: map[string]hypervisor.Driver{"sim": d}, Poll: 200 * time.Millisecond, Ephemeral: true})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	require.NoError(t, m.PutProject(t.Context(), pool.Project{Name: "shop"}))
	require.NoError(t, m.PutImage(t.Context(), pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "x"}}))
	for _, h := range hosts {
		_, err := m.AddHost(t.Context(), h.ID)
		require.NoError(t, err)
	}
	if !run {
		return m, d
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	for n, h := range hosts {
		i, err := m.Launch(t.Context(), berthage.Launch{Token: string(h.ID), Project: "shop", Name: fmt.Sprintf("web-%d", n), Spec: pool.Spec{
			Image: "debian-12", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: pool.GiB}, Labels: map[string]string{"role": "web"},
			Constraints: pool.Constraints{Hosts: []pool.HostID{h.ID}}, Networks: []pool.Network{{}}, Disks: []pool.Disk{{Size: 10 * pool.GiB, Storage: pool.SSD}},
		}})
		require.NoError(t, err)
		eventually(t, "an instance", func() bool {
			got, err := m.Instance(i.ID)
			return err == nil && got.Is == pool.Running
		})
	}
	return m, d
}

func fleet() history.Fleet {
	return history.Fleet{Pool: "p1", Kinds: map[string]string{"sim": "simulated"}}
}

// values returns the value of each series of an expression, by one of its labels.
func values(t *testing.T, h *history.History, expr, by string) map[string]float64 {
	t.Helper()
	rows, err := h.Query(t.Context(), expr, time.Now())
	require.NoError(t, err)
	out := make(map[string]float64)
	for _, r := range rows {
		require.NotContains(t, out, r.Labels[by], "%s: two of one label", expr)
		out[r.Labels[by]] = r.Value
	}
	return out
}

// background runs something until the test ends.
func background(t *testing.T, run func(context.Context)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// Each host is asked by itself, in every interval; one that hangs or fails hurts nobody else. The series have one set of
// labels, and every figure can be made of them. What is gone ends at once.
func TestMeters(t *testing.T) {
	t.Parallel()
	m, d := manage(t, true)
	d.hangs, d.fails = "sim/node-0002", "sim/node-0003"
	t.Cleanup(func() { close(d.ends) })
	h := open(t, history.Config{Interval: time.Second})
	meters := &history.Meters{History: h, Manager: m, Fleet: fleet()}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel) // it is not waited for: one of its drivers hangs
	go meters.Run(ctx)

	eventually(t, "readings", func() bool {
		return values(t, h, `count_over_time(berthage_host_cpu_cores[1m]) >= 6`, "host")["sim/node-0001"] > 0
	})
	require.EqualValues(t, 1, d.hung.Load(), "one that hangs is not asked again")
	up := values(t, h, "berthage_meter_up", "host")
	require.Equal(t, map[string]float64{"sim/node-0001": 1, "sim/node-0003": 0}, up)

	rows, err := h.Query(t.Context(), `libvirt_domain_interface_stats_receive_bytes_total`, time.Now())
	require.NoError(t, err)
	require.Len(t, rows, 1)
	id := rows[0].Labels["vm_id"]
	require.Equal(t, map[string]string{
		"__name__": "libvirt_domain_interface_stats_receive_bytes_total", "pool": "p1", "hypervisor": "simulated", "host": "sim/node-0001", "env": "test",
		"project": "shop", "vm": "web-0", "vm_id": id, "role": "web", "target_device": "eth0",
	}, func() map[string]string { rows[0].Labels["env"] = "test"; return rows[0].Labels }(), "an instance has its own env, or none")

	for _, of := range []history.Subject{history.Hosts, history.Instances} {
		subject := map[history.Subject]string{history.Hosts: "sim/node-0001", history.Instances: id}[of]
		curves, err := h.Curves(t.Context(), of, subject, time.Now().Add(-2*time.Second), time.Now(), time.Second)
		require.NoError(t, err)
		require.Len(t, curves, 8)
		for _, c := range curves {
			require.NotEmpty(t, c.Points, "%s: %s %s", of, c.Figure, c.Line)
			for _, p := range c.Points {
				require.GreaterOrEqual(t, p.Value, 0.0)
				if c.Unit == "percent" {
					require.LessOrEqual(t, p.Value, 100.0)
				}
			}
		}
	}
	require.Equal(t, "counter", h.Metadata()["libvirt_domain_info_cpu_time_seconds_total"].Type)

	_, err = m.Delete(t.Context(), pool.InstanceID(id))
	require.NoError(t, err)
	began := time.Now()
	eventually(t, "the end of a series", func() bool { return len(values(t, h, "libvirt_domain_info_virtual_cpus", "vm")) == 0 })
	require.Less(t, time.Since(began), time.Minute, "and not by the look-back")
	require.NotEmpty(t, values(t, h, "berthage_host_cpu_cores", "host"))
	require.Zero(t, h.Status().Refused)
}

// A daemon that does not lead asks no driver.
func TestOnlyTheLeaderAsks(t *testing.T) {
	t.Parallel()
	m, d := manage(t, false)
	h := open(t, history.Config{Interval: time.Second})
	stop := background(t, (&history.Meters{History: h, Manager: m, Fleet: fleet()}).Run)
	time.Sleep(2500 * time.Millisecond)
	stop()
	require.Zero(t, d.asked.Load())
	require.Zero(t, h.Status().Appended)
}

// What targets say is kept with their labels and those of the host that they are of, and ends when they fall silent.
// Whatever else they answer is an error of theirs.
func TestScraping(t *testing.T) {
	t.Parallel()
	var answer atomic.Value
	answer.Store("# TYPE x counter\nx{host=\"theirs\",a=\"1\"} 5\n# TYPE d histogram\nd_bucket{le=\"+Inf\"} 2\nd_sum 3\nd_count 2\n")
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := answer.Load().(string)
		if text == "redirect" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		if r.Header.Get("Authorization") == "Bearer secret" && text != "" {
			_, _ = w.Write([]byte(text))
		}
	}))
	t.Cleanup(server.Close)
	m, _ := manage(t, false)
	h := open(t, history.Config{Interval: time.Second})
	s := &history.Scraper{History: h, Manager: m, Fleet: fleet(), Targets: []history.Target{{
		URL: server.URL, Job: "node", Labels: map[string]string{"host": "sim/node-0002"}, TokenFile: token,
	}}}
	background(t, func(ctx context.Context) { _ = s.Run(ctx) })
	host := server.Listener.Addr().String()
	eventually(t, "a sample", func() bool { return len(values(t, h, "x", "host")) == 1 })
	rows, err := h.Query(t.Context(), "x", time.Now())
	require.NoError(t, err)
	require.Equal(t, []history.Row{{Value: 5, Labels: map[string]string{
		"__name__": "x", "a": "1", "exported_host": "theirs", "host": "sim/node-0002", "hypervisor": "simulated", "pool": "p1", "env": "test", "job": "node", "instance": host,
	}}}, rows)
	require.InDelta(t, 2, one(t, h, "d_count", time.Now()), 0)
	require.InDelta(t, 1, one(t, h, "up", time.Now()), 0)
	require.InDelta(t, 4, one(t, h, "scrape_samples_scraped", time.Now()), 0)
	for what, bad := range map[string]string{
		"not the format": "<html>", "large": strings.Repeat("# x\n", 5<<20), "many": manySamples(60_000), "redirect": "redirect",
		"a long value": "x{a=\"" + strings.Repeat("y", 5000) + "\"} 1\n",
	} {
		answer.Store(bad)
		eventually(t, what, func() bool { return one(t, h, "up", time.Now()) == 0 })
		require.Empty(t, values(t, h, "x", "host"), what)
		answer.Store("x 6\n")
		eventually(t, "a good answer", func() bool { return one(t, h, "up", time.Now()) == 1 && len(values(t, h, "x", "host")) == 1 })
	}
	require.Zero(t, h.Status().Refused)

	for _, bad := range []history.Target{
		{URL: "ftp://x/"}, {URL: "x"}, {URL: "http://x/", Labels: map[string]string{"__name__": "x"}}, {URL: "http://x/", Labels: map[string]string{"a-b": "x"}},
		{URL: "http://x/", Interval: time.Millisecond}, {URL: "http://x/", Timeout: time.Hour}, {URL: "http://x/", CAFile: token}, {URL: "http://x/", CAFile: "/none"},
	} {
		require.Error(t, (&history.Scraper{History: h, Targets: []history.Target{bad}}).Check(), "%+v", bad)
	}
}

func manySamples(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x{n=\"%d\"} 1\n", i)
	}
	return b.String()
}

// A real node_exporter on this computer gives the figures of a host that has no Meter.
func TestNodeExporter(t *testing.T) {
	t.Parallel()
	program := ""
	for _, name := range []string{"prometheus-node-exporter", "node_exporter"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
		}
	}
	if program == "" {
		t.Skip("NOT RUN: scraping a real node_exporter: none was found")
	}
	listener := httptest.NewServer(nil)
	address := listener.Listener.Addr().String()
	listener.Close()
	exporter := exec.Command(program, "--web.listen-address", address)
	require.NoError(t, exporter.Start())
	t.Cleanup(func() { _ = exporter.Process.Kill(); _ = exporter.Wait() })

	m, _ := manage(t, false)
	h := open(t, history.Config{Interval: time.Second})
	s := &history.Scraper{History: h, Manager: m, Fleet: fleet(), Targets: []history.Target{{URL: "http://" + address + "/metrics", Job: "node", Labels: map[string]string{"host": "sim/node-0001"}}}}
	background(t, func(ctx context.Context) { _ = s.Run(ctx) })
	eventually(t, "samples", func() bool { return len(values(t, h, `count_over_time(up[1m]) >= 4`, "host")) == 1 })
	require.Greater(t, one(t, h, "scrape_samples_scraped", time.Now()), 100.0)
	curves, err := h.Curves(t.Context(), history.Hosts, "sim/node-0001", time.Now(), time.Now(), time.Second)
	require.NoError(t, err)
	for _, c := range curves {
		require.NotEmpty(t, c.Points, c.Figure)
	}
}
