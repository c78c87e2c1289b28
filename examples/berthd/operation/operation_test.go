package operation_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// rig is a Manager on a simulated fleet, followed by a Log.
type rig struct {
	t     *testing.T
	m     *berthage.Manager
	fleet *fake.Driver
	log   *operation.Log
	ctx   context.Context
}

// on runs a test in a bubble: time passes as fast as it can.
func on(t *testing.T, c fake.Config, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c.Hosts, c.Build, c.Latency.Min = fake.Fleet("fake", 3, 1), time.Second, 100*time.Millisecond
		alike(&c)
		fleet := fake.New(c)
		m, err := berthage.Open(ctx, berthage.Config{Ledger: pool.NewMemoryLedger(), Drivers: map[string]hypervisor.Driver{"fake": fleet}})
		require.NoError(t, err)
		done := make(chan error, 2)
		go func() { done <- m.Run(ctx) }()
		r := &rig{t: t, m: m, fleet: fleet, log: operation.NewLog(1000), ctx: ctx}
		go func() {
			for b, err := range m.Events(ctx, 0) {
				if err != nil {
					break
				}
				r.log.Apply(b)
			}
			done <- nil
		}()
		require.NoError(t, m.PutProject(ctx, pool.Project{Name: "p"}))
		require.NoError(t, m.PutImage(ctx, pool.Image{Name: "i", User: "u", Sources: map[string]string{"fake": "x"}}))
		time.Sleep(time.Minute) // the hosts join
		test(r)
		cancel()
		<-done
		<-done
		m.Close()
	})
}

func (r *rig) launch(name string) pool.Instance {
	r.t.Helper()
	i, err := r.m.Launch(r.ctx, berthage.Launch{Token: name, Project: "p", Name: name, Spec: spec()})
	require.NoError(r.t, err)
	return i
}

func spec() pool.Spec {
	return pool.Spec{Image: "i", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB}, Disks: []pool.Disk{{Size: pool.GiB, Storage: pool.SSD}}}
}

func (r *rig) power(id pool.InstanceID, want pool.Power) {
	r.t.Helper()
	_, err := r.m.SetPower(r.ctx, id, want)
	require.NoError(r.t, err)
}

func (r *rig) get(id string) operation.Operation {
	r.t.Helper()
	require.NoError(r.t, r.log.Await(r.ctx, r.m.Status().Revision))
	o, ok := r.log.Get(id)
	require.True(r.t, ok, id)
	return o
}

func (r *rig) newest(id pool.InstanceID, kinds ...operation.Kind) operation.Operation {
	r.t.Helper()
	require.NoError(r.t, r.log.Await(r.ctx, r.m.Status().Revision))
	o, ok := r.log.Newest(id, kinds...)
	require.True(r.t, ok)
	return o
}

func TestALifeInOperations(t *testing.T) {
	t.Parallel()
	on(t, fake.Config{}, func(r *rig) {
		i := r.launch("web")
		o := r.get(operation.LaunchID(i.ID))
		require.Equal(r.t, operation.Running, o.Status)
		require.NotEmpty(r.t, o.Step)
		time.Sleep(500 * time.Millisecond)
		require.Equal(r.t, 40, r.get(o.ID).Progress, "being created")
		time.Sleep(time.Minute)
		o = r.get(o.ID)
		require.Equal(r.t, operation.Done, o.Status)
		require.Equal(r.t, 100, o.Progress)
		require.Positive(r.t, o.Updated.Sub(o.Started))

		for _, s := range []struct {
			want pool.Power
			kind operation.Kind
		}{{pool.Suspended, operation.Suspend}, {pool.Running, operation.Resume}, {pool.Stopped, operation.Stop}, {pool.Running, operation.Start}} {
			r.power(i.ID, s.want)
			require.Equal(r.t, operation.Running, r.newest(i.ID, s.kind).Status)
			time.Sleep(time.Minute)
			require.Equal(r.t, operation.Done, r.newest(i.ID, s.kind).Status, s.kind)
		}

		_, err := r.m.Reboot(r.ctx, i.ID, "again")
		require.NoError(r.t, err)
		o = r.newest(i.ID, operation.Reboot)
		time.Sleep(time.Minute)
		require.Equal(r.t, operation.Done, r.get(o.ID).Status)
		byToken, ok := r.log.Rebooting(i.ID, "again")
		require.True(r.t, ok)
		require.Equal(r.t, o.ID, byToken.ID)
		require.Equal(r.t, operation.Done, r.get(operation.LaunchID(i.ID)).Status, "what is done stays done")

		r.power(i.ID, pool.Stopped)
		_, err = r.m.Delete(r.ctx, i.ID)
		require.NoError(r.t, err)
		require.Equal(r.t, operation.Superseded, r.newest(i.ID, operation.Stop).Status)
		time.Sleep(time.Minute)
		require.Equal(r.t, operation.Done, r.get(operation.DeleteID(i.ID)).Status)
		require.Zero(r.t, r.log.Count())
	})
}

func TestALaunchThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	refuse := func(c fake.Call) fake.Fault {
		if c.Op == fake.OpCreate {
			return fake.Fault{Kind: fake.Refuse, Err: errors.New("no more of this")}
		}
		return fake.Fault{}
	}
	on(t, fake.Config{Hook: refuse}, func(r *rig) {
		i := r.launch("web")
		time.Sleep(10 * time.Minute)
		o := r.get(operation.LaunchID(i.ID))
		require.Equal(r.t, operation.Failed, o.Status)
		require.Contains(r.t, o.Reason, "no more of this")
		_, err := r.m.Delete(r.ctx, i.ID)
		require.NoError(r.t, err)
		time.Sleep(time.Minute)
		require.Equal(r.t, operation.Done, r.get(operation.DeleteID(i.ID)).Status)
	})
}

func TestALaterCommandSupersedes(t *testing.T) {
	t.Parallel()
	on(t, fake.Config{}, func(r *rig) {
		i := r.launch("web")
		r.power(i.ID, pool.Stopped) // launched into stopped
		time.Sleep(time.Minute)
		require.Equal(r.t, operation.Done, r.get(operation.LaunchID(i.ID)).Status)
		require.Equal(r.t, operation.Done, r.newest(i.ID, operation.Stop).Status)

		r.power(i.ID, pool.Running)
		first := r.newest(i.ID, operation.Start)
		r.power(i.ID, pool.Stopped) // already so
		require.Equal(r.t, operation.Superseded, r.get(first.ID).Status)
		require.Equal(r.t, operation.Done, r.newest(i.ID, operation.Stop).Status)

		i = r.launch("short")
		_, err := r.m.Delete(r.ctx, i.ID)
		require.NoError(r.t, err)
		time.Sleep(10 * time.Minute)
		require.Equal(r.t, operation.Superseded, r.get(operation.LaunchID(i.ID)).Status)
		require.Equal(r.t, operation.Done, r.get(operation.DeleteID(i.ID)).Status)
	})
}

// What a Log shows depends on nothing but the ledger, and a batch that comes twice counts once.
func TestTheSameEventsGiveTheSameOperations(t *testing.T) {
	t.Parallel()
	on(t, fake.Config{Seed: 3, Faults: fake.Faults{Refuse: 0.2, Lose: 0.1}}, func(r *rig) {
		for n := range 12 {
			i := r.launch(fmt.Sprintf("vm-%d", n))
			if n%3 == 0 {
				_, err := r.m.Delete(r.ctx, i.ID)
				require.NoError(r.t, err)
			}
		}
		time.Sleep(time.Hour)
		require.NoError(r.t, r.log.Await(r.ctx, r.m.Status().Revision))

		again := operation.NewLog(1000)
		ctx, cancel := context.WithCancel(r.ctx)
		defer cancel()
		for b, err := range r.m.Events(ctx, 0) {
			require.NoError(r.t, err)
			again.Apply(b)
			again.Apply(b)
			if b.Revision == r.log.Head() {
				break
			}
		}
		all := func(*operation.Operation) bool { return true }
		require.Equal(r.t, r.log.List(all), again.List(all))
		require.GreaterOrEqual(r.t, len(again.List(all)), 16)
		for _, o := range again.List(all) {
			require.True(r.t, o.Ended(), "%s %s %s", o.ID, o.Status, o.Step)
		}
	})
}

func TestOldOperationsAreDropped(t *testing.T) {
	t.Parallel()
	log := operation.NewLog(10)
	id := pool.NewInstanceID("l", "p", "t")
	apply := func(rev pool.Revision, kind string, payload any) {
		e, err := pool.NewEvent(kind, payload)
		require.NoError(t, err)
		e.Revision = rev
		log.Apply(pool.Batch{Revision: rev, Events: []pool.Event{e}})
	}
	apply(1, pool.KindLaunched, &pool.Launched{Instance: id, Name: "n", Project: "p", Want: pool.Running, Place: pool.Placement{Host: "fake/h"}})
	for n := range 50 {
		apply(pool.Revision(2*n+2), pool.KindRebootWanted, &pool.RebootWanted{Instance: id})
		apply(pool.Revision(2*n+3), pool.KindRebooted, &pool.OfMachine{Machine: id.Machine(0)})
	}
	all := log.List(func(*operation.Operation) bool { return true })
	require.LessOrEqual(t, len(all), 12)
	require.Equal(t, 1, log.Count())
	_, ok := log.Get(operation.LaunchID(id))
	require.True(t, ok, "one that runs is kept however old it is")
}
