package alerting_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/internal/alerting"
	"github.com/berthage/berthage/pool"
)

func matcher(t testing.TB, name string, op alert.Op, value string) alert.Matchers {
	t.Helper()
	m, err := alert.NewMatcher(name, op, value)
	require.NoError(t, err)
	return alert.Matchers{m}
}

func report(t *testing.T, st *pool.State, at time.Time, kind, title string, labels map[string]string) {
	t.Helper()
	l, err := alert.NewLabels(labels)
	require.NoError(t, err)
	require.NoError(t, command(t, st, at, alerting.Command{Report: &alerting.Happening{Kind: kind, Title: title, Labels: l}}))
}

// TestKeysDoNotDependOnWhereTheBooksBegan: a daemon that has loaded what an older program saved, which knew nothing of what happens, tells
// under the keys of those that have folded it all, and of nothing under the key of something else.
func TestKeysDoNotDependOnWhereTheBooksBegan(t *testing.T) {
	t.Parallel()
	c := alerting.Config{Receivers: []string{"log"}, Routing: alert.Routing{Root: alert.Route{Routes: []alert.Route{
		{Match: matcher(t, alerting.EventLabel, alert.Match, ".+"), Receivers: []string{"log"}},
	}}}}
	whole, at := ledger(t, c)
	later, _ := ledger(t, c)
	both := func(at time.Time, c alerting.Command) { // appends to one, and folds it into the other
		before := whole.Head()
		require.NoError(t, command(t, whole, at, c))
		require.Equal(t, before+1, whole.Head())
	}
	for n := range 3 {
		report(t, whole, at, "disk", fmt.Sprint("number ", n), nil)
		apply(t, later, at, pool.Event{Kind: alerting.RuleRemoved, Version: 1, Data: []byte(`{"name":"of no interest"}`)}) // of which an older program made nothing
	}
	both(at.Add(time.Minute), alerting.Command{Step: new(alerting.Step)})
	apply(t, later, at.Add(time.Minute), pool.Event{Kind: alerting.RuleRemoved, Version: 1, Data: []byte(`{"name":"of no interest"}`)})
	at = at.Add(10 * time.Minute)
	for _, st := range []*pool.State{whole, later} {
		report(t, st, at, "disk", "the last", nil)
		require.NoError(t, command(t, st, at.Add(time.Minute), alerting.Command{Step: new(alerting.Step)}))
	}
	a, b := alerting.Of(whole).Messages(), alerting.Of(later).Messages()
	require.Len(t, a, 2)
	require.Len(t, b, 1)
	require.Equal(t, a[1].Key, b[0].Key)
	require.NotEqual(t, a[0].Key, b[0].Key)
}

// TestMuchForManyIsTold: what happens to very many who each have a route of their own comes in batches, and nothing of it is passed over.
func TestMuchForManyIsTold(t *testing.T) {
	t.Parallel()
	const projects = 300
	c := alerting.Config{}
	root := alert.Route{}
	for n := range projects {
		name := fmt.Sprintf("%s-%03d", strings.Repeat("r", 50), n)
		c.Receivers = append(c.Receivers, name)
		root.Routes = append(root.Routes, alert.Route{Match: append(matcher(t, alerting.EventLabel, alert.Match, ".+"), matcher(t, "project", alert.Equal, name)...), Receivers: []string{name}})
	}
	c.Routing = alert.Routing{Root: root}
	st, at := ledger(t, c)
	for n := range 9 * projects {
		report(t, st, at, "disk", fmt.Sprintf("number %d %s", n, strings.Repeat("<", 200)), map[string]string{"project": c.Receivers[n/9]})
	}
	told := make(map[string]int)
	for range 3 {
		at = at.Add(6 * time.Minute)
		for range 100 { // as many as a Manager makes at once
			require.NoError(t, command(t, st, at, alerting.Command{Step: new(alerting.Step)}))
			if alerting.Of(st).Settled(st, at, at) {
				break
			}
		}
		require.True(t, alerting.Of(st).Settled(st, at, at))
	}
	for _, m := range alerting.Of(st).Messages() {
		told[m.Receiver] += m.Event.Count
	}
	require.Len(t, told, projects)
	for name, n := range told {
		require.Equal(t, 9, n, name)
	}
}

// TestTheFullestSnapshot: all that is kept at its bounds can be written, and read again.
func TestTheFullestSnapshot(t *testing.T) {
	t.Parallel()
	c := alerting.Config{Routing: alert.Routing{Root: alert.Route{Routes: []alert.Route{{Match: matcher(t, alerting.EventLabel, alert.Equal, "told")}}}}}
	for n := range alert.MaxReceivers {
		c.Receivers = append(c.Receivers, fmt.Sprintf("%s-%02d", strings.Repeat("r", 60), n))
	}
	c.Routing.Root.Routes[0].Receivers = c.Receivers
	st, at := ledger(t, c)
	large := strings.Repeat("<", alerting.MostReported-100) // of which JSON makes six times as much
	for range 12 {
		for range 2 {
			report(t, st, at, "told", large, nil)
		}
		at = at.Add(10 * time.Minute)
		for !alerting.Of(st).Settled(st, at, at) {
			require.NoError(t, command(t, st, at, alerting.Command{Step: new(alerting.Step)}))
		}
	}
	require.False(t, alerting.Of(st).Messages()[0].Dead.IsZero(), "more than there is room for")
	for n := range 1200 {
		report(t, st, at, "untold", fmt.Sprint(n, large), nil)
	}
	b, err := st.Snapshot().Bytes()
	require.NoError(t, err)
	require.Greater(t, len(b), alerting.MostWaitingBytes)
	again, err := pool.ReadSnapshot(bytes.NewReader(b), alerting.New(c))
	require.NoError(t, err)
	require.Equal(t, len(alerting.Of(st).Messages()), len(alerting.Of(again).Messages()))
}

// BenchmarkWhom is a step while much has happened of which nobody, or somebody, wants to know.
func BenchmarkWhom(b *testing.B) {
	for _, routes := range []int{1, 1000} {
		b.Run(fmt.Sprint(routes), func(b *testing.B) {
			c := alerting.Config{Receivers: []string{"log"}}
			for n := range routes {
				c.Routing.Root.Routes = append(c.Routing.Root.Routes, alert.Route{Match: append(matcher(b, alerting.EventLabel, alert.Equal, "other"), matcher(b, "project", alert.Equal, fmt.Sprint("p", n))...), Receivers: []string{"log"}})
			}
			st := pool.NewState(alerting.New(c))
			at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			for n := range 9_000 {
				l, err := alert.NewLabels(map[string]string{alerting.EventLabel: "disk", "vm_id": fmt.Sprint("vm", n), "project": fmt.Sprint("p", n%100)})
				require.NoError(b, err)
				e, err := pool.PartEvent(alerting.Reported, 1, alerting.Happening{Kind: "disk", Title: "x", Labels: l})
				require.NoError(b, err)
				e.Revision, e.Time = st.Head()+1, at
				require.NoError(b, st.Apply(&e))
			}
			at = at.Add(time.Minute)
			for b.Loop() {
				alerting.Of(st).Settled(st, at, at)
			}
		})
	}
}

// TestKindsAreForgotten: whoever reports may name as many kinds as they like; what is remembered of each goes.
func TestKindsAreForgotten(t *testing.T) {
	t.Parallel()
	st, at := ledger(t, alerting.Config{Receivers: []string{"log"}, Routing: alert.Routing{Root: alert.Route{Routes: []alert.Route{
		{Match: matcher(t, alerting.EventLabel, alert.Match, ".+"), Receivers: []string{"log"}},
	}}}})
	for n := range 100 {
		at = at.Add(time.Hour)
		report(t, st, at, fmt.Sprint("kind-", n), "it happened", nil)
		at = at.Add(time.Minute)
		require.NoError(t, command(t, st, at, alerting.Command{Step: new(alerting.Step)}))
	}
	require.Len(t, alerting.Of(st).Messages(), 100)
	var saved struct{ Told map[string]time.Time }
	require.NoError(t, json.Unmarshal([]byte(save(t, alerting.Of(st))), &saved))
	require.Len(t, saved.Told, 24)
	require.Contains(t, saved.Told, "kind-99")
}
