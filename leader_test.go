package berthage_test

import (
	"context"
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

// A deletion is not kept waiting by what was planned before it: a look that is due only when a lost create can
// no longer land.
func TestDeleteWhileLooking(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost := first(fake.OpCreate, 1, fake.Fault{Kind: fake.Drop})
		looked := make(chan struct{}, 100)
		b := start(t, fake.Config{Hosts: hosts(1), Copies: true, Settles: time.Hour, Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpMachines {
				looked <- struct{}{}
				return fake.Fault{Before: 2 * time.Second}
			}
			return lost(c)
		}}, func(c *berthage.Config) { c.Poll = time.Hour })
		defer b.stop()
		i := b.launch("one")
		time.Sleep(2 * time.Second)
		<-looked // the first poll's
		<-looked // that of the create's outcome
		_, err := b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		i, err = b.m.Instance(i.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Deleted, i.Phase)
		require.Equal(t, 1, held(b.m))
	})
}
