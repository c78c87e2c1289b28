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

// An Open that fails leaves nothing behind that goes on writing: its caller has nothing to close.
func TestOpenThatFailsEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := ledgertest.NewFaulty(pool.NewMemoryLedger(), 1, ledgertest.Faults{LostRequest: 1})
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := berthage.Open(ctx, berthage.Config{
			Ledger: store, Drivers: map[string]hypervisor.Driver{driverName: fake.New(fake.Config{Name: driverName})},
		})
		require.Error(t, err)
		time.Sleep(10 * time.Second)
		calls := store.Counts()
		time.Sleep(time.Hour)
		after := store.Counts()
		store.Set(ledgertest.Faults{}) // what goes on trying ends
		require.Equal(t, calls, after)
	})
}
