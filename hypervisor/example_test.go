package hypervisor_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// counting is a wrapper around any driver. It has an Unwrap method, so that the driver's abilities are found
// through it.
type counting struct {
	hypervisor.Driver
	starts int
}

func (c *counting) Unwrap() hypervisor.Driver { return c.Driver }

func (c *counting) Start(ctx context.Context, r hypervisor.Ref) error {
	c.starts++
	return c.Driver.Start(ctx, r)
}

// What is not offered is known before any call is made.
func ExampleAs() {
	driver := &counting{Driver: fake.New(fake.Config{
		Hosts:   fake.Fleet("fake", 1, 1),
		Without: []hypervisor.Ability{hypervisor.CanReboot},
	})}
	host := pool.HostID("fake/node-0001")

	fmt.Println(hypervisor.CapabilitiesOf(driver, host).Abilities)
	if suspender, ok := hypervisor.As[hypervisor.Suspender](driver); ok && hypervisor.Has(driver, host, hypervisor.CanSuspend) {
		err := suspender.Suspend(context.Background(), hypervisor.Ref{Host: host, Tag: hypervisor.Tag{Machine: "m-0"}})
		fmt.Println(err)
	}
	// Output:
	// [attach-disk console fence hibernate image meter migrate migrate-live resize resize-hot shelve snapshot suspend watch]
	// suspend m-0 on fake/node-0001: not found: no such machine
}

// After an error one looks again, unless the error says that nothing has been done.
func ExampleNothing() {
	for _, err := range []error{
		&hypervisor.Error{Op: "create", Kind: hypervisor.ErrRefused, Cause: errors.New("storage pool is full")},
		&hypervisor.Error{Op: "create", Kind: hypervisor.ErrUnknown, Cause: errors.New("connection reset")},
		&hypervisor.Error{Op: "create", Kind: context.DeadlineExceeded},
	} {
		fmt.Println(hypervisor.Nothing(err), "-", err)
	}
	// Output:
	// true - create: refused: storage pool is full
	// false - create: outcome unknown: connection reset
	// false - create: context deadline exceeded
}
