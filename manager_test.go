package berthage_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func TestLaunchPowerDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Boot: 5 * time.Second})
		defer b.stop()
		ctx := context.Background()
		i := b.launch("web-1")
		require.Equal(t, pool.Building, i.Phase)
		require.Equal(t, "debian", i.Spec.Guest.User, "the image's login is the default")
		i = settle(t, b.m, i.ID)
		require.Equal(t, "running", i.Status())

		i, err := b.m.Wait(ctx, i.ID, func(i pool.Instance) bool { return len(i.Addresses) > 0 })
		require.NoError(t, err)

		for _, want := range []pool.Power{pool.Suspended, pool.Running, pool.Stopped, pool.Running} {
			_, err := b.m.SetPower(ctx, i.ID, want)
			require.NoError(t, err)
			require.Equal(t, string(want), settle(t, b.m, i.ID).Status())
			require.Equal(t, map[pool.Power]int{want: 1}, machines(b.fleet))
		}
		_, err = b.m.Reboot(ctx, i.ID, "again")
		require.NoError(t, err)
		_, err = b.m.Reboot(ctx, i.ID, "again")
		require.NoError(t, err)
		i = settle(t, b.m, i.ID)
		require.Equal(t, 1, i.Rebooted, "one reboot per token")

		_, err = b.m.Delete(ctx, i.ID)
		require.NoError(t, err)
		require.Equal(t, pool.Deleted, settle(t, b.m, i.ID).Phase)
		require.Empty(t, machines(b.fleet))
		b.m.View(func(st *pool.State) {
			require.Zero(t, st.InstanceCount())
			for c, s := range st.Totals() {
				require.Zero(t, s.Used, c)
			}
		})
		// The token still stands for that instance, and gives no second one.
		require.Equal(t, pool.Deleted, b.launch("web-1").Phase)
		sound(t, b.m, b.fleet)
	})
}

func TestSameTokenSameInstance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		first := b.launch("one")
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { require.Equal(t, first.ID, b.launch("one").ID) })
		}
		wg.Wait()
		settle(t, b.m, first.ID)
		require.Equal(t, map[pool.Power]int{pool.Running: 1}, machines(b.fleet))

		other := berthage.Launch{Token: "one", Project: "shop", Name: "two", Spec: spec()}
		_, err := b.m.Launch(context.Background(), other)
		require.ErrorIs(t, err, pool.ErrExists)
	})
}

// Two managers on one ledger and one fleet, racing launches into too little room: exactly as many run as
// there is room for, and only the one that leads calls the driver.
func TestRacingLaunches(t *testing.T) {
	t.Parallel()
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for _, forwarded := range []bool{false, true} {
		t.Run(fmt.Sprintf("forward=%v", forwarded), func(t *testing.T) {
			t.Parallel()
			for range rounds / 2 {
				race(t, forwarded)
			}
		})
	}
}

func race(t *testing.T, forwarded bool) {
	t.Helper()
	ledger, scratch := pool.NewMemoryLedger(), pool.NewMemoryScratch()
	fleet := fake.New(fake.Config{Name: "sim", Hosts: hosts(2)})
	var ms [2]*berthage.Manager
	forward := func(ctx context.Context, address string, body []byte) ([]byte, error) {
		return ms[address[0]-'0'].Accept(ctx, body)
	}
	for n := range ms {
		ms[n] = open(t, fleet, ledger, func(c *berthage.Config) {
			c.Scratch, c.Tail, c.LeaseTTL = scratch, 5*time.Millisecond, 300*time.Millisecond
			if forwarded {
				c.Address, c.Forward = fmt.Sprint(n), forward
			}
		})
	}
	catalogue(t, ms[0])
	stops := []func(){run(t, ms[0]), run(t, ms[1])}
	b := &bench{t: t}
	b.pooled(ms[0], 2)
	b.pooled(ms[1], 2)
	var wg sync.WaitGroup
	var accepted atomic.Int32
	for n := range 40 {
		wg.Go(func() {
			name := fmt.Sprintf("vm-%d", n)
			_, err := ms[n%2].Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
			if err == nil {
				accepted.Add(1)
			} else if !is(err, pool.ErrNoRoom) {
				t.Errorf("launch %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 16, accepted.Load())
	eventually(t, func() bool { return machines(fleet)[pool.Running] == 16 }, "16 run")
	for _, m := range ms {
		eventually(t, func() bool {
			running := 0
			m.View(func(st *pool.State) {
				for i := range st.Instances() {
					if i.Status() == "running" {
						running++
					}
				}
			})
			return running == 16
		}, "16 run in the books of both")
		sound(t, m, fleet)
	}
	for _, stop := range stops {
		stop()
	}
	require.Equal(t, map[pool.Power]int{pool.Running: 16}, machines(fleet))
	for id, c := range fleet.Counts() {
		require.Equal(t, 1, c.Creates, "creates of %s", id)
	}
}

// A ledger that does not know the machines touches none of them.
func TestMachinesOfOtherLedgersAreLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 50
		b := start(t, fake.Config{Hosts: hosts(8)})
		before := b.m.Status().Revision
		for k := range n {
			b.launch(fmt.Sprintf("vm-%d", k))
		}
		time.Sleep(time.Minute)
		require.Equal(t, map[pool.Power]int{pool.Running: n}, machines(b.fleet))
		b.stop()

		other := start(t, fake.Config{Hosts: hosts(3)})
		for k := range 5 {
			other.launch(fmt.Sprintf("vm-%d", k))
		}
		time.Sleep(time.Minute)
		other.stop()
		foreign := copyLedger(t, other.ledger, 1<<60)

		for name, ledger := range map[string]pool.Ledger{
			"empty": pool.NewMemoryLedger(), "of another fleet": foreign, "older copy": copyLedger(t, b.ledger, before),
		} {
			m := open(t, b.fleet, ledger)
			stop := run(t, m)
			time.Sleep(time.Hour)
			require.Len(t, m.Unknown(), n, name)
			// Work goes on beside them, beyond the revisions that their tags name, and still touches none.
			catalogue(t, m)
			for k := range 200 {
				require.NoError(t, m.PutProject(context.Background(), pool.Project{Name: fmt.Sprintf("p%d", k)}))
			}
			time.Sleep(3 * time.Hour)
			require.Len(t, m.Unknown(), n, name)
			for _, u := range m.Unknown() {
				require.NotEmpty(t, u.Why)
			}
			// What they take is not given away: of the 64 places that the hosts have, 14 are left.
			var more []pool.InstanceID
			for k := range 20 {
				token := fmt.Sprintf("more-%d", k)
				i, err := m.Launch(context.Background(), berthage.Launch{Token: token, Project: "shop", Name: token, Spec: spec()})
				if err == nil {
					more = append(more, i.ID)
				} else {
					require.ErrorIs(t, err, pool.ErrNoRoom)
				}
			}
			require.Len(t, more, 64-n, name)
			for _, id := range more {
				i := settle(t, m, id)
				require.Equal(t, "running", i.Status())
				require.Zero(t, i.Place.Number, "no host had to refuse")
			}
			for _, id := range more {
				_, err := m.Delete(context.Background(), id)
				require.NoError(t, err)
			}
			for _, id := range more {
				settle(t, m, id)
			}
			stop()
			require.Equal(t, map[pool.Power]int{pool.Running: n}, machines(b.fleet), name)
		}
	})
}

func TestStrayIsDestroyedOnlyWithProofOfItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2), Settles: 30 * time.Second})
		defer b.stop()
		i := b.launch("one")
		settle(t, b.m, i.ID)
		_, err := b.m.Delete(context.Background(), i.ID)
		require.NoError(t, err)
		settle(t, b.m, i.ID)
		// A create delivered twice: the machine is there again although the books have ended it.
		order := hypervisor.Order{
			Ref:  hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: b.m.Status().Ledger, Machine: i.Machine(), Launched: i.Launched}},
			Name: "one", Spec: i.Spec, Image: i.Image, Source: "debian", Allocation: i.Place.Allocation,
		}
		require.NoError(t, b.fleet.Create(context.Background(), order))
		time.Sleep(10 * time.Second)
		require.Equal(t, map[pool.Power]int{pool.Stopped: 1}, machines(b.fleet), "not before it has been seen for a while")
		time.Sleep(2 * time.Minute)
		require.Empty(t, machines(b.fleet))
	})
}

func TestSweepIsLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(4), Overfill: true})
		defer b.stop()
		for n := range 12 {
			i := b.launch(fmt.Sprintf("vm-%d", n))
			settle(t, b.m, i.ID)
			_, err := b.m.Delete(context.Background(), i.ID)
			require.NoError(t, err)
			settle(t, b.m, i.ID)
			require.NoError(t, b.fleet.Create(context.Background(), hypervisor.Order{
				Ref:  hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: b.m.Status().Ledger, Machine: i.Machine(), Launched: i.Launched}},
				Name: i.Name, Spec: i.Spec, Image: i.Image, Source: "debian", Allocation: i.Place.Allocation,
			}))
		}
		time.Sleep(30 * time.Minute)
		require.Equal(t, 7, machines(b.fleet)[pool.Stopped], "five in the first hour")
		time.Sleep(time.Hour)
		require.Equal(t, 2, machines(b.fleet)[pool.Stopped], "five in the second")
	})
}

// A host that is admitted by hand has no more to give than what machines of others leave of it.
func TestAddedHostHasWhatOthersLeave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(2)})
		defer b.stop()
		ctx, id := context.Background(), hosts(2)[1].ID
		require.NoError(t, b.m.RemoveHost(ctx, id))
		_, err := b.fleet.AddForeign(hypervisor.Machine{
			Ref:       hypervisor.Ref{Host: id, Tag: hypervisor.Tag{Ledger: "another", Machine: pool.NewInstanceID("another", "p", "t").Machine(0), Launched: 3}},
			Resources: pool.Resources{pool.CPU: pool.Core / 2}, Power: pool.Running,
		})
		require.NoError(t, err)
		h, err := b.m.AddHost(ctx, id)
		require.NoError(t, err)
		require.Equal(t, 8*pool.Core-pool.Core/2, h.Capacity[pool.CPU])
	})
}
