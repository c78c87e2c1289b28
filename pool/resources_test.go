package pool_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// hostile are texts that must not pass as a name of anything, nor reach a message unescaped.
var hostile = []string{
	"", " ", "a b", "a\nb", "a\x00b", "\xff\xfe", "a\"b", "a'b", "a`b", "<a/>", "a&b", "a: b", "- a", "{a}", "$(a)", "a;b", "../a", "a\\b",
	"\u2028", "ünïcode", strings.Repeat("a", 300),
}

// harmless proves that an error's message fits on one line of printable ASCII of bounded length.
func harmless(t testing.TB, err error) {
	t.Helper()
	require.Less(t, len(err.Error()), 1000)
	for _, r := range err.Error() {
		require.True(t, r >= ' ' && r < 127, "%q", err.Error())
	}
}

func TestClassValid(t *testing.T) {
	t.Parallel()
	for _, c := range []pool.Class{pool.CPU, pool.StorageNVMe, pool.IOPSSSD, "licence.oracle", "a", "a-b_c.9"} {
		require.NoError(t, c.Valid())
	}
	for _, s := range append([]string{"9a", ".a", "CPU", "storage/ssd", strings.Repeat("a", 64)}, hostile...) {
		err := pool.Class(s).Valid()
		require.ErrorIs(t, err, pool.ErrInvalid, "%q", s)
		harmless(t, err)
	}
}

func TestResourcesArithmetic(t *testing.T) {
	t.Parallel()
	const most, least = math.MaxInt64, math.MinInt64
	r := func(n int64) pool.Resources { return pool.Resources{"x": n} }
	for name, c := range map[string]struct {
		a, b     pool.Resources
		sum      pool.Resources
		sumErr   error
		diff     pool.Resources
		diffErr  error
		aFitsInB bool
	}{
		"nothing":           {nil, nil, pool.Resources{}, nil, pool.Resources{}, nil, true},
		"to nothing":        {nil, r(3), r(3), nil, nil, pool.ErrInvalid, true},
		"from something":    {r(3), nil, r(3), nil, r(3), nil, false},
		"equal":             {r(3), r(3), r(6), nil, pool.Resources{}, nil, true},
		"other classes":     {r(3), pool.Resources{"y": 0}, r(3), nil, r(3), nil, false},
		"largest":           {r(most), r(0), r(most), nil, r(most), nil, false},
		"one beyond":        {r(most), r(1), nil, pool.ErrOverflow, r(most - 1), nil, false},
		"largest twice":     {r(most), r(most), nil, pool.ErrOverflow, pool.Resources{}, nil, true},
		"smallest taken":    {r(0), r(least), r(least), nil, nil, pool.ErrOverflow, false},
		"smallest twice":    {r(least), r(least), nil, pool.ErrOverflow, nil, pool.ErrOverflow, true},
		"negative taken":    {r(1), r(-1), pool.Resources{}, nil, r(2), nil, false},
		"negative too many": {r(most), r(-1), r(most - 1), nil, nil, pool.ErrOverflow, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, _ := json.Marshal([]pool.Resources{c.a, c.b})
			sum, err := c.a.Add(c.b)
			require.ErrorIs(t, err, c.sumErr)
			require.Equal(t, c.sum, sum)
			diff, err := c.a.Sub(c.b)
			require.ErrorIs(t, err, c.diffErr)
			require.Equal(t, c.diff, diff)
			require.Equal(t, c.aFitsInB, c.a.Fits(c.b))
			after, _ := json.Marshal([]pool.Resources{c.a, c.b})
			require.Equal(t, string(before), string(after), "operands stay as they are")
		})
	}
}

func TestResourcesErrorsAreHarmless(t *testing.T) {
	t.Parallel()
	for _, s := range hostile {
		c := pool.Class(s)
		_, err := pool.Resources{c: math.MaxInt64}.Add(pool.Resources{c: 1})
		require.ErrorIs(t, err, pool.ErrOverflow)
		harmless(t, err)
		_, err = pool.Resources{}.Sub(pool.Resources{c: 1})
		require.ErrorIs(t, err, pool.ErrInvalid)
		harmless(t, err)
		_, err = pool.Resources{}.Sub(pool.Resources{c: math.MinInt64})
		require.ErrorIs(t, err, pool.ErrOverflow)
		harmless(t, err)
		err = pool.Resources{c: 1}.Valid()
		require.ErrorIs(t, err, pool.ErrInvalid)
		harmless(t, err)
	}
	require.ErrorIs(t, pool.Resources{"x": -1}.Valid(), pool.ErrInvalid)
	require.NoError(t, pool.Resources{"x": 0}.Valid())
	require.NoError(t, pool.Resources(nil).Valid())
}

func TestResourcesEqualAndClone(t *testing.T) {
	t.Parallel()
	r := pool.Resources{"a": 1, "b": 0}
	require.True(t, r.Equal(pool.Resources{"a": 1}))
	require.True(t, pool.Resources{"a": 1}.Equal(r))
	require.True(t, pool.Resources(nil).Equal(pool.Resources{"b": 0}))
	require.False(t, r.Equal(pool.Resources{"a": 1, "c": 2}))
	require.False(t, r.Equal(pool.Resources{"a": 2}))
	require.Equal(t, []pool.Class{"a"}, r.Classes())
	c := r.Clone()
	require.Equal(t, pool.Resources{"a": 1}, c)
	c["a"] = 5
	require.Equal(t, int64(1), r["a"])
}

func TestResourcesText(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]pool.Resources{
		"nothing":                              {pool.CPU: 0},
		"cpu 2.5 cores, gpu 1, memory 1.5 GiB": {pool.Memory: 3 * pool.GiB / 2, pool.CPU: 2500, pool.GPU: 1},
		"cpu 1 core, storage.ssd 1 TiB":        {pool.CPU: 1000, pool.StorageSSD: pool.TiB},
		"iops.nvme 3000, storage.nvme 512 B":   {pool.IOPSNVMe: 3000, pool.StorageNVMe: 512},
		"memory -1 GiB":                        {pool.Memory: -pool.GiB},
		"memory 8388608 TiB":                   {pool.Memory: math.MaxInt64},
		"memory -8388608 TiB":                  {pool.Memory: math.MinInt64},
		"memory 1023 MiB, storage.own 1.5 KiB": {pool.Memory: pool.GiB - pool.MiB, "storage.own": 1536},
	} {
		require.Equal(t, want, r.String())
	}
}

func TestResourcesJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(struct{ A, B pool.Resources }{nil, pool.Resources{"x": 0, "a": 1}})
	require.NoError(t, err)
	require.JSONEq(t, `{"A":{},"B":{"a":1,"x":0}}`, string(b))
	for _, bad := range []string{`{"x":9223372036854775808}`, `{"x":1.5}`, `{"x":"1"}`, `{"x":1e30}`, `[1]`, `"x"`, `{"x":`} {
		var r pool.Resources
		require.Error(t, json.Unmarshal([]byte(bad), &r), bad)
	}
}

func FuzzResourcesJSON(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `{"cpu":1000,"memory":-5}`, `{"x":9223372036854775807}`, `{"a":0,"a":1}`, `{"\u0000":1}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r pool.Resources
		if json.Unmarshal(b, &r) != nil {
			return
		}
		out, err := json.Marshal(r)
		require.NoError(t, err)
		var back pool.Resources
		require.NoError(t, json.Unmarshal(out, &back))
		require.True(t, r.Equal(back))
		_ = r.String()
		if err := r.Valid(); err != nil {
			harmless(t, err)
			return
		}
		sum, err := r.Add(r)
		if err != nil {
			require.ErrorIs(t, err, pool.ErrOverflow)
			return
		}
		require.True(t, r.Fits(sum))
		half, err := sum.Sub(r)
		require.NoError(t, err)
		require.True(t, half.Equal(r))
	})
}
