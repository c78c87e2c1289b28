package fake_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func conditions(t *testing.T, d *fake.Driver, id pool.HostID) pool.Conditions {
	t.Helper()
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	for _, h := range hosts {
		if h.ID == id {
			return h.Conditions
		}
	}
	t.Fatalf("host %s is not listed", id)
	return 0
}

// A dead host loses what runs on it, one that is cut off does not; both say nothing until they return.
func TestHostStates(t *testing.T) {
	for state, after := range map[fake.HostState]map[string]pool.Power{
		fake.Dead:   {"running": pool.Stopped, "suspended": pool.Stopped, "stopped": pool.Stopped},
		fake.CutOff: {"running": pool.Running, "suspended": pool.Suspended, "stopped": pool.Stopped},
	} {
		t.Run(string(state), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := on(fake.Config{})
				run, suspended, stopped := order("fake/a", 1), order("fake/a", 2), order("fake/a", 3)
				for _, o := range []hypervisor.Order{run, suspended, stopped} {
					require.NoError(t, d.Create(t.Context(), o))
				}
				require.NoError(t, d.Start(t.Context(), run.Ref))
				require.NoError(t, d.Start(t.Context(), suspended.Ref))
				require.NoError(t, d.Suspend(t.Context(), suspended.Ref))
				require.Equal(t, pool.Ready, conditions(t, d, "fake/a"))

				require.NoError(t, d.SetHostState("fake/a", state))
				require.Equal(t, pool.Conditions(0), conditions(t, d, "fake/a"))
				require.Equal(t, pool.Ready, conditions(t, d, "fake/b"))
				_, err := d.Machines(t.Context(), "fake/a")
				require.ErrorIs(t, err, hypervisor.ErrUnavailable)
				require.ErrorIs(t, d.Stop(t.Context(), run.Ref), hypervisor.ErrUnavailable)
				require.ErrorIs(t, d.Destroy(t.Context(), run.Ref), hypervisor.ErrUnavailable)
				require.Equal(t, after["running"], power(d, run.Ref))

				require.NoError(t, d.SetHostState("fake/a", fake.Up))
				require.Equal(t, pool.Ready, conditions(t, d, "fake/a"))
				require.Equal(t, after["running"], power(d, run.Ref))
				require.Equal(t, after["suspended"], power(d, suspended.Ref))
				require.Equal(t, after["stopped"], power(d, stopped.Ref))
			})
		})
	}
}

// What is under way when a host goes is in doubt; what was sent and is late lands if the host still runs.
func TestHostsGoInTheMiddleOfACall(t *testing.T) {
	for name, tc := range map[string]struct {
		state fake.HostState
		fault fake.Fault
		at    time.Duration // when the host goes
		want  pool.Power    // what the create has made
	}{
		"before it arrives, dead":       {fake.Dead, fake.Fault{Before: time.Minute}, time.Second, pool.Absent},
		"before it arrives, cut off":    {fake.CutOff, fake.Fault{Before: time.Minute}, time.Second, pool.Absent},
		"before it answers, dead":       {fake.Dead, fake.Fault{After: time.Minute}, time.Second, pool.Stopped},
		"before it answers, cut off":    {fake.CutOff, fake.Fault{After: time.Minute}, time.Second, pool.Stopped},
		"before it lands late, dead":    {fake.Dead, fake.Fault{Kind: fake.Late, After: time.Minute, Hang: true}, time.Second, pool.Absent},
		"before it lands late, cut off": {fake.CutOff, fake.Fault{Kind: fake.Late, After: time.Minute, Hang: true}, time.Second, pool.Stopped},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := on(fake.Config{Hook: scripted(fake.OpCreate, 1, tc.fault)})
				o := order("fake/a", 1)
				heard := make(chan error)
				go func() { heard <- d.Create(context.Background(), o) }()
				time.Sleep(tc.at)
				require.NoError(t, d.SetHostState("fake/a", tc.state))
				require.ErrorIs(t, <-heard, hypervisor.ErrUnknown)
				require.NoError(t, d.Wait(t.Context()))
				require.Equal(t, tc.want, power(d, o.Ref))
			})
		})
	}
}

func TestHostsComeAndGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := on(fake.Config{})
		require.NoError(t, d.AddHost(server("fake/c")))
		o := order("fake/c", 1)
		require.NoError(t, d.Create(t.Context(), o))
		require.NoError(t, d.Start(t.Context(), o.Ref))

		// A change leaves the machines as they are.
		bigger := server("fake/c")
		bigger.Inventory[pool.Memory] = pool.Inventory{Total: pool.TiB}
		require.NoError(t, d.AddHost(bigger))
		require.Equal(t, pool.Running, power(d, o.Ref))
		v, ok := d.InspectHost("fake/c")
		require.True(t, ok)
		require.Equal(t, pool.TiB, v.Host.Inventory[pool.Memory].Total)
		require.Equal(t, pool.GiB, v.Used[pool.Memory])

		require.NoError(t, d.RemoveHost("fake/c"))
		require.NoError(t, d.RemoveHost("fake/c"))
		_, err := d.Machines(t.Context(), "fake/c")
		require.ErrorIs(t, err, hypervisor.ErrNotFound)
		_, ok = d.InspectHost("fake/c")
		require.False(t, ok)

		// What comes back under the name is another one.
		require.NoError(t, d.AddHost(server("fake/c")))
		list, err := d.Machines(t.Context(), "fake/c")
		require.NoError(t, err)
		require.Empty(t, list)
		again := order("fake/a", 1)
		require.NoError(t, d.Create(t.Context(), again))
		require.NoError(t, d.Start(t.Context(), again.Ref))
		require.Empty(t, d.Doubles(), "the one that ran on the host that was removed runs no more")
	})
}

func TestBadConfigurations(t *testing.T) {
	t.Parallel()
	malformed := server("fake/a")
	malformed.Zone = "a b"
	for name, c := range map[string]fake.Config{
		"name":             {Name: "no good"},
		"host of another":  {Hosts: []pool.Host{server("other/a")}},
		"malformed host":   {Hosts: []pool.Host{malformed}},
		"chances":          {Faults: fake.Faults{Late: 1.5}},
		"not a number":     {Faults: fake.Faults{Late: math.NaN()}},
		"sum of chances":   {Faults: fake.Faults{Late: 0.6, Lose: 0.6}},
		"share that hangs": {Faults: fake.Faults{Hang: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := fake.Open(c)
			require.ErrorIs(t, err, pool.ErrInvalid)
			d := fake.New(c)
			_, err = d.Hosts(t.Context())
			require.ErrorIs(t, err, hypervisor.ErrInvalid)
			require.ErrorIs(t, d.Create(t.Context(), order("fake/a", 1)), hypervisor.ErrInvalid)
			require.ErrorIs(t, d.AddHost(server("fake/b")), pool.ErrInvalid)
			require.NoError(t, d.Close())
		})
	}
	d := on(fake.Config{})
	require.ErrorIs(t, d.SetHostState("fake/x", fake.Dead), pool.ErrNotFound)
	require.ErrorIs(t, d.SetHostState("fake/a", "asleep"), pool.ErrInvalid)
	require.ErrorIs(t, d.AddHost(server("other/a")), pool.ErrInvalid)
}

// Hosts of a fleet are well-formed, of many kinds, of equal number in each zone, and depend on their number only.
func TestFleet(t *testing.T) {
	t.Parallel()
	hosts := fake.Fleet("sim", 2000, 42)
	require.Len(t, hosts, 2000)
	models, zones, classes := make(map[string]int), make(map[string]int), make(map[pool.Class]int)
	ids, addresses := make(map[pool.HostID]bool), make(map[string]bool)
	for _, h := range hosts {
		n, err := h.Normalize()
		require.NoError(t, err)
		require.Equal(t, n, h)
		ids[h.ID], addresses[h.Address] = true, true
		models[h.Labels["model"]]++
		zones[h.Zone]++
		for c := range h.Inventory {
			classes[c]++
		}
		require.Positive(t, h.Capacity()[pool.CPU])
		require.Positive(t, h.Capacity()[pool.Memory])
		storage := h.Capacity()[pool.StorageStandard] + h.Capacity()[pool.StorageSSD] + h.Capacity()[pool.StorageNVMe]
		require.Positive(t, storage)
	}
	require.Len(t, ids, 2000)
	require.Len(t, addresses, 2000)
	require.Len(t, models, 5)
	for m, n := range models {
		require.Greater(t, n, 50, m)
	}
	require.Equal(t, map[string]int{"a": 667, "b": 667, "c": 666}, zones)
	for _, c := range []pool.Class{pool.GPU, pool.StorageStandard, pool.StorageSSD, pool.StorageNVMe, pool.IOPSNVMe} {
		require.Greater(t, classes[c], 50, c)
	}
	require.Equal(t, hosts[:10], fake.Fleet("sim", 10, 42))
	require.NotEqual(t, hosts[:10], fake.Fleet("sim", 10, 43))
	require.Empty(t, fake.Fleet("", 0, 1))
	require.Empty(t, fake.Fleet("", -1, 1))
	require.Equal(t, "fake", fake.Fleet("", 1, 1)[0].ID.Driver())
}
