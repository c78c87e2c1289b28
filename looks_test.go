package berthage_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// lists watches the lists of machines that are asked for, and lets those of some hosts hang.
type lists struct {
	mu    sync.Mutex
	hangs map[pool.HostID]bool
	calls map[pool.HostID]int
}

func (l *lists) hook(c fake.Call) fake.Fault {
	if c.Op != fake.OpMachines {
		return fake.Fault{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = make(map[pool.HostID]int)
	}
	l.calls[c.Ref.Host]++
	if l.hangs[c.Ref.Host] {
		return fake.Fault{Kind: fake.Drop, Hang: true}
	}
	return fake.Fault{}
}

// New hosts are looked at side by side, those that hang hold up nobody, and what has been found comes in few batches.
func TestManyNewHosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, silent = 2000, 3
		all := hosts(n)
		l := &lists{hangs: map[pool.HostID]bool{all[0].ID: true, all[1000].ID: true, all[1999].ID: true}}
		fleet := fake.New(fake.Config{Name: "sim", Hosts: all, Hook: l.hook, Latency: fake.Latency{Min: 100 * time.Millisecond}})
		ledger := pool.NewMemoryLedger()
		m := open(t, fleet, ledger)
		catalogue(t, m)
		before := head(m)
		stop := run(t, m)
		defer stop()
		time.Sleep(2 * time.Second)
		count := func() (n int) {
			m.View(func(st *pool.State) { n = st.HostCount() })
			return n
		}
		require.Equal(t, n-silent, count())
		require.LessOrEqual(t, head(m)-before, pool.Revision(20), "batches")
		for b, err := range ledger.Read(t.Context(), 0) {
			require.NoError(t, err)
			size := 0
			for _, e := range b.Events {
				size += len(e.Data)
			}
			require.LessOrEqual(t, size, pool.MaxBatch)
		}
		l.mu.Lock()
		for _, h := range all {
			require.LessOrEqual(t, l.calls[h.ID], 2, "a first look, and then the first poll")
		}
		clear(l.hangs)
		l.mu.Unlock()
		time.Sleep(time.Minute)
		require.Equal(t, n, count())
		require.Less(t, fleet.Calls()[fake.OpHosts], 15, "not once for each host that has been looked at")

		// The next leader knows them, and has each looked at before it believes a list of hosts.
		stop()
		before, asked := head(m), fleet.Calls()[fake.OpHosts]
		m = open(t, fleet, ledger)
		defer run(t, m)()
		time.Sleep(time.Minute)
		require.Equal(t, before+1, head(m), "it has taken over, and found nothing new")
		require.Less(t, fleet.Calls()[fake.OpHosts]-asked, 15)
	})
}

// All that one observation of a host says is one batch: that it is back, and what has become of its machines.
func TestAnObservationIsOneBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, fake.Config{Hosts: hosts(1)}, func(c *berthage.Config) { c.Evacuation = berthage.EvacuateNever })
		defer b.stop()
		i := settle(t, b.m, b.launch("one").ID)
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.Dead))
		time.Sleep(2 * time.Minute)
		before := head(b.m)
		require.NoError(t, b.fleet.SetHostState(i.Place.Host, fake.Up))
		settle(t, b.m, i.ID)
		time.Sleep(time.Minute)
		together := false
		for batch, err := range b.ledger.Read(t.Context(), before) {
			require.NoError(t, err)
			back, seen := false, false
			for n := range batch.Events {
				payload, err := batch.Events[n].Payload()
				require.NoError(t, err)
				switch p := payload.(type) {
				case *pool.HostConditions:
					back = back || !p.Conditions.Has(pool.Unreachable)
				case *pool.Observed:
					seen = seen || p.Is == pool.Stopped
				}
			}
			require.Equal(t, back, seen)
			together = together || back
		}
		require.True(t, together)
	})
}

// No more lists are under way than a driver is to bear, and hosts that do not answer wait for each other only.
func TestPollsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 4
		all := hosts(24)
		l := &lists{hangs: make(map[pool.HostID]bool)}
		hang := func(hosts []pool.Host) {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, h := range hosts {
				l.hangs[h.ID] = true
			}
		}
		hang(all[:6])
		var mu sync.Mutex
		answering, peak := 0, 0
		b := start(t, fake.Config{Hook: func(c fake.Call) fake.Fault {
			f := l.hook(c)
			if c.Op == fake.OpMachines && f.Kind == "" {
				mu.Lock()
				answering++
				peak = max(peak, answering)
				mu.Unlock()
				time.Sleep(50 * time.Millisecond)
				mu.Lock()
				answering--
				mu.Unlock()
			}
			return f
		}}, func(c *berthage.Config) { c.MaxPolls = most })
		defer b.stop()
		for _, h := range all {
			require.NoError(t, b.fleet.AddHost(h))
		}
		time.Sleep(5 * time.Minute) // by now each of the silent ones has been silent once
		b.pooled(b.m, 18)
		hang(all[6:12])
		time.Sleep(5 * time.Minute)
		l.mu.Lock()
		clear(l.calls)
		l.mu.Unlock()
		time.Sleep(10 * time.Minute)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, h := range all[12:] {
			require.Greater(t, l.calls[h.ID], 55, "%s is observed about every 10 s", h.ID)
		}
		for _, h := range all[:12] {
			require.Positive(t, l.calls[h.ID], "%s is still tried", h.ID)
		}
		mu.Lock()
		defer mu.Unlock()
		require.LessOrEqual(t, peak, most)
	})
}

// Hosts that are not to be admitted are not asked anything.
func TestHostsThatAreNotAdmittedAreLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &lists{}
		b := start(t, fake.Config{Hook: l.hook}, func(c *berthage.Config) { c.Admit = func(h pool.Host) bool { return h.Name != "h00" } })
		defer b.stop()
		for _, h := range hosts(2) {
			require.NoError(t, b.fleet.AddHost(h))
		}
		b.pooled(b.m, 1)
		require.NoError(t, b.m.RemoveHost(t.Context(), "sim/h01"))
		l.mu.Lock()
		clear(l.calls)
		l.mu.Unlock()
		time.Sleep(time.Hour)
		l.mu.Lock()
		defer l.mu.Unlock()
		require.LessOrEqual(t, len(l.calls), 1, fmt.Sprint(l.calls))
		require.LessOrEqual(t, l.calls["sim/h01"], 1, "one may have been under way")
		require.Zero(t, l.calls["sim/h00"])
	})
}
