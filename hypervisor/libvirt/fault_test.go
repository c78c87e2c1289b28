package libvirt_test

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
	"github.com/berthage/berthage/pool"
)

const oneHost = pool.HostID("libvirt/h1")

// connected returns a driver for the daemon.
func connected(t *testing.T, d *daemon, change ...func(*libvirt.Config)) *libvirt.Driver {
	t.Helper()
	c := libvirt.Config{Hosts: []libvirt.HostConfig{{Name: "h1", URI: d.uri()}}, Timeouts: libvirt.Timeouts{Call: 20 * time.Second, Shutdown: time.Second}}
	for _, f := range change {
		f(&c)
	}
	return open(t, c)
}

// ordered returns an order for a machine.
func ordered(name string) hypervisor.Order {
	o := order("volume:base.qcow2")
	o.Name = name
	ledger := "ledger-" + strings.ToLower(rand.Text())
	o.Ref = hypervisor.Ref{Host: oneHost, Tag: hypervisor.Tag{Ledger: ledger, Machine: pool.NewInstanceID(ledger, "p", name).Machine(0), Launched: 3}}
	o.Spec.Guest.User = "berth"
	return o
}

// only makes a fault of the first call of one procedure.
func only(proc uint32, f fault) func(uint32, int) fault {
	return func(p uint32, n int) fault {
		if p == proc && n == 1 {
			return f
		}
		return fault{}
	}
}

// always makes a fault of every call of one procedure.
func always(proc uint32, f fault) func(uint32, int) fault {
	return func(p uint32, _ int) fault {
		if p == proc {
			return f
		}
		return fault{}
	}
}

func machines(t *testing.T, d *libvirt.Driver) []hypervisor.Machine {
	t.Helper()
	list, err := d.Machines(t.Context(), oneHost)
	require.NoError(t, err)
	return list
}

func TestLife(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	list := machines(t, d)
	require.Len(t, list, 1)
	require.Equal(t, o.Ref, list[0].Ref)
	require.Equal(t, pool.Stopped, list[0].Power)
	require.Equal(t, libvirt.MachineUUID(o.Machine), list[0].Native)
	require.Equal(t, pool.Resources{pool.CPU: 1000, pool.Memory: 192 * pool.MiB}, list[0].Resources)
	require.Equal(t, 4, daemon.held(), "image, root disk, log, seed")
	require.NoError(t, d.Start(t.Context(), o.Ref))
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrExists)
	require.NoError(t, d.Stop(t.Context(), o.Ref))
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Empty(t, machines(t, d))
	require.Equal(t, 1, daemon.held())
	require.Equal(t, 2, daemon.connections(), "one for calls and one for the seed")
}

// What cannot be reached is listed, known as far as it was known, and everything says so.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	daemon.stop()
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	require.Equal(t, oneHost, hosts[0].ID)
	require.False(t, hosts[0].Conditions.Has(pool.Ready))
	require.Empty(t, hosts[0].Inventory)
	_, err = d.Machines(t.Context(), oneHost)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	o := ordered("web-1")
	for _, err := range []error{d.Create(t.Context(), o), d.Start(t.Context(), o.Ref), d.Destroy(t.Context(), o.Ref)} {
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.True(t, hypervisor.Nothing(err))
	}
	c := d.Describe(oneHost)
	require.True(t, c.CreateUnique)
	require.False(t, c.FirstBoot)
	require.Empty(t, c.Abilities)

	daemon.start()
	hosts, err = d.Hosts(t.Context())
	require.NoError(t, err)
	require.True(t, hosts[0].Conditions.Has(pool.Ready))
	inventory := hosts[0].Inventory
	require.Equal(t, 4*pool.Core, inventory[pool.CPU].Total)
	require.Equal(t, 8*pool.GiB, inventory[pool.Memory].Total)
	require.Equal(t, "fake.example.org", hosts[0].Address)
	require.True(t, d.Describe(oneHost).FirstBoot)

	daemon.stop()
	hosts, err = d.Hosts(t.Context())
	require.NoError(t, err)
	require.False(t, hosts[0].Conditions.Has(pool.Ready))
	require.Equal(t, inventory, hosts[0].Inventory)
	require.True(t, d.Describe(oneHost).FirstBoot, "what was known stays known")
}

// A connection that has gone while it was idle is made again without anybody noticing, also for calls that change
// something, as nothing of them can have been sent.
func TestRestartWhileIdle(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	for range 5 {
		daemon.stop()
		daemon.start()
		require.NoError(t, d.Start(t.Context(), o.Ref))
		require.NoError(t, d.Stop(t.Context(), o.Ref))
	}
}

func TestCutInMidCall(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))

	// A read is simply made again, once.
	daemon.set(only(procList, fault{cut: true}))
	require.Len(t, machines(t, d), 1)
	daemon.set(always(procList, fault{cut: true}))
	_, err := d.Machines(t.Context(), oneHost)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.Equal(t, 2, daemon.count(procList))

	// A change is not: whether it was done is not known.
	for _, late := range []bool{false, true} {
		daemon.set(only(procCreate, fault{cut: true, late: late}))
		err = d.Start(t.Context(), o.Ref)
		require.ErrorIs(t, err, hypervisor.ErrUnknown)
		require.False(t, hypervisor.Nothing(err))
		require.Equal(t, 1, daemon.count(procCreate))
		want := pool.Stopped
		if late {
			want = pool.Running
		}
		require.Equal(t, want, machines(t, d)[0].Power)
		require.NoError(t, d.Stop(t.Context(), o.Ref))
	}
}

// Whatever step of a create is cut, before or after its effect: the error leaves the outcome open, the create can
// be repeated, there is one machine at most, and destroying it leaves nothing.
func TestCreateCutAnywhere(t *testing.T) {
	t.Parallel()
	for proc := range map[uint32]string{procVolumeXML: "volume", 100: "path", procUpload: "upload", procDefine: "define"} {
		for _, late := range []bool{false, true} {
			for nth := 1; nth <= 3; nth++ {
				daemon := newDaemon(t)
				d := connected(t, daemon)
				machines(t, d)
				var hit atomic.Bool
				daemon.set(func(p uint32, n int) fault {
					if p == proc && n == nth {
						hit.Store(true)
						return fault{cut: true, late: late}
					}
					return fault{}
				})
				o := ordered("web-1")
				err := d.Create(t.Context(), o)
				if !hit.Load() {
					require.NoError(t, err)
				} else if err != nil {
					require.ErrorIs(t, err, hypervisor.ErrUnknown)
					err = d.Create(t.Context(), o)
					if err != nil {
						require.ErrorIs(t, err, hypervisor.ErrExists)
						require.True(t, late && proc == procDefine)
					}
				}
				require.Len(t, machines(t, d), 1)
				require.NoError(t, d.Destroy(t.Context(), o.Ref))
				require.Empty(t, machines(t, d))
				require.Equal(t, 1, daemon.held(), "procedure %d, call %d, late %v", proc, nth, late)
			}
		}
	}
}

// The same for a destroy: repeated, it comes to its end.
func TestDestroyCutAnywhere(t *testing.T) {
	t.Parallel()
	for _, proc := range []uint32{procDestroy, procVolumeDelete, 231, 281, 282, 83} {
		for _, late := range []bool{false, true} {
			daemon := newDaemon(t)
			d := connected(t, daemon)
			o := ordered("web-1")
			require.NoError(t, d.Create(t.Context(), o))
			require.NoError(t, d.Start(t.Context(), o.Ref))
			daemon.set(only(proc, fault{cut: true, late: late}))
			err := d.Destroy(t.Context(), o.Ref)
			if err != nil {
				require.ErrorIs(t, err, hypervisor.ErrUnknown)
				if daemon.held() > 1 {
					require.Len(t, machines(t, d), 1, "a machine of which something is left is listed")
				}
				require.NoError(t, d.Destroy(t.Context(), o.Ref))
			}
			require.Empty(t, machines(t, d))
			require.Equal(t, 1, daemon.held())
		}
	}
}

// A refusal in the middle of a create is a refusal, and what was made before is gone.
func TestCreateRefusedAnywhere(t *testing.T) {
	t.Parallel()
	for _, proc := range []uint32{procVolumeXML, 100, procUpload, procDefine} {
		for nth := 1; nth <= 3; nth++ {
			daemon := newDaemon(t)
			d := connected(t, daemon)
			machines(t, d)
			var hit atomic.Bool
			daemon.set(func(p uint32, n int) fault {
				if p == proc && n == nth {
					hit.Store(true)
					return fault{code: 38}
				}
				return fault{}
			})
			err := d.Create(t.Context(), ordered("web-1"))
			if !hit.Load() {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, hypervisor.ErrRefused)
			require.True(t, hypervisor.Nothing(err))
			require.ErrorContains(t, err, "said no to that")
			require.Empty(t, machines(t, d))
			require.Equal(t, 1, daemon.held())
		}
	}
}

// What a failed create has made is removed as far as that goes: one volume that stays does not keep the others.
func TestUndoGoesOn(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	daemon.set(func(p uint32, n int) fault {
		if p == procDefine || p == procVolumeDelete && n == 1 {
			return fault{code: 38}
		}
		return fault{}
	})
	require.ErrorIs(t, d.Create(t.Context(), ordered("web-1")), hypervisor.ErrRefused)
	require.Equal(t, 2, daemon.held(), "the image and the one that stays")
}

// A daemon that says no and has defined the machine all the same, or that cannot say whether it will: the machine
// keeps its disks.
func TestDefineInDoubt(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	daemon.set(only(procDefine, fault{code: 38, late: true}))
	require.NoError(t, d.Create(t.Context(), o))
	require.Len(t, machines(t, d), 1)
	require.Equal(t, 4, daemon.held())
	require.NoError(t, d.Destroy(t.Context(), o.Ref))

	daemon.set(only(procDefine, fault{code: 68})) // timed out
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrUnknown)
	require.Equal(t, 4, daemon.held())
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Equal(t, 1, daemon.held())
}

// A machine is listed whatever it is called: only the test machine of kvmProbe itself is left out.
func TestNamedLikeTheProbe(t *testing.T) {
	t.Parallel()
	d := connected(t, newDaemon(t))
	require.NoError(t, d.Create(t.Context(), ordered("berthage-probe-x")))
	require.Len(t, machines(t, d), 1)
}

// A machine of which the daemon tells no statistics, because its driver has none or the machine has just come or
// gone, is sampled as far as the list of machines goes.
func TestSampleWithoutStatistics(t *testing.T) {
	t.Parallel()
	d := connected(t, newDaemon(t))
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	list, err := d.Sample(t.Context(), oneHost)
	require.NoError(t, err)
	got := make(map[string]float64)
	for _, s := range list {
		if s.Machine == o.Machine {
			got[s.Name] = s.Value
		}
	}
	require.Equal(t, map[string]float64{
		hypervisor.CPUCores: 1, hypervisor.MemoryTotal: float64(192 * pool.MiB), hypervisor.CPUSeconds: 0,
	}, got)
}

// A guest's reboot is watched for on one connection. When that one is lost the reboot is in doubt, and the guest,
// which may be obeying, is not reset.
func TestRebootUnwatched(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	for range 20 {
		daemon.set(only(procSubscribe, fault{cut: true, then: true}))
		require.ErrorIs(t, d.Reboot(t.Context(), o.Ref), hypervisor.ErrUnknown)
		require.Zero(t, daemon.count(procReset))
	}
}

// Close ends what is under way, transfers included.
func TestClose(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	for proc, call := range map[uint32]func() error{
		procUpload:       func() error { return d.Create(t.Context(), ordered("web-2")) },
		procCreate:       func() error { return d.Start(t.Context(), o.Ref) },
		procCapabilities: func() error { return d.Start(t.Context(), o.Ref) },
	} {
		daemon.set(nil)
		d = connected(t, daemon)
		want := hypervisor.ErrUnavailable // when the connection is not even made
		if proc != procCapabilities {
			machines(t, d)
			want = hypervisor.ErrUnknown
		}
		reached := make(chan struct{})
		daemon.set(func(p uint32, _ int) fault {
			if p == proc {
				close(reached)
			}
			return fault{silent: p == proc}
		})
		failed := make(chan error)
		go func() { failed <- call() }()
		<-reached
		begin := time.Now()
		require.NoError(t, d.Close())
		require.ErrorIs(t, <-failed, want)
		require.Less(t, time.Since(begin), 10*time.Second)
		require.ErrorIs(t, call(), hypervisor.ErrUnavailable)
	}
}

// Nothing of the driver goes on after Close, whatever has gone wrong before. It runs by itself, as it looks at all
// goroutines of the process.
func TestNoGoroutinesLeft(t *testing.T) {
	daemon := newDaemon(t)
	d := connected(t, daemon, func(c *libvirt.Config) { c.Timeouts.Call = time.Second })
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Start(t.Context(), o.Ref))
	for _, proc := range []uint32{procInfo, procReboot, procSubscribe, procUpload} {
		for _, f := range []fault{{silent: true}, {cut: true}, {cut: true, then: true}, {code: 38}} {
			daemon.set(always(proc, f))
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			_, _ = d.Machines(ctx, oneHost)
			_ = d.Reboot(ctx, o.Ref)
			_ = d.Create(ctx, ordered("web-2"))
			_ = d.Watch(ctx, oneHost, func() {})
			cancel()
		}
	}
	require.NoError(t, d.Close())
	var left string
	for range 100 {
		buf := make([]byte, 1<<20)
		left = ""
		for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "hypervisor/libvirt.") || strings.Contains(g, "go-libvirt.") || strings.Contains(g, "go-libvirt/") {
				left = g
			}
		}
		if left == "" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.Fail(t, "a goroutine is left", "%s", left)
}

// A daemon that refuses an upload says so at its end only; the client library would hang there.
func TestUploadRefusedAtItsEnd(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	daemon.mu.Lock()
	daemon.refuseUpload = "no space left on device"
	daemon.mu.Unlock()
	err := d.Create(t.Context(), ordered("web-1"))
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorContains(t, err, "no space left on device")
	require.Equal(t, 1, daemon.held())
}

// A context ends its own call and nothing else: the connection goes on.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	connections := daemon.connections()
	ctx, cancel := context.WithCancel(t.Context())
	daemon.set(func(p uint32, _ int) fault {
		if p == procCreate {
			cancel()
		}
		return fault{silent: p == procCreate}
	})
	begin := time.Now()
	err := d.Start(ctx, o.Ref)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, hypervisor.ErrUnknown)
	require.Less(t, time.Since(begin), 5*time.Second)
	require.Len(t, machines(t, d), 1)
	require.Equal(t, connections, daemon.connections(), "on the same connection")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	daemon.set(nil)
	for _, err := range []error{d.Create(ended, ordered("web-2")), d.Start(ended, o.Ref), d.Stop(ended, o.Ref), d.Destroy(ended, o.Ref)} {
		require.ErrorIs(t, err, context.Canceled)
		require.True(t, hypervisor.Nothing(err))
	}
	require.Zero(t, daemon.count(procCreate)+daemon.count(procDefine)+daemon.count(procDestroy)+daemon.count(33))
}

// A daemon that does not answer at all costs its connection, and the call that waited, but no other.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon, func(c *libvirt.Config) { c.Timeouts.Call = 2 * time.Second })
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	connections := daemon.connections()
	daemon.set(always(procCreate, fault{silent: true}))
	require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrUnknown)
	daemon.set(nil)
	require.Len(t, machines(t, d), 1)
	require.Equal(t, connections+1, daemon.connections(), "a new connection")

	// Hosts is bounded by a time of its own.
	quick := connected(t, daemon, func(c *libvirt.Config) { c.Timeouts.Hosts = 50 * time.Millisecond })
	daemon.set(always(procList, fault{silent: true}))
	begin := time.Now()
	hosts, err := quick.Hosts(t.Context())
	require.NoError(t, err)
	require.False(t, hosts[0].Conditions.Has(pool.Ready))
	require.Less(t, time.Since(begin), 5*time.Second)
}

// Answers that cannot be are errors; the client library alone would panic or ask for 4 GiB.
func TestGarbage(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"too short":  {0, 0, 0, 3, 1, 2, 3},
		"too long":   {255, 255, 255, 255, 1, 2, 3},
		"a greeting": []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon := newDaemon(t)
			d := connected(t, daemon, func(c *libvirt.Config) { c.Timeouts.Call = 2 * time.Second })
			daemon.set(always(procList, fault{raw: raw}))
			_, err := d.Machines(t.Context(), oneHost)
			require.ErrorIs(t, err, hypervisor.ErrUnavailable)
			daemon.set(nil)
			require.Empty(t, machines(t, d))
			daemon.set(always(procUpload, fault{raw: raw}))
			require.ErrorIs(t, d.Create(t.Context(), ordered("web-1")), hypervisor.ErrUnknown)
		})
	}
	daemon := newDaemon(t)
	d := connected(t, daemon)
	daemon.set(always(procCapabilities, fault{raw: message{proc: procCapabilities, kind: 1, serial: 3, body: append([]byte{0, 0, 0, 4}, "<<<<"...)}.bytes()}))
	_, err := d.Machines(t.Context(), oneHost)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
}

func TestErrorKinds(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	for code, kind := range map[uint32]error{
		1: hypervisor.ErrRefused, 3: errors.ErrUnsupported, 9: hypervisor.ErrRefused, 29: hypervisor.ErrRefused, 38: hypervisor.ErrRefused,
		42: hypervisor.ErrNotFound, 43: hypervisor.ErrRefused, 49: hypervisor.ErrRefused, 55: hypervisor.ErrWrongPower,
		67: hypervisor.ErrRefused, 68: hypervisor.ErrUnknown, 8: hypervisor.ErrInvalid, 27: hypervisor.ErrInvalid,
	} {
		daemon.set(always(procCreate, fault{code: code}))
		err := d.Start(t.Context(), o.Ref)
		require.ErrorIs(t, err, kind, "code %d: %v", code, err)
		require.Contains(t, err.Error(), "start "+string(o.Machine)+" on libvirt/h1: ")
		require.NotContains(t, err.Error(), "\n")
	}
	daemon.set(always(procDestroy, fault{code: 38}))
	require.NoError(t, d.Destroy(t.Context(), o.Ref), "what is refused because the machine is off already is no matter")
}

// Several creates of one machine at the same time, from different drivers, which know nothing of each other.
func TestCreateRaces(t *testing.T) {
	t.Parallel()
	for range 20 {
		daemon := newDaemon(t)
		o := ordered("web-1")
		errs := make([]error, 6)
		var wg sync.WaitGroup
		for i := range errs {
			d := connected(t, daemon)
			wg.Go(func() { errs[i] = d.Create(t.Context(), o) })
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				require.ErrorIs(t, err, hypervisor.ErrExists)
			}
		}
		require.Equal(t, 1, won)
		require.Equal(t, 4, daemon.held(), "the losers have left nothing")
	}
}

// A create whose caller has gone is over before the machine can be destroyed, so that nothing of it is left.
func TestDestroyWaitsForCreate(t *testing.T) {
	t.Parallel()
	for _, proc := range []uint32{procVolumeXML, procDefine} {
		daemon := newDaemon(t)
		d := connected(t, daemon)
		machines(t, d)
		hold := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		daemon.set(func(p uint32, n int) fault {
			if p == proc && n == 1 {
				cancel()
				daemon.mu.Unlock()
				<-hold
				daemon.mu.Lock()
			}
			return fault{}
		})
		o := ordered("web-1")
		require.ErrorIs(t, d.Create(ctx, o), context.Canceled)
		destroyed := make(chan error)
		go func() { destroyed <- d.Destroy(t.Context(), o.Ref) }()
		select {
		case <-destroyed:
			require.Fail(t, "destroyed while the create was under way")
		case <-time.After(100 * time.Millisecond):
		}
		close(hold)
		require.NoError(t, <-destroyed)
		require.Empty(t, machines(t, d))
		require.Equal(t, 1, daemon.held())
	}
}

// A clone of a machine has its tag and is not it.
func TestClone(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	o := ordered("web-1")
	require.NoError(t, d.Create(t.Context(), o))
	daemon.mu.Lock()
	original := *daemon.domains[libvirt.MachineUUID(o.Machine)]
	original.name, original.uuid = "clone", libvirt.MachineUUID("another-0")
	daemon.domains[original.uuid] = &original
	daemon.mu.Unlock()
	tagged := 0
	for _, m := range machines(t, d) {
		if m.Tag != (hypervisor.Tag{}) {
			tagged++
			require.NotEqual(t, "clone", m.Name)
		}
	}
	require.Equal(t, 1, tagged)
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Len(t, machines(t, d), 1)
	hosts, err := d.Hosts(t.Context())
	require.NoError(t, err)
	require.Equal(t, 192*pool.MiB, hosts[0].Inventory[pool.Memory].Reserved, "it counts as somebody else's")
	require.Equal(t, pool.Core, hosts[0].Inventory[pool.CPU].Reserved)
}

// Bad orders are ErrInvalid or ErrRefused before anything is sent.
func TestBadOrders(t *testing.T) {
	t.Parallel()
	daemon := newDaemon(t)
	d := connected(t, daemon)
	machines(t, d)
	for name, tc := range map[string]struct {
		kind   error
		change func(*hypervisor.Order)
	}{
		"name":             {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Name = "</name>" }},
		"machine id":       {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Machine = "../x" }},
		"no machine id":    {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Machine = "" }},
		"ledger":           {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Ledger = "a\x00b" }},
		"no ledger":        {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Ledger = "" }},
		"container":        {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Kind = pool.Container }},
		"gpu":              {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Resources[pool.GPU] = 1 }},
		"no memory":        {hypervisor.ErrInvalid, func(o *hypervisor.Order) { delete(o.Spec.Resources, pool.Memory) }},
		"negative":         {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Resources[pool.Memory] = -1 }},
		"no source":        {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Source = "" }},
		"relative source":  {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Source = "images/x.qcow2" }},
		"bad volume":       {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Source = "volume:a/b/c" }},
		"missing volume":   {hypervisor.ErrRefused, func(o *hypervisor.Order) { o.Source = "volume:none" }},
		"missing pool":     {hypervisor.ErrRefused, func(o *hypervisor.Order) { o.Source = "volume:none/base.qcow2" }},
		"missing file":     {hypervisor.ErrRefused, func(o *hypervisor.Order) { o.Source = t.TempDir() + "/none" }},
		"directory":        {hypervisor.ErrRefused, func(o *hypervisor.Order) { o.Source = t.TempDir() }},
		"disk below image": {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Disks[0].Size = pool.MiB - 1 }},
		"huge disk":        {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Disks = append(o.Spec.Disks, pool.Disk{Size: math.MaxInt64}) }},
		"storage kind":     {hypervisor.ErrRefused, func(o *hypervisor.Order) { o.Spec.Disks[0].Storage = pool.NVMe }},
		"claimed elsewhere": {hypervisor.ErrRefused, func(o *hypervisor.Order) {
			o.Allocation.Claims = []pool.Claim{{Device: "gone", Class: pool.StorageStandard, Amount: pool.GiB}}
		}},
		"network":      {hypervisor.ErrRefused, func(o *hypervisor.Order) { o.Spec.Networks = []pool.Network{{Name: "none"}} }},
		"user":         {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Guest.User = "root\n" }},
		"user-data":    {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Guest.UserData = "hello" }},
		"key":          {hypervisor.ErrInvalid, func(o *hypervisor.Order) { o.Spec.Guest.SSHKeys = []string{"ssh-rsa x"} }},
		"unknown host": {hypervisor.ErrNotFound, func(o *hypervisor.Order) { o.Host = "libvirt/none" }},
	} {
		daemon.set(nil)
		o := ordered("web-1")
		tc.change(&o)
		err := d.Create(t.Context(), o)
		require.ErrorIs(t, err, tc.kind, name)
		require.True(t, hypervisor.Nothing(err), name)
		require.NotContains(t, err.Error(), "\n", name)
		require.Zero(t, daemon.count(procVolumeXML)+daemon.count(procDefine), name)
	}
	require.Equal(t, 1, daemon.held())
}
