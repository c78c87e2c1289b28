package berthage_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// unwatched is a ledger, and its clock, that tells nobody of appends.
type unwatched struct {
	pool.Ledger
	pool.Clock
}

// A fleet at rest appends nothing: 200 hosts and 300 instances, observed all the time, for an hour.
func TestFleetAtRestAppendsNothing(t *testing.T) {
	t.Parallel()
	for _, watched := range []bool{true, false} {
		t.Run(fmt.Sprintf("watched=%v", watched), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				memory := pool.NewMemoryLedger()
				var ledger pool.Ledger = memory
				if !watched {
					ledger = unwatched{memory, memory}
				}
				fleet := fake.New(fake.Config{Name: "sim", Hosts: fake.Fleet("sim", 200, 1), Boot: 20 * time.Second})
				m := open(t, fleet, ledger, func(c *berthage.Config) { c.Ephemeral, c.Scratch = true, pool.NewMemoryScratch() })
				catalogue(t, m)
				defer run(t, m)()
				(&bench{t: t}).pooled(m, 200)
				_, err := m.CreateCluster(ctx, berthage.CreateCluster{Token: "web", Project: "shop", Name: "web", Spec: spec(), Size: 100})
				require.NoError(t, err)
				for n := range 200 {
					mustLaunch(t, m, fmt.Sprintf("vm-%d", n))
				}
				time.Sleep(10 * time.Minute)
				require.Equal(t, 300, machines(fleet)[pool.Running])

				before, polls := m.Status().Revision, fleet.Calls()[fake.OpMachines]
				time.Sleep(time.Hour)
				require.Equal(t, before, m.Status().Revision, "events at rest")
				require.Greater(t, fleet.Calls()[fake.OpMachines]-polls, 200*300, "every host has been observed about every 10 s")
				_, err = ledger.Append(ctx, before, pool.Event{ID: "x", Kind: "x", Version: 1})
				require.NoError(t, err, "nor is there one in the ledger that the Manager does not show")
			})
		})
	}
}
