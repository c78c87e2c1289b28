// Command quickstart launches one instance on a simulated fleet, waits until it runs, and prints where.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fleet := fake.New(fake.Config{Hosts: fake.Fleet("fake", 3, 1)}) // three simulated hosts
	m, err := berthage.Open(ctx, berthage.Config{Ledger: pool.NewMemoryLedger(), Drivers: map[string]hypervisor.Driver{"fake": fleet}})
	check(err)
	go func() { check(m.Run(ctx)) }()

	check(m.PutProject(ctx, pool.Project{Name: "shop"}))
	check(m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"fake": "debian-12.qcow2"}}))
	check(m.PutFlavor(ctx, pool.Flavor{Name: "small", Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB, pool.StorageSSD: 20 * pool.GiB}}))
	_, err = m.AddHost(ctx, "fake/node-0001") // hosts join by themselves; this one joins now
	check(err)
	vm, err := m.Launch(ctx, berthage.Launch{Token: "order-17", Project: "shop", Name: "web-1", Spec: pool.Spec{Image: "debian-12", Flavor: "small"}})
	check(err)
	vm, err = m.Wait(ctx, vm.ID, berthage.Settled)
	check(err)
	fmt.Printf("%s is %s on %s with %s\n", vm.Name, vm.Status(), vm.Place.Host, vm.Place.Allocation.Resources)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
