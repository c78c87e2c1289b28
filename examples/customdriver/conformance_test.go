package customdriver_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/customdriver"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

// prepare makes the directories of a host, with an image that writes on its console and never ends.
func prepare(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		fmt.Printf("NOT RUN: %s: the driver's hosts are Linux computers\n", t.Name())
		t.Skip("not run: the driver's hosts are Linux computers")
	}
	dir := t.TempDir()
	for _, name := range []string{"machines", "images"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	image := "echo \"$NAME has booted\"\nwhile :; do echo tick; sleep 0.1; done\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "images", "ticker"), []byte(image), 0o600))
	return dir
}

func TestConformance(t *testing.T) {
	t.Parallel()
	wire := new(wire)
	one, two := prepare(t), prepare(t)
	config := customdriver.Config{
		Grace: 2 * time.Second,
		Hosts: []customdriver.HostConfig{{Name: "one", Dir: one, Shell: wire.shell}, {Name: "two", Dir: two, Shell: wire.shell}},
	}
	driver, err := customdriver.New(config)
	require.NoError(t, err)
	dirs := map[pool.HostID]string{"process/one": one, "process/two": two}
	report := hypervisortest.Run(t, hypervisortest.Setup{
		Name: "customdriver", Driver: driver, Hosts: []pool.HostID{"process/one", "process/two"},
		Order: hypervisor.Order{
			Source: "ticker",
			Spec: pool.Spec{
				Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 64 * pool.MiB},
				Disks:     []pool.Disk{{Size: pool.GiB}},
			},
		},
		BadSource: "none",
		Abilities: []hypervisor.Ability{hypervisor.CanMeter, hypervisor.CanResize, hypervisor.CanSuspend},
		Disturb:   wire.disturb,
		Reopen: func(context.Context) (hypervisor.Driver, error) { // it has nothing to close, and nothing to lose
			return customdriver.New(config)
		},
		Untagged: func(_ context.Context, r hypervisor.Ref) (func() error, error) {
			dir := filepath.Join(dirs[r.Host], "machines", string(r.Machine))
			return func() error { return os.Remove(dir) }, os.Mkdir(dir, 0o700)
		},
		Traces: func(_ context.Context, id pool.HostID) (found []string, err error) {
			err = filepath.WalkDir(dirs[id], func(path string, _ fs.DirEntry, err error) error {
				if filepath.Base(path) != "lock" { // the host's
					found = append(found, path)
				}
				return err
			})
			return found, err
		},
	})
	for _, r := range report.Results {
		if r.Outcome == hypervisortest.NotOffered && r.Ability == "" {
			require.Equal(t, "not-offered", r.Name) // it offers all that it has
		}
	}
}

// wire is the way to a host, on which single requests can be made to go wrong.
type wire struct {
	next func(context.Context, []byte) ([]byte, error) // instead of the n-th request
	left atomic.Int64                                  // until that
}

func (w *wire) shell(ctx context.Context, script []byte) ([]byte, error) {
	if w.left.Add(-1) == 0 {
		return w.next(ctx, script)
	}
	return customdriver.Command("sh")(ctx, script)
}

func (w *wire) disturb(d hypervisortest.Disturbance, n int) (hit func() bool) {
	lost := errors.New("the connection is lost")
	w.next = func(ctx context.Context, script []byte) ([]byte, error) {
		run := func() ([]byte, error) { return customdriver.Command("sh")(ctx, script) }
		switch d {
		case hypervisortest.CutBefore:
			return nil, lost
		case hypervisortest.CutAfter:
			_, _ = run()
			return nil, lost
		case hypervisortest.Delayed:
			time.Sleep(100 * time.Millisecond)
		case hypervisortest.Twice:
			reply, err := run()
			_, _ = run()
			return reply, err
		}
		return run()
	}
	w.left.Store(int64(n))
	return func() bool { return w.left.Swap(0) <= 0 }
}
