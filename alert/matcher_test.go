package alert_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

func TestMatcher(t *testing.T) {
	t.Parallel()
	l := labels(t, "host", "h12", "note", "two\nlines")
	for _, c := range []struct {
		name  string
		op    alert.Op
		value string
		want  bool
	}{
		{"host", alert.Equal, "h12", true},
		{"host", alert.Equal, "h1", false},
		{"host", alert.NotEqual, "h12", false},
		{"host", alert.NotEqual, "h1", true},
		{"host", alert.Match, "h.*", true},
		{"host", alert.Match, "h1", false}, // anchored
		{"host", alert.Match, "h1|h12", true},
		{"host", alert.NotMatch, "h1|h12", false},
		{"host", alert.NotMatch, "h1", true},
		{"none", alert.Equal, "", true}, // what is missing is empty
		{"none", alert.NotEqual, "", false},
		{"none", alert.Match, ".*", true},
		{"none", alert.Match, ".+", false},
		{"none", alert.NotMatch, ".+", true},
		{"note", alert.Match, "two.lines", true},
	} {
		m, err := alert.NewMatcher(c.name, c.op, c.value)
		require.NoError(t, err)
		require.Equal(t, c.want, m.Matches(l), m)
		b, err := json.Marshal(m)
		require.NoError(t, err)
		var back alert.Matcher
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, m.String(), back.String())
		require.Equal(t, c.want, back.Matches(l), m)
	}
	require.False(t, alert.Matcher{}.Matches(l))
	require.True(t, alert.Matchers{}.Match(l))
}

func TestMatcherIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{{"", "=", "x"}, {"a", "~", "x"}, {"a", "=~", "("}, {"a", "=~", strings.Repeat("x", alert.MaxPattern+1)}} {
		_, err := alert.NewMatcher(c[0], alert.Op(c[1]), c[2])
		require.ErrorIs(t, err, alert.ErrInvalid, c)
	}
	var m alert.Matcher
	require.ErrorIs(t, json.Unmarshal([]byte(`{"name": 1}`), &m), alert.ErrInvalid)
}
