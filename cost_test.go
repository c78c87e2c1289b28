package berthage_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/quota/showback"
)

// perCore are prices of so many millionths a core and hour.
func perCore(n int64) showback.Prices {
	return showback.Prices{Currency: "EUR", Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: n}}}
}

func costing(n int64) pool.Resources { return pool.Resources{pool.Cost: n} }

// Whatever comes to cost something is refused when its project, or one that that lies in, would cost more than it may, with the limit, what is used
// and what was asked for.
func TestCostLimitsHoldAlongThePath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{Quota: costing(40_000)}, pool.Project{Quota: costing(30_000)})
		defer b.stop()
		require.NoError(t, b.m.PutFlavor(ctx, pool.Flavor{Name: "dear", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 2 * pool.GiB}}))
		prices := perCore(10_000)
		prices.Flavors = map[string]int64{"dear": 25_000}
		require.NoError(t, b.m.SetPrices(ctx, prices))
		for n, project := range []string{"shop", "shop", "lab"} {
			_, err := b.m.Launch(ctx, one(project, fmt.Sprint("vm-", n)))
			require.NoError(t, err)
		}
		two := one("lab", "two")
		two.Spec.Resources = pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: pool.GiB}
		dear := one("lab", "dear")
		dear.Spec.Flavor, dear.Spec.Resources = "dear", nil
		for what, c := range map[string]struct {
			asked, free int64
			do          func() error
		}{
			"launch": {20_000, 10_000, func() error { _, err := b.m.Launch(ctx, two); return err }},
			"flavor": {25_000, 10_000, func() error { _, err := b.m.Launch(ctx, dear); return err }},
			"resize": {20_000, 10_000, func() error {
				_, err := b.m.Resize(ctx, berthage.Resize{Instance: b.find("vm-2"), Resources: cores(3), Cold: true})
				return err
			}},
			"resize to a flavor": {15_000, 10_000, func() error {
				_, err := b.m.Resize(ctx, berthage.Resize{Instance: b.find("vm-2"), Flavor: "dear", Cold: true})
				return err
			}},
			"cluster": {10_000, 0, func() error {
				_, err := b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "c", Project: "lab", Name: "c", Spec: spec(), Size: 2})
				return err
			}},
			"cluster with spare": {10_000, 0, func() error {
				_, err := b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "d", Project: "lab", Name: "d", Spec: spec(), Size: 2, Spare: 1})
				return err
			}},
			"reservation": {20_000, 10_000, func() error { _, err := b.m.Reserve(ctx, berthage.Reserve{Launch: &two}); return err }},
		} {
			settle(t, b.m, b.find("vm-2"))
			before := b.m.Status().Revision
			err := c.do()
			e := exceeded(t, err, "org", "")
			require.Equal(t, "lab", e.Asked, what)
			require.Equal(t, []quota.Line{{Class: pool.Cost, Limited: true, Limit: 40_000, Used: 40_000 - c.free, Free: c.free, Asked: c.asked}}, e.Lines, what)
			require.Equal(t, before, b.m.Status().Revision, what)
		}
		_, err := b.m.Launch(ctx, two)
		require.EqualError(t, err, `project "org", in which "lab" lies, over quota: cost: 0.02 an hour asked, 0.01 an hour free of 0.04 an hour`)
		require.Equal(t, `a project that "lab" lies in over quota: cost`, exceeded(t, err, "org", "").Redacted().Error())
		_, err = b.m.Launch(ctx, one("shop", "vm-3"))
		require.NoError(t, err, "what is left")
		_, err = b.m.Launch(ctx, one("shop", "vm-4"))
		exceeded(t, err, "shop", "")

		// What is shelved costs nothing, and is woken if there is something left.
		i := b.find("vm-2")
		_, err = b.m.SetPower(ctx, i, pool.Shelved)
		require.NoError(t, err)
		settle(t, b.m, i)
		c, err := b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "e", Project: "lab", Name: "e", Spec: spec(), Size: 3, BestEffort: true})
		require.NoError(t, err)
		require.Equal(t, 2, c.Op.Refused)
		_, err = b.m.SetPower(ctx, i, pool.Running)
		exceeded(t, err, "org", "")
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: c.ID, Size: 2})
		exceeded(t, err, "org", "")
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "small", Quota: costing(29_999)}))
		exceeded(t, b.m.PutProject(ctx, pool.Project{Name: "shop", Parent: "small"}), "small", "")
		_, err = b.m.Delete(ctx, b.find("vm-3"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = b.m.SetPower(ctx, i, pool.Running)
		require.NoError(t, err)
	})
}

// An owner's limit of cost holds for what is his; without a price nothing costs anything; a request raises such a limit as any other.
func TestCostLimitsOfOwners(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{}, pool.Project{PerUser: costing(20_000)})
		defer b.stop()
		u, other := b.m.For("u-1"), b.m.For("u-2")
		for n := range 3 {
			_, err := u.Launch(ctx, one("shop", fmt.Sprint("free-", n)))
			require.NoError(t, err, "there are no prices")
		}
		require.NoError(t, b.m.SetPrices(ctx, perCore(10_000)))
		_, err := u.Launch(ctx, one("shop", "more"))
		e := exceeded(t, err, "shop", "u-1")
		require.EqualValues(t, -10_000, e.Lines[0].Free, "what is there is taken from nobody")
		_, err = other.Launch(ctx, one("shop", "others"))
		require.NoError(t, err)

		_, err = b.m.AskQuota(ctx, quota.Ask{Project: "shop", ID: "r", Owner: "u-1", Quota: costing(40_000), Reason: "more to do"})
		require.NoError(t, err)
		_, err = b.m.DecideQuota(ctx, quota.Decision{Project: "shop", ID: "r", Status: quota.Granted})
		require.NoError(t, err)
		_, err = u.Launch(ctx, one("shop", "more"))
		require.NoError(t, err)
		b.m.View(func(st *pool.State) {
			require.EqualValues(t, 40_000, st.OwnerUsed("shop", "u-1")[pool.Cost])
			org, _ := st.Project("org")
			require.EqualValues(t, 50_000, org.Total()[pool.Cost])
		})
	})
}

// Prices stand in the ledger: whoever opens it has them, the same again is nothing new, and what they make of the books is there after a restart.
func TestSetPrices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{Quota: costing(20_000)}, pool.Project{})
		defer b.stop()
		require.True(t, b.m.Prices().Equal(showback.Prices{}))
		i, err := b.m.Launch(ctx, one("shop", "vm"))
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		require.NoError(t, b.m.As("boss", "by hand").SetPrices(ctx, perCore(15_000)))
		at := b.m.Status().Revision
		require.NoError(t, b.m.SetPrices(ctx, perCore(15_000)))
		require.Equal(t, at, b.m.Status().Revision)
		require.ErrorIs(t, b.m.SetPrices(ctx, perCore(-1)), pool.ErrInvalid)
		overflow := perCore(1 << 62)
		overflow.Classes[pool.Instances] = 1 << 62
		_, err = b.m.Launch(ctx, one("lab", "free"))
		exceeded(t, err, "org", "")
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "org"}))
		_, err = b.m.Launch(ctx, one("lab", "vm-2"))
		require.NoError(t, err)
		require.ErrorIs(t, b.m.SetPrices(ctx, overflow), pool.ErrOverflow, "of two in one project")
		require.True(t, b.m.Prices().Equal(perCore(15_000)))

		used := func(m *berthage.Manager) (n int64) {
			m.View(func(st *pool.State) {
				p, _ := st.Project("org")
				n = p.Total()[pool.Cost]
			})
			return n
		}
		require.EqualValues(t, 30_000, used(b.m))
		again := open(t, b.fleet, b.ledger)
		require.True(t, again.Prices().Equal(perCore(15_000)))
		require.EqualValues(t, 30_000, used(again))
		again.Close()
	})
}

// Who waits because it would cost too much is placed when its own price falls, and when others give something back.
func TestWaitForPrices(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(ctx context.Context, b *bench, prices showback.Prices) error{
		"its price falls": func(ctx context.Context, b *bench, prices showback.Prices) error {
			prices.Flavors = map[string]int64{"dear": 4_000}
			return b.m.SetPrices(ctx, prices)
		},
		"that of others falls": func(ctx context.Context, b *bench, prices showback.Prices) error {
			prices.Classes = map[pool.Class]int64{pool.CPU: 4_000}
			return b.m.SetPrices(ctx, prices)
		},
		"another goes": func(ctx context.Context, b *bench, _ showback.Prices) error {
			_, err := b.m.Delete(ctx, b.find("first"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				b := tenants(t, pool.Project{Quota: costing(10_000)}, pool.Project{})
				defer b.stop()
				require.NoError(t, b.m.PutFlavor(ctx, pool.Flavor{Name: "dear", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB}}))
				prices := perCore(6_000)
				prices.Flavors = map[string]int64{"dear": 10_001}
				require.NoError(t, b.m.SetPrices(ctx, prices))
				l := one("shop", "waits")
				l.Wait, l.Spec.Flavor, l.Spec.Resources = true, "dear", nil
				_, err := b.m.Launch(ctx, l)
				require.True(t, exceeded(t, err, "org", "").Never, "it would for ever")
				prices.Flavors = map[string]int64{"dear": 6_000}
				require.NoError(t, b.m.SetPrices(ctx, prices))
				_, err = b.m.Launch(ctx, one("lab", "first"))
				require.NoError(t, err)
				w, err := b.m.Launch(ctx, l)
				require.NoError(t, err)
				require.Equal(t, "waiting", w.Status())
				require.Equal(t, `a project that "shop" lies in over quota: cost`, w.Reason)
				time.Sleep(time.Minute) // at rest, so that nothing else has the queue looked at
				require.Equal(t, pool.Waiting, b.phase(w.ID))
				require.NoError(t, free(ctx, b, prices))
				time.Sleep(10 * time.Second)
				require.NotEqual(t, pool.Waiting, b.phase(w.ID))
			})
		})
	}
}

// Hosts of a driver with other prices cost what those say: what is placed there is refused where that is too much.
func TestCostOfDrivers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{Quota: costing(15_000)}, pool.Project{})
		defer b.stop()
		prices := perCore(1)
		prices.Drivers = map[string]showback.Rates{"sim": {Classes: map[pool.Class]int64{pool.CPU: 10_000}}}
		require.NoError(t, b.m.SetPrices(ctx, prices))
		_, err := b.m.Launch(ctx, one("shop", "a"))
		require.NoError(t, err)
		_, err = b.m.Launch(ctx, one("shop", "b"))
		require.EqualValues(t, 10_000, exceeded(t, err, "org", "").Lines[0].Asked)
	})
}

// Whatever is asked for in whatever order, nothing comes to cost more than it may, and what the books say that something costs is the sum of what
// its instances do, reckoned one by one.
func TestCostsNeverExceedLimits(t *testing.T) {
	t.Parallel()
	refused, allowed := make(map[string]int), make(map[string]int)
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 8))
			b := start(t, fake.Config{Hosts: hosts(6)})
			defer b.stop()
			d := dice{b, r, t.Context()}
			flavors := map[string]int64{"s": 1, "m": 2}
			for f, n := range flavors {
				require.NoError(t, b.m.PutFlavor(d.ctx, pool.Flavor{Name: f, Resources: pool.Resources{pool.CPU: n * pool.Core, pool.Memory: n * pool.GiB}}))
			}
			for _, name := range []string{"org", "a", "b"} {
				p := pool.Project{Name: name, Quota: costing(20_000 + r.Int64N(100_000))}
				if name != "org" {
					p.Parent, p.PerUser = "org", costing(20_000+r.Int64N(60_000))
				}
				require.NoError(t, b.m.PutProject(d.ctx, p))
			}
			before := b.costs()
			for range 120 {
				what, err := d.throw()
				after := b.costs()
				if err == nil {
					allowed[what]++
				} else {
					require.True(t, errors.Is(err, pool.ErrOverQuota) || errors.Is(err, pool.ErrNoRoom) || errors.Is(err, pool.ErrWrongState) ||
						errors.Is(err, pool.ErrInvalid) || errors.Is(err, pool.ErrInUse) || errors.Is(err, pool.ErrNotFound), "%s: %v", what, err)
					if errors.Is(err, pool.ErrOverQuota) {
						refused[what]++
					}
				}
				if what != "prices" {
					b.withinLimits(what, before, after)
				}
				before = after
				if r.IntN(3) == 0 {
					time.Sleep(time.Duration(r.IntN(20)) * time.Second)
					now := b.costs()
					b.withinLimits("what goes on by itself", before, now)
					before = now
				}
			}
		})
	}
	for _, what := range []string{"launch", "cluster", "scale", "resize", "wake", "move a project"} {
		require.Positive(t, refused[what], "%s is refused now and then: %v", what, refused)
		require.Positive(t, allowed[what], "%s is allowed now and then: %v", what, allowed)
	}
}

// dice throws what somebody might ask for.
type dice struct {
	*bench
	r   *rand.Rand
	ctx context.Context
}

func (d *dice) instance(of func(*pool.Instance) bool) (id pool.InstanceID) {
	d.m.View(func(st *pool.State) {
		var all []pool.InstanceID
		for _, i := range st.SortedInstances() {
			if of(i) {
				all = append(all, i.ID)
			}
		}
		if len(all) > 0 {
			id = all[d.r.IntN(len(all))]
		}
	})
	return id
}

func (d *dice) throw() (string, error) {
	r := d.r
	token := fmt.Sprint("t-", r.Uint32())
	project, as := []string{"org", "a", "b"}[r.IntN(3)], d.m.For([]string{"", "u-1", "u-2"}[r.IntN(3)])
	s := pool.Spec{Image: "debian-12", Flavor: []string{"s", "m"}[r.IntN(2)]}
	if r.IntN(2) == 0 {
		s = spec()
	}
	settled := d.instance(func(i *pool.Instance) bool { return i.Settled() && i.Phase == pool.Active })
	switch r.IntN(11) {
	case 0, 1, 2:
		_, err := as.Launch(d.ctx, berthage.Launch{Token: token, Project: project, Name: "vm", Spec: s, Wait: r.IntN(4) == 0})
		return "launch", err
	case 3:
		_, err := as.CreateCluster(d.ctx, berthage.CreateCluster{Token: token, Project: project, Name: token, Spec: s, Size: 1 + r.IntN(4), BestEffort: r.IntN(2) == 0})
		return "cluster", err
	case 4:
		var id pool.ClusterID
		d.m.View(func(st *pool.State) {
			for c := range st.Clusters() {
				if c.Want != pool.Absent && (id == "" || c.ID < id) {
					id = c.ID
				}
			}
		})
		_, err := d.m.ScaleCluster(d.ctx, berthage.ScaleCluster{Cluster: id, Size: r.IntN(6)})
		return "scale", err
	case 5, 6:
		c := berthage.Resize{Instance: settled, Cold: true, Flavor: []string{"s", "m"}[r.IntN(2)]}
		if r.IntN(2) == 0 {
			c.Flavor, c.Resources = "", cores(1+r.Int64N(4))
		}
		_, err := d.m.Resize(d.ctx, c)
		return "resize", err
	case 7:
		if id := d.instance(func(i *pool.Instance) bool { return i.Phase == pool.Aside }); id != "" {
			_, err := d.m.SetPower(d.ctx, id, pool.Running)
			return "wake", err
		}
		_, err := d.m.SetPower(d.ctx, settled, pool.Shelved)
		return "shelve", err
	case 8:
		_, err := d.m.Delete(d.ctx, settled)
		return "delete", err
	case 9:
		p := perCore(2_000 + r.Int64N(12_000))
		if r.IntN(2) == 0 {
			p.Flavors = map[string]int64{"m": 5_000 + r.Int64N(20_000)}
		}
		return "prices", d.m.SetPrices(d.ctx, p)
	}
	var p pool.Project
	d.m.View(func(st *pool.State) {
		q, _ := st.Project([]string{"a", "b"}[r.IntN(2)])
		p = q.Project.Clone()
	})
	p.Parent = []string{"", "org", "a", "b"}[r.IntN(4)]
	return "move a project", d.m.PutProject(d.ctx, p)
}

// costs returns what projects with all below them, and "project/owner", cost, reckoned instance by instance, and requires that the books say so.
func (b *bench) costs() map[string]int64 {
	b.t.Helper()
	prices, sums := b.m.Prices(), make(map[string]int64)
	cost := func(flavor string, cores int64) int64 {
		if n, ok := prices.Flavors[flavor]; ok {
			return n
		}
		return (prices.Classes[pool.CPU]*cores + 500) / 1000
	}
	b.m.View(func(st *pool.State) {
		for i := range st.Instances() {
			if !i.Placed() {
				continue
			}
			n := cost(i.Spec.Flavor, i.Place.Allocation.Resources[pool.CPU])
			if i.Resize != nil {
				n = max(n, cost(i.Resize.Sizes.Flavor, i.Place.Allocation.Resources[pool.CPU]))
			}
			for p := range st.Above(i.Project) {
				sums[p.Name] += n
			}
			if i.Owner != "" {
				sums[i.Project+"/"+i.Owner] += n
			}
		}
		for p := range st.Projects() {
			require.Equal(b.t, sums[p.Name], p.Total()[pool.Cost], p.Name)
			for owner, used := range st.Owners(p.Name) {
				require.Equal(b.t, sums[p.Name+"/"+owner], used[pool.Cost], "%s in %s", owner, p.Name)
			}
		}
	})
	return sums
}

// withinLimits requires that nothing costs more than before and more than it may.
func (b *bench) withinLimits(what string, before, after map[string]int64) {
	b.t.Helper()
	b.m.View(func(st *pool.State) {
		for of, n := range after {
			project, owner, _ := strings.Cut(of, "/")
			p, _ := st.Project(project)
			limits := p.Quota
			if owner != "" {
				limits = p.LimitsOf(owner)
			}
			if limit, ok := limits[pool.Cost]; ok && n > limit {
				require.LessOrEqual(b.t, n, before[of], "%s: %s may cost %d", what, of, limit)
			}
		}
	})
}
