package berthage_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// fleetOf opens a Manager on a memory ledger, which it returns too, with these hosts in the pool and no loop running.
func fleetOf(b *testing.B, hosts []pool.Host) (*berthage.Manager, pool.Ledger) {
	b.Helper()
	ctx := context.Background()
	ledger := pool.NewMemoryLedger()
	var rev pool.Revision
	events := []pool.Event{event(b, pool.KindOpened, &pool.Opened{Ledger: "bench"})}
	flush := func() {
		var err error
		rev, err = ledger.Append(ctx, rev, events...)
		require.NoError(b, err)
		events = nil
	}
	for _, h := range hosts {
		if events = append(events, event(b, pool.KindHostPut, &pool.HostPut{Host: h})); len(events) == 100 {
			flush()
		}
	}
	flush()
	m, err := berthage.Open(ctx, berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: ledger,
	})
	require.NoError(b, err)
	require.NoError(b, m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "debian"}}))
	require.NoError(b, m.PutProject(ctx, pool.Project{Name: "shop"}))
	return m, ledger
}

var eventID int

func event(b *testing.B, kind string, payload any) pool.Event {
	b.Helper()
	e, err := pool.NewEvent(kind, payload)
	require.NoError(b, err)
	eventID++
	e.ID, e.Actor = strconv.Itoa(eventID), "bench"
	return e
}

// BenchmarkCommit is a whole command on the memory ledger: queue, decide, append, fold, publish. "power"
// places nothing, "launch" does, on the index. Neither must grow with the number of hosts.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{200, 2_000, 20_000} {
		m, _ := fleetOf(b, fake.Fleet("sim", n, 1))
		ctx := context.Background()
		i, err := m.Launch(ctx, berthage.Launch{Token: "first", Project: "shop", Name: "first", Spec: spec()})
		require.NoError(b, err)
		b.Run(fmt.Sprintf("power/hosts=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			want := []pool.Power{pool.Stopped, pool.Running}
			for k := 0; b.Loop(); k++ {
				if _, err := m.SetPower(ctx, i.ID, want[k%2]); err != nil {
					b.Fatal(err)
				}
			}
		})
		serial := 0
		b.Run(fmt.Sprintf("launch+delete/hosts=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serial++
				name := "vm-" + strconv.Itoa(serial)
				i, err := m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: spec()})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := m.Delete(ctx, i.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommitApart is launch+delete of BenchmarkCommit with a rule: apart from fifty others, by label. It must grow with
// them, and not with the number of hosts.
func BenchmarkCommitApart(b *testing.B) {
	for _, n := range []int{200, 2_000, 20_000} {
		m, _ := fleetOf(b, fake.Fleet("sim", n, 1))
		ctx := context.Background()
		s := spec()
		s.Labels = map[string]string{"app": "db"}
		for k := range 50 {
			name := "db-" + strconv.Itoa(k)
			_, err := m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: s})
			require.NoError(b, err)
		}
		apart := spec()
		apart.Constraints.AntiAffinity = []pool.Affinity{{Selector: pool.Selector{Labels: s.Labels}}}
		serial := 0
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serial++
				name := "vm-" + strconv.Itoa(serial)
				i, err := m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: apart})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := m.Delete(ctx, i.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCommitTenants is launch+delete of BenchmarkCommit in a project that lies in others, for an owner, beside a number of other
// projects and owners. It must grow with the depth, and not with their number.
func BenchmarkCommitTenants(b *testing.B) {
	for _, c := range []struct{ depth, others int }{{1, 0}, {2, 0}, {8, 0}, {8, 1000}} {
		m, _ := fleetOf(b, fake.Fleet("sim", 200, 1))
		ctx := context.Background()
		project, parent := "", ""
		for d := range c.depth {
			project = fmt.Sprint("p", d)
			require.NoError(b, m.PutProject(ctx, pool.Project{Name: project, Parent: parent, Quota: pool.Resources{pool.Instances: 1e6}, PerUser: pool.Resources{pool.Instances: 1e6}}))
			parent = project
		}
		for k := range c.others {
			name := fmt.Sprint("other-", k)
			require.NoError(b, m.PutProject(ctx, pool.Project{Name: name, Parent: "p0"}))
			_, err := m.For(name).Launch(ctx, berthage.Launch{Token: name, Project: name, Name: name, Spec: spec()})
			require.NoError(b, err)
		}
		if c.depth > 1 {
			m = m.For("u-1")
		}
		serial := 0
		b.Run(fmt.Sprintf("depth=%d/others=%d", c.depth, c.others), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				serial++
				name := "vm-" + strconv.Itoa(serial)
				i, err := m.Launch(ctx, berthage.Launch{Token: name, Project: project, Name: name, Spec: spec()})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := m.Delete(ctx, i.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStart is the time from the start of a Manager until all hosts that its driver lists are in the pool: each has
// been looked at, and is in the ledger. It reports the batches that this took.
func BenchmarkStart(b *testing.B) {
	for _, n := range []int{200, 2_000, 20_000} {
		b.Run(fmt.Sprintf("hosts=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			fleet := fake.New(fake.Config{Name: "sim", Hosts: fake.Fleet("sim", n, 1)})
			batches := pool.Revision(0)
			for b.Loop() {
				m, err := berthage.Open(b.Context(), berthage.Config{
					Drivers: map[string]hypervisor.Driver{"sim": fleet}, Ledger: pool.NewMemoryLedger(),
				})
				require.NoError(b, err)
				ctx, stop := context.WithCancel(b.Context())
				done := make(chan error, 1)
				go func() { done <- m.Run(ctx) }()
				for range m.Events(ctx, 0) {
					count := 0
					m.View(func(st *pool.State) { count = st.HostCount() })
					if count == n {
						break
					}
				}
				batches = m.Status().Revision
				stop()
				require.NoError(b, <-done)
				m.Close()
			}
			b.ReportMetric(float64(batches), "batches")
		})
	}
}
