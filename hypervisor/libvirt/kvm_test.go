package libvirt_test

import (
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/libvirt"
)

// The bytes in the program are those of its source.
func TestBootProbeSource(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"as", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			notRun(t, "no GNU assembler (Debian: binutils): "+err.Error())
		}
	}
	dir := t.TempDir()
	object, binary := filepath.Join(dir, "o"), filepath.Join(dir, "bin")
	out, err := exec.Command("as", "--64", "testdata/bootprobe.s", "-o", object).CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command("ld", "-m", "elf_x86_64", "-Ttext", "0x7c00", "--oformat", "binary", object, "-o", binary).CombinedOutput()
	require.NoError(t, err, "%s", out)
	want, err := os.ReadFile(binary)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(want), strings.Join(strings.Fields(libvirt.BootProbe), ""))
}

// The test machine works where machines work: emulated. Whether it does under KVM is the host's secret; that a
// machine comes up on what Auto has chosen is for TestGuest with BERTHAGE_VIRT_TYPE=auto.
func TestKVMProbe(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: u}}, Timeouts: libvirt.Timeouts{Probe: 2 * time.Minute}})
	before, err := d.Traces(t.Context(), "libvirt/h1")
	require.NoError(t, err)

	require.NoError(t, d.LeaveProbe(t.Context(), "libvirt/h1"))
	begin := time.Now()
	works, err := d.TestBoot(t.Context(), "libvirt/h1", libvirt.QEMU)
	require.NoError(t, err)
	require.True(t, works)
	t.Logf("emulated: switched itself off after %v (load %s)", time.Since(begin).Round(time.Millisecond), load())

	begin = time.Now()
	works, err = d.TestBoot(t.Context(), "libvirt/h1", libvirt.KVM)
	require.NoError(t, err)
	t.Logf("KVM: works %v, after %v (load %s)", works, time.Since(begin).Round(time.Millisecond), load())
	after, err := d.Traces(t.Context(), "libvirt/h1")
	require.NoError(t, err)
	require.ElementsMatch(t, before, after, "the test leaves nothing behind")

	short := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: u}}, Timeouts: libvirt.Timeouts{Probe: 100 * time.Millisecond}})
	_, err = short.TestBoot(t.Context(), "libvirt/h1", libvirt.QEMU)
	require.NoError(t, err, "what does not answer in time does not work")
}
