package berthage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// hosts returns n equal hosts of 8 cores and 16 GiB.
func hosts(n int) []pool.Host {
	var out []pool.Host
	for i := range n {
		out = append(out, pool.Host{
			ID: pool.NewHostID("sim", fmt.Sprintf("h%02d", i)), Name: fmt.Sprintf("h%02d", i),
			Inventory: map[pool.Class]pool.Inventory{
				pool.CPU: {Total: 8 * pool.Core}, pool.Memory: {Total: 16 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB},
			},
			Conditions: pool.Ready,
		})
	}
	return out
}

// spec asks for one core, 2 GiB and a disk of 10 GiB: eight of them fill a host.
func spec() pool.Spec {
	return pool.Spec{
		Image:     "debian-12",
		Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB},
		Disks:     []pool.Disk{{Size: 10 * pool.GiB}},
	}
}

// bench is a Manager over a simulated fleet, with what it needs to launch.
type bench struct {
	t      *testing.T
	fleet  *fake.Driver
	ledger pool.Ledger
	m      *berthage.Manager
	stop   func() // ends Run and waits for it
}

type change func(*berthage.Config)

func open(t *testing.T, fleet hypervisor.Driver, ledger pool.Ledger, changes ...change) *berthage.Manager {
	t.Helper()
	c := berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": fleet}, Ledger: ledger,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, change := range changes {
		change(&c)
	}
	m, err := berthage.Open(context.Background(), c)
	require.NoError(t, err)
	return m
}

// run runs a Manager until the returned function is called.
func run(t *testing.T, m *berthage.Manager) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var once sync.Once
	return func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
			m.Close()
		})
	}
}

func catalogue(t *testing.T, m *berthage.Manager) {
	t.Helper()
	ctx := context.Background()
	require.NoError(t, m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "debian"}}))
	require.NoError(t, m.PutProject(ctx, pool.Project{Name: "shop"}))
}

// start opens and runs a Manager over a fleet and waits until its hosts are in the pool.
func start(t *testing.T, c fake.Config, changes ...change) *bench {
	t.Helper()
	c.Name = "sim"
	if c.Latency == (fake.Latency{}) { // nothing is done before somebody can ask for something else
		c.Latency = fake.Latency{Mean: time.Millisecond, Max: time.Millisecond}
	}
	b := &bench{t: t, fleet: fake.New(c), ledger: pool.NewMemoryLedger()}
	b.m = open(t, b.fleet, b.ledger, changes...)
	catalogue(t, b.m)
	b.stop = run(t, b.m)
	b.pooled(b.m, len(c.Hosts))
	return b
}

func (b *bench) pooled(m *berthage.Manager, n int) {
	b.t.Helper()
	eventually(b.t, func() bool {
		count := 0
		m.View(func(st *pool.State) { count = st.HostCount() })
		return count == n
	}, "hosts in the pool")
}

func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for range 100_000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "never: "+what)
}

func (b *bench) launch(name string) pool.Instance {
	b.t.Helper()
	i, err := b.m.Launch(context.Background(), berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
	require.NoError(b.t, err)
	return i
}

func settle(t *testing.T, m *berthage.Manager, id pool.InstanceID) pool.Instance {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	i, err := m.Wait(ctx, id, berthage.Settled)
	require.NoError(t, err)
	return i
}

// machines returns the copies on the fleet by power.
func machines(d *fake.Driver) map[pool.Power]int {
	out := make(map[pool.Power]int)
	for _, h := range d.Inspect() {
		for _, m := range h.Machines {
			out[m.Power]++
		}
	}
	return out
}

// sound checks what must hold at any time when nothing is under way.
func sound(t *testing.T, m *berthage.Manager, d *fake.Driver) {
	t.Helper()
	require.Empty(t, d.Doubles(), "an instance ran twice")
	require.Empty(t, d.Touched(), "a stranger's machine was touched")
	for _, h := range d.Inspect() {
		require.Empty(t, h.Over, "host %s is over its capacity", h.Host.ID)
	}
	m.View(func(st *pool.State) {
		used := make(map[string]pool.Resources)
		for i := range st.Instances() {
			if i.Placed() {
				sum, err := used[i.Project].Add(i.Place.Allocation.Resources)
				require.NoError(t, err)
				sum[pool.Instances]++
				used[i.Project] = sum
			}
		}
		for p := range st.Projects() {
			require.True(t, p.Used.Equal(used[p.Name]), "project %s uses %v, its instances %v", p.Name, p.Used, used[p.Name])
		}
		for h := range st.Hosts() {
			require.True(t, h.Used.Fits(h.Capacity), "host %s: %v booked of %v", h.ID, h.Used, h.Capacity)
		}
	})
}

// copyLedger returns a memory ledger with the batches of another up to and including a revision.
func copyLedger(t *testing.T, from pool.Ledger, upTo pool.Revision) *pool.MemoryLedger {
	t.Helper()
	out := pool.NewMemoryLedger()
	for b, err := range from.Read(context.Background(), 0) {
		require.NoError(t, err)
		if b.Revision > upTo {
			break
		}
		_, err := out.Append(context.Background(), b.Revision-1, b.Events...)
		require.NoError(t, err)
	}
	return out
}

var errUnsupported = errors.ErrUnsupported

func is(err error, kinds ...error) bool {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}

// ref is how a driver is told which machine is meant.
func (b *bench) ref(i pool.Instance) hypervisor.Ref {
	var identity string
	b.m.View(func(st *pool.State) { identity = st.Identity() })
	return hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: identity, Machine: i.Machine(), Launched: i.Launched}}
}
