package proxmox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
	"github.com/berthage/berthage/pool"
)

// trial is a call that changes something.
type trial struct {
	name     string
	before   pool.Power                    // what the machine is brought into first; Absent: it is not made
	prepare  func(*bench, *testing.T)      // after that
	call     func(context.Context) error   //
	done     func(*bench, *testing.T) bool // whether the machine is as asked
	requests []string                      // the requests that it makes to change something: "POST /clone"
	tasks    []string                      // the tasks that these start
}

// bench is a cluster with a driver and a machine to try something on.
type bench struct {
	server *pvetest.Server
	driver *proxmox.Driver
	order  hypervisor.Order
	trials []trial
}

func newBench(t *testing.T) *bench {
	b := &bench{server: cluster(t)}
	c := quiet(settings(t, b.server))
	c.Timeouts.Settle = 60 * time.Millisecond
	b.driver = open(t, c)
	_, err := b.driver.Hosts(t.Context())
	require.NoError(t, err)
	b.order = numbered(1, "proxmox/pve1")
	b.order.Spec.Guest.UserData = "#cloud-config\n"
	o, d := b.order, b.driver
	larger := o
	larger.Spec = o.Spec.Clone()
	larger.Spec.Resources[pool.Memory] *= 2
	larger.Spec.Disks[0].Size *= 2
	larger.Revision = 20
	moved := o
	moved.Host, moved.Revision = "proxmox/pve2", 30
	power := func(want pool.Power) func(*bench, *testing.T) bool {
		return func(b *bench, t *testing.T) bool {
			m := b.machine(t)
			return m != nil && m.Power == want && m.Fault == ""
		}
	}
	snapshots := func(want string) func(*bench, *testing.T) bool {
		return func(b *bench, t *testing.T) bool {
			list, err := d.Snapshots(t.Context(), o.Ref)
			require.NoError(t, err)
			var names []string
			for _, s := range list {
				names = append(names, s.Name)
			}
			return strings.Join(names, " ") == want
		}
	}
	taken := func(*bench, *testing.T) { require.NoError(t, d.Snapshot(t.Context(), o.Ref, "kept")) }
	b.trials = []trial{
		{"create", pool.Absent, nil, func(ctx context.Context) error { return d.Create(ctx, o) },
			func(b *bench, t *testing.T) bool { return power(pool.Stopped)(b, t) && b.disk(t) == "1G" },
			[]string{"POST /clone", "POST /upload", "POST /config", "PUT /resize", "PUT /config"}, []string{"qmclone", "imgcopy", "qmconfig", "resize"}},
		{"start", pool.Stopped, nil, func(ctx context.Context) error { return d.Start(ctx, o.Ref) }, power(pool.Running), []string{"POST /start"}, []string{"qmstart"}},
		{"stop", pool.Running, nil, func(ctx context.Context) error { return d.Stop(ctx, o.Ref) }, power(pool.Stopped), []string{"POST /shutdown"}, []string{"qmshutdown"}},
		{"stop suspended", pool.Suspended, nil, func(ctx context.Context) error { return d.Stop(ctx, o.Ref) }, power(pool.Stopped), []string{"POST /stop"}, []string{"qmstop"}},
		{"suspend", pool.Running, nil, func(ctx context.Context) error { return d.Suspend(ctx, o.Ref) }, power(pool.Suspended), []string{"POST /suspend"}, []string{"qmpause"}},
		{"hibernate", pool.Running, nil, func(ctx context.Context) error { return d.Hibernate(ctx, o.Ref) }, power(pool.Hibernated), []string{"POST /suspend"}, []string{"qmsuspend"}},
		{"start hibernated", pool.Hibernated, nil, func(ctx context.Context) error { return d.Start(ctx, o.Ref) }, power(pool.Running), []string{"POST /start"}, []string{"qmstart"}},
		{"stop hibernated", pool.Hibernated, nil, func(ctx context.Context) error { return d.Stop(ctx, o.Ref) }, power(pool.Stopped), []string{"POST /config"}, []string{"qmconfig"}},
		{"resume", pool.Suspended, nil, func(ctx context.Context) error { return d.Resume(ctx, o.Ref) }, power(pool.Running), []string{"POST /resume"}, []string{"qmresume"}},
		{"reboot", pool.Running, nil, func(ctx context.Context) error { return d.Reboot(ctx, o.Ref) }, power(pool.Running), []string{"POST /reboot"}, nil},
		{"resize", pool.Stopped, nil, func(ctx context.Context) error { return d.Resize(ctx, larger) }, func(b *bench, t *testing.T) bool {
			m := b.machine(t)
			return m.Resources[pool.Memory] == larger.Spec.Resources[pool.Memory] && b.disk(t) == "2G"
		}, []string{"PUT /resize", "PUT /config"}, nil},
		{"migrate", pool.Stopped, nil, func(ctx context.Context) error { return d.Migrate(ctx, o.Ref, moved) }, func(b *bench, t *testing.T) bool {
			m := b.machine(t)
			return m != nil && m.Ref == moved.Ref
		}, []string{"POST /migrate", "PUT /config"}, []string{"qmigrate"}},
		{"snapshot", pool.Stopped, nil, func(ctx context.Context) error {
			if err := d.Snapshot(ctx, o.Ref, "kept"); !errors.Is(err, hypervisor.ErrExists) {
				return err
			}
			return nil
		}, snapshots("kept"), []string{"POST /snapshot"}, []string{"qmsnapshot"}},
		{"revert", pool.Stopped, func(b *bench, t *testing.T) {
			taken(b, t)
			require.NoError(t, d.Resize(t.Context(), larger))
		}, func(ctx context.Context) error { return d.Revert(ctx, o.Ref, "kept") }, func(b *bench, t *testing.T) bool {
			return b.machine(t).Resources[pool.Memory] == larger.Spec.Resources[pool.Memory] && b.disk(t) == "2G"
		}, []string{"PUT /b-kept/config", "POST /rollback", "PUT /resize", "PUT /100/config"}, []string{"qmrollback"}},
		{"delete snapshot", pool.Stopped, taken, func(ctx context.Context) error { return d.DeleteSnapshot(ctx, o.Ref, "kept") }, snapshots(""), []string{"DELETE /b-kept"}, []string{"qmdelsnapshot"}},
		{"destroy", pool.Running, nil, func(ctx context.Context) error { return d.Destroy(ctx, o.Ref) }, func(b *bench, t *testing.T) bool { return b.machine(t) == nil },
			[]string{"POST /stop", "DELETE .iso", "DELETE /"}, []string{"qmstop", "qmdestroy"}},
	}
	return b
}

// machine returns the bench's machine, nil where there is none. Never are there two.
func (b *bench) machine(t *testing.T) *hypervisor.Machine {
	t.Helper()
	var found []hypervisor.Machine
	for _, host := range []pool.HostID{"proxmox/pve1", "proxmox/pve2"} {
		list, err := b.driver.Machines(t.Context(), host)
		require.NoError(t, err)
		found = append(found, list...)
	}
	require.LessOrEqual(t, len(found), 1, "there are two of it: %v", found)
	if len(found) == 0 {
		return nil
	}
	require.Equal(t, b.order.Tag, found[0].Tag)
	return &found[0]
}

// disk is the size of the machine's disk as the cluster writes it.
func (b *bench) disk(t *testing.T) string {
	_, size, _ := strings.Cut(b.server.Guest(b.vmid(t), "scsi0"), "size=")
	return size
}

func (b *bench) vmid(t *testing.T) int {
	m := b.machine(t)
	require.NotNil(t, m)
	var id int
	_, err := fmt.Sscanf(m.Native, "qemu/%d", &id)
	require.NoError(t, err)
	return id
}

// ready brings the machine into the state that a trial begins with.
func (b *bench) ready(t *testing.T, tr trial) {
	d, o, ctx := b.driver, b.order, t.Context()
	if tr.before == pool.Absent {
		return
	}
	require.NoError(t, d.Create(ctx, o))
	if tr.before != pool.Stopped {
		require.NoError(t, d.Start(ctx, o.Ref))
	}
	if tr.before == pool.Hibernated {
		require.NoError(t, d.Hibernate(ctx, o.Ref))
	}
	if tr.before == pool.Suspended {
		require.NoError(t, d.Suspend(ctx, o.Ref))
	}
	if tr.prepare != nil {
		tr.prepare(b, t)
	}
}

// away removes the machine wherever it is, and sees that nothing is left.
func (b *bench) away(t *testing.T, volumes []string) {
	b.server.Heal()
	for _, host := range []pool.HostID{"proxmox/pve1", "proxmox/pve2"} {
		r := b.order.Ref
		r.Host = host
		require.NoError(t, b.driver.Destroy(t.Context(), r))
	}
	require.Nil(t, b.machine(t))
	require.Equal(t, volumes, append(b.server.Volumes("pve1"), b.server.Volumes("pve2")...), "something is left")
}

// attempt makes the trial's call until it has succeeded, as the ring does: it looks before it repeats.
func (b *bench) attempt(t *testing.T, tr trial) {
	for range 4 {
		if tr.name == "create" {
			if m := b.machine(t); m != nil && m.Fault == "" {
				return
			} else if m != nil {
				require.NoError(t, b.driver.Destroy(t.Context(), m.Ref))
			}
		}
		if err := tr.call(t.Context()); err == nil {
			return
		}
	}
	require.Fail(t, "the call does not succeed any more")
}

// Each fault in each request of each call: what the error says is so, and after a look and a repetition the machine is as asked:
// once, and nothing is left of it in the end.
func TestFaults(t *testing.T) {
	t.Parallel()
	faults := []struct {
		name  string
		fault pvetest.Fault
	}{
		{"cut before", pvetest.Fault{CutBefore: true}},
		{"cut after", pvetest.Fault{CutAfter: true}},
		{"595", pvetest.Fault{Status: 595}},
		{"596 after", pvetest.Fault{After: 596}},
		{"500", pvetest.Fault{Status: 500}},
		{"twice", pvetest.Fault{Twice: true}},
		{"no data", pvetest.Fault{Null: true}},
		{"late", pvetest.Fault{Late: 20 * time.Millisecond}},
	}
	for i, tr := range newBench(t).trials {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			tr := b.trials[i]
			volumes := append(b.server.Volumes("pve1"), b.server.Volumes("pve2")...)
			try := func(name string, f pvetest.Fault) {
				b.ready(t, tr)
				b.server.Inject(f)
				err := tr.call(t.Context())
				require.Zero(t, b.server.Pending(), "%s: the request was not made", name)
				switch {
				case err == nil:
					require.True(t, tr.done(b, t), "%s: the call has succeeded, and the machine is not as asked", name)
				case hypervisor.Nothing(err):
					if tr.before == pool.Absent {
						require.Nil(t, b.machine(t), "%s: %v, and there is a machine", name, err)
					} else if tr.name != "reboot" && tr.name != "revert" { // of these nothing can be seen
						require.False(t, tr.done(b, t), "%s: %v, and the machine is as asked", name, err)
					}
				default:
					require.ErrorIs(t, err, hypervisor.ErrUnknown, name)
				}
				if f.Late > 0 {
					time.Sleep(2 * f.Late)
				}
				b.attempt(t, tr)
				require.True(t, tr.done(b, t), "%s: after a repetition the machine is not as asked", name)
				b.away(t, volumes)
			}
			for _, request := range tr.requests {
				method, path, _ := strings.Cut(request, " ")
				for _, f := range faults {
					f.fault.Method, f.fault.Path = method, strings.TrimSuffix(path, "/")
					try(request+", "+f.name, f.fault)
				}
			}
			for _, kind := range tr.tasks {
				try(kind+" fails", pvetest.Fault{Task: kind, TaskFails: "something went wrong"})
				try(kind+" meets a lock", pvetest.Fault{Task: kind, TaskFails: "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"})
			}
		})
	}
}

// A request that only reads is made again when it is not answered; one that changes something never is.
func TestReadsAreRepeated(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.NoError(t, b.driver.Create(t.Context(), b.order))
	for _, path := range []string{"/qemu", "/config", "/access/permissions", "/cluster/resources"} {
		for _, f := range []pvetest.Fault{{CutBefore: true}, {Status: 595}, {CutAfter: true}, {Status: 503}} {
			f.Method, f.Path = "GET", path
			b.server.Inject(f)
			require.NotNil(t, b.machine(t))
			require.Zero(t, b.server.Pending())
		}
	}
	b.server.Requests()
	b.server.Inject(pvetest.Fault{Method: "POST", Path: "/start", CutAfter: true})
	require.NoError(t, b.driver.Start(t.Context(), b.order.Ref))
	names, _ := changes(b.server)
	require.Len(t, names, 1)
	// A host that does not answer at all is not reached, which is said, and has done nothing.
	b.server.Inject(pvetest.Fault{Status: 595, Times: -1})
	_, err := b.driver.Machines(t.Context(), "proxmox/pve1")
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.ErrorIs(t, b.driver.Start(t.Context(), b.order.Ref), hypervisor.ErrUnavailable)
	b.server.Heal()
}

// Calls honour their context while a task goes on, and leave open what it does.
func TestContextEndsDuringTask(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	o := b.order
	require.NoError(t, b.driver.Create(t.Context(), o))
	b.server.Inject(pvetest.Fault{Task: "qmstart", Delay: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	begun := time.Now()
	err := b.driver.Start(ctx, o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrUnknown)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begun), 900*time.Millisecond)
	require.Eventually(t, func() bool { return b.machine(t).Power == pool.Running }, 5*time.Second, 20*time.Millisecond)
}

// An answer that does not end is not read for ever.
func TestEndlessAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.server.Inject(pvetest.Fault{Method: "GET", Path: "/qemu", Huge: true, Times: 3})
	_, err := b.driver.Machines(t.Context(), "proxmox/pve1")
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.ErrorContains(t, err, "too long")
}
