package customdriver_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/customdriver"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// A process that has made and started machines is killed in the middle of it, with its process group. The machines run on, and
// another driver finds all of them, each with its tag, and can end them.
func TestMachinesOutliveTheirDriver(t *testing.T) {
	t.Parallel()
	const variable = "BERTHAGE_CUSTOMDRIVER_DIR"
	order := func(n int) hypervisor.Order {
		return hypervisor.Order{
			Ref:  hypervisor.Ref{Host: "process/one", Tag: hypervisor.Tag{Ledger: "l", Machine: pool.NewInstanceID("l", "p", "t").Machine(n), Launched: 7}},
			Name: "web", Source: "ticker", Revision: 7,
			Spec: pool.Spec{Resources: pool.Resources{pool.Memory: 64 * pool.MiB}, Disks: []pool.Disk{{Size: pool.MiB}}},
		}
	}
	open := func(dir string) *customdriver.Driver {
		d, err := customdriver.New(customdriver.Config{Grace: time.Second, Hosts: []customdriver.HostConfig{{Name: "one", Dir: dir}}})
		require.NoError(t, err)
		return d
	}
	if dir := os.Getenv(variable); dir != "" { // the process that will be killed
		d := open(dir)
		for n := 0; ; n++ {
			o := order(n)
			require.NoError(t, d.Create(t.Context(), o))
			require.NoError(t, d.Start(t.Context(), o.Ref))
			fmt.Println("started", n)
		}
	}
	dir := prepare(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestMachinesOutliveTheirDriver$")
	cmd.Env = append(os.Environ(), variable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	started := 0
	for lines := bufio.NewScanner(out); started < 3 && lines.Scan(); {
		if lines.Text() == fmt.Sprint("started ", started) {
			started++
		}
	}
	require.NoError(t, syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL))
	_ = cmd.Wait()
	require.Equal(t, 3, started)

	d := open(dir)
	list, err := d.Machines(t.Context(), "process/one")
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, m := range list {
			require.NoError(t, d.Destroy(context.Background(), m.Ref))
		}
	})
	running := 0
	for _, m := range list {
		_, n, ok := m.Machine.Split()
		require.True(t, ok)
		require.Equal(t, order(n).Ref, m.Ref)
		if m.Power == pool.Running {
			running++
		}
	}
	require.GreaterOrEqual(t, running, started)
	for n := range started {
		require.NoError(t, d.Stop(t.Context(), order(n).Ref))
	}
}
