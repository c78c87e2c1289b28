package audit_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
)

func TestCounter(t *testing.T) {
	t.Parallel()
	var c audit.Counter
	start := noon().Truncate(time.Minute)
	require.Empty(t, c.Due(start))
	for i := range 59 {
		at := start.Add(time.Duration(i) * time.Second)
		require.Empty(t, c.Add(at, "eve", fmt.Sprint("action ", i), "no binding"))
		require.Empty(t, c.Add(at, "ada", "delete host", "out of scope"))
		require.Empty(t, c.Due(at))
	}
	want := []audit.Refusals{
		{Principal: "ada", Minute: start, Count: 59, Action: "delete host", Reason: "out of scope"},
		{Principal: "eve", Minute: start, Count: 59, Action: "action 0", Reason: "no binding"},
	}
	require.Equal(t, want, c.Add(start.Add(time.Minute), "eve", "next", "no binding"))
	require.Empty(t, c.Due(start), "time does not run back")
	require.Empty(t, c.Add(start, "eve", "late", ""))
	require.Equal(t, []audit.Refusals{{Principal: "eve", Minute: start.Add(time.Minute), Count: 2, Action: "next", Reason: "no binding"}}, c.Due(start.Add(10*time.Minute)))
	require.Empty(t, c.Due(start.Add(20*time.Minute)), "once")
	require.Empty(t, c.Add(start.Add(20*time.Minute), "eve", "x", ""))
	require.Len(t, c.Flush(), 1)
	require.Empty(t, c.Flush())
}

// However many principals knock, and whatever their clock does: each makes at most one record a minute, there are never more than
// the bound and one, and nothing that was counted is missing.
func TestCounterNeverExceeds(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, most := range []int{1, 7, 0} {
		c := audit.Counter{Most: most}
		if most == 0 {
			most = 1000
		}
		type key struct {
			principal string
			minute    time.Time
		}
		seen := make(map[key]bool)
		perMinute := make(map[time.Time]int)
		var counted, added int64
		take := func(due []audit.Refusals) {
			for _, r := range due {
				k := key{r.Principal, r.Minute}
				require.False(t, seen[k], "%v", k)
				seen[k] = true
				perMinute[r.Minute]++
				counted += r.Count
			}
		}
		now := noon()
		for range 20_000 {
			now = now.Add(time.Duration(random.IntN(20_000)-2_000) * time.Millisecond / 10)
			take(c.Add(now, fmt.Sprint("p", random.IntN(3000)), "x", ""))
			added++
			if random.IntN(50) == 0 {
				take(c.Due(now))
			}
		}
		take(c.Flush())
		require.Equal(t, added, counted)
		for minute, n := range perMinute {
			require.LessOrEqual(t, n, most+1, minute)
		}
	}
}
