package libvirt_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

// between stands before a real daemon's socket and reads along. It cuts a connection at one request: before the daemon
// gets it, or when its answer has come.
type between struct {
	socket, behind string

	mu     sync.Mutex
	counts map[uint32]int
	order  []uint32 // procedures, in the order in which they were called first
	hook   func(proc uint32, n int) fault
}

func newBetween(t *testing.T, uri string) (b *between, through string) {
	t.Helper()
	u, err := url.Parse(uri)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "lv")
	require.NoError(t, err)
	b = &between{socket: filepath.Join(dir, "s"), behind: u.Query().Get("socket"), counts: make(map[uint32]int)}
	l, err := net.Listen("unix", b.socket)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = l.Close()
		_ = os.RemoveAll(dir)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	u.RawQuery = url.Values{"socket": {b.socket}}.Encode()
	return b, u.String()
}

// set decides about the next requests, and forgets the ones before.
func (b *between) set(hook func(proc uint32, n int) fault) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook, b.order = hook, nil
	clear(b.counts)
}

// seen is how often which procedures were called, in the order of their first calls.
func (b *between) seen() (order []uint32, counts map[uint32]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts = make(map[uint32]int)
	for proc, n := range b.counts {
		counts[proc] = n
	}
	return append([]uint32(nil), b.order...), counts
}

// disturb is hypervisortest.Setup.Disturb for the daemons behind sides.
func disturb(sides ...*between) func(kind hypervisortest.Disturbance, n int) (hit func() bool) {
	return func(kind hypervisortest.Disturbance, n int) func() bool {
		var count atomic.Int64
		hook := func(uint32, int) fault {
			if count.Add(1) != int64(n) {
				return fault{}
			}
			return map[hypervisortest.Disturbance]fault{
				hypervisortest.CutBefore: {cut: true}, hypervisortest.CutAfter: {cut: true, late: true}, hypervisortest.Delayed: {slow: true},
			}[kind]
		}
		for _, b := range sides {
			b.set(hook)
		}
		return func() bool {
			for _, b := range sides {
				b.set(nil)
			}
			return count.Load() >= int64(n)
		}
	}
}

// disturbances are what can happen to a request on a connection that keeps its order and its content.
func disturbances() []hypervisortest.Disturbance {
	return []hypervisortest.Disturbance{hypervisortest.CutBefore, hypervisortest.CutAfter, hypervisortest.Delayed}
}

func (b *between) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("unix", b.behind)
	if err != nil {
		return
	}
	defer up.Close()
	var mu sync.Mutex
	late := make(map[uint32]bool) // serial numbers of requests at whose answers it is cut
	go func() {
		defer c.Close()
		defer up.Close()
		for {
			m, err := readMessage(up)
			if err != nil {
				return
			}
			mu.Lock()
			cut := late[m.serial] && m.kind == 1
			mu.Unlock()
			if cut {
				return
			}
			if _, err := c.Write(m.bytes()); err != nil {
				return
			}
		}
	}()
	for {
		m, err := readMessage(c)
		if err != nil {
			return
		}
		if m.kind == 0 {
			b.mu.Lock()
			if b.counts[m.proc]++; b.counts[m.proc] == 1 {
				b.order = append(b.order, m.proc)
			}
			var f fault
			if b.hook != nil {
				f = b.hook(m.proc, b.counts[m.proc])
			}
			b.mu.Unlock()
			if f.cut && !f.late {
				return
			}
			if f.slow {
				time.Sleep(300 * time.Millisecond)
			}
			mu.Lock()
			late[m.serial] = f.cut
			mu.Unlock()
		}
		if _, err := up.Write(m.bytes()); err != nil {
			return
		}
	}
}

// changing are the requests, of those that the driver makes, that change something; the others it repeats by itself.
var changing = map[uint32]string{
	9: "create", 13: "destroy", 93: "volume create", 94: "volume delete", 208: "upload", 350: "define", 260: "volume resize", 185: "snapshot",
	182: "managed save", 184: "managed save remove", 160: "attach", 161: "detach", 305: "migrate", 234: "destroy", 231: "undefine",
	251: "block resize", 199: "vcpus", 204: "memory",
}

// sidesOfCut is whether a request is cut before or after it, the n-th cut of a test: both with BERTHAGE_LIBVIRT_DISTURB, else in
// turns.
func sidesOfCut(n int) []bool {
	if thorough() {
		return []bool{false, true}
	}
	return []bool{n%2 == 0}
}

// thorough is for tests that take many minutes.
func thorough() bool { return os.Getenv("BERTHAGE_LIBVIRT_DISTURB") != "" }

// TestChangesCut lets the connection break at every request of every kind of change, before it or after it. The error
// leaves the outcome open, the machine is as it was or as ordered, and the call can be repeated until it has succeeded;
// nothing is left at the end.
func TestChangesCut(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	image := guestImage(t)
	b, through := newBetween(t, u)
	d := open(t, libvirt.Config{
		Hosts: []libvirt.HostConfig{{Name: "h1", URI: through, VirtType: virtType(), Headroom: libvirt.Headroom{CPU: 4 * pool.Core, Memory: 512 * pool.MiB},
			Pools: map[string]libvirt.StoragePool{"default": {}, "fast": {Kind: pool.NVMe, Format: libvirt.Raw}}}},
		Timeouts: libvirt.Timeouts{Shutdown: time.Second},
	})
	sizes := func(o hypervisor.Order) hypervisor.Order {
		o.Revision++
		o.Spec = o.Spec.Clone()
		o.Spec.Resources[pool.CPU] *= 2
		o.Spec.Resources[pool.Memory] *= 2
		for i := range o.Spec.Disks {
			o.Spec.Disks[i].Size *= 2
		}
		return o
	}
	disks := func(o hypervisor.Order, n int) hypervisor.Order {
		o.Revision++
		o.Spec = o.Spec.Clone()
		for len(o.Spec.Disks) < n {
			o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: 32 * pool.MiB, Storage: pool.NVMe})
		}
		o.Spec.Disks = o.Spec.Disks[:n]
		return o
	}
	resources := func(o hypervisor.Order) pool.Resources {
		return pool.Resources{pool.CPU: o.Spec.Resources[pool.CPU], pool.Memory: o.Spec.Resources[pool.Memory]}
	}
	for _, c := range []struct {
		name     string
		running  bool
		before   func(ctx context.Context, o hypervisor.Order) error // prepares the machine
		call     func(ctx context.Context, o hypervisor.Order) error
		sizes    func(o hypervisor.Order) hypervisor.Order // it has afterwards; nil: as before
		power    pool.Power
		snapshot []string
		disks    int
	}{
		{name: "resize", power: pool.Stopped, disks: 2, sizes: sizes,
			call: func(ctx context.Context, o hypervisor.Order) error { return d.Resize(ctx, sizes(o)) }},
		{name: "resize hot", running: true, power: pool.Running, disks: 2, sizes: sizes,
			call: func(ctx context.Context, o hypervisor.Order) error { return d.Resize(ctx, sizes(o)) }},
		{name: "two disks more", power: pool.Stopped, disks: 4,
			call: func(ctx context.Context, o hypervisor.Order) error { return d.SetDisks(ctx, disks(o, 4)) }},
		{name: "two disks more hot", running: true, power: pool.Running, disks: 4,
			call: func(ctx context.Context, o hypervisor.Order) error { return d.SetDisks(ctx, disks(o, 4)) }},
		{name: "a disk fewer", power: pool.Stopped, disks: 1,
			call: func(ctx context.Context, o hypervisor.Order) error { return d.SetDisks(ctx, disks(o, 1)) }},
		{name: "hibernate", running: true, power: pool.Hibernated, disks: 2,
			call: func(ctx context.Context, o hypervisor.Order) error { return d.Hibernate(ctx, o.Ref) }},
		{name: "start again", running: true, power: pool.Running, disks: 2,
			before: func(ctx context.Context, o hypervisor.Order) error { return d.Hibernate(ctx, o.Ref) },
			call:   func(ctx context.Context, o hypervisor.Order) error { return d.Start(ctx, o.Ref) }},
		{name: "snapshot", power: pool.Stopped, disks: 2, snapshot: []string{"a"},
			call: func(ctx context.Context, o hypervisor.Order) error {
				err := d.Snapshot(ctx, o.Ref, "a")
				if errors.Is(err, hypervisor.ErrExists) { // after an open outcome
					err = nil
				}
				return err
			}},
		{name: "revert", power: pool.Stopped, disks: 2, snapshot: []string{"a", "b"},
			before: func(ctx context.Context, o hypervisor.Order) error {
				return errors.Join(d.Snapshot(ctx, o.Ref, "a"), d.Snapshot(ctx, o.Ref, "b"))
			},
			call: func(ctx context.Context, o hypervisor.Order) error { return d.Revert(ctx, o.Ref, "a") }},
		{name: "delete snapshot", power: pool.Stopped, disks: 2, snapshot: []string{"a"},
			before: func(ctx context.Context, o hypervisor.Order) error {
				return errors.Join(d.Snapshot(ctx, o.Ref, "a"), d.Snapshot(ctx, o.Ref, "b"), d.Revert(ctx, o.Ref, "a"))
			},
			call: func(ctx context.Context, o hypervisor.Order) error { return d.DeleteSnapshot(ctx, o.Ref, "b") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			traces, err := d.Traces(t.Context(), oneHost)
			require.NoError(t, err)
			round := 0
			// life makes a machine, changes it with faults, and destroys it.
			life := func(what string, hook func(uint32, int) fault) {
				round++
				o := machine(t, image, fmt.Sprintf("web-%d", round), func(o *hypervisor.Order) {
					o.Spec.Disks = []pool.Disk{{Size: pool.GiB}, {Size: 32 * pool.MiB, Storage: pool.NVMe}}
				})
				b.set(nil)
				require.NoError(t, d.Create(t.Context(), o))
				if c.running {
					require.NoError(t, d.Start(t.Context(), o.Ref))
				}
				if c.before != nil {
					require.NoError(t, c.before(t.Context(), o))
				}
				was := shown(t, d, o.Ref)
				after := o
				if c.sizes != nil {
					after = c.sizes(o)
				}
				b.set(hook)
				err := c.call(t.Context(), o)
				if err != nil {
					require.True(t, errors.Is(err, hypervisor.ErrUnknown) || errors.Is(err, hypervisor.ErrUnavailable), "%s: %v", what, err)
					b.mu.Lock()
					b.hook = nil
					b.mu.Unlock()
					is := shown(t, d, o.Ref)
					require.Contains(t, []pool.Power{was.Power, c.power}, is.Power, what)
					eventually(t, what, func() error { return c.call(t.Context(), o) })
				}
				is := shown(t, d, o.Ref)
				require.Equal(t, c.power, is.Power, what)
				require.Equal(t, resources(after), is.Resources, what)
				files, err := d.DiskFiles(t.Context(), o.Ref)
				require.NoError(t, err)
				require.Len(t, files, c.disks, what)
				kept, err := d.Snapshots(t.Context(), o.Ref)
				require.NoError(t, err)
				var names []string
				for _, k := range kept {
					names = append(names, k.Name)
				}
				require.Equal(t, c.snapshot, names, what)
				if c.power == pool.Hibernated || c.power == pool.Stopped && (round == 1 || thorough()) {
					require.NoError(t, d.Start(t.Context(), o.Ref), what)
				}
				require.NoError(t, d.Destroy(t.Context(), o.Ref), what)
				left, err := d.Traces(t.Context(), oneHost)
				require.NoError(t, err)
				require.ElementsMatch(t, traces, left, what)
			}
			// Which requests there are is seen in a round that goes well.
			var order []uint32
			var counts map[uint32]int
			seen := c.call
			c.call = func(ctx context.Context, o hypervisor.Order) error {
				err := seen(ctx, o)
				order, counts = b.seen()
				return err
			}
			life("without faults", nil)
			c.call = seen
			cuts := 0
			for _, proc := range order {
				name, ok := changing[proc]
				if !ok {
					continue
				}
				for n := 1; n <= counts[proc]; n++ {
					for _, late := range sidesOfCut(cuts) {
						what := fmt.Sprintf("%s %d, %s", name, n, map[bool]string{false: "before", true: "after"}[late])
						life(what, func(p uint32, nth int) fault {
							if p == proc && nth == n {
								return fault{cut: true, late: late}
							}
							return fault{}
						})
						cuts++
					}
				}
			}
			require.Positive(t, cuts)
			var names []string
			for _, proc := range order {
				if changing[proc] != "" {
					names = append(names, changing[proc])
				}
			}
			t.Logf("cut %d times at %s (load %s)", cuts, strings.Join(names, ", "), load())
		})
	}
}

// TestImportCut lets the connection break at every request of an import. There is then the whole image in the list or
// nothing of it, and the import can be repeated.
func TestImportCut(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	b, through := newBetween(t, u)
	d := open(t, libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: through}}})
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	file := func(name string) hypervisor.ImageFile {
		return hypervisor.ImageFile{Name: name, Format: "raw", Size: int64(len(content)), SHA256: sha256.Sum256(content), Content: bytes.NewReader(content)}
	}
	listed := func(name string) (n int) {
		list, err := d.Images(t.Context(), oneHost)
		require.NoError(t, err)
		for _, i := range list {
			if i.Name == name {
				require.Equal(t, int64(len(content)), i.Size)
				n++
			}
		}
		return n
	}
	before, err := d.Traces(t.Context(), oneHost)
	require.NoError(t, err)
	b.set(nil)
	source, err := d.Import(t.Context(), oneHost, file("cut-0"))
	require.NoError(t, err)
	_, counts := b.seen()
	require.NoError(t, d.RemoveImage(t.Context(), oneHost, source))
	requests := 0
	for _, n := range counts {
		requests += n
	}
	for _, kind := range []hypervisortest.Disturbance{hypervisortest.CutBefore, hypervisortest.CutAfter} {
		for n := 1; n <= requests; n++ {
			what := fmt.Sprintf("request %d %s", n, kind)
			name := fmt.Sprintf("cut-%d", n)
			hit := disturb(b)(kind, n)
			_, err := d.Import(t.Context(), oneHost, file(name))
			hit()
			if err != nil {
				require.True(t, errors.Is(err, hypervisor.ErrUnknown) || errors.Is(err, hypervisor.ErrUnavailable), "%s: %v", what, err)
				require.LessOrEqual(t, listed(name), 1, what)
			}
			source, err := d.Import(t.Context(), oneHost, file(name))
			require.NoError(t, err, what)
			require.Equal(t, 1, listed(name), what)
			require.NoError(t, d.RemoveImage(t.Context(), oneHost, source))
			require.Zero(t, listed(name), what)
		}
	}
	after, err := d.Traces(t.Context(), oneHost)
	require.NoError(t, err)
	require.ElementsMatch(t, before, after)

	// An image that a machine lies on stays.
	source, err = d.Import(t.Context(), oneHost, file("needed"))
	require.NoError(t, err)
	o := machine(t, "", "web-1")
	o.Source = source
	create(t, d, o)
	require.ErrorIs(t, d.RemoveImage(t.Context(), oneHost, source), hypervisor.ErrRefused)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.NoError(t, d.RemoveImage(t.Context(), oneHost, source))
	for _, wrong := range []string{"file:/a", "volume:nowhere/a", "volume:default/berthage-image-x"} {
		require.ErrorIs(t, d.RemoveImage(t.Context(), oneHost, wrong), hypervisor.ErrInvalid)
	}
}
