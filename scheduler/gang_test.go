package scheduler_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// small is a pool that can be gone through by brute force: hosts with free cores and memory, in racks.
type small struct {
	free  [][2]int64
	ready []bool
	gold  []bool
	rack  []string
	ids   []pool.HostID
}

func randomSmall(t testing.TB, r *rand.Rand, most int) (*small, *scheduler.Index) {
	p := &small{}
	var hosts []pool.Host
	for i := range 1 + r.IntN(most) {
		h := host(string(rune('a'+i)), 1+r.Int64N(6), 1+r.Int64N(6))
		rack := []string{"", "r1", "r2", "r3"}[r.IntN(4)]
		h.Labels = map[string]string{}
		if rack != "" {
			h.Labels["rack"] = rack
		}
		gold := r.IntN(3) > 0
		if gold {
			h.Labels["gold"] = "yes"
		}
		ready := r.IntN(8) > 0
		if !ready {
			h.Conditions = pool.Ready | pool.Cordoned
		}
		p.free = append(p.free, [2]int64{h.Inventory[pool.CPU].Total, h.Inventory[pool.Memory].Total})
		p.ready, p.gold, p.rack, p.ids = append(p.ready, ready), append(p.gold, gold), append(p.rack, rack), append(p.ids, h.ID)
		hosts = append(hosts, h)
	}
	ix := scheduler.NewIndex(pool.NewState())
	ix.Narrow(3, 2)
	b := newBooks(t, hosts...)
	for h := range b.state.Hosts() {
		ix.Update(h)
	}
	return p, ix
}

func randomGang(r *rand.Rand, kinds, most int) scheduler.Gang {
	var reqs []scheduler.Request
	for range kinds {
		req := want(1+r.Int64N(3), 1+r.Int64N(3))
		if r.IntN(3) == 0 {
			req.Spec.Constraints.Labels = map[string]string{"gold": "yes"}
		}
		reqs = append(reqs, req)
	}
	g := scheduler.Gang{Reserve: r.IntN(3), Domain: []string{"", "rack"}[r.IntN(2)]}
	for range 1 + r.IntN(most) {
		g.Members = append(g.Members, reqs[r.IntN(kinds)])
	}
	return g
}

func (p *small) domain(g scheduler.Gang, h int) string {
	if g.Domain == "" {
		return string(p.ids[h])
	}
	return p.rack[h]
}

func (p *small) fits(free [][2]int64, h int, req scheduler.Request) bool {
	return p.ready[h] && free[h][0] >= req.Spec.Resources[pool.CPU] && free[h][1] >= req.Spec.Resources[pool.Memory] &&
		(req.Spec.Constraints.Labels == nil || p.gold[h])
}

// every calls yield with every way to place the members on hosts that are not down, until it returns true.
func (p *small) every(free [][2]int64, members []scheduler.Request, down map[int]bool, on []int, yield func([][2]int64, []int) bool) bool {
	if len(on) == len(members) {
		return yield(free, on)
	}
	req := members[len(on)]
	for h := range free {
		if down[h] || !p.fits(free, h, req) {
			continue
		}
		after := append([][2]int64(nil), free...)
		after[h][0] -= req.Spec.Resources[pool.CPU]
		after[h][1] -= req.Spec.Resources[pool.Memory]
		if p.every(after, members, down, append(on[:len(on):len(on)], h), yield) {
			return true
		}
	}
	return false
}

// survives reports whether, whichever domains fail, as many as are reserved for, what was on them fits the others.
func (p *small) survives(free [][2]int64, g scheduler.Gang, on []int) bool {
	domains := map[string]bool{}
	for h := range p.ids {
		domains[p.domain(g, h)] = true
	}
	var names []string
	for d := range domains {
		names = append(names, d)
	}
	for set := range 1 << len(names) {
		fails, n := map[string]bool{}, 0
		for i, d := range names {
			if set>>i&1 == 1 {
				fails[d] = true
				n++
			}
		}
		if n > g.Reserve {
			continue
		}
		down := map[int]bool{}
		for h := range p.ids {
			down[h] = fails[p.domain(g, h)]
		}
		var lost []scheduler.Request
		for m, h := range on {
			if down[h] {
				lost = append(lost, g.Members[m])
			}
		}
		if !p.every(free, lost, down, nil, func([][2]int64, []int) bool { return true }) {
			return false
		}
	}
	return true
}

// possible reports whether the first n members can be placed with their reserve.
func (p *small) possible(g scheduler.Gang, n int) bool {
	g.Members = g.Members[:n]
	return p.every(p.free, g.Members, nil, nil, func(free [][2]int64, on []int) bool { return p.survives(free, g, on) })
}

// accept checks decisions against the definition.
func (p *small) accept(t *testing.T, g scheduler.Gang, out []scheduler.Decision) {
	free, on := append([][2]int64(nil), p.free...), []int{}
	for m, d := range out {
		for h, id := range p.ids {
			if id == d.Host {
				require.True(t, p.fits(free, h, g.Members[m]), "member %d does not fit %s", m, id)
				free[h][0] -= d.Allocation.Resources[pool.CPU]
				free[h][1] -= d.Allocation.Resources[pool.Memory]
				on = append(on, h)
			}
		}
	}
	g.Members = g.Members[:len(out)]
	require.Len(t, on, len(out))
	require.True(t, p.survives(free, g, on), "no reserve: %v", on)
}

// A gang of one spec is placed exactly when that is possible, with any reserve; one of several exactly without a reserve,
// and soundly with one. Whatever happens, the index is as it was.
func TestPlaceAllAgainstBruteForce(t *testing.T) {
	t.Parallel()
	var placed, refused, missed, partial int
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(seed, 5))
		kinds := 1 + r.IntN(2)
		p, ix := randomSmall(t, r, 4)
		g := randomGang(r, kinds, 4)
		g.Partial = r.IntN(3) == 0
		before := records(ix, p)
		s := &scheduler.Scheduler{Strategy: scheduler.Strategy(r.IntN(3))}
		out, err := s.PlaceAll(ix, g)
		require.NoError(t, ix.Check(), "seed %d", seed)
		require.Equal(t, before, records(ix, p), "seed %d", seed)
		alike := true
		for _, m := range g.Members {
			alike = alike && fmt.Sprint(m) == fmt.Sprint(g.Members[0])
		}
		if err != nil {
			var refusal *scheduler.GangRefusal
			require.ErrorAs(t, err, &refusal, "seed %d", seed)
			require.ErrorIs(t, err, pool.ErrNoRoom)
			refused++
			n := len(g.Members)
			if g.Partial {
				n = 1
			}
			possible := p.possible(g, n)
			require.False(t, possible && (alike || g.Reserve == 0), "seed %d: refused, and possible: %v", seed, err)
			if refusal.Certain {
				require.False(t, p.possible(g, len(g.Members)), "seed %d: certainly not, and possible", seed)
			}
			if possible {
				missed++
			}
			continue
		}
		p.accept(t, g, out)
		placed++
		if len(out) < len(g.Members) {
			require.True(t, g.Partial)
			partial++
			require.False(t, p.possible(g, len(out)+1) && (alike || g.Reserve == 0), "seed %d: more are possible than %d", seed, len(out))
		}
	}
	require.Greater(t, placed, 300)
	require.Greater(t, refused, 300)
	require.Greater(t, partial, 30)
	require.Less(t, missed, placed/20, "the search gives up too early")
}

func records(ix *scheduler.Index, p *small) map[pool.HostID]string {
	out := make(map[pool.HostID]string)
	for _, id := range p.ids {
		h := ix.Record(id)
		out[id] = fmt.Sprint(h.Used, h.DeviceUsed, h.Placed, len(h.Labels))
	}
	return out
}

func TestPlaceAllSaysWhoDidNotFit(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 4, 16), host("b", 4, 16))
	ix := scheduler.NewIndex(b.state)
	g := scheduler.Gang{Members: []scheduler.Request{want(1, 1), want(4, 1), want(4, 1)}}
	_, err := new(scheduler.Scheduler).PlaceAll(ix, g)
	require.EqualError(t, err, `member 0 of a group, with 2 placed: no host fits: cpu 1 core, memory 1 GiB asked; of 2 hosts 2 by resource cpu; nearest: host "d/a" could take it: free 1 core of cpu, or ask for that much less`)
	var refusal *scheduler.Refusal
	require.ErrorAs(t, err, &refusal)

	g.Partial = true
	out, err := new(scheduler.Scheduler).PlaceAll(ix, g)
	require.NoError(t, err)
	require.Len(t, out, 2, "the first two")

	three := scheduler.Gang{Members: []scheduler.Request{want(2, 2), want(2, 2), want(2, 2)}, Reserve: 1}
	_, err = new(scheduler.Scheduler).PlaceAll(ix, three)
	var gang *scheduler.GangRefusal
	require.ErrorAs(t, err, &gang)
	require.True(t, gang.Certain)
	require.Len(t, gang.Domains, 1)
	require.ErrorContains(t, err, "of a group has no place left when [\"d/")

	three.Reserve = -1
	_, err = new(scheduler.Scheduler).PlaceAll(ix, three)
	require.ErrorIs(t, err, pool.ErrInvalid)
	_, err = new(scheduler.Scheduler).PlaceAll(ix, scheduler.Gang{Members: []scheduler.Request{{Spec: pool.Spec{Resources: pool.Resources{pool.CPU: -1}}}}})
	require.ErrorIs(t, err, pool.ErrInvalid)
}

// A panic of an importer's function in the middle leaves nothing booked.
func TestPlaceAllTakesBackWhatItTried(t *testing.T) {
	t.Parallel()
	b := newBooks(t, host("a", 4, 16), host("b", 4, 16))
	ix := scheduler.NewIndex(b.state)
	s := &scheduler.Scheduler{Filters: []scheduler.Filter{func(_ scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
		if h.Placed > 1 {
			panic("three is too many")
		}
		return nil
	}}}
	_, err := s.PlaceAll(ix, scheduler.Gang{Members: []scheduler.Request{want(1, 1), want(1, 1), want(1, 1)}})
	require.ErrorIs(t, err, scheduler.ErrExtension)
	require.NoError(t, ix.Check())
	require.Empty(t, ix.Record("d/a").Used)
	require.Empty(t, ix.Record("d/b").Used)
	require.True(t, errors.Is(err, scheduler.ErrExtension))
}

func BenchmarkPlaceAll(b *testing.B) {
	for _, reserve := range []int{0, 1, 2} {
		b.Run(fmt.Sprint("reserve=", reserve), func(b *testing.B) {
			ix := benchIndex(b, benchFleet(10000))
			g := scheduler.Gang{Reserve: reserve}
			for range 100 {
				g.Members = append(g.Members, benchRequests()[0])
			}
			for b.Loop() {
				if _, err := new(scheduler.Scheduler).PlaceAll(ix, g); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
