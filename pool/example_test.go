package pool_test

import (
	"errors"
	"fmt"

	"github.com/berthage/berthage/pool"
)

func ExampleResources() {
	free := pool.Resources{pool.CPU: 8 * pool.Core, pool.Memory: 16 * pool.GiB}
	ask := pool.Resources{pool.CPU: 1500, pool.Memory: 2 * pool.GiB}
	left, err := free.Sub(ask)
	fmt.Println(ask.Fits(free), left, err)
	_, err = ask.Sub(free)
	fmt.Println(errors.Is(err, pool.ErrInvalid))
	// Output:
	// true cpu 6.5 cores, memory 14 GiB <nil>
	// true
}

func ExampleInventory_Capacity() {
	memory := pool.Inventory{Total: 64 * pool.GiB, Reserved: 4 * pool.GiB}
	cpu := pool.Inventory{Total: 16 * pool.Core, Ratio: 4000}
	fmt.Println(pool.Memory.Format(memory.Capacity()), pool.CPU.Format(cpu.Capacity()), cpu.Ratio)
	// Output: 60 GiB 64 cores 4
}

func ExampleHost_Normalize() {
	h, err := pool.Host{
		ID: pool.NewHostID("libvirt", "h1"), Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 16 * pool.Core}},
		Devices: []pool.Device{
			{ID: "pool-b", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: pool.TiB}},
			{ID: "pool-a", Class: pool.StorageSSD, Inventory: pool.Inventory{Total: pool.TiB, Reserved: 100 * pool.GiB}},
		},
	}.Normalize()
	fmt.Println(h.Devices[0].ID, h.Capacity(), err)
	// Output: pool-a cpu 16 cores, storage.ssd 1.9 TiB <nil>
}

func ExampleSpec() {
	small := pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB}}
	s, err := small.Resolve(pool.Spec{
		Image: "debian-12", Flavor: "small",
		Disks: []pool.Disk{{Size: 20 * pool.GiB}, {Size: 100 * pool.GiB, Storage: pool.NVMe, Mount: "/data", IOPS: 3000}},
		Guest: pool.Guest{User: "ada"},
	})
	if err == nil {
		err = s.Valid()
	}
	if err == nil {
		err = pool.DefaultLimits().Check(s)
	}
	demand, _ := s.Demand()
	fmt.Println(demand, err)

	s.Disks[1].Mount = "../etc"
	fmt.Println(s.Valid())
	// Output:
	// cpu 2 cores, iops.nvme 3000, memory 4 GiB, storage.nvme 100 GiB, storage.standard 20 GiB <nil>
	// disks[1].mount "../etc" invalid: an absolute path such as /data, of letters, digits, '.', '_', '-'
}

// State is the fold of events; what is decided meanwhile stays in an overlay until it is committed.
func ExampleState() {
	books := pool.NewState()
	revision := pool.Revision(0)
	fold := func(s *pool.State, kind string, payload any) {
		e, err := pool.NewEvent(kind, payload)
		if err != nil {
			panic(err)
		}
		revision++
		e.Revision = revision
		if err := s.Apply(&e); err != nil {
			panic(err)
		}
	}
	fold(books, pool.KindProjectPut, &pool.Project{Name: "web"})
	fold(books, pool.KindHostPut, &pool.HostPut{Host: pool.Host{
		ID: "libvirt/h1", Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 16 * pool.Core, Ratio: 2000}},
	}})

	over := books.Overlay()
	fold(over, pool.KindLaunched, &pool.Launched{
		Instance: pool.NewInstanceID("ledger", "web", "token-1"), Name: "web-1", Project: "web", Want: pool.Running,
		Place: pool.Placement{Host: "libvirt/h1", Allocation: pool.Allocation{Resources: pool.Resources{pool.CPU: 4 * pool.Core}}},
	})
	fmt.Println(books.Totals()[pool.CPU].Free, over.Totals()[pool.CPU].Free)
	books.Absorb(over) // it has been committed
	fmt.Println(books.Totals()[pool.CPU].Free, books.InstanceCount())
	for i := range books.Unsettled() {
		fmt.Println(i.Name, i.Status())
	}
	// Output:
	// 32000 28000
	// 28000 1
	// web-1 building
}
