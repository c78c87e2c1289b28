package hypervisortest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

// newDriver stands for the driver under test.
func newDriver() *fake.Driver {
	return fake.New(fake.Config{Hosts: fake.Fleet("fake", 2, 4), Settles: time.Second})
}

// The whole of a driver's own conformance test.
func ExampleRun() {
	_ = func(t *testing.T) { // in a driver's package: func TestConformance(t *testing.T) {
		hypervisortest.Run(t, hypervisortest.Setup{
			Driver: newDriver(),
			Hosts:  []pool.HostID{"fake/node-0001", "fake/node-0002"},
			Order: hypervisor.Order{Source: "tiny.qcow2", Spec: pool.Spec{
				Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 256 * pool.MiB},
				Disks:     []pool.Disk{{Size: pool.GiB}},
			}},
			Abilities: []hypervisor.Ability{hypervisor.CanConsole, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanSuspend},
		})
	}
}

// The same outside a test, and the judgement as a table.
func ExampleCheck() {
	report, err := hypervisortest.Check(context.Background(), hypervisortest.Setup{
		Driver: newDriver(),
		Hosts:  []pool.HostID{"fake/node-0001"},
		Order: hypervisor.Order{Source: "tiny.qcow2", Spec: pool.Spec{
			Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 256 * pool.MiB},
			Disks:     []pool.Disk{{Size: pool.GiB}},
		}},
	})
	if err != nil || report.Err() != nil {
		fmt.Println(err, report.Err())
		return
	}
	for _, line := range strings.Split(report.String(), "\n")[:4] {
		fmt.Println(line)
	}
	// Output:
	// case               fake
	// capabilities       pass
	// not-offered        not offered
	// context-ends       pass
}
