package hypervisormock_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/mock/gomock"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisormock"
	"github.com/berthage/berthage/pool"
)

// stderr reports what a mock has to complain about. In a test this is the *testing.T.
type stderr struct{}

func (stderr) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (stderr) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// suspendable is a driver with one ability.
type suspendable struct {
	*hypervisormock.MockDriver
	*hypervisormock.MockSuspender
}

func Example() {
	ctrl := gomock.NewController(stderr{})
	driver := suspendable{hypervisormock.NewMockDriver(ctrl), hypervisormock.NewMockSuspender(ctrl)}
	web := hypervisor.Ref{Host: "acme/h1", Tag: hypervisor.Tag{Ledger: "l", Machine: "m-0", Launched: 7}}

	gomock.InOrder(
		driver.MockSuspender.EXPECT().Suspend(gomock.Any(), web).Return(&hypervisor.Error{
			Op: "suspend", Host: web.Host, Machine: web.Machine, Kind: hypervisor.ErrUnavailable,
		}),
		driver.MockSuspender.EXPECT().Suspend(gomock.Any(), web).Return(nil),
	)

	suspender, _ := hypervisor.As[hypervisor.Suspender](driver)
	for range 2 {
		fmt.Println(suspender.Suspend(context.Background(), web))
	}
	ctrl.Finish() // every call that was expected has been made
	// Output:
	// suspend m-0 on acme/h1: unavailable
	// <nil>
}

// The mocks are what they claim to be, and the abilities of a driver made of them are seen.
func TestMocksAreDrivers(t *testing.T) {
	t.Parallel()
	ctrl := gomock.NewController(t)
	var (
		_ hypervisor.Driver    = hypervisormock.NewMockDriver(ctrl)
		_ hypervisor.Describer = hypervisormock.NewMockDescriber(ctrl)
		_ hypervisor.Suspender = hypervisormock.NewMockSuspender(ctrl)
		_ hypervisor.Rebooter  = hypervisormock.NewMockRebooter(ctrl)
		_ hypervisor.Consoler  = hypervisormock.NewMockConsoler(ctrl)
		_ hypervisor.Meter     = hypervisormock.NewMockMeter(ctrl)
	)
	driver := suspendable{hypervisormock.NewMockDriver(ctrl), hypervisormock.NewMockSuspender(ctrl)}
	require.True(t, hypervisor.Has(driver, "acme/h1", hypervisor.CanSuspend))
	require.False(t, hypervisor.Has(driver, "acme/h1", hypervisor.CanReboot))

	lost := errors.New("connection reset")
	driver.MockDriver.EXPECT().Machines(gomock.Any(), pool.HostID("acme/h1")).Return(nil, lost)
	_, err := driver.Machines(t.Context(), "acme/h1")
	require.ErrorIs(t, err, lost)
}
