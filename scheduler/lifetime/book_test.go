package lifetime_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/lifetime"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func id(n int) pool.InstanceID { return pool.InstanceID(fmt.Sprint("i", n)) }

// Two classes of which one lives for an hour and the other for a day are told apart, also by what only lives yet.
func TestWhatIsLearnt(t *testing.T) {
	t.Parallel()
	var b lifetime.Book
	short, long := lifetime.Class{Project: "p", Flavor: "small", Batch: 1}, lifetime.Class{Project: "p", Flavor: "large", Batch: 1}
	require.InDelta(t, 7.5, b.Expect(short).Minutes(), 2.5, "as long as nothing is known, half live to the end of the first age and beyond")
	for n := range 200 {
		at := start.Add(time.Duration(n) * time.Minute)
		b.Born(id(2*n), "d/h", short, at, time.Time{})
		b.Born(id(2*n+1), "d/h", long, at, time.Time{})
	}
	for n := range 200 {
		b.Gone(id(2*n), start.Add(time.Duration(n)*time.Minute+time.Hour))
	}
	now := start.Add(20 * time.Hour)
	b.Look(now)
	require.InDelta(t, 65, b.Expect(short).Minutes(), 15)
	require.Greater(t, b.Expect(long), 20*time.Hour, "none has ended yet")
	require.Less(t, b.Lives(short)(2*time.Hour), 0.1)
	require.Greater(t, b.Lives(long)(2*time.Hour), 0.7)
	for n := range 200 {
		b.Gone(id(2*n+1), start.Add(time.Duration(n)*time.Minute+24*time.Hour))
	}
	now = start.Add(30 * time.Hour)
	b.Look(now)
	require.InDelta(t, 26, b.Expect(long).Hours(), 6)
	// A size of batch of which nothing is known is taken for like the flavor, and that of another project for like all.
	require.Equal(t, b.Expect(lifetime.Class{Project: "p", Flavor: "large", Batch: 100}), b.Expect(lifetime.Class{Project: "p", Flavor: "large", Batch: 7}))
	require.InDelta(t, 26, b.Expect(lifetime.Class{Project: "p", Flavor: "large", Batch: 100}).Hours(), 8)
	other := b.Expect(lifetime.Class{Project: "q", Flavor: "large"})
	require.Greater(t, other, time.Hour/2)
	require.Less(t, other, 24*time.Hour)
}

// Half of those of a class that have reached an age live on for as long as is expected.
func TestExpectationsAreMedians(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var b lifetime.Book
	c := lifetime.Class{Flavor: "f"}
	lives := make([]time.Duration, 20_000)
	for n := range lives {
		lives[n] = time.Duration(r.ExpFloat64() * float64(3*time.Hour))
		if n%4 == 0 {
			lives[n] *= 20
		}
		b.Born(id(n), "d/h", c, start, time.Time{})
	}
	for n, l := range lives {
		b.Gone(id(n), start.Add(l))
	}
	for _, age := range []time.Duration{0, 10 * time.Minute, 3 * time.Hour, 12 * time.Hour, 3 * 24 * time.Hour} {
		b.Born(id(-1), "d/other", c, start, time.Time{})
		b.Look(start.Add(age))
		end := b.Ends.Of("d/other").Sub(start)
		b.Gone(id(-1), start.Add(age))
		var reach []time.Duration
		for _, l := range lives {
			if l > age {
				reach = append(reach, l)
			}
		}
		slices.Sort(reach)
		median := reach[len(reach)/2]
		require.InEpsilon(t, float64(median-age), float64(end-age), 0.1, "at %s", age)
	}
}

// A host is expected to be in use until the last of its instances is expected to end, whatever comes, goes and moves.
func TestEndsAreTheLatest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var b lifetime.Book
		type one struct {
			host pool.HostID
			end  time.Time // as it was said
		}
		there := map[int]one{}
		now := start
		host := func() pool.HostID { return pool.HostID(fmt.Sprint("d/", r.IntN(5))) }
		for n := range 100 {
			now = now.Add(time.Duration(r.IntN(1000)) * time.Second)
			switch k := r.IntN(n + 1); {
			case r.IntN(3) > 0:
				o := one{host(), now.Add(time.Duration(1+r.IntN(30)) * 24 * time.Hour)}
				b.Born(id(n), o.host, lifetime.Class{Project: "p"}, now, o.end)
				b.Born(id(n), host(), lifetime.Class{Project: "p"}, now, now) // again: no mistake
				there[n] = o
			case r.IntN(2) == 0:
				b.Gone(id(k), now)
				delete(there, k)
			default:
				to := host()
				b.Moved(id(k), to)
				if o, ok := there[k]; ok {
					there[k] = one{to, o.end}
				}
			}
			if r.IntN(5) == 0 {
				b.Look(now)
			}
			for h := range 5 {
				var want time.Time
				id := pool.HostID(fmt.Sprint("d/", h))
				for _, o := range there {
					if o.host == id && o.end.After(want) {
						want = o.end
					}
				}
				require.Equal(t, want, b.Ends.Of(id), "seed %d", seed)
			}
		}
	}
}

// A hint that has passed is not believed any longer.
func TestHintIsOutlived(t *testing.T) {
	t.Parallel()
	var b lifetime.Book
	b.Born("i", "d/h", lifetime.Class{}, start, start.Add(time.Hour))
	require.Equal(t, start.Add(time.Hour), b.Ends.Of("d/h"))
	b.Look(start.Add(10 * time.Hour))
	require.Greater(t, b.Ends.Of("d/h").Sub(start), 15*time.Hour, "it is expected to live about as long again")
	b.Gone("i", start.Add(11*time.Hour))
	require.Zero(t, b.Ends.Of("d/h"))
}

// The number of classes is bounded: what comes later counts for its parents.
func TestClassesAreBounded(t *testing.T) {
	t.Parallel()
	var b lifetime.Book
	for n := range 10_000 {
		c := lifetime.Class{Project: "p", Flavor: fmt.Sprint("f", n)}
		b.Born(id(n), "d/h", c, start, time.Time{})
		b.Gone(id(n), start.Add(24*time.Hour))
	}
	b.Look(start.Add(24 * time.Hour))
	require.Equal(t, 4096, b.Classes())
	require.Greater(t, b.Expect(lifetime.Class{Project: "p", Flavor: "another"}), 16*time.Hour)
}

// Ages are in order, and each is in its own class, up to the longest.
func TestAges(t *testing.T) {
	t.Parallel()
	last := time.Duration(-1)
	for a := range lifetime.Ages {
		from := lifetime.Bound(a)
		require.Greater(t, from, last)
		require.Equal(t, a, lifetime.AgeOf(from), "%s", from)
		if a > 0 {
			require.Equal(t, a-1, lifetime.AgeOf(from-1), "%s", from)
		}
		last = from
	}
	require.Equal(t, lifetime.Ages-1, lifetime.AgeOf(1<<63-1))
	require.Equal(t, 0, lifetime.AgeOf(-time.Hour))
}

// What is expected to live beyond a time never grows with the time, to the last bit, and is the mean over those that lived.
func TestLivesNeverRise(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 5))
	var b lifetime.Book
	c := lifetime.Class{Flavor: "f"}
	require.InDelta(t, 1, b.Lives(c)(0), 0)
	lives := make([]time.Duration, 10_000)
	total := 0.0
	for n := range lives {
		lives[n] = time.Duration(r.ExpFloat64() * float64(time.Hour) * float64(1+49*(n%2)))
		total += float64(lives[n])
		b.Born(id(n), "d/h", c, start, time.Time{})
	}
	for n, l := range lives {
		b.Gone(id(n), start.Add(l))
	}
	b.Look(start.AddDate(1, 0, 0))
	last := 1.0
	for beyond := time.Duration(0); beyond < 1<<61; beyond += beyond/50 + time.Duration(1+r.Int64N(1e11)) {
		part := b.Lives(c)(beyond)
		require.LessOrEqual(t, part, last)
		require.GreaterOrEqual(t, part, 0.0)
		last = part
		want := 0.0
		for _, l := range lives {
			want += float64(max(0, l-beyond))
		}
		require.InDelta(t, want/total, part, 0.03, "beyond %s", beyond)
	}
	for a := range lifetime.Ages { // where two pieces of the curve meet
		at := lifetime.Bound(a)
		require.LessOrEqual(t, b.Lives(c)(at), b.Lives(c)(max(0, at-1)))
	}
}
