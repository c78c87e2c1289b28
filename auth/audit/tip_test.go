package audit_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// A Tip that is kept and read back after each batch says what the Log says.
func TestTip(t *testing.T) {
	t.Parallel()
	l := filled(t, 400)
	var tip audit.Tip
	log := &audit.Log{}
	for b, err := range pool.History(t.Context(), l, 0) {
		require.NoError(t, err)
		saved, err := json.Marshal(&tip)
		require.NoError(t, err)
		var back audit.Tip
		require.NoError(t, json.Unmarshal(saved, &back))
		require.Equal(t, tip.Head(), back.Head())
		tip = back
		require.NoError(t, tip.Add(b))
		require.NoError(t, log.Add(b))
		head, err := log.Head()
		require.NoError(t, err)
		require.Equal(t, head, tip.Head())
		require.Equal(t, b.Revision, tip.Revision())
		require.ErrorIs(t, tip.Add(b), pool.ErrCorrupt, "once")
		require.Equal(t, head, tip.Head())
	}
	for _, text := range []string{"", "[]", `{"tree":""}`, `{"revision":1,"tree":"AAAAAAAAAAA="}`, `{"revision":-1,"tree":"AAAAAAAAAAA="}`, `{"revision":0,"tree":"AAAAAAAAAAE="}`} {
		require.ErrorIs(t, tip.UnmarshalJSON([]byte(text)), pool.ErrInvalid, text)
	}
}
