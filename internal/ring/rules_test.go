package ring_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

func (p *placer) cluster(name string, size int, bestEffort bool, c pool.Constraints) error {
	spec := small(1)
	spec.Constraints = c
	return p.do(ring.Command{CreateCluster: &ring.CreateCluster{Token: name, Project: "shop", Name: name, Spec: spec, Size: size, BestEffort: bestEffort}})
}

// perHost counts the instances of a cluster, or of none, by host.
func (p *placer) perHost(cluster pool.ClusterID) map[pool.HostID]int {
	out := make(map[pool.HostID]int)
	p.View(func(st *pool.State) {
		for i := range st.Instances() {
			if i.Cluster == cluster && i.Placed() {
				out[i.Place.Host]++
			}
		}
	})
	return out
}

// Members that are decided in one batch see each other: one per host, and no more than there are hosts.
func TestClusterApart(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(4)
	apart := pool.Constraints{AntiAffinity: []pool.Affinity{{}}}
	require.NoError(t, p.cluster("one", 4, false, apart))
	require.Equal(t, map[pool.HostID]int{"sim/h0": 1, "sim/h1": 1, "sim/h2": 1, "sim/h3": 1}, p.perHost("shop/one"))
	p.follows()

	err := p.cluster("five", 5, false, apart)
	var refusal *scheduler.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, scheduler.ByAntiAffinity, refusal.Hosts[0].Reason.Constraint)
	require.False(t, refusal.Never)
	require.Equal(t, `1 instance on the host to stay apart from: members of the same cluster`, refusal.Hosts[0].Reason.String())
	require.Empty(t, p.perHost("shop/five"), "all or none")
	p.follows()

	require.NoError(t, p.cluster("six", 6, true, apart))
	require.Len(t, p.perHost("shop/six"), 4, "as many as there is room for")
	require.NoError(t, p.do(ring.Command{ScaleCluster: &ring.ScaleCluster{Cluster: "shop/one", Size: 3}}))
	require.ErrorIs(t, p.do(ring.Command{ScaleCluster: &ring.ScaleCluster{Cluster: "shop/one", Size: 5}}), pool.ErrNoRoom)

	soft := pool.Constraints{AntiAffinity: []pool.Affinity{{Soft: true}}}
	require.NoError(t, p.cluster("soft", 6, false, soft))
	require.Len(t, p.perHost("shop/soft"), 4, "on all hosts before any has two")
	p.follows()
}

// Launches of one batch that are to stay apart from each other by a label do.
func TestLaunchesApart(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(5)
	spec := small(1)
	spec.Labels = map[string]string{"app": "db"}
	spec.Constraints.AntiAffinity = []pool.Affinity{{Selector: pool.Selector{Labels: map[string]string{"app": "db"}}}}
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for k := range errs {
		wg.Go(func() {
			name := "db-" + strconv.Itoa(k)
			errs[k] = p.do(ring.Command{Launch: &ring.Launch{Token: name, Project: "shop", Name: name, Spec: spec}})
		})
	}
	wg.Wait()
	placed := 0
	for _, err := range errs {
		if err == nil {
			placed++
		} else {
			require.ErrorIs(t, err, pool.ErrNoRoom)
		}
	}
	require.Equal(t, 5, placed)
	require.Equal(t, map[pool.HostID]int{"sim/h0": 1, "sim/h1": 1, "sim/h2": 1, "sim/h3": 1, "sim/h4": 1}, p.perHost(""))
	p.follows()
}

// A rule may name instances by id, and is about the members of a cluster only in a cluster.
func TestRulesOfLaunches(t *testing.T) {
	t.Parallel()
	p := newPlacer(t, pool.NewMemoryLedger())
	p.setUp(3)
	require.NoError(t, p.launch("first", 1))
	var first *pool.Instance
	p.View(func(st *pool.State) { first = st.SortedInstances()[0] })
	launch := func(name string, c pool.Constraints) error {
		spec := small(1)
		spec.Constraints = c
		return p.do(ring.Command{Launch: &ring.Launch{Token: name, Project: "shop", Name: name, Spec: spec}})
	}
	where := func(name string) pool.HostID {
		var at pool.HostID
		p.View(func(st *pool.State) {
			i, _ := st.Instance(st.InstanceFor("shop", name))
			at = i.Place.Host
		})
		return at
	}
	ids := pool.Selector{Instances: []pool.InstanceID{first.ID}}
	require.NoError(t, launch("near", pool.Constraints{Affinity: []pool.Affinity{{Selector: ids}}}))
	require.Equal(t, first.Place.Host, where("near"))
	require.NoError(t, launch("far", pool.Constraints{AntiAffinity: []pool.Affinity{{Selector: ids}}}))
	require.NotEqual(t, first.Place.Host, where("far"))
	err := launch("alone", pool.Constraints{Spread: []pool.Spread{{Within: "zone"}}})
	require.ErrorIs(t, err, pool.ErrInvalid)
	require.ErrorContains(t, err, "spec.constraints.spread[0]")
	p.follows()
}
