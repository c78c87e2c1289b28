package acceptance_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// build builds alertd.
func build(t *testing.T, to string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", to, "./alertd").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// start starts alertd with a configuration until the test ends, and returns the address of its API.
func start(t *testing.T, binary, config string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "alertd.yml")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
	cmd := exec.Command(binary, "--config.file", path, "--web.listen-address", "127.0.0.1:0", "--log.level", "debug") // #nosec G204 -- just built
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		require.NoError(t, cmd.Wait())
	})
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := regexp.MustCompile(`Listening on.* address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			go io.Copy(io.Discard, stderr)
			return "http://" + m[1]
		}
	}
	require.FailNow(t, "alertd does not listen", "%s", cmd.Wait())
	return ""
}

func call(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

// What the suite does not look at: the starts and ends of alerts, the rest of what a webhook is sent, routes and times.
func TestAlertd(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "alertd")
	build(t, binary)
	sent := make(chan string, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		sent <- string(b)
	}))
	defer hook.Close()
	api := start(t, binary, `
global: {resolve_timeout: 1h}
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 0s
  routes:
  - match_re: {severity: low|none}
    receiver: nobody
    continue: true
  - matchers: [severity="low"]
    mute_time_intervals: [always]
    group_by: ['...']
receivers:
- name: nobody
- name: ops
  webhook_configs: [{url: '`+hook.URL+`'}]
time_intervals:
- name: always
  time_intervals: [{weekdays: ['sunday:saturday'], years: [2000:9000]}]
`)
	begins := time.Now().Add(-2 * time.Hour).UTC().Truncate(time.Second)
	ends := begins.Add(time.Hour)
	stamp := func(at time.Time) string { return at.Format(time.RFC3339) }
	a := `{"labels": {"alertname": "DiskFull", "host": "h1"}, "annotations": {"summary": "full"}, "generatorURL": "http://rules.example/1", "startsAt": "` + stamp(begins) + `"}`
	low := `{"labels": {"alertname": "Slow", "severity": "low"}}`
	status, answer := call(t, http.MethodPost, api+"/api/v2/alerts", "["+a+","+low+`, {"labels": {}}]`)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer, "at least one label")

	message := func(status, end string) string {
		one := `{"status": "` + status + `", "labels": {"alertname": "DiskFull", "host": "h1"}, "annotations": {"summary": "full"},
			"startsAt": "` + stamp(begins) + `", "endsAt": "` + end + `", "generatorURL": "http://rules.example/1", "fingerprint": "1b9badc480dd4b81"}`
		return `{"receiver": "ops", "status": "` + status + `", "alerts": [` + one + `], "groupLabels": {"alertname": "DiskFull"},
			"commonLabels": {"alertname": "DiskFull", "host": "h1"}, "commonAnnotations": {"summary": "full"}, "externalURL": "", "version": "4",
			"groupKey": "{}:{alertname=\"DiskFull\"}", "truncatedAlerts": 0, "incident": "INCIDENT"}`
	}
	arrives := func(want string) {
		t.Helper()
		select {
		case got := <-sent:
			require.JSONEq(t, want, regexp.MustCompile(`"incident":"[0-9a-f]{32}"`).ReplaceAllString(got, `"incident":"INCIDENT"`))
		case <-time.After(10 * time.Second):
			require.FailNow(t, "nothing arrives")
		}
	}
	arrives(message("firing", "0001-01-01T00:00:00Z"))

	var groups []struct {
		Labels   map[string]string
		Receiver struct{ Name string }
		Alerts   []struct {
			Receivers []struct{ Name string }
			Status    struct {
				State   string
				MutedBy []string
			}
		}
	}
	status, answer = call(t, http.MethodGet, api+"/api/v2/alerts/groups?filter=severity%3Dlow", "")
	require.Equal(t, http.StatusOK, status)
	require.NoError(t, json.Unmarshal([]byte(answer), &groups))
	require.Len(t, groups, 2)
	require.Equal(t, "ops", groups[0].Receiver.Name)
	require.Equal(t, map[string]string{"alertname": "Slow", "severity": "low"}, groups[0].Labels)
	require.Equal(t, "suppressed", groups[0].Alerts[0].Status.State)
	require.Equal(t, []string{"always"}, groups[0].Alerts[0].Status.MutedBy)
	require.Equal(t, "nobody", groups[1].Receiver.Name)
	require.Equal(t, map[string]string{"alertname": "Slow"}, groups[1].Labels)
	require.Equal(t, "active", groups[1].Alerts[0].Status.State)
	require.Len(t, groups[1].Alerts[0].Receivers, 2)

	// A silence is made, changed and ended.
	silence := `{"matchers": [{"name": "severity", "value": "low", "isRegex": false}], "startsAt": "` + stamp(begins) + `", "endsAt": "2900-01-01T00:00:00Z", "createdBy": "me", "comment": "why"`
	status, answer = call(t, http.MethodPost, api+"/api/v2/silences", silence+"}")
	require.Equal(t, http.StatusOK, status, answer)
	var made struct{ SilenceID string }
	require.NoError(t, json.Unmarshal([]byte(answer), &made))
	status, answer = call(t, http.MethodGet, api+"/api/v2/alerts?silenced=false", "")
	require.Equal(t, http.StatusOK, status)
	require.NotContains(t, answer, "Slow")
	require.Contains(t, answer, "DiskFull")
	status, _ = call(t, http.MethodDelete, api+"/api/v2/silence/"+made.SilenceID, "")
	require.Equal(t, http.StatusOK, status)
	_, answer = call(t, http.MethodGet, api+"/api/v2/silence/"+made.SilenceID, "")
	require.Contains(t, answer, `"state":"expired"`)
	status, _ = call(t, http.MethodDelete, api+"/api/v2/silence/none", "")
	require.Equal(t, http.StatusNotFound, status)

	// The end is told at the next look at the group, at once after a reload.
	status, _ = call(t, http.MethodPost, api+"/api/v2/alerts", "["+strings.TrimSuffix(a, "}")+`, "endsAt": "`+stamp(ends)+`"}]`)
	require.Equal(t, http.StatusOK, status)
	status, _ = call(t, http.MethodPost, api+"/-/reload", "")
	require.Equal(t, http.StatusOK, status)
	arrives(message("resolved", stamp(ends)))
	require.Empty(t, sent)
}

// What alertd does not have it refuses, and does not leave out.
func TestAlertdRefuses(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "alertd")
	build(t, binary)
	const rest = "\nroute: {receiver: a}\nreceivers: [{name: a}]"
	for _, c := range []struct{ config, why string }{
		{"receivers: [{name: a}]", "no route"},
		{"route: {receiver: b}\nreceivers: [{name: a}]", `receiver \"b\"`},
		{"route: {receiver: a}\nreceivers: [{name: a, slack_configs: []}]", "slack_configs"},
		{"route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: here}]}]", "url"},
		{"route: {receiver: a, mute_time_intervals: [night]}\nreceivers: [{name: a}]", "routing.root.mute"},
		{"global: {smtp_from: me}" + rest, "smtp_from"},
		{"inhibit_rules: [{source_matchers: ['a']}]" + rest, "inhibit_rules[0]"},
		{"time_intervals: [{name: night, time_intervals: [{weekdays: [someday]}]}]" + rest, "weekdays"},
	} {
		path := filepath.Join(t.TempDir(), "alertd.yml")
		require.NoError(t, os.WriteFile(path, []byte(c.config), 0o600))
		out, err := exec.CommandContext(t.Context(), binary, "--config.file", path, "--web.listen-address", "127.0.0.1:0").CombinedOutput() // #nosec G204 -- just built
		require.Error(t, err, c.config)
		require.Contains(t, strings.ReplaceAll(string(out), `"`, `\"`), c.why, c.config)
	}
	out, err := exec.CommandContext(t.Context(), binary, "--cluster.peer", "127.0.0.1:1").CombinedOutput() // #nosec G204 -- just built
	require.Error(t, err)
	require.Contains(t, string(out), "cluster.peer")
}
