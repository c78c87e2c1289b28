package berthage_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// A create that was not answered may land after the one that was repeated: the leader who knows of it may be
// gone by then, and the place is held all the same.
func TestDoubtSurvivesTheLeader(t *testing.T) {
	t.Parallel()
	for _, dies := range []time.Duration{500 * time.Millisecond, 3 * time.Second, 20 * time.Second} { // after the launch
		t.Run(dies.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				scratch := pool.NewMemoryScratch()
				shared := func(c *berthage.Config) { c.Scratch, c.LeaseTTL = scratch, 3*time.Second }
				b := start(t, fake.Config{
					Hosts: hosts(1), Overfill: true, Settles: time.Minute, Build: 100 * time.Millisecond,
					Hook: first(fake.OpCreate, 1, fake.Fault{Kind: fake.Late, After: 50 * time.Second}),
				}, shared)
				defer b.stop()
				second := open(t, b.fleet, b.ledger, shared)
				defer run(t, second)()
				i := b.launch("one")
				time.Sleep(dies)
				b.stop()
				require.Equal(t, "running", settle(t, second, i.ID).Status())
				_, err := second.Delete(context.Background(), i.ID)
				require.NoError(t, err)
				settle(t, second, i.ID)
				for n := range 8 { // as many as there is room for
					name := fmt.Sprintf("vm-%d", n)
					_, err := second.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
					if n == 7 {
						require.ErrorIs(t, err, pool.ErrNoRoom, "the place is held")
					} else {
						require.NoError(t, err)
					}
				}
				for range 300 {
					time.Sleep(time.Second)
					sound(t, second, b.fleet)
				}
				require.Zero(t, held(second))
				require.Equal(t, map[pool.Power]int{pool.Running: 7}, machines(b.fleet))
			})
		})
	}
}

// A machine that is found answers one of the creates sent for it, once, however often that has to be recorded.
func TestDoubtIsNotAnsweredTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, ledger := faulty(t, 1)
		b.stop()
		var creates, looks atomic.Int32
		b.fleet = fake.New(fake.Config{Name: "sim", Hosts: hosts(1), Hook: func(c fake.Call) fake.Fault {
			switch c.Op {
			case fake.OpCreate:
				if creates.Add(1) == 1 {
					return fake.Fault{Kind: fake.Late, After: 50 * time.Second}
				}
				return fake.Fault{Kind: fake.Lose}
			case fake.OpMachines:
				if creates.Load() == 2 && looks.Add(1) == 1 {
					ledger.Next(ledgertest.Refused, ledgertest.Refused)
				}
			}
			return fake.Fault{}
		}})
		b.m = open(t, b.fleet, ledger, func(c *berthage.Config) { c.Poll = time.Hour })
		defer run(t, b.m)()
		i := b.launch("one")
		require.Equal(t, "running", settle(t, b.m, i.ID).Status())
		require.EqualValues(t, 2, creates.Load())
		require.Greater(t, looks.Load(), int32(1))
		_, err := b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		require.Equal(t, 1, held(b.m))
	})
}
