package ring_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
)

// fold applies events as the next revision, one batch.
func fold(t *testing.T, st *pool.State, events ...pool.Event) {
	t.Helper()
	rev := st.Head() + 1
	for n := range events {
		events[n].Revision, events[n].Index = rev, n
		require.NoError(t, st.Apply(&events[n]))
	}
}

func event(t testing.TB, kind string, payload any) pool.Event {
	t.Helper()
	e, err := pool.NewEvent(kind, payload)
	require.NoError(t, err)
	return e
}

// On an aggregate so many machines may change at once that they do not fit one batch: they come in several.
func TestObservationOfManyMachines(t *testing.T) {
	t.Parallel()
	const n, host = 12_000, pool.HostID("sim/region")
	st := pool.NewState()
	fold(t, st, event(t, pool.KindOpened, &pool.Opened{Ledger: "ledger"}))
	fold(t, st, event(t, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: host, Conditions: pool.Ready}}),
		event(t, pool.KindProjectPut, &pool.Project{Name: "shop"}))
	var machines []hypervisor.Machine
	for k := range n {
		id := pool.NewInstanceID("ledger", "shop", fmt.Sprint(k))
		fold(t, st, event(t, pool.KindLaunched, &pool.Launched{Instance: id, Project: "shop", Want: pool.Running, Place: pool.Placement{Host: host}}),
			event(t, pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)}))
		i, _ := st.Instance(id)
		machines = append(machines, hypervisor.Machine{
			Ref: ring.Ref("ledger", i), Power: pool.Running, Addresses: []string{"2001:db8::1234:5678", "192.0.2.7"},
		})
	}
	seen := 0
	for range 10 {
		events, err := ring.Seen(st, host, machines)
		require.NoError(t, err)
		if len(events) == 0 {
			break
		}
		size := 0
		for _, e := range events {
			size += len(e.Data) + len(e.Private)
		}
		require.LessOrEqual(t, size, pool.MaxBatch)
		seen += len(events)
		fold(t, st, events...)
	}
	require.Equal(t, n, seen)
}

// What is an empty list to the driver and none in the ledger is no change.
func TestHostsThatAreTheSame(t *testing.T) {
	t.Parallel()
	st := pool.NewState()
	fold(t, st, event(t, pool.KindOpened, &pool.Opened{Ledger: "ledger"}))
	fold(t, st, event(t, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "sim/a", Conditions: pool.Ready}}))
	events, err := ring.SeenHosts(st, "sim", pool.Host{
		ID: "sim/a", Conditions: pool.Ready, Kinds: []pool.Kind{}, Labels: map[string]string{}, Devices: []pool.Device{}, Shapes: []pool.Shape{},
	})
	require.NoError(t, err)
	require.Empty(t, events)
}

// A list that was begun before a machine was moved off the host, or before its instance ended, shows it still: it is
// nobody else's, and no stray.
func TestOldListsSayNothingOfStrangers(t *testing.T) {
	t.Parallel()
	st := pool.NewState()
	fold(t, st, event(t, pool.KindOpened, &pool.Opened{Ledger: "ledger"}))
	fold(t, st, event(t, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "sim/a", Conditions: pool.Ready}}),
		event(t, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "sim/b", Conditions: pool.Ready}}),
		event(t, pool.KindProjectPut, &pool.Project{Name: "shop"}))
	moved, ended := pool.NewInstanceID("ledger", "shop", "moved"), pool.NewInstanceID("ledger", "shop", "ended")
	var machines []hypervisor.Machine
	for _, id := range []pool.InstanceID{moved, ended} {
		fold(t, st, event(t, pool.KindLaunched, &pool.Launched{Instance: id, Project: "shop", Want: pool.Running, Place: pool.Placement{Host: "sim/a"}}),
			event(t, pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)}))
		i, _ := st.Instance(id)
		machines = append(machines, hypervisor.Machine{Ref: ring.Ref("ledger", i), Resources: pool.Resources{pool.CPU: pool.Core}})
	}
	begun := st.Head()
	fold(t, st, event(t, pool.KindMoving, &pool.Moving{Instance: moved, Host: "sim/b"}),
		event(t, pool.KindMoved, &pool.Moved{Machine: moved.Machine(0), Host: "sim/b"}),
		event(t, pool.KindWanted, &pool.Wanted{Instance: ended, Want: pool.Absent}),
		event(t, pool.KindDeleted, &pool.Ended{Instance: ended}))

	strays, unknown, others := ring.SortOut(st, machines, begun)
	require.Empty(t, strays)
	require.Empty(t, unknown)
	require.Empty(t, others)

	strays, unknown, others = ring.SortOut(st, machines, st.Head())
	require.Len(t, strays, 1)
	require.Len(t, unknown, 1)
	require.Equal(t, pool.Resources{pool.CPU: pool.Core}, others)
}

// There was never a machine of a reservation that was not committed: one that says so is not ours to destroy.
func TestMachineOfALapsedReservation(t *testing.T) {
	t.Parallel()
	id := pool.NewInstanceID("L", "p", "held")
	for _, released := range []bool{false, true} {
		st := pool.NewState()
		fold(t, st, event(t, pool.KindOpened, &pool.Opened{Ledger: "L"}),
			event(t, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: "sim/h1", Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 8000}}}}),
			event(t, pool.KindProjectPut, &pool.Project{Name: "p"}))
		place := pool.Placement{Host: "sim/h1", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: 1000}}}
		fold(t, st, event(t, pool.KindLaunched, &pool.Launched{Instance: id, Name: "held", Project: "p", Want: pool.Running, Place: place, Until: time.Unix(2e9, 0)}))
		fold(t, st, event(t, pool.KindLapsed, &pool.Lapsed{Instance: id, Released: released}))
		for launched := pool.Revision(-1); launched <= st.Head(); launched++ {
			stray, why := ring.Judge(st, hypervisor.Machine{Ref: hypervisor.Ref{Host: "sim/h1", Tag: hypervisor.Tag{Ledger: "L", Machine: id.Machine(0), Launched: launched}}})
			require.False(t, stray, launched)
			require.NotEmpty(t, why)
		}
	}
}
