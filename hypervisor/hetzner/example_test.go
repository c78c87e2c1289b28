package hetzner_test

import (
	"context"
	"fmt"

	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/pool"
)

// A project with one location, on a simulated service: without Endpoint it is the public one.
func ExampleNew() {
	service := hetznertest.NewCloud(hetznertest.CloudConfig{Token: "the-projects-token"})
	defer service.Close()

	d, err := hetzner.New(hetzner.Config{
		Token:    "the-projects-token",
		Endpoint: service.Endpoint(),
		Types:    []string{"small", "large"},
		Locations: []hetzner.LocationConfig{
			{Location: "fsn1", Servers: 20, VolumeSpace: 2 * pool.TiB},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	hosts, err := d.Hosts(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, h := range hosts {
		fmt.Println(h.ID, h.Conditions)
		for _, s := range h.Shapes {
			fmt.Println(s.Name, pool.CPU.Format(s.Resources[pool.CPU]), pool.Memory.Format(s.Resources[pool.Memory]))
		}
	}
	prices, err := d.Prices(context.Background(), "hetzner/fsn1")
	for _, p := range prices {
		fmt.Printf("%s costs %.4f %s an hour\n", p.Shape, float64(p.Hourly)/1e6, p.Currency)
	}
	fmt.Println(err, d.Describe("hetzner/fsn1").Abilities)
	// Output:
	// hetzner/fsn1 ready
	// large 8 cores 16 GiB
	// small 2 cores 4 GiB
	// large costs 0.0218 EUR an hour
	// small costs 0.0068 EUR an hour
	// <nil> [attach-disk meter reboot resize shelve]
}
