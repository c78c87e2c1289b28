package alert_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/berthage/berthage/alert"
	"github.com/stretchr/testify/require"
)

func labels(t testing.TB, pairs ...string) alert.Labels {
	t.Helper()
	m := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	l, err := alert.NewLabels(m)
	require.NoError(t, err)
	return l
}

func TestLabels(t *testing.T) {
	t.Parallel()
	l := labels(t, "host", "h1", "project", "web", "empty", "", "zone", strings.Repeat("z", 300))
	require.Equal(t, 3, l.Len())
	require.Equal(t, "h1", l.Get("host"))
	require.Len(t, l.Get("zone"), 300)
	require.Empty(t, l.Get("empty"))
	require.Empty(t, l.Get("hos"))
	require.Equal(t, labels(t, "project", "web", "host", "h1"), l.Without("zone"))
	require.Equal(t, labels(t, "host", "h1"), l.Only("host", "none"))
	over, err := l.With(labels(t, "host", "h2", "rack", "r1"))
	require.NoError(t, err)
	require.Equal(t, `{host="h2", project="web", rack="r1"}`, over.Without("zone").String())
	require.Equal(t, `{"a b"="c\"\n"}`, labels(t, "a b", "c\"\n").String())
	require.Equal(t, "{}", alert.Labels{}.String())
	require.Equal(t, alert.Labels{}, labels(t))
	require.Equal(t, alert.Labels{}, labels(t, "a", ""), "a label without a value is none")

	b, err := json.Marshal(over)
	require.NoError(t, err)
	var back alert.Labels
	require.NoError(t, json.Unmarshal(b, &back))
	require.Equal(t, over, back)
}

func TestLabelsAreRefused(t *testing.T) {
	t.Parallel()
	many := make(map[string]string)
	for i := range alert.MaxLabels + 1 {
		many[strings.Repeat("x", i+1)] = "y"
	}
	for name, m := range map[string]map[string]string{
		"no name":       {"": "x"},
		"long name":     {strings.Repeat("x", alert.MaxLabelName+1): "y"},
		"bad name":      {"\xff": "y"},
		"bad value":     {"x": "\xff"},
		"large":         {"x": strings.Repeat("y", alert.MaxLabelsBytes)},
		"many":          many,
		"no name value": {"": ""},
	} {
		_, err := alert.NewLabels(m)
		require.ErrorIs(t, err, alert.ErrInvalid, name)
		require.Less(t, len(err.Error()), 300, "hostile values are cut short")
	}
	var l alert.Labels
	require.ErrorIs(t, json.Unmarshal([]byte(`{"x": 1}`), &l), alert.ErrInvalid)
}

// TestLabelsAreAMap: a set behaves as the map that it was made of, and two are equal when their maps are.
func TestLabelsAreAMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	random := func() map[string]string {
		m := make(map[string]string)
		for range r.IntN(5) {
			m[string(rune('a'+r.IntN(4)))] = strings.Repeat("v", 1+r.IntN(3)*100)
		}
		return m
	}
	for range 20_000 {
		a, b := random(), random()
		x, err := alert.NewLabels(a)
		require.NoError(t, err)
		y, err := alert.NewLabels(b)
		require.NoError(t, err)
		require.Equal(t, a, x.Map())
		require.Equal(t, maps.Equal(a, b), x == y)
		require.Equal(t, x == y, x.Compare(y) == 0)
		require.Equal(t, x.Compare(y), -y.Compare(x))
		z, err := x.With(y)
		require.NoError(t, err)
		maps.Copy(a, b)
		require.Equal(t, a, z.Map())
	}
}

func FuzzLabels(f *testing.F) {
	f.Add("a", "b", "c", "d")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string) {
		m := map[string]string{n1: v1, n2: v2}
		l, err := alert.NewLabels(m)
		if err != nil {
			require.ErrorIs(t, err, alert.ErrInvalid)
			return
		}
		maps.DeleteFunc(m, func(_, v string) bool { return v == "" })
		require.Equal(t, m, l.Map())
	})
}
