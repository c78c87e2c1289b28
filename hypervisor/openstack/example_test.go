package openstack_test

import (
	"fmt"

	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

// A project's part of a region, with two networks and a price. Nothing is asked before the first call, and what can be
// done there is known all the same.
func ExampleNew() {
	d, err := openstack.New(openstack.Config{
		Cloud: openstack.Cloud{
			AuthURL:                     "https://cloud.example:5000/v3",
			ApplicationCredentialID:     "21dced0fd20347869b93710d2b98aae0",
			ApplicationCredentialSecret: "...",
			Region:                      "north",
		},
		Networks: map[string]string{"private": "f1c9a4ac-7d4b-4b6e-9f5e-0c6f9f6c5b11", "public": "ext-net"},
		Network:  "private",
		Hosts:    map[string]openstack.HostConfig{"north": {Zone: "north", Cost: 120_000}},
		Flavors:  map[string]pool.Resources{"m1.small": nil, "g1.large": {pool.GPU: 1}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Describe("openstack/north").Abilities)

	_, err = openstack.New(openstack.Config{Cloud: openstack.Cloud{AuthURL: "https://cloud.example:5000/v3", User: "me"}})
	fmt.Println(err)
	// Output:
	// [console hibernate image meter reboot resize shelve suspend]
	// configure openstack: invalid: cloud.user "me" invalid: an application credential, or a user and a password
}
