package pool_test

import (
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// What an overlay changes in its own records is seen neither in the State under it nor in a copy of it, and what is refused
// leaves no trace.
func TestRecordsOfAnOverlay(t *testing.T) {
	t.Parallel()
	n := 0
	apply := func(st *pool.State, kind string, payload any) error {
		e, err := pool.NewEvent(kind, payload)
		require.NoError(t, err)
		n++
		e.ID, e.Revision, e.Time = strconv.Itoa(n), pool.Revision(n), time.Unix(int64(n), 0).UTC()
		return st.Apply(&e)
	}
	base := pool.NewState()
	h := pool.Host{
		ID: "d/h", Name: "h", Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 64 * pool.Core}},
		Devices:   []pool.Device{{ID: "d0", Class: "own", Inventory: pool.Inventory{Total: 100}}},
	}
	require.NoError(t, apply(base, pool.KindOpened, &pool.Opened{Ledger: "L"}))
	require.NoError(t, apply(base, pool.KindHostPut, &pool.HostPut{Host: h}))
	require.NoError(t, apply(base, pool.KindProjectPut, &pool.Project{Name: "p"}))
	require.NoError(t, apply(base, pool.KindClusterPut, &pool.ClusterPut{Cluster: "p/web", Token: "web"}))
	launch := func(st *pool.State, index int, r pool.Resources) error {
		token := strconv.Itoa(n)
		return apply(st, pool.KindLaunched, &pool.Launched{
			Instance: pool.NewInstanceID("L", "p", token), Name: "i", Project: "p", Want: pool.Running, Cluster: "p/web", Index: index,
			Place: pool.Placement{Host: "d/h", Allocation: pool.Allocation{Resources: r, Claims: []pool.Claim{{Device: "d0", Class: "own", Amount: 1}}}},
		})
	}
	core := pool.Resources{pool.CPU: pool.Core}
	uses := func(st *pool.State, cores int64) {
		t.Helper()
		p, _ := st.Project("p")
		c, _ := st.Cluster("p/web")
		h, _ := st.Host("d/h")
		require.Equal(t, cores*pool.Core, p.Used[pool.CPU])
		require.Equal(t, cores, p.Used[pool.Instances])
		require.EqualValues(t, cores, p.Members)
		require.Len(t, c.Members, int(cores))
		require.EqualValues(t, cores, c.Next)
		require.Equal(t, cores*pool.Core, h.Used[pool.CPU])
		require.Equal(t, cores, h.DeviceUsed["d0"])
		require.Equal(t, cores*pool.Core, st.Total(pool.CPU).Used)
	}
	require.NoError(t, launch(base, 0, core))
	uses(base, 1)

	o := base.Overlay()
	require.NoError(t, apply(o, pool.KindProjectPut, &pool.Project{Name: "p", Quota: core})) // a record, and nothing used yet
	require.NoError(t, apply(o, pool.KindHostConditions, &pool.HostConditions{Host: "d/h", Conditions: pool.Ready, Reason: "as it was"}))
	require.NoError(t, launch(o, 1, core))
	require.NoError(t, apply(o, pool.KindHostPut, &pool.HostPut{Host: h}))
	for k := range 2 {
		require.NoError(t, launch(o, 2+k, core))
	}
	uses(o, 4)
	uses(base, 1)

	// What is refused: a sum that is too large.
	require.NoError(t, apply(o, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "d/big", Name: "big", Conditions: pool.Ready}}))
	before, _ := o.Project("p")
	changed := before.Changed
	require.ErrorIs(t, apply(o, pool.KindLaunched, &pool.Launched{
		Instance: pool.NewInstanceID("L", "p", "huge"), Name: "i", Project: "p", Want: pool.Running,
		Place: pool.Placement{Host: "d/big", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: math.MaxInt64 - pool.Core, pool.Memory: 1}}},
	}), pool.ErrOverflow)
	// And what is found wrong after it has been booked: a device that would give out too much, a project that is not there.
	for _, l := range []pool.Launched{
		{Project: "p", Place: pool.Placement{Host: "d/h", Allocation: pool.Allocation{Resources: core, Claims: []pool.Claim{
			{Device: "d0", Class: "own", Amount: 1}, {Device: "d0", Class: "own", Amount: math.MaxInt64},
		}}}},
		{Project: "none", Place: pool.Placement{Host: "d/h", Allocation: pool.Allocation{Resources: core, Claims: []pool.Claim{{Device: "d0", Class: "own", Amount: 1}}}}},
	} {
		l.Instance, l.Name, l.Want = pool.NewInstanceID("L", "p", "wrong"), "i", pool.Running
		require.Error(t, apply(o, pool.KindLaunched, &l))
	}
	uses(o, 4)
	after, _ := o.Project("p")
	require.Equal(t, changed, after.Changed)
	require.Zero(t, after.Used[pool.Memory])
	require.Zero(t, o.Total(pool.Memory).Used)

	// An overlay that is over it, and taken over by it.
	top := o.Overlay()
	require.NoError(t, launch(top, 4, core))
	uses(top, 5)
	uses(o, 4)
	o.Absorb(top)
	uses(o, 5)
	require.NoError(t, launch(o, 5, core))
	uses(o, 6)

	c := o.Clone()
	require.NoError(t, launch(o, 6, core))
	uses(o, 7)
	uses(c, 6)

	uses(base, 1)
	base.Absorb(o)
	uses(base, 7)
	kept, _ := base.Project("p")
	require.NoError(t, launch(base, 7, core))
	require.EqualValues(t, 7, kept.Members)
	uses(base, 8)
}
