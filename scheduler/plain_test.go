package scheduler_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// plainHost is a host as somebody would write it down who wants a fast scan and nothing else: fixed classes, numbers in
// one piece of memory, traits as bits.
type plainHost struct {
	traits         uint64
	free, capacity [3]int64
	rooms          [2]int64 // of its two storage pools
	placed         int32
}

type plainRequest struct {
	must uint64
	need [3]int64 // the last of them one disk
}

type plainPlace struct{ host, device int32 }

// plainPool is the baseline: a slice of hosts and a loop over all of them. It knows no events, names or reasons.
type plainPool []plainHost

// place returns the host that best fit prefers, and books it: least is left over in the mean of three classes, empty
// hosts last, the first of equal ones.
func (p plainPool) place(r *plainRequest) (plainPlace, bool) {
	best, most := -1, 0.0
	for i := range p {
		h := &p[i]
		if h.traits&r.must != r.must || h.free[0] < r.need[0] || h.free[1] < r.need[1] || h.free[2] < r.need[2] ||
			h.rooms[0] < r.need[2] && h.rooms[1] < r.need[2] {
			continue
		}
		left := float64(h.free[0]-r.need[0])/float64(h.capacity[0]) + float64(h.free[1]-r.need[1])/float64(h.capacity[1]) +
			float64(h.free[2]-r.need[2])/float64(h.capacity[2])
		score := 1 - left/3
		if h.placed > 0 {
			score++
		}
		if best < 0 || score > most {
			best, most = i, score
		}
	}
	if best < 0 {
		return plainPlace{}, false
	}
	h := &p[best]
	d := 0
	if h.rooms[0] < r.need[2] || h.rooms[1] >= r.need[2] && h.rooms[1] < h.rooms[0] {
		d = 1
	}
	p.book(plainPlace{int32(best), int32(d)}, r, 1)
	return plainPlace{int32(best), int32(d)}, true
}

func (p plainPool) book(at plainPlace, r *plainRequest, sign int64) {
	h := &p[at.host]
	for k, n := range r.need {
		h.free[k] -= sign * n
	}
	h.rooms[at.device] -= sign * r.need[2]
	h.placed += int32(sign)
}

// plainFleet is benchFleet as a plain pool, and benchRequests as its requests.
func plainFleet(hosts []*pool.HostRecord) (plainPool, []plainRequest) {
	const ready, north, gold = 1, 2, 4
	classes := [3]pool.Class{pool.CPU, pool.Memory, pool.StorageSSD}
	var p plainPool
	for _, h := range hosts {
		n := plainHost{traits: ready, placed: int32(h.Placed)}
		if h.Zone == "north" {
			n.traits |= north
		}
		if h.Labels["tier"] == "gold" {
			n.traits |= gold
		}
		for k, c := range classes {
			n.capacity[k], n.free[k] = h.Capacity[c], h.Capacity[c]-h.Used[c]
		}
		for k := range n.rooms {
			n.rooms[k] = h.Devices[k].Capacity() - h.DeviceUsed[h.Devices[k].ID]
		}
		p = append(p, n)
	}
	var reqs []plainRequest
	for _, req := range benchRequests() {
		n := plainRequest{must: ready, need: [3]int64{req.Spec.Resources[pool.CPU], req.Spec.Resources[pool.Memory], req.Spec.Disks[0].Size}}
		if len(req.Spec.Constraints.Zones) > 0 {
			n.must |= north | gold
		}
		reqs = append(reqs, n)
	}
	return p, reqs
}

// plainChurn does what churn does, on a plain pool.
type plainChurn struct {
	p     plainPool
	reqs  []plainRequest
	alive []plainStay
	turns int
}

type plainStay struct {
	at  plainPlace
	req *plainRequest // nil: nothing
}

func newPlainChurn(hosts int) *plainChurn {
	p, reqs := plainFleet(benchFleet(hosts))
	return &plainChurn{p: p, reqs: reqs, alive: make([]plainStay, max(16, hosts/10))}
}

func (c *plainChurn) turn() {
	s := &c.alive[c.turns%len(c.alive)]
	if s.req != nil {
		c.p.book(s.at, s.req, -1)
	}
	req := &c.reqs[c.turns*7%len(c.reqs)]
	c.turns++
	s.req = nil
	if at, ok := c.p.place(req); ok {
		*s = plainStay{at, req}
	}
}

// The baseline does the same work: on the same fleet and requests it places the same as the index, turn by turn.
func TestPlainScanPlacesTheSame(t *testing.T) {
	t.Parallel()
	plain := newPlainChurn(300)
	c := newChurn(t, scheduler.Scheduler{Strategy: scheduler.BestFit}, 300)
	placed := 0
	for range 2000 {
		k := c.turns % len(c.alive)
		plain.turn()
		c.turn(t)
		if s := plain.alive[k]; s.req == nil {
			require.Empty(t, c.alive[k].Host)
		} else {
			require.Equal(t, fmt.Sprintf("d/h%06d", s.at.host), string(c.alive[k].Host))
			require.Equal(t, fmt.Sprintf("pool%d", s.at.device), c.alive[k].Allocation.Claims[0].Device)
			placed++
		}
	}
	require.Greater(t, placed, 1000)
}
