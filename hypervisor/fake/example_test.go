package fake_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// A machine on a simulated host.
func Example() {
	ctx := context.Background()
	driver := fake.New(fake.Config{Hosts: fake.Fleet("fake", 20, 1)})
	hosts, err := driver.Hosts(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(hosts), "hosts, the first with", hosts[0].Capacity()[pool.Memory]/pool.GiB, "GiB of memory")

	order := hypervisor.Order{
		Ref:    hypervisor.Ref{Host: hosts[0].ID, Tag: hypervisor.Tag{Ledger: "my-ledger", Machine: "web-0", Launched: 1}},
		Name:   "web",
		Source: "debian-12.qcow2",
		Spec:   pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB}},
	}
	fmt.Println(driver.Create(ctx, order), driver.Start(ctx, order.Ref))
	machines, _ := driver.Machines(ctx, hosts[0].ID)
	for _, m := range machines {
		fmt.Println(m.Machine, "is", m.Power, "at", m.Addresses)
	}

	order.Machine = "huge-0"
	order.Spec.Resources[pool.Memory] = 16 * pool.TiB
	fmt.Println(driver.Create(ctx, order))
	// Output:
	// 20 hosts, the first with 188 GiB of memory
	// <nil> <nil>
	// web-0 is running at [10.0.0.1]
	// create huge-0 on fake/node-0001: refused: full: memory: 16 TiB asked for, 184 GiB free
}

// A test that wants a reply to be lost at one exact point scripts it.
func ExampleConfig_hook() {
	ctx := context.Background()
	driver := fake.New(fake.Config{
		Hosts: fake.Fleet("fake", 1, 1),
		Hook: func(c fake.Call) fake.Fault {
			if c.Op == fake.OpCreate && c.N == 1 {
				return fake.Fault{Kind: fake.Lose, Err: errors.New("connection reset")}
			}
			return fake.Fault{}
		},
	})
	order := hypervisor.Order{
		Ref:  hypervisor.Ref{Host: "fake/node-0001", Tag: hypervisor.Tag{Ledger: "my-ledger", Machine: "web-0", Launched: 1}},
		Name: "web", Source: "debian-12.qcow2", Spec: pool.Spec{Image: "debian-12"},
	}
	err := driver.Create(ctx, order)
	fmt.Println(err)
	fmt.Println("certainly nothing was done:", hypervisor.Nothing(err))
	fmt.Println("what was done:", driver.CountOf("web-0").Creates, "machine made")
	fmt.Println(driver.Create(ctx, order))
	// Output:
	// create web-0 on fake/node-0001: outcome unknown: connection reset
	// certainly nothing was done: false
	// what was done: 1 machine made
	// create web-0 on fake/node-0001: already exists
}

// What is put aside keeps its disks and takes no host's room; it can be had again on any host.
func ExampleDriver_Shelve() {
	ctx := context.Background()
	driver := fake.New(fake.Config{Hosts: fake.Fleet("fake", 2, 3)})
	order := hypervisor.Order{
		Ref:  hypervisor.Ref{Host: "fake/node-0001", Tag: hypervisor.Tag{Ledger: "my-ledger", Machine: "web-0", Launched: 1}},
		Name: "web", Source: "debian-12.qcow2", Spec: pool.Spec{Image: "debian-12", Disks: []pool.Disk{{Size: 10 * pool.GiB}}},
	}
	again := order
	again.Host, again.Machine = "fake/node-0002", "web-1"
	fmt.Println(driver.Create(ctx, order), driver.Shelve(ctx, order.Ref))
	fmt.Println(len(driver.Shelf()), "machine put aside")
	fmt.Println(driver.Unshelve(ctx, again, order.Ref), driver.Discard(ctx, order.Ref))
	for _, host := range driver.Inspect() {
		for _, m := range host.Machines {
			fmt.Println(m.Machine, "is on", m.Host, "with the disks that were cloned for machine", m.Content)
		}
	}
	// Output:
	// <nil> <nil>
	// 1 machine put aside
	// <nil> <nil>
	// web-1 is on fake/node-0002 with the disks that were cloned for machine 0.0
}

// A host that nobody can reach is fenced before its machines are started elsewhere.
func ExampleDriver_Fence() {
	ctx := context.Background()
	driver := fake.New(fake.Config{Hosts: fake.Fleet("fake", 1, 1)})
	order := hypervisor.Order{
		Ref:  hypervisor.Ref{Host: "fake/node-0001", Tag: hypervisor.Tag{Ledger: "my-ledger", Machine: "web-0", Launched: 1}},
		Name: "web", Source: "debian-12.qcow2", Spec: pool.Spec{Image: "debian-12"},
	}
	fmt.Println(driver.Create(ctx, order), driver.Start(ctx, order.Ref))
	_ = driver.SetHostState("fake/node-0001", fake.CutOff)
	show := func() {
		host, _ := driver.InspectHost("fake/node-0001")
		fmt.Println("the host is", host.State, "and the machine", host.Machines[0].Power)
	}
	show()
	_, err := driver.Fence(ctx, "fake/node-0001")
	fmt.Println(err)
	show()
	// Output:
	// <nil> <nil>
	// the host is cut off and the machine running
	// <nil>
	// the host is dead and the machine stopped
}

// A host that is cut off goes on running its machines; a monitor sees what the driver cannot.
func ExampleDriver_SetHostState() {
	ctx := context.Background()
	driver := fake.New(fake.Config{
		Hosts:  fake.Fleet("fake", 2, 1),
		Faults: fake.Faults{Late: 0.1, LateBy: 90 * time.Second, Lose: 0.1},
	})
	_ = driver.SetHostState("fake/node-0002", fake.CutOff)
	_, err := driver.Machines(ctx, "fake/node-0002")
	fmt.Println(err)
	for _, host := range driver.Inspect() {
		fmt.Println(host.Host.ID, host.State, len(host.Machines), "machines")
	}
	// Output:
	// list machines on fake/node-0002: unavailable: the host is cut off
	// fake/node-0001 up 0 machines
	// fake/node-0002 cut off 0 machines
}
