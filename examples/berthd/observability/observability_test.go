package observability_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// promtool judges the files. Debian's package prometheus has it.
func TestPromtoolAccepts(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("NOT RUN: promtool on the shipped rules and configuration: there is none (Debian's package prometheus has it)")
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "berthd-token"), nil, 0o600))
	for _, name := range []string{"prometheus.yml", "rules.yml", "rules_test.yml"} {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	for _, args := range []string{"check rules rules.yml", "check config prometheus.yml", "test rules rules_test.yml"} {
		c := exec.Command(promtool, strings.Fields(args)...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		require.NoError(t, err, "promtool %s: %s", args, out)
		require.Contains(t, string(out), "SUCCESS", args)
	}
}

type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Record, Alert, Expr, For string
			Labels, Annotations      map[string]string
		}
	}
}

func read(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	if filepath.Ext(name) == ".json" {
		require.NoError(t, json.Unmarshal(b, v))
		return
	}
	require.NoError(t, yaml.Unmarshal(b, v))
}

// The recorded series are the figures of berthd's charts, and the alerts of the mission are there with its limits.
func TestTheRulesAreTheFigures(t *testing.T) {
	t.Parallel()
	var r rules
	read(t, "rules.yml", &r)
	h := open(t, t.TempDir())
	plain := func(expr string) string {
		e, err := h.Parser().ParseExpr(expr)
		require.NoError(t, err, expr)
		return e.String()
	}
	recorded, alerts := make(map[string]bool), make(map[string]string)
	for _, g := range r.Groups {
		for _, rule := range g.Rules {
			if rule.Record != "" {
				recorded[plain(rule.Expr)] = true
				continue
			}
			alerts[rule.Alert] = rule.Expr + " for " + rule.For
			require.Contains(t, []string{"critical", "high", "medium", "low"}, rule.Labels["severity"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			plain(rule.Expr)
		}
	}
	figures := 0
	for _, of := range []history.Subject{history.Hosts, history.Instances} {
		for _, f := range history.Figures() {
			for _, l := range f.Lines {
				figures++
				require.True(t, recorded[plain(l.Expr(of, "", time.Minute))], "%s %s of a %s is not recorded", f.Name, l.Name, of)
			}
		}
	}
	require.Len(t, recorded, figures)
	for kind, level := range map[string]string{"Host": "host", "Instance": "vm"} {
		for name, limit := range map[string]int{"CPU": 80, "Memory": 85, "Disk": 90} {
			require.Equal(t, fmt.Sprintf("%s:berthage_%s_used:percent > %d for 5m", level, strings.ToLower(name), limit), alerts[kind+name+"High"])
		}
	}
}

func open(t *testing.T, dir string) *history.History {
	t.Helper()
	h, err := history.Open(history.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	return h
}

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []struct {
		ID         int
		Type       string
		Title      string
		Datasource struct{ UID string }
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct {
			RefID      string
			Expr       string
			Datasource struct{ UID string }
		}
	}
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
}

// serve runs a daemon with two hosts and an instance, which measures every second.
func serve(t *testing.T) *daemon.Daemon {
	t.Helper()
	c := config.Default()
	c.Listen, c.Data, c.Simulate, c.History = "127.0.0.1:0", t.TempDir(), 2, time.Second
	c.SimBuild, c.SimBoot = 20*time.Millisecond, 20*time.Millisecond
	d, err := daemon.Open(t.Context(), c, daemon.Options{Logger: slog.New(slog.DiscardHandler), Fleet: func(c *fake.Config) {
		for n, h := range c.Hosts {
			disks := pool.Inventory{Total: pool.TiB}
			c.Hosts[n] = pool.Host{ID: h.ID, Name: h.Name, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{
				pool.CPU: {Total: 16 * pool.Core}, pool.Memory: {Total: 64 * pool.GiB}, pool.StorageStandard: disks,
			}, Devices: []pool.Device{{ID: "disks", Class: pool.StorageStandard, Inventory: disks}}}
		}
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })
	eventually(t, "hosts", func() bool {
		n := 0
		d.Manager().View(func(st *pool.State) { n = st.HostCount() })
		return n == 2 && d.URL() != ""
	})
	_, err = d.Manager().Launch(t.Context(), berthage.Launch{Token: "web", Project: "default", Name: "web", Spec: pool.Spec{
		Image: "debian-12", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB}, Networks: []pool.Network{{}}, Disks: []pool.Disk{{Size: pool.GiB}},
	}})
	require.NoError(t, err)
	return d
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(100 * time.Millisecond) {
		require.Less(t, time.Since(began), time.Minute, "it has not happened: %s", what)
	}
}

// The dashboard is one that Grafana can read, and of what a running berthd measures every panel and every variable shows
// something.
func TestTheDashboardShowsSomething(t *testing.T) {
	t.Parallel()
	var dash dashboard
	read(t, "grafana.json", &dash)
	require.NotEmpty(t, dash.UID)
	require.NotEmpty(t, dash.Title)
	require.Greater(t, dash.SchemaVersion, 30)
	d := serve(t)
	h := d.History()

	var exprs []string
	seen, taken := make(map[int]bool), make(map[[2]int]string)
	for _, p := range dash.Panels {
		require.False(t, seen[p.ID], "panel %d is there twice", p.ID)
		seen[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			require.Less(t, x, 24, p.Title)
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s lies on another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		require.NotEmpty(t, p.Targets, p.Title)
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			require.False(t, refs[target.RefID], p.Title)
			refs[target.RefID] = true
			require.Equal(t, "${datasource}", target.Datasource.UID)
			exprs = append(exprs, target.Expr)
		}
	}
	require.Greater(t, len(exprs), 25)
	names, labels := make(map[string]bool), make(map[string]string)
	variable := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	for _, v := range dash.Templating.List {
		names[v.Name] = true
		if m := variable.FindStringSubmatch(v.Query); m != nil {
			exprs = append(exprs, "count by ("+m[2]+") ("+m[1]+")")
			labels[exprs[len(exprs)-1]] = m[2]
		} else {
			require.Equal(t, "datasource", v.Type, v.Name)
		}
	}
	for _, expr := range exprs {
		label := labels[expr]
		for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(expr, -1) {
			require.True(t, names[m[1]] || m[1] == "__rate_interval", "%s names the variable %s", expr, m[1])
		}
		expr = strings.ReplaceAll(expr, "$__rate_interval", "5s")
		expr = regexp.MustCompile(`\$\w+`).ReplaceAllString(expr, ".*")
		_, err := h.Parser().ParseExpr(expr)
		require.NoError(t, err, expr)
		eventually(t, "a value of "+expr, func() bool {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.URL()+"/health", nil)
			require.NoError(t, err)
			res, err := http.DefaultClient.Do(r) // so that there are requests to be counted
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			rows, err := h.Query(t.Context(), expr, time.Now())
			require.NoError(t, err, expr)
			return len(rows) > 0 && (label == "" || rows[0].Labels[label] != "")
		})
	}
}
