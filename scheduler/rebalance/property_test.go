package rebalance_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/rebalance"
)

// verify checks a plan without the planner's or the scheduler's code: sums, devices, constraints, conditions, budgets,
// waves, what is gained; and that planning again on the outcome gives nothing.
func verify(t testing.TB, st *pool.State, s *scheduler.Scheduler, o *rebalance.Options, r *rebalance.Result) {
	t.Helper()
	used, devices := make(map[pool.HostID]pool.Resources), make(map[pool.HostID]map[string]int64)
	where, holds := make(map[pool.InstanceID]pool.HostID), make(map[pool.InstanceID]pool.Allocation)
	kept := make(map[pool.HostID]int) // what is on hosts besides instances
	add := func(h pool.HostID, a pool.Allocation, sign int64) {
		if used[h] == nil {
			used[h], devices[h] = make(pool.Resources), make(map[string]int64)
		}
		for c, n := range a.Resources {
			used[h][c] += sign * n
		}
		for _, c := range a.Claims {
			devices[h][c.Device] += sign * c.Amount
		}
	}
	placed := func() map[pool.HostID]int {
		n := make(map[pool.HostID]int)
		for _, h := range where {
			n[h]++
		}
		return n
	}
	for i := range st.Instances() {
		if i.Placed() {
			where[i.ID], holds[i.ID] = i.Place.Host, i.Place.Allocation
			add(i.Place.Host, i.Place.Allocation, 1)
		}
		if i.Move != nil { // by somebody else's order
			add(i.Move.Host, i.Move.Allocation, 1)
			kept[i.Move.Host]++
		}
	}
	for held := range st.Held() {
		add(held.Host, held.Allocation, 1)
		kept[held.Host]++
	}
	before := placed()
	perHost, bytes := max(1, o.Budget.PerHost), int64(0)
	for first := 0; first < len(r.Moves); {
		end := first
		busy := make(map[pool.HostID]int)
		for ; end < len(r.Moves) && r.Moves[end].Wave == r.Moves[first].Wave; end++ {
			m := &r.Moves[end]
			i, ok := st.Instance(m.Instance)
			require.True(t, ok)
			h, ok := st.Host(m.To)
			require.True(t, ok)
			require.Equal(t, where[m.Instance], m.From, "it is where the step says")
			require.NotEqual(t, m.From, m.To)
			require.NotEmpty(t, m.Why)
			require.Equal(t, pool.Active, i.Phase)
			require.Nil(t, i.Move)
			add(m.To, m.Allocation, 1) // both copies count until the wave has ended
			for c, n := range used[m.To] {
				require.LessOrEqual(t, n, max(h.Capacity[c], n-m.Allocation.Resources[c]*1<<40), "%s on %s", c, m.To)
				if m.Allocation.Resources[c] > 0 {
					require.LessOrEqual(t, n, h.Capacity[c], "%s on %s", c, m.To)
				}
			}
			for _, c := range m.Allocation.Claims {
				require.LessOrEqual(t, devices[m.To][c.Device], h.Device(c.Device).Capacity(), "device %s of %s", c.Device, m.To)
			}
			demand, err := i.Spec.Demand()
			require.NoError(t, err)
			require.True(t, demand.Equal(m.Allocation.Resources))
			c := i.Spec.Constraints
			require.Equal(t, pool.Ready, h.Conditions)
			require.True(t, len(c.Zones) == 0 || slices.Contains(c.Zones, h.Zone))
			require.True(t, len(c.Hosts) == 0 || slices.Contains(c.Hosts, h.ID))
			for k, v := range c.Labels {
				require.Equal(t, v, h.Labels[k])
			}
			require.Equal(t, m.From.Driver(), m.To.Driver())
			require.False(t, h.Aggregate())
			from, _ := st.Host(m.From)
			require.True(t, from.Conditions.Has(pool.Ready) && !from.Conditions.Has(pool.Fenced) && !from.Conditions.Has(pool.Unreachable))
			for _, leave := range o.Leave {
				require.NotContains(t, []pool.HostID{m.From, m.To}, leave)
			}
			for k, v := range o.Pinned {
				require.NotEqual(t, v, i.Spec.Labels[k])
			}
			busy[m.From]++
			busy[m.To]++
			bytes += m.Bytes
		}
		for h, n := range busy {
			require.LessOrEqual(t, n, perHost, "moves of %s at a time", h)
		}
		for _, m := range r.Moves[first:end] {
			add(m.From, holds[m.Instance], -1)
			where[m.Instance], holds[m.Instance] = m.To, m.Allocation
		}
		first = end
	}
	require.Equal(t, bytes, r.Bytes)
	if o.Budget.Moves > 0 {
		require.LessOrEqual(t, len(r.Moves), max(0, o.Budget.Moves-o.Budget.Spent.Moves))
	}
	if o.Budget.Bytes > 0 {
		require.LessOrEqual(t, bytes, max(0, o.Budget.Bytes-o.Budget.Spent.Bytes))
	}
	gained(t, o, r, before, placed(), kept)

	clone := st.Clone()
	for rest := r.Moves; len(rest) > 0; { // what is left of a plan stands, wave by wave
		err := rebalance.Verify(clone, s, *o, rest)
		if o.Goal != rebalance.Balance || !errors.Is(err, rebalance.ErrNoGain) { // which Verify judges more strictly
			require.NoError(t, err)
		}
		n := slices.IndexFunc(rest, func(m rebalance.Move) bool { return m.Wave > rest[0].Wave })
		if n < 0 {
			n = len(rest)
		}
		require.NoError(t, rebalance.Fold(clone, rest[:n]))
		require.Error(t, rebalance.Verify(clone, s, *o, rest), "what is done stands no more")
		rest = rest[n:]
	}
	again := *o
	again.Budget.Spent.Moves += len(r.Moves)
	again.Budget.Spent.Bytes += r.Bytes
	again.Load = r.Load
	second, err := rebalance.Plan(t.Context(), clone, s, again)
	require.NoError(t, err)
	require.Empty(t, second.Moves, "a second plan after the first")
	require.Equal(t, r.After, second.Before)
}

// gained checks what the plan says that it gains against where instances were and are.
func gained(t testing.TB, o *rebalance.Options, r *rebalance.Result, instances, then, kept map[pool.HostID]int) {
	t.Helper()
	before, after := maps.Clone(instances), maps.Clone(then)
	for h, n := range kept {
		before[h], after[h] = before[h]+n, after[h]+n
	}
	require.Equal(t, len(before), r.Before.Hosts)
	require.Equal(t, len(after), r.After.Hosts)
	if len(r.Moves) == 0 {
		require.Equal(t, r.Before, r.After)
		require.Empty(t, r.Emptied)
		return
	}
	switch r.Goal {
	case rebalance.Drain:
		require.Less(t, r.After.On, r.Before.On)
		on := 0
		for at, h := range o.Hosts {
			if slices.Contains(o.Hosts[:at], h) {
				continue
			}
			on += then[h]
			require.LessOrEqual(t, then[h], instances[h])
		}
		require.Equal(t, on, r.After.On)
	case rebalance.Repair:
		require.LessOrEqual(t, r.After.Violations, r.Before.Violations)
		require.LessOrEqual(t, r.After.Overloaded, r.Before.Overloaded)
	case rebalance.Balance:
		require.Less(t, r.After.Unevenness, r.Before.Unevenness)
	default:
		require.Len(t, r.Emptied, len(before)-len(after))
		require.NotEmpty(t, r.Emptied)
		gone := make(map[pool.HostID]bool)
		for _, h := range r.Emptied {
			require.NotZero(t, before[h])
			require.Zero(t, after[h])
			gone[h] = true
		}
		for h := range after {
			require.NotZero(t, before[h], "no host comes into use")
		}
	}
}

// random makes a fleet: hosts of several kinds, zones, labels, devices, conditions; instances placed by the scheduler,
// some of which have gone again, some where they must not be, and hosts that have shrunk.
func random(t testing.TB, r *rand.Rand, filters bool) (*books, *scheduler.Scheduler, rebalance.Options) {
	b, s := newBooks(t), &scheduler.Scheduler{Strategy: scheduler.Strategy(r.IntN(2))}
	if filters && r.IntN(3) == 0 {
		most := 3 + r.IntN(6)
		s.Filters = append(s.Filters, func(_ scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
			if h.Placed >= most {
				return &scheduler.Reason{Detail: "enough"}
			}
			return nil
		})
	}
	devices := r.IntN(3) == 0
	n := 2 + r.IntN(12)
	hosts := make([]pool.Host, n)
	for k := range hosts {
		h := server(k, []int64{8, 16, 32}[r.IntN(3)], []int64{16, 64, 96}[r.IntN(3)])
		if r.IntN(8) == 0 {
			h.ID = pool.NewHostID("e", h.ID.Native())
		}
		h.Zone = []string{"", "north", "south"}[r.IntN(3)]
		if r.IntN(2) == 0 {
			h.Labels = map[string]string{"tier": []string{"gold", "lead"}[r.IntN(2)]}
		}
		if devices && r.IntN(3) > 0 {
			for d := range 1 + r.IntN(3) {
				h.Devices = append(h.Devices, pool.Device{
					ID: fmt.Sprint("p", d), Class: pool.StorageSSD, Inventory: pool.Inventory{Total: (40 + r.Int64N(100)) * pool.GiB},
				})
			}
		}
		if r.IntN(10) == 0 {
			h.Shapes = []pool.Shape{{Name: "s", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 8 * pool.GiB}}}
		}
		hosts[k] = h
		b.host(h)
	}
	for k := range r.IntN(60) {
		spec := size(1+r.Int64N(6), 1+r.Int64N(24))
		if devices && r.IntN(2) == 0 {
			spec.Disks = []pool.Disk{{Size: (1 + r.Int64N(50)) * pool.GiB, Storage: pool.SSD}}
		}
		if r.IntN(6) == 0 {
			spec.Constraints.Zones = []string{"north"}
		}
		if r.IntN(8) == 0 {
			spec.Constraints.Labels = map[string]string{"tier": "gold"}
		}
		if r.IntN(12) == 0 {
			spec.Labels = map[string]string{"pin": "yes"}
		}
		if r.IntN(15) == 0 && len(spec.Disks) == 0 {
			if h := hosts[r.IntN(n)]; !h.Aggregate() {
				b.place(fmt.Sprint("forced", k), h.ID, spec)
			}
			continue
		}
		b.fit(fmt.Sprint(k), s, spec)
	}
	for _, i := range b.state.SortedInstances() {
		switch r.IntN(12) {
		case 0, 1, 2, 3:
			b.fold(pool.KindDeleted, &pool.Ended{Instance: i.ID})
		case 4:
			b.fold(pool.KindWanted, &pool.Wanted{Instance: i.ID, Want: pool.Absent})
		case 5:
			if r.IntN(3) == 0 {
				b.fold(pool.KindDeleted, &pool.Ended{Instance: i.ID, Hold: true})
			}
		case 6:
			d, err := s.Place(b.state, scheduler.Request{Spec: i.Spec, Image: i.Image, Project: "p", Avoid: []pool.HostID{i.Place.Host}})
			if err == nil && r.IntN(3) == 0 {
				b.fold(pool.KindMoving, &pool.Moving{Instance: i.ID, Host: d.Host, Allocation: d.Allocation})
			}
		}
	}
	for _, h := range hosts {
		switch r.IntN(12) {
		case 0:
			b.fold(pool.KindHostConditions, &pool.HostConditions{Host: h.ID, Conditions: pool.Ready | pool.Cordoned})
		case 1:
			b.fold(pool.KindHostConditions, &pool.HostConditions{Host: h.ID, Conditions: pool.Ready | pool.Unreachable})
		}
	}
	o := rebalance.Options{Budget: rebalance.Budget{PerHost: r.IntN(4)}}
	o.Goal = []rebalance.Goal{rebalance.Defragment, rebalance.Drain, rebalance.Repair, rebalance.Balance}[r.IntN(4)]
	if r.IntN(2) == 0 {
		o.Budget.Moves = 1 + r.IntN(20)
		o.Budget.Spent.Moves = r.IntN(4)
	}
	if r.IntN(4) == 0 {
		o.Budget.Bytes = (1 + r.Int64N(200)) * pool.GiB
	}
	if r.IntN(3) == 0 {
		o.Pinned = map[string]string{"pin": "yes"}
	}
	if o.Goal == rebalance.Drain {
		for range 1 + r.IntN(3) {
			o.Hosts = append(o.Hosts, hosts[r.IntN(n)].ID)
		}
	} else if r.IntN(4) == 0 {
		o.Leave = []pool.HostID{hosts[r.IntN(n)].ID}
	}
	if o.Goal == rebalance.Balance && r.IntN(2) == 0 {
		o.Load.Hosts = make(map[pool.HostID]float64)
		for _, h := range hosts {
			if r.IntN(4) > 0 {
				o.Load.Hosts[h.ID] = r.Float64()
			}
		}
	}
	return b, s, o
}

func TestPlansOfRandomFleets(t *testing.T) {
	t.Parallel()
	const cases = 1500
	count := make(map[rebalance.Goal]int)
	for seed := range uint64(cases) {
		r := rand.New(rand.NewPCG(seed, 1))
		b, s, o := random(t, r, true)
		plan, err := rebalance.Plan(t.Context(), b.state, s, o)
		require.NoError(t, err, "seed %d", seed)
		require.Zero(t, plan.Disagreed, "seed %d: the scheduler refused what the search had found", seed)
		if !t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) { verify(t, b.state, s, &o, plan) }) {
			return
		}
		other, err := rebalance.Plan(t.Context(), b.state.Clone(), s, o)
		require.NoError(t, err)
		require.Equal(t, plan, other, "seed %d: the same books, another plan", seed)
		if len(plan.Moves) > 0 {
			count[plan.Goal]++
		}
	}
	t.Log("plans with moves:", count)
	for _, g := range []rebalance.Goal{rebalance.Defragment, rebalance.Drain, rebalance.Repair, rebalance.Balance} {
		require.Greater(t, count[g], cases/40, "the cases are too easy: %s", g)
	}
}

func FuzzPlan(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint64(7), uint8(0))
	}
	f.Fuzz(func(t *testing.T, a, b uint64, effort uint8) {
		books, s, o := random(t, rand.New(rand.NewPCG(a, b)), true)
		o.Effort = int(effort % 3)
		plan, err := rebalance.Plan(t.Context(), books.state, s, o)
		require.NoError(t, err)
		require.Zero(t, plan.Disagreed)
		verify(t, books.state, s, &o, plan)
	})
}
