package testbed_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/integration/testbed"
)

func TestReadEvents(t *testing.T) {
	t.Parallel()
	const stream = `event: hello
data: {"revision":7}

:

id: 8
event: batch
data: {"revision":8,"events":[{"kind":"host.put","cause":"hosts of sim","data":{"a":1}},{"kind":"host.conditions"}]}

id: 9
event: batch
data: {"revision":9,"events":[{"kind":"machine.sent"}]}

`
	var got []testbed.Event
	require.NoError(t, testbed.ReadEvents(strings.NewReader(stream), func(e testbed.Event) bool {
		got = append(got, e)
		return true
	}))
	require.Len(t, got, 3)
	require.Equal(t, "host.put", got[0].Kind)
	require.Equal(t, "hosts of sim", got[0].Cause)
	require.JSONEq(t, `{"a":1}`, string(got[0].Data))
	require.EqualValues(t, []int64{8, 8, 9}, []int64{got[0].Revision, got[1].Revision, got[2].Revision})

	n := 0
	require.NoError(t, testbed.ReadEvents(strings.NewReader(stream), func(testbed.Event) bool { n++; return false }))
	require.Equal(t, 1, n, "it ends when nobody wants more")
	require.ErrorContains(t, testbed.ReadEvents(strings.NewReader("event: batch\ndata: {\n"), nil), "events")
}

func TestLines(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"a b", "c"}, testbed.Lines("\n a b \n\nc"))
	require.Equal(t, "c", testbed.LastLine("a\nc\n\n"))
	require.Empty(t, testbed.LastLine("\n"))
}

func TestCommandSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := testbed.Command(t.Context(), "go", "no-such-command")
	require.ErrorContains(t, err, "no-such-command: unknown command")
}
