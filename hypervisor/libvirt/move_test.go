package libvirt_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// pair is a configuration of two daemons between which machines move while they run, "h1" and "h2", reached by the
// given URIs; on both, the network "wire" is a bridge of the first.
func pair(t *testing.T, through [2]string) libvirt.Config {
	t.Helper()
	found := uris(t, "qemu+", 2)[:2]
	storage := shared(t, found)
	probe := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: found[0]}}})
	bridge, err := probe.NetworkBridge(t.Context(), "libvirt/h1", "default")
	require.NoError(t, err)
	c := libvirt.Config{Timeouts: libvirt.Timeouts{Shutdown: 20 * time.Second}}
	for i, u := range found {
		c.Hosts = append(c.Hosts, libvirt.HostConfig{
			Name: fmt.Sprintf("h%d", i+1), URI: cmpOr(through[i], u), VirtType: virtType(), CPU: "qemu64", Network: "wire",
			Networks:  map[string]libvirt.Network{"wire": {Kind: libvirt.Bridge, Source: bridge}},
			Pools:     map[string]libvirt.StoragePool{storage: {Shared: true}},
			Headroom:  libvirt.Headroom{CPU: 2 * pool.Core, Memory: 256 * pool.MiB},
			Migration: libvirt.Migration{URI: u, Memory: "tcp://127.0.0.1"},
		})
	}
	return c
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// on is the machine's order for another host, of a later revision.
func on(o hypervisor.Order, host pool.HostID) hypervisor.Order {
	o.Host = host
	o.Revision++
	return o
}

// typed types a command into the shell on a guest's serial console, which is root's, waits until it is done, and returns
// what has been shown.
func typed(t *testing.T, d *libvirt.Driver, r hypervisor.Ref, command string) string {
	t.Helper()
	c, err := d.Serial(t.Context(), r)
	require.NoError(t, err)
	defer c.Close()
	timer := time.AfterFunc(2*time.Minute, func() { _ = c.Close() })
	defer timer.Stop()
	_, err = io.WriteString(c, "\n"+command+" && echo all\\ done\n")
	require.NoError(t, err)
	var out strings.Builder
	buf := make([]byte, 4<<10)
	for !strings.Contains(out.String(), "all done") {
		n, err := c.Read(buf)
		require.NoError(t, err, "%q", out.String())
		out.Write(buf[:n])
	}
	return out.String()
}

// TestGuestChanges changes a guest in every way while it runs and counts, moves it to another daemon, where it goes on
// counting, and brings back what it had on its disk.
func TestGuestChanges(t *testing.T) {
	d := open(t, pair(t, [2]string{}))
	key, line := newKey(t)
	o := machine(t, guestImage(t), "web-1", func(o *hypervisor.Order) {
		o.Spec.Guest.SSHKeys = []string{line}
		o.Spec.Resources[pool.Memory] = 128 * pool.MiB
		o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: 64 * pool.MiB, Mount: "/data"})
	})
	create(t, d, o)
	require.NoError(t, d.Start(t.Context(), o.Ref))
	var address string
	eventually(t, "an address", func() error {
		if m := shown(t, d, o.Ref); len(m.Addresses) > 0 {
			address = m.Addresses[0]
			return nil
		}
		return errors.New("none yet")
	})
	ssh := func(command string) string {
		t.Helper()
		var out string
		eventually(t, command, func() (err error) {
			out, err = runAt(address, key, command)
			return err
		})
		return out
	}
	count := func() int {
		t.Helper()
		n, err := strconv.Atoi(ssh("cat /tmp/count"))
		require.NoError(t, err)
		return n
	}
	ssh("i=0; (while :; do i=$((i+1)); echo $i >/tmp/next; mv /tmp/next /tmp/count; sleep 0.2; done) >/dev/null 2>&1 </dev/null &")
	typed(t, d, o.Ref, "echo one >/data/file; sync")

	memory := func() int {
		n, err := strconv.Atoi(ssh("awk '/MemTotal/ {print $2}' /proc/meminfo"))
		require.NoError(t, err)
		return n
	}
	before := memory()
	require.Less(t, before, 128<<10)
	larger := o
	larger.Revision++
	larger.Spec = o.Spec.Clone()
	larger.Spec.Resources = pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 256 * pool.MiB}
	larger.Spec.Disks[1].Size = 96 * pool.MiB
	require.NoError(t, d.Resize(t.Context(), larger))
	require.Equal(t, "0-1", ssh("cat /sys/devices/system/cpu/present"))
	require.Equal(t, "196608", ssh("cat /sys/block/$(basename $(readlink -f /dev/disk/by-id/virtio-berthage-d1))/size"), "sectors of 512 bytes")
	eventually(t, "the guest has the memory", func() error {
		if n := memory(); n < before+100<<10 {
			return fmt.Errorf("%d kB", n)
		}
		return nil
	})
	less := larger
	less.Revision++
	less.Spec = larger.Spec.Clone()
	less.Spec.Resources[pool.Memory] /= 2
	require.ErrorIs(t, d.Resize(t.Context(), less), hypervisor.ErrRefused)
	more := larger
	more.Revision++
	more.Spec = larger.Spec.Clone()
	more.Spec.Resources[pool.CPU] *= 2
	require.ErrorIs(t, d.Resize(t.Context(), more), hypervisor.ErrRefused)

	require.NoError(t, d.Snapshot(t.Context(), o.Ref, "first"))
	typed(t, d, o.Ref, "echo two >/data/file; sync")
	disks := larger
	disks.Revision++
	disks.Spec = larger.Spec.Clone()
	for range 6 {
		disks.Spec.Disks = append(disks.Spec.Disks, pool.Disk{Size: 32 * pool.MiB, IOPS: 300})
	}
	require.NoError(t, d.SetDisks(t.Context(), disks))
	serials := func(n int) {
		t.Helper()
		eventually(t, "the guest sees the disks", func() error {
			if got := ssh("grep -l berthage-d /sys/block/vd*/serial | wc -l"); got != strconv.Itoa(n) {
				return fmt.Errorf("%s of %d", got, n)
			}
			return nil
		})
	}
	serials(8)
	limit, err := d.IOPSLimit(t.Context(), o.Ref, 7)
	require.NoError(t, err)
	require.EqualValues(t, 300, limit)
	fewer := disks
	fewer.Revision++
	fewer.Spec = disks.Spec.Clone()
	fewer.Spec.Disks = fewer.Spec.Disks[:3]
	require.NoError(t, d.SetDisks(t.Context(), fewer))
	serials(3)
	require.ErrorIs(t, d.SetDisks(t.Context(), disks), hypervisor.ErrRefused, "an earlier order")

	was := count()
	begin := time.Now()
	require.NoError(t, d.Hibernate(t.Context(), o.Ref))
	require.Equal(t, pool.Hibernated, shown(t, d, o.Ref).Power)
	require.ErrorIs(t, d.Snapshot(t.Context(), o.Ref, "no"), hypervisor.ErrWrongPower)
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.Greater(t, count(), was, "it goes on")
	t.Logf("hibernated and back after %v (load %s)", time.Since(begin).Round(time.Millisecond), load())

	was = count()
	there := on(fewer, "libvirt/h2")
	begin = time.Now()
	require.NoError(t, d.Migrate(t.Context(), o.Ref, there))
	t.Logf("moved after %v (load %s)", time.Since(begin).Round(time.Millisecond), load())
	t.Cleanup(func() { require.NoError(t, d.Destroy(context.Background(), there.Ref)) })
	require.Greater(t, count(), was, "it goes on")
	require.Equal(t, pool.Running, shown(t, d, there.Ref).Power)
	list, err := d.Machines(t.Context(), o.Host)
	require.NoError(t, err)
	for _, m := range list {
		require.NotEqual(t, o.Tag, m.Tag)
	}
	// The copy that was is no more: removing it touches nothing of the one that is.
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	typed(t, d, there.Ref, "echo three >/data/file; sync")
	log, err := d.Log(t.Context(), there.Ref, 1<<20)
	require.NoError(t, err)
	require.NotEmpty(t, log)
	require.NoError(t, d.Snapshot(t.Context(), there.Ref, "second"))
	typed(t, d, there.Ref, "echo four >/data/file; sync")

	require.NoError(t, d.Stop(t.Context(), there.Ref))
	for name, want := range map[string]string{"first": "one", "second": "three"} {
		require.NoError(t, d.Revert(t.Context(), there.Ref, name))
		require.NoError(t, d.Start(t.Context(), there.Ref))
		require.Equal(t, want, ssh("cat /data/file"))
		require.Equal(t, "196608", ssh("cat /sys/block/$(basename $(readlink -f /dev/disk/by-id/virtio-berthage-d1))/size"), "the size stays")
		require.NoError(t, d.Stop(t.Context(), there.Ref))
	}
	kept, err := d.Snapshots(t.Context(), there.Ref)
	require.NoError(t, err)
	require.Len(t, kept, 2)
	require.NoError(t, d.DeleteSnapshot(t.Context(), there.Ref, "first"))
	require.NoError(t, d.Start(t.Context(), there.Ref))
	require.Contains(t, []string{"one", "three"}, ssh("cat /data/file"))
}

// TestMoveCut lets the connections to both daemons break at every request of a move. Never are there two machines that
// run; the call can be repeated until the machine has arrived; nothing is left at the end.
func TestMoveCut(t *testing.T) {
	found := uris(t, "qemu+", 2)[:2]
	image := guestImage(t)
	var sides [2]*between
	var through [2]string
	for i := range sides {
		sides[i], through[i] = newBetween(t, found[i])
	}
	d := open(t, pair(t, through))
	hosts := []pool.HostID{"libvirt/h1", "libvirt/h2"}
	traces := func() (out []string) {
		for _, h := range hosts {
			list, err := d.Traces(t.Context(), h)
			require.NoError(t, err)
			out = append(out, list...)
		}
		return out
	}
	clear := func() {
		for _, b := range sides {
			b.set(nil)
		}
	}
	// where tells the power of the machine on the hosts that have it.
	where := func(tag hypervisor.Tag) map[pool.HostID]pool.Power {
		out := make(map[pool.HostID]pool.Power)
		for _, h := range hosts {
			list, err := d.Machines(t.Context(), h)
			require.NoError(t, err)
			for _, m := range list {
				if m.Tag == tag {
					out[h] = m.Power
				}
			}
		}
		require.False(t, out[hosts[0]] == pool.Running && out[hosts[1]] == pool.Running, "two run")
		return out
	}
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "running"}[running], func(t *testing.T) {
			before := traces()
			round, doubts := 0, 0
			life := func(what string, side int, hook func(uint32, int) fault, after func(o hypervisor.Order, err error)) {
				round++
				clear()
				o := machine(t, image, fmt.Sprintf("web-%d", round), func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = 96 * pool.MiB })
				require.NoError(t, d.Create(t.Context(), o))
				if running {
					require.NoError(t, d.Start(t.Context(), o.Ref))
				}
				there := on(o, hosts[1])
				clear()
				sides[side].set(hook)
				err := d.Migrate(t.Context(), o.Ref, there)
				if hook != nil {
					clear()
				}
				if err != nil {
					require.True(t, errors.Is(err, hypervisor.ErrUnknown) || errors.Is(err, hypervisor.ErrUnavailable) ||
						errors.Is(err, hypervisor.ErrRefused), "%s: %v", what, err)
					require.NotEmpty(t, where(o.Tag), what)
				}
				after(o, err)
				for _, h := range hosts {
					r := o.Ref
					r.Host = h
					require.NoError(t, d.Destroy(t.Context(), r), what)
				}
				require.Empty(t, where(o.Tag), what)
				require.ElementsMatch(t, before, traces(), what)
			}
			arrives := func(what string) func(o hypervisor.Order, err error) {
				return func(o hypervisor.Order, err error) {
					there := on(o, hosts[1])
					if err != nil {
						eventually(t, what, func() error { return d.Migrate(t.Context(), o.Ref, there) })
					}
					require.Equal(t, map[pool.HostID]pool.Power{hosts[1]: map[bool]pool.Power{false: pool.Stopped, true: pool.Running}[running]}, where(o.Tag), what)
					require.NoError(t, d.Start(t.Context(), there.Ref), what)
				}
			}
			// Removed or started while it is in doubt where it is, it is never two, and never without its disks.
			removed := func(what string) func(o hypervisor.Order, err error) {
				return func(o hypervisor.Order, err error) {
					if err == nil {
						return
					}
					r := o.Ref
					r.Host = hosts[1]
					for _, r := range []hypervisor.Ref{o.Ref, r} {
						if err := d.Start(t.Context(), r); err != nil {
							require.True(t, hypervisor.Nothing(err), "%s: %v", what, err)
						}
						where(o.Tag)
					}
					for _, r := range []hypervisor.Ref{o.Ref, r} {
						if defined, err := d.Defined(t.Context(), r); err != nil || !defined {
							return
						}
					}
					doubts++
					eventually(t, what, func() error { return d.Destroy(t.Context(), r) })
					require.Contains(t, where(o.Tag), hosts[0], what)
					require.NoError(t, d.Start(t.Context(), o.Ref), what)
				}
			}
			var orders [2][]uint32
			var counts [2]map[uint32]int
			life("without faults", 0, nil, func(o hypervisor.Order, err error) {
				for i, b := range sides {
					orders[i], counts[i] = b.seen()
				}
				arrives("without faults")(o, err)
			})
			var cuts []string
			for side := range sides {
				for _, proc := range orders[side] {
					name, ok := changing[proc]
					if !ok {
						continue
					}
					for n := 1; n <= counts[side][proc]; n++ {
						for _, late := range sidesOfCut(len(cuts)) {
							what := fmt.Sprintf("%s %d on %s, %s", name, n, hosts[side], map[bool]string{false: "before", true: "after"}[late])
							hook := func(p uint32, nth int) fault {
								if p == proc && nth == n {
									return fault{cut: true, late: late}
								}
								return fault{}
							}
							life(what, side, hook, arrives(what))
							if late {
								life(what, side, hook, removed(what))
							}
							cuts = append(cuts, what)
						}
					}
				}
			}
			require.GreaterOrEqual(t, len(cuts), 4)
			require.True(t, running || doubts > 0, "it was on both hosts at least once")
			t.Logf("cut at %s (load %s)", strings.Join(cuts, "; "), load())
		})
	}
}

// What keeps a machine from moving is said, and the machine stays as it was: it runs, and can be changed.
func TestMoveRefused(t *testing.T) {
	image := guestImage(t)
	base := pair(t, [2]string{})
	other := shared(t, uris(t, "qemu+", 2)[1:2]) // of the second daemon only
	for name, c := range map[string]struct {
		running bool
		change  func(c *libvirt.Config)
		order   func(o *hypervisor.Order)
		kind    error
		says    string
	}{
		"the daemons do not reach each other": {running: true, kind: hypervisor.ErrRefused, says: "/no/such/socket",
			change: func(c *libvirt.Config) { c.Hosts[1].Migration.URI = "qemu+unix:///system?socket=/no/such/socket" }},
		"no model of processor": {running: true, kind: hypervisor.ErrWrongPower, change: func(c *libvirt.Config) { c.Hosts[1].CPU = "" }},
		"nothing shared there": {kind: hypervisor.ErrRefused, says: "no storage pool",
			change: func(c *libvirt.Config) { c.Hosts[1].Pools = map[string]libvirt.StoragePool{"default": {}} }},
		"another pool shared there": {kind: hypervisor.ErrRefused, says: "not shared by the two",
			change: func(c *libvirt.Config) { c.Hosts[1].Pools = map[string]libvirt.StoragePool{other: {Shared: true}} }},
		"not the same pool": {kind: hypervisor.ErrRefused, says: "not the same on both",
			change: func(c *libvirt.Config) {
				for i := range c.Hosts {
					c.Hosts[i].Pools = map[string]libvirt.StoragePool{"default": {Shared: true}}
				}
			}},
		"a user-mode network": {running: true, kind: hypervisor.ErrRefused, says: "user-mode",
			change: func(c *libvirt.Config) {
				for i := range c.Hosts {
					c.Hosts[i].Networks = map[string]libvirt.Network{"wire": {Kind: libvirt.UserMode}}
				}
			}},
		"a network that is not there": {kind: hypervisor.ErrRefused, says: "berthage-none",
			order: func(o *hypervisor.Order) { o.Spec.Networks = []pool.Network{{Name: "berthage-none"}} }},
		"an unreachable host": {kind: hypervisor.ErrRefused, says: "cannot be reached",
			change: func(c *libvirt.Config) { c.Hosts[1].URI = "qemu+unix:///system?socket=/no/such/socket" }},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			config := base
			config.Hosts = slices.Clone(base.Hosts)
			config.Timeouts.Shutdown = time.Second
			if c.change != nil {
				c.change(&config)
			}
			d := open(t, config)
			for _, h := range config.Hosts {
				_, _ = d.Machines(t.Context(), pool.NewHostID("libvirt", h.Name)) // what is offered is known then
			}
			o := machine(t, image, "web-1")
			if c.order != nil {
				c.order(&o)
				remove, err := d.DefineNetwork(t.Context(), o.Host, "<network><name>berthage-none</name></network>")
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, remove()) })
			}
			create(t, d, o)
			if c.running {
				require.NoError(t, d.Start(t.Context(), o.Ref))
			}
			was := shown(t, d, o.Ref)
			err := d.Migrate(t.Context(), o.Ref, on(o, "libvirt/h2"))
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.says)
			require.True(t, hypervisor.Nothing(err))
			require.Equal(t, was.Power, shown(t, d, o.Ref).Power)
			require.NoError(t, d.Snapshot(t.Context(), o.Ref, "a"), "it can be changed")
			require.NoError(t, d.Start(t.Context(), o.Ref))
		})
	}
}
