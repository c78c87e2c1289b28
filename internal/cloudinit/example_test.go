package cloudinit_test

import (
	"fmt"

	"github.com/berthage/berthage/internal/cloudinit"
)

func ExampleSeed_Files() {
	files, err := cloudinit.Seed{
		InstanceID: "i-1",
		Hostname:   "web-1",
		User:       "debian",
		Disks:      []cloudinit.Disk{{Serial: "berthage-d1", Mount: "/data"}},
	}.Files()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range files {
		fmt.Printf("%s:\n%s", f.Name, f.Data)
	}
	// Output:
	// meta-data:
	// instance-id: "i-1"
	// local-hostname: "web-1"
	// user-data:
	// #cloud-config
	// users: [{"name":"debian","shell":"/bin/bash","sudo":"ALL=(ALL) NOPASSWD:ALL","lock_passwd":true}]
	// fs_setup: [{"label":"berthage-d1","filesystem":"ext4","device":"/dev/disk/by-id/virtio-berthage-d1","partition":"auto","overwrite":false}]
	// mounts: [["/dev/disk/by-id/virtio-berthage-d1","/data","auto","defaults,nofail","0","2"]]
}
