package trail_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/pool"
)

// began is when the first event happened; each batch is a second later.
var began = time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)

// long is a ledger of n batches of one or two events. The first is the only one of somebody who was there once.
func long(t *testing.T, n int) *pool.MemoryLedger {
	t.Helper()
	l := pool.NewMemoryLedger()
	for rev := range n {
		actor := fmt.Sprint("u", rev%7)
		if rev == 0 {
			actor = "once"
		}
		var events []pool.Event
		for i := range 1 + rev%2 {
			events = append(events, pool.Event{
				ID: fmt.Sprint(rev, "-", i), Kind: []string{"host.put", "host.removed", "hosts.none"}[rev%3], Version: 1, Time: began.Add(time.Duration(rev) * time.Second),
				Actor: actor, Cause: fmt.Sprint("request-", rev/10), Data: []byte("{}"),
			})
		}
		_, err := l.Append(t.Context(), pool.Revision(rev), events...)
		require.NoError(t, err)
	}
	return l
}

// However the log is cut into pages, they are what looking at every event from the last to the first finds.
func TestEntries(t *testing.T) {
	t.Parallel()
	const n = 1300 // more than two stretches
	l := long(t, n)
	r := trail.NewReader(l)
	for name, tc := range map[string]struct {
		filter trail.Filter
		takes  func(audit.Entry, string) bool
	}{
		"all":     {trail.Filter{}, func(audit.Entry, string) bool { return true }},
		"actor":   {trail.Filter{Actor: "u3"}, func(e audit.Entry, _ string) bool { return e.Actor == "u3" }},
		"kind":    {trail.Filter{Kind: "host"}, func(_ audit.Entry, kind string) bool { return kind != "hosts.none" }},
		"request": {trail.Filter{Correlation: "request-57"}, func(e audit.Entry, _ string) bool { return e.Correlation == "request-57" }},
		"time": {trail.Filter{From: began.Add(100 * time.Second), Until: began.Add(700 * time.Second)}, func(e audit.Entry, _ string) bool {
			return !e.Time.Before(began.Add(100*time.Second)) && e.Time.Before(began.Add(700*time.Second))
		}},
	} {
		for _, limit := range []int{3, 50, 1000} {
			var want, got []string
			for b, err := range l.Read(t.Context(), 0) {
				require.NoError(t, err)
				for i := range b.Events {
					if e := audit.EntryOf(&b.Events[i]); tc.takes(e, b.Events[i].Kind) {
						want = append([]string{e.ID}, want...)
					}
				}
			}
			before := audit.Position{}
			for pages := 0; ; pages++ {
				require.Less(t, pages, 3*n, "%s by %d has no end", name, limit)
				found, next, err := r.Entries(t.Context(), n, before, limit, tc.filter)
				require.NoError(t, err)
				require.LessOrEqual(t, len(found), limit)
				for _, e := range found {
					got = append(got, e.ID)
				}
				if next == nil {
					break
				}
				before = *next
			}
			require.Equal(t, want, got, "%s by %d", name, limit)
		}
	}
	found, _, err := r.Entries(t.Context(), 10, audit.Position{Revision: n}, 1, trail.Filter{})
	require.NoError(t, err)
	require.EqualValues(t, 10, found[0].Event.Revision, "nothing after the head that is given")
}

// A rare entry in a long ledger is looked for piece by piece: no request reads all of it.
func TestEntriesThatAreRare(t *testing.T) {
	t.Parallel()
	const n = 45_000
	r := trail.NewReader(long(t, n))
	before, empty := audit.Position{}, 0
	for {
		found, next, err := r.Entries(t.Context(), n, before, 10, trail.Filter{Actor: "once"})
		require.NoError(t, err)
		if len(found) > 0 {
			require.Equal(t, "0-0", found[0].ID)
			break
		}
		require.NotNil(t, next)
		before, empty = *next, empty+1
	}
	require.Equal(t, 2, empty)
}
