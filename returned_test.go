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

// A host that comes back has the old copies of what was made anew elsewhere removed before it gets anything new, and so soon.
func TestOldCopiesGoFirst(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		destroy  time.Duration // what removing one takes
		takeOver bool          // by another leader, while they are being removed
		refuse   bool          // they cannot be removed: a person gives their places back
	}{
		"at once":        {},
		"slowly":         {destroy: 40 * time.Second},
		"another leader": {destroy: 40 * time.Second, takeOver: true},
		"by a person":    {refuse: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var slow atomic.Bool
				b := start(t, fake.Config{Hosts: hosts(3), Hook: func(c fake.Call) fake.Fault {
					switch {
					case c.Op != fake.OpDestroy || !slow.Load():
						return fake.Fault{}
					case tc.refuse:
						return fake.Fault{Kind: fake.Refuse}
					}
					return fake.Fault{Before: tc.destroy}
				}})
				defer func() { b.stop() }()
				ctx := context.Background()
				old := settle(t, b.m, b.launch("one").ID)
				from := old.Place.Host
				was := b.ref(old).Tag
				require.NoError(t, b.fleet.SetHostState(from, fake.Dead))
				eventually(t, func() bool {
					now, err := b.m.Instance(old.ID)
					require.NoError(t, err)
					return now.Place.Host != from && now.Status() == "running"
				}, "made anew elsewhere")
				time.Sleep(5 * time.Minute) // what is tried in vain is tried seldom by now
				late := spec()
				late.Constraints.Hosts = []pool.HostID{from}
				i, err := b.m.Launch(ctx, berthage.Launch{Token: "late", Project: "shop", Name: "late", Spec: late, Wait: true})
				require.NoError(t, err)
				require.Equal(t, pool.Waiting, i.Phase)

				slow.Store(true)
				require.NoError(t, b.fleet.SetHostState(from, fake.Up))
				began := time.Now()
				there := func() (olds, news bool) {
					v, ok := b.fleet.InspectHost(from)
					require.True(t, ok)
					for _, m := range v.Machines {
						if m.Tag == was {
							olds = true
						} else {
							news = true
						}
					}
					return olds, news
				}
				reason := func() (r string) {
					b.m.View(func(st *pool.State) {
						h, _ := st.Host(from)
						r = h.Reason
					})
					return r
				}
				if tc.takeOver {
					time.Sleep(35 * time.Second)
					olds, news := there()
					require.True(t, olds)
					require.False(t, news)
					b.stop()
					b.m = open(t, b.fleet, b.ledger)
					b.stop = run(t, b.m)
				}
				if tc.refuse {
					time.Sleep(5 * time.Minute)
					olds, news := there()
					require.True(t, olds)
					require.False(t, news)
					require.Contains(t, reason(), "made anew elsewhere")
					require.NoError(t, b.m.ReleaseHeld(ctx, was.Machine))
					slow.Store(false)
					settle(t, b.m, i.ID)
				} else {
					eventually(t, func() bool {
						olds, news := there()
						require.False(t, olds && news, "%s after it came back", time.Since(began))
						return news
					}, "what waits is there")
					require.Less(t, time.Since(began), 30*time.Second+3*tc.destroy)
				}
				now := settle(t, b.m, i.ID)
				require.Equal(t, from, now.Place.Host)
				require.Equal(t, "running", now.Status())
				time.Sleep(10 * time.Minute)
				require.Empty(t, reason())
				require.Zero(t, held(b.m))
				require.Equal(t, map[pool.Power]int{pool.Running: 2}, machines(b.fleet))
				sound(t, b.m, b.fleet)
			})
		})
	}
}
