package berthage_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// racks returns hosts in racks of two, which are also zones; each takes two instances of four cores.
func racks(n int) []pool.Host {
	all := hosts(2 * n)
	for k := range all {
		name := string(rune('a' + k/2))
		all[k].Labels, all[k].Zone = map[string]string{"rack": "rack-" + name}, name
	}
	return all
}

// A cluster is created only where its members can lose as many domains as was asked: those of hosts, labels or zones.
func TestClusterWithSpare(t *testing.T) {
	t.Parallel()
	ask := func(size, spare int, domain string) berthage.CreateCluster {
		return berthage.CreateCluster{Token: "t", Project: "shop", Name: "web", Spec: sized("web", 4).Spec, Size: size, Spare: spare, Domain: domain}
	}
	for name, c := range map[string]struct {
		spare  int
		domain string
		most   int // members
	}{
		"one of six hosts":    {1, "", 10},
		"two of six hosts":    {2, "", 8},
		"one of three racks":  {1, "rack", 8},
		"two of three zones":  {2, pool.ZoneKey, 4},
		"one of three, zones": {1, pool.ZoneKey, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, fake.Config{Hosts: racks(3)})
				defer b.stop()
				ctx := context.Background()
				before := head(b.m)
				_, err := b.m.CreateCluster(ctx, ask(c.most+1, c.spare, c.domain))
				var refused *scheduler.GangRefusal
				require.ErrorAs(t, err, &refused)
				require.ErrorIs(t, err, pool.ErrNoRoom)
				require.Len(t, refused.Domains, c.spare)
				require.True(t, refused.Certain)
				require.Equal(t, before, head(b.m))

				l := ask(c.most+1, c.spare, c.domain)
				l.BestEffort = true
				v, err := b.m.CreateCluster(ctx, l)
				require.NoError(t, err)
				require.Len(t, v.Members, c.most)
				require.Equal(t, 1, v.Op.Refused)
				require.Contains(t, v.Op.Reason, "has no place left when")
				again, err := b.m.CreateCluster(ctx, l)
				require.NoError(t, err)
				require.Len(t, again.Members, c.most)
				survives(t, b.m, c.spare, c.domain)
				for _, m := range v.Members {
					require.Equal(t, pool.Running, settle(t, b.m, m.Instance).Is)
				}
				sound(t, b.m, b.fleet)
			})
		})
	}
}

// survives requires that whatever domains fail, the members on them have room on the others, of two to a host.
func survives(t *testing.T, m *berthage.Manager, spare int, key string) {
	t.Helper()
	m.View(func(st *pool.State) {
		members, room := make(map[string]int), make(map[string]int)
		for h := range st.Hosts() {
			d, _ := h.Domain(key)
			members[d] += h.Placed
			room[d] += 2 - h.Placed
		}
		var fail func(left int, failed map[string]bool)
		fail = func(left int, failed map[string]bool) {
			lost, free := 0, 0
			for d := range members {
				if failed[d] {
					lost += members[d]
				} else {
					free += room[d]
				}
			}
			require.LessOrEqual(t, lost, free, "%v fail", failed)
			for d := range members {
				if left > 0 && !failed[d] {
					failed[d] = true
					fail(left-1, failed)
					delete(failed, d)
				}
			}
		}
		fail(spare, make(map[string]bool))
	})
}

// What goes with spare domains and what does not.
func TestSpareBadInput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: racks(2)})
		defer b.stop()
		ctx := context.Background()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.Instances: 3}}))
		good := berthage.CreateCluster{Token: "t", Project: "shop", Name: "web", Spec: sized("web", 1).Spec, Size: 2, Spare: 1}
		good.Spec.Labels = map[string]string{"app": "db"}
		own, labelled := pool.Affinity{}, pool.Affinity{Selector: pool.Selector{Labels: map[string]string{"app": "db"}}}
		for field, change := range map[string]func(*berthage.CreateCluster){
			"spare":                             func(c *berthage.CreateCluster) { c.Spare = -1 },
			"domain":                            func(c *berthage.CreateCluster) { c.Spare, c.Domain = 0, "rack" },
			"wait":                              func(c *berthage.CreateCluster) { c.Wait = true },
			"spec.constraints.affinity[0]":      func(c *berthage.CreateCluster) { c.Spec.Constraints.Affinity = []pool.Affinity{labelled} },
			"spec.constraints.anti_affinity[0]": func(c *berthage.CreateCluster) { c.Spec.Constraints.AntiAffinity = []pool.Affinity{own} },
			"spec.constraints.spread[0]":        func(c *berthage.CreateCluster) { c.Spec.Constraints.Spread = []pool.Spread{{MaxSkew: 1}} },
		} {
			bad := good
			change(&bad)
			_, err := b.m.CreateCluster(ctx, bad)
			require.ErrorIs(t, err, pool.ErrInvalid, field)
			var e *pool.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, field, e.Field)
		}
		bad := good
		bad.Size = 4
		_, err := b.m.CreateCluster(ctx, bad)
		require.ErrorIs(t, err, pool.ErrOverQuota)
		own.Soft = true
		good.Spec.Constraints.AntiAffinity = []pool.Affinity{own}
		r, err := b.m.Reserve(ctx, berthage.Reserve{Cluster: &good})
		require.NoError(t, err, "preferences are kept, and it can be reserved")
		require.Len(t, r.Instances, 2)
		survives(t, b.m, 1, "")
	})
}
