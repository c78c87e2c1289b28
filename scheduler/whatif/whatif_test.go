package whatif_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
	"github.com/berthage/berthage/scheduler/whatif"
)

func gib(cores, gib int64) pool.Resources {
	return pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: gib * pool.GiB}
}

func spec(cores, n int64) pool.Spec { return pool.Spec{Image: "debian", Resources: gib(cores, n)} }

// apart is a spec of instances of which no two are on one host.
func apart() pool.Spec {
	s := spec(1, 1)
	s.Labels = map[string]string{"app": "web"}
	s.Constraints.AntiAffinity = []pool.Affinity{{Selector: pool.Selector{Labels: s.Labels}}}
	return s
}

func host(n int) pool.HostID { return server(n, 1, 1).ID }

// three hosts of 16 cores and 64 GiB in zones a, a, b: 12 cores taken on the first, 8 on the second, 4 on the third.
func three(t testing.TB) *books {
	b := newBooks(t)
	for n, zone := range []string{"a", "a", "b"} {
		h := server(n, 16, 64)
		h.Zone = zone
		b.host(h)
	}
	for n, count := range []int{3, 2, 1} {
		for i := range count {
			b.place(fmt.Sprintf("vm%d%d", n, i), host(n), spec(4, 8))
		}
	}
	return b
}

func ask(t testing.TB, b *books, q whatif.Question) *whatif.Answer {
	a, err := whatif.Ask(t.Context(), b.state, nil, q, whatif.Options{})
	require.NoError(t, err)
	return a
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	demand := func(cores, n int64, count int) []whatif.Demand {
		return []whatif.Demand{{Name: "web", Spec: spec(cores, n), Image: image(), Count: count}}
	}
	for name, c := range map[string]struct {
		q    whatif.Question
		want func(t *testing.T, a *whatif.Answer)
	}{
		"nothing": {whatif.Question{}, func(t *testing.T, a *whatif.Answer) {
			require.True(t, a.Fits())
			require.Nil(t, a.Missing)
			require.Equal(t, whatif.Use{Capacity: 48000, Used: 24000, CapacityAfter: 48000, UsedAfter: 24000}, a.Use[pool.CPU])
			require.InDelta(t, 0.75, a.Hosts[0].Part(), 1e-9)
		}},
		"how many more": {whatif.Question{
			Lose: []pool.HostID{host(0)}, HowMany: []whatif.Demand{{Name: "web", Spec: spec(4, 8), Image: image()}, {Spec: spec(16, 1), Image: image()}, {Spec: spec(99, 1), Image: image()}},
		}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, []whatif.HowMany{{Name: "web", Before: 6, After: 2}, {}, {}}, a.HowMany)
		}},
		"a host is lost": {whatif.Question{Lose: []pool.HostID{host(0)}}, func(t *testing.T, a *whatif.Answer) {
			require.True(t, a.Fits())
			require.Equal(t, 3, a.Displaced.Placed)
			require.True(t, a.Hosts[0].Lost)
			require.Equal(t, 3, a.Hosts[0].Instances)
			require.Zero(t, a.Hosts[0].Part())
			require.Equal(t, whatif.Use{Capacity: 48000, Used: 24000, CapacityAfter: 32000, UsedAfter: 24000}, a.Use[pool.CPU])
			require.Equal(t, 6, a.Hosts[1].After+a.Hosts[2].After)
		}},
		"a zone is lost": {whatif.Question{LoseZones: []string{"a"}}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 5, a.Displaced.Asked)
			require.Equal(t, 3, a.Displaced.Placed)
			require.Equal(t, 2, a.Displaced.Refused[0].Count)
			require.NotEmpty(t, a.Displaced.Refused[0].Counts)
			require.EqualValues(t, 1, a.Missing.Least)
			require.EqualValues(t, 1, a.Missing.Hosts)
			require.Equal(t, 1, *a.Missing.Kinds[0].Alone)
		}},
		"what is lost is replaced": {whatif.Question{LoseZones: []string{"a"}, Add: []whatif.Addition{{Like: host(0), Count: 2, Zone: "b"}}}, func(t *testing.T, a *whatif.Answer) {
			require.True(t, a.Fits())
			require.Len(t, a.Hosts, 5)
			require.True(t, a.Hosts[3].Added)
			require.Equal(t, "b", a.Hosts[3].Zone)
			require.Zero(t, a.Hosts[3].Instances)
		}},
		"demand that fits": {whatif.Question{Demand: demand(4, 8, 6)}, func(t *testing.T, a *whatif.Answer) {
			require.True(t, a.Fits())
			require.Equal(t, 6, a.Demand[0].Placed)
			require.EqualValues(t, 48000, a.Use[pool.CPU].UsedAfter)
		}},
		"demand that does not": {whatif.Question{Demand: demand(4, 8, 11)}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 6, a.Demand[0].Placed)
			require.Equal(t, 5, a.Demand[0].Refused[0].Count)
			require.Equal(t, []scheduler.Count{{Constraint: scheduler.ByResource, Class: pool.CPU, Hosts: 3}}, a.Demand[0].Refused[0].Counts)
			require.EqualValues(t, 2, a.Missing.Least)
			require.Equal(t, 2, *a.Missing.Kinds[0].Alone)
		}},
		"demand that never fits": {whatif.Question{Demand: demand(32, 8, 2)}, func(t *testing.T, a *whatif.Answer) {
			require.True(t, a.Demand[0].Refused[0].Never)
			require.EqualValues(t, 2, a.Missing.Never)
			require.EqualValues(t, 0, a.Missing.Least)
			require.Equal(t, 2, a.Missing.Kinds[0].Unfit)
			require.Zero(t, *a.Missing.Kinds[0].Alone, "a host that nothing is put on is not asked for")
		}},
		"each on a host of its own": {whatif.Question{Demand: []whatif.Demand{{Spec: apart(), Image: image(), Count: 5}}}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 3, a.Demand[0].Placed)
			require.Equal(t, 2, a.Demand[0].Refused[0].Count)
			require.EqualValues(t, 0, a.Missing.Least, "there is room enough, as far as resources go")
			require.Equal(t, 2, *a.Missing.Kinds[0].Alone)
		}},
		"over-commit": {whatif.Question{Ratios: map[pool.Class]pool.Ratio{pool.CPU: 2000}, Demand: demand(4, 8, 18)}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 18, a.Demand[0].Placed)
			require.EqualValues(t, 96000, a.Use[pool.CPU].CapacityAfter)
		}},
		"less over-commit": {whatif.Question{Ratios: map[pool.Class]pool.Ratio{pool.CPU: 500}}, func(t *testing.T, a *whatif.Answer) {
			require.False(t, a.Fits())
			require.Equal(t, 1, a.Overfull)
			require.InDelta(t, 1.5, a.Hosts[0].Part(), 1e-9)
			require.EqualValues(t, 0, a.Missing.Hosts, "24 cores are there, and 24 are used")
		}},
		"growth": {whatif.Question{Growth: 1500}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 3, a.Growth.Asked)
			require.True(t, a.Fits())
		}},
		"growth is rounded up": {whatif.Question{Growth: 1001}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 1, a.Growth.Asked)
		}},
		"one may fail": {whatif.Question{Spare: 1}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, &whatif.Spare{Hosts: 1, Sets: 3, Survived: 3, Displaced: whatif.Outcome{Refused: []whatif.Refused{}}}, a.Spare)
		}},
		"two may not fail": {whatif.Question{Spare: 2}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 3, a.Spare.Sets)
			require.Equal(t, 0, a.Spare.Survived)
			require.Equal(t, []pool.HostID{host(0), host(1)}, a.Spare.Worst)
			require.Equal(t, 2, a.Spare.Displaced.Refused[0].Count)
			require.EqualValues(t, 1, a.Missing.Hosts)
		}},
		"more than there are may fail": {whatif.Question{Spare: 9}, func(t *testing.T, a *whatif.Answer) {
			require.Equal(t, 1, a.Spare.Sets)
			require.Equal(t, 6, a.Spare.Displaced.Refused[0].Count)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want(t, ask(t, three(t), c.q))
		})
	}
}

func TestQuestionsThatAreWrong(t *testing.T) {
	t.Parallel()
	b := three(t)
	region := server(9, 100, 100)
	region.Shapes = []pool.Shape{{Name: "s", Resources: gib(2, 4)}}
	b.host(region)
	for name, c := range map[string]struct {
		q     whatif.Question
		kind  error
		field string
	}{
		"lost":        {whatif.Question{Lose: []pool.HostID{host(0), "d/none"}}, pool.ErrNotFound, "lose[1]"},
		"zone":        {whatif.Question{LoseZones: []string{"x"}}, pool.ErrNotFound, "lose_zones[0]"},
		"like":        {whatif.Question{Add: []whatif.Addition{{Like: "d/none"}}}, pool.ErrNotFound, "add[0].like"},
		"aggregate":   {whatif.Question{Add: []whatif.Addition{{Like: region.ID}}}, pool.ErrInvalid, "add[0].like"},
		"too many":    {whatif.Question{Add: []whatif.Addition{{Like: host(0), Count: whatif.MaxAdd}, {Like: host(0), Count: 1}}}, pool.ErrInvalid, "add[1].count"},
		"bad zone":    {whatif.Question{Add: []whatif.Addition{{Like: host(0), Count: 1, Zone: "?"}}}, pool.ErrInvalid, "add[0].zone.name"},
		"buy":         {whatif.Question{Buy: []pool.HostID{"d/none"}}, pool.ErrNotFound, "buy[0]"},
		"ratio":       {whatif.Question{Ratios: map[pool.Class]pool.Ratio{pool.CPU: 0}}, pool.ErrInvalid, "ratios.cpu"},
		"class":       {whatif.Question{Ratios: map[pool.Class]pool.Ratio{"CPU": 1}}, pool.ErrInvalid, "ratios.class"},
		"demand":      {whatif.Question{Demand: []whatif.Demand{{Spec: spec(1, 1), Count: -1}}}, pool.ErrInvalid, "demand[0].count"},
		"much demand": {whatif.Question{Demand: []whatif.Demand{{Spec: spec(1, 1), Count: whatif.MaxDemand}, {Spec: spec(1, 1), Count: 1}}}, pool.ErrInvalid, "demand[1].count"},
		"spec":        {whatif.Question{Demand: []whatif.Demand{{Spec: spec(-1, 1), Count: 1}}}, pool.ErrInvalid, "demand[0].spec.resources.cpu"},
		"project":     {whatif.Question{Demand: []whatif.Demand{{Spec: spec(1, 1), Project: "none", Count: 1}}}, pool.ErrNotFound, "demand[0].project"},
		"shrinking":   {whatif.Question{Growth: 500}, pool.ErrInvalid, "growth"},
		"spare":       {whatif.Question{Spare: -1}, pool.ErrInvalid, "spare"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := whatif.Ask(t.Context(), b.state, nil, c.q, whatif.Options{})
			require.ErrorIs(t, err, c.kind)
			var e *pool.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.field, e.Field)
		})
	}
}

// Work and time are bounded, and what there is no work for is said.
func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	b := three(t)
	q := whatif.Question{Demand: []whatif.Demand{{Spec: spec(1, 1), Image: image(), Count: 20}}, Growth: 2000, Spare: 1}
	a, err := whatif.Ask(t.Context(), b.state, nil, q, whatif.Options{Placements: 15})
	require.NoError(t, err)
	require.Equal(t, 15, a.Demand[0].Placed)
	require.Equal(t, 5+6, a.Untried)
	require.Equal(t, 3, a.Spare.Untried)
	require.False(t, a.Fits())
	ctx, cancel := context.WithCancelCause(t.Context())
	over := fmt.Errorf("over")
	cancel(over)
	q.Demand[0].Count = 64
	_, err = whatif.Ask(ctx, b.state, nil, q, whatif.Options{})
	require.ErrorIs(t, err, over)
}

// A move from or to a host that is lost has come to nothing, and what is being deleted needs no place.
func TestLostInTheMiddle(t *testing.T) {
	t.Parallel()
	b := three(t)
	id := func(name string) pool.InstanceID { return pool.NewInstanceID("test", "p", name) }
	b.fold(pool.KindMoving, &pool.Moving{Instance: id("vm00"), Host: host(2), Allocation: pool.Allocation{Resources: gib(4, 8)}})
	b.fold(pool.KindMoving, &pool.Moving{Instance: id("vm20"), Host: host(0), Allocation: pool.Allocation{Resources: gib(4, 8)}})
	b.fold(pool.KindWanted, &pool.Wanted{Instance: id("vm01"), Want: pool.Absent})
	a := ask(t, b, whatif.Question{Lose: []pool.HostID{host(0)}})
	require.Equal(t, 2, a.Displaced.Placed)
	require.EqualValues(t, 20000, a.Use[pool.CPU].UsedAfter, "two were there, one came back, two were displaced")
	require.Equal(t, 5, a.Hosts[1].After+a.Hosts[2].After)
}

// fleet makes random books: servers of some sizes in three zones, some of them cordoned, and instances that were placed
// by the scheduler, some bound to a zone.
func fleet(t testing.TB, r *rand.Rand) *books {
	b := newBooks(t)
	sizes := [][2]int64{{16, 64}, {32, 64}, {8, 32}}[:1+r.IntN(3)]
	for n := range 3 + r.IntN(8) {
		size := sizes[r.IntN(len(sizes))]
		h := server(n, size[0], size[1])
		h.Zone = string("abc"[n%3])
		if r.IntN(8) == 0 {
			h.Conditions |= pool.Cordoned
		}
		if r.IntN(6) == 0 {
			inv := h.Inventory[pool.CPU]
			inv.MaxUnit = 4000
			h.Inventory[pool.CPU] = inv
		}
		b.host(h)
	}
	for n := range r.IntN(60) {
		b.fit(fmt.Sprint(n), &scheduler.Scheduler{Strategy: scheduler.Strategy(r.IntN(3))}, randomSpec(r))
	}
	return b
}

func randomSpec(r *rand.Rand) pool.Spec {
	s := spec([]int64{1, 2, 4, 8}[r.IntN(4)], []int64{1, 4, 8, 24}[r.IntN(4)])
	if r.IntN(5) == 0 {
		s.Constraints.Zones = []string{string("abc"[r.IntN(3)])}
	}
	return s
}

// On random fleets: the books stay as they were; the same question has the same answer; nothing is placed beyond what a
// host has; what is refused fits nowhere; with fewer hosts than the certified bound it would not fit, and with as many as
// are said to do it does.
func TestRandomQuestions(t *testing.T) {
	t.Parallel()
	refusals, bounds := 0, 0
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(3, seed))
		b := fleet(t, r)
		var hosts, open []pool.HostID
		for _, h := range b.state.SortedHosts() {
			hosts = append(hosts, h.ID)
			if h.Conditions.Schedulable() {
				open = append(open, h.ID)
			}
		}
		q := whatif.Question{Growth: []pool.Ratio{0, 0, 1300}[r.IntN(3)]}
		for range r.IntN(3) {
			q.Lose = append(q.Lose, hosts[r.IntN(len(hosts))])
		}
		for range r.IntN(3) {
			q.Demand = append(q.Demand, whatif.Demand{Spec: randomSpec(r), Image: image(), Project: "p", Count: r.IntN(20)})
		}
		if r.IntN(4) == 0 {
			q.Ratios = map[pool.Class]pool.Ratio{pool.CPU: pool.Ratio(500 + 500*r.IntN(4))}
		}
		if len(open) > 0 {
			q.Buy = open[:1]
		}
		before, err := b.state.Snapshot().Bytes()
		require.NoError(t, err)
		a := ask(t, b, q)
		after, err := b.state.Snapshot().Bytes()
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after), "seed %d: the books have changed", seed)
		first, err := json.Marshal(a)
		require.NoError(t, err)
		second, err := json.Marshal(ask(t, b, q))
		require.NoError(t, err)
		require.JSONEq(t, string(first), string(second), "seed %d", seed)

		placed := a.Displaced.Placed + a.Growth.Placed
		refused := append(a.Displaced.Refused, a.Growth.Refused...)
		for _, d := range a.Demand {
			placed += d.Placed
			refused = append(refused, d.Refused...)
		}
		sum := 0
		for _, h := range a.Hosts {
			sum += h.After - h.Instances
			if h.Lost {
				sum += h.Instances
				continue
			}
			for c, u := range h.Use {
				require.LessOrEqual(t, u.UsedAfter, max(u.CapacityAfter, u.Used), "seed %d: %s %s", seed, h.Host, c)
			}
			rec, ok := b.state.Host(h.Host)
			require.True(t, ok)
			for _, x := range refused {
				if !rec.Conditions.Schedulable() || rec.Inventory[pool.CPU].MaxUnit > 0 {
					continue
				}
				fits := true
				for c, n := range x.Demand {
					fits = fits && n <= h.Use[c].CapacityAfter-h.Use[c].UsedAfter
				}
				for _, c := range x.Counts {
					fits = fits && c.Constraint != scheduler.ByZone
				}
				require.False(t, fits, "seed %d: %v is refused, and fits on %s", seed, x.Demand, h.Host)
			}
		}
		require.Equal(t, placed, sum, "seed %d", seed)
		refusals += min(1, len(refused))
		m := a.Missing
		require.Equal(t, (len(refused) > 0 || a.Overfull > 0) && len(q.Buy) > 0, m != nil)
		if m == nil {
			continue
		}
		require.NoError(t, packing.Verify(t.Context(), &m.Problem, m.Plan), "seed %d", seed)
		require.LessOrEqual(t, m.Least, m.Hosts)
		if k := m.Kinds[0]; k.Unfit == 0 && m.Never == 0 && a.Overfull == 0 {
			require.LessOrEqual(t, m.Least, int64(*k.Alone), "seed %d", seed)
		}
		if m.Least > 0 {
			bounds++
			q.Add = []whatif.Addition{{Like: q.Buy[0], Count: int(m.Least) - 1}}
			require.False(t, ask(t, b, q).Fits(), "seed %d: fewer than the certified %d hosts do", seed, m.Least)
		}
	}
	require.Greater(t, refusals, 30)
	require.Greater(t, bounds, 15)
}

// That a host may fail is the same as asking for its loss, host by host.
func TestFailuresAreLosses(t *testing.T) {
	t.Parallel()
	fatal := 0
	for seed := range uint64(40) {
		b := fleet(t, rand.New(rand.NewPCG(4, seed)))
		survived, worst := 0, 0
		for _, h := range b.state.SortedHosts() {
			a := ask(t, b, whatif.Question{Lose: []pool.HostID{h.ID}})
			if a.Fits() {
				survived++
			}
			worst = max(worst, a.Displaced.Asked-a.Displaced.Placed)
		}
		s := ask(t, b, whatif.Question{Spare: 1}).Spare
		require.Equal(t, b.state.HostCount(), s.Sets, "seed %d", seed)
		require.Equal(t, survived, s.Survived, "seed %d", seed)
		require.Equal(t, worst, s.Displaced.Asked-s.Displaced.Placed, "seed %d", seed)
		fatal += s.Sets - s.Survived
	}
	require.Greater(t, fatal, 20)
}
