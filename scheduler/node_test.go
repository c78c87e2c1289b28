package scheduler_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// numa is a host of two NUMA nodes, with dedicated cores, huge pages and a GPU on each.
func numa(name string) pool.Host {
	h := host(name, 32, 128)
	for node, gib := range []int64{32, 64} {
		at := fmt.Sprint(node)
		h.Devices = append(h.Devices,
			pool.Device{ID: "cores-" + at, Class: "cpu.dedicated", Node: at, Inventory: pool.Inventory{Total: 8}},
			pool.Device{ID: "pages-" + at, Class: "memory.huge", Node: at, Inventory: pool.Inventory{Total: gib * pool.GiB}},
			pool.Device{ID: "gpu-" + at, Class: pool.GPU, Node: at, Inventory: pool.Inventory{Total: 1}},
		)
	}
	return h
}

func pinned(cores, gib, gpus int64) scheduler.Request {
	req := want(1, 1)
	req.Spec.Resources["cpu.dedicated"], req.Spec.Resources["memory.huge"], req.Spec.Resources[pool.GPU] = cores, gib*pool.GiB, gpus
	req.Spec.Constraints.SameNode = []pool.Class{"cpu.dedicated", "memory.huge", pool.GPU}
	return req
}

// Cores, huge pages and GPU of an instance are of one NUMA node, the fullest that has them; where no node has all, the refusal
// says so although there is enough of each.
func TestSameNode(t *testing.T) {
	t.Parallel()
	b := newBooks(t, numa("a"))
	var s scheduler.Scheduler
	on := func(req scheduler.Request) string {
		d, err := s.Place(b.state, req)
		require.NoError(t, err)
		h, _ := b.state.Host(d.Host)
		node := h.Device(d.Allocation.Claims[0].Device).Node
		for _, c := range d.Allocation.Claims {
			require.Equal(t, node, h.Device(c.Device).Node)
		}
		b.book(req, d)
		return node
	}
	require.Equal(t, "1", on(pinned(2, 48, 0)), "only there are so many huge pages")
	require.Equal(t, "1", on(pinned(2, 8, 0)), "the fullest node, so that the other one stays whole")
	require.Equal(t, "0", on(pinned(6, 8, 1)))

	_, err := s.Place(b.state, pinned(4, 16, 1))
	var refusal *scheduler.Refusal
	require.ErrorAs(t, err, &refusal)
	reason := refusal.Hosts[0].Reason
	require.Equal(t, scheduler.ByNode, reason.Constraint, "four cores are free on node 1 and so is a GPU, but not 16 GiB")
	require.Equal(t, `no NUMA node has room for "cpu.dedicated", "gpu", "memory.huge" together`, reason.String())
	require.False(t, refusal.Never)
	require.Equal(t, []scheduler.Step{{Do: scheduler.DropNode}}, refusal.Nearest.Steps)

	_, err = s.Place(b.state, pinned(9, 1, 0))
	require.ErrorAs(t, err, &refusal)
	require.True(t, refusal.Never)

	plain := newBooks(t, host("plain", 32, 128)) // which says nothing of nodes
	req := want(1, 1)
	req.Spec.Constraints.SameNode = []pool.Class{pool.CPU, pool.Memory}
	_, err = s.Place(plain.state, req)
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, scheduler.ByNode, refusal.Hosts[0].Reason.Constraint)
	req.Spec.Constraints.SameNode = []pool.Class{"memory.huge"} // which it does not ask for
	_, err = s.Place(plain.state, req)
	require.NoError(t, err)
}
