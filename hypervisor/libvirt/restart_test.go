package libvirt_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// TestDaemonRestarts restarts a real daemon, gently and by force, under a driver that is being used. Running machines
// stay, and every call that was made while the daemon was away has said so.
func TestDaemonRestarts(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	parsed, err := url.Parse(u)
	require.NoError(t, err)
	dir := filepath.Dir(filepath.Dir(parsed.Query().Get("socket")))
	if _, err := os.Stat(filepath.Join(dir, "berthage-libvirtd")); err != nil {
		notRun(t, "the daemon is not one of up.sh's, which can be restarted")
	}
	d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: u, VirtType: virtType()}}})
	o := machine(t, guestImage(t), "web-1")
	create(t, d, o)
	require.NoError(t, d.Start(t.Context(), o.Ref))
	for _, args := range [][]string{{dir}, {"--kill", dir}} {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		failed, worked := 0, 0
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				list, err := d.Machines(ctx, o.Host)
				cancel()
				if err != nil {
					failed++
					if !hypervisor.Nothing(err) {
						t.Errorf("a read failed with %v", err)
					}
					time.Sleep(20 * time.Millisecond)
					continue
				}
				worked++
				found := false
				for _, m := range list {
					found = found || m.Ref == o.Ref && m.Power == pool.Running
				}
				if !found {
					t.Errorf("the machine is not listed as running: %v", list)
				}
			}
		})
		begin := time.Now()
		out, err := exec.Command("../../internal/integration/libvirtd/restart.sh", args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		eventually(t, "the daemon is back", func() error {
			_, err := d.Machines(t.Context(), o.Host)
			return err
		})
		t.Logf("%v: back after %v", args, time.Since(begin).Round(time.Millisecond))
		time.Sleep(time.Second)
		close(stop)
		wg.Wait()
		require.Positive(t, worked)
		t.Logf("%d lists while it restarted, %d failed", worked+failed, failed)
		require.NoError(t, d.Suspend(t.Context(), o.Ref))
		require.NoError(t, d.Resume(t.Context(), o.Ref))
	}
}
