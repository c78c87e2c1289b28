package packing_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/packing"
)

func TestFromBooks(t *testing.T) {
	t.Parallel()
	st, revision := pool.NewState(), pool.Revision(0)
	fold := func(kind string, payload any) {
		e, err := pool.NewEvent(kind, payload)
		require.NoError(t, err)
		revision++
		e.ID, e.Revision = "e", revision
		require.NoError(t, st.Apply(&e))
	}
	fold(pool.KindOpened, &pool.Opened{Ledger: "test"})
	fold(pool.KindProjectPut, &pool.Project{Name: "p"})
	units := pool.Inventory{}
	host := func(name string, size pool.Resources, c pool.Conditions, shapes ...pool.Shape) pool.HostID {
		h := pool.Host{ID: pool.NewHostID("d", name), Conditions: c, Inventory: map[pool.Class]pool.Inventory{}, Shapes: shapes}
		for c, n := range size {
			h.Inventory[c] = pool.Inventory{Total: n, MinUnit: units.MinUnit, MaxUnit: units.MaxUnit, StepSize: units.StepSize}
		}
		fold(pool.KindHostPut, &pool.HostPut{Host: h})
		return h.ID
	}
	image := pool.Image{Name: "i", Sources: map[string]string{"d": "i"}}
	book := func(on pool.HostID, size pool.Resources) {
		name := fmt.Sprint("vm", revision)
		fold(pool.KindLaunched, &pool.Launched{
			Instance: pool.NewInstanceID("test", "p", name), Name: name, Project: "p", Image: image, Want: pool.Running,
			Spec:  pool.Spec{Image: "i", Resources: size},
			Place: pool.Placement{Host: on, Allocation: pool.Allocation{Resources: size}},
		})
	}
	a := host("a", gib(16, 64), pool.Ready)
	b := host("b", gib(16, 64), pool.Ready)
	host("c", gib(32, 64), pool.Ready)
	cordoned := host("d", gib(64, 64), pool.Ready|pool.Cordoned)
	region := host("r", gib(640, 640), pool.Ready, pool.Shape{Name: "s", Resources: gib(2, 4)})
	units = pool.Inventory{MinUnit: 500, MaxUnit: 8 * pool.GiB, StepSize: 500}
	host("l", gib(16, 64), pool.Ready)
	book(a, gib(2, 4))
	book(b, gib(2, 4))
	book(b, gib(4, 4))
	book(cordoned, gib(2, 4))
	book(region, gib(2, 4))

	p := packing.FromBooks(st)
	require.Equal(t, &packing.Problem{
		Items: []packing.Item{
			{Name: "cpu 2 cores, memory 4 GiB", Resources: gib(2, 4), Count: 3},
			{Name: "cpu 4 cores, memory 4 GiB", Resources: gib(4, 4), Count: 1},
		},
		Hosts: []packing.HostKind{
			{Name: "cpu 16 cores, memory 64 GiB", Capacity: gib(16, 64), Count: 2},
			{Name: "cpu 16 cores, memory 64 GiB", Capacity: gib(16, 64), Count: 1, Units: map[pool.Class]packing.Units{
				pool.CPU: {Min: 500, Max: 8 * pool.GiB, Step: 500}, pool.Memory: {Min: 500, Max: 8 * pool.GiB, Step: 500},
			}},
			{Name: "cpu 32 cores, memory 64 GiB", Capacity: gib(32, 64), Count: 1},
		},
	}, p)
	res, err := packing.Plan(t.Context(), p, packing.Options{})
	require.NoError(t, err)
	require.NoError(t, packing.Verify(t.Context(), p, res))
	require.EqualValues(t, 1, res.Hosts)
}
