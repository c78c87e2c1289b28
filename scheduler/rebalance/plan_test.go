package rebalance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// size is a spec of cores and GiB.
func size(cores, gib int64) pool.Spec {
	return pool.Spec{Resources: pool.Resources{pool.CPU: cores * pool.Core, pool.Memory: gib * pool.GiB}}
}

func id(n int) pool.HostID { return server(n, 0, 0).ID }

// route is the moves as "name host".
func route(r *rebalance.Result) []string {
	var out []string
	for _, m := range r.Moves {
		out = append(out, m.Name+" "+string(m.To))
	}
	return out
}

// reasons is the skipped hosts and instances in one text.
func reasons(r *rebalance.Result) string {
	var b strings.Builder
	for _, s := range r.Skipped {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

func planned(t *testing.T, b *books, s *scheduler.Scheduler, o rebalance.Options) *rebalance.Result {
	t.Helper()
	r, err := rebalance.Plan(t.Context(), b.state, s, o)
	require.NoError(t, err)
	verify(t, b.state, s, &o, r)
	return r
}

func TestHostsWithFewInstancesAreEmptied(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 4 {
		b.host(server(n, 16, 64))
	}
	b.place("a", id(0), size(8, 32))
	b.place("b", id(1), size(2, 8))
	b.place("c", id(2), size(6, 16))
	b.place("d", id(2), size(6, 16))
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{})
	require.Equal(t, 3, r.Before.Hosts)
	require.Equal(t, 2, r.After.Hosts)
	require.Equal(t, []string{"vm-b d/h00002"}, route(r), "one move, to where least is left over")
	require.Equal(t, []pool.HostID{id(1)}, r.Emptied)
	require.Equal(t, "1 move in 1 wave, 8 GiB: 3 hosts in use, then 2", r.String())
	require.Contains(t, reasons(r), `instance `+string(pool.NewInstanceID("test", "p", "a"))+` would have nowhere to go: of 3 other hosts 1 have too little room`)
}

// What is smaller makes room: c goes on from host 1, so that the large one of host 0 can come.
func TestRoomIsMade(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.host(server(0, 8, 48))
	b.host(server(1, 16, 64))
	b.host(server(2, 16, 64))
	b.place("a", id(0), size(6, 40))
	b.place("b", id(1), size(8, 16))
	b.place("c", id(1), size(2, 20))
	b.place("d", id(2), size(14, 40))
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{})
	require.Equal(t, []string{"vm-c d/h00002", "vm-a d/h00001"}, route(r))
	require.Equal(t, 2, r.Waves, "a waits until c has left")
	require.Equal(t, "makes room on d/h00001: host d/h00000 becomes empty", r.Moves[0].Why)
	r = planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Budget: rebalance.Budget{Moves: 1}})
	require.Empty(t, r.Moves, "a whole host or nothing")
	require.Contains(t, reasons(r), "d/h00000")
}

func TestBudgets(t *testing.T) {
	t.Parallel()
	fleet := func() *books {
		b := newBooks(t)
		for n := range 6 {
			b.host(server(n, 16, 64))
			b.place(fmt.Sprint("a", n), id(n), size(2, 8))
			b.place(fmt.Sprint("b", n), id(n), size(2, 8))
		}
		return b
	}
	var s scheduler.Scheduler
	for _, c := range []struct {
		name   string
		budget rebalance.Budget
		moves  int
		waves  int
	}{
		{"none", rebalance.Budget{}, 8, 8},
		{"moves", rebalance.Budget{Moves: 5}, 4, 4},
		{"moves of which some are spent", rebalance.Budget{Moves: 5, Spent: rebalance.Spent{Moves: 2}}, 2, 2},
		{"all spent", rebalance.Budget{Moves: 5, Spent: rebalance.Spent{Moves: 9}}, 0, 0},
		{"bytes", rebalance.Budget{Bytes: 33 * pool.GiB}, 4, 4},
		{"bytes of which some are spent", rebalance.Budget{Bytes: 33 * pool.GiB, Spent: rebalance.Spent{Bytes: 17 * pool.GiB}}, 2, 2},
		{"many at a time", rebalance.Budget{PerHost: 8}, 8, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := fleet()
			r := planned(t, b, &s, rebalance.Options{Budget: c.budget})
			require.Len(t, r.Moves, c.moves)
			require.LessOrEqual(t, r.Waves, c.waves)
			if c.moves == 0 {
				require.Contains(t, reasons(r), "its 2 instances are more than the 0 moves left of the budget")
			}
		})
	}
}

func TestWhatStays(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 5 {
		b.host(server(n, 16, 64))
	}
	pinned := size(2, 8)
	pinned.Labels = map[string]string{"pin": "yes"}
	b.place("pinned", id(0), pinned)
	own := b.place("own", id(1), size(2, 8))
	b.place("left", id(2), size(2, 8))
	b.place("kept", id(3), size(2, 8))
	off := b.place("off", id(4), size(2, 8))
	b.fold(pool.KindWanted, &pool.Wanted{Instance: off, Want: pool.Absent})
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{
		Pinned: map[string]string{"pin": "yes"},
		Stays: func(i *pool.Instance) string {
			if i.ID == own {
				return "its owner is asleep"
			}
			return ""
		},
		Leave: []pool.HostID{id(2)},
		Keeps: func(h *pool.Host) string {
			if h.ID == id(3) {
				return "its fan is loud"
			}
			return ""
		},
	})
	require.Empty(t, r.Moves)
	for _, why := range []string{`pinned by its label "pin"`, "its owner is asleep", "it is to be left alone", "its fan is loud", "it is being deleted"} {
		require.Contains(t, reasons(r), why)
	}
}

func TestRulesAreKept(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 6 {
		h := server(n, 16, 64)
		h.Zone = []string{"north", "south"}[n%2]
		h.Labels = map[string]string{"tier": []string{"gold", "lead", "gold"}[n%3]}
		if n == 5 {
			h.Conditions = h.Conditions.With(pool.Cordoned)
		}
		b.host(h)
	}
	spec := size(2, 8)
	spec.Constraints = pool.Constraints{Zones: []string{"south"}, Labels: map[string]string{"tier": "gold"}}
	b.place("a", id(3), spec) // 3 and 5 are south and gold, and 5 is cordoned
	for n := range 6 {
		if n != 3 {
			b.place(fmt.Sprint("b", n), id(n), size(4, 8))
			b.place(fmt.Sprint("c", n), id(n), size(4, 8))
		}
	}
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{})
	require.NotEmpty(t, r.Moves)
	for _, m := range r.Moves {
		require.NotEqual(t, "vm-a", m.Name)
		require.NotEqual(t, id(5), m.To)
	}
	require.Contains(t, r.Emptied, id(5), "a cordoned host may be emptied")
}

// A filter may depend on what is placed: here no host takes more than three.
func TestFiltersAreAskedOfTheHostAsItIsThen(t *testing.T) {
	t.Parallel()
	s := &scheduler.Scheduler{Filters: []scheduler.Filter{func(_ scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
		if h.Placed >= 3 {
			return &scheduler.Reason{Detail: "three are enough"}
		}
		return nil
	}}}
	b := newBooks(t)
	for n := range 6 {
		b.host(server(n, 16, 64))
		b.place(fmt.Sprint(n), id(n), size(1, 4))
	}
	r := planned(t, b, s, rebalance.Options{})
	require.Equal(t, 2, r.After.Hosts)
	require.Zero(t, r.Disagreed)
}

func TestDevices(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 3 {
		h := server(n, 16, 64)
		for _, d := range []string{"p0", "p1"} {
			h.Devices = append(h.Devices, pool.Device{ID: d, Class: pool.StorageSSD, Inventory: pool.Inventory{Total: 100 * pool.GiB}})
		}
		b.host(h)
	}
	spec := size(2, 8)
	spec.Disks = []pool.Disk{{Size: 60 * pool.GiB, Storage: pool.SSD}}
	claim := func(dev string) pool.Claim {
		return pool.Claim{Device: dev, Class: pool.StorageSSD, Amount: 60 * pool.GiB}
	}
	b.place("a", id(0), spec, claim("p0"))
	b.place("b", id(1), spec, claim("p1"))
	b.place("c", id(2), spec, claim("p0"))
	b.place("d", id(2), spec, claim("p1")) // 40 GiB are left on each: the sum would do, no device does
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{})
	require.Len(t, r.Moves, 1)
	require.NotEqual(t, id(2), r.Moves[0].To)
	require.NotEqual(t, id(2), r.Moves[0].From)
	require.Equal(t, int64(68*pool.GiB), r.Bytes, "memory and disks")
}

func TestDrain(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 3 {
		b.host(server(n, 16, 64))
	}
	b.place("a", id(0), size(4, 16))
	big := b.place("b", id(0), size(12, 40))
	b.place("c", id(1), size(8, 32))
	h := server(2, 4, 16)
	b.host(h)
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Goal: rebalance.Drain, Hosts: []pool.HostID{id(0)}})
	require.Equal(t, []string{"vm-a d/h00001"}, route(r), "not to an empty host")
	require.Equal(t, 2, r.Before.On)
	require.Equal(t, 1, r.After.On)
	require.Contains(t, reasons(r), string(big))
	require.Contains(t, reasons(r), "have too little room for cpu 12 cores, memory 40 GiB")
}

func TestRepair(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 4 {
		h := server(n, 16, 64)
		h.Zone = []string{"north", "south"}[n%2]
		b.host(h)
	}
	north := size(2, 8)
	north.Constraints.Zones = []string{"north"}
	b.place("strayed", id(1), north)
	b.place("fine", id(0), north)
	b.place("small", id(2), size(2, 8))
	b.place("right", id(2), size(4, 24))
	b.place("large", id(2), size(8, 40)) // 72 of 64 GiB
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Goal: rebalance.Repair})
	require.ElementsMatch(t, []string{"vm-strayed d/h00000", "vm-small d/h00001"}, []string{r.Moves[0].Name + " " + string(r.Moves[0].To), "vm-small d/h00001"})
	require.Len(t, r.Moves, 2)
	require.Equal(t, 1, r.Before.Violations)
	require.Equal(t, 1, r.Before.Overloaded)
	require.Zero(t, r.After.Violations+r.After.Overloaded)
	require.Contains(t, r.Moves[0].Why, `in zone "south", asked for "north"`)
}

func TestBalance(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 4 {
		b.host(server(n, 16, 64))
	}
	for n := range 8 {
		b.place(fmt.Sprint(n), id(0), size(2, 8))
	}
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Goal: rebalance.Balance})
	require.Len(t, r.Moves, 6, "two on each")
	require.InDelta(t, 1, r.Before.MostUse, 1e-9)
	require.InDelta(t, 0.25, r.After.MostUse, 1e-9)
	require.InDelta(t, 0.25, r.After.LeastUse, 1e-9)
}

// Measured load counts in the place of what is booked, and the result tells what is to be expected.
func TestBalanceByMeasuredLoad(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	load := rebalance.Load{Hosts: map[pool.HostID]float64{}, Instances: map[pool.InstanceID]float64{}}
	for n := range 2 {
		b.host(server(n, 16, 64))
		for k := range 2 {
			busy := b.place(fmt.Sprint(n, "-", k), id(n), size(2, 8))
			load.Instances[busy] = []float64{0.45, 0.05}[n]
		}
	}
	load.Hosts[id(0)], load.Hosts[id(1)] = 0.9, 0.1
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{Goal: rebalance.Balance, Load: load})
	require.Len(t, r.Moves, 1, "one of the busy ones; moving an idle one back would gain too little")
	require.InDelta(t, 0.45, r.Load.Hosts[id(0)], 1e-9)
	require.InDelta(t, 0.55, r.Load.Hosts[id(1)], 1e-9)
}

func TestWrongOptions(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	b.host(server(0, 16, 64))
	for _, c := range []struct {
		o    rebalance.Options
		kind error
		want string
	}{
		{rebalance.Options{Goal: "tidy"}, pool.ErrInvalid, "defragment, drain, repair or balance"},
		{rebalance.Options{Goal: rebalance.Drain}, pool.ErrInvalid, "the hosts to be drained"},
		{rebalance.Options{Goal: rebalance.Drain, Hosts: []pool.HostID{"d/none"}}, pool.ErrNotFound, "d/none"},
		{rebalance.Options{Hosts: []pool.HostID{id(0)}}, pool.ErrInvalid, "unless they are to be drained"},
		{rebalance.Options{Budget: rebalance.Budget{Moves: -1}}, pool.ErrInvalid, "zero or more"},
		{rebalance.Options{Tolerance: 2}, pool.ErrInvalid, "a part from 0 to 1"},
		{rebalance.Options{Effort: -1}, pool.ErrInvalid, "0 to 1000"},
		{rebalance.Options{Load: rebalance.Load{Hosts: map[pool.HostID]float64{id(0): -1}}}, pool.ErrInvalid, "finite"},
	} {
		_, err := rebalance.Plan(t.Context(), b.state, &scheduler.Scheduler{}, c.o)
		require.ErrorIs(t, err, c.kind)
		require.ErrorContains(t, err, c.want)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 4 {
		b.host(server(n, 16, 64))
		b.place(fmt.Sprint(n), id(n), size(2, 8))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, g := range []rebalance.Goal{rebalance.Defragment, rebalance.Repair, rebalance.Balance} {
		_, err := rebalance.Plan(ctx, b.state, &scheduler.Scheduler{}, rebalance.Options{Goal: g})
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestFilterThatPanics(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 3 {
		b.host(server(n, 16, 64))
		b.place(fmt.Sprint(n), id(n), size(2, 8))
	}
	s := &scheduler.Scheduler{Filters: []scheduler.Filter{func(scheduler.Request, *pool.HostRecord) *scheduler.Reason { panic("no") }}}
	_, err := rebalance.Plan(t.Context(), b.state, s, rebalance.Options{})
	require.ErrorIs(t, err, scheduler.ErrExtension)
}

// A filter that is not pure, so that the scheduler refuses what it has accepted, costs another attempt and is told.
func TestFilterThatChangesItsMind(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 3 {
		b.host(server(n, 16, 64))
		b.place(fmt.Sprint(n), id(n), size(2, 8))
	}
	avoided := false
	s := &scheduler.Scheduler{Filters: []scheduler.Filter{func(r scheduler.Request, _ *pool.HostRecord) *scheduler.Reason {
		if len(r.Avoid) > 0 { // only the last question names the host that is left
			avoided = true
			return &scheduler.Reason{Detail: "never"}
		}
		return nil
	}}}
	r, err := rebalance.Plan(t.Context(), b.state, s, rebalance.Options{})
	require.NoError(t, err)
	require.True(t, avoided)
	require.Empty(t, r.Moves)
	require.NotZero(t, r.Disagreed)
}

// A host with a held allocation, or one that an instance is on its way to, cannot become empty.
func TestHostsThatCannotBecomeEmpty(t *testing.T) {
	t.Parallel()
	b := newBooks(t)
	for n := range 3 {
		b.host(server(n, 16, 64))
		b.place(fmt.Sprint(n), id(n), size(2, 8))
	}
	held := b.place("held", id(0), size(2, 8))
	b.fold(pool.KindDeleted, &pool.Ended{Instance: held, Hold: true})
	b.fold(pool.KindMoving, &pool.Moving{
		Instance: pool.NewInstanceID("test", "p", "2"), Host: id(1), Allocation: pool.Allocation{Resources: size(2, 8).Resources},
	})
	r := planned(t, b, &scheduler.Scheduler{}, rebalance.Options{})
	require.Empty(t, r.Moves)
	for _, why := range []string{"it has held allocations", "an instance is being moved to it", "it is being moved already"} {
		require.Contains(t, reasons(r), why)
	}
}

// Between a plan and its moves the books change: what no longer fits, or no longer gains anything, is refused.
func TestVerifyOnBooksThatHaveChanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		goal   rebalance.Goal
		change func(b *books)
		want   error
	}{
		"nothing":                {rebalance.Defragment, func(*books) {}, nil},
		"more on a target":       {rebalance.Defragment, func(b *books) { b.place("x", id(2), size(1, 1)) }, nil},
		"no room on the target":  {rebalance.Defragment, func(b *books) { b.place("x", id(2), size(4, 8)) }, pool.ErrNoRoom},
		"room for one copy only": {rebalance.Defragment, func(b *books) { b.place("x", id(2), size(3, 8)) }, pool.ErrNoRoom},
		"the host is used again": {rebalance.Defragment, func(b *books) { b.place("x", id(0), size(1, 1)) }, rebalance.ErrNoGain},
		"the target takes nothing": {rebalance.Defragment, func(b *books) {
			b.fold(pool.KindHostConditions, &pool.HostConditions{Host: id(2), Conditions: pool.Ready | pool.Cordoned})
		}, pool.ErrNoRoom},
		"the instance is gone":      {rebalance.Defragment, func(b *books) { b.fold(pool.KindDeleted, &pool.Ended{Instance: b.id("a")}) }, pool.ErrNotFound},
		"the instance is elsewhere": {rebalance.Defragment, func(b *books) { b.fold(pool.KindMoved, &pool.Moved{Machine: b.id("a").Machine(0), Host: id(1)}) }, pool.ErrWrongState},
		"it is moved by others": {rebalance.Defragment, func(b *books) {
			b.fold(pool.KindMoving, &pool.Moving{Instance: b.id("a"), Host: id(1), Allocation: pool.Allocation{Resources: size(2, 8).Resources}})
		}, pool.ErrWrongState},
		"nothing to be drained":  {rebalance.Drain, func(*books) {}, rebalance.ErrNoGain},
		"it is no violation":     {rebalance.Repair, func(*books) {}, rebalance.ErrNoGain},
		"its host is overloaded": {rebalance.Repair, func(b *books) { b.host(server(0, 2, 64)) }, nil},
		"less even":              {rebalance.Balance, func(*books) {}, rebalance.ErrNoGain},
		"more even":              {rebalance.Balance, func(b *books) { b.place("x", id(0), size(12, 8)) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBooks(t)
			for n := range 3 {
				b.host(server(n, 16, 64))
			}
			b.place("a", id(0), size(2, 8))
			b.place("b", id(0), size(2, 8))
			b.place("c", id(2), size(10, 8))
			moves := []rebalance.Move{{Instance: b.id("a"), From: id(0), To: id(2), For: id(0)}, {Instance: b.id("b"), From: id(0), To: id(2), For: id(0)}}
			c.change(b)
			err := rebalance.Verify(b.state, nil, rebalance.Options{Goal: c.goal}, moves)
			if c.want == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.want)
			}
		})
	}
}
