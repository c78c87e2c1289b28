package berthage_test

import (
	"context"
	"encoding/json"
	"fmt"
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

func cores(n int64) pool.Resources { return pool.Resources{pool.CPU: n * pool.Core} }

// tenants starts a fleet of three hosts with a project "org" and "shop" and "lab" in it.
func tenants(t *testing.T, org, shop pool.Project) *bench {
	b := start(t, fake.Config{Hosts: hosts(3)})
	org.Name, shop.Name, shop.Parent = "org", "shop", "org"
	for _, p := range []pool.Project{org, shop, {Name: "lab", Parent: "org"}} {
		require.NoError(t, b.m.PutProject(t.Context(), p))
	}
	return b
}

func one(project, name string) berthage.Launch {
	return berthage.Launch{Token: name, Project: project, Name: name, Spec: spec()}
}

// exceeded requires that an error is of whose limits it names, and returns it.
func exceeded(t *testing.T, err error, project, owner string) *quota.Exceeded {
	t.Helper()
	var e *quota.Exceeded
	require.ErrorAs(t, err, &e)
	require.Equal(t, [2]string{project, owner}, [2]string{e.Project, e.Owner})
	require.ErrorIs(t, err, pool.ErrOverQuota)
	return e
}

// Whatever charges a project is refused when one that it lies in would be over its quota, and says whose it is and by how much.
func TestQuotasHoldAlongThePath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{Quota: cores(4)}, pool.Project{Quota: cores(3)})
		defer b.stop()
		for n, project := range []string{"shop", "shop", "lab"} {
			_, err := b.m.Launch(ctx, one(project, fmt.Sprint("vm-", n)))
			require.NoError(t, err)
		}
		for what, do := range map[string]func() error{
			"resize": func() error {
				i := b.find("vm-2")
				_, err := b.m.Resize(ctx, berthage.Resize{Instance: i, Resources: cores(3), Cold: true})
				return err
			},
			"cluster": func() error {
				_, err := b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "c", Project: "lab", Name: "c", Spec: spec(), Size: 2})
				return err
			},
			"cluster with spare": func() error {
				_, err := b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "d", Project: "lab", Name: "d", Spec: spec(), Size: 2, Spare: 1})
				return err
			},
			"reservation": func() error {
				l := one("lab", "held")
				l.Spec.Resources = pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: pool.GiB}
				_, err := b.m.Reserve(ctx, berthage.Reserve{Launch: &l})
				return err
			},
			"launch": func() error {
				l := one("lab", "big")
				l.Spec.Resources = pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: pool.GiB}
				_, err := b.m.Launch(ctx, l)
				return err
			},
		} {
			settle(t, b.m, b.find("vm-2"))
			err := do()
			e := exceeded(t, err, "org", "")
			require.Equal(t, "lab", e.Asked, what)
			free := int64(pool.Core)
			if strings.HasPrefix(what, "cluster") { // which the first member takes
				free = 0
			}
			require.Equal(t, free, e.Lines[0].Free, what)
			require.Contains(t, err.Error(), `project "org", in which "lab" lies, over quota: cpu: `, what)
		}
		_, err := b.m.Launch(ctx, one("shop", "vm-3"))
		require.NoError(t, err, "what is left")
		_, err = b.m.Launch(ctx, one("shop", "vm-4"))
		exceeded(t, err, "shop", "")
		_, err = b.m.Launch(ctx, one("lab", "vm-5"))
		text := exceeded(t, err, "org", "").Redacted().Error()
		require.Equal(t, `a project that "lab" lies in over quota: cpu`, text)
	})
}

func (b *bench) find(name string) (id pool.InstanceID) {
	b.m.View(func(st *pool.State) {
		for i := range st.Instances() {
			if i.Name == name {
				id = i.ID
			}
		}
	})
	require.NotEmpty(b.t, id, name)
	return id
}

// Scaling a cluster, and waking what was shelved, are asked of every quota on the way.
func TestScalingHoldsAlongThePath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{Quota: cores(3)}, pool.Project{})
		defer b.stop()
		c, err := b.m.CreateCluster(ctx, berthage.CreateCluster{Token: "c", Project: "shop", Name: "c", Spec: spec(), Size: 2})
		require.NoError(t, err)
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: c.ID, Size: 4})
		exceeded(t, err, "org", "")
		c, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: c.ID, Size: 4, BestEffort: true})
		require.NoError(t, err)
		require.Equal(t, 1, c.Op.Refused)
		require.Contains(t, c.Op.Reason, `a project that "shop" lies in over quota: cpu`)
		require.NotContains(t, c.Op.Reason, "org", "who sees the cluster need not see what it lies in")
		for n := range 3 {
			settle(t, b.m, b.find(fmt.Sprint("c-", n)))
		}

		i := b.find("c-0")
		_, err = b.m.SetPower(ctx, i, pool.Shelved)
		require.NoError(t, err)
		settle(t, b.m, i)
		_, err = b.m.Launch(ctx, one("lab", "in-its-place"))
		require.NoError(t, err)
		_, err = b.m.SetPower(ctx, i, pool.Running)
		exceeded(t, err, "org", "")
	})
}

// An owner's limits hold for what is launched for that owner in the project, and for nobody else.
func TestQuotasOfOwners(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{PerUser: cores(0)}, pool.Project{PerUser: cores(2), Users: map[string]pool.Resources{"u-9": cores(3)}})
		defer b.stop()
		as := func(owner string) *berthage.Manager { return b.m.For(owner).As("daemon", "request") }
		for n, owner := range []string{"u-1", "u-1", "u-9", "u-9", "u-9", "", ""} {
			i, err := as(owner).Launch(ctx, one("shop", fmt.Sprint("vm-", n)))
			require.NoError(t, err, "%d for %s", n, owner)
			require.Equal(t, owner, i.Owner)
		}
		_, err := as("u-1").Launch(ctx, one("shop", "more-1"))
		e := exceeded(t, err, "shop", "u-1")
		require.EqualError(t, err, `owner "u-1" in project "shop" over quota: cpu: 1 core asked, 0 cores free of 2 cores`)
		require.False(t, e.Never)
		_, err = as("u-9").Launch(ctx, one("shop", "more-9"))
		exceeded(t, err, "shop", "u-9")
		_, err = as("u-1").Launch(ctx, one("lab", "vm-lab"))
		require.NoError(t, err, "another project, and no limits there")
		_, err = as("u-1").Launch(ctx, one("org", "vm-org"))
		require.True(t, exceeded(t, err, "org", "u-1").Never)

		_, err = as("u-2").CreateCluster(ctx, berthage.CreateCluster{Token: "c", Project: "shop", Name: "c", Spec: spec(), Size: 3})
		exceeded(t, err, "shop", "u-2")
		c, err := as("u-2").CreateCluster(ctx, berthage.CreateCluster{Token: "d", Project: "shop", Name: "d", Spec: spec(), Size: 1})
		require.NoError(t, err)
		_, err = as("u-3").ScaleCluster(ctx, berthage.ScaleCluster{Cluster: c.ID, Size: 3})
		exceeded(t, err, "shop", "u-2")
		_, err = as("u-3").ScaleCluster(ctx, berthage.ScaleCluster{Cluster: c.ID, Size: 2})
		require.NoError(t, err)
		i, err := b.m.Instance(b.find("d-1"))
		require.NoError(t, err)
		require.Equal(t, "u-2", i.Owner, "the cluster's, whoever scales it")
		l := one("shop", "held")
		_, err = as("u-2").Reserve(ctx, berthage.Reserve{Launch: &l})
		exceeded(t, err, "shop", "u-2")

		_, err = as("u-3").Launch(ctx, one("shop", "vm-0"))
		require.ErrorIs(t, err, pool.ErrExists, "another's token")
		again, err := as("u-1").Launch(ctx, one("shop", "vm-0"))
		require.NoError(t, err)
		require.Equal(t, b.find("vm-0"), again.ID)
		_, err = as("u-3").CreateCluster(ctx, berthage.CreateCluster{Token: "d", Project: "shop", Name: "d", Spec: spec(), Size: 1})
		require.ErrorIs(t, err, pool.ErrExists)
		_, err = as("line\nbreak").Launch(ctx, one("shop", "vm-x"))
		require.ErrorIs(t, err, pool.ErrInvalid)
	})
}

// Nothing that is read from a request says whose an instance is.
func TestOwnerIsNotInRequests(t *testing.T) {
	t.Parallel()
	for _, request := range []any{new(berthage.Launch), new(berthage.CreateCluster), new(berthage.ScaleCluster), new(berthage.Reserve), new(pool.Spec)} {
		b, err := json.Marshal(request)
		require.NoError(t, err)
		require.NotContains(t, strings.ToLower(string(b)), "owner")
		d := json.NewDecoder(strings.NewReader(`{"owner":"u-1"}`))
		d.DisallowUnknownFields()
		require.Error(t, d.Decode(request))
	}
}

// Those who wait for the quota of a project that theirs lies in are placed when another part of it gives something back, when
// their owner does, and when limits are raised or projects moved.
func TestWaitForQuotaAbove(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		org, shop pool.Project
		free      func(ctx context.Context, b *bench) error
	}{
		"a sibling gives back": {pool.Project{Quota: cores(1)}, pool.Project{}, func(ctx context.Context, b *bench) error {
			_, err := b.m.Delete(ctx, b.find("first"))
			return err
		}},
		"the limit is raised": {pool.Project{Quota: cores(1)}, pool.Project{}, func(ctx context.Context, b *bench) error {
			return b.m.PutProject(ctx, pool.Project{Name: "org", Quota: cores(2)})
		}},
		"the project goes": {pool.Project{Quota: cores(1)}, pool.Project{}, func(ctx context.Context, b *bench) error {
			return b.m.PutProject(ctx, pool.Project{Name: "shop"})
		}},
		"the sibling goes": {pool.Project{Quota: cores(1)}, pool.Project{}, func(ctx context.Context, b *bench) error {
			return b.m.PutProject(ctx, pool.Project{Name: "lab"})
		}},
		"the owner gives back": {pool.Project{}, pool.Project{PerUser: cores(1)}, func(ctx context.Context, b *bench) error {
			_, err := b.m.Delete(ctx, b.find("first"))
			return err
		}},
		"the owner's limit is raised": {pool.Project{}, pool.Project{PerUser: cores(1)}, func(ctx context.Context, b *bench) error {
			return b.m.PutProject(ctx, pool.Project{Name: "shop", Parent: "org", PerUser: cores(1), Users: map[string]pool.Resources{"u-1": cores(2)}})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				b := tenants(t, c.org, c.shop)
				defer b.stop()
				first := "lab"
				if c.shop.PerUser != nil {
					first = "shop"
				}
				i, err := b.m.For("u-1").Launch(ctx, one(first, "first"))
				require.NoError(t, err)
				settle(t, b.m, i.ID)
				l := one("shop", "waits")
				l.Wait = true
				w, err := b.m.For("u-1").Launch(ctx, l)
				require.NoError(t, err)
				require.Equal(t, "waiting", w.Status())
				require.NotContains(t, w.Reason, "org")
				require.Contains(t, w.Reason, "over quota")
				time.Sleep(time.Minute) // at rest, so that nothing else has the queue looked at
				require.NoError(t, c.free(ctx, b))
				if !strings.HasSuffix(name, "gives back") { // which takes its time
					time.Sleep(time.Second)
					require.NotEqual(t, pool.Waiting, b.phase(w.ID))
				}
				w = settle(t, b.m, w.ID)
				require.Equal(t, "running", w.Status(), w.Reason)
			})
		})
	}
}

// What can never be is not waited for, whichever limit on the way it is; and the number of instances bounds the queue on the whole path.
func TestWhoMayWaitAlongThePath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		limits := cores(3)
		limits[pool.Instances] = 3
		b := tenants(t, pool.Project{Quota: limits}, pool.Project{Quota: cores(6), PerUser: pool.Resources{pool.Instances: 2}})
		defer b.stop()
		wait := func(owner string, l berthage.Launch, cores int64) error {
			l.Wait, l.Spec.Resources = true, pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: pool.GiB}
			_, err := b.m.For(owner).Launch(ctx, l)
			return err
		}
		require.NoError(t, wait("u-1", one("lab", "a"), 3))
		err := wait("u-1", one("shop", "b"), 4)
		require.True(t, exceeded(t, err, "org", "").Never)
		require.NoError(t, wait("u-1", one("shop", "c"), 1))
		require.NoError(t, wait("u-1", one("shop", "d"), 1))
		err = wait("u-2", one("shop", "e"), 1)
		require.Equal(t, "shop", exceeded(t, err, "org", "").Asked, "three there with those that wait")
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "org", Quota: cores(3)}))
		exceeded(t, wait("u-1", one("shop", "f"), 1), "shop", "u-1")
		require.NoError(t, wait("u-2", one("shop", "g"), 1))
	})
}

// A project comes to lie in another one only if what it brings is within the limits there.
func TestMovingAProject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{Quota: cores(2)}, pool.Project{})
		defer b.stop()
		put := func(name, parent string, limits pool.Resources) error {
			return b.m.PutProject(ctx, pool.Project{Name: name, Parent: parent, Quota: limits})
		}
		require.NoError(t, put("free", "", nil))
		for n := range 2 {
			_, err := b.m.Launch(ctx, one("free", fmt.Sprint("vm-", n)))
			require.NoError(t, err)
		}
		_, err := b.m.Launch(ctx, one("shop", "vm"))
		require.NoError(t, err)
		require.Equal(t, "free", exceeded(t, put("free", "shop", nil), "org", "").Asked, "so that it can be redacted")
		require.NoError(t, put("org", "", cores(3)))
		require.NoError(t, put("free", "shop", nil))
		require.NoError(t, put("org", "", cores(1)), "lowered below what is used")
		require.NoError(t, put("free", "lab", nil), "within org, where it was already")
		require.ErrorIs(t, put("org", "lab", nil), pool.ErrInvalid)
		require.ErrorIs(t, put("x", "nowhere", nil), pool.ErrNotFound)
		require.ErrorIs(t, b.m.RemoveProject(ctx, "lab"), pool.ErrInUse)
		b.m.View(func(st *pool.State) {
			org, _ := st.Project("org")
			require.EqualValues(t, 3*pool.Core, org.Total()[pool.CPU])
			require.Zero(t, org.Used[pool.CPU])
		})
		before := b.m.Status().Revision
		require.NoError(t, put("free", "lab", nil))
		require.Equal(t, before, b.m.Status().Revision, "nothing new")
	})
}

// A request to raise a quota is asked, decided and carried out in the ledger, by whom the Manager says; the decision and the new
// limits are one batch.
func TestQuotaRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{}, pool.Project{Quota: cores(1)})
		_, err := b.m.Launch(ctx, one("shop", "first"))
		require.NoError(t, err)
		l := one("shop", "second")
		l.Wait = true
		w, err := b.m.Launch(ctx, l)
		require.NoError(t, err)
		asked, err := b.m.As("u-1", "").AskQuota(ctx, quota.Ask{Project: "shop", ID: "r1", Quota: cores(3), Reason: "a sale"})
		require.NoError(t, err)
		require.Equal(t, [2]string{"open", "u-1"}, [2]string{string(asked.Status), asked.By})
		_, err = b.m.As("u-1", "").AskQuota(ctx, quota.Ask{Project: "nowhere", ID: "r1", Quota: cores(3), Reason: "a sale"})
		require.ErrorIs(t, err, pool.ErrNotFound)
		head := b.m.Status().Revision
		given, err := b.m.As("boss", "").DecideQuota(ctx, quota.Decision{Project: "shop", ID: "r1", Status: quota.Granted, Quota: cores(2)})
		require.NoError(t, err)
		require.Equal(t, "boss", given.DecidedBy)
		var kinds []string
		for batch, err := range b.ledger.Read(ctx, head) {
			require.NoError(t, err)
			for _, e := range batch.Events {
				if e.Actor == "boss" {
					require.Equal(t, head+1, batch.Revision)
					kinds = append(kinds, e.Kind)
				}
			}
		}
		require.Equal(t, []string{quota.KindDecided, pool.KindProjectPut}, kinds)
		require.Equal(t, "running", settle(t, b.m, w.ID).Status(), "the quota allows it now")
		b.stop()
		again := open(t, b.fleet, b.ledger)
		defer again.Close()
		require.Equal(t, []quota.Request{given}, again.QuotaRequests("shop"))
		require.Empty(t, again.QuotaRequests("lab"))
		again.View(func(st *pool.State) {
			p, _ := st.Project("shop")
			require.Equal(t, cores(2), p.Quota)
			require.Equal(t, "org", p.Parent)
		})
	})
}

// What was used is told from the ledger, from a checkpoint on and from before it, of what is gone too.
func TestUsage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{}, pool.Project{})
		defer b.stop()
		began := time.Now()
		i, err := b.m.For("u-1").Launch(ctx, one("shop", "first"))
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		time.Sleep(time.Hour)
		middle := time.Now()
		_, err = b.m.Compact(ctx)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		_, err = b.m.Delete(ctx, i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		time.Sleep(time.Hour)

		cores := func(u *showback.Usage) string {
			for _, l := range u.Lines() {
				if l.Class == pool.CPU {
					require.Equal(t, showback.Key{Project: "shop", Owner: "u-1", Driver: "sim", Class: pool.CPU}, l.Key)
					return l.Held.String()
				}
			}
			return ""
		}
		all, err := b.m.Usage(ctx, time.Time{}, time.Time{})
		require.NoError(t, err)
		first, err := b.m.Usage(ctx, began, middle)
		require.NoError(t, err)
		second, err := b.m.Usage(ctx, middle, time.Now())
		require.NoError(t, err)
		joined, err := first.Join(second)
		require.NoError(t, err)
		require.Equal(t, cores(all), cores(joined))
		require.Regexp(t, `^360000[0-9](\.[0-9]+)?$`, cores(first), "an hour of one core")
		require.Regexp(t, `^360000[0-9](\.[0-9]+)?$`, cores(second), "and one more")
		none, err := b.m.Usage(ctx, time.Now().Add(-time.Minute), time.Time{})
		require.NoError(t, err)
		require.Empty(t, none.Lines())
		_, err = b.m.Usage(ctx, middle, began)
		require.ErrorIs(t, err, pool.ErrInvalid)
	})
}

// Whose an instance is goes along when the command is handed to the leader.
func TestOwnerIsForwarded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{}, pool.Project{PerUser: cores(1)})
		defer b.stop()
		body, err := json.Marshal(map[string]any{
			"command": map[string]any{"launch": one("shop", "first")},
			"caller":  map[string]any{"actor": "daemon", "owner": "u-1"},
		})
		require.NoError(t, err)
		_, err = b.m.Accept(ctx, body)
		require.NoError(t, err)
		i, err := b.m.Instance(b.find("first"))
		require.NoError(t, err)
		require.Equal(t, "u-1", i.Owner)
		_, err = b.m.For("u-1").Launch(ctx, one("shop", "second"))
		exceeded(t, err, "shop", "u-1")
	})
}

// Those who wait for a quota above go on although the first in the queue, for whom a host's room is kept, does not.
func TestWaitForQuotaAboveBehindTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		b := tenants(t, pool.Project{Quota: cores(3)}, pool.Project{})
		defer b.stop()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "other"}))
		for n, h := range hosts(3) {
			l := one("lab", fmt.Sprint("on-", n))
			l.Spec.Constraints.Hosts = []pool.HostID{h.ID}
			i, err := b.m.Launch(ctx, l)
			require.NoError(t, err)
			settle(t, b.m, i.ID)
		}
		huge := one("other", "huge")
		huge.Wait, huge.Spec.Resources = true, pool.Resources{pool.CPU: 8 * pool.Core, pool.Memory: pool.GiB}
		h, err := b.m.Launch(ctx, huge)
		require.NoError(t, err)
		l := one("shop", "waits")
		l.Wait = true
		w, err := b.m.Launch(ctx, l)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, [2]pool.Phase{pool.Waiting, pool.Waiting}, [2]pool.Phase{b.phase(h.ID), b.phase(w.ID)})
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "org", Quota: cores(4)}))
		time.Sleep(time.Second)
		require.Equal(t, pool.Waiting, b.phase(h.ID))
		require.NotEqual(t, pool.Waiting, b.phase(w.ID))
	})
}
