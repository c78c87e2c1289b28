package fencing_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/hypervisor/fencing"
	"github.com/berthage/berthage/pool"
)

// script writes a program.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fence")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
	return path
}

func TestFence(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body  string
		args  []string
		proof string
		kind  error
		says  string
	}{
		"off":            {body: `echo "power of $BERTHAGE_HOST is $1"`, args: []string{"off; rm -rf /"}, proof: "power of fake/node-0001 is off; rm -rf /"},
		"says nothing":   {body: ":", proof: "the fencing command says so"},
		"says too much":  {body: `printf '\033[31mred\033[0m\nsecond line'; yes | head -c 100000`, proof: "[31mred [0m"},
		"not off":        {body: `echo "power is on" >&2; exit 3`, kind: hypervisor.ErrUnknown, says: "exit status 3: power is on"},
		"does not end":   {body: `exec sleep 600`, kind: hypervisor.ErrUnknown, says: "had not ended after"},
		"leaves a child": {body: `sleep 8 & exit 1`, kind: hypervisor.ErrUnknown, says: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			below := fake.New(fake.Config{Hosts: fake.Fleet("fake", 2, 1), Without: []hypervisor.Ability{hypervisor.CanFence}})
			d, err := fencing.Wrap(below, map[pool.HostID]fencing.Command{"fake/node-0001": {Path: script(t, tc.body), Args: tc.args, Timeout: 500 * time.Millisecond}})
			require.NoError(t, err)
			require.True(t, hypervisor.Has(d, "fake/node-0001", hypervisor.CanFence))
			require.False(t, hypervisor.Has(d, "fake/node-0002", hypervisor.CanFence))
			require.True(t, hypervisor.Has(d, "fake/node-0001", hypervisor.CanSuspend), "of the driver")
			f, ok := hypervisor.As[hypervisor.Fencer](d)
			require.True(t, ok)
			proof, err := f.Fence(t.Context(), "fake/node-0001")
			if tc.kind != nil {
				require.ErrorIs(t, err, tc.kind)
				require.ErrorContains(t, err, tc.says)
				require.Empty(t, proof)
			} else {
				require.NoError(t, err)
				require.Equal(t, tc.proof, proof)
			}
			_, err = f.Fence(t.Context(), "fake/node-0002")
			require.ErrorIs(t, err, errors.ErrUnsupported)
		})
	}
}

func TestFenceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d, err := fencing.Wrap(fake.New(fake.Config{}), map[pool.HostID]fencing.Command{"fake/a": {Path: script(t, "exec sleep 600")}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = d.Fence(ctx, "fake/a")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = d.Fence(ctx, "fake/a")
	require.ErrorIs(t, err, context.DeadlineExceeded, "nothing is run")
}

// Hosts without a command are fenced by the driver itself, if it can.
func TestFenceByTheDriver(t *testing.T) {
	t.Parallel()
	below := fake.New(fake.Config{Hosts: fake.Fleet("fake", 2, 1)})
	d, err := fencing.Wrap(below, map[pool.HostID]fencing.Command{"fake/node-0001": {Path: script(t, "echo off")}})
	require.NoError(t, err)
	require.True(t, hypervisor.Has(d, "fake/node-0002", hypervisor.CanFence))
	proof, err := d.Fence(t.Context(), "fake/node-0002")
	require.NoError(t, err)
	require.NotEmpty(t, proof)
	require.Len(t, below.Fences(), 1)
}

func TestWrapRefuses(t *testing.T) {
	t.Parallel()
	for field, c := range map[string]fencing.Command{
		"path": {Path: "fence.sh"}, "timeout": {Path: "/bin/true", Timeout: -1},
	} {
		_, err := fencing.Wrap(fake.New(fake.Config{}), map[pool.HostID]fencing.Command{"fake/a": c})
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
	_, err := fencing.Wrap(fake.New(fake.Config{}), map[pool.HostID]fencing.Command{"": {Path: "/bin/true"}})
	require.ErrorIs(t, err, pool.ErrInvalid)
}

func ExampleWrap() {
	driver := fake.New(fake.Config{Hosts: fake.Fleet("fake", 1, 1), Without: []hypervisor.Ability{hypervisor.CanFence}})
	d, err := fencing.Wrap(driver, map[pool.HostID]fencing.Command{
		"fake/node-0001": {Path: "/bin/echo", Args: []string{"chassis power is off"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	proof, err := d.Fence(context.Background(), "fake/node-0001")
	fmt.Println(strings.ToUpper(proof), err)
	// Output: CHASSIS POWER IS OFF <nil>
}
