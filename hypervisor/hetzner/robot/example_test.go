package robot_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/hypervisor/hetzner/robot"
	"github.com/berthage/berthage/pool"
)

// A host is a rented server: its driver is given a fencer that switches it off through Robot.
func ExampleFencer_Guard() {
	service := hetznertest.NewRobot(hetznertest.RobotConfig{Servers: []hetznertest.RobotServer{{Number: 321, Running: true, Resets: []string{"power_long"}}}})
	defer service.Close()

	client, err := robot.New(robot.Config{User: "user", Password: "password", Endpoint: service.Endpoint()})
	if err != nil {
		fmt.Println(err)
		return
	}
	const host = pool.HostID("fake/node-0001")
	fleet := fake.New(fake.Config{Hosts: fake.Fleet("fake", 1, 1), Without: []hypervisor.Ability{hypervisor.CanFence}}) // a libvirt driver, say
	driver := (&robot.Fencer{Client: client, Servers: map[pool.HostID]int{host: 321}, Poll: time.Millisecond}).Guard(fleet)

	fmt.Println(hypervisor.Has(fleet, host, hypervisor.CanFence), hypervisor.Has(driver, host, hypervisor.CanFence))
	fencer, _ := hypervisor.As[hypervisor.Fencer](driver)
	proof, err := fencer.Fence(context.Background(), host)
	fmt.Println(strings.Split(proof, " at ")[0], err)
	// Output:
	// false true
	// Robot server 321 was switched off by its power button: operating status "shut off" <nil>
}

// A log-in that fails is not tried again, as three would block the address.
func ExampleClient() {
	service := hetznertest.NewRobot(hetznertest.RobotConfig{})
	defer service.Close()
	client, err := robot.New(robot.Config{User: "user", Password: "wrong", Endpoint: service.Endpoint()})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 5 {
		_, err = client.Servers(context.Background())
	}
	fmt.Println(err)
	fmt.Println(len(service.Requests()))
	// Output:
	// GET /server: unavailable: the log-in has failed; nothing is sent until there are other credentials
	// 1
}
