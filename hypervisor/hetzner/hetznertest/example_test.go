package hetznertest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
)

// The service answers that the token may not do that, once.
func ExampleCloud_Fail() {
	service := hetznertest.NewCloud(hetznertest.CloudConfig{})
	defer service.Close()
	hits := service.Fail(hetznertest.Fault{Method: "GET", Path: "^/servers$", Status: 403, Code: "forbidden", Message: "insufficient permissions"})

	d, err := hetzner.New(hetzner.Config{Token: service.Token(), Endpoint: service.Endpoint(),
		Locations: []hetzner.LocationConfig{{Location: "fsn1", Servers: 1}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		_, err = d.Machines(context.Background(), "hetzner/fsn1")
		fmt.Println(errors.Is(err, hypervisor.ErrRefused), err)
	}
	fmt.Println(hits(), len(service.Requests("GET", "^/servers$")))
	// Output:
	// true list machines on hetzner/fsn1: refused: insufficient permissions (forbidden)
	// false <nil>
	// 1 2
}
