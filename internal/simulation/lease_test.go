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

// A lease whose holder is gone is taken over soon, also where the store's clock has been set back by an hour, so
// that by it the lease would last so much longer.
func TestLeaseAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clock, store := new(clock), pool.NewMemoryLedger()
		leases, cut := &leaseStore{clock: clock}, ledgertest.NewFaulty(nil, 1, ledgertest.Faults{})
		run := func(s pool.Scratch) *berthage.Manager {
			m, err := berthage.Open(context.Background(), berthage.Config{
				Ledger: store, Scratch: s, LeaseTTL: leaseTTL,
				Drivers: map[string]hypervisor.Driver{driverName: fake.New(fake.Config{Name: driverName})},
			})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- m.Run(ctx) }()
			t.Cleanup(func() {
				cancel()
				require.NoError(t, <-done)
				m.Close()
			})
			time.Sleep(time.Minute)
			return m
		}
		first := run(cut.Scratch(leases))
		second := run(leases)
		require.True(t, first.Status().Leading)
		clock.jump(-time.Hour)
		cut.SetDown(true) // it neither renews its lease nor gives it back
		time.Sleep(time.Minute)
		require.False(t, first.Status().Leading)
		require.True(t, second.Status().Leading)
	})
}
