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
