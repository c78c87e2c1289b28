package packing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/packing"
)

func TestBadProblems(t *testing.T) {
	t.Parallel()
	item := packing.Item{Resources: pool.Resources{pool.CPU: 1}, Count: 1}
	host := packing.HostKind{Capacity: pool.Resources{pool.CPU: 1}}
	for name, c := range map[string]struct {
		items []packing.Item
		hosts []packing.HostKind
		want  error
		field string
	}{
		"no hosts":        {[]packing.Item{item}, nil, pool.ErrInvalid, "hosts"},
		"negative amount": {[]packing.Item{{Resources: pool.Resources{pool.CPU: -1}}}, []packing.HostKind{host}, pool.ErrInvalid, "items[0].resources.cpu"},
		"bad class":       {[]packing.Item{item}, []packing.HostKind{{Capacity: pool.Resources{"CPU": 1}}}, pool.ErrInvalid, "hosts[0].capacity.class"},
		"negative count":  {[]packing.Item{{Count: -1}}, []packing.HostKind{host}, pool.ErrInvalid, "items[0].count"},
		"too many items":  {[]packing.Item{{Count: packing.MaxCount}, item}, []packing.HostKind{host}, pool.ErrOverflow, "items[1].count"},
		"negative hosts":  {nil, []packing.HostKind{{Count: -1}}, pool.ErrInvalid, "hosts[0].count"},
		"negative cost":   {nil, []packing.HostKind{host, {Cost: -1}}, pool.ErrInvalid, "hosts[1].cost"},
		"owned, costs":    {nil, []packing.HostKind{{Owned: true, Count: 1, Cost: 1}}, pool.ErrInvalid, "hosts[0].cost"},
		"bad units":       {nil, []packing.HostKind{{Units: map[pool.Class]packing.Units{pool.CPU: {Min: 3, Max: 5, Step: 7}}}}, pool.ErrInvalid, "hosts[0].units.max_unit"},
		"units of what":   {nil, []packing.HostKind{{Units: map[pool.Class]packing.Units{"CPU": {}}}}, pool.ErrInvalid, "hosts[0].units.class"},
		"penalty": {[]packing.Item{{Resources: pool.Resources{pool.CPU: 1}, Count: packing.MaxCount}},
			[]packing.HostKind{{Capacity: pool.Resources{pool.CPU: 1}, Count: packing.MaxCount, Cost: packing.MaxCost}}, pool.ErrOverflow, "hosts"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := packing.Plan(t.Context(), &packing.Problem{Items: c.items, Hosts: c.hosts}, packing.Options{})
			require.ErrorIs(t, err, c.want)
			var e *pool.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.field, e.Field)
		})
	}
}

// What has room but is of an amount that no kind allows never fits, and the answer says so.
func TestLimitsOfUnits(t *testing.T) {
	t.Parallel()
	p := &packing.Problem{
		Items: []packing.Item{{Resources: pool.Resources{pool.CPU: 5000}, Count: 1}, {Resources: pool.Resources{pool.CPU: 9000}, Count: 2}, {Resources: pool.Resources{pool.CPU: 4000}, Count: 4}},
		Hosts: []packing.HostKind{{Capacity: pool.Resources{pool.CPU: 16_000}, Units: map[pool.Class]packing.Units{pool.CPU: {Min: 2000, Max: 8000, Step: 2000}}}},
	}
	r, err := packing.Plan(t.Context(), p, packing.Options{})
	require.NoError(t, err)
	require.NoError(t, packing.Verify(t.Context(), p, r))
	require.Equal(t, []packing.Never{{Item: 0, Count: 1, Class: pool.CPU, Short: 1000, Unit: true}, {Item: 1, Count: 2, Class: pool.CPU, Short: 1000, Unit: true}}, r.Never)
	require.EqualValues(t, 1, r.Hosts)
	p.Items[0].Count, p.Items[1].Count, p.Items[2].Count = 0, 4, 0
	p.Items[1].Resources, r.Groups[0].Loads[0].Item, r.Never = pool.Resources{pool.CPU: 3000}, 1, nil
	require.ErrorIs(t, packing.Verify(t.Context(), p, r), packing.ErrPlan, "what units do not allow is no plan")
}

// The largest amounts and counts there are neither overflow nor take long.
func TestLargestAmounts(t *testing.T) {
	t.Parallel()
	const top = math.MaxInt64
	for _, p := range []packing.Problem{
		{},
		{Items: []packing.Item{{Count: 5}}}, // needs nothing: all on one host
		{Items: []packing.Item{{Resources: pool.Resources{pool.CPU: top, "a": top, "b": top - 1}, Count: packing.MaxCount}}},
		{Items: []packing.Item{
			{Resources: pool.Resources{pool.CPU: top/2 + 1, "a": 1}, Count: packing.MaxCount / 2},
			{Resources: pool.Resources{pool.CPU: top / 3, "a": top / 5}, Count: packing.MaxCount / 4},
			{Resources: pool.Resources{pool.CPU: 1, "b": top / 7}, Count: packing.MaxCount / 8},
		}},
	} {
		p.Hosts = []packing.HostKind{{Capacity: pool.Resources{pool.CPU: top, "a": top, "b": top}, Cost: packing.MaxCost}}
		res, err := packing.Plan(t.Context(), &p, packing.Options{})
		require.NoError(t, err)
		require.NoError(t, packing.Verify(t.Context(), &p, res))
		require.Empty(t, res.Never)
		require.LessOrEqual(t, res.Cost, res.Least+packing.MaxCost)
	}
}

// Sizes that are too many for the program over patterns still get a plan and a bound.
func TestManySizes(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 0))
	p := packing.Problem{Hosts: []packing.HostKind{{Capacity: pool.Resources{pool.CPU: 1 << 20, pool.Memory: 1 << 40}}}}
	for range 3000 {
		p.Items = append(p.Items, packing.Item{Count: 1 + r.Int64N(3), Resources: pool.Resources{
			pool.CPU: 1 + r.Int64N(1<<18), pool.Memory: 1 + r.Int64N(1<<38)}})
	}
	res, err := packing.Plan(t.Context(), &p, packing.Options{Work: 100_000})
	require.NoError(t, err)
	require.NoError(t, packing.Verify(t.Context(), &p, res))
	t.Logf("%d hosts, bound %.2f", res.Hosts, res.Certificate.Value())
	require.Less(t, float64(res.Hosts), 1.15*res.Certificate.Value())
}

func TestPlanIsDeterministic(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		p := large(seed, 20, 3, 3)
		var first string
		for range 2 {
			res, err := packing.Plan(t.Context(), p, packing.Options{Work: 100_000})
			require.NoError(t, err)
			b, err := json.Marshal(res)
			require.NoError(t, err)
			if first == "" {
				first = string(b)
			}
			require.Equal(t, first, string(b))
		}
	}
}

// What is there when the context ends is as valid as any plan.
func TestPlanEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := large(1, 30, 3, 1)
	gone := errors.New("nobody waits any more")
	ended := 0
	for stop := range 15 {
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		res, err := packing.Plan(ctx, p, packing.Options{Work: 300_000, Progress: func(packing.Progress) {
			if calls++; calls > stop {
				cancel(gone)
			}
		}})
		if calls > stop {
			require.ErrorIs(t, err, gone)
			ended++
		}
		if res != nil {
			require.NoError(t, packing.Verify(t.Context(), p, res))
		}
		cancel(nil)
	}
	require.Greater(t, ended, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	res, err := packing.Plan(ctx, p, packing.Options{})
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, res)
}

// large makes a problem of the size of a real one, with amounts that have no common measure.
func large(seed uint64, sizes, classes, kinds int) *packing.Problem {
	r := rand.New(rand.NewPCG(seed, 7))
	p := &packing.Problem{}
	for range sizes {
		it := packing.Item{Resources: pool.Resources{}, Count: 1 + r.Int64N(200)}
		for c := range classes {
			if r.IntN(4) > 0 {
				it.Resources[pool.Class(fmt.Sprintf("c%d", c))] = 1 + r.Int64N(4000)
			}
		}
		p.Items = append(p.Items, it)
	}
	for k := range kinds {
		h := packing.HostKind{Capacity: pool.Resources{}}
		for c := range classes {
			h.Capacity[pool.Class(fmt.Sprintf("c%d", c))] = 6000 + r.Int64N(8000)
		}
		if kinds > 1 {
			h.Cost = 60 + r.Int64N(80)
		}
		if k > 0 {
			h.Count = 1 + r.Int64N(100)
		}
		p.Hosts = append(p.Hosts, h)
	}
	return p
}

func FuzzPlan(f *testing.F) {
	for seed := range uint64(20) {
		b, err := json.Marshal(small(rand.New(rand.NewPCG(5, seed))))
		require.NoError(f, err)
		f.Add(b)
	}
	b, err := json.Marshal(mixed())
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p packing.Problem
		if json.Unmarshal(b, &p) != nil {
			return
		}
		res, err := packing.Plan(t.Context(), &p, packing.Options{Work: 200_000})
		if err != nil {
			require.True(t, errors.Is(err, pool.ErrInvalid) || errors.Is(err, pool.ErrOverflow), err)
			return
		}
		if err := packing.Verify(t.Context(), &p, res); !errors.Is(err, packing.ErrUndecided) {
			require.NoError(t, err)
		}
	})
}

// Verify reads what somebody else has written.
func FuzzVerify(f *testing.F) {
	p := mixed()
	res, err := packing.Plan(f.Context(), p, packing.Options{})
	require.NoError(f, err)
	b, err := json.Marshal(res)
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var r packing.Result
		if json.Unmarshal(b, &r) != nil {
			return
		}
		if err := packing.Verify(t.Context(), p, &r); err == nil {
			require.LessOrEqual(t, r.Least, res.Cost+res.Certificate.Penalty*res.Short[0].Count)
			require.GreaterOrEqual(t, r.Cost+r.Certificate.Penalty*r.Short[0].Count, res.Least)
		}
	})
}
