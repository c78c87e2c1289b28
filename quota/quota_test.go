package quota_test

import (
	"encoding/json"
	"errors"
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

// books are projects that lie one in another, "a/b/c" in "a/b" in "a", with what owners use of them.
func books(t *testing.T, projects []pool.Project, used map[string]map[string]int64) *pool.State {
	t.Helper()
	st := pool.NewState()
	apply := func(kind string, payload any) {
		e, err := pool.NewEvent(kind, payload)
		require.NoError(t, err)
		e.Revision = st.Head() + 1
		require.NoError(t, st.Apply(&e))
	}
	apply(pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "d/h", Inventory: map[pool.Class]pool.Inventory{"x": {Total: 1000}}}})
	for _, p := range projects {
		apply(pool.KindProjectPut, &p)
		for owner, n := range used[p.Name] {
			apply(pool.KindLaunched, &pool.Launched{Instance: pool.NewInstanceID("l", p.Name, owner), Name: "i", Project: p.Name, Owner: owner,
				Place: pool.Placement{Host: "d/h", Allocation: pool.Allocation{Resources: pool.Resources{"x": n}}}})
		}
	}
	return st
}

func TestAllow(t *testing.T) {
	t.Parallel()
	x := func(n int64) pool.Resources { return pool.Resources{"x": n} }
	st := books(t, []pool.Project{
		{Name: "org", Quota: pool.Resources{"x": 20, pool.Instances: 9}},
		{Name: "team", Parent: "org", Quota: x(15), PerUser: x(0)},
		{Name: "web", Parent: "team", Quota: x(10), PerUser: x(6), Users: map[string]pool.Resources{"u-9": x(9)}},
		{Name: "free", Parent: "org"},
	}, map[string]map[string]int64{"web": {"u-1": 3, "": 2}, "team": {"": 7}, "free": {"u-1": 4}})
	for name, c := range map[string]struct {
		project, owner string
		demand         pool.Resources
		text           string
		never          bool
	}{
		"what all allow":             {"web", "", x(3), "", false},
		"the owner's":                {"web", "u-1", x(4), `owner "u-1" in project "web" over quota: x: 4 asked, 3 free of 6`, false},
		"just the owner's":           {"web", "u-1", x(3), "", false},
		"another's":                  {"web", "u-9", x(3), "", false},
		"the owner's for ever":       {"web", "u-1", x(7), `project "web" over quota: x: 7 asked, 5 free of 10`, true},
		"its own":                    {"web", "", x(6), `project "web" over quota: x: 6 asked, 5 free of 10`, false},
		"one above":                  {"web", "", x(4), `project "team", in which "web" lies, over quota: x: 4 asked, 3 free of 15`, false},
		"two above":                  {"free", "u-1", x(5), `project "org", in which "free" lies, over quota: x: 5 asked, 4 free of 20`, false},
		"never above":                {"free", "", x(21), `project "org", in which "free" lies, over quota: x: 21 asked, 4 free of 20`, true},
		"a limit that only org has":  {"free", "", pool.Resources{pool.Instances: 6}, `project "org", in which "free" lies, over quota: instances: 6 asked, 5 free of 9`, false},
		"an owner who is to have 0":  {"team", "u-1", x(1), `owner "u-1" in project "team" over quota: x: 1 asked, 0 free of 0`, true},
		"limits of owners not above": {"web", "u-9", pool.Resources{"x": 1}, "", false},
		"no such project":            {"nobody", "", x(1), `project "nobody" not found`, false},
		"negative":                   {"free", "", x(-1), `demand.x "-1" invalid: zero or more`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := quota.Allow(st, c.project, c.owner, c.demand)
			if c.text == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, c.text)
			var e *quota.Exceeded
			if errors.As(err, &e) {
				require.Equal(t, c.never, e.Never)
				r := e.Redacted()
				require.Equal(t, e.Asked == "", r == e)
				require.NotContains(t, r.Error(), `"org"`)
				require.NotContains(t, r.Error(), `"team", in`)
				js, err := json.Marshal(r)
				require.NoError(t, err)
				require.NotContains(t, string(js), "org")
			}
		})
	}
	p, _ := st.Project("web")
	require.Equal(t, []quota.Line{{Class: pool.Instances, Used: 1}, {Class: "x", Limited: true, Limit: 6, Used: 3, Free: 3}}, quota.ReportOwner(st, p, "u-1"))
	p, _ = st.Project("org")
	require.Equal(t, []quota.Line{{Class: pool.Instances, Limited: true, Limit: 9, Used: 4, Free: 5}, {Class: "x", Limited: true, Limit: 20, Used: 16, Free: 4}}, quota.Report(p))
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
