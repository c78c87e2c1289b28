package robot_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/hypervisor/hetzner/robot"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

const host = pool.HostID("libvirt/h1")

// presses is how often a button was pressed.
func presses(f *hetznertest.Robot) int {
	n := 0
	for _, r := range f.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

// Whatever happens, success means that the server is off, and the button is pressed once at most.
func TestFence(t *testing.T) {
	t.Parallel()
	buttons := []string{"sw", "hw", "power", "power_long", "man"}
	for what, tc := range map[string]struct {
		server  hetznertest.RobotServer
		fault   *hetznertest.Fault
		want    error // nil: fenced
		presses int
	}{
		"running":                      {server: hetznertest.RobotServer{Running: true, Resets: buttons}, presses: 1},
		"takes its time":               {server: hetznertest.RobotServer{Running: true, Resets: buttons, Delay: 50 * time.Millisecond}, presses: 1},
		"off already":                  {server: hetznertest.RobotServer{Resets: buttons}},
		"short button only":            {server: hetznertest.RobotServer{Running: true, Resets: []string{"power"}}, presses: 1},
		"short button, does not obey":  {server: hetznertest.RobotServer{Running: true, Deaf: true, Resets: []string{"power"}}, want: hypervisor.ErrUnknown, presses: 1},
		"no button":                    {server: hetznertest.RobotServer{Running: true, Resets: []string{"sw", "hw", "man"}}, want: errors.ErrUnsupported},
		"cannot be told":               {server: hetznertest.RobotServer{Running: true, Blind: true, Resets: buttons}, want: errors.ErrUnsupported},
		"off and cannot be told":       {server: hetznertest.RobotServer{Blind: true, Resets: buttons}, want: errors.ErrUnsupported},
		"press is lost":                {server: hetznertest.RobotServer{Running: true, Resets: buttons}, fault: &hetznertest.Fault{Method: "POST", Before: true}, want: hypervisor.ErrUnknown, presses: 0},
		"answer is lost":               {server: hetznertest.RobotServer{Running: true, Resets: buttons}, fault: &hetznertest.Fault{Method: "POST", After: true}, presses: 1},
		"press is refused":             {server: hetznertest.RobotServer{Running: true, Resets: buttons}, fault: &hetznertest.Fault{Method: "POST", Status: 409, Code: "RESET_MANUAL_ACTIVE", Message: "x"}, want: hypervisor.ErrRefused, presses: 1},
		"budget is used up":            {server: hetznertest.RobotServer{Running: true, Resets: buttons}, fault: &hetznertest.Fault{Method: "POST", Status: 403, Code: "RATE_LIMIT_EXCEEDED", Message: "x"}, want: hypervisor.ErrUnavailable, presses: 1},
		"looks are lost":               {server: hetznertest.RobotServer{Running: true, Resets: buttons}, fault: &hetznertest.Fault{Method: "GET", Skip: 1, Times: 3, After: true}, presses: 1},
		"service is away":              {server: hetznertest.RobotServer{Running: true, Resets: buttons}, fault: &hetznertest.Fault{Times: -1, Before: true}, want: hypervisor.ErrUnavailable},
		"no such server at the hoster": {server: hetznertest.RobotServer{Number: 5, Running: true, Resets: buttons}, want: hypervisor.ErrUnknown},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			number := 321
			if tc.server.Number == 0 {
				tc.server.Number = number
			}
			f, c := service(t, tc.server)
			if tc.fault != nil {
				f.Fail(*tc.fault)
			}
			fencer := &robot.Fencer{Client: c, Servers: map[pool.HostID]int{host: number}, Poll: 5 * time.Millisecond, Timeout: 20 * time.Second}
			if tc.want != nil {
				fencer.Timeout = 300 * time.Millisecond
			}
			proof, err := fencer.Fence(t.Context(), host)
			require.LessOrEqual(t, presses(f), 1)
			require.Equal(t, tc.presses, presses(f))
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
				require.Empty(t, proof)
				return
			}
			require.NoError(t, err)
			require.Contains(t, proof, `"shut off"`)
			require.False(t, f.Server(tc.server.Number).Running)
		})
	}
}

// A server that is off and comes back on between two looks has not been seen to be off.
func TestFenceLooksTwice(t *testing.T) {
	t.Parallel()
	f, c := service(t, hetznertest.RobotServer{Number: 321, Resets: []string{"power_long"}})
	on := hetznertest.Fault{Method: "GET", Skip: 1}
	on.Do = func() { f.SetRunning(321, true) }
	f.Fail(on)
	fencer := &robot.Fencer{Client: c, Servers: map[pool.HostID]int{host: 321}, Poll: 5 * time.Millisecond, Timeout: 50 * time.Millisecond}
	_, err := fencer.Fence(t.Context(), host)
	require.ErrorIs(t, err, hypervisor.ErrUnknown)
	on.Skip = 2 // the first look after the button was pressed still finds it off
	f.Fail(on)
	_, err = fencer.Fence(t.Context(), host)
	require.ErrorIs(t, err, hypervisor.ErrUnknown)
	_, err = fencer.Fence(t.Context(), "libvirt/other")
	require.ErrorIs(t, err, hypervisor.ErrNotFound)

	f.SetRunning(321, false)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	fencer.Poll = time.Minute
	_, err = fencer.Fence(ctx, host)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A driver whose hosts are fenced by Robot conforms, and is what it was in all else.
func TestGuard(t *testing.T) {
	t.Parallel()
	inner := fake.New(fake.Config{Hosts: fake.Fleet("fake", 2, 4), Settles: time.Second, Without: []hypervisor.Ability{hypervisor.CanFence}})
	f, c := service(t, hetznertest.RobotServer{Number: 321, Running: true, Resets: []string{"power_long"}})
	second := pool.HostID("fake/node-0002")
	fencer := &robot.Fencer{Client: c, Servers: map[pool.HostID]int{second: 321}, Poll: time.Millisecond}
	d := fencer.Guard(inner)
	require.True(t, hypervisor.Has(d, second, hypervisor.CanFence))
	require.False(t, hypervisor.Has(d, "fake/node-0001", hypervisor.CanFence))
	require.True(t, hypervisor.Has(d, second, hypervisor.CanSuspend))
	describer, ok := hypervisor.As[hypervisor.Describer](d)
	require.True(t, ok)
	require.Equal(t, time.Second, describer.Describe(second).Settles)
	fence, ok := hypervisor.As[hypervisor.Fencer](d)
	require.True(t, ok)
	_, err := fence.Fence(t.Context(), "fake/node-0001")
	require.ErrorIs(t, err, errors.ErrUnsupported)
	proof, err := fence.Fence(t.Context(), second)
	require.NoError(t, err)
	require.NotEmpty(t, proof)
	require.False(t, f.Server(321).Running)

	report, err := hypervisortest.Check(t.Context(), hypervisortest.Setup{
		Driver: d, Hosts: []pool.HostID{"fake/node-0001"},
		Order: hypervisor.Order{Source: "tiny.qcow2", Spec: pool.Spec{Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 256 * pool.MiB}, Disks: []pool.Disk{{Size: pool.GiB}}}},
	})
	require.NoError(t, err)
	require.NoError(t, report.Err())
}

func TestInventory(t *testing.T) {
	t.Parallel()
	_, c := service(t, hetznertest.RobotServer{Number: 321, Name: "kvm-1", IP: "192.0.2.1", Product: "EX44", DC: "FSN1-DC1"},
		hetznertest.RobotServer{Number: 421, IP: "192.0.2.2", Product: "unheard of", DC: "FSN1-DC2"})
	hosts, err := robot.Inventory{Client: c, Driver: "metal", Products: map[string]robot.Hardware{
		"EX44": {Cores: 14, Memory: 64 * pool.GiB, Disks: map[pool.Storage]int64{pool.NVMe: 512 * pool.GiB}, Cost: 60_000},
	}}.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 2)
	require.Equal(t, []any{pool.HostID("metal/321"), "kvm-1", "192.0.2.1", "fsn1-dc1", int64(60_000), pool.Ready},
		[]any{hosts[0].ID, hosts[0].Name, hosts[0].Address, hosts[0].Zone, hosts[0].Cost, hosts[0].Conditions})
	require.Equal(t, map[pool.Class]pool.Inventory{pool.CPU: {Total: 14_000}, pool.Memory: {Total: 64 * pool.GiB}, pool.StorageNVMe: {Total: 512 * pool.GiB}}, hosts[0].Inventory)
	require.Zero(t, hosts[1].Conditions, "nothing is known of its product")
	require.Equal(t, "421", hosts[1].Name)
}
