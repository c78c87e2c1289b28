package pool_test

import (
	"encoding/json"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

func TestParseRatio(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]pool.Ratio{
		"1": 1000, "1.5": 1500, "0.001": 1, "1000": 1000_000, "16": 16000, "0.25": 250, "1.050": 1050, "001": 1000,
	} {
		r, err := pool.ParseRatio(s)
		require.NoError(t, err, s)
		require.Equal(t, want, r, s)
	}
	for _, s := range append([]string{
		"0", "0.0", "-1", "-0", "-0.5", "+1", "1.", ".5", "1.0005", "1000.001", "1001", "1e3", "1_0", "0x1", "1.-5", "1.+5", "1 ", " 1", "1,5",
		"NaN", "Inf", "null", "99999999999999999999", "1.5.5",
	}, hostile...) {
		_, err := pool.ParseRatio(s)
		require.ErrorIs(t, err, pool.ErrInvalid, "%q", s)
		harmless(t, err)
	}
}

func TestRatioText(t *testing.T) {
	t.Parallel()
	for r, want := range map[pool.Ratio]string{0: "1", 1000: "1", 1500: "1.5", 1: "0.001", 1050: "1.05", 16000: "16", -500: "-0.5", -1500: "-1.5"} {
		require.Equal(t, want, r.String())
	}
	var v struct{ R pool.Ratio }
	require.NoError(t, json.Unmarshal([]byte(`{"R":1.25}`), &v))
	require.Equal(t, pool.Ratio(1250), v.R)
	require.NoError(t, json.Unmarshal([]byte(`{"R":null}`), &v))
	require.Equal(t, pool.Ratio(1250), v.R, "null changes nothing, as everywhere in JSON")
	require.Error(t, json.Unmarshal([]byte(`{"R":"1.25"}`), &v))
	require.Error(t, json.Unmarshal([]byte(`{"R":-1}`), &v))
}

func TestInventoryCapacity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		inv  pool.Inventory
		want int64
	}{
		"plain":              {pool.Inventory{Total: 10}, 10},
		"reserved":           {pool.Inventory{Total: 10, Reserved: 4}, 6},
		"reserved first":     {pool.Inventory{Total: 10, Reserved: 4, Ratio: 1500}, 9},
		"rounded down":       {pool.Inventory{Total: 1, Ratio: 1999}, 1},
		"down to nothing":    {pool.Inventory{Total: 1, Ratio: 999}, 0},
		"more reserved":      {pool.Inventory{Total: 4, Reserved: 10, Ratio: 2000}, 0},
		"largest":            {pool.Inventory{Total: math.MaxInt64}, math.MaxInt64},
		"largest, half":      {pool.Inventory{Total: math.MaxInt64, Ratio: 500}, math.MaxInt64 / 2},
		"beyond an int64":    {pool.Inventory{Total: math.MaxInt64, Ratio: 1001}, math.MaxInt64},
		"far beyond":         {pool.Inventory{Total: math.MaxInt64, Ratio: 1000_000}, math.MaxInt64},
		"negative ratio":     {pool.Inventory{Total: 5, Ratio: -1}, 0},
		"smallest all round": {pool.Inventory{Total: math.MinInt64, Reserved: math.MaxInt64, Ratio: math.MinInt64}, 0},
	} {
		require.Equal(t, c.want, c.inv.Capacity(), name)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		i := pool.Inventory{Total: r.Int64() >> r.IntN(63), Reserved: r.Int64() >> r.IntN(63), Ratio: pool.Ratio(1 + r.IntN(1000_000))}
		want := new(big.Int).Sub(big.NewInt(i.Total), big.NewInt(i.Reserved))
		want.Div(want.Mul(want, big.NewInt(int64(i.Ratio))), big.NewInt(1000))
		switch {
		case want.Sign() < 0:
			want.SetInt64(0)
		case !want.IsInt64():
			want.SetInt64(math.MaxInt64)
		}
		require.Equal(t, want.Int64(), i.Capacity(), "%+v", i)
		require.NoError(t, i.Valid())
	}
}

func TestInventoryValid(t *testing.T) {
	t.Parallel()
	for _, i := range []pool.Inventory{
		{MinUnit: -1}, {MaxUnit: -1}, {StepSize: -1}, {MinUnit: 3, MaxUnit: 2}, {MaxUnit: 3, StepSize: 4}, {MinUnit: 5, MaxUnit: 7, StepSize: 4},
		{MinUnit: math.MaxInt64, StepSize: 2}, {Total: -1}, {Reserved: -1}, {Ratio: -1}, {Ratio: 1000_001}, {Total: math.MinInt64}, {Total: 1, Reserved: math.MinInt64},
	} {
		err := i.Valid()
		require.ErrorIs(t, err, pool.ErrInvalid, "%+v", i)
		harmless(t, err)
	}
	require.NoError(t, pool.Inventory{}.Valid())
	require.NoError(t, pool.Inventory{Total: 1, Reserved: 2}.Valid(), "others may have taken more than there is")
}

func TestInventoryUnits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		inv     pool.Inventory
		allowed []int64 // of 1 to 10
	}{
		"no limits": {pool.Inventory{}, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		"least":     {pool.Inventory{MinUnit: 8}, []int64{8, 9, 10}},
		"most":      {pool.Inventory{MaxUnit: 2}, []int64{1, 2}},
		"step":      {pool.Inventory{StepSize: 4}, []int64{4, 8}},
		"all":       {pool.Inventory{MinUnit: 3, MaxUnit: 9, StepSize: 3}, []int64{3, 6, 9}},
	} {
		require.NoError(t, c.inv.Valid(), name)
		var got []int64
		for n := range int64(10) {
			most := int64(0)
			if c.inv.Allows(n + 1) {
				got = append(got, n+1)
			}
			for _, a := range c.allowed {
				if a <= n+1 {
					most = a
				}
			}
			require.Equal(t, most, c.inv.Most(n+1), name)
		}
		require.Equal(t, c.allowed, got, name)
		require.Zero(t, c.inv.Most(-3), name)
	}
	js, err := json.Marshal(pool.Inventory{Total: 4})
	require.NoError(t, err)
	require.JSONEq(t, `{"total":4}`, string(js), "as ledgers have it that were written before there were limits")
}

func FuzzRatio(f *testing.F) {
	for _, s := range []string{"1", "1.5", "0.001", "1000", "-0.5", "1.", "1e3", "null"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := pool.ParseRatio(s)
		if err != nil {
			require.ErrorIs(t, err, pool.ErrInvalid)
			return
		}
		require.True(t, r >= 1 && r <= 1000_000)
		back, err := pool.ParseRatio(r.String())
		require.NoError(t, err)
		require.Equal(t, r, back)
		b, err := json.Marshal(r)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &back))
		require.Equal(t, r, back)
		require.NoError(t, pool.Inventory{Ratio: r}.Valid())
	})
}
