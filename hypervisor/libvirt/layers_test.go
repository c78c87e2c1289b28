package libvirt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// Snapshots that are taken and deleted in turn while the guest runs leave as many files as there are snapshots, and every
// snapshot keeps what was there: by a disk in each format.
func TestLayersAreMerged(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	d := open(t, libvirt.Config{
		Hosts: []libvirt.HostConfig{{Name: "h1", URI: u, VirtType: virtType(),
			Pools: map[string]libvirt.StoragePool{"default": {}, "fast": {Kind: pool.NVMe, Format: libvirt.Raw}}}},
		Timeouts: libvirt.Timeouts{Shutdown: 20 * time.Second},
	})
	o := machine(t, guestImage(t), "web-1", func(o *hypervisor.Order) {
		o.Spec.Disks = append(o.Spec.Disks,
			pool.Disk{Size: 64 * pool.MiB, Mount: "/data"}, pool.Disk{Size: 64 * pool.MiB, Mount: "/more", Storage: pool.NVMe})
	})
	create(t, d, o)
	starts := 0
	start := func() {
		t.Helper()
		require.NoError(t, d.Start(t.Context(), o.Ref))
		starts++
		eventually(t, "the shell answers", func() error {
			log, err := d.Log(t.Context(), o.Ref, 1<<20)
			if n := strings.Count(string(log), "berthage-guest ready"); err == nil && n != starts {
				err = fmt.Errorf("%d times and not %d it has been ready", n, starts)
			}
			return err
		})
	}
	start()
	layers := func() int {
		t.Helper()
		traces, err := d.Traces(t.Context(), o.Host)
		require.NoError(t, err)
		n := 0
		for _, trace := range traces {
			if strings.Contains(trace, libvirt.VolumePrefix(o.Tag)) && !strings.HasSuffix(trace, ".log") && !strings.HasSuffix(trace, ".iso") {
				n++
			}
		}
		return n
	}
	const rounds, kept = 4, 2
	name := func(i int) string { return fmt.Sprintf("s%d", i) }
	for i := range rounds {
		typed(t, d, o.Ref, fmt.Sprintf("echo state-%d >/data/file; echo state-%d >/more/file; dd if=/dev/urandom of=/data/big bs=64k count=16; sync", i, i))
		require.NoError(t, d.Snapshot(t.Context(), o.Ref, name(i)))
		if i >= kept {
			require.NoError(t, d.DeleteSnapshot(t.Context(), o.Ref, name(i-kept)))
			require.Equal(t, 3*(kept+1), layers(), "round %d", i)
		}
	}
	typed(t, d, o.Ref, "echo later >/data/file; echo later >/more/file; sync")
	for i := rounds - kept; i < rounds; i++ {
		require.NoError(t, d.Stop(t.Context(), o.Ref))
		require.NoError(t, d.Revert(t.Context(), o.Ref, name(i)))
		start()
		out := typed(t, d, o.Ref, "cat /data/file /more/file")
		require.Equal(t, 2, strings.Count(out, fmt.Sprintf("state-%d", i)), "%q", out)
	}
	for i := rounds - kept; i < rounds; i++ {
		require.NoError(t, d.DeleteSnapshot(t.Context(), o.Ref, name(i)))
	}
	require.Equal(t, 3, layers())
	out := typed(t, d, o.Ref, "cat /data/file /more/file")
	require.Equal(t, 2, strings.Count(out, fmt.Sprintf("state-%d", rounds-1)), "%q", out)
}
