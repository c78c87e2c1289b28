package berthage_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// A panic in the importer's Admit fails the list of hosts that it was asked about and nothing else.
func TestPanicInAdmit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var bad atomic.Bool
		b := start(t, fake.Config{Hosts: hosts(2)}, func(c *berthage.Config) {
			c.Admit = func(pool.Host) bool {
				if bad.Load() {
					panic("no idea")
				}
				return true
			}
		})
		defer b.stop()
		bad.Store(true)
		require.NoError(t, b.fleet.AddHost(hosts(3)[2]))
		time.Sleep(time.Minute)
		require.Equal(t, "running", settle(t, b.m, b.launch("one").ID).Status())
		bad.Store(false)
		b.pooled(b.m, 3)
	})
}
