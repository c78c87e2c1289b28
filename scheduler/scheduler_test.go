package scheduler_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// books builds a State by folding events.
type books struct {
	t     testing.TB
	state *pool.State
	n     int
}

func newBooks(t testing.TB, hosts ...pool.Host) *books {
	t.Helper()
	b := &books{t: t, state: pool.NewState()}
	b.fold(pool.KindOpened, &pool.Opened{Ledger: "test"})
	b.fold(pool.KindProjectPut, &pool.Project{Name: "p"})
	for _, h := range hosts {
		b.fold(pool.KindHostPut, &pool.HostPut{Host: h})
	}
	return b
}

func (b *books) fold(kind string, payload any) {
	b.t.Helper()
	e, err := pool.NewEvent(kind, payload)
	require.NoError(b.t, err)
	b.n++
	e.ID, e.Revision, e.Time = "e", pool.Revision(b.n), time.Unix(int64(b.n), 0).UTC()
	require.NoError(b.t, b.state.Apply(&e))
}

// book puts an instance with that decision into the books.
func (b *books) book(req scheduler.Request, d scheduler.Decision) pool.InstanceID {
	b.t.Helper()
	id := pool.NewInstanceID("test", "p", fmt.Sprint(b.n))
	b.fold(pool.KindLaunched, &pool.Launched{
		Instance: id, Name: "a", Project: "p", Spec: req.Spec, Image: req.Image, Want: pool.Running,
		Place: pool.Placement{Host: d.Host, Allocation: d.Allocation},
	})
	return id
}

// host is a ready host of driver "d" with that many cores and GiB of memory.
func host(name string, cores, gib int64) pool.Host {
	return pool.Host{
		ID: pool.NewHostID("d", name), Name: name, Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: cores * pool.Core}, pool.Memory: {Total: gib * pool.GiB}},
	}
}

func image() pool.Image {
	return pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"d": "debian.qcow2"}}
}

// want asks for cores and GiB of memory.
func want(cores, gib int64) scheduler.Request {
	return scheduler.Request{
		Spec:  pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: gib * pool.GiB}},
		Image: image(), Project: "p",
	}
}

func TestBestFitFillsUpAndLeavesEmptyHostsLast(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("small", 4, 8), host("a", 32, 64), host("b", 32, 64))
	s := scheduler.Scheduler{Strategy: scheduler.BestFit}
	var got []pool.HostID
	for range 9 {
		d, err := s.Place(b.state, want(2, 4))
		require.NoError(t, err)
		b.book(want(2, 4), d)
		got = append(got, d.Host)
	}
	require.Equal(t, []pool.HostID{"d/small", "d/small", "d/a", "d/a", "d/a", "d/a", "d/a", "d/a", "d/a"}, got)
	d, err := s.Place(b.state, want(20, 10))
	require.NoError(t, err)
	require.Equal(t, pool.HostID("d/b"), d.Host, "only the empty host has room")
	require.Equal(t, 3, d.Considered)
	require.Equal(t, 1, d.Qualified)
}

func TestSpreadTakesTheLeastUsed(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 32, 64), host("b", 32, 64), host("c", 32, 64))
	s := scheduler.Scheduler{Strategy: scheduler.Spread}
	var got []pool.HostID
	for range 4 {
		d, err := s.Place(b.state, want(2, 4))
		require.NoError(t, err)
		b.book(want(2, 4), d)
		got = append(got, d.Host)
	}
	require.Equal(t, []pool.HostID{"d/a", "d/b", "d/c", "d/a"}, got)
}

func TestConstraintsInOrder(t *testing.T) {
	t.Parallel()
	full := want(2, 4)
	full.Avoid = []pool.HostID{"d/a"}
	full.Spec.Kind = pool.Container
	full.Spec.Resources[pool.GPU] = 1
	full.Spec.Constraints = pool.Constraints{
		Hosts: []pool.HostID{"d/other"}, Zones: []string{"north"}, Labels: map[string]string{"disk": "fast", "tier": "gold"},
	}
	full.Image.Sources = map[string]string{"other": "x"}
	refuse := scheduler.Scheduler{Filters: []scheduler.Filter{
		func(scheduler.Request, *pool.HostRecord) *scheduler.Reason {
			return &scheduler.Reason{Detail: "no\nluck"}
		},
	}}
	h := host("a", 1, 2)
	h.Conditions = pool.Ready.With(pool.Cordoned)
	h.Labels = map[string]string{"tier": "lead"}

	steps := []struct {
		want scheduler.Constraint
		text string
		fix  func(*scheduler.Request, *pool.Host, *scheduler.Scheduler)
	}{
		{scheduler.ByAvoid, `to be avoided by this instance`,
			func(r *scheduler.Request, _ *pool.Host, _ *scheduler.Scheduler) { r.Avoid = nil }},
		{scheduler.ByCondition, `cordoned`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) { h.Conditions = 0 }},
		{scheduler.ByCondition, `not ready (unknown)`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) { h.Conditions = pool.Ready }},
		{scheduler.ByHost, `not one of the hosts asked for`,
			func(r *scheduler.Request, _ *pool.Host, _ *scheduler.Scheduler) { r.Spec.Constraints.Hosts = nil }},
		{scheduler.ByZone, `in no zone, asked for "north"`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) { h.Zone = "south" }},
		{scheduler.ByZone, `in zone "south", asked for "north"`,
			func(r *scheduler.Request, _ *pool.Host, _ *scheduler.Scheduler) { r.Spec.Constraints.Zones = nil }},
		{scheduler.ByLabel, `has no label "disk", asked for "fast"`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) {
				h.Labels = map[string]string{"disk": "fast", "tier": "lead"}
			}},
		{scheduler.ByLabel, `label "tier" is "lead", asked for "gold"`,
			func(r *scheduler.Request, _ *pool.Host, _ *scheduler.Scheduler) { r.Spec.Constraints.Labels = nil }},
		{scheduler.ByImage, `the image has no source for driver "d", only for "other"`,
			func(r *scheduler.Request, _ *pool.Host, _ *scheduler.Scheduler) { r.Image.Sources = nil }},
		{scheduler.ByImage, `the image has no source for any driver`,
			func(r *scheduler.Request, _ *pool.Host, _ *scheduler.Scheduler) { r.Image = image() }},
		{scheduler.ByKind, `runs vm, asked for "container"`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) {
				h.Kinds = []pool.Kind{pool.Container, pool.VM}
			}},
		{scheduler.ByFilter, `refused by a filter: "no\nluck"`,
			func(_ *scheduler.Request, _ *pool.Host, s *scheduler.Scheduler) { s.Filters = nil }},
		{scheduler.ByResource, `cpu: 2 cores asked, 1 core free of 1 core: short of 1 core`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) {
				h.Inventory[pool.CPU] = pool.Inventory{Total: 2 * pool.Core}
			}},
		{scheduler.ByResource, `gpu: 1 asked, 0 free of 0: short of 1`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) {
				h.Inventory[pool.GPU] = pool.Inventory{Total: 1}
			}},
		{scheduler.ByResource, `memory: 4 GiB asked, 2 GiB free of 2 GiB: short of 2 GiB`,
			func(_ *scheduler.Request, h *pool.Host, _ *scheduler.Scheduler) {
				h.Inventory[pool.Memory] = pool.Inventory{Total: 4 * pool.GiB}
			}},
	}
	for _, step := range steps {
		_, err := refuse.Place(newBooks(t, h).state, full)
		var r *scheduler.Refusal
		require.ErrorAs(t, err, &r)
		require.ErrorIs(t, err, pool.ErrNoRoom)
		require.Len(t, r.Hosts, 1)
		require.Equal(t, step.want, r.Hosts[0].Reason.Constraint)
		require.Equal(t, step.text, r.Hosts[0].Reason.String())
		step.fix(&full, &h, &refuse)
	}
	d, err := refuse.Place(newBooks(t, h).state, full)
	require.NoError(t, err)
	require.Equal(t, pool.HostID("d/a"), d.Host)
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 4, 8))
	for name, c := range map[string]struct {
		change func(*pool.Spec)
		kind   error
	}{
		"negative":      {func(s *pool.Spec) { s.Resources[pool.CPU] = -1 }, pool.ErrInvalid},
		"class":         {func(s *pool.Spec) { s.Resources["<x>\n"] = 1 }, pool.ErrInvalid},
		"empty disk":    {func(s *pool.Spec) { s.Disks = []pool.Disk{{}} }, pool.ErrInvalid},
		"negative IOPS": {func(s *pool.Spec) { s.Disks = []pool.Disk{{Size: 1, IOPS: -1}} }, pool.ErrInvalid},
		"overflow": {func(s *pool.Spec) {
			s.Disks = []pool.Disk{{Size: math.MaxInt64}, {Size: 1}}
		}, pool.ErrOverflow},
		"storage twice": {func(s *pool.Spec) {
			s.Disks, s.Resources[pool.StorageStandard] = []pool.Disk{{Size: 1}}, 5
		}, pool.ErrInvalid},
	} {
		req := want(1, 1)
		c.change(&req.Spec)
		var s scheduler.Scheduler
		_, err := s.Place(b.state, req)
		require.ErrorIs(t, err, c.kind, name)
		_, err = s.Explain(b.state, req)
		require.ErrorIs(t, err, c.kind, name)
	}
}

func TestExtensionsThatMisbehaveFailTheirDecisionOnly(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 4, 8), host("b", 4, 8))
	one := func(f scheduler.Score) scheduler.Scheduler {
		return scheduler.Scheduler{Scores: []scheduler.Score{f}}
	}
	for name, s := range map[string]scheduler.Scheduler{
		"filter": {Filters: []scheduler.Filter{func(scheduler.Request, *pool.HostRecord) *scheduler.Reason { panic("oh\nno") }}},
		"score":  one(func(scheduler.Request, *pool.HostRecord) float64 { panic("oh\nno") }),
		"nan":    one(func(scheduler.Request, *pool.HostRecord) float64 { return math.NaN() }),
		"inf":    one(func(scheduler.Request, *pool.HostRecord) float64 { return math.Inf(1) }),
		"sum": {Scores: []scheduler.Score{
			func(scheduler.Request, *pool.HostRecord) float64 { return math.MaxFloat64 },
			func(scheduler.Request, *pool.HostRecord) float64 { return math.MaxFloat64 },
		}},
	} {
		_, err := s.Place(b.state, want(1, 1))
		require.ErrorIs(t, err, scheduler.ErrExtension, name)
		require.NotContains(t, err.Error(), "\n", name)
		_, err = s.Explain(b.state, want(1, 1))
		require.ErrorIs(t, err, scheduler.ErrExtension, name)
	}
	prefer := one(func(_ scheduler.Request, h *pool.HostRecord) float64 {
		if h.Name == "b" {
			return 0.5
		}
		return 0
	})
	d, err := prefer.Place(b.state, want(1, 1))
	require.NoError(t, err)
	require.Equal(t, pool.HostID("d/b"), d.Host)
}

func TestRefusalOfAnEmptyPool(t *testing.T) {
	t.Parallel()
	var s scheduler.Scheduler
	_, err := s.Place(pool.NewState(), want(1, 1))
	var r *scheduler.Refusal
	require.ErrorAs(t, err, &r)
	require.EqualError(t, err, "no host fits: the pool has no hosts")
	require.False(t, r.Never)
	require.Nil(t, r.Nearest)
	js, err := json.Marshal(r)
	require.NoError(t, err)
	require.JSONEq(t, `{"demand":{"cpu":1000,"memory":1073741824},"hosts":[],"counts":[],"never":false}`, string(js))
}

func TestStrategyText(t *testing.T) {
	t.Parallel()
	for _, s := range []scheduler.Strategy{scheduler.Default, scheduler.BestFit, scheduler.Spread} {
		text, err := s.MarshalText()
		require.NoError(t, err)
		var back scheduler.Strategy
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, s, back)
	}
	var s scheduler.Strategy
	require.ErrorIs(t, s.UnmarshalText([]byte("worst")), pool.ErrInvalid)
	require.NoError(t, s.UnmarshalText(nil))
	require.Equal(t, scheduler.Default, s)
	require.Equal(t, "strategy 9", scheduler.Strategy(9).String())
}
