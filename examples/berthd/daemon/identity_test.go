package daemon_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/pool"
)

// known gives the daemon a principal with a role in a project, and an API token of theirs.
func (r *rig) known(id string, role auth.Role, scope auth.Scope) (token string) {
	r.t.Helper()
	text, made, err := auth.NewToken(access.TokenPrefix)
	require.NoError(r.t, err)
	made.Principal, made.Expires, made.Limits = id, time.Now().Add(time.Hour), []auth.Limit{{Role: auth.Admin, Scope: auth.Scope{Everything: true}}}
	for _, c := range []auth.Command{
		{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id}},
		{Bind: &auth.Binding{ID: id, Principal: id, Role: role, Scope: scope}},
		{Token: &made},
	} {
		c.Program = true
		require.NoError(r.t, r.d.Manager().Decide(r.t.Context(), auth.Name, c))
	}
	return text
}

// by asks with somebody's token.
func (r *rig) by(token, method, path string, body any) *answer {
	r.t.Helper()
	return r.call(method, path, body, "Authorization", "Bearer "+token)
}

// What is beside the description is authorised, too: metrics of the daemon are for whoever may read everything, and series are there as far as they are of
// projects that one may read.
func TestSeriesAndMetricsAreForWhoMayReadThem(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	require.NoError(t, r.d.Manager().PutProject(t.Context(), pool.Project{Name: "rival"}))
	tenant := r.known("tenant", auth.Admin, auth.Scope{Project: "default"})
	owner := r.known("owner", auth.User, auth.Scope{Project: "default", Own: true})
	viewer := r.known("viewer", auth.Viewer, auth.Scope{Everything: true})
	now := time.Now().Truncate(time.Second)
	for _, l := range []labels.Labels{
		labels.FromStrings("__name__", "canary", "project", "default", "vm", "mine"), labels.FromStrings("__name__", "canary", "project", "rival", "vm", "theirs"),
		labels.FromStrings("__name__", "canary", "host", "sim/node-0001"), labels.FromStrings("__name__", "rivals_only", "project", "rival"),
		labels.FromStrings("__name__", "canary", "project", "default.rival"), labels.FromStrings("__name__", "canary", "project", "xdefault"),
	} {
		require.NoError(t, r.d.History().Append(t.Context(), []history.Sample{{Labels: l, Time: now.UnixMilli(), Value: 1}}))
	}
	r.d.History().Describe("rivals_only", history.Metadata{Type: "gauge", Help: "Theirs."})
	r.d.History().Describe("canary", history.Metadata{Type: "gauge", Help: "Of all."})

	r.by(tenant, http.MethodGet, "/metrics", nil).problem(404, "not-found")
	r.by(viewer, http.MethodGet, "/metrics", nil).want(http.StatusOK)
	at := strconv.FormatInt(now.Unix(), 10)
	ask := func(query string) string { return "/api/v1/query?time=" + at + "&query=" + url.QueryEscape(query) }
	for _, path := range []string{
		ask(`canary`), ask(`{__name__=~".+"}`), ask(`{__name__!="",project!="default"} or canary`), ask(`canary{project="rival"} or canary`), ask(`count by (vm, project, host) ({__name__=~".+"} @ end())`),
		ask(`label_replace(canary, "copy", "$1", "vm", "(.*)")`), ask(`max_over_time(canary[5m:1m]) or sum by (project) (last_over_time({__name__!=""}[1h]))`),
		"/api/v1/query_range?query=" + url.QueryEscape(`{__name__=~".+"}`) + "&start=" + at + "&end=" + at + "&step=60", "/api/v1/series?match[]=canary&match[]=rivals_only",
		"/federate?match[]=canary&match[]=rivals_only", "/api/v1/label/project/values", "/api/v1/label/vm/values", "/api/v1/label/__name__/values", "/api/v1/labels", "/api/v1/metadata",
		"/api/v1/label/host/values?match[]=canary", "/api/v1/label/project/values?match[]=" + url.QueryEscape(`{project="rival"}`),
	} {
		r.by(owner, http.MethodGet, path, nil).problem(404, "not-found")
		all := string(r.by(viewer, http.MethodGet, path, nil).want(http.StatusOK).body)
		mine := string(r.by(tenant, http.MethodGet, path, nil).want(http.StatusOK).body)
		require.NotEqual(t, all, mine, path)
		for _, word := range []string{"rival", "theirs", "Theirs", "node-0001", "xdefault"} {
			require.NotContains(t, mine, word, path)
		}
		if !strings.Contains(path, "host/") && !strings.Contains(path, "values?match") {
			require.Regexp(t, "canary|mine|default|vm", mine, path)
		}
	}
	r.by(tenant, http.MethodGet, ask(`absent(canary{project="rival"})`), nil).want(http.StatusOK)
	r.by(viewer, http.MethodPost, "/api/v1/write", "x").problem(403, "not-by-role")
	r.by(tenant, http.MethodPost, "/api/v1/write", "x").problem(404, "not-found")

	// Inside of its project a tenant does what it may, in its own name.
	a := r.by(tenant, http.MethodPost, "/api/v1/instances", vm("mine")).want(http.StatusAccepted)
	require.Equal(t, "tenant", a.at("operation", "actor"))
	r.by(viewer, http.MethodDelete, "/api/v1/instances/"+a.at("instance", "id").(string), nil).problem(403, "not-by-role")
	r.by(tenant, http.MethodGet, "/api/v1/hosts/sim/node-0001", nil).problem(404, "not-found")
	require.Empty(t, r.by(tenant, http.MethodGet, "/api/v1/hosts", nil).want(http.StatusOK).items())
}

// The daemon's own token is a principal's like others, whose rights can be taken away, and stay so.
func TestRootCanBeDisabled(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	other := r.known("other", auth.Admin, auth.Scope{Everything: true})
	require.NoError(t, r.d.Manager().Decide(t.Context(), auth.Name, auth.Command{Program: true, Disable: access.Root}))
	r.get("/api/v1/instances").problem(401, "unauthorized")
	r.by(other, http.MethodGet, "/api/v1/instances", nil).want(http.StatusOK)
	r.stop()
	d, err := daemon.Open(t.Context(), r.config, daemon.Options{})
	require.NoError(t, err)
	d.Manager().View(func(st *pool.State) {
		root, ok := auth.Of(st).Principal(access.Root)
		require.True(t, ok)
		require.True(t, root.Disabled)
	})
	require.NoError(t, d.Close())
}

// A ledger, or keys, that cannot be read let nobody in: there is no daemon.
func TestNoDaemonOnWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	r.stop()
	for _, name := range []string{"ledger.db", daemon.KeysFile} {
		name = filepath.Join(r.config.Data, name)
		kept, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, []byte("this is not what was written here, and longer than nothing at all"), 0o600))
		_, err = daemon.Open(t.Context(), r.config, daemon.Options{})
		require.Error(t, err, name)
		require.NoError(t, os.WriteFile(name, kept, 0o600))
	}
	d, err := daemon.Open(t.Context(), r.config, daemon.Options{})
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

// An alert is its instance's: seen and taken on by those who may, and not there for others.
func TestAlertsAreTheirTenants(t *testing.T) {
	t.Parallel()
	r := start(t, 2, watchful)
	r.call(http.MethodPut, "/api/v1/projects/rival", object{"quota": object{}}).want(http.StatusOK)
	owner := r.known("owner", auth.User, auth.Scope{Project: "default"})
	colleague := r.known("colleague", auth.User, auth.Scope{Project: "default"})
	rival := r.known("rival", auth.Admin, auth.Scope{Project: "rival"})
	id, _ := r.by(owner, http.MethodPost, "/api/v1/instances", vm("mine")).want(http.StatusAccepted).at("instance", "id").(string)
	r.status(id, "running")
	r.call(http.MethodPut, "/api/v1/alert-rules/There", object{"measure": object{"metric": "up"}, "test": object{"is": ">=", "value": 0}}).want(http.StatusOK)
	alerts := func(token string) (ids []string) {
		for _, a := range r.by(token, http.MethodGet, "/api/v1/alerts?limit=1000&phase=firing", nil).want(http.StatusOK).items() {
			if a["labels"].(object)["vm_id"] == id {
				ids = append(ids, a["id"].(string))
			} else {
				require.Empty(t, a["labels"].(object)["host"], "hosts are not theirs")
			}
		}
		return ids
	}
	r.eventually(func() bool { return len(alerts(owner)) == 1 })
	path := "/api/v1/alerts/" + alerts(owner)[0]
	require.Len(t, alerts(colleague), 1)
	require.Empty(t, alerts(rival))
	r.by(rival, http.MethodGet, path, nil).problem(404, "not-found")
	r.by(rival, http.MethodPost, path+"/acknowledge", object{}).problem(404, "not-found")
	r.by(colleague, http.MethodPost, path+"/acknowledge", object{}).problem(403, "not-own")
	require.Equal(t, "owner", r.by(owner, http.MethodPost, path+"/acknowledge", object{}).want(http.StatusOK).at("acknowledged", "by"))
}
