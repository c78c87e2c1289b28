package pool_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

func TestSelector(t *testing.T) {
	t.Parallel()
	web := pool.NewPeer("shop", "shop/web", map[string]string{"app": "web", "tier": "gold"})
	lone := pool.NewPeer("shop", "", map[string]string{"app": "web"})
	for name, c := range map[string]struct {
		s         pool.Selector
		cluster   pool.ClusterID // of the instance that has the rule
		web, lone bool
	}{
		"own cluster":           {pool.Selector{}, "shop/web", true, false},
		"another cluster":       {pool.Selector{}, "shop/db", false, false},
		"no cluster":            {pool.Selector{}, "", false, false},
		"cluster by name":       {pool.Selector{Cluster: "web"}, "", true, false},
		"other name":            {pool.Selector{Cluster: "we"}, "", false, false},
		"label":                 {pool.Selector{Labels: map[string]string{"app": "web"}}, "", true, true},
		"both labels":           {pool.Selector{Labels: map[string]string{"app": "web", "tier": "gold"}}, "", true, false},
		"another value":         {pool.Selector{Labels: map[string]string{"app": "we"}}, "", false, false},
		"the end of a key":      {pool.Selector{Labels: map[string]string{"pp": "web"}}, "", false, false},
		"ids are no peers":      {pool.Selector{Instances: []pool.InstanceID{everyInstance[0]}}, "shop/web", false, false},
		"empty is also a value": {pool.Selector{Labels: map[string]string{"app": ""}}, "", false, false},
	} {
		require.Equal(t, c.web, c.s.Selects(&web, "shop", c.cluster), name)
		require.Equal(t, c.lone, c.s.Selects(&lone, "shop", c.cluster), name)
		require.False(t, c.s.Selects(&web, "lab", "lab/web"), "%s: of another project", name)
		require.NotEmpty(t, c.s.String())
	}
	require.Equal(t, map[string]string{"app": "web", "tier": "gold"}, maps.Collect(web.All()))
	plain := pool.NewPeer("shop", "shop/web", nil)
	require.Empty(t, maps.Collect(plain.All()))
	require.Negative(t, plain.Compare(&web))
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	twice := pool.NewInstanceID("l", "p", "t")
	for field, c := range map[string]pool.Constraints{
		"constraints.affinity[0]":                       {Affinity: []pool.Affinity{{Selector: pool.Selector{Cluster: "a", Labels: map[string]string{"a": "b"}}}}},
		"constraints.anti_affinity[1].within":           {AntiAffinity: []pool.Affinity{{}, {Within: "a b"}}},
		"constraints.anti_affinity[0].cluster":          {AntiAffinity: []pool.Affinity{{Selector: pool.Selector{Cluster: "a/b"}}}},
		"constraints.affinity[0].labels[a]":             {Affinity: []pool.Affinity{{Selector: pool.Selector{Labels: map[string]string{"a": "\n"}}}}},
		"constraints.affinity[0].instances[0].instance": {Affinity: []pool.Affinity{{Selector: pool.Selector{Instances: []pool.InstanceID{"x"}}}}},
		"constraints.affinity[0].instances[1]":          {Affinity: []pool.Affinity{{Selector: pool.Selector{Instances: []pool.InstanceID{twice, twice}}}}},
		"constraints.same_node":                         {SameNode: make([]pool.Class, 17)},
		"constraints.same_node[1].class":                {SameNode: []pool.Class{"gpu", "GPU"}},
		"constraints.affinity":                          {Affinity: make([]pool.Affinity, 17)},
		"constraints.spread":                            {Spread: make([]pool.Spread, 17)},
		"constraints.spread[0].max_skew":                {Spread: []pool.Spread{{MaxSkew: -1}}},
		"constraints.spread[0].within":                  {Spread: []pool.Spread{{Within: "\n"}}},
	} {
		s := goodSpec()
		s.Constraints = c
		err := s.Valid()
		var e *pool.Error
		require.ErrorAs(t, err, &e, field)
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.Equal(t, field, e.Field)
		harmless(t, err)
	}
}

func TestRulesInJSON(t *testing.T) {
	t.Parallel()
	in := `{"anti_affinity":[{},{"labels":{"app":"web"},"within":"rack","soft":true}],"affinity":[{"cluster":"db","within":"zone"}],"spread":[{"within":"zone","max_skew":2}]}`
	var c pool.Constraints
	require.NoError(t, json.Unmarshal([]byte(in), &c))
	out, err := json.Marshal(c)
	require.NoError(t, err)
	require.JSONEq(t, in, string(out))
	none, err := json.Marshal(pool.Spec{Image: "x"})
	require.NoError(t, err)
	require.JSONEq(t, `{"image":"x"}`, string(none), "what is not asked for is not written: records of before are the same")

	d := c.Clone()
	require.Equal(t, c, d)
	d.AntiAffinity[1].Labels["app"], d.Spread[0].Within = "db", "rack"
	require.Equal(t, "web", c.AntiAffinity[1].Labels["app"])
	require.Equal(t, "zone", c.Spread[0].Within)
}
