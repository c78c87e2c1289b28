package libvirt_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// The tests of this file, and those that ask uris, need daemons. BERTHAGE_LIBVIRT_URIS names them, separated by
// commas, as internal/integration/libvirtd/up.sh prints them: up to two with QEMU, and one with the test driver, by
// each of its listeners. BERTHAGE_LIBVIRT_IMAGE is a small image that boots, with cloud-init or the like.

// uris returns those of the daemons' URIs that begin with the scheme; without enough of them the test is not
// run, and says so.
func uris(t *testing.T, scheme string, atLeast int) []string {
	t.Helper()
	var out []string
	for _, u := range strings.Split(os.Getenv("BERTHAGE_LIBVIRT_URIS"), ",") {
		if strings.HasPrefix(u, scheme) {
			out = append(out, u)
		}
	}
	if len(out) < atLeast {
		notRun(t, fmt.Sprintf("BERTHAGE_LIBVIRT_URIS names %d daemons of %q and %d are needed", len(out), scheme, atLeast))
	}
	return out
}

// notRun ends a test that lacks what it needs, and says so loudly.
func notRun(t *testing.T, why string) {
	t.Helper()
	fmt.Printf("NOT RUN: %s: %s\n", t.Name(), why)
	t.Skip("not run: " + why)
}

// logger writes into the test's log.
func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func open(t *testing.T, c libvirt.Config) *libvirt.Driver {
	t.Helper()
	if c.Logger == nil {
		c.Logger = logger(t)
	}
	d, err := libvirt.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// nodeURI writes a node file for libvirt's test driver and returns the URI of its host, which is the
// connection's own.
func nodeURI(t *testing.T, base string, name, node string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berthage-node")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755)) // the daemon may be another user's
	path := filepath.Join(dir, name+".xml")
	require.NoError(t, os.WriteFile(path, []byte(node), 0o644))
	u, err := url.Parse(base)
	require.NoError(t, err)
	u.Path = path
	return u.String()
}

const node = `<node>
<cpu><mhz>2000</mhz><model>x86_64</model><active>64</active><nodes>2</nodes><sockets>1</sockets><cores>16</cores><threads>2</threads></cpu>
<memory>268435456</memory>
<network><name>default</name><bridge name='virbr0'/><ip address='192.168.122.1' netmask='255.255.255.0'/></network>
<pool type='dir'><name>default</name><target><path>/pool/default</path></target>
<volume type='file'><name>base.qcow2</name><capacity unit='bytes'>1048576</capacity><target><path>/pool/default/base.qcow2</path><format type='qcow2'/></target></volume>
</pool>
<domain type='test'><name>other</name><memory>1048576</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>
</node>`

// order is a small machine.
func order(source string) hypervisor.Order {
	return hypervisor.Order{
		Source: source,
		Image:  pool.Image{Name: "tiny", User: "berth"},
		Spec: pool.Spec{
			Image:     "tiny",
			Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 192 * pool.MiB},
			Disks:     []pool.Disk{{Size: pool.GiB}},
		},
	}
}

// untagged defines a machine without a tag where the driver would put the machine of that id.
func untagged(d *libvirt.Driver) func(ctx context.Context, r hypervisor.Ref) (func() error, error) {
	return func(ctx context.Context, r hypervisor.Ref) (func() error, error) {
		kind, err := d.DomainType(ctx, r.Host)
		if err != nil {
			return nil, err
		}
		return d.Define(ctx, r.Host, fmt.Sprintf(`<domain type='%s'><name>somebody-else</name><uuid>%s</uuid><memory>65536</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>`,
			kind, libvirt.MachineUUID(r.Machine)))
	}
}

// The two hosts are node files of libvirt's test driver: no uploads, so no seed and no console.
func TestConformanceNodes(t *testing.T) {
	base := uris(t, "test+unix:", 1)[0]
	d := open(t, libvirt.Config{
		Timeouts: libvirt.Timeouts{Shutdown: 500 * time.Millisecond, Call: 5 * time.Second}, // the test driver sends no reboot events
		Hosts: []libvirt.HostConfig{
			{Name: "n1", URI: nodeURI(t, base, "n1", node)},
			{Name: "n2", URI: nodeURI(t, base, "n2", node)},
		},
	})
	hypervisortest.Run(t, hypervisortest.Setup{
		Name: "libvirt test nodes", Driver: d, Hosts: []pool.HostID{"libvirt/n1", "libvirt/n2"},
		Order:     order("volume:default/base.qcow2"),
		BadSource: "volume:default/none",
		Abilities: []hypervisor.Ability{hypervisor.CanHibernate, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanSuspend, hypervisor.CanWatch},
		Untagged:  untagged(d),
		Traces:    d.Traces,
	})
}

// guestImage returns the image that boots; without one the test is not run, and says so.
func guestImage(t *testing.T) string {
	t.Helper()
	path := os.Getenv("BERTHAGE_LIBVIRT_IMAGE")
	if path == "" {
		notRun(t, "BERTHAGE_LIBVIRT_IMAGE names no image")
	}
	return path
}

// virtType is how the tests run machines: emulated, unless BERTHAGE_VIRT_TYPE says otherwise.
func virtType() libvirt.VirtType {
	if v := os.Getenv("BERTHAGE_VIRT_TYPE"); v != "" {
		return libvirt.VirtType(v)
	}
	return libvirt.QEMU
}

// The host is the test driver's shared one, which lives as long as some connection to it does.
func TestConformanceTestDefault(t *testing.T) {
	base := uris(t, "test+unix:", 1)[0]
	config := libvirt.Config{
		Name:     "shared",
		Timeouts: libvirt.Timeouts{Shutdown: 200 * time.Millisecond, Call: 5 * time.Second},
		Hosts:    []libvirt.HostConfig{{Name: "only", URI: base, Pools: map[string]libvirt.StoragePool{"default-pool": {}}}},
		Logger:   logger(t),
	}
	const host = "shared/only"
	keeper := open(t, config)
	side, through := newBetween(t, base)
	config.Hosts = slices.Clone(config.Hosts)
	config.Hosts[0].URI = through
	keep, err := keeper.Define(t.Context(), host, `<domain type='test'><name>keeper</name><memory>65536</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>`)
	require.NoError(t, err)
	defer func() { require.NoError(t, keep()) }()
	remove, err := keeper.DefineVolume(t.Context(), host, "default-pool",
		`<volume><name>base.qcow2</name><capacity>1048576</capacity><target><format type='qcow2'/></target></volume>`)
	require.NoError(t, err)
	defer func() { require.NoError(t, remove()) }()

	d, err := libvirt.New(config)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	hypervisortest.Run(t, hypervisortest.Setup{
		Name: "libvirt test default", Driver: d, Hosts: []pool.HostID{host},
		Order:     order("volume:base.qcow2"),
		BadSource: "volume:none",
		Abilities: []hypervisor.Ability{hypervisor.CanHibernate, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanSuspend, hypervisor.CanWatch},
		Untagged:  untagged(keeper),
		Traces:    keeper.Traces,
		Disturb:   disturb(side), Disturbances: disturbances(),
		Reopen: func(context.Context) (hypervisor.Driver, error) {
			if err := d.Close(); err != nil {
				return nil, err
			}
			var err error
			d, err = libvirt.New(config)
			return d, err
		},
	})
}

// content is a checksum of what is on the disks of a stopped machine, wherever and at whatever size of theirs: of all
// that is not zero.
func content(ctx context.Context, d *libvirt.Driver, r hypervisor.Ref) (string, error) {
	files, err := d.DiskFiles(ctx, r)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for i, file := range files {
		raw := filepath.Join(os.TempDir(), "berthage-content-"+string(r.Machine)+".raw")
		defer os.Remove(raw)
		if out, err := exec.CommandContext(ctx, "qemu-img", "convert", "-O", "raw", file, raw).CombinedOutput(); err != nil {
			return "", fmt.Errorf("qemu-img: %w: %s", err, out)
		}
		f, err := os.Open(raw)
		if err != nil {
			return "", err
		}
		defer f.Close()
		block, zeros := make([]byte, 64<<10), make([]byte, 64<<10)
		for at := 0; ; at++ {
			n, err := io.ReadFull(f, block)
			if !bytes.Equal(block[:n], zeros[:n]) {
				fmt.Fprintf(sum, "%d %d %x\n", i, at, block[:n])
			}
			if err != nil {
				break
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// shared makes a storage pool that the daemons share.
func shared(t *testing.T, uris []string) (name string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "berthage-pool")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711)) // QEMU does not run as root
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	name = filepath.Base(dir)
	for _, u := range uris {
		d, err := libvirt.New(libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h", URI: u, LeaveInactive: true}}})
		require.NoError(t, err)
		t.Cleanup(func() { _ = d.Close() })
		remove, err := d.DefinePool(t.Context(), "libvirt/h", "<pool type='dir'><name>"+name+"</name><target><path>"+dir+"</path></target></pool>")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, remove()) })
	}
	return name
}

// The hosts are two daemons with QEMU, or one.
func TestConformanceQEMU(t *testing.T) {
	found := uris(t, "qemu+", 1)
	found = found[:min(2, len(found))]
	image := guestImage(t)
	storage := shared(t, found)
	config := libvirt.Config{
		Timeouts: libvirt.Timeouts{Shutdown: time.Second}, // a guest that is still booting does not obey at all
		Logger:   logger(t),
	}
	var hosts []pool.HostID
	var sides []*between
	for i, u := range found {
		side, through := newBetween(t, u)
		sides = append(sides, side)
		name := fmt.Sprintf("h%d", i+1)
		config.Hosts = append(config.Hosts, libvirt.HostConfig{Name: name, URI: through, VirtType: virtType(),
			Pools:    map[string]libvirt.StoragePool{storage: {Shared: true}},
			Headroom: libvirt.Headroom{CPU: 4 * pool.Core, Memory: 512 * pool.MiB},
			CPU:      "qemu64", Migration: libvirt.Migration{URI: u, Memory: "tcp://127.0.0.1"}})
		hosts = append(hosts, pool.NewHostID("libvirt", name))
	}
	d, err := libvirt.New(config)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	template := order("file:" + image)
	template.Spec.Disks[0].Size = 64 * pool.MiB // contents are compared
	setup := hypervisortest.Setup{
		Name: "libvirt qemu", Driver: d, Hosts: hosts,
		Order:     template,
		BadSource: image + ".none",
		Abilities: []hypervisor.Ability{
			hypervisor.CanAttachDisk, hypervisor.CanConsole, hypervisor.CanHibernate, hypervisor.CanImage, hypervisor.CanMeter,
			hypervisor.CanMigrate, hypervisor.CanMigrateLive, hypervisor.CanReboot, hypervisor.CanResize, hypervisor.CanResizeHot, hypervisor.CanSnapshot, hypervisor.CanSuspend, hypervisor.CanWatch,
		},
		Content:  func(ctx context.Context, r hypervisor.Ref) (string, error) { return content(ctx, d, r) },
		Untagged: func(ctx context.Context, r hypervisor.Ref) (func() error, error) { return untagged(d)(ctx, r) },
		Traces:   func(ctx context.Context, id pool.HostID) ([]string, error) { return d.Traces(ctx, id) },
		Reopen: func(context.Context) (hypervisor.Driver, error) {
			if err := d.Close(); err != nil {
				return nil, err
			}
			var err error
			d, err = libvirt.New(config)
			return d, err
		},
		Timeout: 5 * time.Minute,
		Boot:    10 * time.Minute,
	}
	// It takes many minutes, and TestChangesCut and TestMoveCut do the same to the requests that matter.
	if thorough() {
		setup.Disturb, setup.Disturbances = disturb(sides...), disturbances()
	}
	hypervisortest.Run(t, setup)
}
