package simulation_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// A command that is answered with ErrUnavailable has left nothing, also where the append before it ended in
// doubt; one that is answered with success is stored.
func TestUnavailableMeansNothingWasDone(t *testing.T) {
	t.Parallel()
	for _, fault := range []ledgertest.Fault{ledgertest.LostReply, ledgertest.LostRequest, ledgertest.Late} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				store := ledgertest.NewFaulty(pool.NewMemoryLedger(), 1, ledgertest.Faults{})
				c := berthage.Config{Ledger: store, Drivers: map[string]hypervisor.Driver{driverName: fake.New(fake.Config{Name: driverName})}}
				m, err := berthage.Open(ctx, c)
				require.NoError(t, err)
				defer m.Close()
				store.Next(fault, ledgertest.Refused, ledgertest.Refused)
				err = m.PutProject(ctx, pool.Project{Name: "shop"})
				time.Sleep(time.Minute) // whatever is late has landed
				store.Settle()
				again, open := berthage.Open(ctx, c)
				require.NoError(t, open)
				again.View(func(st *pool.State) {
					_, stored := st.Project("shop")
					require.Equal(t, err == nil, stored, "answered %v", err)
				})
			})
		})
	}
}

// quiet hides all of a ledger but its contract, so that a daemon learns late what others append.
type quiet struct{ pool.Ledger }

// What a call finds out that was begun before another daemon took over is no longer what is true: here a stop
// of which the answer comes when the machine has long been started again.
func TestResultOfAnEarlierLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var stops atomic.Int32
		fleet := fake.New(fake.Config{
			Name: driverName, Hosts: newWorld(1, 0).hosts[:1],
			Hook: func(c fake.Call) fake.Fault {
				if c.Op == fake.OpStop && stops.Add(1) == 1 {
					return fake.Fault{After: time.Minute}
				}
				return fake.Fault{}
			},
		})
		store := quiet{pool.NewMemoryLedger()}
		open := func(tail time.Duration) *berthage.Manager {
			m, err := berthage.Open(ctx, berthage.Config{Ledger: store, Drivers: map[string]hypervisor.Driver{driverName: fleet}, Tail: tail})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(ctx)
			done := make(chan error, 1)
			go func() { done <- m.Run(ctx) }()
			t.Cleanup(func() {
				cancel()
				require.NoError(t, <-done)
				m.Close()
			})
			time.Sleep(20 * time.Second)
			return m
		}
		wait := func(m *berthage.Manager, id pool.InstanceID) string {
			i, err := m.Wait(ctx, id, berthage.Settled)
			require.NoError(t, err)
			return i.Status()
		}
		first := open(time.Hour)
		require.NoError(t, first.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{driverName: "debian"}}))
		require.NoError(t, first.PutProject(ctx, pool.Project{Name: "shop"}))
		i, err := first.Launch(ctx, berthage.Launch{Token: "one", Project: "shop", Name: "one", Spec: pool.Spec{
			Image: "debian-12", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB},
		}})
		require.NoError(t, err)
		require.Equal(t, "running", wait(first, i.ID))
		_, err = first.SetPower(ctx, i.ID, pool.Stopped)
		require.NoError(t, err)

		second := open(time.Second)
		require.Equal(t, "stopped", wait(second, i.ID))
		require.True(t, first.Status().Leading, "the first does not know yet")
		_, err = second.SetPower(ctx, i.ID, pool.Running)
		require.NoError(t, err)
		require.Equal(t, "running", wait(second, i.ID))
		at := second.Status().Revision
		time.Sleep(5 * time.Minute)
		for b, err := range store.Read(ctx, at) {
			require.NoError(t, err)
			for n := range b.Events {
				p, err := b.Events[n].Payload()
				require.NoError(t, err)
				if o, ok := p.(*pool.Observed); ok {
					require.Equal(t, pool.Running, o.Is, "revision %d", b.Revision)
				}
			}
		}
		require.False(t, first.Status().Leading)
	})
}
