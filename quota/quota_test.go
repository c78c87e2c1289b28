package quota_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

func project(limits, used pool.Resources) *pool.ProjectRecord {
	return &pool.ProjectRecord{Project: pool.Project{Name: "web", Quota: limits}, Used: used}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits, used, demand pool.Resources
		kind                 error
		text                 string
	}{
		"no limits": {nil, nil, pool.Resources{pool.CPU: math.MaxInt64}, nil, ""},
		"exactly":   {pool.Resources{pool.CPU: 4000}, pool.Resources{pool.CPU: 3000}, pool.Resources{pool.CPU: 1000}, nil, ""},
		"one more": {pool.Resources{pool.CPU: 4000}, pool.Resources{pool.CPU: 3000}, pool.Resources{pool.CPU: 1001},
			pool.ErrOverQuota, `project "web" over quota: cpu: 1.001 cores asked, 1 core free of 4 cores`},
		"every class that is short": {
			pool.Resources{pool.Memory: pool.GiB, pool.Instances: 3, pool.CPU: 9000}, pool.Resources{pool.Instances: 3},
			pool.Resources{pool.Memory: 2 * pool.GiB, pool.Instances: 1, pool.CPU: 1}, pool.ErrOverQuota,
			`project "web" over quota: instances: 1 asked, 0 free of 3; memory: 2 GiB asked, 1 GiB free of 1 GiB`},
		"zero allows nothing": {pool.Resources{pool.GPU: 0}, nil, pool.Resources{pool.GPU: 1},
			pool.ErrOverQuota, `project "web" over quota: gpu: 1 asked, 0 free of 0`},
		"zero asked of zero":     {pool.Resources{pool.GPU: 0}, nil, pool.Resources{pool.GPU: 0}, nil, ""},
		"over in another class":  {pool.Resources{pool.GPU: 1}, pool.Resources{pool.GPU: 2}, pool.Resources{pool.CPU: 1}, nil, ""},
		"over in this class":     {pool.Resources{pool.GPU: 1}, pool.Resources{pool.GPU: 3}, pool.Resources{pool.GPU: 1}, pool.ErrOverQuota, `project "web" over quota: gpu: 1 asked, -2 free of 1`},
		"huge on limited":        {pool.Resources{"x": 5}, pool.Resources{"x": 4}, pool.Resources{"x": math.MaxInt64}, pool.ErrOverQuota, `project "web" over quota: x: 9223372036854775807 asked, 1 free of 5`},
		"huge on huge":           {pool.Resources{"x": math.MaxInt64}, pool.Resources{"x": math.MaxInt64}, pool.Resources{"x": math.MaxInt64}, pool.ErrOverQuota, ""},
		"overflow without limit": {nil, pool.Resources{"x": 1}, pool.Resources{"x": math.MaxInt64}, pool.ErrOverflow, ""},
		"negative":               {nil, nil, pool.Resources{"x": -1}, pool.ErrInvalid, ""},
		"hostile class":          {nil, nil, pool.Resources{"x\n<y>": 1}, pool.ErrInvalid, ""},
		"negative limit":         {pool.Resources{"x": math.MinInt64}, pool.Resources{"x": 5}, pool.Resources{"x": 1}, pool.ErrOverQuota, `project "web" over quota: x: 1 asked, -5 free of 0`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := quota.Check(project(c.limits, c.used), c.demand)
			if c.kind == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.kind)
			if c.text != "" {
				require.EqualError(t, err, c.text)
			}
			require.NotContains(t, err.Error(), "\n")
			var e *quota.Exceeded
			require.Equal(t, c.kind == pool.ErrOverQuota, asExceeded(err, &e))
		})
	}
}

func asExceeded(err error, e **quota.Exceeded) bool {
	x, ok := err.(*quota.Exceeded)
	*e = x
	return ok && len(x.Lines) > 0 && x.Project == "web"
}

// What Check lets through, step by step, never passes a limit, and what it refuses would have.
func TestCheckHoldsTheLimits(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		classes := []pool.Class{pool.CPU, pool.Memory, pool.Instances, "own"}
		p := project(pool.Resources{}, nil)
		for _, c := range classes {
			if r.IntN(3) > 0 {
				p.Quota[c] = r.Int64N(50)
			}
		}
		for range 40 {
			demand := quota.Demand(pool.Allocation{Resources: pool.Resources{classes[r.IntN(2)]: r.Int64N(10), "own": r.Int64N(3)}})
			require.Equal(t, int64(1), demand[pool.Instances])
			sum, err := p.Used.Add(demand)
			require.NoError(t, err)
			fits := true
			for c, n := range demand {
				if limit, ok := p.Quota[c]; ok && n > 0 && sum[c] > limit {
					fits = false
				}
			}
			err = quota.Check(p, demand)
			require.Equal(t, fits, err == nil, "%v + %v of %v", p.Used, demand, p.Quota)
			if fits {
				p.Used = sum
			}
		}
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	p := project(pool.Resources{pool.Memory: 8, pool.CPU: 4000, pool.GPU: 0}, pool.Resources{pool.Memory: 9, "own": 3})
	lines := quota.Report(p)
	require.Equal(t, []quota.Line{
		{Class: pool.CPU, Limited: true, Limit: 4000, Free: 4000},
		{Class: pool.GPU, Limited: true},
		{Class: pool.Memory, Limited: true, Limit: 8, Used: 9, Free: -1},
		{Class: "own", Used: 3},
	}, lines)
	require.Equal(t, "own: 3 used, no limit", lines[3].String())
	js, err := json.Marshal(lines[2])
	require.NoError(t, err)
	require.JSONEq(t, `{"class":"memory","limited":true,"limit":8,"used":9,"free":-1}`, string(js))
	require.Empty(t, quota.Report(project(nil, nil)))
}

func ExampleCheck() {
	p := &pool.ProjectRecord{
		Project: pool.Project{Name: "web", Quota: pool.Resources{pool.CPU: 8 * pool.Core, pool.Instances: 10}},
		Used:    pool.Resources{pool.CPU: 6 * pool.Core, pool.Instances: 3},
	}
	place := pool.Allocation{Resources: pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: 8 * pool.GiB}}
	fmt.Println(quota.Check(p, quota.Demand(place)))
	for _, l := range quota.Report(p) {
		fmt.Println(l)
	}
	// Output:
	// project "web" over quota: cpu: 4 cores asked, 2 cores free of 8 cores
	// cpu: 2 cores free of 8 cores
	// instances: 7 free of 10
}
