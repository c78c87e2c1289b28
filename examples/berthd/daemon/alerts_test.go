package daemon_test

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

// watchful evaluates rules every second.
func watchful(c *config.Config, _ *daemon.Options) { c.Alerts = time.Second }

// firing sets a rule of which an alert fires for every host, and returns the id of one of them.
func (r *rig) firing(name string) string {
	r.t.Helper()
	r.call(http.MethodPut, "/api/v1/alert-rules/"+name, object{"measure": object{"metric": "up", "matchers": []any{object{"name": "host", "op": "!=", "value": ""}}}, "test": object{"is": ">=", "value": 0}}).want(http.StatusOK)
	id := ""
	r.eventually(func() bool {
		for _, a := range r.get("/api/v1/alerts?phase=firing&limit=1000").want(http.StatusOK).items() {
			if a["labels"].(object)["alertname"] == name {
				id = a["id"].(string)
			}
		}
		return id != ""
	})
	return id
}

// silence makes a silence and returns its id.
func (r *rig) silence() string {
	r.t.Helper()
	return r.post("/api/v1/silences", object{"matchers": []any{object{"name": "alertname", "value": "None"}}, "ends": time.Now().Add(time.Hour)}).want(http.StatusCreated).at("id").(string)
}

// A rule is set, its alerts fire, are acknowledged and silenced, and are resolved when the rule is removed: all over the API.
func TestAlerts(t *testing.T) {
	t.Parallel()
	r := start(t, 2, watchful)
	const rules, alerts, silences = "/api/v1/alert-rules", "/api/v1/alerts", "/api/v1/silences"
	rule := object{"measure": object{"metric": "up", "matchers": []any{object{"name": "host", "op": "=~", "value": "sim/.+"}}}, "test": object{"is": ">=", "value": 1},
		"severity": "low", "annotations": object{"summary": "{{ $labels.host }} is there"}}
	put := r.call(http.MethodPut, rules+"/HostIsThere", rule).want(http.StatusOK)
	require.Equal(t, "HostIsThere", put.at("name"))
	require.Equal(t, "up", put.at("measure", "metric"))
	require.Equal(t, put.body, r.get(rules+"/HostIsThere").want(http.StatusOK).body)
	require.Len(t, r.get(rules).want(http.StatusOK).items(), 1)
	r.eventually(func() bool { return len(r.get(alerts+"?phase=firing").want(http.StatusOK).items()) == 2 })
	one := r.get(alerts).want(http.StatusOK).items()[0]
	require.Equal(t, "low", one["labels"].(object)["severity"])
	require.Equal(t, one["labels"].(object)["host"].(string)+" is there", one["annotations"].(object)["summary"])
	require.EqualValues(t, 1, one["value"])
	path := alerts + "/" + one["id"].(string)
	require.Equal(t, one["id"], r.get(path).want(http.StatusOK).at("id"))

	require.Equal(t, "on it", r.post(path+"/acknowledge", object{"note": "on it"}).want(http.StatusOK).at("acknowledged", "note"))
	require.Equal(t, "root", r.get(path).want(http.StatusOK).at("acknowledged", "by"))
	r.call(http.MethodDelete, path+"/acknowledge", nil).want(http.StatusNoContent)
	r.call(http.MethodDelete, path+"/acknowledge", nil).problem(404, "not-found")

	ends := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	s := r.post(silences, object{"matchers": []any{object{"name": "alertname", "value": "HostIsThere"}}, "ends": ends, "note": "known"}).want(http.StatusCreated)
	require.Equal(t, "active", s.at("phase"))
	require.Equal(t, "root", s.at("by"))
	id := s.at("id").(string)
	longer := r.call(http.MethodPut, silences+"/"+id, object{"matchers": []any{object{"name": "alertname", "value": "HostIsThere"}}, "starts": s.at("starts"), "ends": time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)}).want(http.StatusOK)
	require.Equal(t, id, longer.at("id"))
	r.call(http.MethodDelete, silences+"/"+id, nil).want(http.StatusNoContent)
	require.Equal(t, "expired", r.get(silences).want(http.StatusOK).items()[0]["phase"])

	r.call(http.MethodDelete, rules+"/HostIsThere", nil).want(http.StatusNoContent)
	r.eventually(func() bool { return len(r.get(alerts+"?phase=resolved").want(http.StatusOK).items()) == 2 })

	r.call(http.MethodDelete, rules+"/HostIsThere", nil).problem(404, "not-found")
	r.call(http.MethodDelete, silences+"/none", nil).problem(404, "not-found")
	r.get(alerts+"/0123456789abcdef0123456789abcdef").problem(404, "not-found")
	r.call(http.MethodPut, rules+"/Bad", object{"measure": object{"metric": "up", "func": "avg"}}).problem(422, "invalid-value")
	r.call(http.MethodPut, rules+"/Bad", object{"measure": object{"metric": "up"}, "for": "soon"}).problem(422, "invalid-value")
	r.call(http.MethodPut, rules+"/Bad", object{"query": "up =="}).problem(422, "invalid-value")
	r.call(http.MethodPut, rules+"/Bad", object{"measure": object{"metric": "up", "func": "anomalies", "last": 3, "model": object{"name": "oracle"}}}).problem(422, "invalid-value")
	r.post(silences, object{"matchers": []any{object{"name": "a", "op": "=~", "value": "("}}, "ends": ends}).problem(422, "invalid-value")
	r.post(silences, object{"matchers": []any{object{"name": "a", "op": "=~", "value": ".*"}}, "ends": ends}).problem(422, "invalid-value")
}

// A rule in PromQL goes by what berthd has measured and keeps.
func TestRulesInPromQL(t *testing.T) {
	t.Parallel()
	r := start(t, 2, watchful, func(c *config.Config, _ *daemon.Options) { c.History = time.Second })
	r.call(http.MethodPut, "/api/v1/alert-rules/Large", object{"query": "sum by (host) (berthage_host_cpu_cores) > 0", "severity": "low"}).want(http.StatusOK)
	r.eventually(func() bool { return len(r.get("/api/v1/alerts?phase=firing").want(http.StatusOK).items()) == 2 })
	a := r.get("/api/v1/alerts").want(http.StatusOK).items()[0]
	require.NotEmpty(t, a["labels"].(object)["host"])
	require.Greater(t, a["value"], 1.0)
}

// A file has rules and hooks: an alert of the one runs the other, with the alert on its standard input and no shell in between.
func TestAlertRulesOfAFile(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("tee"); err != nil {
		t.Skip("NOT RUN: hooks of a file of rules: there is no tee")
	}
	dir := t.TempDir()
	file, told := filepath.Join(dir, "alerts.yml"), filepath.Join(dir, "told; $(touch x)")
	write := func(text string) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	write(`
rules:
  - name: HostIsThere
    measure: {metric: up, matchers: [{name: host, op: "=~", value: "sim/.+1"}]}
    test: {is: ">=", value: 1}
    annotations: {summary: '"quoted" {{ $labels.host }}'}
    actions: [{do: hook, hook: tell}, {do: hook, hook: fail}]
hooks:
  tell: [tee, ` + strconv.Quote(told) + `]
  fail: [tee, /nowhere/at/all]
`)
	r := start(t, 2, watchful, func(c *config.Config, _ *daemon.Options) { c.AlertRules = file })
	r.eventually(func() bool { return len(r.get("/api/v1/alerts?phase=firing").want(http.StatusOK).items()) == 1 })
	r.eventually(func() bool {
		b, err := os.ReadFile(told)
		return err == nil && strings.Contains(string(b), `"summary":"\"quoted\" sim/node-0001"`)
	})
	r.eventually(func() bool {
		return strings.Contains(r.acted(), "/nowhere/at/all")
	})
	doc, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "watching.md"))
	require.NoError(t, err)
	_, example, _ := strings.Cut(string(doc), "```text\n")
	example, _, _ = strings.Cut(example, "```")
	write(example)
	start(t, 1, watchful, func(c *config.Config, _ *daemon.Options) { c.AlertRules = file })
	for wrong, want := range map[string]string{
		"rules: [{name: X, measure: {metric: up}, tset: {}}]": "tset",
		"hooks: {a: []}":                       "a command",
		"rules: [{name: X}]":                   "metric",
		"rules: [{name: X, query: \"up ==\"}]": "query",
		"rules: [{name: X, query: up, actions: [{do: hook, hook: none}]}]": "hook",
		"inhibit: [{name: all}]": "source_matchers",
		"rules: 7":               "rules",
		"rules: [{name: X, measure: {metric: [}}]": "yaml",
	} {
		write(wrong)
		c := r.config
		c.Data = t.TempDir()
		_, err := daemon.Open(t.Context(), c, daemon.Options{Logger: slog.New(slog.DiscardHandler)})
		require.ErrorContains(t, err, want)
	}
}

// acted returns what became of what rules wanted done.
func (r *rig) acted() string {
	out := ""
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
	defer cancel()
	for b, err := range r.d.Manager().Events(ctx, 0) {
		if err != nil {
			break
		}
		for _, e := range b.Events {
			if e.Kind == "alert.acted" {
				out += string(e.Data)
			}
		}
		if b.Revision >= r.d.Manager().Status().Revision {
			break
		}
	}
	return out
}
