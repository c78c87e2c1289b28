package scheduler_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// As many fit as can be placed one after another, and no more; and what is said of the next one is true of it.
func TestHowManyAgainstPlacing(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 21))
		f, req := randomFleet(r), randomRequest(r)
		f.roomy(r, &req)
		var ids []pool.InstanceID
		for n := range f.others {
			ids = append(ids, f.others[n].id(n))
		}
		if r.IntN(2) == 0 {
			randomRules(r, &req, ids)
		}
		s := &scheduler.Scheduler{Strategy: scheduler.Strategy(r.IntN(3))}
		if r.IntN(4) == 0 {
			s.Filters = []scheduler.Filter{func(_ scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
				if h.Placed > 4 {
					return &scheduler.Reason{Detail: "enough"}
				}
				return nil
			}}
		}
		b := &books{t: t, state: f.books(t), n: 1000}
		room, err := s.HowMany(b.state, req)
		require.NoError(t, err)
		sum := int64(0)
		for _, h := range room.Hosts {
			sum += h.Fit
			require.NotEmpty(t, h.Reason.Constraint)
		}
		require.Equal(t, room.Fit, sum)
		require.Len(t, room.Hosts, len(f.hosts))

		_, err = s.Place(b.state, req)
		if room.Fit == 0 {
			var none *scheduler.Refusal
			require.ErrorAs(t, err, &none)
			require.Equal(t, none.Never, room.Never, "seed %d", seed)
			require.Equal(t, none.Counts, room.Counts)
			require.Equal(t, none.Nearest, room.Nearest)
			counts["none"]++
			continue
		}
		require.False(t, room.Never)
		require.Nil(t, room.Nearest)
		on := map[pool.HostID]int64{}
		for n := range room.Fit {
			d, err := s.Place(b.state, req)
			require.NoError(t, err, "seed %d: %d of %d", seed, n, room.Fit)
			b.fold(pool.KindLaunched, b.launched(pool.NewInstanceID("test", "p", fmt.Sprint("more", n)), req, d))
			on[d.Host]++
		}
		_, err = s.Place(b.state, req)
		var refusal *scheduler.Refusal
		require.ErrorAs(t, err, &refusal, "seed %d: more than %d", seed, room.Fit)
		for _, h := range room.Hosts {
			require.Equal(t, on[h.Host], h.Fit, "seed %d", seed)
		}
		require.Equal(t, refusal.Counts, room.Counts, "seed %d", seed)
		counts["some"]++
		if len(req.Spec.Constraints.AntiAffinity)+len(req.Spec.Constraints.Spread) > 0 {
			counts["rules"]++
		}
	}
	for _, what := range []string{"none", "some", "rules"} {
		require.Greater(t, counts[what], 50, what)
	}
}

func TestHowMany(t *testing.T) {
	t.Parallel()
	var s scheduler.Scheduler
	b := newBooks(t, host("a", 64, 256), host("b", 32, 16), host("c", 1, 256))
	room, err := s.HowMany(b.state, want(2, 4))
	require.NoError(t, err)
	require.Equal(t, int64(36), room.Fit)
	require.Equal(t, []int64{32, 4, 0}, []int64{room.Hosts[0].Fit, room.Hosts[1].Fit, room.Hosts[2].Fit})
	require.Equal(t, "memory: 4 GiB asked, 0 B free of 16 GiB: short of 4 GiB", room.Hosts[1].Reason.String())
	require.False(t, room.Hosts[1].Reason.Never)
	require.True(t, room.Hosts[2].Reason.Never)
	require.Equal(t, []scheduler.Count{{Constraint: scheduler.ByResource, Class: pool.CPU, Hosts: 2}, {Constraint: scheduler.ByResource, Class: pool.Memory, Hosts: 1}}, room.Counts)

	apart := want(2, 4)
	apart.Spec.Labels = map[string]string{"app": "db"}
	apart.Spec.Constraints.AntiAffinity = []pool.Affinity{{Selector: pool.Selector{Labels: apart.Spec.Labels}}}
	room, err = s.HowMany(b.state, apart)
	require.NoError(t, err)
	require.Equal(t, int64(2), room.Fit, "one per host that is large enough")

	huge := newBooks(t, func() pool.Host {
		h := host("region", 1, 1)
		h.Inventory[pool.CPU] = pool.Inventory{Total: math.MaxInt64}
		h.Inventory[pool.Memory] = pool.Inventory{Total: math.MaxInt64}
		return h
	}())
	tiny := want(0, 0)
	tiny.Spec.Resources = pool.Resources{pool.CPU: 1}
	room, err = s.HowMany(huge.state, tiny)
	require.NoError(t, err)
	require.Equal(t, int64(math.MaxInt64), room.Fit)

	_, err = s.HowMany(b.state, scheduler.Request{Image: image()})
	require.ErrorIs(t, err, pool.ErrInvalid)
}

func TestHowManyByFlavor(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 16, 64))
	b.fold(pool.KindFlavorPut, &pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB}})
	b.fold(pool.KindFlavorPut, &pool.Flavor{Name: "large", Resources: pool.Resources{pool.CPU: 8 * pool.Core, pool.Memory: 64 * pool.GiB}})
	b.fold(pool.KindFlavorPut, &pool.Flavor{Name: "huge", Resources: pool.Resources{pool.CPU: 80 * pool.Core}})
	var s scheduler.Scheduler
	rooms, err := s.HowManyByFlavor(b.state, scheduler.Request{Image: image()})
	require.NoError(t, err)
	var got []string
	for _, r := range rooms {
		got = append(got, fmt.Sprint(r.Flavor, " ", r.Fit, " ", r.Never))
	}
	require.Equal(t, []string{"huge 0 true", "large 1 false", "small 16 false"}, got)
	_, err = s.HowManyByFlavor(b.state, want(1, 1))
	require.ErrorIs(t, err, pool.ErrInvalid, "sizes of its own")
}
