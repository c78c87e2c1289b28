package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// A right that was taken away since the daemon last looked is none any more: whatever the command, it is refused where it would have been written
// down. Here the daemon looks at books from before, and goes by what they say.
func TestARightThatWasTakenAwaySince(t *testing.T) {
	t.Parallel()
	x := newTenants(t)
	before, err := berthage.Open(t.Context(), berthage.Config{ // which follows nobody, since it does not run
		Ledger: x.ledger, Parts: trail.Parts(), Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})},
	})
	require.NoError(t, err)
	t.Cleanup(before.Close)
	x.view = before.View
	require.Equal(t, http.StatusOK, x.ask("admin-all", http.MethodPut, "/api/v1/projects/new", []byte(`{"quota":{"cpu":1000}}`)).Code)
	for _, c := range []auth.Command{
		{Bind: &auth.Binding{ID: "successor", Principal: "user-all", Role: auth.Admin, Scope: auth.Scope{Everything: true}}},
		{Disable: "admin-all"},
	} {
		c.Program = true
		require.NoError(t, x.m.Decide(t.Context(), auth.Name, c))
	}
	head := func() (rev pool.Revision) {
		x.m.View(func(st *pool.State) { rev = st.Head() })
		return rev
	}
	now, refused := head(), 0
	for path, methods := range x.doc.Paths {
		for method, op := range methods {
			if method == "get" {
				continue
			}
			var body []byte
			if op.Body != nil {
				body, err = json.Marshal(x.things["own-admin"].body(op.Body.Content["application/json"].Example))
				require.NoError(t, err)
			}
			w := x.ask("admin-all", strings.ToUpper(method), x.things["own-admin"].path(op.ID, path), body)
			require.Equal(t, now, head(), "%s: %d %s", op.ID, w.Code, w.Body)
			if w.Code == http.StatusUnauthorized && strings.Contains(w.Body.String(), string(auth.Disabled)) {
				refused++
				continue
			}
			t.Log(op.ID, w.Code, w.Body.String())
		}
	}
	require.Greater(t, refused, 60)
}
