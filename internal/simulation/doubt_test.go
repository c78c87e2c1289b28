package simulation_test

import (
	"context"
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
