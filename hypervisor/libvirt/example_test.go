package libvirt_test

import (
	"fmt"

	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// Two hosts, one of them remote, with fast and slow storage. Nothing is connected before the first call, and
// what every host can do is known all the same.
func ExampleNew() {
	d, err := libvirt.New(libvirt.Config{Hosts: []libvirt.HostConfig{
		{URI: "qemu:///system", Name: "here", ReservedMemory: 2 * pool.GiB},
		{
			URI: "qemu+ssh://root@kvm-2.example/system", Name: "kvm-2", Zone: "b",
			Pools:    map[string]libvirt.StoragePool{"default": {}, "fast": {Kind: pool.NVMe, IOPS: 100_000}},
			CPURatio: 2000, // two virtual cores for each real one
		},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	fmt.Println(d.Describe("libvirt/kvm-2").CreateUnique)

	_, err = libvirt.New(libvirt.Config{Hosts: []libvirt.HostConfig{{URI: "qemu+ssh://root:secret@kvm-2.example/system", Name: "kvm-2"}}})
	fmt.Println(err)
	// Output:
	// true
	// configure libvirt: invalid: hosts[kvm-2].uri invalid: no password in a URI; ssh uses a key file or an agent
}
