package showback_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota/showback"
)

func TestRate(t *testing.T) {
	t.Parallel()
	prices := showback.Prices{
		Rates: showback.Rates{
			Classes: map[pool.Class]int64{pool.CPU: 10_000, pool.Memory: 4, pool.Instances: 100, "own": math.MaxInt64},
			Flavors: map[string]int64{"small": 5_000_000, "free": 0},
		},
		Drivers: map[string]showback.Rates{"b": {Classes: map[pool.Class]int64{pool.CPU: 20_000}, Flavors: map[string]int64{"small": 7}}},
	}
	two := pool.Resources{pool.CPU: 2500, pool.Memory: 2 * pool.GiB}
	for name, c := range map[string]struct {
		driver, flavor string
		r              pool.Resources
		want           int64
	}{
		"by class, each instance with it": {"a", "", two, 25_108},
		"of a driver":                     {"b", "", two, 50_108},
		"of a driver without":             {"c", "", two, 25_108},
		"the least":                       {"", "", two, 25_108},
		"by flavor":                       {"a", "small", two, 5_000_000},
		"the flavor of a driver":          {"b", "small", two, 7},
		"the least by flavor":             {"", "small", two, 7},
		"a flavor that costs nothing":     {"a", "free", two, 0},
		"a flavor without a price":        {"a", "large", two, 25_108},
		"halves up":                       {"a", "", pool.Resources{pool.Memory: pool.GiB / 8}, 101},
		"less than half":                  {"a", "", pool.Resources{pool.Memory: pool.GiB/8 - 1}, 100},
		"a class without a price":         {"a", "", pool.Resources{pool.GPU: 8}, 100},
		"the most of one class":           {"a", "", pool.Resources{"own": 1}, math.MaxInt64},
		"more than the most of a class":   {"a", "", pool.Resources{"own": math.MaxInt64}, math.MaxInt64},
		"more than the most of all":       {"a", "", pool.Resources{"own": 1, pool.CPU: 1}, math.MaxInt64},
		"its number, once":                {"a", "", pool.Resources{pool.Instances: 5}, 100},
	} {
		require.Equal(t, c.want, prices.Rate(c.driver, c.flavor, c.r), name)
	}
	require.Zero(t, showback.Booked{}.Rate("a", "small", two))
}

// What an instance costs an hour is what an hour of it comes to.
func TestRateIsABillOfAnHour(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		p := randomPrices(r)
		a := pool.Allocation{Resources: pool.Resources{pool.CPU: r.Int64N(9000), pool.Memory: r.Int64N(9 * pool.GiB), "own": r.Int64N(5)}}
		flavor, host := []string{"", "f", "g", "x"}[r.IntN(4)], []string{"a/h1", "b/h1"}[r.IntN(2)]
		b, err := p.Bill(hour(t, flavor, host, a))
		require.NoError(t, err)
		require.Equal(t, b.Total, p.Rate(host[:1], flavor, a.Resources), "seed %d: %+v", seed, p)
		least := p.Rate("", flavor, a.Resources)
		for _, driver := range []string{"a", "b", "c"} {
			require.LessOrEqual(t, least, p.Rate(driver, flavor, a.Resources))
		}
	}
}

func randomPrices(r *rand.Rand) showback.Prices {
	rates := func() (out showback.Rates) {
		out = showback.Rates{Classes: map[pool.Class]int64{}, Flavors: map[string]int64{}}
		for _, c := range []pool.Class{pool.CPU, pool.Memory, pool.Instances, "own"} {
			if r.IntN(2) == 0 {
				out.Classes[c] = r.Int64N(50_000)
			}
		}
		for _, f := range []string{"f", "g"} {
			if r.IntN(2) == 0 {
				out.Flavors[f] = r.Int64N(100_000)
			}
		}
		return out
	}
	p := showback.Prices{Currency: "EUR", Rates: rates()}
	if r.IntN(2) == 0 {
		p.Drivers = map[string]showback.Rates{"b": rates()}
	}
	return p
}

// naiveRate is Rate by fractions, class by class.
func naiveRate(p showback.Prices, driver, flavor string, r pool.Resources) int64 {
	price := func(class pool.Class) int64 {
		if n, ok := p.Drivers[driver].Classes[class]; ok {
			return n
		}
		return p.Classes[class]
	}
	if n, ok := p.Drivers[driver].Flavors[flavor]; ok {
		return n
	}
	if n, ok := p.Flavors[flavor]; ok {
		return n
	}
	sum := price(pool.Instances)
	for class, n := range r {
		unit := int64(1)
		switch class {
		case pool.CPU:
			unit = 1000
		case pool.Memory:
			unit = 1 << 30
		}
		x := new(big.Rat).Mul(big.NewRat(n, unit), big.NewRat(price(class), 1))
		x.Add(x, big.NewRat(1, 2))
		sum += new(big.Int).Quo(x.Num(), x.Denom()).Int64()
	}
	return sum
}

func TestBooked(t *testing.T) {
	t.Parallel()
	set := func(b showback.Booked, p any) (showback.Booked, int, error) {
		t.Helper()
		command, err := json.Marshal(p)
		require.NoError(t, err)
		events, err := b.Decide(nil, command, time.Time{})
		for i := range events {
			part, err := b.Fold(&events[i])
			require.NoError(t, err)
			b = part.(showback.Booked)
		}
		return b, len(events), err
	}
	var none showback.Booked
	saved, err := none.Save()
	require.NoError(t, err)
	require.Nil(t, saved)
	_, n, err := set(none, showback.Prices{})
	require.NoError(t, err)
	require.Zero(t, n, "no prices are what there is")

	p := randomPrices(rand.New(rand.NewPCG(1, 1)))
	b, n, err := set(none, p)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.True(t, b.Prices().Equal(p))
	_, n, err = set(b, p)
	require.NoError(t, err)
	require.Zero(t, n)
	b.Prices().Classes[pool.CPU] = 99 // a copy
	require.True(t, b.Prices().Equal(p))

	saved, err = b.Save()
	require.NoError(t, err)
	part, err := showback.Booked{}.Load(saved)
	require.NoError(t, err)
	require.True(t, part.(showback.Booked).Prices().Equal(p))
	again, err := part.Save()
	require.NoError(t, err)
	require.Equal(t, saved, again)
	part, err = b.Fold(&pool.Event{Kind: pool.KindForgotten})
	require.NoError(t, err)
	require.Equal(t, b, part)

	last, n, err := set(b, showback.Prices{})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.True(t, last.Prices().Equal(showback.Prices{}))

	for name, bad := range map[string]any{
		"negative":   showback.Prices{Rates: showback.Rates{Flavors: map[string]int64{"f": -1}}},
		"no prices":  []int{1},
		"a new word": map[string]any{"currency": "EUR", "tax": 3},
		"of a price": showback.Prices{Rates: showback.Rates{Classes: map[pool.Class]int64{pool.Cost: 1}}},
	} {
		_, _, err := set(b, bad)
		require.ErrorIs(t, err, pool.ErrInvalid, name)
		data, _ := json.Marshal(bad)
		_, err = b.Fold(&pool.Event{Kind: showback.KindSet, Version: 1, Data: data})
		require.ErrorIs(t, err, pool.ErrInvalid, name)
	}
	for _, e := range []pool.Event{{Kind: "prices.raised", Version: 1}, {Kind: showback.KindSet, Version: 2}} {
		_, err := b.Fold(&e)
		require.ErrorIs(t, err, pool.ErrUnknownKind)
	}
	require.False(t, p.Equal(showback.Prices{}))
}

// What projects, those above them and owners are said to cost is the sum of what their instances cost, whatever happens to these, to the
// tree and to the prices; also in overlays, and in books that were written down and read.
func TestCostsAreSums(t *testing.T) {
	t.Parallel()
	kinds, changes := make(map[string]int), 0
	for seed := range uint64(60) {
		h, r := history(t, seed), rand.New(rand.NewPCG(seed, 3))
		st := pool.NewState(showback.Booked{})
		prices := showback.Prices{}
		apply := func(e pool.Event) {
			t.Helper()
			e.Revision = st.Head() + 1
			if r.IntN(2) == 0 {
				o := st.Overlay()
				require.NoError(t, o.Apply(&e))
				requireCosts(t, o, prices)
				st.Absorb(o)
			} else {
				require.NoError(t, st.Apply(&e))
			}
			requireCosts(t, st, prices)
			kinds[e.Kind]++
		}
		event := func(kind string, payload any) {
			t.Helper()
			e, err := pool.NewEvent(kind, payload)
			require.NoError(t, err)
			e.ID = "e"
			apply(e)
		}
		for _, b := range h.batches {
			apply(b.Events[0])
			if len(kinds) < 3 || b.Revision < 6 {
				continue
			}
			switch r.IntN(8) {
			case 0:
				prices = randomPrices(r)
				e, err := pool.PartEvent(showback.KindSet, 1, prices)
				require.NoError(t, err)
				e.ID = "e"
				apply(e)
				changes++
			case 1: // "top" over "p" over "q", or as it comes
				event(pool.KindProjectPut, &pool.Project{Name: "top"})
				event(pool.KindProjectPut, &pool.Project{Name: "q"})
				event(pool.KindProjectPut, &pool.Project{Name: "p", Parent: []string{"", "top"}[r.IntN(2)]})
				event(pool.KindProjectPut, &pool.Project{Name: "q", Parent: []string{"", "p", "top"}[r.IntN(3)]})
			case 2:
				written, err := st.Snapshot().Bytes()
				require.NoError(t, err)
				back, err := pool.ReadSnapshot(strings.NewReader(string(written)), showback.Booked{})
				require.NoError(t, err)
				requireCosts(t, back, prices)
				again, err := back.Snapshot().Bytes()
				require.NoError(t, err)
				require.Equal(t, string(written), string(again))
				st = back
			}
		}
	}
	require.Greater(t, changes, 100)
	for _, kind := range []string{pool.KindLaunched, pool.KindPlaced, pool.KindResizing, pool.KindResized, pool.KindMoved, pool.KindFailed, pool.KindDeleted, pool.KindShelved, pool.KindLapsed} {
		require.NotZero(t, kinds[kind], kind)
	}
}

// requireCosts compares what the books say that projects and owners cost with what their instances do.
func requireCosts(t *testing.T, st *pool.State, p showback.Prices) {
	t.Helper()
	sums := make(map[string]int64)
	for i := range st.Instances() {
		if !i.Placed() {
			continue
		}
		cost := naiveRate(p, i.Place.Host.Driver(), i.Spec.Flavor, i.Place.Allocation.Resources)
		if i.Resize != nil {
			cost = max(cost, naiveRate(p, i.Place.Host.Driver(), i.Resize.Sizes.Flavor, i.Place.Allocation.Resources))
		}
		require.Equal(t, cost, st.CostOf(i))
		sums["of "+i.Project] += cost
		sums[i.Project+" "+i.Owner] += cost
		for q := range st.Above(i.Project) {
			sums["below "+q.Name] += cost
		}
	}
	for q := range st.Projects() {
		require.Equal(t, sums["of "+q.Name], q.Used[pool.Cost], q.Name)
		require.Equal(t, sums["below "+q.Name], q.Total()[pool.Cost], q.Name)
		_, there := q.Used[pool.Cost]
		require.Equal(t, sums["of "+q.Name] != 0, there, "no entry for nothing")
		for owner, used := range st.Owners(q.Name) {
			require.Equal(t, sums[q.Name+" "+owner], used[pool.Cost], fmt.Sprint(q.Name, " ", owner))
		}
	}
}
