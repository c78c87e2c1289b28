package libvirt_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// newKey returns a key and its line for authorized_keys.
func newKey(t *testing.T) (ssh.Signer, string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return signer, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// machine describes one machine of the driver's "h1" for the tests.
func machine(t *testing.T, image, name string, change ...func(*hypervisor.Order)) hypervisor.Order {
	t.Helper()
	o := order("file:" + image)
	o.Name = name
	ledger := "test-" + strings.ToLower(rand.Text())
	o.Ref = hypervisor.Ref{Host: "libvirt/h1", Tag: hypervisor.Tag{
		Ledger: ledger, Machine: pool.NewInstanceID(ledger, "test", name).Machine(0), Launched: 7,
	}}
	o.Spec.Guest.User = "berth"
	for _, c := range change {
		c(&o)
	}
	return o
}

// create makes a machine that is destroyed, to the last volume, when the test ends.
func create(t *testing.T, d *libvirt.Driver, o hypervisor.Order) {
	t.Helper()
	before, err := d.Traces(t.Context(), o.Host)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			log, err := d.Log(ctx, o.Ref, 8<<10)
			t.Logf("console of %s (%v):\n%s", o.Name, err, log)
		}
		require.NoError(t, d.Destroy(ctx, o.Ref))
		after, err := d.Traces(ctx, o.Host)
		require.NoError(t, err)
		for _, trace := range after {
			if strings.Contains(trace, string(o.Machine)) || strings.Contains(trace, o.Name+"-") {
				require.Contains(t, before, trace, "left behind")
			}
		}
	})
	require.NoError(t, d.Create(t.Context(), o))
}

// shown returns the machine as the driver lists it.
func shown(t *testing.T, d *libvirt.Driver, r hypervisor.Ref) hypervisor.Machine {
	t.Helper()
	list, err := d.Machines(t.Context(), r.Host)
	require.NoError(t, err)
	for _, m := range list {
		if m.Ref == r {
			return m
		}
	}
	require.Fail(t, "not listed", "%v", r)
	return hypervisor.Machine{}
}

// eventually calls f until it returns no error, for minutes: emulated guests on a busy machine are slow.
func eventually(t *testing.T, what string, f func() error) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := f()
		if err == nil {
			return time.Since(start)
		}
		require.Less(t, time.Since(start), 4*time.Minute, "%s: %v", what, err)
		time.Sleep(300 * time.Millisecond)
	}
}

// run runs a command in a guest by SSH.
func run(t *testing.T, d *libvirt.Driver, r hypervisor.Ref, key ssh.Signer, command string) (string, error) {
	t.Helper()
	m := shown(t, d, r)
	if len(m.Addresses) == 0 {
		return "", errors.New("no address yet")
	}
	return runAt(m.Addresses[0], key, command)
}

// runAt is run for a guest whose address is known.
func runAt(address string, key ssh.Signer, command string) (string, error) {
	if !strings.Contains(address, ":") {
		address += ":22"
	}
	raw, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
	conn, channels, requests, err := ssh.NewClientConn(raw, address, &ssh.ClientConfig{
		User: "berth", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		// Asked for an RSA key that it does not have, Dropbear 2022.83 breaks off.
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	})
	if err != nil {
		return "", err
	}
	client := ssh.NewClient(conn, channels, requests)
	defer client.Close()
	s, err := client.NewSession()
	if err != nil {
		return "", err
	}
	out, err := s.CombinedOutput(command)
	return strings.TrimSpace(string(out)), err
}

// load is the machine's load average, for the figures that the tests log.
func load() string {
	b, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); len(f) > 0 {
		return f[0]
	}
	return "unknown"
}

// TestGuest boots a guest with two disks on a NAT network and tries everything on it.
func TestGuest(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	image := guestImage(t)
	key, line := newKey(t)
	d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: u, VirtType: virtType(),
		Pools: map[string]libvirt.StoragePool{"default": {}, "fast": {Kind: pool.NVMe, Format: libvirt.Raw, IOPS: 5000}}}}})
	o := machine(t, image, "web-1", func(o *hypervisor.Order) {
		o.Spec.Guest.SSHKeys = []string{line}
		o.Spec.Disks = append(o.Spec.Disks,
			pool.Disk{Size: 64 * pool.MiB, Mount: "/data"},
			pool.Disk{Size: 96 * pool.MiB, Mount: "/srv/more", Storage: pool.NVMe, IOPS: 500})
	})
	begin := time.Now()
	create(t, d, o)
	t.Logf("create: %v (load %s)", time.Since(begin).Round(time.Millisecond), load())
	require.Equal(t, pool.Stopped, shown(t, d, o.Ref).Power)
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.Equal(t, pool.Running, shown(t, d, o.Ref).Power)
	ssh := func(command string) string {
		var out string
		eventually(t, command, func() (err error) {
			out, err = run(t, d, o.Ref, key, command)
			return err
		})
		return out
	}
	require.Equal(t, "web-1 berth", ssh("echo $(hostname) $(whoami)"))
	t.Logf("from create to SSH: %v (load %s)", time.Since(begin).Round(time.Millisecond), load())
	mounts := ssh("grep -E ' /data | /srv/more ' /proc/mounts")
	require.Contains(t, mounts, " /data ext4 ")
	require.Contains(t, mounts, " /srv/more ext4 ")
	require.Equal(t, "131072", ssh("cat /sys/block/$(basename $(readlink -f /dev/disk/by-id/virtio-berthage-d1))/size"), "sectors of 512 bytes")
	require.Equal(t, "196608", ssh("cat /sys/block/$(basename $(readlink -f /dev/disk/by-id/virtio-berthage-d2))/size"))

	t.Run("console", func(t *testing.T) {
		eventually(t, "what the guest has said", func() error { // virtlogd writes it when it comes to it
			log, err := d.Log(t.Context(), o.Ref, 1<<20)
			require.NoError(t, err)
			if len(log) == 0 {
				return errors.New("nothing yet")
			}
			return nil
		})
		end, err := d.Log(t.Context(), o.Ref, 10)
		require.NoError(t, err)
		require.LessOrEqual(t, len(end), 10)
		at, err := d.Display(t.Context(), o.Ref)
		require.NoError(t, err)
		v, err := url.Parse(at)
		require.NoError(t, err)
		require.Equal(t, "vnc", v.Scheme)
		conn, err := net.Dial("tcp", v.Host)
		require.NoError(t, err)
		defer conn.Close()
		banner := make([]byte, 12)
		_, err = io.ReadFull(conn, banner)
		require.NoError(t, err)
		require.Equal(t, "RFB 003.008\n", string(banner))
	})
	t.Run("samples", func(t *testing.T) {
		ssh("dd if=/dev/zero of=/data/file bs=1M count=8 2>/dev/null; sync; true")
		got := make(map[string]float64)
		eventually(t, "samples", func() error {
			list, err := d.Sample(t.Context(), o.Host)
			require.NoError(t, err)
			for _, s := range list {
				if s.Machine == o.Machine || s.Machine == "" {
					got[strings.TrimSuffix(s.Name+" "+s.Device, " ")] = s.Value
				}
			}
			if got["disk_written_bytes_total vdb"] < 8<<20 {
				return fmt.Errorf("%v", got)
			}
			return nil
		})
		require.Equal(t, float64(192*pool.MiB), got["memory_total_bytes"])
		require.Greater(t, got["memory_used_bytes"], float64(16*pool.MiB))
		require.Less(t, got["memory_used_bytes"], float64(192*pool.MiB))
		require.Greater(t, got["cpu_seconds_total"], 1.0)
		require.Greater(t, got["network_receive_bytes_total net0"], 1000.0)
		require.Greater(t, got["host_memory_total_bytes"], float64(pool.GiB))
		require.Greater(t, got["host_memory_available_bytes"], 0.0)
		require.Less(t, got["host_memory_available_bytes"], got["host_memory_total_bytes"])
		require.Greater(t, got["host_storage_free_bytes fast"], 0.0)
		require.Contains(t, got, "disk_allocated_bytes vdc")
		require.Greater(t, got["disk_write_seconds_total vdb"], 0.0)
		require.Equal(t, float64(64*pool.MiB), got["disk_capacity_bytes vdb"])
		require.Equal(t, float64(192*pool.MiB), got["memory_balloon_bytes"])
		require.Greater(t, got["memory_resident_bytes"], float64(16*pool.MiB))
		require.Greater(t, got["memory_available_bytes"], float64(16*pool.MiB))
		require.Greater(t, got["network_receive_packets_total net0"], 10.0)
		for _, name := range []string{"cpu_steal_seconds_total", "host_cpu_iowait_seconds_total", "network_receive_errors_total net0", "network_transmit_dropped_total net0"} {
			require.Contains(t, got, name)
		}
	})
	t.Run("suspend", func(t *testing.T) {
		require.NoError(t, d.Suspend(t.Context(), o.Ref))
		require.Equal(t, pool.Suspended, shown(t, d, o.Ref).Power)
		require.NoError(t, d.Resume(t.Context(), o.Ref))
		require.Equal(t, "web-1", ssh("hostname"))
	})
	t.Run("reboot", func(t *testing.T) {
		ssh("touch /tmp/before")
		begin := time.Now()
		require.NoError(t, d.Reboot(t.Context(), o.Ref))
		took := time.Since(begin)
		t.Logf("reboot obeyed after %v (load %s)", took.Round(time.Millisecond), load())
		require.Less(t, took, 90*time.Second, "the guest obeyed")
		require.Equal(t, "new", ssh("test -e /tmp/before || echo new"))
	})
	t.Run("stop", func(t *testing.T) {
		begin := time.Now()
		require.NoError(t, d.Stop(t.Context(), o.Ref))
		took := time.Since(begin)
		t.Logf("stop obeyed after %v (load %s)", took.Round(time.Millisecond), load())
		require.Less(t, took, 90*time.Second, "the guest obeyed")
		m := shown(t, d, o.Ref)
		require.Equal(t, pool.Stopped, m.Power)
		require.Empty(t, m.Addresses)
		log, err := d.Log(t.Context(), o.Ref, 1<<20)
		require.NoError(t, err)
		require.NotEmpty(t, log, "the log outlives the run")
	})
}

// TestNetworks boots guests on the other kinds of network.
func TestNetworks(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	image := guestImage(t)
	key, line := newKey(t)
	first := freePort(t)
	config := libvirt.HostConfig{Name: "h1", URI: u, VirtType: virtType(), Network: "users", Networks: map[string]libvirt.Network{
		"users": {Kind: libvirt.UserMode, FirstPort: first, LastPort: first + 20},
		"apart": {Kind: libvirt.UserMode},
		"wire":  {Kind: libvirt.Bridge, Source: "replaced"},
	}}
	probe := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: u}}})
	bridge, err := probe.NetworkBridge(t.Context(), "libvirt/h1", "default")
	require.NoError(t, err)
	config.Networks["wire"] = libvirt.Network{Kind: libvirt.Bridge, Source: bridge}
	d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{config}})

	for name, networks := range map[string][]pool.Network{
		"user":   nil,
		"bridge": {{Name: "wire"}},
		"two":    {{Name: "users"}, {Name: "default"}, {Name: "apart"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := machine(t, image, name, func(o *hypervisor.Order) {
				o.Spec.Guest.SSHKeys = []string{line}
				o.Spec.Networks = networks
			})
			create(t, d, o)
			require.NoError(t, d.Start(t.Context(), o.Ref))
			took := eventually(t, "SSH", func() error {
				got, err := run(t, d, o.Ref, key, "hostname")
				if err == nil {
					require.Equal(t, name, got)
				}
				return err
			})
			t.Logf("SSH at %v after %v (load %s)", shown(t, d, o.Ref).Addresses, took.Round(time.Millisecond), load())
		})
	}
	t.Run("missing", func(t *testing.T) {
		o := machine(t, image, "missing", func(o *hypervisor.Order) { o.Spec.Networks = []pool.Network{{Name: "no-such"}} })
		err := d.Create(t.Context(), o)
		require.ErrorIs(t, err, hypervisor.ErrRefused)
		require.ErrorContains(t, err, `"no-such"`)
	})
}

// freePort returns the first of some ports that are free, as far as that can be known.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return min(l.Addr().(*net.TCPAddr).Port, 65000)
}
