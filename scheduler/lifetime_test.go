package scheduler_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

func TestLifetimesComeFirst(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("empty", 8, 16), host("full", 8, 16), host("half", 8, 16))
	b.book(want(6, 12), scheduler.Decision{Host: "d/full", Allocation: pool.Allocation{Resources: want(6, 12).Spec.Resources}})
	b.book(want(4, 8), scheduler.Decision{Host: "d/half", Allocation: pool.Allocation{Resources: want(4, 8).Spec.Resources}})
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		why        string
		strategy   scheduler.Strategy
		full, half time.Duration // until which they are in use; 0: nobody knows
		lives      time.Duration
		host       pool.HostID
	}{
		{"both last longer: the strategy decides", scheduler.Default, 3 * time.Hour, 5 * time.Hour, time.Hour, "d/full"},
		{"one that it does not prolong", scheduler.Default, time.Hour, 5 * time.Hour, 3 * time.Hour, "d/half"},
		{"a little of its life is not worth room", scheduler.Default, 3*time.Hour - 5*time.Minute, 5 * time.Hour, 3 * time.Hour, "d/full"},
		{"the one that it prolongs less", scheduler.BestFit, time.Hour, 9 * time.Hour, 10 * time.Hour, "d/half"},
		{"an empty one comes last all the same", scheduler.Default, 0, 0, 1000 * time.Hour, "d/full"},
		{"an end that has passed is no better than none", scheduler.Default, 0, -100 * time.Hour, time.Hour, "d/full"},
		{"of its own end nothing is known", scheduler.Default, time.Hour, 5 * time.Hour, 0, "d/full"},
		{"spread means spread", scheduler.Spread, time.Hour, 5 * time.Hour, time.Hour, "d/empty"},
	} {
		s := scheduler.Scheduler{Strategy: c.strategy, Ends: new(scheduler.Ends)}
		at := func(d time.Duration) time.Time {
			if d == 0 {
				return time.Time{}
			}
			return now.Add(d)
		}
		s.Ends.Set("d/full", at(c.full))
		s.Ends.Set("d/half", at(c.half))
		require.Equal(t, at(c.half), s.Ends.Of("d/half"))
		req := want(1, 2)
		if req.Now = now; c.lives > 0 {
			req.Lives = scheduler.Exactly(c.lives)
		}
		d, err := s.Place(b.state, req)
		require.NoError(t, err)
		require.Equal(t, c.host, d.Host, c.why)
		on, err := s.PlaceOn(scheduler.NewIndex(b.state), req)
		require.NoError(t, err)
		require.Equal(t, d.Score, on.Score)
	}
}

// What is learnt of a host after the index was made is known at the next placement: that it lasts, and that it lasts no
// longer.
func TestIndexFollowsEnds(t *testing.T) {
	t.Parallel()
	const hosts = 300
	b := newBooks(t)
	for k := range hosts {
		b.fold(pool.KindHostPut, &pool.HostPut{Host: host("h"+strconv.Itoa(k), 8, 16)})
	}
	ix := scheduler.NewIndex(b.state)
	for k := range hosts { // all in use, each less than the one before
		req := want(1, 1)
		req.Spec.Resources[pool.Memory] += int64(hosts-k) * pool.MiB
		require.NoError(t, ix.Book(pool.HostID("d/h"+strconv.Itoa(k)), &pool.Allocation{Resources: req.Spec.Resources}))
	}
	s := scheduler.Scheduler{Ends: new(scheduler.Ends)}
	req := want(1, 1)
	req.Now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	req.Lives = scheduler.Exactly(48 * time.Hour)
	late := req.Now.Add(48 * time.Hour)
	places := func(want pool.HostID) {
		t.Helper()
		d, err := s.PlaceOn(ix, req)
		require.NoError(t, err)
		require.Equal(t, want, d.Host)
	}
	places("d/h0")
	for k := range 2000 { // more than is remembered one by one
		id := pool.HostID("d/h" + strconv.Itoa(k%hosts))
		s.Ends.Set(id, late)
		if k%7 == 0 || k > 1900 {
			places(id)
		}
		s.Ends.Set(id, req.Now.Add(time.Hour))
		if k%11 == 0 {
			places("d/h0")
		}
	}
	require.NoError(t, ix.CheckEnds(s.Ends))
	ix.Remove("d/h0")
	s.Ends.Set("d/h0", late) // who is no longer there is no mistake
	places("d/h1")
}

// Lifetimes cost no allocation either.
func TestWarmIndexWithEndsAllocatesNothing(t *testing.T) {
	c := newChurn(t, scheduler.Scheduler{Ends: new(scheduler.Ends)}, 500)
	for range 5000 {
		c.turn(t)
	}
	require.Zero(t, testing.AllocsPerRun(500, func() { c.turn(t) }))
}
