package berthage_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/scheduler"
)

// simulated opens and runs a Manager over two simulated hosts, with an image, a flavor and a project.
func simulated(ctx context.Context) (*berthage.Manager, func()) {
	m, err := berthage.Open(ctx, berthage.Config{
		Ledger:  pool.NewMemoryLedger(),
		Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim", Hosts: hosts(2)})},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(ctx) }()
	must(m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "debian"}}))
	must(m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB}}))
	must(m.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.Instances: 3}}))
	changed := 0
	for _, err := range m.Events(ctx, 0) { // until the hosts have been observed
		must(err)
		m.View(func(st *pool.State) { changed = st.HostCount() })
		if changed == 2 {
			break
		}
	}
	return m, func() { cancel(); <-done; m.Close() }
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// One instance from the wish to its end.
func ExampleManager_Launch() {
	ctx := context.Background()
	m, stop := simulated(ctx)
	defer stop()

	vm, err := m.Launch(ctx, berthage.Launch{
		Token: "order-17", Project: "shop", Name: "web-1",
		Spec: pool.Spec{Image: "debian-12", Flavor: "small"},
	})
	must(err)
	vm, err = m.Wait(ctx, vm.ID, berthage.Settled)
	must(err)
	fmt.Println(vm.Name, vm.Status(), vm.Place.Allocation.Resources)

	_, err = m.Delete(ctx, vm.ID)
	must(err)
	vm, err = m.Wait(ctx, vm.ID, berthage.Settled)
	must(err)
	fmt.Println(vm.Status())
	// Output:
	// web-1 running cpu 2 cores, memory 4 GiB, storage.standard 10 GiB
	// deleted
}

// A refusal is typed and says why, for every host.
func ExampleManager_Launch_refused() {
	ctx := context.Background()
	m, stop := simulated(ctx)
	defer stop()

	_, err := m.Launch(ctx, berthage.Launch{
		Token: "order-18", Project: "shop", Name: "big",
		Spec: pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 9 * pool.Core, pool.Memory: 4 * pool.GiB}},
	})
	var refusal *scheduler.Refusal
	if errors.As(err, &refusal) {
		for _, h := range refusal.Hosts {
			fmt.Println(h.Host, h.Reason)
		}
	}
	for n := range 4 {
		name := fmt.Sprintf("web-%d", n)
		_, err = m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: pool.Spec{Image: "debian-12", Flavor: "small"}})
	}
	var exceeded *quota.Exceeded
	if errors.As(err, &exceeded) {
		fmt.Println(exceeded)
	}
	// Output:
	// sim/h00 cpu: 9 cores asked, 8 cores free of 8 cores: short of 1 core
	// sim/h01 cpu: 9 cores asked, 8 cores free of 8 cores: short of 1 core
	// project "shop" over quota: instances: 1 asked, 0 free of 3
}

// What the pool has, at this moment.
func ExampleManager_View() {
	ctx := context.Background()
	m, stop := simulated(ctx)
	defer stop()
	m.View(func(st *pool.State) {
		cpu := st.Totals()[pool.CPU]
		fmt.Println(st.HostCount(), "hosts,", pool.CPU.Format(cpu.Capacity), "of which", pool.CPU.Format(cpu.Free), "free")
	})
	// Output:
	// 2 hosts, 16 cores of which 16 cores free
}

// Places are held before it is known whether they are needed.
func ExampleManager_Reserve() {
	ctx := context.Background()
	m, stop := simulated(ctx)
	defer stop()

	web := berthage.CreateCluster{
		Token: "order-19", Project: "shop", Name: "web", Size: 2,
		Spec: pool.Spec{Image: "debian-12", Flavor: "small", Constraints: pool.Constraints{AntiAffinity: []pool.Affinity{{}}}},
	}
	held, err := m.Reserve(ctx, berthage.Reserve{Cluster: &web, For: 10 * time.Minute})
	must(err)
	for _, i := range held.Instances {
		fmt.Println(i.Name, i.Status(), "on", i.Place.Host)
	}

	// Once the order has been paid:
	held, err = m.Commit(ctx, held.ID)
	must(err)
	for _, i := range held.Instances {
		i, err = m.Wait(ctx, i.ID, berthage.Settled)
		must(err)
		fmt.Println(i.Name, i.Status(), "on", i.Place.Host)
	}
	// Output:
	// web-0 reserved on sim/h00
	// web-1 reserved on sim/h01
	// web-0 running on sim/h00
	// web-1 running on sim/h01
}

// Who is told of what, and a test that a receiver is reached.
func ExampleManager_Messages() {
	ctx := context.Background()
	critical, err := alert.ParseMatchers(`severity="critical"`, alert.EitherSyntax)
	must(err)
	chat := notify.Func(func(_ context.Context, m notify.Message) error {
		fmt.Println("chat:", m.Title())
		return nil
	})
	m, err := berthage.Open(ctx, berthage.Config{
		Ledger:   pool.NewMemoryLedger(),
		Drivers:  map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim", Hosts: hosts(2)})},
		Alerting: berthage.Alerting{Every: 15 * time.Second},
		Messaging: berthage.Messaging{
			Receivers: map[string]notify.Notifier{"chat": chat, "pager": chat}, // or receivers of packages below notify
			Routing: alert.Routing{Root: alert.Route{
				Receivers: []string{"chat"}, GroupBy: []string{"alertname"},
				Routes: []alert.Route{{Match: critical, Receivers: []string{"pager", "chat"}}},
			}},
		},
	})
	must(err)
	defer m.Close()
	must(m.Messages().Test(ctx, "chat"))
	down, err := alert.NewLabels(map[string]string{"alertname": "HostDown", "host": "sim/h00", "severity": "critical"})
	must(err)
	for _, target := range m.Messages().Preview(down) {
		for _, r := range target.Receivers {
			fmt.Println(target.ID, "tells", r.Name)
		}
	}
	// Output:
	// chat: This is a test
	// {}/{severity="critical"} tells pager
	// {}/{severity="critical"} tells chat
}
