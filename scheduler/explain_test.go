package scheduler_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

func refusal(t *testing.T, s scheduler.Scheduler, st *pool.State, req scheduler.Request) *scheduler.Refusal {
	t.Helper()
	_, err := s.Place(st, req)
	var r *scheduler.Refusal
	require.ErrorAs(t, err, &r)
	require.ErrorIs(t, err, pool.ErrNoRoom)
	return r
}

func TestNotNowIsToldFromNever(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 4, 8), host("b", 2, 8))
	var s scheduler.Scheduler
	d, err := s.Place(b.state, want(3, 4))
	require.NoError(t, err)
	b.book(want(3, 4), d)

	r := refusal(t, s, b.state, want(3, 4))
	require.False(t, r.Never)
	require.False(t, r.Hosts[0].Reason.Never, "d/a could when empty")
	require.True(t, r.Hosts[1].Reason.Never, "d/b never")
	require.EqualError(t, r, `no host fits: cpu 3 cores, memory 4 GiB asked; of 2 hosts 2 by resource cpu; `+
		`nearest: host "d/b" could take it: ask for 1 core less of cpu`)

	r = refusal(t, s, b.state, want(5, 4))
	require.True(t, r.Never)
	require.Contains(t, r.Error(), "it would not fit even if all were empty")
}

func TestNearestChange(t *testing.T) {
	t.Parallel()
	cordoned, dead := host("cordoned", 64, 64), host("dead", 64, 64)
	cordoned.Conditions = pool.Ready | pool.Cordoned
	dead.Conditions = pool.Unreachable
	zoned := host("zoned", 64, 64)
	zoned.Zone = "south"
	other := host("x", 64, 64)
	other.ID = "e/x"
	inZone := want(4, 4)
	inZone.Spec.Constraints.Zones = []string{"north"}
	cordonedNorth := cordoned
	cordonedNorth.Zone = "north"
	avoid := want(4, 4)
	avoid.Avoid = []pool.HostID{"d/zoned"}
	var s scheduler.Scheduler
	for name, c := range map[string]struct {
		hosts []pool.Host
		req   scheduler.Request
		text  string
	}{
		"free little before uncordon":      {[]pool.Host{cordoned, host("z", 3, 64)}, want(4, 4), `host "d/z" could take it: ask for 1 core less of cpu`},
		"uncordon before bring back":       {[]pool.Host{cordoned, dead}, want(4, 4), `host "d/cordoned" could take it: make the host ready (it is ready,cordoned)`},
		"one step before two":              {[]pool.Host{cordoned, zoned}, inZone, `host "d/zoned" could take it: allow zone "south"`},
		"uncordon in the zone, first id":   {[]pool.Host{cordonedNorth, zoned}, inZone, `host "d/cordoned" could take it: make the host ready (it is ready,cordoned)`},
		"no zone at all":                   {[]pool.Host{host("a", 64, 64)}, inZone, `host "d/a" could take it: ask for no zone`},
		"a source for the driver":          {[]pool.Host{other}, want(4, 4), `host "e/x" could take it: give the image a source for driver "e"`},
		"go back to where creation failed": {[]pool.Host{zoned}, avoid, `host "d/zoned" could take it: allow this host`},
	} {
		r := refusal(t, s, newBooks(t, c.hosts...).state, c.req)
		require.NotNil(t, r.Nearest, name)
		require.Equal(t, c.text, r.Nearest.String(), name)
	}
	containers := want(1, 1)
	containers.Spec.Kind = pool.Container
	require.Nil(t, refusal(t, s, newBooks(t, zoned).state, containers).Nearest, "no change makes a hypervisor run containers")

	no := scheduler.Scheduler{Filters: []scheduler.Filter{func(_ scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
		if h.Name == "cordoned" {
			return &scheduler.Reason{Detail: "not this one", Never: true}
		}
		return nil
	}}}
	r := refusal(t, no, newBooks(t, cordoned, dead).state, want(4, 4))
	require.Equal(t, pool.HostID("d/dead"), r.Nearest.Host, "a host that a filter refuses is not named")
	require.True(t, r.Hosts[0].Reason.Never)
	require.False(t, r.Never)
}

func TestReasonsAsJSON(t *testing.T) {
	t.Parallel()
	var s scheduler.Scheduler
	r := refusal(t, s, newBooks(t, host("a", 2, 8)).state, want(3, 4))
	js, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{
		"demand": {"cpu": 3000, "memory": 4294967296},
		"hosts": [{"host": "d/a", "score": 0, "reason": {
			"constraint": "resource", "never": true, "class": "cpu", "need": 3000, "free": 2000, "capacity": 2000, "short": 1000,
			"message": "cpu: 3 cores asked, 2 cores free of 2 cores: short of 1 core"}}],
		"counts": [{"constraint": "resource", "class": "cpu", "hosts": 1}],
		"never": true,
		"nearest": {"host": "d/a", "distance": 0.3333333333333333, "steps": [{"do": "shrink", "class": "cpu", "amount": 1000}]}
	}`, string(js))
}

func TestExplainRanksTheHostsThatQualify(t *testing.T) {
	t.Parallel()
	off := host("c", 8, 8)
	off.Conditions = 0
	b := newBooks(t, host("a", 8, 8), host("b", 8, 8), off, host("d", 1, 1))
	b.book(want(1, 1), scheduler.Decision{Host: "d/b", Allocation: pool.Allocation{Resources: want(1, 1).Spec.Resources}})
	s := scheduler.Scheduler{Strategy: scheduler.BestFit}
	e, err := s.Explain(b.state, want(2, 2))
	require.NoError(t, err)
	require.Equal(t, []pool.HostID{"d/b", "d/a", "d/c", "d/d"},
		[]pool.HostID{e.Hosts[0].Host, e.Hosts[1].Host, e.Hosts[2].Host, e.Hosts[3].Host})
	require.InDelta(t, 1.375, e.Hosts[0].Score, 1e-9)
	require.InDelta(t, 0.25, e.Hosts[1].Score, 1e-9)
	require.Equal(t, []scheduler.Count{{Constraint: scheduler.ByCondition, Hosts: 1}, {Constraint: scheduler.ByResource, Class: pool.CPU, Hosts: 1}}, e.Counts)
	require.False(t, e.Never)
	require.Nil(t, e.Nearest)
}
