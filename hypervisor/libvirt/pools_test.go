package libvirt_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// slow is a kind of storage of the tests' own.
const slow pool.Storage = "slow"

// TestPools puts disks into storage pools of several types, which are offered as several kinds of storage. A pool that
// holds no files is not offered, and says so.
func TestPools(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	image := guestImage(t)
	dir, err := os.MkdirTemp("", "berthage-fs")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o711))
	keeper := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: u}}})
	define := func(xml string) {
		remove, err := keeper.DefinePool(t.Context(), oneHost, xml)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, remove()) })
	}
	file := filepath.Join(dir, "disk.img")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.NoError(t, os.Truncate(file, 256<<20))
	out, err := exec.Command("mkfs.ext4", "-q", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		notRun(t, "no loop device: "+string(out))
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	point := filepath.Join(dir, "mounted")
	require.NoError(t, os.Mkdir(point, 0o755))
	define("<pool type='fs'><name>berthage-fs</name><source><device path='" + device + "'/><format type='ext4'/></source><target><path>" + point + "</path></target></pool>")
	odd, err := keeper.DefineInactivePool(t.Context(), oneHost, "<pool type='scsi'><name>berthage-odd</name><source><adapter name='host0'/></source><target><path>/dev/disk/by-path</path></target></pool>")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, odd()) })

	d := open(t, libvirt.Config{
		Hosts: []libvirt.HostConfig{{Name: "h1", URI: u, VirtType: virtType(), Pools: map[string]libvirt.StoragePool{
			"default": {}, "fast": {Kind: pool.NVMe, Format: libvirt.Raw}, "berthage-fs": {Kind: pool.SSD}, "berthage-odd": {Kind: slow},
		}}},
		Timeouts: libvirt.Timeouts{Shutdown: time.Second},
	})
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	sizes := make(map[pool.Class]int64)
	for _, device := range hosts[0].Devices {
		sizes[device.Class] += device.Inventory.Total
	}
	require.Len(t, sizes, 3)
	require.InDelta(t, 256<<20, sizes[pool.SSD.Class()], 64<<20)
	o := machine(t, image, "web-1", func(o *hypervisor.Order) {
		o.Spec.Disks = []pool.Disk{{Size: pool.GiB}, {Size: 32 * pool.MiB, Storage: pool.SSD}, {Size: 32 * pool.MiB, Storage: pool.NVMe}}
	})
	create(t, d, o)
	files, err := d.DiskFiles(t.Context(), o.Ref)
	require.NoError(t, err)
	require.Equal(t, point, filepath.Dir(files[1]))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.NoError(t, d.Snapshot(t.Context(), o.Ref, "a"))
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	none := machine(t, image, "web-2", func(o *hypervisor.Order) {
		o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: pool.MiB, Storage: slow})
	})
	err = d.Create(t.Context(), none)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorContains(t, err, "does not hold files")
}
