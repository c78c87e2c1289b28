package daemon_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/daemon"
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

// What is beside the description is authorised, too: series and metrics are of all tenants, and for whoever may read everything.
func TestSeriesAndMetricsAreForWhoMayReadEverything(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	tenant := r.known("tenant", auth.Admin, auth.Scope{Project: "default"})
	viewer := r.known("viewer", auth.Viewer, auth.Scope{Everything: true})
	for _, path := range []string{
		"/metrics", "/federate?match[]=up", "/api/v1/query?query=up", "/api/v1/query_range?query=up&start=1&end=2&step=1", "/api/v1/series?match[]=up",
		"/api/v1/labels", "/api/v1/label/project/values", "/api/v1/metadata", "/api/v1/status/buildinfo",
	} {
		r.by(tenant, http.MethodGet, path, nil).problem(404, "not-found")
		r.by(viewer, http.MethodGet, path, nil).want(http.StatusOK)
	}
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
