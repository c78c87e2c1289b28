package berthage_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// sized is a launch of that many cores, its name being its token.
func sized(name string, cores int64) berthage.Launch {
	s := spec()
	s.Resources = pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: 2 * cores * pool.GiB}
	return berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s}
}

// reserve reserves one instance of that many cores.
func (b *bench) reserve(name string, cores int64, length time.Duration) berthage.Reservation {
	b.t.Helper()
	l := sized(name, cores)
	r, err := b.m.Reserve(context.Background(), berthage.Reserve{Launch: &l, For: length})
	require.NoError(b.t, err)
	return r
}

// free is what the pool has free of a class.
func (b *bench) free(class pool.Class) (n int64) {
	b.m.View(func(st *pool.State) { n = st.Total(class).Free })
	return n
}

// What is reserved takes room and quota and has no machine; committed it is built exactly there, once.
func TestReserveAndCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		ctx := context.Background()
		require.NoError(t, b.m.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.CPU: 14 * pool.Core}}))
		r := b.reserve("web", 6, 0)
		require.Equal(t, berthage.HeldReservation, r.Status)
		require.Len(t, r.Instances, 1)
		i := r.Instances[0]
		require.Equal(t, "reserved", i.Status())
		require.WithinDuration(t, time.Now().Add(15*time.Minute), r.Until, time.Second)
		sound(t, b.m, b.fleet)
		require.Equal(t, 10*pool.Core, b.free(pool.CPU))
		more, err := b.m.HowMany(sized("x", 4))
		require.NoError(t, err)
		require.EqualValues(t, 2, more.Fit)
		_, err = b.m.Launch(ctx, sized("over", 9))
		var over *quota.Exceeded
		require.ErrorAs(t, err, &over, "it counts for the project")

		// Repeated it is the same; it is no launch, and no launch is it.
		again := b.reserve("web", 6, time.Hour)
		require.Equal(t, r, again)
		_, err = b.m.Launch(ctx, sized("web", 6))
		require.ErrorIs(t, err, pool.ErrExists)
		other := sized("web", 5)
		_, err = b.m.Reserve(ctx, berthage.Reserve{Launch: &other})
		require.ErrorIs(t, err, pool.ErrExists)

		big, err := b.m.Launch(ctx, sized("big", 8))
		require.NoError(t, err)
		require.NotEqual(t, i.Place.Host, big.Place.Host)
		settle(t, b.m, big.ID)
		_, err = b.m.Cordon(ctx, i.Place.Host, "no new ones")
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))
		require.Equal(t, []berthage.Reservation{r}, b.m.Reservations())

		for range 2 {
			got, err := b.m.Commit(ctx, r.ID)
			require.NoError(t, err)
			require.Equal(t, berthage.CommittedReservation, got.Status)
			require.Equal(t, i.Place.Host, got.Instances[0].Place.Host)
			now := settle(t, b.m, i.ID)
			require.Equal(t, pool.Running, now.Is)
			require.Equal(t, i.Place.Number, now.Place.Number)
			require.True(t, now.Until.IsZero())
		}
		require.Equal(t, map[pool.Power]int{pool.Running: 2}, machines(b.fleet))
		require.Empty(t, b.m.Reservations())
		_, err = b.m.Release(ctx, r.ID)
		require.ErrorIs(t, err, pool.ErrCommitted)
		require.Equal(t, berthage.CommittedReservation, b.reserve("web", 6, 0).Status)
		time.Sleep(time.Minute) // until its addresses have been observed
		at := head(b.m)
		time.Sleep(time.Hour)
		for batch := range b.ledger.Read(ctx, at) {
			require.Empty(t, batch.Events, "its end is forgotten")
		}
		b.delete(i.ID)
		got, err := b.m.Commit(ctx, r.ID)
		require.NoError(t, err, "it was committed")
		require.Equal(t, berthage.CommittedReservation, got.Status)
		sound(t, b.m, b.fleet)
	})
}

// A reservation ends by itself, by one event, and who waits has its room then.
func TestReservationExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		ctx := context.Background()
		r := b.reserve("web", 8, time.Hour)
		waits := b.wait("shop", "waits", 8, 9) // of a priority that would take anybody's room
		time.Sleep(time.Hour - time.Minute)
		require.Equal(t, pool.Waiting, b.phase(waits.ID))
		before := head(b.m)
		time.Sleep(time.Until(r.Until))
		_, err := b.m.Commit(ctx, r.ID)
		require.ErrorIs(t, err, pool.ErrExpired, "at the moment of its end, too")
		time.Sleep(100 * time.Millisecond)
		require.Equal(t, pool.Running, settle(t, b.m, waits.ID).Is)

		got, err := b.m.Reservation(r.ID)
		require.NoError(t, err)
		require.Equal(t, berthage.Reservation{ID: r.ID, Status: berthage.ExpiredReservation}, got)
		i, err := b.m.Instance(r.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Deleted, i.Phase)
		for range 2 {
			_, err = b.m.Commit(ctx, r.ID)
			require.ErrorIs(t, err, pool.ErrExpired)
			_, err = b.m.Release(ctx, r.ID)
			require.NoError(t, err, "it is gone, as was wanted")
			l := sized("web", 8)
			_, err = b.m.Reserve(ctx, berthage.Reserve{Launch: &l})
			require.ErrorIs(t, err, pool.ErrExpired)
		}
		var lapsed []pool.Event
		for batch, err := range b.ledger.Read(ctx, before) {
			require.NoError(t, err)
			for _, e := range batch.Events {
				if e.Kind == pool.KindLapsed {
					lapsed = append(lapsed, e)
				}
			}
		}
		require.Len(t, lapsed, 1)
		require.Equal(t, "expire", lapsed[0].Cause)
		require.WithinDuration(t, r.Until, lapsed[0].Time, time.Second)
		sound(t, b.m, b.fleet)
	})
}

// Released, the room is free at once, whether a Manager runs or not, and the reservation is never committed.
func TestReleaseReservation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		b.stop()
		ctx := context.Background()
		m := open(t, b.fleet, b.ledger)
		defer m.Close()
		b.m = m
		all := b.free(pool.CPU)
		one, two := b.reserve("one", 4, time.Hour), b.reserve("two", 4, time.Hour)
		for range 2 {
			got, err := m.Release(ctx, one.ID)
			require.NoError(t, err)
			require.Equal(t, berthage.ReleasedReservation, got.Status)
		}
		_, err := m.Delete(ctx, two.ID) // which is the same
		require.NoError(t, err)
		require.Equal(t, all, b.free(pool.CPU))
		for _, r := range []berthage.Reservation{one, two} {
			_, err = m.Commit(ctx, r.ID)
			require.ErrorIs(t, err, pool.ErrReleased)
		}
		_, err = m.Commit(ctx, "i0123456789abcdefghjkmnpq")
		require.ErrorIs(t, err, pool.ErrNotFound)
		_, err = m.Release(ctx, "i0123456789abcdefghjkmnpq")
		require.ErrorIs(t, err, pool.ErrNotFound)
		_, err = m.Reservation("i0123456789abcdefghjkmnpq")
		require.ErrorIs(t, err, pool.ErrNotFound)
		sound(t, m, b.fleet)
	})
}

// A cluster is reserved as a whole and committed as a whole.
func TestReserveCluster(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3)})
		defer b.stop()
		ctx := context.Background()
		of := func(name string, size int, best bool) berthage.Reserve {
			l := sized(name, 5)
			l.Spec.Constraints.AntiAffinity = []pool.Affinity{{}}
			return berthage.Reserve{Cluster: &berthage.CreateCluster{Token: name, Project: "shop", Name: name, Spec: l.Spec, Size: size, BestEffort: best}}
		}
		before := b.free(pool.CPU)
		_, err := b.m.Reserve(ctx, of("large", 4, false))
		require.ErrorIs(t, err, pool.ErrNoRoom)
		require.Equal(t, before, b.free(pool.CPU), "all or none")

		r, err := b.m.Reserve(ctx, of("web", 4, true))
		require.NoError(t, err)
		require.Len(t, r.Instances, 3, "as many as there is room for")
		require.EqualValues(t, "shop/web", r.Cluster)
		require.Equal(t, []berthage.Reservation{r}, b.m.Reservations())
		again, err := b.m.Reserve(ctx, of("web", 4, true))
		require.NoError(t, err)
		require.Equal(t, r, again)
		create := of("web", 4, true).Cluster
		_, err = b.m.CreateCluster(ctx, *create)
		require.ErrorIs(t, err, pool.ErrExists)
		wrong := func(err error) { require.ErrorIs(t, err, pool.ErrWrongState) }
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: "shop/web", Size: 1})
		wrong(err)
		_, err = b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: "shop/web", Verb: berthage.Stop})
		wrong(err)
		_, err = b.m.Delete(ctx, r.Instances[1].ID)
		wrong(err)
		_, err = b.m.SetPower(ctx, r.Instances[1].ID, pool.Stopped)
		wrong(err)
		_, err = b.m.Move(ctx, r.Instances[1].ID, "", true)
		wrong(err)

		at := head(b.m)
		_, err = b.m.Commit(ctx, r.ID)
		require.NoError(t, err)
		for _, i := range r.Instances {
			now := settle(t, b.m, i.ID)
			require.Equal(t, pool.Running, now.Is)
			require.Equal(t, i.Place.Host, now.Place.Host)
		}
		for batch, err := range b.ledger.Read(ctx, at) {
			require.NoError(t, err)
			require.Len(t, batch.Events, 3, "one batch")
			break
		}
		_, err = b.m.ScaleCluster(ctx, berthage.ScaleCluster{Cluster: "shop/web", Size: 1})
		require.NoError(t, err)
		time.Sleep(time.Minute)
		sound(t, b.m, b.fleet)

		small := of("small", 1, false)
		small.For = time.Minute
		for _, end := range []func(berthage.Reservation){
			func(berthage.Reservation) { time.Sleep(time.Minute + time.Second) },
			func(r berthage.Reservation) {
				_, err := b.m.Release(ctx, r.ID)
				require.NoError(t, err)
			},
			func(berthage.Reservation) {
				_, err := b.m.SteerCluster(ctx, berthage.SteerCluster{Cluster: "shop/small", Verb: berthage.Destroy})
				require.NoError(t, err)
			},
		} {
			small.Cluster.Token += "x"
			r, err := b.m.Reserve(ctx, small)
			require.NoError(t, err)
			end(r)
			_, err = b.m.Cluster("shop/small")
			require.ErrorIs(t, err, pool.ErrNotFound, "its name is free")
			_, err = b.m.Commit(ctx, r.ID)
			require.True(t, is(err, pool.ErrExpired, pool.ErrReleased), "%v", err)
		}
		sound(t, b.m, b.fleet)
	})
}

// A reservation outlives its leader and its process, also in a snapshot, and ends by whoever leads then.
func TestReservationOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		ctx := context.Background()
		keep, end := b.reserve("keep", 3, 2*time.Hour), b.reserve("end", 3, time.Hour)
		_, err := b.m.Compact(ctx)
		require.NoError(t, err)
		was := books(t, b.m)
		b.stop()
		time.Sleep(30 * time.Minute)

		b.m = open(t, b.fleet, b.ledger)
		require.Equal(t, was, books(t, b.m))
		require.Equal(t, []berthage.Reservation{end, keep}, b.m.Reservations())
		time.Sleep(time.Hour)
		require.Len(t, b.m.Reservations(), 2, "nobody leads")
		_, err = b.m.Commit(ctx, end.ID)
		require.ErrorIs(t, err, pool.ErrExpired, "its time has passed all the same")
		b.stop = run(t, b.m)
		defer func() { b.stop() }()
		time.Sleep(time.Second)
		require.Len(t, b.m.Reservations(), 1)
		_, err = b.m.Commit(ctx, keep.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Running, settle(t, b.m, keep.ID).Is)
		sound(t, b.m, b.fleet)
	})
}

// Off a host that is drained or lost what is reserved goes at once, since nothing of it is there. With no room elsewhere it
// stays, and is built there only if the host is.
func TestReservationOnHostThatLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		ctx := context.Background()
		place := func(id pool.InstanceID) pool.Placement {
			i, err := b.m.Instance(id)
			require.NoError(t, err)
			return i.Place
		}
		r := b.reserve("web", 5, time.Hour)
		first := r.Instances[0].Place.Host
		_, err := b.m.Drain(ctx, first, false, "new memory")
		require.NoError(t, err)
		time.Sleep(time.Second)
		second := place(r.ID).Host
		require.NotEqual(t, first, second, "moved without a machine")
		require.Empty(t, b.m.Leaving(first))
		require.Equal(t, berthage.HeldReservation, b.reserve("web", 5, 0).Status)

		// Where there is no other room it is built on the host that is being drained.
		_, err = b.m.Drain(ctx, second, false, "new memory")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, second, place(r.ID).Host)
		require.Contains(t, b.m.Leaving(second)[0].Reason, "reserved")
		_, err = b.m.Commit(ctx, r.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Running, settle2(t, b.m, r.ID).Is)
		require.Equal(t, second, place(r.ID).Host)

		// A host that is off is left in the same append, and without another one the reservation goes on.
		_, err = b.m.Undrain(ctx, first)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, first, place(r.ID).Host, "it has moved there")
		_, err = b.m.Undrain(ctx, second)
		require.NoError(t, err)
		lost := b.reserve("lost", 8, time.Hour)
		require.Equal(t, second, place(lost.ID).Host)
		require.NoError(t, b.fleet.SetHostState(second, fake.Dead))
		time.Sleep(2 * time.Minute)
		_, err = b.m.ConfirmOff(ctx, second, "the plug is pulled")
		require.NoError(t, err)
		_, err = b.m.Commit(ctx, lost.ID)
		var full *scheduler.Refusal
		require.ErrorAs(t, err, &full)
		require.Equal(t, second, place(lost.ID).Host)
		b.delete(r.ID)
		got, err := b.m.Commit(ctx, lost.ID)
		require.NoError(t, err)
		require.Equal(t, first, got.Instances[0].Place.Host)
		require.Equal(t, pool.Running, settle(t, b.m, lost.ID).Is)
		sound(t, b.m, b.fleet)
	})
}

// settle2 waits until a machine runs, also one that is to leave its host and cannot.
func settle2(t *testing.T, m *berthage.Manager, id pool.InstanceID) pool.Instance {
	t.Helper()
	i, err := m.Wait(context.Background(), id, func(i pool.Instance) bool { return i.Is == pool.Running })
	require.NoError(t, err)
	return i
}

// What is reserved gives way to nobody and is not moved to empty a host.
func TestReservationIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)}, preempting, seldom)
		defer b.stop()
		ctx := context.Background()
		low := sized("low", 6)
		low.Spec.Preemptible = pool.PreemptDelete
		r, err := b.m.Reserve(ctx, berthage.Reserve{Launch: &low, For: 24 * time.Hour})
		require.NoError(t, err)
		settle(t, b.m, b.launch("small").ID)
		fill, err := b.m.Launch(ctx, sized("fill", 8))
		require.NoError(t, err)
		settle(t, b.m, fill.ID)
		high := b.wait("shop", "high", 6, 9)
		time.Sleep(time.Hour)
		require.Equal(t, pool.Waiting, b.phase(high.ID))
		b.delete(high.ID, fill.ID)
		p, err := b.m.PlanRebalance(ctx, rebalance.Options{}, false)
		require.NoError(t, err)
		for _, move := range p.Moves {
			require.NotEqual(t, r.ID, move.Instance)
		}
		now, err := b.m.Reservation(r.ID)
		require.NoError(t, err)
		require.Equal(t, r, now)
	})
}

// What cannot be reserved is refused for its reason, and nothing is held.
func TestReserveBadInput(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)}, func(c *berthage.Config) { c.MaxReserve = time.Hour })
		defer b.stop()
		before := head(b.m)
		good := sized("web", 1)
		cluster := berthage.CreateCluster{Token: "c", Project: "shop", Name: "c", Spec: good.Spec, Size: 2}
		waits, noImage, huge := good, good, sized("huge", 9)
		waits.Wait = true
		noImage.Spec.Image = "none"
		waiting := cluster
		waiting.Wait = true
		for name, c := range map[string]struct {
			r    berthage.Reserve
			kind error
		}{
			"nothing":          {berthage.Reserve{}, pool.ErrInvalid},
			"both":             {berthage.Reserve{Launch: &good, Cluster: &cluster}, pool.ErrInvalid},
			"for less":         {berthage.Reserve{Launch: &good, For: -time.Second}, pool.ErrInvalid},
			"for too long":     {berthage.Reserve{Launch: &good, For: time.Hour + 1}, pool.ErrInvalid},
			"waits":            {berthage.Reserve{Launch: &waits}, pool.ErrInvalid},
			"cluster waits":    {berthage.Reserve{Cluster: &waiting}, pool.ErrInvalid},
			"no such image":    {berthage.Reserve{Launch: &noImage}, pool.ErrNotFound},
			"no room":          {berthage.Reserve{Launch: &huge}, pool.ErrNoRoom},
			"no name, project": {berthage.Reserve{Launch: &berthage.Launch{Token: "t"}}, pool.ErrInvalid},
			"no token":         {berthage.Reserve{Launch: &berthage.Launch{Project: "shop"}}, pool.ErrInvalid},
		} {
			_, err := b.m.Reserve(context.Background(), c.r)
			require.ErrorIs(t, err, c.kind, name)
			var full *scheduler.Refusal
			var e *pool.Error
			require.True(t, errors.As(err, &full) || errors.As(err, &e), fmt.Sprint(name, err))
		}
		require.Equal(t, before, head(b.m))
		_, err := berthage.Open(context.Background(), berthage.Config{Ledger: b.ledger, MaxReserve: -1})
		require.ErrorIs(t, err, pool.ErrInvalid)
		_, err = berthage.Open(context.Background(), berthage.Config{Drivers: map[string]hypervisor.Driver{"sim": b.fleet}, Ledger: b.ledger, ReserveFor: 25 * time.Hour})
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.ErrorContains(t, err, "ReserveFor")
	})
}

// The token of a reservation that has ended is good for no launch: what it named has never been launched. What is reserved, or waits,
// is yet to be made with what would be forgotten of it.
func TestReservationIsNoLaunch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)})
		defer b.stop()
		ctx := context.Background()
		r := b.reserve("web", 2, 0)
		_, err := b.m.Forget(ctx, string(r.ID))
		require.ErrorIs(t, err, pool.ErrWrongState)
		b.reserve("rest", 6, time.Minute)
		waits := b.wait("shop", "waits", 8, 0)
		_, err = b.m.Forget(ctx, string(waits.ID))
		require.ErrorIs(t, err, pool.ErrWrongState)
		b.delete(waits.ID)

		_, err = b.m.Release(ctx, r.ID)
		require.NoError(t, err)
		_, err = b.m.Launch(ctx, sized("web", 2))
		require.ErrorIs(t, err, pool.ErrExists)
		c := berthage.CreateCluster{Token: "c", Project: "shop", Name: "c", Spec: sized("c", 1).Spec, Size: 2}
		_, err = b.m.Reserve(ctx, berthage.Reserve{Cluster: &c, For: time.Minute})
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		_, err = b.m.CreateCluster(ctx, c)
		require.ErrorIs(t, err, pool.ErrExists)
		c.Token = "another"
		_, err = b.m.CreateCluster(ctx, c)
		require.NoError(t, err)
		sound(t, b.m, b.fleet)
	})
}

// What a reservation took of the quota is free again once it has ended, and no more than that.
func TestReservationFreesItsQuotaOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		settle(t, b.m, b.launch("other").ID)
		r := b.reserve("web", 1, time.Minute)
		released := b.reserve("released", 2, time.Minute)
		_, err := b.m.Release(context.Background(), released.ID)
		require.NoError(t, err)
		sound(t, b.m, b.fleet)
		time.Sleep(2 * time.Minute)
		got, err := b.m.Reservation(r.ID)
		require.NoError(t, err)
		require.Equal(t, berthage.ExpiredReservation, got.Status)
		sound(t, b.m, b.fleet)
		b.m.View(func(st *pool.State) {
			p, _ := st.Project("shop")
			require.EqualValues(t, 1, p.Used[pool.Instances])
			require.Equal(t, 1, p.Members)
		})
	})
}

// A commit takes the place that is held, though another host would be as good.
func TestCommitTakesWhatIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3)})
		defer b.stop()
		r := b.reserve("web", 2, 0)
		got, err := b.m.Commit(context.Background(), r.ID)
		require.NoError(t, err)
		require.Equal(t, r.Instances[0].Place.Host, got.Instances[0].Place.Host)
		require.Equal(t, r.Instances[0].Place.Number, got.Instances[0].Place.Number)
		require.Equal(t, r.Instances[0].Place.Number, settle(t, b.m, r.ID).Place.Number)
		sound(t, b.m, b.fleet)
	})
}

// A reserved cluster ends as a whole, in one batch, so that no part of it can be committed.
func TestReservedClusterExpiresAsOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(3)})
		defer b.stop()
		ctx := context.Background()
		_, err := b.m.Reserve(ctx, berthage.Reserve{For: time.Minute, Cluster: &berthage.CreateCluster{
			Token: "web", Project: "shop", Name: "web", Spec: sized("web", 1).Spec, Size: 5,
		}})
		require.NoError(t, err)
		at := head(b.m)
		time.Sleep(2 * time.Minute)
		var kinds [][]string
		for batch, err := range b.ledger.Read(ctx, at) {
			require.NoError(t, err)
			var of []string
			for _, e := range batch.Events {
				if e.Kind == pool.KindLapsed || e.Kind == pool.KindClusterRemoved {
					of = append(of, e.Kind)
				}
			}
			if of != nil {
				kinds = append(kinds, of)
			}
		}
		l := pool.KindLapsed
		require.Equal(t, [][]string{{l, l, l, l, l, pool.KindClusterRemoved}}, kinds)
		sound(t, b.m, b.fleet)
	})
}
