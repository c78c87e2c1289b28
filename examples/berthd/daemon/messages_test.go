package daemon_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/receivers"
)

// The API says what can be said of receivers, from the same table that checks it.
func TestReceiverTypes(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	items := r.get("/api/v1/receiver-types").want(http.StatusOK).items()
	require.Len(t, items, len(receivers.Types()))
	for n, typ := range receivers.Types() {
		require.Equal(t, typ.Name, items[n]["name"])
		fields := items[n]["fields"].([]any)
		require.Len(t, fields, len(typ.Fields))
		for k, f := range typ.Fields {
			one := fields[k].(object)
			require.Equal(t, f.Name, one["name"])
			require.Equal(t, f.Secret, one["secret"])
			require.Equal(t, string(f.Kind), one["kind"])
		}
	}
}
